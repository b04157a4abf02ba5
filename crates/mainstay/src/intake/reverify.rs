//! Re-verify: requests that were refused for a fault of ours (a secret missing or mistyped, a setting, a clock) are
//! verified once more with what the source knows now, and those that are genuine come in as if they had never been
//! refused.
//!
//! Each step is one transaction that takes the refused receipts away and appends the same requests under the same ids,
//! by the same append as the door's: killed in between, nothing is lost, and nothing is done twice.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use mainstay_domain::{
    AuditId, ReceiptId, Scope, SourceId, StoreError, StoreExt, StoreResult,
    access::AuditEntry,
    intake::{Appended, Arrival, Blob, RefusedReceipt, Verdict, scheme::PreparedScheme},
};

use super::{Door, Inbound, Intake, MATCHES_MAX, Noted, Unjudged, decompress, objects::new_events};

/// Requests looked at in one step, which is one transaction.
const STEP: i64 = 50;
/// Requests that one call looks at; the next goes on after them.
pub const EXAMINED_MAX: i64 = 5_000;
/// The scope of what is done: refused receipts belong to the platform. Who asks was let in to the source before.
const SCOPE: Scope = Scope::System("reverify");

/// Why a request stays refused whose body was too large to be kept.
const BODY_NOT_KEPT: &str = "body_not_kept";
/// Why a request stays refused whose certificate cannot be fetched now.
const CERTIFICATE_UNAVAILABLE: &str = "certificate_unavailable";
/// Why a request stays refused for whose tenant the store could not be asked.
const STORE_UNAVAILABLE: &str = "store_unavailable";
/// Why a request stays refused that cannot be read from the database.
const UNREADABLE: &str = "unreadable";

/// A source's refused requests to look at again.
#[derive(Debug, Clone)]
pub struct Request {
    /// The source.
    pub source: SourceId,
    /// Where the last call ended: its `next`.
    pub after: Option<ReceiptId>,
    /// How the outside world reaches us, for providers that sign the URL.
    pub base_url: String,
    /// What is written in the transaction of every step that releases something, with the receipts and why they had
    /// been refused as its detail. None: only say what would happen.
    pub told: Option<AuditEntry>,
}

/// What would happen, or what happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reverified {
    /// Refused requests looked at.
    pub examined: i64,
    /// Those that verify now.
    pub genuine: i64,
    /// Those that were released and brought something new.
    pub released: i64,
    /// Those that were released and brought only what is known.
    pub duplicates: i64,
    /// Those that were released and brought something known with other content.
    pub conflicts: i64,
    /// How many stay refused, by the code of the reason that holds now.
    pub still_refused: BTreeMap<&'static str, i64>,
    /// Where the next call goes on; none: all were looked at.
    pub next: Option<ReceiptId>,
}

/// The genuine ones of one step.
#[derive(Default)]
struct Judged {
    arrivals: Vec<Arrival>,
    /// Why each had been refused.
    refusals: Vec<(ReceiptId, String)>,
    refused: Vec<&'static str>,
}

impl Intake {
    /// Looks at a source's refused requests again, oldest first, and releases the genuine ones. `None`: there is no
    /// such source, or no request can come in by it.
    pub async fn reverify(&self, request: &Request) -> StoreResult<Option<Reverified>> {
        // A secret may have been added on another node a moment ago.
        self.reload().await?;
        let mut done = Reverified {
            next: request.after,
            ..Reverified::default()
        };
        loop {
            let page = self.refused_page(request.source, done.next).await?;
            let Some(()) = self.step(request, &page, &mut done).await? else {
                return Ok(None);
            };
            // What is not full is the last.
            let last = page.last().filter(|_| page.len() as i64 >= STEP);
            done.next = last.map(|one| one.receipt.id);
            if done.next.is_none() || done.examined >= EXAMINED_MAX {
                return Ok(Some(done));
            }
        }
    }

    async fn refused_page(
        &self,
        source: SourceId,
        after: Option<ReceiptId>,
    ) -> StoreResult<Vec<RefusedReceipt>> {
        self.store
            .read(SCOPE, move |tx| {
                Box::pin(async move { tx.receipt_refused(source, after, STEP).await })
            })
            .await
    }

    async fn step(
        &self,
        request: &Request,
        page: &[RefusedReceipt],
        done: &mut Reverified,
    ) -> StoreResult<Option<()>> {
        for _ in 0..MATCHES_MAX {
            let doors = self.doors();
            let Some(door) = doors.of_source(request.source) else {
                return Ok(None);
            };
            let judged = self.judge_page(&door, page, &request.base_url).await;
            let (genuine, refused) = (judged.arrivals.len(), judged.refused.clone());
            let released = match &request.told {
                Some(told) if genuine > 0 => self.release(doors.version, judged, told).await,
                _ => Ok(Vec::new()),
            };
            let released = match released {
                Err(StoreError::ConfigChanged) => {
                    self.reload().await?;
                    continue;
                }
                other => other?,
            };
            for (arrival, appended) in &released {
                self.samples
                    .secret_used(arrival.receipt.secret, arrival.receipt.received_at);
                let (verdict, _) =
                    self.count_appended(request.source, &Noted::of(arrival, false), appended);
                match verdict {
                    Verdict::Accepted => done.released += 1,
                    Verdict::Conflict => done.conflicts += 1,
                    Verdict::Duplicate | Verdict::Refused => done.duplicates += 1,
                }
            }
            done.examined += page.len() as i64;
            done.genuine += genuine as i64;
            for code in refused {
                *done.still_refused.entry(code).or_default() += 1;
            }
            return Ok(Some(()));
        }
        Err(StoreError::ConfigChanged)
    }

