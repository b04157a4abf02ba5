//! Meta (WhatsApp, Messenger, Instagram): one signed request, several events.
//!
//! Signed like GitHub's, over the bytes as sent (Meta escapes non-ASCII, so a body written anew never matches).
//! Meta batches as it likes and may batch differently when it sends again, so each message, status or other
//! change becomes an event of its own, with an id that does not depend on the batch:
//!
//! | what | id | type |
//! | --- | --- | --- |
//! | `changes[].value.messages[]` | its `id` (wamid) | `messages.<type>` |
//! | `changes[].value.statuses[]` | `<wamid>:<status>`, in groups `:<participant>` too | `statuses.<status>` |
//! | any other change | digest of it with its entry's id and time | `field.<field>` |
//! | `messaging[]`, `standby[]` | `message.mid`, else a digest | `messaging.<what>`, `standby.<what>` |
//! | an entry with none of these | digest | `entry` |
//!
//! The payload of each keeps Meta's own shape (object, entry, change, metadata) around that one item, so a handler
//! written for Meta's requests reads it as it is. Source: Meta's webhook reference for these products.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    extracted::{self, Extracted, Payload},
    header::Request,
    instant,
    json::{self, Members},
    refusal::Refusal,
};

/// Meta sends at most this many updates in one request.
const EVENTS_MAX: usize = 1_000;
/// Each payload repeats its context; this bounds the sum.
const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) fn extract(request: &Request<'_>) -> Result<Vec<Extracted>, Refusal> {
    let body: Members<'_> = json::object(request.body)?;
    if body.get("entry").is_none() {
        return Err(Refusal::body("has no member entry"));
    }
    let mut reader = Reader {
        body: &body,
        events: Vec::new(),
        payload_bytes: 0,
    };
    for raw in body.list("entry")? {
        reader.entry(raw)?;
    }
    Ok(reader.events)
}

/// Collects the events of one request.
struct Reader<'b, 'a> {
    body: &'b Members<'a>,
    events: Vec<Extracted>,
    payload_bytes: usize,
}

/// An entry, with the lists of items taken out.
struct Entry<'a> {
    members: Members<'a>,
    id: &'a str,
    time: &'a str,
}

const ENTRY_LISTS: [&str; 3] = ["changes", "messaging", "standby"];
const VALUE_LISTS: [&str; 3] = ["messages", "statuses", "contacts"];

