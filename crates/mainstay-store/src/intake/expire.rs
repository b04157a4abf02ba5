//! Retention of events: tenant by tenant, each tenant's oldest first, from where the last step ended.
//!
//! Events with unfinished jobs or dead letters are passed by. They are looked at again when all tenants have had their
//! turn, not in every step: many of them do not make the steps slower.

use std::collections::HashMap;

use mainstay_domain::{
    EventId, JobId, ReceiptId, StoreResult, TenantId, Timestamp,
    intake::{EventStatus, JobTally},
};
use uuid::Uuid;

use super::queries as q;
use crate::{
    built::Built,
    tx::SqlTx,
    verbs::{bounded, id_floor, values},
};

/// Events looked at in one go.
const PAGE: i64 = 200;
/// Events that a step may pass by for each that it may remove.
const PASSED_MAX: i64 = 20;

/// How far retention has come.
struct Position {
    tenant: Uuid,
    event: Uuid,
    /// Whether all tenants had their turn and it began again.
    around: bool,
}

impl SqlTx<'_> {
    pub(super) async fn events_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.system()?;
        let (limit, floor) = (bounded(limit), id_floor(until));
        let mut position = self.position().await?;
        let (mut removed, mut looked) = (0, 0);
        while removed < limit && looked < limit * PASSED_MAX {
            let size = PAGE.min(limit - removed);
            let tenant = TenantId::from_uuid(position.tenant);
            let params = values![tenant, position.event, floor, size];
            let read =
                |row: &crate::sql::Row| Ok((row.get::<EventId>(0)?, row.get::<ReceiptId>(1)?));
            let events = self.list(&q::EXPIRE_EVENTS, params, read).await?;
            looked += events.len() as i64;
            if let Some((last, _)) = events.last() {
                position.event = last.uuid();
                removed += self.finished_remove(tenant, events).await?;
            } else if !self.next_tenant(&mut position).await? {
                break;
            }
        }
        self.execute(&q::RETENTION_SET, values![position.tenant, position.event])
            .await?;
        self.execute(&q::RECEIPT_EXPIRE_ALONE, values![floor, limit])
            .await?;
        Ok(removed)
    }

    async fn position(&mut self) -> StoreResult<Position> {
        let read = |row: &crate::sql::Row| {
            Ok(Position {
                tenant: row.get(0)?,
                event: row.get(1)?,
                around: false,
            })
        };
        let position = self.first(&q::RETENTION_GET, &[], read).await?;
        Ok(position.unwrap_or(Position {
            tenant: Uuid::nil(),
            event: Uuid::nil(),
            around: false,
        }))
    }

    /// False when every tenant has had its turn in this step.
    async fn next_tenant(&mut self, position: &mut Position) -> StoreResult<bool> {
        let next = self
            .first(&q::EXPIRE_TENANT, values![position.tenant], |row| {
                row.get(0)
            })
            .await?;
        let ended = next.is_none();
        let again = ended && !position.around;
        *position = Position {
            tenant: next.unwrap_or(Uuid::nil()),
            event: Uuid::nil(),
            around: position.around || ended,
        };
        Ok(!ended || again)
    }

    async fn finished_remove(
        &mut self,
        tenant: TenantId,
        events: Vec<(EventId, ReceiptId)>,
    ) -> StoreResult<i64> {
        let ids: Vec<EventId> = events.iter().map(|(id, _)| *id).collect();
        let tallies = self.tallies(tenant, &ids).await?;
        let finished: Vec<(EventId, ReceiptId)> = events
            .into_iter()
            .filter(|(id, _)| ended(tallies.get(id)))
            .collect();
        if finished.is_empty() {
            return Ok(0);
        }
        let ids: Vec<EventId> = finished.iter().map(|(id, _)| *id).collect();
        let jobs = self.built(jobs_of(tenant, &ids)).await?;
        let jobs: StoreResult<Vec<JobId>> = jobs.iter().map(|row| row.get(0)).collect();
        for jobs in jobs?.chunks(500) {
            for removal in jobs_remove(tenant, jobs) {
                self.built(removal).await?;
            }
        }
        for removal in events_remove(tenant, &ids) {
            self.built(removal).await?;
        }
        self.receipts_let_go(&finished).await?;
        Ok(finished.len() as i64)
    }

    /// A receipt goes with the last event that it brought.
    async fn receipts_let_go(&mut self, events: &[(EventId, ReceiptId)]) -> StoreResult<()> {
        let mut counts: HashMap<ReceiptId, i64> = HashMap::new();
        for (_, receipt) in events {
            *counts.entry(*receipt).or_default() += 1;
        }
        let mut receipts: Vec<ReceiptId> = counts.keys().copied().collect();
        receipts.sort();
        // Nearly all of them brought one event.
        let gone = self.built(receipts_remove(&receipts)).await?;
        for row in gone {
            counts.remove(&row.get(0)?);
        }
        for receipt in receipts {
            if let Some(count) = counts.get(&receipt) {
                self.execute(&q::RECEIPT_LET_GO, values![receipt, *count])
                    .await?;
                self.execute(&q::RECEIPT_GONE, values![receipt]).await?;
            }
        }
        Ok(())
    }

    async fn built(&mut self, built: Built) -> StoreResult<Vec<crate::sql::Row>> {
        self.conn().query_built(&built.text, &built.params).await
    }
}

fn ended(tally: Option<&JobTally>) -> bool {
    let status = EventStatus::of(tally.copied().unwrap_or_default());
    matches!(status, EventStatus::Success | EventStatus::Unhandled)
}

/// The jobs of these events.
pub(crate) fn jobs_of(tenant: TenantId, events: &[EventId]) -> Built {
    let mut built = Built::new(
        "SELECT id FROM job WHERE tenant_id = $1",
        vec![tenant.into()],
    );
    built.bind_list(" AND event_id IN", events.iter().copied());
    built
}

/// Removes jobs with what is known of them.
pub(crate) fn jobs_remove(tenant: TenantId, jobs: &[JobId]) -> [Built; 3] {
    [
        "DELETE FROM attempt WHERE tenant_id = $1 AND job_id IN",
        "DELETE FROM attempt_start WHERE tenant_id = $1 AND job_id IN",
        "DELETE FROM job WHERE tenant_id = $1 AND id IN",
    ]
    .map(|text| {
        let mut built = Built::new(text, vec![tenant.into()]);
        built.bind_list("", jobs.iter().copied());
        built
    })
}

/// Removes events with the receipts of their duplicates.
pub(crate) fn events_remove(tenant: TenantId, events: &[EventId]) -> [Built; 2] {
    let mut again = Built::new("DELETE FROM receipt WHERE event_id IN", Vec::new());
    again.bind_list("", events.iter().copied());
    let mut event = Built::new(
        "DELETE FROM event WHERE tenant_id = $1",
        vec![tenant.into()],
    );
    event.bind_list(" AND id IN", events.iter().copied());
    [again, event]
}

/// Removes receipts that brought one event each.
pub(crate) fn receipts_remove(receipts: &[ReceiptId]) -> Built {
    let mut built = Built::new("DELETE FROM receipt WHERE events = 1 AND id IN", Vec::new());
    built
        .bind_list("", receipts.iter().copied())
        .push(" RETURNING id");
    built
}
