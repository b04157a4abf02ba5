//! Schemas of events: JSON Schema, compiled once per configuration, asked about each event of their types.
//!
//! What a schema says never keeps an event out: one that violates it is kept and processed as any other, and flagged.
//! Nothing is fetched, and what a check may cost is known from the text of the schema, see [`bounds`].

mod bounds;

use std::panic::{AssertUnwindSafe, catch_unwind};

use jsonschema::{
    PatternOptions, ValidationError, Validator, error::TypeKind, error::ValidationErrorKind as Kind,
};
use mainstay_domain::intake::schemas::SchemaProblem;
use serde_json::Value;

/// Bytes of a schema's text, without spaces.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Problems of one event that are written down.
pub const PROBLEMS_MAX: usize = 8;
/// Bytes that one regular expression may take when it is compiled, and the memory of its matcher.
const PATTERN_BYTES_MAX: usize = 128 * 1024;
/// The parts of the schema times the bytes of the payload: what a request may wait for.
const WORK_MAX: usize = 16 * 1024 * 1024;
/// The parts of the schema times the values in the payload: as many problems may have to be held at once to say which
/// the first are. Of more it is only said that there are some.
const FOUND_MAX: usize = 200_000;
/// Characters of a pointer or a problem that are written down.
const TEXT_CHARS_MAX: usize = 200;

/// What is wrong with a schema, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct SchemaError {
    /// A JSON pointer into the schema.
    pub pointer: String,
    /// What is wrong.
    pub problem: String,
}

impl SchemaError {
    fn at(pointer: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            problem: problem.into(),
        }
    }
}

/// A schema, ready to be asked.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    parts: usize,
}

/// What a schema says of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// It is as it should be.
    Fits,
    /// It is not.
    Violates {
        /// The first few problems.
        problems: Vec<SchemaProblem>,
        /// Whether something is missing that is required, as far as it can be said.
        incomplete: bool,
    },
    /// It is too large to be checked while its request waits.
    TooLarge,
}

impl Schema {
    /// Compiles a schema.
    pub fn new(schema: &Value) -> Result<Self, SchemaError> {
        if schema.to_string().len() > SCHEMA_BYTES_MAX {
            let problem = format!("has more than {SCHEMA_BYTES_MAX} bytes");
            return Err(SchemaError::at("", problem));
        }
        let parts = bounds::parts(schema)?;
        let patterns = PatternOptions::regex()
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX);
        let options = jsonschema::options()
            .offline()
            .with_pattern_options(patterns)
            // A word about values that schemas use loosely; and 'regex' among them would compile what a sender wrote.
            .should_validate_formats(false);
        // The library's own assertions are no reason to end a request.
        let built = catch_unwind(AssertUnwindSafe(|| options.build(schema)));
        match built {
            Ok(Ok(validator)) => Ok(Self { validator, parts }),
            Ok(Err(error)) => Err(SchemaError::at(
                cut(error.instance_path().as_str()),
                cut(&error.to_string()),
            )),
            Err(_) => Err(SchemaError::at("", "cannot be compiled")),
        }
    }

    /// The same from its text.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        let schema = serde_json::from_str(text)
            .map_err(|error| SchemaError::at("", format!("is no JSON: {error}")))?;
        Self::new(&schema)
    }

    /// What it says of this payload. Never panics, and costs no more than is bounded by the constants of this file.
    pub fn check(&self, payload: &[u8]) -> Checked {
        if self.parts.saturating_mul(payload.len()) > WORK_MAX {
            return Checked::TooLarge;
        }
        let Ok(value) = serde_json::from_slice::<Value>(payload) else {
            return violates(
                "",
                "type",
                "is no JSON, or is nested deeper than 128 levels",
                true,
            );
        };
        let checked = catch_unwind(AssertUnwindSafe(|| self.judge(&value)));
        checked.unwrap_or(Checked::TooLarge)
    }

    fn judge(&self, value: &Value) -> Checked {
        if self.validator.is_valid(value) {
            return Checked::Fits;
        }
        if self.parts.saturating_mul(values(value)) > FOUND_MAX {
            return violates("", "", "does not fit; it is too large to say where", true);
        }
        let (mut problems, mut incomplete) = (Vec::new(), false);
        for error in self.validator.iter_errors(value) {
            incomplete |= lacks(&error);
            if problems.len() < PROBLEMS_MAX {
                problems.push(problem(&error));
            }
        }
        Checked::Violates {
            problems,
            incomplete,
        }
    }
}

