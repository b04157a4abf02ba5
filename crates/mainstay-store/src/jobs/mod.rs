//! Jobs: queues, endpoints, jobs with their attempts, dead letters, and what the engine writes down.

mod breakers;
pub(crate) mod cursor;
mod endpoints;
pub(crate) mod letters;
pub(crate) mod lines;
pub(crate) mod list;
pub(crate) mod queries;
mod unique;

use async_trait::async_trait;
use mainstay_domain::{
    BreakerChangeId, EndpointId, JobId, LineId, StoreError, StoreResult, TenantId, Timestamp,
    intake::Blob,
    jobs::{
        Attempt, AttemptStart, Checkpoint, Cursor, DeadLetter, DeadLetterFilter, DeadLetterGroup,
        Discovery, DueKey, Endpoint, Flow, Job, JobBody, JobFilter, JobRef, JobsTx, Lane, LaneJobs,
        Line, LineEnd, LineFilter, NewJob, Outcome, ParkedCount, QueueNumber, QueueRules,
        SignalKind, TallyRecord,
        breaker::{Breaker, BreakerChange, BreakerRule, Dependency},
        unique::{UniqueHolder, UniqueKey},
    },
    sagas::SagasTx,
    vault::{Column, Place},
};
use queries as q;

use crate::{
    sql::{Row, Value},
    tx::{Dialect, SqlTx},
    verbs::{bounded, numbered_cell, reference, values},
};

/// How long signals are kept after the engine can have seen them.
const SIGNALS_KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// How often two that add queues at the same time may get in each other's way.
const QUEUE_TRIES: usize = 16;

