//! `mainstay audit`: who did what, taken out, and whether it still is what was written.
//!
//! The hashes are computed here and not by the server: what it answers is only believed as far as it fits together.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read as _, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use mainstay_domain::access::{
    Head,
    chain::{Broken, Hash, Verifier},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Context,
    api::{Api, TENANTS, text},
    args::{PageArgs, TargetArgs, TimeArg, time_short},
    failure::{Exit, Failure},
    progress::Spinner,
    table::{Column, Table, Tone},
};
use crate::access::export::{FORM, First, HeadView, Last, Line, anchor, hex, unhex};

#[cfg(test)]
mod fuzz;

const LIST: &str = "/v1/audit";
const HEAD: &str = "/v1/audit/head";
const EXPORT: &str = "/v1/audit/export";
/// Bytes of one line of a file: the longest detail is a statement of `mainstay sql`.
const LINE_MAX: u64 = 4 * 1024 * 1024;
/// Entries that `doctor` looks at.
const TAIL: i64 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List what was done, newest first
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show where the chain ends; kept elsewhere, it proves what stands in front of it
    Head,
    /// Take the log out, as lines of JSON from which its hashes can be computed
    Export {
        /// Begin behind this entry of the chain
        #[arg(long, default_value_t = 0, value_name = "POSITION")]
        after: i64,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Look whether any entry was changed, removed, put in or moved: of the running server, or of a file
    Verify {
        /// A file that `audit export` has written; without one, the running server is asked
        file: Option<PathBuf>,
        /// An end of the chain that was noted elsewhere, as `audit head` shows it: POSITION:HASH
        #[arg(long, value_name = "POSITION:HASH")]
        anchor: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only by this actor: user:anna@example.com, key:deploy
    #[arg(long)]
    actor: Option<String>,
    /// Only this action; with a trailing dot everything of an area: source.
    #[arg(long)]
    action: Option<String>,
    /// Only about this: an id
    #[arg(long)]
    subject: Option<String>,
    /// Only in this tenant's data
    #[arg(long)]
    tenant: Option<String>,
    /// At or after: a time, or how long ago, e.g. 2h
    #[arg(long, value_name = "TIME")]
    from: Option<TimeArg>,
    /// Before: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    to: Option<TimeArg>,
}

pub(super) async fn run(context: &Context, command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::List { filter, page } => list(context, filter, page).await,
        AuditCommand::Head => {
            let head = context.api()?.get(HEAD, &[]).await?;
            context.show(&head, |out| out.line(&noted(&head)))
        }
        AuditCommand::Export { after, target } => export(context, after, target).await,
        AuditCommand::Verify { file, anchor } => verify(context, file, anchor).await,
    }
}

/// An end of the chain as one word.
fn noted(head: &Value) -> String {
    format!("{}:{}", text(head, "/position"), text(head, "/hash"))
}

async fn list(context: &Context, filter: FilterArgs, page: PageArgs) -> Result<(), Failure> {
    let api = context.api()?;
    let time = |at: Option<TimeArg>| at.map(|at| at.as_str().to_owned());
    let query = [
        ("actor", filter.actor),
        ("action", filter.action),
        ("subject", filter.subject),
        ("tenant", api.find_id_some(TENANTS, filter.tenant).await?),
        ("from", time(filter.from)),
        ("to", time(filter.to)),
    ];
    let found = api.list(LIST, &query, page.cursor, page.limit).await?;
    let mut table = Table::new(&[
        Column::Number("PLACE"),
        Column::Whole("AT"),
        Column::Text("ACTOR"),
        Column::Text("ACTION"),
        Column::Whole("SUBJECT"),
        Column::Text("DETAIL"),
    ]);
    for entry in &found.items {
        table.row([
            text(entry, "/position").into(),
            time_short(&text(entry, "/at")).into(),
            text(entry, "/actor").into(),
            text(entry, "/action").into(),
            text(entry, "/subject").into(),
            text(entry, "/detail").into(),
        ]);
    }
    context.list(&found, table, "no entries")
}

/// A part of the chain, as the server answers it.
struct Part {
    previous: Hash,
    lines: Vec<Line>,
    next: Option<i64>,
    head: HeadView,
}

async fn part(api: &Api, after: i64) -> Result<Part, Failure> {
    let mut answer = api
        .get(EXPORT, &[("after", Some(after.to_string()))])
        .await?;
    let lines = serde_json::from_value(answer["items"].take()).map_err(strange)?;
    Ok(Part {
        previous: unhex(&text(&answer, "/previous")).ok_or_else(|| strange("no hash"))?,
        lines,
        next: answer["next_after"].as_i64(),
        head: serde_json::from_value(answer["head"].take()).map_err(strange)?,
    })
}

