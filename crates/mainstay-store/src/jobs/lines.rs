//! Lines: who of the jobs that share an ordering key may run, and who waits behind it.
//!
//! Whoever adds to a line or moves it on locks its row first, and nothing is locked after it that others lock before:
//! so the order of positions is that of commits. Several lines are locked in the order of their keys.

use std::collections::{BTreeMap, HashMap, HashSet};

use mainstay_domain::{
    BindingId, EventId, JobId, LineId, ReplayId, StoreError, StoreResult, TenantId, Timestamp,
    jobs::{
        Attempt, JobPlace, JobRef, Line, LineEnd, LineFilter, Loss, NewJob, OnDead, Outcome,
        ParkedCount, QueueNumber,
        line::{LINES_COUNTED_MAX, TURN, TURN_CAME},
    },
};
use uuid::Uuid;

use super::{
    attempt_values,
    list::{of_jobs, on_dead},
    queries as q,
};
use crate::{
    built::Built,
    queries,
    sql::{Row, Value},
    tx::SqlTx,
    verbs::{bounded, values},
};

/// Rows in one statement.
const ROWS_MAX: usize = 400;
/// How often a line may change between two looks before somebody else is given a chance.
const TRIES: usize = 8;

macro_rules! line_columns {
    () => {
        "SELECT l.id, l.tenant_id, l.queue, l.key, l.head_id, l.waiting, l.since, l.parked_at FROM line AS l"
    };
}

queries! {
    LINE_TENANT: System = "SELECT tenant_id FROM line WHERE id = $1";
    LINE_GET: Tenant = concat!(line_columns!(), " WHERE l.tenant_id = $1 AND l.id = $2");
    LINE_HEADED: Tenant = concat!(line_columns!(), " WHERE l.tenant_id = $1 AND l.head_id = $2");
    LINE_WAITED: Tenant = concat!(
        line_columns!(),
        " WHERE l.tenant_id = $1 AND l.id = (
            SELECT w.line_id FROM line_job AS w WHERE w.tenant_id = $1 AND w.job_id = $2)"
    );
    LINE_JOBS: Tenant = "
        SELECT job_id FROM line_job WHERE tenant_id = $1 AND line_id = $2 ORDER BY position, job_id LIMIT $3";
    LINE_PARKED: System = "
        SELECT count(*), CAST(coalesce(sum(p.waiting), 0) AS BIGINT)
        FROM (SELECT l.waiting FROM line AS l WHERE l.parked_at IS NOT NULL LIMIT $1) AS p";
    LINE_PARKED_OWN: Tenant = "
        SELECT count(*), CAST(coalesce(sum(p.waiting), 0) AS BIGINT)
        FROM (SELECT l.waiting FROM line AS l
            WHERE l.tenant_id = $1 AND l.parked_at IS NOT NULL LIMIT $2) AS p";

    /// A line without anybody behind its head ends with it.
    LINE_END: Tenant = "DELETE FROM line WHERE tenant_id = $1 AND head_id = $2 AND waiting = 0";
    /// Locks the line; then the next is taken out and becomes the head.
    LINE_MOVE: Tenant = "
        UPDATE line SET waiting = waiting - 1, since = $3, parked_at = NULL
        WHERE tenant_id = $1 AND head_id = $2 AND waiting > 0 RETURNING id, queue";
    LINE_TAKE: Tenant = "
        DELETE FROM line_job WHERE tenant_id = $1 AND line_id = $2 AND job_id = (
            SELECT n.job_id FROM line_job AS n WHERE n.tenant_id = $1 AND n.line_id = $2
            ORDER BY n.position, n.job_id LIMIT 1)
        RETURNING job_id, band, attempt,
            (SELECT j.deadline FROM job AS j WHERE j.tenant_id = $1 AND j.id = line_job.job_id)";
    LINE_HEAD: Tenant = "UPDATE line SET head_id = $3 WHERE tenant_id = $1 AND id = $2";
    LINE_PARK: Tenant = "UPDATE line SET parked_at = $3 WHERE tenant_id = $1 AND head_id = $2";
    /// Locks it as long as it is parked behind this head.
    LINE_STILL: Tenant = "
        UPDATE line SET since = since WHERE tenant_id = $1 AND head_id = $2 AND parked_at IS NOT NULL";
    /// Locks the line in which a job waits, and counts it out.
    LINE_WITHDRAW: Tenant = "
        UPDATE line SET waiting = waiting - 1
        WHERE tenant_id = $1 AND waiting > 0
            AND id = (SELECT w.line_id FROM line_job AS w WHERE w.tenant_id = $1 AND w.job_id = $2)
        RETURNING id";
    LINE_COUNT_AGAIN: Tenant = "UPDATE line SET waiting = waiting + 1 WHERE tenant_id = $1 AND id = $2";
    LINE_COUNT_DOWN: Tenant = "
        UPDATE line SET waiting = waiting - 1 WHERE tenant_id = $1 AND id = $2 AND waiting > 0";
    LINE_DELETE: Tenant = "DELETE FROM line WHERE tenant_id = $1 AND id = $2";
    LINE_JOB_DELETE: Tenant = "DELETE FROM line_job WHERE tenant_id = $1 AND job_id = $2";
    /// A dead letter comes back: to the head of the line that it parks, else behind its head.
    LINE_RETURN: Tenant = "
        UPDATE line SET
            parked_at = CASE WHEN head_id = $4 THEN NULL ELSE parked_at END,
            waiting = waiting + CASE WHEN head_id = $4 THEN 0 ELSE 1 END
        WHERE tenant_id = $1 AND queue = $2 AND key = $3 RETURNING id, head_id";
    LINE_INSERT: Tenant = "
        INSERT INTO line (tenant_id, id, queue, key, head_id, last, waiting, since)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    LINE_JOB_INSERT: Tenant = "
        INSERT INTO line_job (tenant_id, line_id, position, job_id, band, attempt) VALUES ($1, $2, $3, $4, $5, $6)";
}

