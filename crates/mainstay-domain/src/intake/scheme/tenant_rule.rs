//! How a source finds the tenant of each event: where a value stands that a tenant is known by.

use serde::{Deserialize, Serialize};

use super::{
    form, header::Headers, hmac_rule::is_header_name, json, pointer::JsonPointer, problem,
};
use crate::intake::{links::is_value, settings::SettingProblem};

/// The most places that a rule can name: each is looked up until one leads to a tenant.
pub const TENANT_PLACES_MAX: usize = 4;

/// How the tenant of each event of a source is found. Without a rule it is the source's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantRule {
    /// Where values stand that a tenant may be known by, in order: the first that leads to one wins.
    pub find: Vec<TenantFrom>,
    /// Whether a value that nobody linked may be the slug or the id of a tenant itself.
    #[serde(default)]
    pub direct: bool,
}

/// Where a value stands. In JSON `{"pointer":"/account"}` or `{"header":"X-Tenant"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantFrom {
    /// In a header.
    Header(String),
    /// In the event's payload: a string or a whole number. In a form, the field that a pointer of one step names.
    Pointer(JsonPointer),
}

impl TenantRule {
    /// Reads the rule from a source's settings; what cannot be one is refused.
    pub fn from_settings(settings: &serde_json::Value) -> Result<Self, SettingProblem> {
        let rule =
            Self::deserialize(settings).map_err(|error| problem("tenant", error.to_string()))?;
        if !(1..=TENANT_PLACES_MAX).contains(&rule.find.len()) {
            let words = format!("must name 1 to {TENANT_PLACES_MAX} places");
            return Err(problem("tenant.find", words));
        }
        let bad =
            |place: &TenantFrom| matches!(place, TenantFrom::Header(name) if !is_header_name(name));
        if rule.find.iter().any(bad) {
            return Err(problem("tenant.find", "names a header that cannot be one"));
        }
        Ok(rule)
    }

    /// The values that stand in these places of a verified request, in order, each once. What is absent, empty, longer
    /// than a value may be or not a value at all is passed over; where nothing is left, the empty value stands for it.
    pub fn values(&self, headers: &dyn Headers, payload: &[u8]) -> Vec<String> {
        let mut values = Vec::with_capacity(self.find.len());
        for place in &self.find {
            let value = match place {
                TenantFrom::Header(name) => in_header(headers, name),
                TenantFrom::Pointer(pointer) => in_payload(headers, payload, pointer),
            };
            let usable = |value: &String| !value.is_empty() && is_value(value);
            if let Some(value) = value.filter(usable)
                && !values.contains(&value)
            {
                values.push(value);
            }
        }
        if values.is_empty() {
            values.push(String::new());
        }
        values
    }
}

fn in_header(headers: &dyn Headers, name: &str) -> Option<String> {
    let value = headers.header(name)?.trim_ascii();
    std::str::from_utf8(value).ok().map(str::to_owned)
}

fn in_payload(headers: &dyn Headers, payload: &[u8], pointer: &JsonPointer) -> Option<String> {
    if let (true, [name]) = (is_form(headers), pointer.segments()) {
        let mut fields = form::fields(payload).ok()?.into_iter();
        return fields.find(|(own, _)| own == name).map(|(_, value)| value);
    }
    value_at(payload, pointer)
}

/// A string, or a whole number as it is written, that stands there in a JSON payload.
pub(in crate::intake) fn value_at(payload: &[u8], pointer: &JsonPointer) -> Option<String> {
    let raw = pointer.find(json::text(payload).ok()?).ok()??;
    let digits = raw.get().strip_prefix('-').unwrap_or(raw.get());
    match json::string(raw) {
        Some(text) => Some(text.into_owned()),
        // As it is written: a large one would lose digits as a number.
        None if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(raw.get().to_owned()),
        None => None,
    }
}

fn is_form(headers: &dyn Headers) -> bool {
    let essence = headers
        .header("content-type")
        .and_then(|value| value.split(|byte| *byte == b';').next());
    essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::links::VALUE_CHARS_MAX;

    const NO_HEADERS: [(&str, &str); 0] = [];

    fn rule(text: &str) -> Result<TenantRule, SettingProblem> {
        TenantRule::from_settings(&serde_json::from_str(text).expect("JSON"))
    }

    #[test]
    fn values_are_found_in_the_order_of_the_rule_each_once() {
        let rule = rule(
            r#"{"find":[{"pointer":"/account"},{"header":"X-Tenant"},{"pointer":"/data/customer"}]}"#,
        )
        .expect("a rule");
        let body = br#"{"account":"acct_1","data":{"customer":12345678901234567890}}"#;
        let headers = [("x-tenant", " acct_1 ")];
        assert_eq!(
            rule.values(&headers, body),
            ["acct_1", "12345678901234567890"]
        );
        assert_eq!(rule.values(&[("x-tenant", "b")], b"{}"), ["b"]);
    }

    #[test]
    fn what_is_no_value_is_passed_over_and_nothing_is_the_empty_value() {
        let rule = rule(r#"{"find":[{"pointer":"/account"}]}"#).expect("a rule");
        let long = format!(r#"{{"account":"{}"}}"#, "a".repeat(VALUE_CHARS_MAX + 1));
        for body in [
            "{}",
            r#"{"account":null}"#,
            r#"{"account":{"id":"a"}}"#,
            r#"{"account":true}"#,
            r#"{"account":1.5}"#,
            r#"{"account":""}"#,
            r#"{"account":"a\u0000"}"#,
            r#"{"account":"a","account":"b"}"#,
            "not JSON",
            &long,
        ] {
            assert_eq!(rule.values(&NO_HEADERS, body.as_bytes()), [""], "{body}");
        }
    }

    #[test]
    fn a_pointer_of_one_step_names_a_field_of_a_form() {
        let rule = rule(r#"{"find":[{"pointer":"/To"}]}"#).expect("a rule");
        let headers = [(
            "Content-Type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )];
        assert_eq!(rule.values(&headers, b"From=%2B1&To=%2B4930"), ["+4930"]);
    }

    #[test]
    fn a_rule_names_one_to_four_places_that_can_be() {
        assert!(rule(r#"{"find":[{"header":"X-Tenant"}],"direct":true}"#).is_ok());
        for wrong in [
            r#"{"find":[]}"#,
            r#"{"find":[{"header":"X Tenant"}]}"#,
            r#"{"find":[{"pointer":"account"}]}"#,
            r#"{"find":[{"path":"/account"}]}"#,
            r#"{"find":[{"header":"a"}],"other":1}"#,
            r#"{"find":[{"header":"a"},{"header":"b"},{"header":"c"},{"header":"d"},{"header":"e"}]}"#,
            "[]",
        ] {
            let problem = rule(wrong).expect_err(wrong);
            assert!(problem.field.starts_with("tenant"), "{wrong}");
        }
    }
}