fn strange(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, "the answer is not a part of an audit log").detail(error.to_string())
}

async fn export(context: &Context, after: i64, target: TargetArgs) -> Result<(), Failure> {
    let api = context.api()?;
    let Some(path) = target.output else {
        write_all(&api, after, |line| context.out.bytes(line), |_| {}).await?;
        return Ok(());
    };
    let spinner = Spinner::start(&context.out, "exporting");
    let file = File::create_new(&path).map_err(|error| Failure::file(&path, &error))?;
    let mut file = std::io::BufWriter::new(file);
    let failed = |error: &std::io::Error| Failure::file(&path, error);
    let write = |line: &[u8]| file.write_all(line).map_err(|error| failed(&error));
    let said = |at: i64| spinner.say(&format!("{at} entries"));
    let last = write_all(&api, after, write, said).await?;
    let file = file.into_inner().map_err(|error| failed(error.error()))?;
    file.sync_all().map_err(|error| failed(&error))?;
    drop(spinner);
    context.done(&format!(
        "{} entries written to {}",
        last - after,
        path.display()
    ))
}

/// Writes the chain line by line; answers the place of its end.
async fn write_all(
    api: &Api,
    after: i64,
    mut write: impl FnMut(&[u8]) -> Result<(), Failure>,
    said: impl Fn(i64),
) -> Result<i64, Failure> {
    let mut at = Some(after);
    let mut end = after;
    while let Some(from) = at {
        let found = part(api, from).await?;
        if from == after {
            let first = First {
                mainstay_audit: FORM,
                after,
                previous: hex(&found.previous),
            };
            write(&line_of(&first)?)?;
        }
        for line in &found.lines {
            write(&line_of(line)?)?;
            end = line.position;
        }
        said(end);
        at = found.next;
        if at.is_none() {
            write(&line_of(&Last { head: found.head })?)?;
        }
    }
    Ok(end)
}

fn line_of(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    let mut line = serde_json::to_vec(value).map_err(strange)?;
    line.push(b'\n');
    Ok(line)
}

/// What a verification has come to.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    after: i64,
    head: HeadView,
}

async fn verify(
    context: &Context,
    file: Option<PathBuf>,
    noted: Option<String>,
) -> Result<(), Failure> {
    let noted = match noted {
        Some(text) => Some(anchor(&text).ok_or_else(|| {
            Failure::usage("the anchor is not POSITION:HASH, as `mainstay audit head` shows it")
        })?),
        None => None,
    };
    let spinner = Spinner::start(&context.out, "verifying");
    let found = match &file {
        Some(path) => verify_file(path, noted)?,
        None => {
            verify_live(&context.api()?, 0, noted, |at| {
                spinner.say(&format!("verifying: {at} entries"));
            })
            .await?
        }
    };
    drop(spinner);
    let entries = found.head.position - found.after;
    let shown =
        json!({ "intact": true, "after": found.after, "entries": entries, "head": found.head });
    context.show(&shown, |out| {
        out.toned(
            Tone::Good,
            &format!("{entries} entries, and none was changed since it was sealed"),
        )?;
        out.line(&format!(
            "the chain ends at {}:{}",
            found.head.position, found.head.hash
        ))
    })
}

fn broken(broken: &Broken) -> Failure {
    Failure::new(Exit::Failed, "the audit log is not what was written")
        .detail(broken.to_string())
        .hint("what stands in front of that entry holds; compare with an export that was kept elsewhere")
}

fn verifier(after: i64, previous: Hash, noted: Option<(i64, Hash)>) -> Verifier {
    let begin = Head {
        position: after,
        hash: previous,
        ..Head::EMPTY
    };
    let verifier = Verifier::behind(&begin);
    match noted {
        Some((position, hash)) => verifier.anchored(position, hash),
        None => verifier,
    }
}

