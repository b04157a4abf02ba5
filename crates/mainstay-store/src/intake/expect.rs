//! Events that must be followed by another, until it comes.

use async_trait::async_trait;
use mainstay_domain::{
    ExpectationId, SourceId, StoreResult, TenantId, Timestamp,
    intake::expect::{ExpectState, ExpectTally, ExpectTx, Expectation, MARKS_MAX, PENDING_MAX},
};
use uuid::Uuid;

use crate::{
    sql::Row,
    tx::{Dialect, SqlTx},
    verbs::{bounded, values},
};

pub(crate) mod queries {
    //! The statements of expected events.

    use crate::queries;

    macro_rules! expectation_columns {
        () => {
            "SELECT x.id, x.tenant_id, x.source_id, x.rule, x.object, x.event_id, x.wanted, x.began_at, x.due_at, x.state,
                x.acknowledged_at, x.acknowledged_by FROM expectation AS x"
        };
    }

    macro_rules! tally_columns {
        ($of:literal) => {
            concat!("SELECT t.rule, CAST(sum(t.pending) AS bigint), CAST(sum(t.fulfilled) AS bigint),
                CAST(sum(t.late) AS bigint), CAST(sum(t.missed) AS bigint), CAST(sum(t.overflowed) AS bigint)
                FROM expectation_tally AS t WHERE ", $of, " GROUP BY t.rule ORDER BY t.rule")
        };
    }

    queries! {
        EXPECT_INSERT: Tenant = "
            INSERT INTO expectation (tenant_id, id, source_id, rule, object, event_id, wanted, began_at, due_at, state)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)
            ON CONFLICT (tenant_id, source_id, rule, event_id) DO NOTHING";
        /// The first that came no earlier than this.
        EXPECT_MET_SINCE: Tenant = "
            SELECT m.met_at FROM expectation_met AS m
            WHERE m.tenant_id = $1 AND m.source_id = $2 AND m.rule = $3 AND m.object = $4 AND m.met_at >= $5
            ORDER BY m.met_at LIMIT 1";
        EXPECT_MET_LAST: Tenant = "
            SELECT m.met_at FROM expectation_met AS m
            WHERE m.tenant_id = $1 AND m.source_id = $2 AND m.rule = $3 AND m.object = $4
            ORDER BY m.met_at DESC LIMIT 1";
        EXPECT_MET_INSERT: Tenant = "
            INSERT INTO expectation_met (tenant_id, source_id, rule, object, met_at, until)
            VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (tenant_id, source_id, rule, object, met_at) DO NOTHING";
        /// Where there is no room for one more: the last of the object's becomes a later one.
        EXPECT_MET_UPDATE: Tenant = "
            UPDATE expectation_met SET met_at = $6, until = $7
            WHERE tenant_id = $1 AND source_id = $2 AND rule = $3 AND object = $4 AND met_at = $5 AND met_at < $6";
        EXPECT_MEET: Tenant = "
            DELETE FROM expectation
            WHERE tenant_id = $1 AND source_id = $2 AND rule = $3 AND object = $4 AND began_at <= $5
            RETURNING due_at";
        EXPECT_TALLY_ENSURE: Tenant = "
            INSERT INTO expectation_tally (tenant_id, source_id, rule, pending, marks, fulfilled, late, missed, overflowed)
            VALUES ($1, $2, $3, 0, 0, 0, 0, 0, 0)
            ON CONFLICT (tenant_id, source_id, rule) DO UPDATE SET pending = expectation_tally.pending
            RETURNING pending, marks";
        EXPECT_TALLY_ADD: Tenant = "
            UPDATE expectation_tally SET pending = pending + $4, marks = marks + $5, fulfilled = fulfilled + $6,
                late = late + $7, missed = missed + $8, overflowed = overflowed + $9
            WHERE tenant_id = $1 AND source_id = $2 AND rule = $3";
        EXPECT_DUE: System = concat!(expectation_columns!(), "
            WHERE x.state = 0 AND x.due_at < $1 AND (x.due_at, x.id) > ($2, $3) ORDER BY x.due_at, x.id LIMIT $4");
        EXPECT_MISSING: Tenant = "
            UPDATE expectation SET state = 1 WHERE tenant_id = $1 AND id = $2 AND state = 0";
        EXPECT_FORGET: Tenant = "DELETE FROM expectation WHERE tenant_id = $1 AND id = $2";
        EXPECT_LIST: Tenant = concat!(expectation_columns!(), "
            WHERE x.tenant_id = $1 AND x.source_id = $2 AND x.state = $3 AND x.id < $4 ORDER BY x.id DESC LIMIT $5");
        EXPECT_LIST_OPEN: Tenant = concat!(expectation_columns!(), "
            WHERE x.tenant_id = $1 AND x.source_id = $2 AND x.state = $3 AND x.id < $4 AND x.acknowledged_at IS NULL
            ORDER BY x.id DESC LIMIT $5");
        EXPECT_LIST_ALL: System = concat!(expectation_columns!(), "
            WHERE x.source_id = $1 AND x.state = $2 AND x.id < $3 ORDER BY x.id DESC LIMIT $4");
        EXPECT_LIST_OPEN_ALL: System = concat!(expectation_columns!(), "
            WHERE x.source_id = $1 AND x.state = $2 AND x.id < $3 AND x.acknowledged_at IS NULL
            ORDER BY x.id DESC LIMIT $4");
        EXPECT_ACKNOWLEDGE: Tenant = "
            UPDATE expectation SET acknowledged_at = $4, acknowledged_by = $5
            WHERE tenant_id = $1 AND source_id = $2 AND id = $3 AND state = 1 AND acknowledged_at IS NULL";
        EXPECT_ACKNOWLEDGE_EACH: Tenant = "
            UPDATE expectation SET acknowledged_at = $3, acknowledged_by = $4
            WHERE tenant_id = $1 AND source_id = $2 AND state = 1 AND acknowledged_at IS NULL";
        EXPECT_ACKNOWLEDGE_ANY: System = "
            UPDATE expectation SET acknowledged_at = $3, acknowledged_by = $4
            WHERE source_id = $1 AND id = $2 AND state = 1 AND acknowledged_at IS NULL";
        EXPECT_ACKNOWLEDGE_ALL: System = "
            UPDATE expectation SET acknowledged_at = $2, acknowledged_by = $3
            WHERE source_id = $1 AND state = 1 AND acknowledged_at IS NULL";
        EXPECT_TALLIES: Tenant = tally_columns!("t.tenant_id = $1 AND t.source_id = $2");
        EXPECT_TALLIES_ALL: System = tally_columns!("t.source_id = $1");
        EXPECT_MISSING_COUNTS: System = "
            SELECT x.source_id, count(*) FROM expectation AS x WHERE x.state = 1 AND x.acknowledged_at IS NULL
            GROUP BY x.source_id ORDER BY x.source_id LIMIT $1";
        EXPECT_MISSING_COUNTS_OWN: Tenant = "
            SELECT x.source_id, count(*) FROM expectation AS x
            WHERE x.tenant_id = $1 AND x.state = 1 AND x.acknowledged_at IS NULL
            GROUP BY x.source_id ORDER BY x.source_id LIMIT $2";
        EXPECT_MARKS_OLD: System = "
            SELECT m.tenant_id, m.source_id, m.rule, m.object, m.met_at FROM expectation_met AS m
            WHERE m.until < $1 ORDER BY m.until LIMIT $2";
        EXPECT_MARK_REMOVE: Tenant = "
            DELETE FROM expectation_met
            WHERE tenant_id = $1 AND source_id = $2 AND rule = $3 AND object = $4 AND met_at = $5
                AND until < $6";
        EXPECT_OLD: System = concat!(expectation_columns!(), "
            WHERE x.state = 1 AND x.began_at < $1 ORDER BY x.id LIMIT $2");
        EXPECT_TALLY_ALONE: System = "
            DELETE FROM expectation_tally WHERE pending = 0 AND marks = 0 AND NOT EXISTS (
                SELECT 1 FROM source AS s WHERE s.id = expectation_tally.source_id)";
    }
}
use queries as q;

/// What is added to a rule's numbers.
#[derive(Default)]
struct Added {
    pending: i64,
    marks: i64,
    fulfilled: i64,
    late: i64,
    missed: i64,
    overflowed: i64,
}

impl Added {
    /// What was expected until `due` was received at `at`: that decides, and not when it was looked at.
    fn met(&mut self, at: Timestamp, due: Timestamp) {
        match at <= due {
            true => self.fulfilled += 1,
            false => self.late += 1,
        }
    }
}

impl SqlTx<'_> {
    /// How many rows a rule has; nobody else changes that until the end of the transaction.
    async fn tally_hold(
        &mut self,
        (tenant, source): (TenantId, SourceId),
        rule: &str,
    ) -> StoreResult<(i64, i64)> {
        if let Dialect::Postgres(conn) = &self.conn {
            conn.tallies_lock().await?;
        }
        let params = values![tenant, source, rule];
        let read = |row: &Row| Ok((row.get(0)?, row.get(1)?));
        let known = self.first(&q::EXPECT_TALLY_ENSURE, params, read).await?;
        Ok(known.unwrap_or_default())
    }

    async fn tally_add(
        &mut self,
        (tenant, source): (TenantId, SourceId),
        rule: &str,
        added: Added,
    ) -> StoreResult<()> {
        let params = values![
            tenant,
            source,
            rule,
            added.pending,
            added.marks,
            added.fulfilled,
            added.late,
            added.missed,
            added.overflowed,
        ];
        self.execute(&q::EXPECT_TALLY_ADD, params).await.map(drop)
    }

    /// Removes one that nobody waits for any more.
    async fn expectation_remove(&mut self, of: &Expectation) -> StoreResult<bool> {
        let key = (of.tenant, of.source);
        self.tally_hold(key, &of.rule).await?;
        let params = values![of.tenant, of.id];
        if !self.changed(&q::EXPECT_FORGET, params).await? {
            return Ok(false);
        }
        let added = Added {
            pending: -1,
            ..Added::default()
        };
        self.tally_add(key, &of.rule, added).await?;
        Ok(true)
    }
}

#[async_trait]
impl ExpectTx for SqlTx<'_> {
    async fn expect_begin(
        &mut self,
        expectation: &Expectation,
        before: Timestamp,
    ) -> StoreResult<()> {
        let Expectation {
            tenant,
            source,
            rule,
            object,
            ..
        } = expectation;
        self.scope.admit(*tenant)?;
        // First, so that nothing of the rule changes between the looks below and the end.
        let (pending, _) = self.tally_hold((*tenant, *source), rule).await?;
        let params = values![*tenant, *source, &**rule, &**object, before];
        let met = |row: &Row| row.get::<Timestamp>(0);
        let met = self.first(&q::EXPECT_MET_SINCE, params, met).await?;
        let mut added = Added::default();
        if let Some(met) = met {
            added.met(met, expectation.due_at);
        } else if pending >= PENDING_MAX {
            added.overflowed = 1;
        } else {
            let params = values![
                *tenant,
                expectation.id,
                *source,
                &**rule,
                &**object,
                expectation.event,
                &*expectation.wanted,
                expectation.began_at,
                expectation.due_at,
            ];
            added.pending = i64::from(self.changed(&q::EXPECT_INSERT, params).await?);
        }
        self.tally_add((*tenant, *source), rule, added).await
    }

    async fn expect_meet(
        &mut self,
        (tenant, source): (TenantId, SourceId),
        rule: &str,
        object: &str,
        at: Timestamp,
        begun_until: Timestamp,
        keep_until: Timestamp,
    ) -> StoreResult<()> {
        self.scope.admit(tenant)?;
        let of = (tenant, source);
        let (_, marks) = self.tally_hold(of, rule).await?;
        let params = values![tenant, source, rule, object, begun_until];
        let due = |row: &Row| row.get::<Timestamp>(0);
        let met = self.list(&q::EXPECT_MEET, params, due).await?;
        let mut added = Added {
            pending: -(met.len() as i64),
            ..Added::default()
        };
        for due in met {
            added.met(at, due);
        }
        let params = values![tenant, source, rule, object, at, keep_until];
        if marks < MARKS_MAX {
            added.marks = i64::from(self.changed(&q::EXPECT_MET_INSERT, params).await?);
        } else {
            let key = values![tenant, source, rule, object];
            let last = |row: &Row| row.get::<Timestamp>(0);
            match self.first(&q::EXPECT_MET_LAST, key, last).await? {
                Some(last) => {
                    let params = values![tenant, source, rule, object, last, at, keep_until];
                    self.execute(&q::EXPECT_MET_UPDATE, params).await?;
                }
                None => added.overflowed = 1,
            }
        }
        self.tally_add(of, rule, added).await
    }

    async fn expect_due(
        &mut self,
        at: Timestamp,
        after: Option<(Timestamp, ExpectationId)>,
        limit: i64,
    ) -> StoreResult<Vec<Expectation>> {
        self.system()?;
        let (due, id) = match after {
            Some((due, id)) => (due, id.uuid()),
            None => (Timestamp::from_micros(i64::MIN), Uuid::nil()),
        };
        let params = values![at, due, id, bounded(limit)];
        self.list(&q::EXPECT_DUE, params, expectation).await
    }

    async fn expect_missing(&mut self, of: &Expectation) -> StoreResult<bool> {
        self.system()?;
        let key = (of.tenant, of.source);
        self.tally_hold(key, &of.rule).await?;
        let params = values![of.tenant, of.id];
        if !self.changed(&q::EXPECT_MISSING, params).await? {
            return Ok(false);
        }
        let added = Added {
            missed: 1,
            ..Added::default()
        };
        self.tally_add(key, &of.rule, added).await?;
        Ok(true)
    }

    async fn expect_forget(&mut self, of: &Expectation) -> StoreResult<bool> {
        self.system()?;
        self.expectation_remove(of).await
    }

    async fn expect_list(
        &mut self,
        source: SourceId,
        state: ExpectState,
        before: Option<ExpectationId>,
        limit: i64,
    ) -> StoreResult<Vec<Expectation>> {
        let before = before.map_or(Uuid::max(), ExpectationId::uuid);
        let number = i64::from(state != ExpectState::Waiting);
        let open = state == ExpectState::Missing;
        match self.scope.tenant() {
            Some(tenant) => {
                let params = values![tenant, source, number, before, bounded(limit)];
                let sql = match open {
                    true => &q::EXPECT_LIST_OPEN,
                    false => &q::EXPECT_LIST,
                };
                self.list(sql, params, expectation).await
            }
            None => {
                let params = values![source, number, before, bounded(limit)];
                let sql = match open {
                    true => &q::EXPECT_LIST_OPEN_ALL,
                    false => &q::EXPECT_LIST_ALL,
                };
                self.list(sql, params, expectation).await
            }
        }
    }

    async fn expect_acknowledge(
        &mut self,
        source: SourceId,
        ids: &[ExpectationId],
        at: Timestamp,
        by: &str,
    ) -> StoreResult<i64> {
        let tenant = self.scope.tenant();
        if ids.is_empty() {
            let seen = match tenant {
                Some(tenant) => {
                    let params = values![tenant, source, at, by];
                    self.execute(&q::EXPECT_ACKNOWLEDGE_EACH, params).await?
                }
                None => {
                    let params = values![source, at, by];
                    self.execute(&q::EXPECT_ACKNOWLEDGE_ALL, params).await?
                }
            };
            return Ok(seen as i64);
        }
        let mut seen = 0;
        for id in ids {
            seen += match tenant {
                Some(tenant) => {
                    let params = values![tenant, source, *id, at, by];
                    self.execute(&q::EXPECT_ACKNOWLEDGE, params).await?
                }
                None => {
                    let params = values![source, *id, at, by];
                    self.execute(&q::EXPECT_ACKNOWLEDGE_ANY, params).await?
                }
            } as i64;
        }
        Ok(seen)
    }

    async fn expect_tallies(&mut self, source: SourceId) -> StoreResult<Vec<ExpectTally>> {
        let read = |row: &Row| {
            Ok(ExpectTally {
                rule: row.get(0)?,
                pending: row.get(1)?,
                fulfilled: row.get(2)?,
                late: row.get(3)?,
                missed: row.get(4)?,
                overflowed: row.get(5)?,
            })
        };
        match self.scope.tenant() {
            Some(tenant) => {
                self.list(&q::EXPECT_TALLIES, values![tenant, source], read)
                    .await
            }
            None => {
                self.list(&q::EXPECT_TALLIES_ALL, values![source], read)
                    .await
            }
        }
    }

    async fn expect_missing_counts(&mut self, limit: i64) -> StoreResult<Vec<(SourceId, i64)>> {
        let read = |row: &Row| Ok((row.get(0)?, row.get(1)?));
        match self.scope.tenant() {
            Some(tenant) => {
                let params = values![tenant, bounded(limit)];
                self.list(&q::EXPECT_MISSING_COUNTS_OWN, params, read).await
            }
            None => {
                let params = values![bounded(limit)];
                self.list(&q::EXPECT_MISSING_COUNTS, params, read).await
            }
        }
    }

    async fn expect_expire(
        &mut self,
        now: Timestamp,
        until: Timestamp,
        limit: i64,
    ) -> StoreResult<i64> {
        self.system()?;
        let read = |row: &Row| {
            let of = (row.get::<TenantId>(0)?, row.get::<SourceId>(1)?);
            let mark = (row.get::<String>(3)?, row.get::<Timestamp>(4)?);
            Ok((of, row.get::<String>(2)?, mark))
        };
        let marks = self
            .list(&q::EXPECT_MARKS_OLD, values![now, bounded(limit)], read)
            .await?;
        for (of, rule, (object, met_at)) in &marks {
            // In the order of whoever meets one, so that nobody waits in a circle.
            self.tally_hold(*of, rule).await?;
            let params = values![of.0, of.1, &**rule, &**object, *met_at, now];
            if self.changed(&q::EXPECT_MARK_REMOVE, params).await? {
                let added = Added {
                    marks: -1,
                    ..Added::default()
                };
                self.tally_add(*of, rule, added).await?;
            }
        }
        let params = values![until, bounded(limit)];
        let old = self.list(&q::EXPECT_OLD, params, expectation).await?;
        for one in &old {
            self.expectation_remove(one).await?;
        }
        self.execute(&q::EXPECT_TALLY_ALONE, values![]).await?;
        Ok(marks.len().max(old.len()) as i64)
    }
}

fn expectation(row: &Row) -> StoreResult<Expectation> {
    Ok(Expectation {
        id: row.get(0)?,
        tenant: row.get(1)?,
        source: row.get(2)?,
        rule: row.get(3)?,
        object: row.get(4)?,
        event: row.get(5)?,
        wanted: row.get(6)?,
        began_at: row.get(7)?,
        due_at: row.get(8)?,
        missing: row.get::<i64>(9)? == 1,
        acknowledged_at: row.get(10)?,
        acknowledged_by: row.get(11)?,
    })
}
