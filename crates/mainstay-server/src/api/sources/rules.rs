//! The rules of the schemes `hmac`, `bearer` and `address` as the document describes them. What is given goes to the domain's own form as it is,
//! which checks it and has the defaults; a test holds the two together.

use mainstay_domain::intake::objects;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a provider signs that has no scheme of its own. Only `header` is needed; the rest defaults to lower-case
/// hexadecimal HMAC-SHA256 over the body, keyed with the secret's text. `docs/sources.md` has examples.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HmacRule {
    /// The header with the signature.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
    )]
    header: String,
    #[serde(default)]
    algorithm: HmacAlgorithm,
    #[serde(default)]
    encoding: SignatureEncoding,
    /// What stands before the signature, e.g. `sha256=`.
    #[serde(default)]
    #[schema(max_length = 64, pattern = r"^[\x00-\x7f]*$")]
    prefix: String,
    /// For a header made of fields, such as `ts=…;h1=…`: which they are.
    #[serde(default)]
    parts: Option<HeaderParts>,
    /// What is signed: `{body}`, and `{timestamp}` and `{id}` where the rule says where they stand.
    #[serde(default = "body")]
    signed: String,
    #[serde(default)]
    key_encoding: KeyEncoding,
    /// The header with the time of the signature, in seconds since 1970.
    #[serde(default)]
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
    )]
    timestamp_header: Option<String>,
    /// Where the event's id stands. Where it is absent from a request, a digest of the body takes its place.
    #[serde(default)]
    id: IdFrom,
    /// Where the event's type stands.
    #[serde(default, rename = "type")]
    kind: Option<KindFrom>,
    /// Where it stands when the event happened.
    #[serde(default)]
    occurred_at: Option<TimeFrom>,
}

/// Where the token of the scheme `bearer` stands.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BearerRule {
    /// The header.
    #[serde(default = "authorization")]
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
    )]
    header: String,
    /// What stands before the token. Left out: `Bearer ` in the header `Authorization`, nothing in any other.
    #[serde(default)]
    #[schema(max_length = 64, pattern = r"^[\x00-\x7f]*$")]
    prefix: Option<String>,
}

fn authorization() -> String {
    "Authorization".into()
}

/// Where an event's parts stand, for the schemes `bearer` and `address`. Left out, the body's digest is the id.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EventRule {
    /// Where the event's id stands. Where it is absent from a request, a digest of the body takes its place.
    id: IdFrom,
    /// Where the event's type stands.
    #[serde(rename = "type")]
    kind: Option<KindFrom>,
    /// Where it stands when the event happened.
    occurred_at: Option<TimeFrom>,
}

fn body() -> String {
    "{body}".into()
}

/// The hash of an HMAC.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HmacAlgorithm {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How the tenant of each event is found.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantRule {
    /// Where values stand that a tenant may be known by, in order: the first that leads to one wins.
    #[schema(min_items = 1, max_items = 4)]
    find: Vec<TenantFrom>,
    /// Whether a value that nobody linked may be the slug or the id of a tenant itself.
    #[serde(default)]
    direct: bool,
}

/// Where a value stands that a tenant may be known by.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TenantFrom {
    /// In a header.
    Header(String),
    /// In the event's payload: a JSON pointer to a string or a whole number; in a form, `/` and the name of a field.
    Pointer(String),
}

/// Where ids of one kind of object stand in events.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectRule {
    /// What they are ids of, e.g. `customer`.
    #[schema(min_length = 1, max_length = 40, pattern = "^[a-z0-9_]+$")]
    name: String,
    /// Where they stand in the payload: a JSON pointer; a step `*` stands for every element of a list. In a form, `/` and
    /// the name of a field.
    #[schema(max_length = 512, pattern = "^/")]
    pointer: String,
    /// Of which type of events; with a trailing `*` those that begin so.
    #[serde(default = "every")]
    #[schema(min_length = 1, max_length = 200, default = "*")]
    types: String,
}

fn every() -> String {
    "*".to_owned()
}

impl ObjectRule {
    pub(crate) fn of(rule: &objects::ObjectRule) -> Self {
        Self {
            name: rule.name.clone(),
            pointer: rule.pointer.as_str().to_owned(),
            types: rule.types.clone(),
        }
    }
}

/// After an event of one type one of another must come for the same object within a time.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectRule {
    /// Unique in the source.
    #[schema(pattern = "^[a-z0-9_-]{1,63}$")]
    name: String,
    /// What begins it: events of this source.
    after: ExpectAfter,
    /// What must come.
    expect: ExpectThen,
    /// Within how many seconds after the other was received.
    #[schema(minimum = 1, maximum = 2678400)]
    within_secs: i64,
    /// How many seconds before the other it may have come already, since webhooks overtake each other.
    #[serde(default = "before_secs")]
    #[schema(minimum = 0, maximum = 86400)]
    before_secs: i64,
}

fn before_secs() -> i64 {
    600
}

/// The events that begin something.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectAfter {
    /// One type exactly, `prefix.*` or `*`.
    #[serde(rename = "type")]
    #[schema(min_length = 1, max_length = 200)]
    kind: String,
    /// Where the object's key stands in the payload: a JSON pointer to a string or a whole number.
    #[schema(min_length = 1, max_length = 512, pattern = "^/")]
    key: String,
}

/// The events that must come.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectThen {
    /// The name of their source, which is of the same tenant; null: this one.
    #[serde(default)]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    source: Option<String>,
    /// One type exactly, `prefix.*` or `*`.
    #[serde(rename = "type")]
    #[schema(min_length = 1, max_length = 200)]
    kind: String,
    /// Where the same key stands in their payload.
    #[schema(min_length = 1, max_length = 512, pattern = "^/")]
    key: String,
}