/// Where a job stands, as its own row says.
pub(super) struct Place {
    queue: QueueNumber,
    band: i16,
    order: Option<JobPlace>,
}

impl Place {
    pub(super) const fn is_ordered(&self) -> bool {
        self.order.is_some()
    }

    /// Where its line stands in the order in which lines are locked.
    pub(super) fn line(&self) -> Option<(QueueNumber, String)> {
        Some((self.queue, self.order.as_ref()?.key.clone()))
    }
}

/// What a line is known by: whose it is, its queue, its key.
type LineKey<'a> = (TenantId, QueueNumber, &'a str);
/// A line and the jobs that join it, in their order.
type Joining<'a> = BTreeMap<LineKey<'a>, Vec<&'a NewJob>>;
/// What makes a job the same as another: event, binding and replay.
type Same = (Uuid, Uuid, Uuid);

impl SqlTx<'_> {
    /// Where a job stands; none: there is no such job.
    pub(super) async fn place(
        &mut self,
        tenant: TenantId,
        job: JobId,
    ) -> StoreResult<Option<Place>> {
        self.first(&q::JOB_PLACE, values![tenant, job], |row| {
            Ok(Place {
                queue: row.get(0)?,
                band: row.get(1)?,
                order: match row.get::<Option<String>>(2)? {
                    Some(key) => Some(JobPlace {
                        key,
                        position: row.get(3)?,
                        on_dead: on_dead(row.get(4)?),
                        waits: false,
                    }),
                    None => None,
                },
            })
        })
        .await
    }

    /// Inserts jobs that keep an order, each at the end of its line, the first of a line that was not there as its head.
    pub(crate) async fn lines_join<'a>(
        &mut self,
        jobs: impl Iterator<Item = &'a NewJob> + Send,
    ) -> StoreResult<i64> {
        let jobs: Vec<&NewJob> = jobs.collect();
        let known = self.known_jobs(&jobs).await?;
        let mut joining: Joining<'_> = BTreeMap::new();
        for job in jobs {
            let Some(order) = &job.order else { continue };
            if job.run_at.is_some() {
                let what = "a job that keeps an order was given a time of its own";
                return Err(StoreError::Bug(what.into()));
            }
            if same(job).is_some_and(|same| known.contains(&same)) {
                continue;
            }
            let line = (job.tenant, job.queue, &*order.key);
            joining.entry(line).or_default().push(job);
        }
        let joining: Vec<_> = joining.into_iter().collect();
        let mut inserted = 0;
        for some in joining.chunks(ROWS_MAX) {
            inserted += self.lines_join_some(some).await?;
        }
        Ok(inserted)
    }

    async fn lines_join_some(
        &mut self,
        joining: &[(LineKey<'_>, Vec<&NewJob>)],
    ) -> StoreResult<i64> {
        let built = lines_insert(joining.iter().map(|(line, jobs)| (line, &jobs[..])));
        let rows = self.built(built).await?;
        let mut lines: HashMap<(TenantId, QueueNumber, String), (LineId, JobId, i64)> =
            HashMap::with_capacity(rows.len());
        for row in &rows {
            let key = (row.get(0)?, row.get(1)?, row.get(2)?);
            lines.insert(key, (row.get(3)?, row.get(4)?, row.get(5)?));
        }
        let (mut made, mut waiting) = (Vec::new(), Vec::new());
        for ((tenant, queue, key), jobs) in joining {
            let found = lines.get(&(*tenant, *queue, (*key).to_owned()));
            let (line, head, last) =
                *found.ok_or_else(|| StoreError::Bug("a line was not inserted".into()))?;
            let first = last - jobs.len() as i64 + 1;
            for (position, job) in (first..).zip(jobs) {
                let waits = job.id != head;
                made.push(job_values(job, position, waits));
                if waits {
                    waiting.push(waiting_values(job, line, position));
                }
            }
        }
        let inserted = made.len() as i64;
        for rows in made.chunks(ROWS_MAX) {
            self.built(jobs_insert(rows)).await?;
        }
        for rows in waiting.chunks(ROWS_MAX) {
            self.built(waiting_insert(rows)).await?;
        }
        Ok(inserted)
    }

    /// Those of the jobs of these events that are there already.
    async fn known_jobs(&mut self, jobs: &[&NewJob]) -> StoreResult<HashSet<Same>> {
        let mut events: BTreeMap<TenantId, Vec<EventId>> = BTreeMap::new();
        for job in jobs {
            let of_tenant = events.entry(job.tenant).or_default();
            of_tenant.extend(job.event);
        }
        let mut known = HashSet::new();
        for (tenant, events) in events {
            for events in events.chunks(ROWS_MAX) {
                let jobs = self.jobs_of_events(tenant, events).await?;
                for row in self.built(jobs_known(tenant, &jobs)).await? {
                    known.insert((row.get(0)?, row.get(1)?, row.get(2)?));
                }
            }
        }
        Ok(known)
    }

    pub(super) async fn lines_leave(&mut self, ends: &[LineEnd]) -> StoreResult<Vec<JobRef>> {
        let mut turns = Vec::new();
        for end in self.in_order_of_lines(ends).await? {
            if end.dead && self.parks(&end).await? {
                continue;
            }
            turns.extend(self.line_move(end.tenant, end.job, end.at).await?);
        }
        Ok(turns)
    }

    /// Those that are the head of a line, in the order in which lines are locked.
    async fn in_order_of_lines(&mut self, ends: &[LineEnd]) -> StoreResult<Vec<LineEnd>> {
        if let [one] = ends {
            return Ok(vec![*one]);
        }
        let mut by_tenant: BTreeMap<TenantId, Vec<LineEnd>> = BTreeMap::new();
        for end in ends {
            by_tenant.entry(end.tenant).or_default().push(*end);
        }
        let mut ordered = Vec::with_capacity(ends.len());
        for (tenant, ends) in by_tenant {
            let by_job: HashMap<JobId, LineEnd> = ends.iter().map(|end| (end.job, *end)).collect();
            for ends in ends.chunks(ROWS_MAX) {
                let heads: Vec<JobId> = ends.iter().map(|end| end.job).collect();
                for row in self.built(lines_headed(tenant, &heads)).await? {
                    let line: (QueueNumber, String) = (row.get(1)?, row.get(2)?);
                    if let Some(end) = by_job.get(&row.get(0)?) {
                        ordered.push((tenant, line, *end));
                    }
                }
            }
        }
        ordered.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        Ok(ordered.into_iter().map(|(_, _, end)| end).collect())
    }

    /// Whether the line stops behind this dead letter.
    async fn parks(&mut self, end: &LineEnd) -> StoreResult<bool> {
        let place = self.place(end.tenant, end.job).await?;
        let on_dead = place.and_then(|place| place.order).map(|one| one.on_dead);
        if on_dead == Some(OnDead::Continue) {
            return Ok(false);
        }
        let params = values![end.tenant, end.job, end.at];
        self.changed(&LINE_PARK, params).await.map(|_| true)
    }

    /// The head has gone: the next gets its turn, or the line ends. None where nobody's turn has come.
    async fn line_move(
        &mut self,
        tenant: TenantId,
        head: JobId,
        at: Timestamp,
    ) -> StoreResult<Option<JobRef>> {
        for _ in 0..TRIES {
            if self.changed(&LINE_END, values![tenant, head]).await? {
                return Ok(None);
            }
            let read = |row: &Row| Ok((row.get::<LineId>(0)?, row.get::<QueueNumber>(1)?));
            let moved = self
                .first(&LINE_MOVE, values![tenant, head, at], read)
                .await?;
            if let Some((line, queue)) = moved {
                return self.line_turn(tenant, line, queue, at).await;
            }
            // Not a head, or one that lost its last follower just now.
            let headed = self.rows(&LINE_HEADED, values![tenant, head]).await?;
            if headed.is_empty() {
                return Ok(None);
            }
        }
        Err(StoreError::Conflict { what: "line" })
    }

    /// The line is locked, and its next job becomes the head. A line that does not hold what it counts mends itself:
    /// nothing else may stand still for it.
    async fn line_turn(
        &mut self,
        tenant: TenantId,
        line: LineId,
        queue: QueueNumber,
        at: Timestamp,
    ) -> StoreResult<Option<JobRef>> {
        let read = |row: &Row| {
            let job = (row.get::<JobId>(0)?, row.get::<Option<Timestamp>>(3)?);
            Ok((job, row.get::<i16>(1)?, row.get::<i32>(2)?))
        };
        for _ in 0..TRIES {
            let next = self.first(&LINE_TAKE, values![tenant, line], read).await?;
            let Some(((job, deadline), band, attempt)) = next else {
                tracing::error!(%line, "a line counted more jobs than it had");
                self.execute(&LINE_DELETE, values![tenant, line]).await?;
                return Ok(None);
            };
            let turn = JobRef {
                tenant,
                job,
                queue,
                band,
                due: Some(at),
                deadline,
                attempt: attempt + 1,
                tries: 0,
                loss: Loss::None,
                ordered: true,
            };
            let row = attempt_values(&turn_row(&turn, at));
            // The fence: whoever has written under this number before has ended the job.
            if self.changed(&q::ATTEMPT_INSERT, &row).await? {
                self.execute(&LINE_HEAD, values![tenant, line, job]).await?;
                return Ok(Some(turn));
            }
            self.execute(&LINE_COUNT_DOWN, values![tenant, line])
                .await?;
        }
        Err(StoreError::Conflict { what: "line" })
    }

    /// A person has ended the job of this attempt: its line goes on, if it was the head of one.
    pub(super) async fn line_left(&mut self, attempt: &Attempt) -> StoreResult<()> {
        let (tenant, at) = (attempt.tenant, attempt.finished_at);
        match self.line_move(tenant, attempt.job, at).await? {
            Some(turn) => self.turn_signal(&turn, at).await,
            None => Ok(()),
        }
    }

    /// Takes a job that waits out of its line. False: it does not wait.
    pub(super) async fn line_withdraw(
        &mut self,
        tenant: TenantId,
        job: JobId,
    ) -> StoreResult<bool> {
        let line = self
            .first(&LINE_WITHDRAW, values![tenant, job], |row| {
                row.get::<LineId>(0)
            })
            .await?;
        let Some(line) = line else {
            return Ok(false);
        };
        if self.changed(&LINE_JOB_DELETE, values![tenant, job]).await? {
            return Ok(true);
        }
        // Its turn came while the line was waited for.
        self.execute(&LINE_COUNT_AGAIN, values![tenant, line])
            .await
            .map(|_| false)
    }

    /// A dead letter is run again by this attempt. Whether its turn is now: it is where it still is the head, or where
    /// its line has come to its end; else it waits at its old place, before all that came later.
    pub(super) async fn line_return(
        &mut self,
        attempt: &Attempt,
        place: &Place,
    ) -> StoreResult<bool> {
        let Some(order) = &place.order else {
            return Ok(true);
        };
        let (tenant, job) = (attempt.tenant, attempt.job);
        let read = |row: &Row| Ok((row.get::<LineId>(0)?, row.get::<JobId>(1)?));
        let line = values![tenant, place.queue, &*order.key, job];
        match self.first(&LINE_RETURN, line, read).await? {
            Some((_, head)) if head == job => Ok(true),
            Some((line, _)) => {
                let number = attempt.attempt;
                let waits = values![tenant, line, order.position, job, place.band, number];
                self.execute(&LINE_JOB_INSERT, waits).await.map(|_| false)
            }
            None => {
                let at = attempt.finished_at;
                let (id, key) = (LineId::from_uuid(job.uuid()), &*order.key);
                let last = order.position.max(at.micros());
                let line = values![tenant, id, place.queue, key, job, last, 0_i64, at];
                self.execute(&LINE_INSERT, line).await.map(|_| true)
            }
        }
    }

    pub(super) async fn lines_release(&mut self, line: &Line, at: Timestamp) -> StoreResult<bool> {
        let (tenant, head) = (line.tenant, line.head);
        if !self.changed(&LINE_STILL, values![tenant, head]).await? {
            return Ok(false);
        }
        if let Some(turn) = self.line_move(tenant, head, at).await? {
            self.turn_signal(&turn, at).await?;
        }
        Ok(true)
    }

    /// Tells the engine's owner, who may be another process, whose turn has come.
    async fn turn_signal(&mut self, turn: &JobRef, at: Timestamp) -> StoreResult<()> {
        let params = values![turn.tenant, turn.job, turn.queue, 3_i64, at];
        self.execute(&q::SIGNAL_INSERT, params).await.map(|_| ())
    }

    pub(super) async fn lines_list(
        &mut self,
        filter: &LineFilter,
        limit: i64,
    ) -> StoreResult<Vec<Line>> {
        let tenant = match (self.scope.tenant(), filter.tenant) {
            (Some(own), Some(asked)) if own != asked => return Ok(Vec::new()),
            (Some(own), _) => Some(own),
            (None, asked) => asked,
        };
        let rows = self.built(page(tenant, filter, bounded(limit))).await?;
        rows.iter().map(line).collect()
    }

    pub(super) async fn lines_get(&mut self, id: LineId) -> StoreResult<Option<Line>> {
        let Some(tenant) = self.tenant_of(&LINE_TENANT, id.uuid()).await? else {
            return Ok(None);
        };
        self.first(&LINE_GET, values![tenant, id], line).await
    }

    pub(super) async fn lines_of(
        &mut self,
        tenant: TenantId,
        job: JobId,
    ) -> StoreResult<Option<Line>> {
        let headed = self.first(&LINE_HEADED, values![tenant, job], line).await?;
        match headed {
            Some(line) => Ok(Some(line)),
            None => self.first(&LINE_WAITED, values![tenant, job], line).await,
        }
    }

    pub(super) async fn lines_jobs(&mut self, line: &Line, limit: i64) -> StoreResult<Vec<JobId>> {
        let params = values![line.tenant, line.id, bounded(limit)];
        self.list(&LINE_JOBS, params, |row| row.get(0)).await
    }

    pub(super) async fn lines_parked(&mut self) -> StoreResult<ParkedCount> {
        let read = |row: &Row| {
            Ok(ParkedCount {
                lines: row.get(0)?,
                waiting: row.get(1)?,
            })
        };
        let counted = match self.scope.tenant() {
            Some(own) => {
                let params = values![own, LINES_COUNTED_MAX];
                self.first(&LINE_PARKED_OWN, params, read).await?
            }
            None => {
                self.first(&LINE_PARKED, values![LINES_COUNTED_MAX], read)
                    .await?
            }
        };
        Ok(counted.unwrap_or_default())
    }
}

/// The attempt row that says that a job's turn has come.
fn turn_row(turn: &JobRef, at: Timestamp) -> Attempt {
    Attempt {
        tenant: turn.tenant,
        job: turn.job,
        attempt: turn.attempt,
        tries: 0,
        queue: turn.queue,
        outcome: Outcome::Requeued,
        started_at: at,
        finished_at: at,
        next_at: Some(at),
        category: None,
        code: Some(TURN_CAME.to_owned()),
        error: None,
        status: None,
        exchange: None,
        by: None,
    }
}

fn same(job: &NewJob) -> Option<Same> {
    Some((
        job.event?.uuid(),
        job.binding.map_or(Uuid::nil(), |id: BindingId| id.uuid()),
        job.replay.map_or(Uuid::nil(), |id: ReplayId| id.uuid()),
    ))
}

/// Adds to each line as many places as jobs join it, and makes those that are not there.
pub(crate) fn lines_insert<'a>(
    joining: impl Iterator<Item = (&'a LineKey<'a>, &'a [&'a NewJob])>,
) -> Built {
    let mut built = Built::new(
        "INSERT INTO line (tenant_id, id, queue, key, head_id, last, waiting, since) VALUES",
        Vec::new(),
    );
    let rows = joining.filter_map(|((tenant, queue, key), jobs)| {
        let first = jobs.first()?;
        let behind = jobs.len() as i64 - 1;
        let row: [Value; 8] = [
            (*tenant).into(),
            first.id.uuid().into(),
            (*queue).into(),
            (*key).into(),
            first.id.into(),
            (first.created_at.micros() + behind).into(),
            behind.into(),
            first.created_at.into(),
        ];
        Some(row)
    });
    built.bind_rows(rows).push(
        " ON CONFLICT (tenant_id, queue, key) DO UPDATE SET
            last = CASE WHEN line.last + excluded.waiting + 1 > excluded.last
                THEN line.last + excluded.waiting + 1 ELSE excluded.last END,
            waiting = line.waiting + excluded.waiting + 1
        RETURNING tenant_id, queue, key, id, head_id, last",
    );
    built
}

