//! Signing: for `mainstay send`, for tests, and for what Mainstay itself sends (Standard Webhooks).

use base64::Engine as _;

use super::{
    PreparedScheme, Scheme, Secret, github,
    hmac_rule::{HmacRule, IdFrom, KeyEncoding, KindFrom},
    mac::{self, BASE64, Encoding},
    standard_webhooks, stripe,
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
    PreparedScheme::new(scheme.clone(), std::slice::from_ref(secret)).map(|one| one.sign(message))
}

/// A new secret, made of 32 unpredictable bytes, in the form that the scheme's secrets have.
pub fn generate_secret(scheme: &Scheme, random: &[u8; 32]) -> String {
    match scheme {
        Scheme::StandardWebhooks => format!("whsec_{}", BASE64.encode(random)),
        Scheme::Stripe => format!("whsec_{}", mac::hex(random)),
        Scheme::Hmac(rule) if rule.key_encoding == KeyEncoding::Base64 => BASE64.encode(random),
        Scheme::Github | Scheme::Meta { .. } | Scheme::Hmac(_) => mac::hex(random),
    }
}

impl PreparedScheme {
    /// The headers that make this a request of the scheme's provider: with a signature of every key where the
    /// scheme has room for several (so that the receiver can change secrets when it likes), else of the first.
    /// Empty without keys.
    pub fn sign(&self, message: &Message<'_>) -> Vec<(String, String)> {
        if self.keys.is_empty() {
            return Vec::new();
        }
        let time = message.timestamp_secs.to_string();
        let headers = match &self.scheme {
            Scheme::Stripe => {
                let signed = stripe::signed(&time, message.body);
                let list = self.tags(&signed, Encoding::Hex, "v1=").join(",");
                vec![(stripe::HEADER, format!("t={time},{list}"))]
            }
            Scheme::StandardWebhooks => {
                let signed = standard_webhooks::signed(message.id, &time, message.body);
                let list = self.tags(&signed, Encoding::Base64, "v1,").join(" ");
                vec![
                    ("webhook-id", message.id.to_owned()),
                    ("webhook-timestamp", time),
                    ("webhook-signature", list),
                ]
            }
            Scheme::Github => {
                let event = message.kind.split('.').next().unwrap_or_default();
                vec![
                    self.hub(message.body),
                    (github::DELIVERY, message.id.to_owned()),
                    (github::EVENT, event.to_owned()),
                ]
            }
            Scheme::Meta { .. } => vec![self.hub(message.body)],
            Scheme::Hmac(rule) => self.by_rule(rule, message, time),
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
        if let IdFrom::Header(name) = &rule.id {
            headers.push((name, message.id.to_owned()));
        }
        if let Some(KindFrom::Header(name)) = &rule.kind {
            headers.push((name, message.kind.to_owned()));
        }
        headers
    }

    fn tags(&self, signed: &[&[u8]], encoding: Encoding, prefix: &str) -> Vec<String> {
        self.keys
            .iter()
            .map(|key| {
                let tag = mac::tag(key, signed.iter().copied());
                format!("{prefix}{}", encoding.encode(tag.as_ref()))
            })
            .collect()
    }
}
