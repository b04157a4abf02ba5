//! Retention: tenant by tenant, each tenant's oldest first, from where the last step ended.
//!
//! Events with unfinished jobs or dead letters, and jobs that have not ended, are passed by. They are looked at again
//! when all tenants have had their turn, not in every step: many of them do not make the steps slower.

use std::collections::HashMap;

use mainstay_domain::{
    EventId, JobId, ReceiptId, StoreResult, TenantId, Timestamp,
    intake::{EventStatus, JobTally},
};
use uuid::Uuid;

use super::queries as q;
use crate::{
    built::Built,
    jobs::list::of_jobs,
    sql::{Row, Sql},
    tx::SqlTx,
    verbs::{bounded, id_floor, values},
};

/// Rows looked at in one go.
const PAGE: i64 = 200;
/// Rows that a step may pass by for each that it may remove.
const PASSED_MAX: i64 = 20;

/// What is walked through.
#[derive(Clone, Copy)]
enum Walk {
    /// Events, with what belongs to them.
    Events,
    /// Jobs without an event.
    Jobs,
}

impl Walk {
    const fn name(self) -> &'static str {
        match self {
            Self::Events => "event",
            Self::Jobs => "job",
        }
    }

    const fn next_tenant(self) -> &'static Sql {
        match self {
            Self::Events => &q::EXPIRE_EVENT_TENANT,
            Self::Jobs => &q::EXPIRE_JOB_TENANT,
        }
    }

    const fn page(self) -> &'static Sql {
        match self {
            Self::Events => &q::EXPIRE_EVENTS,
            Self::Jobs => &q::EXPIRE_JOBS,
        }
    }
}

/// How far a walk has come.
struct Position {
    tenant: Uuid,
    id: Uuid,
    /// Whether all tenants had their turn and it began again.
    around: bool,
}

