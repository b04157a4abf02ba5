//! Texts in requests as the OpenAPI document describes them, with their bounds in the type, so that what is described
//! and what is taken cannot drift apart.

use std::{borrow::Cow, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, schema::Schema, schema::Type},
};

/// A text to look for: at most `MAX` characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Text<const MAX: usize>(String);

impl<const MAX: usize> Deref for Text<MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.0
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.chars().count() > MAX {
            return Err(D::Error::custom(format_args!(
                "must have at most {MAX} characters"
            )));
        }
        if text.chars().any(char::is_control) {
            return Err(D::Error::custom("has control characters in it"));
        }
        Ok(Self(text))
    }
}

impl<const MAX: usize> PartialSchema for Text<MAX> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .max_length(Some(MAX))
            .pattern(Some(r"^[^\x00-\x1f\x7f-\x9f]*$"))
            .into()
    }
}

impl<const MAX: usize> ToSchema for Text<MAX> {
    fn name() -> Cow<'static, str> {
        format!("Text{MAX}").into()
    }
}

/// How the document describes what [`Checks::text`](super::extract::Checks::text) takes: a text for people.
pub(crate) enum Name<const MAX: usize> {}

impl<const MAX: usize> PartialSchema for Name<MAX> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(MAX))
            .pattern(Some(
                r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$",
            ))
            .into()
    }
}

impl<const MAX: usize> ToSchema for Name<MAX> {
    fn name() -> Cow<'static, str> {
        format!("Name{MAX}").into()
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $shown:literal, $pattern:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some($pattern))
                    .into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                $shown.into()
            }
        }
    )*};
}

ids! {
    /// How the document describes the id of an event.
    EventIdText = "EventId", "^evt_[0-7][0-9a-hjkmnp-tv-z]{25}$";
    /// How the document describes the id of a job.
    JobIdText = "JobId", "^job_[0-7][0-9a-hjkmnp-tv-z]{25}$";
    /// How the document describes the id of a finding of drift.
    DriftIdText = "DriftId", "^drf_[0-7][0-9a-hjkmnp-tv-z]{25}$";
    /// How the document describes the id of an expected event.
    ExpectationIdText = "ExpectationId", "^xpc_[0-7][0-9a-hjkmnp-tv-z]{25}$";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        serde_json::from_value::<Text<3>>(text.into())
            .map(Into::into)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_text_is_as_long_as_its_type_allows_and_can_be_printed() {
        assert_eq!(read("äöü").as_deref(), Ok("äöü"));
        assert_eq!(read("").as_deref(), Ok(""));
        assert_eq!(
            read("abcd").expect_err("too long"),
            "must have at most 3 characters"
        );
        assert_eq!(
            read("a\0").expect_err("a control character"),
            "has control characters in it"
        );
    }
}