/// How a signature is written.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SignatureEncoding {
    /// Hexadecimal.
    #[default]
    Hex,
    /// Base64.
    Base64,
}

/// How the text of a secret stands for the key's bytes.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyEncoding {
    /// The text itself.
    #[default]
    Utf8,
    /// Base64.
    Base64,
    /// Hexadecimal.
    Hex,
}

/// The fields of a signature header like Stripe's or Paddle's.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderParts {
    /// What stands between two fields.
    #[schema(value_type = String, pattern = "^[,;& |]$")]
    separator: char,
    /// The name of the field with the signature; it may stand there several times, and any may match.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.-]+$")]
    signature: String,
    /// The name of the field with the time.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.-]+$")]
    timestamp: Option<String>,
}

/// Where an event's id stands.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IdFrom {
    /// In a header.
    Header(String),
    /// In the body: a JSON pointer to a string or a whole number.
    Pointer(String),
    /// Nowhere: equal bodies are one event.
    #[default]
    Digest,
}

/// Where an event's type stands.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KindFrom {
    /// In a header.
    Header(String),
    /// In the body: a JSON pointer.
    Pointer(String),
    /// Every event has this one.
    Fixed(String),
}

/// Where it stands when an event happened: RFC 3339, or seconds or milliseconds since 1970.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TimeFrom {
    /// In a header.
    Header(String),
    /// In the body: a JSON pointer.
    Pointer(String),
}

#[cfg(test)]
mod tests {
    use mainstay_domain::intake::scheme;
    use serde::{Serialize, de::DeserializeOwned};
    use serde_json::{Value, json};

    use super::*;

    /// The rule as each of the two forms reads it and writes it again.
    fn both(rule: &Value) -> [Option<Value>; 2] {
        [again::<scheme::HmacRule>(rule), again::<HmacRule>(rule)]
    }

    fn again<T: Serialize + DeserializeOwned>(rule: &Value) -> Option<Value> {
        let read = serde_json::from_value::<T>(rule.clone()).ok();
        read.and_then(|rule| serde_json::to_value(rule).ok())
    }

    #[test]
    fn the_other_described_rules_are_the_domains_own() {
        for rule in [
            json!({}),
            json!({ "header": "X-Gitlab-Token" }),
            json!({ "prefix": "Token " }),
            json!({ "other": 1 }),
        ] {
            let own = again::<scheme::BearerRule>(&rule);
            assert_eq!(own, again::<BearerRule>(&rule), "{rule}");
        }
        for rule in [
            json!({}),
            json!({ "id": { "header": "X-Id" }, "type": { "fixed": "a" }, "occurred_at": { "header": "X-At" } }),
            json!({ "id": "digest", "type": { "pointer": "/type" }, "occurred_at": { "pointer": "/at" } }),
            json!({ "occurred_at": "digest" }),
            json!({ "other": 1 }),
        ] {
            let own = again::<scheme::EventRule>(&rule);
            assert_eq!(own, again::<EventRule>(&rule), "{rule}");
        }
    }

    #[test]
    fn the_described_rule_for_tenants_is_the_domains_own() {
        for rule in [
            json!({ "find": [{ "pointer": "/account" }, { "header": "X-Tenant" }] }),
            json!({ "find": [{ "pointer": "/account" }], "direct": true }),
            json!({ "find": [{ "fixed": "acme" }] }),
            json!({ "find": [], "other": 1 }),
            json!({}),
        ] {
            let own = again::<scheme::TenantRule>(&rule);
            assert_eq!(own, again::<TenantRule>(&rule), "{rule}");
        }
    }

    #[test]
    fn the_described_rule_for_objects_is_the_domains_own() {
        for rule in [
            json!({ "name": "customer", "pointer": "/customer" }),
            json!({ "name": "customer", "pointer": "/customer", "types": "a.*" }),
            json!({ "name": "customer" }),
            json!({ "name": "customer", "pointer": "/customer", "other": 1 }),
        ] {
            let own = serde_json::from_value::<objects::ObjectRule>(rule.clone());
            let described = serde_json::from_value::<ObjectRule>(rule.clone());
            let own = own.ok().map(|own| ObjectRule::of(&own));
            assert_eq!(
                own.map(|own| serde_json::to_value(own).expect("JSON")),
                described
                    .ok()
                    .map(|own| serde_json::to_value(own).expect("JSON")),
                "{rule}"
            );
        }
    }

    #[test]
    fn the_described_rule_is_the_domains_own() {
        for rule in [
            json!({ "header": "X-Signature" }),
            json!({
                "header": "X-Slack-Signature", "prefix": "v0=", "signed": "v0:{timestamp}:{body}",
                "timestamp_header": "X-Slack-Request-Timestamp", "algorithm": "sha512", "encoding": "base64",
                "key_encoding": "hex", "id": { "pointer": "/event_id" }, "type": { "fixed": "message" },
                "occurred_at": { "pointer": "/event_time" },
            }),
            json!({
                "header": "Paddle-Signature", "signed": "{timestamp}:{body}", "id": { "header": "X-Id" },
                "parts": { "separator": ";", "signature": "h1", "timestamp": "ts" }, "type": { "pointer": "/type" },
            }),
        ] {
            let [own, described] = both(&rule);
            assert!(own.is_some(), "{rule}");
            assert_eq!(own, described, "{rule}");
        }
        for wrong in [
            json!({}),
            json!({ "header": "X", "other": 1 }),
            json!({ "header": "X", "parts": { "separator": ";;", "signature": "v1" } }),
            json!({ "header": "X", "id": { "fixed": "x" } }),
        ] {
            assert_eq!(both(&wrong), [None, None], "{wrong}");
        }
    }
}
