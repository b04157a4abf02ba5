//! What is kept of a request that was verified.

use mainstay_domain::{
    EventId, ReceiptId,
    intake::{Appended, Arrival, Blob, NewEvent, NewReceipt, Verdict, scheme},
    vault::is_sealed,
};

/// The request, if a row of its event holds all of it once the event is new: it brought nothing else, its body is the
/// payload, and its id is the event's. Nearly all are like that.
pub(crate) fn within_event(arrival: &Arrival) -> Option<&NewReceipt> {
    let receipt = &arrival.receipt;
    let [event] = &arrival.events[..] else {
        return None;
    };
    let whole = event.waits_for.is_empty()
        && event.id.uuid() == receipt.id.uuid()
        && event.payload_bytes == receipt.body_bytes
        && receipt
            .body
            .as_ref()
            .is_none_or(|body| *body == event.payload);
    whole.then_some(receipt)
}

/// The event's key where it has to be kept with it: nearly always it is made of the provider's id, which is there.
pub(crate) fn key_apart(event: &NewEvent, key: &[u8; 16]) -> Option<[u8; 16]> {
    (*key != scheme::dedup_key(&event.provider_id)).then_some(*key)
}

/// The request's id where it is not the event's own.
pub(crate) fn receipt_apart(event: &NewEvent, receipt: &NewReceipt) -> Option<ReceiptId> {
    (receipt.id.uuid() != event.id.uuid()).then_some(receipt.id)
}

/// Whether the event is all of the request, which sealed bytes do not show.
fn sealed_whole(arrival: &Arrival, event: &NewEvent) -> bool {
    arrival.events.len() == 1
        && is_sealed(&event.payload)
        && event.payload_bytes == arrival.receipt.body_bytes
}

/// What is kept of a receipt in a row of its own, once it is known what became of its events.
pub(crate) struct Kept<'r> {
    pub(crate) verdict: Verdict,
    /// How many of its events are new.
    pub(crate) events: i16,
    /// The first event that it brought once more.
    pub(crate) again: Option<EventId>,
    pub(crate) body: Option<&'r Blob>,
}

impl<'r> Kept<'r> {
    /// Nothing where a row of the event holds it.
    pub(crate) fn of(arrival: &'r Arrival, appended: &[Appended]) -> Option<Self> {
        if matches!(appended, [Appended::New(_)]) && within_event(arrival).is_some() {
            return None;
        }
        let verdict = Appended::verdict(appended);
        let new = |one: &&Appended| matches!(one, Appended::New(_));
        let body = arrival.receipt.body.as_ref();
        let keep = match verdict {
            Verdict::Conflict | Verdict::Refused => true,
            // Unless an event holds the very same bytes: both were compressed alike.
            Verdict::Accepted => !arrival
                .events
                .iter()
                .any(|event| Some(&event.payload) == body || sealed_whole(arrival, event)),
            // It is there already.
            Verdict::Duplicate => false,
        };
        Some(Self {
            verdict,
            events: i16::try_from(appended.iter().filter(new).count()).unwrap_or(i16::MAX),
            again: appended.iter().find(|one| !new(one)).map(|one| one.id()),
            body: body.filter(|_| keep),
        })
    }
}