fn violates(pointer: &str, keyword: &str, problem: &str, incomplete: bool) -> Checked {
    let problem = SchemaProblem {
        pointer: pointer.to_owned(),
        keyword: keyword.to_owned(),
        problem: problem.to_owned(),
    };
    Checked::Violates {
        problems: vec![problem],
        incomplete,
    }
}

/// How many values there are in a value.
fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(values).sum(),
        Value::Object(named) => named.values().map(values).sum(),
        _ => 0,
    }
}

/// Whether something is missing that is required. In a choice that no branch of fits: in every branch.
fn lacks(error: &ValidationError<'_>) -> bool {
    match error.kind() {
        Kind::Required { .. } => true,
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            !context.is_empty() && context.iter().all(|branch| branch.iter().any(lacks))
        }
        _ => false,
    }
}

fn problem(error: &ValidationError<'_>) -> SchemaProblem {
    SchemaProblem {
        pointer: cut(error.instance_path().as_str()),
        keyword: error.kind().keyword().to_owned(),
        problem: cut(&words(error.kind())),
    }
}

/// What is wrong, in the words of the schema: nothing here is the event's.
fn words(kind: &Kind) -> String {
    match kind {
        Kind::Required { property } => format!("lacks {property}"),
        Kind::Type { kind } => format!("is not of the type {}", types(kind)),
        Kind::AdditionalProperties { .. } => "has fields that the schema does not know".into(),
        Kind::AdditionalItems { limit } => format!("has more than {limit} items"),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "fits none of the choices".into(),
        Kind::OneOfMultipleValid { .. } => "fits several of the choices".into(),
        Kind::Not { .. } => "fits what it must not".into(),
        Kind::Constant { .. } => "is not the value that it must be".into(),
        Kind::Enum { .. } => "is none of the values that it can be".into(),
        Kind::Contains => "contains no item that it must".into(),
        Kind::Minimum { limit } => format!("is less than {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("is not more than {limit}"),
        Kind::Maximum { limit } => format!("is more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("is not less than {limit}"),
        Kind::MinLength { limit } => format!("has fewer than {limit} characters"),
        Kind::MaxLength { limit } => format!("has more than {limit} characters"),
        Kind::MinItems { limit } => format!("has fewer than {limit} items"),
        Kind::MaxItems { limit } => format!("has more than {limit} items"),
        Kind::MinProperties { limit } => format!("has fewer than {limit} fields"),
        Kind::MaxProperties { limit } => format!("has more than {limit} fields"),
        Kind::MultipleOf { multiple_of } => format!("is no multiple of {multiple_of}"),
        Kind::Pattern { pattern } => format!("does not match {pattern}"),
        Kind::PropertyNames { .. } => "has a field whose name must not be".into(),
        Kind::UniqueItems => "has an item twice".into(),
        Kind::FalseSchema => "must not be there".into(),
        _ => "does not fit".into(),
    }
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(several) => {
            let names: Vec<String> = several.iter().map(|one| one.to_string()).collect();
            names.join(" or ")
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(schema: Value) -> SchemaError {
        Schema::new(&schema).expect_err("it is refused")
    }

    fn check(schema: Value, payload: Value) -> Checked {
        let schema = Schema::new(&schema).expect("it compiles");
        schema.check(payload.to_string().as_bytes())
    }

    fn said(checked: Checked) -> Vec<(String, String, String)> {
        match checked {
            Checked::Violates { problems, .. } => problems
                .into_iter()
                .map(|one| (one.pointer, one.keyword, one.problem))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_event_fits_or_it_is_said_where_it_does_not_without_its_values() {
        let schema = json!({
            "type": "object",
            "required": ["id", "amount"],
            "properties": { "id": {}, "amount": { "type": "integer", "minimum": 0 }, "card": { "pattern": "^\\d{4}$" } },
            "additionalProperties": false,
        });
        assert_eq!(
            check(schema.clone(), json!({ "id": 1, "amount": 2 })),
            Checked::Fits
        );
        let found = check(
            schema,
            json!({ "amount": "hunter2", "card": "4242424242424242", "secret-field": 1 }),
        );
        let text = format!("{found:?}");
        assert!(!text.contains("hunter2") && !text.contains("4242") && !text.contains("secret"));
        let mut found = said(found);
        found.sort();
        let keywords: Vec<&str> = found.iter().map(|one| one.1.as_str()).collect();
        assert_eq!(
            keywords,
            ["additionalProperties", "required", "type", "pattern"]
        );
        assert_eq!(found[1].2, "lacks \"id\"");
        assert_eq!(found[2].0, "/amount");
    }

    #[test]
    fn what_is_required_and_missing_is_told_from_what_is_wrong() {
        let lacks = |schema: Value, payload: Value| match check(schema, payload) {
            Checked::Violates { incomplete, .. } => incomplete,
            other => panic!("{other:?}"),
        };
        let required = json!({ "required": ["a"], "properties": { "a": { "type": "string" } } });
        assert!(lacks(required.clone(), json!({})));
        assert!(!lacks(required, json!({ "a": 1 })));
        let choice = json!({ "anyOf": [{ "required": ["a"] }, { "required": ["b"] }] });
        assert!(lacks(choice, json!({})));
        let choice = json!({ "anyOf": [{ "required": ["a"] }, { "const": 1 }] });
        assert!(!lacks(choice, json!({})));
    }

    #[test]
    fn what_is_no_json_violates_every_schema() {
        let schema = Schema::new(&json!({})).expect("it compiles");
        for payload in [&b"hello"[..], b"", b"\xff", "[".repeat(5_000).as_bytes()] {
            assert!(matches!(schema.check(payload), Checked::Violates { .. }));
        }
    }

    #[test]
    fn no_more_problems_than_can_be_shown_are_written_down() {
        let found = check(
            json!({ "items": { "type": "string" } }),
            json!(vec![1; 1_000]),
        );
        assert_eq!(said(found).len(), PROBLEMS_MAX);
        let long = "x".repeat(5_000);
        let found = said(check(
            json!({ "additionalProperties": { "type": "null" }, "required": [long] }),
            json!({ "y".repeat(5_000): 1 }),
        ));
        assert!(found.iter().all(|one| one.0.len() + one.2.len() < 500));
    }

    #[test]
    fn a_schema_is_one_document_and_nothing_is_fetched() {
        for target in [
            "https://example.com/schema.json",
            "file:///etc/passwd",
            "other.json",
            "#name",
            "#/$defs/a%20b",
            "//example.com/x",
            "",
        ] {
            let error = refused(json!({ "properties": { "a": { "$ref": target } } }));
            assert_eq!(error.pointer, "/properties/a/$ref", "{target}");
        }
        assert_eq!(
            refused(json!({ "$ref": "#/nowhere" })).problem,
            "leads nowhere"
        );
        let inner = json!({ "$defs": { "a": { "$id": "https://example.com/a" } } });
        assert_eq!(refused(inner).pointer, "/$defs/a/$id");
        assert!(Schema::new(&json!({ "$schema": "https://example.com/meta" })).is_err());
        assert!(
            Schema::new(&json!({ "$schema": "http://json-schema.org/draft-07/schema#" })).is_ok()
        );
        // A field may have the name.
        assert!(Schema::new(&json!({ "properties": { "$id": { "type": "string" } } })).is_ok());
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for schema in [
            json!({ "$ref": "#" }),
            json!({ "properties": { "a": { "$ref": "#" } } }),
            json!({ "properties": { "a": { "$ref": "#/properties/a" } } }),
            json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
            json!({ "items": { "$ref": "#/$defs/a" }, "$defs": { "a": { "items": { "$ref": "#/$defs/a" } } } }),
        ] {
            assert!(refused(schema).problem.starts_with("leads back to itself"));
        }
        for word in ["$dynamicRef", "$recursiveRef", "unevaluatedProperties"] {
            assert_eq!(
                refused(json!({ "items": { word: "#" } })).pointer,
                format!("/items/{word}")
            );
        }
    }

    #[test]
    fn what_grows_when_it_is_written_out_is_refused() {
        let mut defs = serde_json::Map::new();
        for level in 0..20 {
            let next = json!({ "$ref": format!("#/$defs/d{}", level + 1) });
            defs.insert(format!("d{level}"), json!({ "allOf": [next, next] }));
        }
        defs.insert("d20".into(), json!({ "type": "object" }));
        let bomb = json!({ "$ref": "#/$defs/d0", "$defs": defs });
        assert!(refused(bomb).problem.contains("parts"));

        let mut chain = serde_json::Map::new();
        for level in 0..80 {
            chain.insert(
                format!("d{level}"),
                json!({ "$ref": format!("#/$defs/d{}", level + 1) }),
            );
        }
        chain.insert("d80".into(), json!({}));
        // Known from its end already, and as deep as ever.
        let ends = ["d60", "d20", "d0"].map(|one| json!({ "$ref": format!("#/$defs/{one}") }));
        let deep = json!({ "allOf": ends, "$defs": chain });
        assert!(refused(deep).problem.contains("deeper"));

        let mut nested = json!({});
        for _ in 0..100 {
            nested = json!({ "items": nested });
        }
        assert!(refused(nested).problem.contains("deeper"));
        let wide: Vec<String> = (0..3_000).map(|one| format!("f{one}")).collect();
        assert!(
            refused(json!({ "required": wide }))
                .problem
                .contains("parts")
        );
        let long = json!({ "description": "x".repeat(SCHEMA_BYTES_MAX) });
        assert!(refused(long).problem.contains("bytes"));
    }

    #[test]
    fn a_regular_expression_cannot_be_made_to_wait_or_to_grow() {
        let started = std::time::Instant::now();
        let found = check(
            json!({ "pattern": "^(a+)+$" }),
            json!(format!("{}!", "a".repeat(50_000))),
        );
        assert_eq!(said(found)[0].1, "pattern");
        assert!(started.elapsed() < std::time::Duration::from_secs(60));
        for pattern in ["(", "(?=a)", "(a)\\1", "[a-z]{1000}{1000}"] {
            refused(json!({ "pattern": pattern }));
            refused(json!({ "patternProperties": { pattern: {} } }));
        }
        let many: serde_json::Map<_, _> = (0..60)
            .map(|one| (format!("f{one}"), json!({ "pattern": "a" })))
            .collect();
        assert!(
            refused(json!({ "properties": many }))
                .problem
                .contains("regular")
        );
    }

    #[test]
    fn what_is_no_schema_is_refused_with_a_reason() {
        for schema in [
            json!(1),
            json!([]),
            json!({ "type": "colour" }),
            json!({ "properties": [] }),
            json!({ "items": 5 }),
            json!({ "allOf": {} }),
            json!({ "required": "a" }),
            json!({ "minLength": -1 }),
        ] {
            assert!(!refused(schema.clone()).problem.is_empty(), "{schema}");
        }
    }

    #[test]
    fn a_large_event_is_not_checked_rather_than_waited_for() {
        let names: serde_json::Map<_, _> = (0..400)
            .map(|one| (format!("f{one}"), json!({ "type": "string" })))
            .collect();
        let schema = Schema::new(&json!({ "properties": names })).expect("it compiles");
        let large = json!({ "f1": "x".repeat(1_000_000) }).to_string();
        assert_eq!(schema.check(large.as_bytes()), Checked::TooLarge);
    }

    #[test]
    fn where_too_much_would_have_to_be_said_it_is_said_that_it_does_not_fit() {
        let all: Vec<Value> = (0..200).map(|_| json!({ "type": "string" })).collect();
        let found = said(check(
            json!({ "items": { "allOf": all } }),
            json!(vec![1; 5_000]),
        ));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "");
    }
}
