//! Schemas: what a source's events are expected to look like, in versions, and what those looked like that did not.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    error::StoreResult,
    id::{SchemaId, SourceId, TenantId},
    time::Timestamp,
};

/// The most schemas of one source.
pub const SCHEMAS_MAX: usize = 100;
/// The most versions of one schema that are kept; the oldest go first.
pub const VERSIONS_MAX: i32 = 20;

/// One version of the schema of a source's events of some types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSchema {
    /// The schema's id: the same for all its versions.
    pub id: SchemaId,
    /// Whose it is: the source's tenant.
    pub tenant: TenantId,
    /// Which source's events.
    pub source: SourceId,
    /// Which types: one exactly, `prefix.*` or `*`. Of several that match, the most exact one counts.
    pub types: String,
    /// Which version, from 1. The newest is in force.
    pub version: i32,
    /// The JSON Schema, checked before it is stored.
    pub schema: String,
    /// When this version was made.
    pub created_at: Timestamp,
}

impl EventSchema {
    /// Whether an event of this type is meant.
    pub fn matches(&self, kind: &str) -> bool {
        match self.types.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => self.types == kind,
        }
    }
}

/// One thing that an event has otherwise than its schema says. It quotes no value of the event's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaProblem {
    /// Where: a JSON pointer into the payload.
    pub pointer: String,
    /// The word of the schema that it breaks, such as `required`.
    pub keyword: String,
    /// What is wrong.
    pub problem: String,
}

/// What an event has otherwise than its schema says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The schema.
    pub schema: SchemaId,
    /// The version of it that the event was checked against when it came in.
    pub version: i32,
    /// The first few problems.
    pub problems: Vec<SchemaProblem>,
}

/// What a schema says of an event that comes in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SchemaCheck {
    /// No schema is for its type.
    #[default]
    None,
    /// It is as this schema says.
    Fits(SchemaId),
    /// It is too large to be checked against this schema.
    TooLarge(SchemaId),
    /// It is not as its schema says.
    Violates {
        /// What is wrong.
        violation: Box<Violation>,
        /// Whether something is missing that is required.
        incomplete: bool,
    },
}

impl SchemaCheck {
    /// What is wrong, if anything is.
    pub fn violation(&self) -> Option<&Violation> {
        match self {
            Self::Violates { violation, .. } => Some(violation),
            Self::None | Self::Fits(_) | Self::TooLarge(_) => None,
        }
    }
}

/// The store's verbs of schemas.
#[async_trait]
pub trait SchemasTx: Send {
    /// Adds a version, which is in force from now on, and lets go those that are too old to be kept. Counts as a change
    /// of the configuration. Conflict when there is this version already.
    async fn schema_insert(&mut self, schema: &EventSchema) -> StoreResult<()>;
    /// Removes a schema with all its versions. What was found by it stays.
    async fn schema_delete(&mut self, tenant: TenantId, id: SchemaId) -> StoreResult<bool>;
    /// The schemas in force, of one source or of all in the scope, by source and types.
    async fn schema_list(&mut self, source: Option<SourceId>) -> StoreResult<Vec<EventSchema>>;
    /// The versions of a schema of this tenant's that are kept, newest first.
    async fn schema_versions(
        &mut self,
        tenant: TenantId,
        id: SchemaId,
    ) -> StoreResult<Vec<EventSchema>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_for_one_type_or_for_those_that_begin_alike() {
        let of = |types: &str| EventSchema {
            id: SchemaId::NIL,
            tenant: TenantId::NIL,
            source: SourceId::NIL,
            types: types.into(),
            version: 1,
            schema: "{}".into(),
            created_at: Timestamp::EPOCH,
        };
        assert!(of("a.b").matches("a.b") && !of("a.b").matches("a.b.c"));
        assert!(of("a.*").matches("a.b") && !of("a.*").matches("b.a"));
        assert!(of("*").matches(""));
    }
}
