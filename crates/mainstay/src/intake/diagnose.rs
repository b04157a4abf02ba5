//! Which rule a refused request failed by: worked out when somebody looks at it, never when it comes.

use std::sync::Arc;

use mainstay_domain::{
    SourceId,
    intake::{RefusedReceipt, scheme::Cause},
};

use super::{Intake, reverify, scheme};

/// Other sources of the tenant whose secrets are tried.
pub const SOURCES_TRIED_MAX: usize = 64;
/// Bytes of one body that are digested for them: of a large body fewer sources are tried.
const BYTES_TRIED_MAX: usize = 64 * 1024 * 1024;

/// What can be said of a refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosed {
    /// A stable word: one of [`Cause`], `body_not_kept` or `unreadable`.
    pub cause: &'static str,
    /// The same in a sentence.
    pub detail: String,
    /// For a clock: when it came less when it was signed, in seconds.
    pub clock_difference_secs: Option<i64>,
    /// The other source of the tenant whose secret it is signed with.
    pub other_source: Option<(SourceId, String)>,
}

impl Intake {
    /// Says which rule a refused request fails by with what its source knows now, by the clock of the time when it
    /// came. What another node changed is seen a second later at most. `None`: the source is gone. `base_url` is how
    /// the outside world reaches us.
    pub async fn diagnose(&self, refused: &RefusedReceipt, base_url: &str) -> Option<Diagnosed> {
        self.reload_if_changed().await;
        let doors = self.doors();
        let door = doors.of_source(refused.receipt.source)?;
        let inbound = match reverify::inbound(&door, refused, base_url) {
            Ok(inbound) => inbound,
            Err(cause) => {
                return Some(Diagnosed {
                    cause,
                    detail: "its body or headers are not kept, or cannot be read any more".into(),
                    clock_difference_secs: None,
                    other_source: None,
                });
            }
        };
        let tried_max = SOURCES_TRIED_MAX.min(BYTES_TRIED_MAX / inbound.body.len().max(1));
        let others = doors.beside(&door.source, tried_max);
        // Many digests of one body: not on a thread that requests wait for.
        let judged = tokio::task::spawn_blocking(move || {
            let told = scheme::diagnose(&door, &inbound, &others)?;
            Some((told, others))
        });
        let (told, others) = judged.await.ok()??;
        let other = |at: usize| -> Option<(SourceId, String)> {
            let other = others.get(at).map(Arc::as_ref)?;
            Some((other.source.id, other.source.name.clone()))
        };
        let other_source = told.other.and_then(other);
        let detail = match (&other_source, told.cause) {
            (Some((_, name)), Cause::OtherSource) => format!("{}: {name}", told.detail),
            _ => told.detail,
        };
        Some(Diagnosed {
            cause: told.cause.as_str(),
            detail,
            clock_difference_secs: told.clock_difference_secs,
            other_source,
        })
    }
}