#[async_trait]
impl JobsTx for SqlTx<'_> {
    async fn queue_ensure(&mut self, name: &str) -> StoreResult<QueueNumber> {
        for _ in 0..QUEUE_TRIES {
            let found = self
                .first(&q::QUEUE_FIND, values![name], |row| row.get(0))
                .await?;
            if let Some(number) = found {
                return Ok(number);
            }
            self.execute(&q::QUEUE_INSERT, values![name]).await?;
        }
        let count = self
            .first(&q::QUEUE_COUNT, &[], |row| row.get::<i64>(0))
            .await?;
        Err(StoreError::Bug(format!(
            "a queue could not be added to the {} there are; at most 10,000",
            count.unwrap_or_default()
        )))
    }

    async fn queue_list(&mut self) -> StoreResult<Vec<(QueueNumber, String)>> {
        self.list(&q::QUEUE_LIST, &[], |row| Ok((row.get(0)?, row.get(1)?)))
            .await
    }

    async fn queue_rules(&mut self) -> StoreResult<Vec<QueueRules>> {
        self.list(&q::QUEUE_RULES, &[], rules).await
    }

    async fn queue_rules_get(&mut self, queue: QueueNumber) -> StoreResult<Option<QueueRules>> {
        self.first(&q::QUEUE_RULES_GET, values![queue], rules).await
    }

    async fn queue_rules_set(&mut self, rules: &QueueRules) -> StoreResult<()> {
        self.config_bump().await?;
        let limits = serde_json::to_string(&rules.limits);
        let limits = limits.map_err(|error| StoreError::Bug(error.to_string()))?;
        let flow = Flow::ALL.iter().position(|flow| *flow == rules.flow);
        let params = values![
            rules.queue,
            flow.unwrap_or_default() as i64,
            rules.flow_at,
            limits,
            rules.updated_at,
        ];
        reference(self.execute(&q::QUEUE_RULES_SET, params).await, "queue").map(|_| ())
    }

    async fn endpoint_insert(&mut self, endpoint: &Endpoint) -> StoreResult<()> {
        self.endpoints_insert(endpoint).await
    }

    async fn endpoint_update(&mut self, endpoint: &Endpoint) -> StoreResult<bool> {
        self.endpoints_update(endpoint).await
    }

    async fn endpoint_delete(&mut self, tenant: TenantId, id: EndpointId) -> StoreResult<bool> {
        self.scope.admit(tenant)?;
        self.config_bump().await?;
        let deleted = self.changed(&q::ENDPOINT_DELETE, values![tenant, id]).await;
        let deleted = reference(deleted, "endpoint")?;
        // Of its own breaker; one that it shares is others' as well.
        let own = values![tenant, id.to_string()];
        self.execute(&q::BREAKER_RULE_CLEAR, own).await?;
        Ok(deleted)
    }

    async fn endpoint_get(&mut self, id: EndpointId) -> StoreResult<Option<Endpoint>> {
        self.endpoints_get(id).await
    }

    async fn endpoint_list(&mut self) -> StoreResult<Vec<Endpoint>> {
        self.endpoints_list().await
    }

    async fn job_insert(&mut self, jobs: &[NewJob]) -> StoreResult<i64> {
        for job in jobs {
            self.scope.admit(job.tenant)?;
        }
        let sealed = self.jobs_sealed(jobs).await?;
        let jobs = sealed.as_deref().unwrap_or(jobs);
        if jobs.iter().all(|job| job.order.is_none()) {
            return self.jobs_insert(jobs).await;
        }
        let (ordered, others): (Vec<NewJob>, Vec<NewJob>) =
            jobs.iter().cloned().partition(|job| job.order.is_some());
        let inserted = self.jobs_insert(&others).await?;
        Ok(inserted + self.lines_join(ordered.iter()).await?)
    }

    async fn job_get(&mut self, id: JobId) -> StoreResult<Option<Job>> {
        let Some(tenant) = self.tenant_of(&q::JOB_TENANT, id.uuid()).await? else {
            return Ok(None);
        };
        let job = self
            .first(&q::JOB_GET, values![tenant, id], list::job)
            .await?;
        Ok(self.jobs_opened(job.into_iter().collect()).await?.pop())
    }

    async fn job_list(&mut self, filter: &JobFilter, limit: i64) -> StoreResult<Vec<Job>> {
        let jobs = self.jobs_list(filter, limit).await?;
        self.jobs_opened(jobs).await
    }

    async fn job_attempts(
        &mut self,
        id: JobId,
    ) -> StoreResult<(Vec<Attempt>, Option<AttemptStart>)> {
        let Some(tenant) = self.tenant_of(&q::JOB_TENANT, id.uuid()).await? else {
            return Ok((Vec::new(), None));
        };
        let mut attempts = self
            .list(&q::JOB_ATTEMPTS, values![tenant, id], list::attempt)
            .await?;
        for one in &mut attempts {
            if let Some(text) = one.exchange.take() {
                let place = Place::new(Column::Exchange, one.job.uuid()).part(one.attempt);
                one.exchange = self.opened_text(place.of(tenant), text).await?;
            }
        }
        let last = attempts.last().map_or(0, |attempt| attempt.attempt);
        let start = self
            .first(&q::JOB_START_LAST, values![tenant, id], start)
            .await?;
        Ok((attempts, start.filter(|start| start.attempt > last)))
    }

    async fn attempt_start_last(&mut self, id: JobId) -> StoreResult<Option<AttemptStart>> {
        match self.tenant_of(&q::JOB_TENANT, id.uuid()).await? {
            Some(tenant) => {
                let key = values![tenant, id];
                self.first(&q::JOB_START_LAST, key, start).await
            }
            None => Ok(None),
        }
    }

    async fn job_discover(
        &mut self,
        cursor: &Cursor,
        recovering: bool,
        limit: i64,
    ) -> StoreResult<Discovery> {
        self.system()?;
        match &mut self.conn {
            Dialect::Sqlite(conn) => conn.job_discover(cursor, recovering, limit),
            Dialect::Postgres(conn) => conn.job_discover(cursor, recovering, limit).await,
        }
    }

    async fn lane_refill(
        &mut self,
        lane: Lane,
        after: JobId,
        seen: &Cursor,
        limit: i64,
        bodies: bool,
    ) -> StoreResult<LaneJobs> {
        self.system()?;
        match &mut self.conn {
            // A page that was just read is read again for less than a body's copy costs.
            Dialect::Sqlite(conn) => conn.lane_refill(lane, after, seen, limit),
            Dialect::Postgres(conn) => conn.lane_refill(lane, after, seen, limit, bodies).await,
        }
    }

    async fn delayed_refill(
        &mut self,
        queue: QueueNumber,
        tenant: Option<TenantId>,
        after: DueKey,
        until: Timestamp,
        seen: &Cursor,
        limit: i64,
    ) -> StoreResult<Vec<JobRef>> {
        self.system()?;
        match &mut self.conn {
            Dialect::Sqlite(conn) => conn.delayed_refill(queue, tenant, after, until, seen, limit),
            Dialect::Postgres(conn) => {
                conn.delayed_refill(queue, tenant, after, until, seen, limit)
                    .await
            }
        }
    }

    async fn retry_refill(
        &mut self,
        queue: QueueNumber,
        tenant: Option<TenantId>,
        after: DueKey,
        until: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<JobRef>> {
        self.system()?;
        match &mut self.conn {
            Dialect::Sqlite(conn) => conn.retry_refill(queue, tenant, after, until, limit),
            Dialect::Postgres(conn) => conn.retry_refill(queue, tenant, after, until, limit).await,
        }
    }

    async fn attempt_unfinished(
        &mut self,
        since: Timestamp,
        look_at: i64,
    ) -> StoreResult<(Vec<AttemptStart>, Option<Timestamp>)> {
        self.system()?;
        let more = values![since, bounded(look_at)];
        let next = self.first(&q::ATTEMPT_START_AFTER, more, |row| row.get(0));
        // Of one moment all, however many.
        let later = Timestamp::from_micros(since.micros().saturating_add(1));
        let next = next.await?.map(|at: Timestamp| at.max(later));
        let starts = values![since, next.unwrap_or(Timestamp::MAX)];
        let starts = self.list(&q::ATTEMPT_UNFINISHED, starts, start).await?;
        Ok((starts, next))
    }

    async fn attempt_unfinished_among(
        &mut self,
        attempts: &[(TenantId, JobId, i32)],
    ) -> StoreResult<Vec<AttemptStart>> {
        self.system()?;
        let mut found = Vec::new();
        for (tenant, job, attempt) in attempts {
            let key = values![*tenant, *job, *attempt];
            found.extend(self.first(&q::ATTEMPT_UNFINISHED_ONE, key, start).await?);
        }
        Ok(found)
    }

    async fn job_bodies(
        &mut self,
        jobs: &[(TenantId, JobId)],
        headers: bool,
    ) -> StoreResult<Vec<JobBody>> {
        for (tenant, _) in jobs {
            self.scope.admit(*tenant)?;
        }
        match &mut self.conn {
            Dialect::Sqlite(conn) => conn.job_bodies(jobs, headers),
            Dialect::Postgres(conn) => conn.job_bodies(jobs, headers).await,
        }
    }

    async fn attempt_start(&mut self, starts: &[AttemptStart]) -> StoreResult<Vec<bool>> {
        self.system()?;
        match &mut self.conn {
            Dialect::Sqlite(conn) => conn.attempt_start(starts),
            Dialect::Postgres(conn) => conn.attempt_start(starts).await,
        }
    }

    async fn attempt_settle(
        &mut self,
        attempts: &[Attempt],
        tally: Option<&TallyRecord>,
    ) -> StoreResult<()> {
        self.system()?;
        match &mut self.conn {
            Dialect::Sqlite(conn) => conn.attempt_settle(attempts, tally),
            Dialect::Postgres(conn) => conn.attempt_settle(attempts, tally).await,
        }
    }

    async fn dead_letter_insert(&mut self, letter: &DeadLetter) -> StoreResult<()> {
        self.system()?;
        self.letters_insert(letter).await
    }

    async fn dead_letter_list(
        &mut self,
        filter: &DeadLetterFilter,
        limit: i64,
    ) -> StoreResult<Vec<DeadLetter>> {
        self.letters_list(filter, limit).await
    }

    async fn dead_letter_groups(
        &mut self,
        filter: &DeadLetterFilter,
    ) -> StoreResult<Vec<DeadLetterGroup>> {
        self.letters_groups(filter).await
    }

    async fn dead_letter_end(&mut self, attempts: &[Attempt]) -> StoreResult<i64> {
        let ended = self.letters_end(attempts).await?;
        let first = attempts.first().map(|attempt| attempt.finished_at);
        if let Some(at) = first.filter(|_| ended > 0) {
            let jobs: Vec<_> = attempts.iter().map(|one| (one.tenant, one.job)).collect();
            self.saga_run_wake(&jobs, at).await?;
        }
        Ok(ended)
    }

    async fn job_cancel(&mut self, attempt: &Attempt) -> StoreResult<bool> {
        self.scope.admit(attempt.tenant)?;
        let Some(place) = self.place(attempt.tenant, attempt.job).await? else {
            return Ok(false);
        };
        if self.ended(attempt).await? {
            return Ok(false);
        }
        let waited = place.is_ordered() && self.line_withdraw(attempt.tenant, attempt.job).await?;
        if self.attempt_write(attempt).await? {
            if place.is_ordered() && !waited {
                self.line_left(attempt).await?;
            }
            let job = [(attempt.tenant, attempt.job)];
            self.saga_run_wake(&job, attempt.finished_at).await?;
            return Ok(true);
        }
        if waited {
            return Err(StoreError::Conflict { what: "attempt" });
        }
        // Its end and this wish met: whoever came first has the number.
        match self.ended(attempt).await? {
            true => Ok(false),
            false => Err(StoreError::Conflict { what: "attempt" }),
        }
    }

    async fn line_leave(&mut self, ends: &[LineEnd]) -> StoreResult<Vec<JobRef>> {
        self.system()?;
        self.lines_leave(ends).await
    }

    async fn line_list(&mut self, filter: &LineFilter, limit: i64) -> StoreResult<Vec<Line>> {
        self.lines_list(filter, limit).await
    }

    async fn line_get(&mut self, id: LineId) -> StoreResult<Option<Line>> {
        self.lines_get(id).await
    }

    async fn line_of(&mut self, tenant: TenantId, job: JobId) -> StoreResult<Option<Line>> {
        self.scope.admit(tenant)?;
        self.lines_of(tenant, job).await
    }

    async fn line_jobs(&mut self, line: &Line, limit: i64) -> StoreResult<Vec<JobId>> {
        self.scope.admit(line.tenant)?;
        self.lines_jobs(line, limit).await
    }

    async fn line_release(&mut self, line: &Line, at: Timestamp) -> StoreResult<bool> {
        self.scope.admit(line.tenant)?;
        self.lines_release(line, at).await
    }

    async fn line_parked(&mut self) -> StoreResult<ParkedCount> {
        self.lines_parked().await
    }

    async fn checkpoint_load(&mut self) -> StoreResult<Option<Checkpoint>> {
        self.system()?;
        self.first(&q::CHECKPOINT_LOAD, &[], |row| {
            Ok(Checkpoint {
                sequence: row.get(0)?,
                epoch: row.get(1)?,
                at: row.get(2)?,
                body: row.get(3)?,
            })
        })
        .await
    }

    async fn checkpoint_save(&mut self, checkpoint: &Checkpoint) -> StoreResult<()> {
        self.system()?;
        let Checkpoint {
            sequence,
            epoch,
            at,
            body,
        } = checkpoint;
        let params = values![*sequence, *epoch, *at, &**body];
        if !self.changed(&q::CHECKPOINT_SAVE, params).await? {
            return Err(StoreError::Conflict { what: "checkpoint" });
        }
        self.execute(&q::TALLY_DROP, values![*sequence]).await?;
        let seen = at.minus_ms(SIGNALS_KEPT_MS);
        self.execute(&q::SIGNAL_EXPIRE, values![seen])
            .await
            .map(|_| ())
    }

    async fn tally_since(&mut self, sequence: i64) -> StoreResult<Vec<TallyRecord>> {
        self.system()?;
        self.list(&q::TALLY_SINCE, values![sequence], |row| {
            Ok(TallyRecord {
                sequence: row.get(0)?,
                body: row.get(1)?,
            })
        })
        .await
    }

    async fn unique_take(
        &mut self,
        key: UniqueKey<'_>,
        job: JobId,
        at: Timestamp,
    ) -> StoreResult<Option<UniqueHolder>> {
        self.unique_taken(key, job, at).await
    }

    async fn unique_give(&mut self, key: UniqueKey<'_>, holder: &UniqueHolder) -> StoreResult<()> {
        self.unique_given(key, holder).await
    }

    async fn unique_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.system()?;
        let params = values![until, bounded(limit)];
        Ok(self.execute(&q::UNIQUE_EXPIRE, params).await? as i64)
    }

    async fn breaker_list(&mut self) -> StoreResult<Vec<(Dependency, Breaker)>> {
        self.breakers().await
    }

    async fn breaker_save(
        &mut self,
        dependency: &Dependency,
        breaker: &Breaker,
    ) -> StoreResult<()> {
        self.breaker_write(dependency, breaker).await
    }

    async fn breaker_rules(&mut self) -> StoreResult<Vec<BreakerRule>> {
        self.breakers_said().await
    }

    async fn breaker_rule_set(&mut self, rule: &BreakerRule) -> StoreResult<()> {
        self.breaker_say(rule).await
    }

    async fn breaker_rule_clear(&mut self, dependency: &Dependency) -> StoreResult<bool> {
        self.breaker_unsay(dependency).await
    }

    async fn breaker_change_insert(&mut self, change: &BreakerChange) -> StoreResult<()> {
        self.breaker_changed(change).await
    }

    async fn breaker_change_list(
        &mut self,
        dependency: &Dependency,
        before: BreakerChangeId,
        limit: i64,
    ) -> StoreResult<Vec<BreakerChange>> {
        self.breaker_changes(dependency, before, limit).await
    }

    async fn breaker_change_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.breaker_changes_expire(until, limit).await
    }
}

