//! What came again under an event's id with other content, as the API shows it.

use mainstay::intake::decompress;
use mainstay_domain::{
    ReceiptId, StoreResult,
    intake::{
        Blob,
        conflicts::{CONTENT_BYTES_MAX, Conflict, differences},
        payload_digest,
    },
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{access::export::hex, time::Time};

/// Places that are named of one content.
const DIFFERENCES_MAX: usize = 50;
/// Characters of a value that are shown.
const SHOWN_MAX: usize = 200;

/// Another content that came under an event's id.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Conflict)]
pub(crate) struct ConflictView {
    /// The digest of the content: the first 8 bytes of its SHA-256, in hexadecimal.
    digest: String,
    /// The digest of the event's own, which came first.
    event_digest: Option<String>,
    /// The request that brought it first.
    #[schema(value_type = String)]
    receipt_id: ReceiptId,
    first_at: Time,
    last_at: Time,
    /// How often it came.
    times: i64,
    payload_bytes: i64,
    /// Where the two differ, the first few places; null where either is no JSON or is not kept.
    differences: Option<Vec<DifferenceView>>,
    /// Whether there are more.
    more: bool,
}

/// One place where two contents differ.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConflictDifference)]
pub(crate) struct DifferenceView {
    /// Where: a JSON pointer.
    pointer: String,
    /// What stands there in the event, as JSON, cut where it is long; null: nothing does.
    event: Option<String>,
    /// What stands there in what came later; null: nothing does.
    later: Option<String>,
}

impl ConflictView {
    /// All of an event with this payload.
    pub(super) fn list(conflicts: Vec<Conflict>, kept: Option<&Blob>) -> StoreResult<Vec<Self>> {
        let kept = kept.map(decompress).transpose()?;
        let digest = kept.as_ref().map(|bytes| hex(&payload_digest(bytes)));
        let kept = kept.as_deref().and_then(json);
        let conflicts = conflicts.into_iter();
        conflicts
            .map(|one| {
                let later = one.payload.as_ref().map(decompress).transpose()?;
                let later = later.as_deref().and_then(json);
                let (differences, more) = match (&kept, &later) {
                    (Some(kept), Some(later)) => {
                        let (found, more) = differences(kept, later, DIFFERENCES_MAX);
                        let found = found.into_iter().map(|one| DifferenceView {
                            pointer: one.pointer,
                            event: one.one.as_ref().map(shown),
                            later: one.other.as_ref().map(shown),
                        });
                        (Some(found.collect()), more)
                    }
                    _ => (None, false),
                };
                Ok(Self {
                    digest: hex(&one.digest),
                    event_digest: digest.clone(),
                    receipt_id: one.receipt,
                    first_at: one.first_at.into(),
                    last_at: one.last_at.into(),
                    times: one.times,
                    payload_bytes: one.payload_bytes,
                    differences,
                    more,
                })
            })
            .collect()
    }
}

/// What is not too large to be compared.
fn json(bytes: &[u8]) -> Option<Value> {
    let fits = bytes.len() as i64 <= CONTENT_BYTES_MAX;
    fits.then(|| serde_json::from_slice(bytes).ok()).flatten()
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
