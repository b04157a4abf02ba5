//! Which stories a scheme's provider tells, and how what is told is signed, truly or not.

use std::collections::BTreeSet;

use mainstay_domain::{
    intake::scheme::{self, Message, PreparedScheme, Scheme, Secret, generate_secret},
    time::{Random as _, SeededRandom},
};
use mainstay_shapes::{
    dice::Dice,
    story::{self, Teller, Told},
};
use serde_json::json;

use super::super::{
    failure::Failure,
    send_body::{self, Made, content_type},
};

/// How a request departs from the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forgery {
    /// Signed with a secret that nobody gave out.
    Secret,
    /// The body says more than what was signed.
    Body,
    /// No signature.
    Unsigned,
    /// Signed truly, and long ago.
    TooOld,
}

/// Tells stories as the scheme's provider does.
pub(super) struct Tale {
    scheme: Scheme,
    teller: Option<Teller>,
}

impl Tale {
    pub(super) fn of(scheme: &Scheme) -> Result<Self, Failure> {
        let teller = match scheme {
            Scheme::Stripe => Some(Teller::Stripe),
            Scheme::Github => Some(Teller::Github),
            Scheme::Meta { .. } => Some(Teller::Whatsapp),
            Scheme::StandardWebhooks | Scheme::Whop => Some(Teller::Standard),
            Scheme::Shopify => Some(Teller::Shopify),
            Scheme::Slack => Some(Teller::Slack),
            Scheme::Paddle => Some(Teller::Paddle),
            Scheme::Twilio => Some(Teller::Twilio),
            Scheme::Bearer { .. } | Scheme::Address { .. } | Scheme::Hmac(_) => None,
            Scheme::Paypal => {
                return Err(Failure::usage("only PayPal can sign as PayPal does")
                    .hint("its dashboard has a simulator that sends to any URL"));
            }
        };
        Ok(Self {
            scheme: scheme.clone(),
            teller,
        })
    }

    /// What happens to one object, in the order in which it happens.
    pub(super) fn story(&self, dice: &Dice, now: i64) -> Vec<Told> {
        if let Some(teller) = self.teller {
            return story::story(teller, dice, now);
        }
        let subject = format!("ord_{}", dice.id(16));
        let kinds = ["order.created", "order.updated", "order.completed"];
        kinds
            .map(|kind| self.by_rule(kind, &subject, dice, now))
            .into()
    }

    fn by_rule(&self, kind: &str, subject: &str, dice: &Dice, at_secs: i64) -> Told {
        let id = format!("evt_{}", dice.id(24));
        let made = Made {
            id: &id,
            kind,
            at_secs,
        };
        let body = send_body::body(&self.scheme, &made);
        let mut body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        if let Some(fields) = body.as_object_mut() {
            fields.entry("subject").or_insert(json!(subject));
        }
        Told {
            kind: kind.to_owned(),
            id,
            headers: Vec::new(),
            body: body.to_string().into(),
        }
    }

    /// The same event as another version of the provider's API tells it.
    pub(super) fn changed(&self, told: &Told) -> Told {
        match self.teller {
            Some(teller) => story::changed(teller, told),
            None => Told {
                body: widened(&told.body, "a_new_field"),
                ..told.clone()
            },
        }
    }

    /// An event of a type that nobody has heard of.
    pub(super) fn unheard_of(&self, told: &Told, dice: &Dice, now: i64) -> Told {
        match self.teller {
            Some(teller) => story::unheard_of(teller, told, dice),
            None => self.by_rule("order.reimagined", "ord_new", dice, now),
        }
    }
}

