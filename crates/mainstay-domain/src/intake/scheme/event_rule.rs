//! Where the parts of an event stand, for schemes that know who sends but not what: a token, an address.

use serde::{Deserialize, Serialize};

use super::{
    extracted::{self, Extracted},
    header::Request,
    hmac_rule::is_header_name,
    problem,
    reading::{IdFrom, KindFrom, Reading, TimeFrom},
    refusal::Refusal,
};
use crate::intake::settings::SettingProblem;

/// Where an event's id, type and time stand. Everything can be left out: then the body's digest is the id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventRule {
    /// The id. Where it is absent from a request, a digest of the body takes its place.
    pub id: IdFrom,
    /// The type.
    #[serde(rename = "type")]
    pub kind: Option<KindFrom>,
    /// When it happened.
    pub occurred_at: Option<TimeFrom>,
}

impl EventRule {
    pub(super) const fn reading(&self) -> Reading<'_> {
        Reading {
            id: &self.id,
            kind: self.kind.as_ref(),
            occurred_at: self.occurred_at.as_ref(),
        }
    }

    pub(super) fn check(&self) -> Result<(), SettingProblem> {
        let bad = |name: &str| !is_header_name(name);
        if matches!(&self.id, IdFrom::Header(name) if bad(name)) {
            return Err(problem("event.id", "must be a header's name"));
        }
        match &self.kind {
            Some(KindFrom::Header(name)) if bad(name) => {
                return Err(problem("event.type", "must be a header's name"));
            }
            Some(KindFrom::Fixed(kind)) if extracted::kind(kind).is_none() => {
                return Err(problem("event.type", "must be an event type"));
            }
            _ => {}
        }
        if matches!(&self.occurred_at, Some(TimeFrom::Header(name)) if bad(name)) {
            return Err(problem("event.occurred_at", "must be a header's name"));
        }
        Ok(())
    }

    pub(super) fn extract(&self, request: &Request<'_>) -> Result<Extracted, Refusal> {
        let reading = self.reading();
        let given = reading.id(request)?;
        Ok(Extracted::whole(
            given.unwrap_or_else(|| extracted::digest_id([request.body].into_iter())),
            reading.kind(request)?,
            reading.occurred_at(request)?,
        ))
    }
}