impl<'a> Reader<'_, 'a> {
    fn entry(&mut self, raw: &'a RawValue) -> Result<(), Refusal> {
        let members = object(raw, "an entry")?;
        let text = |name| members.get(name).map_or("", RawValue::get);
        let entry = Entry {
            id: text("id"),
            time: text("time"),
            members,
        };
        for raw in entry.members.list("changes")? {
            self.change(&entry, raw)?;
        }
        for list in ["messaging", "standby"] {
            for raw in entry.members.list(list)? {
                self.messaging(&entry, list, raw)?;
            }
        }
        if ENTRY_LISTS
            .iter()
            .all(|name| entry.members.get(name).is_none())
        {
            let id = self.digest(&entry, &["entry", raw.get()]);
            let payload = self.payload(|out| out.extend_from_slice(raw.get().as_bytes()));
            self.push(id, "entry".to_owned(), None, payload)?;
        }
        Ok(())
    }

    fn change(&mut self, entry: &Entry<'a>, raw: &'a RawValue) -> Result<(), Refusal> {
        let change = object(raw, "a change")?;
        let field = change.string("field");
        let value = match (field.as_deref(), change.get("value")) {
            (Some("messages"), Some(value)) => Members::of(value)?,
            _ => None,
        };
        if let Some(value) = value {
            let (messages, statuses) = (value.list("messages")?, value.list("statuses")?);
            for item in &messages {
                self.message(entry, &change, &value, item)?;
            }
            for item in &statuses {
                self.status(entry, &change, &value, item)?;
            }
            if !(messages.is_empty() && statuses.is_empty()) {
                return Ok(());
            }
        }
        let content = change.get("value").map_or("", RawValue::get);
        let name = word(field.as_deref());
        let id = self.digest(entry, &["change", &name, content]);
        let payload = self.in_entry(entry, &["changes"], "changes", |out| {
            out.extend_from_slice(raw.get().as_bytes());
        });
        self.push(id, format!("field.{name}"), None, payload)
    }

    fn message(
        &mut self,
        entry: &Entry<'a>,
        change: &Members<'a>,
        value: &Members<'a>,
        raw: &'a RawValue,
    ) -> Result<(), Refusal> {
        let item = object(raw, "a message")?;
        let id = match item.get("id") {
            Some(id) => json::provider_id(Some(id), "messages[].id")?,
            None => self.digest(entry, &["message", raw.get()]),
        };
        let kind = format!("messages.{}", word(item.string("type").as_deref()));
        let people = [item.string("from"), item.string("from_user_id")];
        let contacts = contacts(value, &people)?;
        let payload = self.in_change(entry, change, value, &contacts, ("messages", raw));
        self.push(id, kind, occurred(&item), payload)
    }

    fn status(
        &mut self,
        entry: &Entry<'a>,
        change: &Members<'a>,
        value: &Members<'a>,
        raw: &'a RawValue,
    ) -> Result<(), Refusal> {
        let item = object(raw, "a status")?;
        let status = item.string("status");
        let status = word(status.as_deref());
        let id = match item.get("id") {
            None => self.digest(entry, &["status", raw.get()]),
            Some(id) => {
                let wamid = json::provider_id(Some(id), "statuses[].id")?;
                // In a group each member has a status of the same message.
                let participant = item
                    .string("recipient_participant_id")
                    .or_else(|| item.string("recipient_participant_user_id"));
                let id = match participant {
                    None => format!("{wamid}:{status}"),
                    Some(participant) => format!("{wamid}:{status}:{participant}"),
                };
                extracted::provider_id(&id, "statuses[].id")?
            }
        };
        let people = [
            item.string("recipient_id"),
            item.string("recipient_user_id"),
        ];
        let contacts = contacts(value, &people)?;
        let payload = self.in_change(entry, change, value, &contacts, ("statuses", raw));
        self.push(id, format!("statuses.{status}"), occurred(&item), payload)
    }

    fn messaging(
        &mut self,
        entry: &Entry<'a>,
        list: &str,
        raw: &'a RawValue,
    ) -> Result<(), Refusal> {
        let item = object(raw, "a messaging item")?;
        let mut what = what(&item);
        let message = match item.get("message") {
            Some(message) if what == "message" => Members::of(message)?,
            _ => None,
        };
        let mid = message.as_ref().and_then(|message| message.get("mid"));
        let echo = message.as_ref().and_then(|message| message.get("is_echo"));
        if echo.is_some_and(|echo| echo.get() == "true") {
            what = "echo".into();
        }
        let id = match mid {
            None => self.digest(entry, &[list, &what, raw.get()]),
            // One app can own a conversation and another stand by: the same message, but not the same event.
            Some(mid) if list == "standby" || what == "echo" => {
                let mid = json::provider_id(Some(mid), "message.mid")?;
                extracted::provider_id(&format!("{mid}:{list}.{what}"), "message.mid")?
            }
            Some(mid) => json::provider_id(Some(mid), "message.mid")?,
        };
        // The entry's time is that of the batch; an item with a time of its own must not differ by it.
        let skip: &[&str] = match item.get("timestamp") {
            Some(_) => &["changes", "messaging", "standby", "time"],
            None => &ENTRY_LISTS,
        };
        let payload = self.in_entry(entry, skip, list, |out| {
            out.extend_from_slice(raw.get().as_bytes());
        });
        self.push(id, format!("{list}.{what}"), occurred(&item), payload)
    }

    fn push(
        &mut self,
        provider_id: String,
        kind: String,
        occurred_at_micros: Option<i64>,
        payload: Vec<u8>,
    ) -> Result<(), Refusal> {
        self.payload_bytes += payload.len();
        if self.events.len() >= EVENTS_MAX || self.payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(Refusal::body(
                "brings more than 1000 events, or more than 16 MiB of them with their context",
            ));
        }
        self.events.push(Extracted {
            payload: Payload::Part(payload),
            ..Extracted::whole(provider_id, kind, occurred_at_micros)
        });
        Ok(())
    }

    /// An id for what has none. The entry's time is part of it: the same change can truly happen twice, and
    /// taking the second for a duplicate would lose it.
    fn digest(&self, entry: &Entry<'_>, content: &[&str]) -> String {
        let object = self.body.get("object").map_or("", RawValue::get);
        let context = [object, entry.id, entry.time];
        let parts = context.iter().chain(content);
        extracted::digest_id(parts.map(|part| part.as_bytes()))
    }

    /// The body with this as its only entry.
    fn payload(&self, entry: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        write_object(&mut out, self.body, &["entry"], "entry", |out| {
            write_list(out, entry);
        });
        out
    }

    /// The body with this as the only item of its only entry.
    fn in_entry(
        &self,
        entry: &Entry<'_>,
        skip: &[&str],
        list: &str,
        item: impl FnOnce(&mut Vec<u8>),
    ) -> Vec<u8> {
        // Another list of the same entry is another event.
        let skip: Vec<&str> = ENTRY_LISTS.iter().chain(skip).copied().collect();
        self.payload(|out| {
            write_object(out, &entry.members, &skip, list, |out| {
                write_list(out, item);
            });
        })
    }

    /// The body with this as the only message or status of its only change.
    fn in_change(
        &self,
        entry: &Entry<'_>,
        change: &Members<'_>,
        value: &Members<'_>,
        contacts: &[&RawValue],
        (list, item): (&str, &RawValue),
    ) -> Vec<u8> {
        self.in_entry(entry, &["time"], "changes", |out| {
            write_object(out, change, &["value"], "value", |out| {
                write_object(out, value, &VALUE_LISTS, list, |out| {
                    write_list(out, |out| out.extend_from_slice(item.get().as_bytes()));
                    if !contacts.is_empty() {
                        out.extend_from_slice(b",\"contacts\":[");
                        let texts: Vec<&str> = contacts.iter().map(|raw| raw.get()).collect();
                        out.extend_from_slice(texts.join(",").as_bytes());
                        out.push(b']');
                    }
                });
            });
        })
    }
}

