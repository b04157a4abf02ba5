//! What is kept of a request that was verified.

use mainstay_domain::{
    EventId,
    intake::{Appended, Blob, NewReceipt, Verdict},
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
    pub(crate) fn of(receipt: &'r NewReceipt, appended: &[Appended]) -> Self {
        let verdict = Appended::verdict(appended);
        let new = |one: &&Appended| matches!(one, Appended::New(_));
        // The payload of a single event is the body; of a duplicate it is there already.
        let keep = match verdict {
            Verdict::Conflict | Verdict::Refused => true,
            Verdict::Accepted => appended.len() != 1,
            Verdict::Duplicate => false,
        };
        Self {
            verdict,
            events: i16::try_from(appended.iter().filter(new).count()).unwrap_or(i16::MAX),
            again: appended.iter().find(|one| !new(one)).map(|one| one.id()),
            body: receipt.body.as_ref().filter(|_| keep),
        }
    }
}