fn job_values(job: &NewJob, position: i64, waits: bool) -> [Value; 17] {
    let order = job.order.as_ref();
    [
        job.tenant.into(),
        job.id.into(),
        job.queue.into(),
        job.band.into(),
        (&*job.kind).into(),
        job.event.into(),
        job.binding.map_or(Uuid::nil(), |id| id.uuid()).into(),
        job.replay.map_or(Uuid::nil(), |id| id.uuid()).into(),
        job.endpoint.into(),
        waits.then_some(TURN).into(),
        job.created_at.into(),
        job.retry.as_deref().into(),
        job.payload.as_deref().into(),
        order.map(|order| &*order.key).into(),
        position.into(),
        order.map(|order| order.on_dead == OnDead::Park).into(),
        job.deadline.into(),
    ]
}

/// Jobs that keep an order.
pub(crate) fn jobs_insert(rows: &[[Value; 17]]) -> Built {
    let mut built = Built::new(
        "INSERT INTO job (tenant_id, id, queue, band, kind, event_id, binding_id, replay_id, endpoint_id, run_at,
            created_at, retry, payload, order_key, order_position, order_parks, deadline) VALUES",
        Vec::new(),
    );
    built.bind_rows(rows.iter().cloned());
    built
}

fn waiting_values(job: &NewJob, line: LineId, position: i64) -> [Value; 6] {
    [
        job.tenant.into(),
        line.into(),
        position.into(),
        job.id.into(),
        job.band.into(),
        0_i32.into(),
    ]
}

