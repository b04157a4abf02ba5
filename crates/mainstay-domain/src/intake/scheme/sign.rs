//! Signing: for `mainstay send`, for tests, and for what Mainstay itself sends (Standard Webhooks).

use base64::Engine as _;

use super::{
    How, PreparedScheme, Scheme, Secret, github,
    hmac_rule::{HmacRule, KeyEncoding},
    key::Key,
    mac::{self, BASE64, Encoding},
    reading::{IdFrom, KindFrom, Reading},
    standard_webhooks::{self, V1, V1A},
    stripe, twilio,
};
use crate::intake::settings::SettingProblem;

/// What is to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The event's id, where the scheme carries it in a header.
    pub id: &'a str,
    /// The event's type, where the scheme carries it in a header; of `pull_request.opened` GitHub's header gets
    /// the part before the dot.
    pub kind: &'a str,
    /// When it is signed, in seconds since 1970; not negative.
    pub timestamp_secs: i64,
    /// The body, which is sent exactly so.
    pub body: &'a [u8],
}

/// The headers that make this a request of the scheme's provider, signed with one secret.
pub fn sign(
    scheme: &Scheme,
    secret: &Secret,
    message: &Message<'_>,
) -> Result<Vec<(String, String)>, SettingProblem> {
    sign_to(scheme, secret, "", message)
}

/// The same for a URL, which some schemes sign; see [`Scheme::url_for`].
pub fn sign_to(
    scheme: &Scheme,
    secret: &Secret,
    url: &str,
    message: &Message<'_>,
) -> Result<Vec<(String, String)>, SettingProblem> {
    let secrets = match scheme.needs_no_secret() {
        true => &[],
        false => std::slice::from_ref(secret),
    };
    PreparedScheme::new(scheme.clone(), secrets).map(|one| one.sign_to(url, message))
}

/// A new secret, made of 32 unpredictable bytes, in the form that the scheme's secrets have.
pub fn generate_secret(scheme: &Scheme, random: &[u8; 32]) -> String {
    match scheme {
        Scheme::StandardWebhooks => format!("whsec_{}", BASE64.encode(random)),
        Scheme::Stripe => format!("whsec_{}", mac::hex(random)),
        Scheme::Paddle => format!("pdl_ntfset_{}", mac::hex(random)),
        Scheme::Whop => format!("ws_{}", mac::hex(random)),
        Scheme::Hmac(rule) if rule.key_encoding == KeyEncoding::Base64 => BASE64.encode(random),
        Scheme::Github
        | Scheme::Meta { .. }
        | Scheme::Shopify
        | Scheme::Slack
        | Scheme::Paypal
        | Scheme::Twilio
        | Scheme::Bearer { .. }
        | Scheme::Address { .. }
        | Scheme::Hmac(_) => mac::hex(random),
    }
}

impl PreparedScheme {
    /// The headers that make this a request of the scheme's provider: with a signature of every key where the
    /// scheme has room for several (so that the receiver can change secrets when it likes), else of the first.
    /// Empty without keys.
    pub fn sign(&self, message: &Message<'_>) -> Vec<(String, String)> {
        self.sign_to("", message)
    }

