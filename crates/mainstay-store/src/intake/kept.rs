//! What is kept of a request that was verified.

use mainstay_domain::{
    EventId,
    intake::{Appended, Arrival, Blob, Verdict},
};

/// What is kept of a receipt once it is known what became of its events.
pub(crate) struct Kept<'r> {
    pub(crate) verdict: Verdict,
    /// How many of its events are new.
    pub(crate) events: i16,
    /// The first event that it brought once more.
    pub(crate) again: Option<EventId>,
    pub(crate) body: Option<&'r Blob>,
}

impl<'r> Kept<'r> {
    pub(crate) fn of(arrival: &'r Arrival, appended: &[Appended]) -> Self {
        let verdict = Appended::verdict(appended);
        let new = |one: &&Appended| matches!(one, Appended::New(_));
        let body = arrival.receipt.body.as_ref();
        let keep = match verdict {
            Verdict::Conflict | Verdict::Refused => true,
            // Unless an event holds the very same bytes: both were compressed alike.
            Verdict::Accepted => !arrival
                .events
                .iter()
                .any(|event| Some(&event.payload) == body),
            // It is there already.
            Verdict::Duplicate => false,
        };
        Self {
            verdict,
            events: i16::try_from(appended.iter().filter(new).count()).unwrap_or(i16::MAX),
            again: appended.iter().find(|one| !new(one)).map(|one| one.id()),
            body: body.filter(|_| keep),
        }
    }
}