    async fn judge_page(&self, door: &Door, receipts: &[RefusedReceipt], base_url: &str) -> Judged {
        let mut judged = Judged::default();
        for one in receipts {
            // A body that is kept small can be large when it is unpacked: webhooks that come meanwhile have their turn.
            tokio::task::yield_now().await;
            match self.judge_one(door, one, base_url).await {
                Ok(arrival) => {
                    let before = one.receipt.refusal.clone().unwrap_or_default();
                    judged.refusals.push((one.receipt.id, before));
                    judged.arrivals.push(arrival);
                }
                Err(code) => judged.refused.push(code),
            }
        }
        judged
    }

    /// The request as the door would have taken it in then, had the source been as it is now: the clock is that of the
    /// time of receipt, so the tolerance applies to when it came. Its jobs are made now.
    async fn judge_one(
        &self,
        door: &Door,
        one: &RefusedReceipt,
        base_url: &str,
    ) -> Result<Arrival, &'static str> {
        let receipt = &one.receipt;
        let inbound = inbound(door, one, base_url)?;
        let judged = self.judge(door, &inbound, receipt.received_at).await;
        let accepted = judged.map_err(|unjudged| match unjudged {
            Unjudged::Refused(refusal) => refusal.code(),
            Unjudged::Unavailable => CERTIFICATE_UNAVAILABLE,
        })?;
        let secret = door.secret(&accepted);
        let ids = self.ids(&inbound, accepted.events.len());
        let now = self.clock.now();
        let arrival = self.arrival(door, &inbound, accepted.events, secret, ids, now);
        let mut arrival = arrival.await.map_err(|_| STORE_UNAVAILABLE)?;
        arrival.receipt.id = receipt.id;
        arrival.receipt.headers = receipt.headers.clone();
        self.sealed(arrival).await.map_err(|_| STORE_UNAVAILABLE)
    }

    /// In one transaction: the receipts are refused no longer, what they bring is appended, and it is on record.
    async fn release(
        &self,
        config_version: i64,
        judged: Judged,
        told: &AuditEntry,
    ) -> StoreResult<Vec<(Arrival, Vec<Appended>)>> {
        let now = self.clock.now();
        let told = AuditEntry {
            id: AuditId::new(now, &*self.random),
            at: now,
            ..told.clone()
        };
        let work = Arc::new((judged.arrivals, judged.refusals, told));
        let released = self
            .store
            .transact(SCOPE, move |tx| {
                let work = Arc::clone(&work);
                Box::pin(async move {
                    let (arrivals, refusals, told) = &*work;
                    let ids: Vec<ReceiptId> = refusals.iter().map(|(id, _)| *id).collect();
                    let free: HashSet<ReceiptId> =
                        tx.receipt_release(&ids).await?.into_iter().collect();
                    let arrivals: Vec<Arrival> = arrivals
                        .iter()
                        .filter(|arrival| free.contains(&arrival.receipt.id))
                        .cloned()
                        .collect();
                    if arrivals.is_empty() {
                        return Ok(Vec::new());
                    }
                    let appended = tx.event_append(config_version, &arrivals).await?;
                    // They are older than what the indexer of objects looks at.
                    let old: Vec<_> = new_events(&arrivals, &appended).collect();
                    tx.object_note(&old).await?;
                    tx.audit_insert(&AuditEntry {
                        detail: Some(detail(refusals, &free)),
                        ..told.clone()
                    })
                    .await?;
                    Ok(arrivals.into_iter().zip(appended).collect())
                })
            })
            .await?;
        self.store.wake();
        Ok(released)
    }
}

/// A refused request as the door would be handed it, or why that cannot be.
pub(super) fn inbound(
    door: &Door,
    refused: &RefusedReceipt,
    base_url: &str,
) -> Result<Inbound, &'static str> {
    let receipt = &refused.receipt;
    let body = refused.body.as_ref().ok_or(BODY_NOT_KEPT)?;
    let body = decompress(body).map_err(|_| UNREADABLE)?;
    // The query that it may have had is not kept, but what a scheme puts there of the body follows from the body.
    let url = format!("{base_url}/in/{}", door.source.name);
    let scheme = door.scheme.as_ref().map(PreparedScheme::scheme);
    let url = scheme.map_or_else(|| url.clone(), |scheme| scheme.url_for(&url, &body));
    Ok(Inbound {
        headers: headers_kept(&receipt.headers).map_err(|_| UNREADABLE)?,
        body,
        remote: receipt.remote.clone(),
        url,
        received_at: receipt.received_at,
    })
}

/// Which receipts were released, by why they had been refused: the receipts themselves do not say so any more.
fn detail(refusals: &[(ReceiptId, String)], free: &HashSet<ReceiptId>) -> String {
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (id, reason) in refusals.iter().filter(|(id, _)| free.contains(id)) {
        by_reason.entry(reason).or_default().push(id.to_string());
    }
    serde_json::json!({ "released": by_reason }).to_string()
}

/// The headers as they are kept: without the sender's credentials, and those that came several times as one.
pub(super) fn headers_kept(kept: &Blob) -> StoreResult<Vec<(String, Vec<u8>)>> {
    let bytes: Bytes = decompress(kept)?;
    let map: BTreeMap<String, String> = serde_json::from_slice(&bytes)
        .map_err(|error| StoreError::Corrupt(format!("kept headers cannot be read: {error}")))?;
    Ok(map
        .into_iter()
        .map(|(name, value)| (name, value.into_bytes()))
        .collect())
}