/// The contacts of these people; all of them when none can be told to be theirs, for then a name is worth more than
/// a small payload.
fn contacts<'a>(
    value: &Members<'a>,
    people: &[Option<Cow<'_, str>>],
) -> Result<Vec<&'a RawValue>, Refusal> {
    let all = value.list("contacts")?;
    let is = |id: Option<Cow<'_, str>>| id.is_some() && people.contains(&id);
    let mut theirs = Vec::new();
    for raw in &all {
        let Some(contact) = Members::of(raw)? else {
            continue;
        };
        if is(contact.string("wa_id")) || is(contact.string("user_id")) {
            theirs.push(*raw);
        }
    }
    Ok(if theirs.is_empty() { all } else { theirs })
}

/// What a Messenger item is about: the member beside sender, recipient and time.
fn what<'a>(item: &Members<'a>) -> Cow<'a, str> {
    const CONTEXT: [&str; 4] = ["sender", "recipient", "timestamp", "app_id"];
    let mut names = item.0.iter().map(|(key, _)| key);
    if item.get("message").is_some() {
        return "message".into();
    }
    let name = names.find(|key| !CONTEXT.contains(&key.as_ref()));
    match name {
        Some(name) if word(Some(name)) == *name => name.clone(),
        _ => "unknown".into(),
    }
}

fn occurred(item: &Members<'_>) -> Option<i64> {
    let raw = item.get("timestamp")?;
    let text = json::string(raw).unwrap_or(Cow::Borrowed(raw.get()));
    instant::unix_micros(&text)
}

/// A word that can be part of a type.
fn word(text: Option<&str>) -> Cow<'_, str> {
    let fine = |text: &&str| {
        (1..=100).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    text.filter(fine).unwrap_or("unknown").into()
}

fn object<'a>(raw: &'a RawValue, what: &str) -> Result<Members<'a>, Refusal> {
    Members::of(raw)?.ok_or_else(|| Refusal::body(format!("has {what} that is not an object")))
}

/// Writes an object without the members named in `skip`, and then one more, whose value `last` writes.
fn write_object(
    out: &mut Vec<u8>,
    members: &Members<'_>,
    skip: &[&str],
    last_name: &str,
    last: impl FnOnce(&mut Vec<u8>),
) {
    out.push(b'{');
    for (key, value) in &members.0 {
        if !skip.contains(&key.as_ref()) {
            write_key(out, key);
            out.extend_from_slice(value.get().as_bytes());
            out.push(b',');
        }
    }
    write_key(out, last_name);
    last(out);
    out.push(b'}');
}

fn write_key(out: &mut Vec<u8>, key: &str) {
    let quoted = serde_json::Value::from(key).to_string();
    out.extend_from_slice(quoted.as_bytes());
    out.push(b':');
}

fn write_list(out: &mut Vec<u8>, item: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'[');
    item(out);
    out.push(b']');
}
