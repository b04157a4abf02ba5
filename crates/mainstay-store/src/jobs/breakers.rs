//! Breakers: how each stands, what people say of it, and how it changed.

use mainstay_domain::{
    BreakerChangeId, StoreError, StoreResult, Timestamp,
    jobs::breaker::{
        Breaker, BreakerChange, BreakerRule, BreakerState, Dependency, Forced, Turn, Why,
    },
};

use super::queries as q;
use crate::{
    sql::Row,
    tx::SqlTx,
    verbs::{bounded, numbered_cell, reference, values},
};

impl SqlTx<'_> {
    pub(super) async fn breakers(&mut self) -> StoreResult<Vec<(Dependency, Breaker)>> {
        match self.scope.tenant() {
            Some(own) => self.list(&q::BREAKERS_OWN, values![own], breaker).await,
            None => self.list(&q::BREAKERS, &[], breaker).await,
        }
    }

    pub(super) async fn breaker_write(
        &mut self,
        dependency: &Dependency,
        breaker: &Breaker,
    ) -> StoreResult<()> {
        self.system()?;
        let (tenant, name) = (dependency.tenant, &*dependency.name);
        let done = if *breaker == Breaker::default() {
            self.execute(&q::BREAKER_CLEAR, values![tenant, name]).await
        } else {
            let body = serde_json::to_string(breaker);
            let body = body.map_err(|error| StoreError::Bug(error.to_string()))?;
            let params = values![tenant, name, body];
            self.execute(&q::BREAKER_SAVE, params).await
        };
        done.map(drop)
    }

    pub(super) async fn breakers_said(&mut self) -> StoreResult<Vec<BreakerRule>> {
        match self.scope.tenant() {
            Some(own) => self.list(&q::BREAKER_RULES_OWN, values![own], rule).await,
            None => self.list(&q::BREAKER_RULES, &[], rule).await,
        }
    }

    pub(super) async fn breaker_say(&mut self, rule: &BreakerRule) -> StoreResult<()> {
        self.scope.admit(rule.dependency.tenant)?;
        self.config_bump().await?;
        let params = values![
            rule.dependency.tenant,
            &*rule.dependency.name,
            rule.forced.open,
            rule.forced.until,
            &*rule.reason,
            &*rule.by,
            rule.at,
        ];
        reference(
            self.execute(&q::BREAKER_RULE_SET, params).await,
            "breaker rule",
        )
        .map(drop)
    }

    pub(super) async fn breaker_unsay(&mut self, dependency: &Dependency) -> StoreResult<bool> {
        self.scope.admit(dependency.tenant)?;
        self.config_bump().await?;
        let params = values![dependency.tenant, &*dependency.name];
        self.changed(&q::BREAKER_RULE_CLEAR, params).await
    }

    pub(super) async fn breaker_changed(&mut self, change: &BreakerChange) -> StoreResult<()> {
        self.scope.admit(change.dependency.tenant)?;
        let params = values![
            change.dependency.tenant,
            &*change.dependency.name,
            change.id,
            change.at,
            state_number(change.turn.from),
            state_number(change.turn.to),
            change.turn.why.as_str(),
            i64::from(change.turn.count),
            i64::from(change.turn.calls),
            change.error.as_deref(),
            change.by.as_deref(),
            change.reason.as_deref(),
            change.until,
        ];
        self.execute(&q::BREAKER_CHANGE_INSERT, params)
            .await
            .map(drop)
    }

    pub(super) async fn breaker_changes(
        &mut self,
        dependency: &Dependency,
        before: BreakerChangeId,
        limit: i64,
    ) -> StoreResult<Vec<BreakerChange>> {
        self.scope.admit(dependency.tenant)?;
        let (tenant, name) = (dependency.tenant, &*dependency.name);
        let params = values![tenant, name, before, bounded(limit)];
        self.list(&q::BREAKER_CHANGE_LIST, params, change).await
    }

    pub(super) async fn breaker_changes_expire(
        &mut self,
        until: Timestamp,
        limit: i64,
    ) -> StoreResult<i64> {
        self.system()?;
        let params = values![until, bounded(limit)];
        Ok(self.execute(&q::BREAKER_CHANGE_EXPIRE, params).await? as i64)
    }
}

fn state_number(state: BreakerState) -> i64 {
    let mut all = BreakerState::ALL.iter();
    all.position(|one| *one == state).unwrap_or_default() as i64
}

fn dependency(row: &Row) -> StoreResult<Dependency> {
    Ok(Dependency {
        tenant: row.get(0)?,
        name: row.get(1)?,
    })
}

fn breaker(row: &Row) -> StoreResult<(Dependency, Breaker)> {
    let body: String = row.get(2)?;
    let breaker = serde_json::from_str(&body);
    let broken = |error| StoreError::Corrupt(format!("a breaker cannot be read: {error}"));
    Ok((dependency(row)?, breaker.map_err(broken)?))
}

fn rule(row: &Row) -> StoreResult<BreakerRule> {
    Ok(BreakerRule {
        dependency: dependency(row)?,
        forced: Forced {
            open: row.get(2)?,
            until: row.get(3)?,
        },
        reason: row.get(4)?,
        by: row.get(5)?,
        at: row.get(6)?,
    })
}

fn change(row: &Row) -> StoreResult<BreakerChange> {
    let why: String = row.get(6)?;
    let known = Why::ALL.into_iter().find(|one| one.as_str() == why);
    let broken = || StoreError::Corrupt(format!("a breaker changed for an unknown reason: {why}"));
    let count = |column| row.get::<i64>(column).map(|count| count.max(0) as u32);
    Ok(BreakerChange {
        id: row.get(2)?,
        dependency: dependency(row)?,
        at: row.get(3)?,
        turn: Turn {
            from: numbered_cell(row, 4, &BreakerState::ALL)?,
            to: numbered_cell(row, 5, &BreakerState::ALL)?,
            why: known.ok_or_else(broken)?,
            count: count(7)?,
            calls: count(8)?,
        },
        error: row.get(9)?,
        by: row.get(10)?,
        reason: row.get(11)?,
        until: row.get(12)?,
    })
}