/// Walks along the chain of a running server.
async fn verify_live(
    api: &Api,
    after: i64,
    noted: Option<(i64, Hash)>,
    said: impl Fn(i64),
) -> Result<Found, Failure> {
    let mut at = after;
    let mut verifier: Option<Verifier> = None;
    loop {
        let found = part(api, at).await?;
        let walker = verifier.get_or_insert_with(|| self::verifier(after, found.previous, noted));
        for line in found.lines {
            let place = line.position;
            let sealed = line.sealed().ok_or_else(|| unlike(place))?;
            walker.entry(&sealed).map_err(|found| broken(&found))?;
        }
        said(walker.position());
        match found.next {
            Some(next) => at = next,
            None => {
                let head = found.head.head().ok_or_else(|| strange("no hash"))?;
                let walker =
                    verifier.unwrap_or_else(|| self::verifier(after, Head::EMPTY.hash, None));
                walker.end(Some(&head)).map_err(|found| broken(&found))?;
                return Ok(Found {
                    after,
                    head: found.head,
                });
            }
        }
    }
}

fn unlike(place: i64) -> Failure {
    Failure::new(Exit::Failed, "the audit log is not what was written")
        .detail(format!("entry {place} cannot be what was sealed"))
}

fn verify_file(path: &Path, noted: Option<(i64, Hash)>) -> Result<Found, Failure> {
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    verify_lines(BufReader::new(file), noted).map_err(|wrong| match wrong {
        Wrong::Read(error) => Failure::file(path, &error),
        Wrong::Line { number, why } => {
            Failure::new(Exit::Failed, "the file is not what was exported")
                .detail(format!("line {number}: {why}"))
        }
        Wrong::Chain(found) => broken(&found),
    })
}