    /// The same for a URL, which some schemes sign; see [`Scheme::url_for`].
    pub fn sign_to(&self, url: &str, message: &Message<'_>) -> Vec<(String, String)> {
        if self.keys.is_empty() && !self.scheme.needs_no_secret() {
            return Vec::new();
        }
        let time = message.timestamp_secs.to_string();
        let headers = match &self.scheme {
            Scheme::Github => {
                let event = message.kind.split('.').next().unwrap_or_default();
                vec![
                    self.hub(message.body),
                    (github::DELIVERY, message.id.to_owned()),
                    (github::EVENT, event.to_owned()),
                ]
            }
            Scheme::Address { event } => named(event.reading(), message),
            Scheme::Bearer { event, bearer } => {
                let token = self.keys.first().and_then(Key::text);
                let token = token.map_or("", Secret::expose);
                let mut headers = vec![(
                    bearer.header.as_str(),
                    format!("{}{token}", bearer.prefix()),
                )];
                headers.extend(named(event.reading(), message));
                headers
            }
            scheme => match scheme.how() {
                How::Stripe => {
                    let signed = stripe::signed(&time, message.body);
                    let list = self.tags(&signed, Encoding::Hex, "v1=").join(",");
                    vec![(stripe::HEADER, format!("t={time},{list}"))]
                }
                How::StandardWebhooks | How::Whop => self.standard(message, time),
                How::Twilio => vec![self.twilio(url, message.body)],
                How::Rule(rule) => self.by_rule(rule, message, time),
                // Only PayPal has the key.
                How::Paypal => Vec::new(),
                How::Hub | How::Bearer(_) | How::Address => vec![self.hub(message.body)],
            },
        };
        headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn hub(&self, body: &[u8]) -> (&'static str, String) {
        let tags = self.tags(&[body], Encoding::Hex, github::PREFIX);
        (github::HEADER, tags.into_iter().next().unwrap_or_default())
    }

    fn standard(&self, message: &Message<'_>, time: String) -> Vec<(&'static str, String)> {
        let signed = standard_webhooks::signed(message.id, &time, message.body);
        let mut list = self.tags(&signed, Encoding::Base64, V1);
        for key in &self.keys {
            if let Key::Ed25519Pair(pair) = key {
                let signature = pair.sign(&signed.concat());
                list.push(format!("{V1A}{}", BASE64.encode(signature.as_ref())));
            }
        }
        vec![
            ("webhook-id", message.id.to_owned()),
            ("webhook-timestamp", time),
            ("webhook-signature", list.join(" ")),
        ]
    }

    /// Empty for a body that is neither a form nor the one that the URL has the digest of.
    fn twilio(&self, url: &str, body: &[u8]) -> (&'static str, String) {
        let signed = twilio::Signed::of(url, body).ok();
        let tags = signed.map(|signed| {
            let parts = signed.parts(url);
            self.tags(&parts, Encoding::Base64, "")
        });
        let tag = tags.and_then(|tags| tags.into_iter().next());
        (twilio::HEADER, tag.unwrap_or_default())
    }

    fn by_rule<'r>(
        &self,
        rule: &'r HmacRule,
        message: &Message<'_>,
        time: String,
    ) -> Vec<(&'r str, String)> {
        let parts = rule.signed.parts(message.id, &time, message.body);
        let signed: Vec<&[u8]> = parts.collect();
        let signature = match &rule.parts {
            None => {
                let tags = self.tags(&signed, rule.encoding.into(), &rule.prefix);
                tags.into_iter().next().unwrap_or_default()
            }
            Some(parts) => {
                let name = format!("{}=", parts.signature);
                let mut fields = self.tags(&signed, rule.encoding.into(), &name);
                if let Some(name) = &parts.timestamp {
                    fields.insert(0, format!("{name}={time}"));
                }
                fields.join(parts.separator.to_string().as_str())
            }
        };
        let mut headers = vec![(rule.header.as_str(), signature)];
        if let Some(name) = &rule.timestamp_header {
            headers.push((name, time));
        }
        headers.extend(named(rule.reading(), message));
        headers
    }

    fn tags(&self, signed: &[&[u8]], encoding: Encoding, prefix: &str) -> Vec<String> {
        self.keys
            .iter()
            .filter_map(Key::hmac)
            .map(|key| {
                let tag = mac::tag(key, signed.iter().copied());
                format!("{prefix}{}", encoding.encode(tag.as_ref()))
            })
            .collect()
    }
}

/// The headers that say what the event is.
fn named<'r>(reading: Reading<'r>, message: &Message<'_>) -> Vec<(&'r str, String)> {
    let mut headers = Vec::new();
    if let IdFrom::Header(name) = reading.id {
        headers.push((name.as_str(), message.id.to_owned()));
    }
    if let Some(KindFrom::Header(name)) = reading.kind {
        headers.push((name.as_str(), message.kind.to_owned()));
    }
    headers
}