fn rules(row: &Row) -> StoreResult<QueueRules> {
    let limits: String = row.get(3)?;
    let broken = |error| StoreError::Corrupt(format!("a queue's limits cannot be read: {error}"));
    Ok(QueueRules {
        queue: row.get(0)?,
        flow: numbered_cell(row, 1, &Flow::ALL)?,
        flow_at: row.get(2)?,
        limits: serde_json::from_str(&limits).map_err(broken)?,
        updated_at: row.get(4)?,
    })
}

impl SqlTx<'_> {
    /// Jobs with their own payloads sealed. Those of events have none of their own, or what their rule says.
    async fn jobs_sealed(&mut self, jobs: &[NewJob]) -> StoreResult<Option<Vec<NewJob>>> {
        let own = |job: &NewJob| job.event.is_none() && job.payload.is_some();
        if !self.vault.on() || !jobs.iter().any(own) {
            return Ok(None);
        }
        let mut sealed = jobs.to_vec();
        for job in sealed.iter_mut().filter(|job| own(job)) {
            let (Some(payload), Some(key)) = (
                job.payload.take(),
                self.key_of(job.tenant, job.created_at).await?,
            ) else {
                continue;
            };
            let place = Place::new(Column::JobPayload, job.id.uuid()).of(job.tenant);
            let payload = Blob {
                zstd: false,
                bytes: payload,
            };
            job.payload = Some(key.seal(&place, &payload)?.bytes);
        }
        Ok(Some(sealed))
    }

    /// Jobs with their own payloads opened; without those whose key is destroyed.
    async fn jobs_opened(&mut self, mut jobs: Vec<Job>) -> StoreResult<Vec<Job>> {
        for job in &mut jobs {
            if let Some(payload) = job.payload.take() {
                let place = Place::new(Column::JobPayload, job.id.uuid()).of(job.tenant);
                job.payload = self.opened_bytes(place, payload).await?;
            }
        }
        Ok(jobs)
    }

    /// Jobs that keep no order.
    async fn jobs_insert(&mut self, jobs: &[NewJob]) -> StoreResult<i64> {
        match &mut self.conn {
            Dialect::Sqlite(conn) => conn.job_insert(jobs),
            Dialect::Postgres(conn) => conn.job_insert(jobs).await,
        }
    }

    /// Whether the job of this attempt has ended.
    async fn ended(&mut self, attempt: &Attempt) -> StoreResult<bool> {
        let read = |row: &Row| numbered_cell(row, 1, &Outcome::ALL);
        let job = values![attempt.tenant, attempt.job];
        let last = self.first(&q::ATTEMPT_LAST, job, read).await?;
        Ok(last.is_some_and(Outcome::ends))
    }

    /// Writes an attempt row that a person caused, with the signal that tells of it. False when the number is taken.
    async fn attempt_write(&mut self, attempt: &Attempt) -> StoreResult<bool> {
        if !self
            .changed(&q::ATTEMPT_INSERT, &attempt_values(attempt))
            .await?
        {
            return Ok(false);
        }
        let kind = signal_number(attempt.outcome);
        let (tenant, job, queue) = (attempt.tenant, attempt.job, attempt.queue);
        let params = values![tenant, job, queue, kind, attempt.finished_at];
        self.execute(&q::SIGNAL_INSERT, params).await.map(|_| true)
    }
}