/// What is wrong with a file of the log.
#[derive(Debug)]
enum Wrong {
    Read(std::io::Error),
    Line { number: usize, why: &'static str },
    Chain(Broken),
}

/// Reads a line that is written exactly as we write it.
fn line_as<T: Serialize + DeserializeOwned>(line: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(line).ok()?;
    (serde_json::to_vec(&value).ok()? == line).then_some(value)
}

/// Walks along the chain of a file.
fn verify_lines(mut lines: impl BufRead, noted: Option<(i64, Hash)>) -> Result<Found, Wrong> {
    let mut walker: Option<(Verifier, i64)> = None;
    for number in 1.. {
        let wrong = |why| Err(Wrong::Line { number, why });
        let mut line = Vec::new();
        let read = lines.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
        read.map_err(Wrong::Read)?;
        if line.pop() != Some(b'\n') {
            return wrong("the file ends before its last line does");
        }
        let Some((verifier, after)) = &mut walker else {
            let first = line_as::<First>(&line).filter(|first| first.mainstay_audit == FORM);
            let Some((first, previous)) =
                first.and_then(|first| unhex(&first.previous).map(|hash| (first, hash)))
            else {
                return wrong("it is not how an export of the audit log begins");
            };
            if first.after < 0 || (first.after == 0 && previous != Head::EMPTY.hash) {
                return wrong("nothing can stand in front of the first entry");
            }
            walker = Some((verifier(first.after, previous, noted), first.after));
            continue;
        };
        if let Some(last) = line_as::<Last>(&line) {
            let Some(head) = last.head.head() else {
                return wrong("the end has no hash");
            };
            let mut rest = [0];
            if lines.read(&mut rest).map_err(Wrong::Read)? > 0 {
                return wrong("something follows on the end");
            }
            let (verifier, after) = (verifier.clone(), *after);
            verifier.end(Some(&head)).map_err(Wrong::Chain)?;
            return Ok(Found {
                after,
                head: last.head,
            });
        }
        let Some(sealed) = line_as::<Line>(&line).and_then(Line::sealed) else {
            return wrong("it is not an entry as it is exported");
        };
        verifier.entry(&sealed).map_err(Wrong::Chain)?;
    }
    Err(Wrong::Line {
        number: usize::MAX,
        why: "the file does not end",
    })
}

/// The last entries of a running server, for `doctor`: how many there are, or what is wrong.
pub(super) async fn tail(api: &Api) -> Result<i64, Failure> {
    let head = api.get(HEAD, &[]).await?;
    let after = tail_after(head["position"].as_i64().unwrap_or(0));
    let found = verify_live(api, after, None, |_| {}).await?;
    // Whatever a server says, it is a number of entries.
    Ok(found.head.position.saturating_sub(after).max(0))
}

/// Where the last entries begin, of a log that is said to end here.
fn tail_after(end: i64) -> i64 {
    end.saturating_sub(TAIL).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_domain::{
        AuditId, Timestamp,
        access::{AuditEntry, Unsealed, chain::seal},
    };

    #[test]
    fn whatever_a_server_says_the_last_entries_begin_somewhere() {
        assert_eq!(tail_after(TAIL + 3), 3);
        for end in [i64::MIN, -1, 0, TAIL] {
            assert_eq!(tail_after(end), 0, "{end}");
        }
    }

    pub(super) fn file(entries: u8, after: u8) -> Vec<u8> {
        let open = (1..=entries).map(|n| Unsealed {
            entry: AuditEntry {
                id: AuditId::from_uuid(uuid::Uuid::from_u128(n.into())),
                at: Timestamp::from_secs(1_790_000_000 + i64::from(n)),
                actor: format!("user:{n}@example.com"),
                action: "source.update".into(),
                subject: "src_é".into(),
                detail: (n % 2 == 0).then(|| r#"{"a": "\"b"}"#.to_owned()),
                tenant: None,
            },
            salt: Some([n; 16]),
        });
        let sealed = seal(&Head::EMPTY, open.collect());
        let hash_at = |at: u8| match at {
            0 => Head::EMPTY.hash,
            _ => sealed[usize::from(at) - 1].hash,
        };
        let mut out = line_of(&First {
            mainstay_audit: FORM,
            after: after.into(),
            previous: hex(&hash_at(after)),
        })
        .expect("JSON");
        for one in &sealed[after.into()..] {
            out.extend(line_of(&Line::from(one)).expect("JSON"));
        }
        let head = Head {
            position: entries.into(),
            hash: hash_at(entries),
            sealed_at: Timestamp::from_secs(1_790_000_100),
        };
        out.extend(
            line_of(&Last {
                head: HeadView::from(&head),
            })
            .expect("JSON"),
        );
        out
    }

    pub(super) fn verified(file: &[u8]) -> Result<Found, Wrong> {
        verify_lines(file, None)
    }

    #[test]
    fn a_file_holds_as_a_whole_and_as_a_part() {
        for (entries, after) in [(0, 0), (1, 0), (5, 0), (5, 3), (5, 5)] {
            let found = verified(&file(entries, after)).expect("it holds");
            assert_eq!(
                (found.after, found.head.position),
                (after.into(), entries.into())
            );
        }
    }

    #[test]
    fn any_byte_that_is_another_is_found() {
        let whole = file(3, 0);
        // When it was sealed is told by the end alone, and is in no hash.
        let told = br#""sealed_at":""#;
        let told = whole
            .windows(told.len())
            .rposition(|at| at == told)
            .expect("it is there");
        for at in 0..told {
            for other in [whole[at] ^ 1, whole[at] ^ 0x20, b' ', b'0', b'"'] {
                let mut changed = whole.clone();
                changed[at] = other;
                if changed != whole {
                    assert!(
                        verified(&changed).is_err(),
                        "byte {at}: {}",
                        String::from_utf8_lossy(&changed)
                    );
                }
            }
        }
    }

    #[test]
    fn a_line_that_is_gone_doubled_or_moved_is_found() {
        let whole = file(6, 0);
        let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        let check = |lines: Vec<&[u8]>, what: &str| {
            assert!(verified(&lines.concat()).is_err(), "{what}");
        };
        for at in 0..lines.len() {
            let mut gone = lines.clone();
            gone.remove(at);
            check(gone, "a line is gone");
            let mut doubled = lines.clone();
            doubled.insert(at, lines[at]);
            check(doubled, "a line is there twice");
            for other in 0..at {
                let mut moved = lines.clone();
                moved.swap(at, other);
                check(moved, "two lines are swapped");
            }
            check(lines[..at].to_vec(), "the end is missing");
        }
        for cut in 0..whole.len() {
            assert!(verified(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn an_end_that_was_noted_elsewhere_must_be_in_it() {
        let whole = file(4, 0);
        let found = verified(&whole).expect("it holds");
        let noted = format!("{}:{}", found.head.position, found.head.hash);
        let noted = anchor(&noted).expect("an anchor");
        assert!(verify_lines(&whole[..], Some(noted)).is_ok());
        assert!(matches!(
            verify_lines(&file(3, 0)[..], Some(noted)),
            Err(Wrong::Chain(Broken::End { .. }))
        ));
        let other = (noted.0, [7; 32]);
        assert!(matches!(
            verify_lines(&whole[..], Some(other)),
            Err(Wrong::Chain(Broken::Anchor { position: 4 }))
        ));
        for wrong in ["", "4", "4:", ":00", "0:00", "x:00", "4:zz"] {
            assert_eq!(anchor(wrong), None, "{wrong}");
        }
    }
}