impl SqlTx<'_> {
    pub(super) async fn events_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.system()?;
        let (limit, floor) = (bounded(limit), id_floor(until));
        self.objects_hold().await?;
        let events = self.walk(Walk::Events, floor, limit).await?;
        let jobs = self.walk(Walk::Jobs, floor, limit - events).await?;
        self.execute(&q::RECEIPT_EXPIRE_ALONE, values![floor, limit])
            .await?;
        Ok(events + jobs)
    }

    async fn walk(&mut self, walk: Walk, floor: Uuid, limit: i64) -> StoreResult<i64> {
        let mut position = self.position(walk).await?;
        let (mut removed, mut looked) = (0, 0);
        while removed < limit && looked < limit * PASSED_MAX {
            let size = PAGE.min(limit - removed);
            let params = values![position.tenant, position.id, floor, size];
            let rows = self.rows(walk.page(), params).await?;
            looked += rows.len() as i64;
            if let Some(last) = rows.last() {
                position.id = last.get(0)?;
                let tenant = TenantId::from_uuid(position.tenant);
                removed += match walk {
                    Walk::Events => self.events_remove_finished(tenant, &rows).await?,
                    Walk::Jobs => self.jobs_remove_ended(tenant, &rows).await?,
                };
            } else if !self.next_tenant(walk, &mut position).await? {
                break;
            }
        }
        let params = values![walk.name(), position.tenant, position.id];
        self.execute(&q::RETENTION_SET, params).await?;
        Ok(removed)
    }

    async fn position(&mut self, walk: Walk) -> StoreResult<Position> {
        let read = |row: &Row| Ok((row.get(0)?, row.get(1)?));
        let position = self
            .first(&q::RETENTION_GET, values![walk.name()], read)
            .await?;
        let (tenant, id) = position.unwrap_or((Uuid::nil(), Uuid::nil()));
        Ok(Position {
            tenant,
            id,
            around: false,
        })
    }

    /// False when every tenant has had its turn in this step.
    async fn next_tenant(&mut self, walk: Walk, position: &mut Position) -> StoreResult<bool> {
        let next = values![position.tenant];
        let next = self
            .first(walk.next_tenant(), next, |row| row.get(0))
            .await?;
        let ended = next.is_none();
        let again = ended && !position.around;
        *position = Position {
            tenant: next.unwrap_or(Uuid::nil()),
            id: Uuid::nil(),
            around: position.around || ended,
        };
        Ok(!ended || again)
    }

    async fn jobs_remove_ended(&mut self, tenant: TenantId, rows: &[Row]) -> StoreResult<i64> {
        let jobs: StoreResult<Vec<JobId>> = rows.iter().map(|row| row.get(0)).collect();
        let ended = self.built(jobs_ended(tenant, &jobs?)).await?;
        let ended: StoreResult<Vec<JobId>> = ended.iter().map(|row| row.get(0)).collect();
        let ended = ended?;
        if !ended.is_empty() {
            for removal in jobs_remove(tenant, &ended) {
                self.built(removal).await?;
            }
        }
        Ok(ended.len() as i64)
    }

    async fn events_remove_finished(&mut self, tenant: TenantId, rows: &[Row]) -> StoreResult<i64> {
        let events: StoreResult<Vec<(EventId, Option<ReceiptId>)>> = rows
            .iter()
            .map(|row| Ok((row.get(0)?, row.get(1)?)))
            .collect();
        let events = events?;
        let ids: Vec<EventId> = events.iter().map(|(id, _)| *id).collect();
        let tallies = self.tallies(tenant, &ids).await?;
        let finished: Vec<(EventId, Option<ReceiptId>)> = events
            .into_iter()
            .filter(|(id, _)| ended(tallies.get(id)))
            .collect();
        if finished.is_empty() {
            return Ok(0);
        }
        let ids: Vec<EventId> = finished.iter().map(|(id, _)| *id).collect();
        let jobs = self.jobs_of_events(tenant, &ids).await?;
        let jobs = self.built(jobs_of(tenant, &jobs)).await?;
        let jobs: StoreResult<Vec<JobId>> = jobs.iter().map(|row| row.get(0)).collect();
        for jobs in jobs?.chunks(500) {
            for removal in jobs_remove(tenant, jobs) {
                self.built(removal).await?;
            }
        }
        self.objects_let_go(tenant, &ids).await?;
        for removal in events_remove(tenant, &ids) {
            self.built(removal).await?;
        }
        let receipts: Vec<ReceiptId> = finished.iter().filter_map(|(_, id)| *id).collect();
        self.receipts_let_go(&receipts).await?;
        Ok(finished.len() as i64)
    }

    /// A receipt goes with the last event that it brought. Given once for each event.
    pub(super) async fn receipts_let_go(&mut self, receipts: &[ReceiptId]) -> StoreResult<()> {
        if receipts.is_empty() {
            return Ok(());
        }
        let mut counts: HashMap<ReceiptId, i64> = HashMap::new();
        for receipt in receipts {
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

    /// Runs a statement that was put together.
    pub(crate) async fn built(&mut self, built: Built) -> StoreResult<Vec<Row>> {
        self.conn().query_built(&built.text, &built.params).await
    }
}

fn ended(tally: Option<&JobTally>) -> bool {
    let status = EventStatus::of(tally.copied().unwrap_or_default());
    matches!(status, EventStatus::Success | EventStatus::Unhandled)
}

/// Those of these jobs that there are.
pub(crate) fn jobs_of(tenant: TenantId, jobs: &[JobId]) -> Built {
    let mut built = Built::new(
        "SELECT j.id FROM job AS j WHERE j.tenant_id = $1",
        vec![tenant.into()],
    );
    of_jobs(&mut built, jobs);
    built
}

/// Which of these jobs have ended, and not as dead letters.
pub(crate) fn jobs_ended(tenant: TenantId, jobs: &[JobId]) -> Built {
    let mut built = Built::new(
        "SELECT j.id FROM job_state AS j WHERE j.tenant_id = $1 AND j.state IN ('done', 'cancelled')",
        vec![tenant.into()],
    );
    built.bind_list(" AND j.id IN", jobs.iter().copied());
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

/// Removes events with the receipts of their duplicates and what was said of them.
pub(crate) fn events_remove(tenant: TenantId, events: &[EventId]) -> [Built; 4] {
    let mut again = Built::new("DELETE FROM receipt WHERE event_id IN", Vec::new());
    again.bind_list("", events.iter().copied());
    let mut event = Built::new(
        "DELETE FROM event WHERE tenant_id = $1",
        vec![tenant.into()],
    );
    event.bind_list(" AND id IN", events.iter().copied());
    let violations = super::schemas::violations_remove(tenant, events);
    let conflicts = super::conflicts::conflicts_remove(tenant, events);
    [again, violations, conflicts, event]
}

/// Removes receipts that brought one event each.
pub(crate) fn receipts_remove(receipts: &[ReceiptId]) -> Built {
    let mut built = Built::new("DELETE FROM receipt WHERE events = 1 AND id IN", Vec::new());
    built
        .bind_list("", receipts.iter().copied())
        .push(" RETURNING id");
    built
}
