//! What is counted of an event if it turns out to be new: how it fits its schema, and how soon it came; and if it is known
//! with other content.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use mainstay_domain::{
    EventId, SchemaId, SourceId,
    intake::{Arrival, Blob, schemas::SchemaCheck},
    watch::Series,
};
use uuid::Uuid;

use super::{Doors, drift::worth_a_look};

/// An event is fresh that comes within this time of when it happened (DQ-04).
pub const FRESH_MS: i64 = 5 * 60 * 1_000;

/// How a schema judged.
#[derive(Clone, Copy)]
enum Judged {
    Fits,
    TooLarge,
    Violates { incomplete: bool },
}

/// What is counted of one event.
pub(super) struct Noted {
    /// Whether it came soon, where it is known when it happened.
    fresh: Option<bool>,
    schema: Option<(SchemaId, Judged)>,
    /// What is looked at, where a sample is wanted.
    pub(super) sample: Option<Looked>,
}

/// What is looked at of an event, as it is kept.
pub(super) struct Looked {
    pub(super) kind: String,
    pub(super) payload: Blob,
    /// Of the request.
    pub(super) headers: Blob,
}

impl Noted {
    /// Of each event of a request; with samples of them where there is room.
    pub(super) fn of(arrival: &Arrival, samples: bool) -> Vec<Self> {
        let received_at = arrival.receipt.received_at;
        let events = arrival.events.iter();
        events
            .map(|event| Self {
                sample: (samples && worth_a_look(&event.kind, event.payload_bytes)).then(|| {
                    Looked {
                        kind: event.kind.clone(),
                        payload: event.payload.clone(),
                        headers: arrival.receipt.headers.clone(),
                    }
                }),
                fresh: event
                    .occurred_at
                    .map(|at| received_at.ms_since(at) < FRESH_MS),
                schema: match &event.check {
                    SchemaCheck::None => None,
                    SchemaCheck::Fits(id) => Some((*id, Judged::Fits)),
                    SchemaCheck::TooLarge(id) => Some((*id, Judged::TooLarge)),
                    SchemaCheck::Violates {
                        violation,
                        incomplete,
                    } => {
                        let incomplete = *incomplete;
                        Some((violation.schema, Judged::Violates { incomplete }))
                    }
                },
            })
            .collect()
    }

    /// The series that it counts in.
    pub(super) fn counts(&self, source: SourceId) -> impl Iterator<Item = (Series, Uuid)> + use<> {
        let source = source.uuid();
        let dated = self.fresh.map(|_| (Series::Dated, source));
        let fresh = (self.fresh == Some(true)).then_some((Series::Fresh, source));
        // At the schema, and at its source: a source's scores need not know which schemas it had.
        let of_schema = |wanted: bool, series: Series| {
            let (id, _) = self.schema.filter(|_| wanted)?;
            Some([(series, id.uuid()), (series, source)])
        };
        let judged = self.schema.map(|(_, judged)| judged);
        let (large, violates, incomplete) = match judged {
            Some(Judged::TooLarge) => (true, false, false),
            Some(Judged::Violates { incomplete }) => (false, true, incomplete),
            Some(Judged::Fits) | None => (false, false, false),
        };
        let of_schemas = [
            of_schema(!large, Series::SchemaChecked),
            of_schema(large, Series::SchemaUnchecked),
            of_schema(violates, Series::SchemaViolated),
            of_schema(incomplete, Series::SchemaIncomplete),
        ];
        let of_schemas = of_schemas.into_iter().flatten().flatten();
        dated.into_iter().chain(fresh).chain(of_schemas)
    }
}

/// Conflicts that were told of lately and are remembered: that each is told of once is the store's to say, this keeps it from
/// being asked without end.
const TOLD_MAX: usize = 1_000;

/// Events that came again with other content since this process started, by source.
#[derive(Default)]
pub(super) struct Conflicts(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    sources: HashMap<SourceId, i64>,
    told: VecDeque<EventId>,
}

impl Conflicts {
    /// Counts one. Answers whether it may be the first of its event.
    pub(super) fn count(&self, source: SourceId, event: EventId) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counted.sources.entry(source).or_default() += 1;
        if counted.told.contains(&event) {
            return false;
        }
        counted.told.truncate(TOLD_MAX - 1);
        counted.told.push_front(event);
        true
    }

    /// The counts of the sources that there are, by name; the others are forgotten.
    pub(super) fn named(&self, doors: &Doors) -> Vec<(String, i64)> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = &mut counted.sources;
        sources.retain(|source, _| doors.of_source(*source).is_some());
        let named = sources.iter().filter_map(|(source, count)| {
            let door = doors.of_source(*source)?;
            Some((door.source.name.clone(), *count))
        });
        let mut named: Vec<_> = named.collect();
        named.sort();
        named
    }
}

/// Violations since this process started, by schema.
#[derive(Default)]
pub(super) struct Violations(Mutex<HashMap<SchemaId, i64>>);

impl Violations {
    /// Counts a new event, if it violates its schema.
    pub(super) fn count(&self, noted: &Noted) {
        if let Some((id, Judged::Violates { .. })) = noted.schema {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(id).or_default() += 1;
        }
    }

    /// The counts of the schemas that there are, by source and types; the others are forgotten.
    pub(super) fn named(&self, doors: &Doors) -> Vec<(String, String, i64)> {
        let names = doors.schema_names();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|id, _| names.contains_key(id));
        let mut named: Vec<_> = counts
            .iter()
            .filter_map(|(id, count)| {
                let (source, types) = names.get(id)?;
                Some(((*source).to_owned(), (*types).to_owned(), *count))
            })
            .collect();
        named.sort();
        named
    }
}
