//! Assignment: events that waited for their tenant are given to it once a link, a tenant or a setting says whose they
//! are, and their jobs run.
//!
//! A link notes in its own commit which value is due. The note goes only when everything that waits for the value was
//! looked at with the configuration of now. Each step is one commit that turns waiting rows into events with their jobs,
//! so whoever is killed in between leaves the rest to the next, and nothing is done twice.
//!
//! Nothing can begin to wait unseen: the link counts as a change of the configuration, so an append that found nothing
//! before it either commits first, and is looked at here, or is refused and finds the link.

use std::{sync::Arc, time::Duration};

use mainstay_domain::{
    EventId, Scope, SourceId, StoreError, StoreExt, StoreResult, TenantId, Timestamp,
    intake::links::WaitingEvent, jobs::NewJob,
};
use tokio::sync::watch;

use super::{Door, Intake, Kept, MATCHES_MAX};

/// Events in one step, which is one transaction.
const STEP: i64 = 100;
/// Values read at once.
const DUE: i64 = 100;
/// How often it is looked whether something is due: a link may have been made on another node.
const PAUSE: Duration = Duration::from_secs(1);
const SCOPE: Scope = Scope::System("assignment");

/// Assigns what is due, again and again, while `owner` says that this node is the one to do it.
pub(crate) async fn run(
    intake: Arc<Intake>,
    owner: impl Fn() -> bool + Send + Sync,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let stopped = stop.clone();
        let go_on = || owner() && !*stopped.borrow();
        if go_on()
            && let Err(error) = intake.assign_due(go_on).await
        {
            tracing::warn!(%error, "waiting events could not be assigned; trying again in a second");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = intake.due.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// What one step is to do.
struct Step {
    events: Vec<(EventId, TenantId)>,
    jobs: Vec<NewJob>,
}

impl Intake {
    /// Tells whoever assigns that something may be due.
    pub fn assign_soon(&self) {
        self.due.notify_one();
    }

    /// Gives every event that is due to its tenant, as long as `go_on` says so, asked between steps. Answers how many.
    pub async fn assign_due(&self, go_on: impl Fn() -> bool + Send + Sync) -> StoreResult<i64> {
        let (mut assigned, mut after) = (0, (SourceId::NIL, String::new()));
        while go_on() {
            let from = after.clone();
            let due = self
                .store
                .read(SCOPE, move |tx| {
                    let (source, value) = from.clone();
                    Box::pin(async move { tx.waiting_due(source, &value, DUE).await })
                })
                .await?;
            let Some(last) = due.last().cloned() else {
                break;
            };
            for (source, value) in due {
                assigned += self.assign_value(source, &value, &go_on).await?;
            }
            after = last;
        }
        Ok(assigned)
    }

    /// Everything that waits for one value, oldest first.
    async fn assign_value(
        &self,
        source: SourceId,
        value: &str,
        go_on: &(impl Fn() -> bool + Sync),
    ) -> StoreResult<i64> {
        let (mut assigned, mut after) = (0, EventId::NIL);
        let mut changes = 0;
        while go_on() {
            let doors = self.doors();
            // One whose settings cannot be read by this version: its events wait for a version that can.
            let Some(door) = doors.of_source(source) else {
                break;
            };
            let page = self.waiting_page(source, value, after).await?;
            let done = match page.last() {
                None => self
                    .assign_done(doors.version, source, value)
                    .await
                    .map(|()| 0),
                Some(_) => self.assign_page(&door, doors.version, &page).await,
            };
            match done {
                Ok(count) => {
                    assigned += count;
                    let Some(last) = page.last() else { break };
                    after = last.id;
                }
                // What was passed by may be known now.
                Err(StoreError::ConfigChanged) if changes < MATCHES_MAX => {
                    changes += 1;
                    after = EventId::NIL;
                    self.reload().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(assigned)
    }

    async fn waiting_page(
        &self,
        source: SourceId,
        value: &str,
        after: EventId,
    ) -> StoreResult<Vec<WaitingEvent>> {
        let value = value.to_owned();
        self.store
            .read(SCOPE, move |tx| {
                let value = value.clone();
                Box::pin(async move { tx.waiting_page(source, &value, after, STEP).await })
            })
            .await
    }

    async fn assign_page(
        &self,
        door: &Door,
        config_version: i64,
        page: &[WaitingEvent],
    ) -> StoreResult<i64> {
        let mut step = Step {
            events: Vec::with_capacity(page.len()),
            jobs: Vec::new(),
        };
        let now = self.clock.now();
        for (place, event) in (0..).zip(page) {
            let Some(tenant) = self.tenant_of(door, &event.values).await? else {
                continue;
            };
            // Read only where a filter or an order asks for it.
            let asked = door
                .wanted(&event.kind, tenant)
                .any(|one| one.filter.is_some() || one.ordering.is_some());
            let kept = match asked {
                true => match self.waiting_kept(event).await? {
                    Some(kept) => Some(kept),
                    // It is gone.
                    None => continue,
                },
                false => None,
            };
            step.events.push((event.id, tenant));
            // A microsecond apart: jobs of one time come in any order, and these come in that of their events.
            let at = Timestamp::from_micros(now.micros() + place);
            let subject = || kept.as_ref().map(|kept| kept.subject_waiting(event));
            let wanted = self.wanted(door, &event.kind, tenant, || subject().unwrap_or_default());
            let payload = kept.as_ref().map_or(&[][..], Kept::payload);
            step.jobs
                .extend(self.jobs(wanted, event.id, None, tenant, at, payload));
        }
        if step.events.is_empty() {
            return Ok(0);
        }
        let step = Arc::new(step);
        let given = self
            .store
            .transact(SCOPE, move |tx| {
                let step = Arc::clone(&step);
                Box::pin(async move {
                    tx.waiting_assign(config_version, &step.events, &step.jobs)
                        .await
                })
            })
            .await?;
        self.store.wake();
        self.samples.events_changed(&given);
        Ok(given.len() as i64)
    }

    /// What it says. None: it is gone.
    async fn waiting_kept(&self, event: &WaitingEvent) -> StoreResult<Option<Kept>> {
        let event = event.clone();
        self.store
            .read(SCOPE, move |tx| {
                let event = event.clone();
                Box::pin(async move { Kept::load_waiting(tx, &event).await })
            })
            .await
    }

    async fn assign_done(
        &self,
        config_version: i64,
        source: SourceId,
        value: &str,
    ) -> StoreResult<()> {
        let value = value.to_owned();
        self.store
            .transact(SCOPE, move |tx| {
                let value = value.clone();
                Box::pin(async move { tx.waiting_done(config_version, source, &value).await })
            })
            .await
    }
}