/// The signal that an attempt row which a person caused leaves, as the store numbers it.
fn signal_number(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Requeued => 0,
        Outcome::Discarded => 2,
        _ => 1,
    }
}

/// The signal of this number.
pub(crate) fn signal_kind(number: i64) -> SignalKind {
    match number {
        0 => SignalKind::Requeued,
        2 => SignalKind::Discarded,
        3 => SignalKind::Turn,
        _ => SignalKind::Cancelled,
    }
}

fn attempt_values(attempt: &Attempt) -> [Value; 15] {
    [
        attempt.tenant.into(),
        attempt.job.into(),
        attempt.attempt.into(),
        attempt.tries.into(),
        attempt.queue.into(),
        (attempt.outcome as i64).into(),
        attempt.started_at.into(),
        attempt.finished_at.into(),
        attempt.next_at.into(),
        attempt.category.into(),
        attempt.code.as_deref().into(),
        attempt.error.as_deref().into(),
        attempt.status.into(),
        attempt.exchange.as_deref().into(),
        attempt.by.as_deref().into(),
    ]
}

fn start(row: &Row) -> StoreResult<AttemptStart> {
    Ok(AttemptStart {
        tenant: row.get(0)?,
        job: row.get(1)?,
        queue: row.get(2)?,
        attempt: row.get(3)?,
        tries: row.get(4)?,
        at: row.get(5)?,
        lease_ms: row.get(6)?,
    })
}