/// Jobs that wait in their lines.
pub(crate) fn waiting_insert(rows: &[[Value; 6]]) -> Built {
    let mut built = Built::new(
        "INSERT INTO line_job (tenant_id, line_id, position, job_id, band, attempt) VALUES",
        Vec::new(),
    );
    built.bind_rows(rows.iter().cloned());
    built
}

/// What makes these jobs the same as others.
pub(crate) fn jobs_known(tenant: TenantId, jobs: &[JobId]) -> Built {
    let mut built = Built::new(
        "SELECT j.event_id, j.binding_id, j.replay_id FROM job AS j WHERE j.tenant_id = $1",
        vec![tenant.into()],
    );
    of_jobs(&mut built, jobs);
    built
}

/// The lines whose heads these are.
pub(crate) fn lines_headed(tenant: TenantId, heads: &[JobId]) -> Built {
    let mut built = Built::new(
        "SELECT head_id, queue, key FROM line WHERE tenant_id = $1",
        vec![tenant.into()],
    );
    built.bind_list(" AND head_id IN", heads.iter().copied());
    built
}

/// One page of lines; of all tenants where none is given.
pub(crate) fn page(tenant: Option<TenantId>, filter: &LineFilter, limit: i64) -> Built {
    let mut built = match tenant {
        Some(tenant) => Built::new(
            concat!(line_columns!(), " WHERE l.tenant_id = $1"),
            vec![tenant.into()],
        ),
        None => Built::new(concat!(line_columns!(), " WHERE TRUE"), Vec::new()),
    };
    match filter.parked {
        Some(true) => drop(built.push(" AND l.parked_at IS NOT NULL")),
        Some(false) => drop(built.push(" AND l.parked_at IS NULL")),
        None => {}
    }
    built
        .bind_some(" AND l.queue = ", filter.queue, "")
        .bind_some(" AND l.key = ", filter.key.as_deref(), "")
        .bind_some(" AND l.id < ", filter.before, "")
        .bind(" ORDER BY l.id DESC LIMIT ", limit, "");
    built
}

fn line(row: &Row) -> StoreResult<Line> {
    Ok(Line {
        id: row.get(0)?,
        tenant: row.get(1)?,
        queue: row.get(2)?,
        key: row.get(3)?,
        head: row.get(4)?,
        waiting: row.get(5)?,
        since: row.get(6)?,
        parked_at: row.get(7)?,
    })
}