/// The same body with one thing more in it.
fn widened(body: &[u8], name: &str) -> bytes::Bytes {
    let text = body.trim_ascii_end();
    match text.strip_suffix(b"}") {
        Some(open) => [open, format!(r#","{name}":true}}"#).as_bytes()]
            .concat()
            .into(),
        None => [text, format!("&{name}=true").as_bytes()].concat().into(),
    }
}

/// A request, ready to go.
pub(super) struct Signed {
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: bytes::Bytes,
}

/// Signs what is told.
pub(super) struct Signer {
    scheme: Scheme,
    url: String,
    /// As which URL it is signed, where that is another.
    sent_to: Option<String>,
    right: PreparedScheme,
    wrong: PreparedScheme,
    /// The headers in which the signature stands.
    carriers: BTreeSet<String>,
    /// Whether the time is signed, and the body.
    pub(super) signs_time: bool,
    pub(super) signs_body: bool,
}

impl Signer {
    pub(super) fn new(
        scheme: &Scheme,
        secret: Secret,
        url: &str,
        sent_to: Option<&str>,
        seed: u64,
    ) -> Result<Self, Failure> {
        let usage = |problem: mainstay_domain::intake::settings::SettingProblem| {
            Failure::usage(problem.to_string())
        };
        let mut random = [0; 32];
        SeededRandom::new(seed ^ 0x005e_c4e7).fill(&mut random);
        let forged = Secret::new(generate_secret(scheme, &random));
        let prepared = |secret: Secret| {
            let secrets = [secret];
            let none: &[Secret] = &[];
            let secrets = if scheme.needs_no_secret() {
                none
            } else {
                &secrets
            };
            PreparedScheme::new(scheme.clone(), secrets)
        };
        let mut signer = Self {
            scheme: scheme.clone(),
            url: url.to_owned(),
            sent_to: sent_to.map(str::to_owned),
            right: prepared(secret).map_err(usage)?,
            wrong: prepared(forged).map_err(usage)?,
            carriers: BTreeSet::new(),
            signs_time: false,
            signs_body: false,
        };
        signer.learn();
        Ok(signer)
    }

    /// What a scheme signs is seen by what changes when something else is signed.
    fn learn(&mut self) {
        let body = match self.scheme {
            Scheme::Twilio => b"a=b".as_slice(),
            _ => br#"{"a":"b"}"#,
        };
        let told = |body: bytes::Bytes| Told {
            kind: "a.b".into(),
            id: "id".into(),
            headers: Vec::new(),
            body,
        };
        let first = told(bytes::Bytes::copy_from_slice(body));
        let other = told(widened(body, "c"));
        let at = 1_700_000_000;
        let differing = |one: Vec<(String, String)>, two: Vec<(String, String)>| {
            let two: BTreeSet<_> = two.into_iter().collect();
            let found = one.into_iter().filter(|header| !two.contains(header));
            found.map(|(name, _)| name).collect::<BTreeSet<String>>()
        };
        let true_ = |told: &Told, at| self.signature(&self.right, told, at);
        let carriers = differing(true_(&first, at), self.signature(&self.wrong, &first, at));
        let by_time = differing(true_(&first, at), true_(&first, at - 3_600));
        let by_body = differing(true_(&first, at), true_(&other, at));
        let touches = |changed: &BTreeSet<String>| !changed.is_disjoint(&carriers);
        (self.signs_time, self.signs_body) = (touches(&by_time), touches(&by_body));
        self.carriers = carriers;
    }

    /// Whether there is a signature at all, or a token.
    pub(super) fn is_signed(&self) -> bool {
        !self.carriers.is_empty()
    }

    fn signature(&self, with: &PreparedScheme, told: &Told, at_secs: i64) -> Vec<(String, String)> {
        let url = self.sent_to.as_deref().unwrap_or(&self.url);
        let message = Message {
            id: &told.id,
            kind: &told.kind,
            timestamp_secs: at_secs,
            body: &told.body,
        };
        with.sign_to(&self.scheme.url_for(url, &told.body), &message)
    }

    /// The request, as of this time.
    pub(super) fn sign(&self, told: &Told, at_secs: i64, forgery: Option<Forgery>) -> Signed {
        let with = match forgery {
            Some(Forgery::Secret) => &self.wrong,
            _ => &self.right,
        };
        let mut signature = self.signature(with, told, at_secs);
        if forgery == Some(Forgery::Unsigned) {
            signature.retain(|(name, _)| !self.carriers.contains(name));
        }
        let mut headers = vec![(
            "content-type".to_owned(),
            content_type(&self.scheme, &told.body).to_owned(),
        )];
        let own = told.headers.iter();
        headers.extend(own.map(|(name, value)| ((*name).to_owned(), value.clone())));
        headers.extend(signature);
        Signed {
            url: self.scheme.url_for(&self.url, &told.body),
            headers,
            body: match forgery {
                Some(Forgery::Body) => widened(&told.body, "forged"),
                _ => told.body.clone(),
            },
        }
    }

    /// Whether this can be told from the truth.
    pub(super) fn shows(&self, forgery: Forgery) -> bool {
        match forgery {
            Forgery::Secret | Forgery::Unsigned => self.is_signed(),
            Forgery::Body => self.signs_body,
            Forgery::TooOld => self.signs_time,
        }
    }
}

/// A secret that can be signed with.
pub(super) fn check(scheme: &Scheme, secret: &Secret) -> Result<(), Failure> {
    if scheme.needs_no_secret() {
        return Ok(());
    }
    let message = Message {
        id: "id",
        kind: "a.b",
        timestamp_secs: 0,
        body: b"{}",
    };
    scheme::sign(scheme, secret, &message)
        .map(drop)
        .map_err(|problem| Failure::usage(problem.to_string()))
}

#[cfg(test)]
mod tests {
    use mainstay_domain::intake::{
        scheme::{Request, Route},
        settings::SourceSettings,
    };

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const URL: &str = "https://hooks.example.test/in/x";

    fn scheme(name: &str) -> Scheme {
        let event = json!({ "id": { "pointer": "/id" }, "type": { "header": "x-type" } });
        let settings = json!({
            "event": event,
            "hmac": { "header": "x-signature", "id": { "pointer": "/event/id" }, "type": { "pointer": "/event/type" } },
            "allow": ["192.0.2.0/24"],
        });
        let mut settings: SourceSettings = serde_json::from_value(settings).expect("settings");
        if name != "hmac" {
            settings.hmac = None;
        }
        if !["bearer", "address"].contains(&name) {
            settings.event = None;
        }
        Scheme::from_settings(name, &settings).expect("a scheme")
    }

    /// What Mainstay's own door says of a request: the ids in it, or nothing.
    fn taken(scheme: &Scheme, secret: &Secret, signed: &Signed) -> Option<Vec<String>> {
        let request = Request {
            headers: &signed.headers,
            body: &signed.body,
            now_secs: NOW,
            route: Route {
                url: &signed.url,
                remote: "192.0.2.1".parse().ok(),
                certificate: None,
            },
        };
        let secrets = match scheme.needs_no_secret() {
            true => Vec::new(),
            false => vec![secret.clone()],
        };
        let prepared = PreparedScheme::new(scheme.clone(), &secrets)
            .expect("prepared")
            .allowing(vec!["192.0.2.0/24".parse().expect("a range")]);
        prepared.verify(300, &request).ok()?;
        let events = prepared.extract(&request).ok()?;
        Some(events.into_iter().map(|event| event.provider_id).collect())
    }

    #[test]
    fn a_door_takes_what_is_told_under_its_id_and_refuses_what_is_forged() {
        for name in Scheme::NAMES {
            let scheme = scheme(name);
            if matches!(scheme, Scheme::Paypal) {
                assert!(Tale::of(&scheme).is_err());
                continue;
            }
            let secret = Secret::new(generate_secret(&scheme, &[7; 32]));
            let tale = Tale::of(&scheme).expect("a tale");
            let signer = Signer::new(&scheme, secret.clone(), URL, None, 1).expect("a signer");
            let dice = Dice::new(3);
            let mut stories: Vec<Told> = tale.story(&dice, NOW);
            let newer: Vec<Told> = stories.iter().map(|told| tale.changed(told)).collect();
            stories.push(tale.unheard_of(&stories[0], &dice, NOW));
            for told in stories.iter().chain(&newer) {
                let signed = signer.sign(told, NOW - 10, None);
                let ids = taken(&scheme, &secret, &signed);
                assert_eq!(ids, Some(vec![told.id.clone()]), "{name} {}", told.kind);
            }
            for forgery in [
                Forgery::Secret,
                Forgery::Body,
                Forgery::Unsigned,
                Forgery::TooOld,
            ] {
                let age = if forgery == Forgery::TooOld { 3_600 } else { 0 };
                let forged = signer.sign(&stories[0], NOW - age, Some(forgery));
                let is_taken = taken(&scheme, &secret, &forged).is_some();
                assert_eq!(is_taken, !signer.shows(forgery), "{name} {forgery:?}");
            }
        }
    }
}
