//! The audit log: its list, and its chain.

use mainstay_domain::{
    StoreError, StoreResult, Timestamp,
    access::{AuditEntry, AuditFilter, Head, Sealed, Unsealed},
};

use super::{bytes, queries as q};
use crate::{
    built::Built,
    sql::{Row, Value},
    tx::SqlTx,
    verbs::{LOOK_MAX, bounded, values},
};

macro_rules! entry_columns {
    () => {
        "SELECT id, at, actor, action, subject, detail, tenant_id, position FROM audit"
    };
}

/// The statement of a page of the log; of one tenant's where it is the scope's.
pub(crate) fn page(own: Option<Value>, filter: &AuditFilter, limit: i64) -> Built {
    let mut built = match own {
        Some(own) => Built::new(
            concat!(entry_columns!(), " WHERE tenant_id = $1"),
            vec![own],
        ),
        None => Built::new(concat!(entry_columns!(), " WHERE TRUE"), Vec::new()),
    };
    built
        .bind_some(" AND tenant_id = ", filter.tenant, "")
        .bind_some(" AND actor = ", filter.actor.clone(), "")
        .bind_some(" AND subject = ", filter.subject.clone(), "")
        .bind_some(" AND at >= ", filter.from, "")
        .bind_some(" AND at < ", filter.until, "");
    match filter
        .action
        .as_deref()
        .map(|action| (action, action.strip_suffix('.')))
    {
        // `/` comes right after the dot.
        Some((action, Some(area))) => {
            built
                .bind(" AND action >= ", action, "")
                .bind(" AND action < ", format!("{area}/"), "")
        }
        Some((action, None)) => built.bind(" AND action = ", action, ""),
        None => &mut built,
    };
    if let Some((at, id)) = filter.before {
        built.bind(" AND (at, id) < (", at, "").bind(", ", id, ")");
    }
    built.bind(" ORDER BY at DESC, id DESC LIMIT ", limit, "");
    built
}

impl SqlTx<'_> {
    pub(super) async fn audit_page(
        &mut self,
        filter: &AuditFilter,
        limit: i64,
    ) -> StoreResult<Vec<(AuditEntry, Option<i64>)>> {
        let built = page(self.scope.tenant().map(Into::into), filter, bounded(limit));
        self.statement_timeout(LOOK_MAX).await?;
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        rows.iter()
            .map(|row| Ok((entry(row)?, row.get(7)?)))
            .collect()
    }

    pub(super) async fn head(&mut self) -> StoreResult<Head> {
        self.system()?;
        let found = self.first(&q::AUDIT_HEAD, &[], |row| {
            Ok(Head {
                position: row.get(0)?,
                hash: bytes(row, 1)?,
                sealed_at: row.get(2)?,
            })
        });
        found
            .await?
            .ok_or_else(|| StoreError::Corrupt("the audit log has no head".into()))
    }

    pub(super) async fn unsealed(&mut self, limit: i64) -> StoreResult<Vec<Unsealed>> {
        self.system()?;
        let params = values![bounded(limit)];
        self.list(&q::AUDIT_UNSEALED, params, |row| {
            Ok(Unsealed {
                entry: entry(row)?,
                salt: salt(row, 7)?,
            })
        })
        .await
    }

    pub(super) async fn seal(
        &mut self,
        from: &Head,
        entries: &[Sealed],
        at: Timestamp,
    ) -> StoreResult<()> {
        self.system()?;
        let Some(last) = entries.last() else {
            return Ok(());
        };
        let conflict = StoreError::Conflict { what: "audit head" };
        let moved = values![
            last.position,
            &last.hash[..],
            at,
            from.position,
            &from.hash[..]
        ];
        // First: whoever comes second on PostgreSQL waits here, and then finds that the end is another.
        if !self.changed(&q::AUDIT_HEAD_MOVE, moved).await? {
            return Err(conflict);
        }
        for one in entries {
            let params = values![one.entry.id, one.position, &one.content[..], &one.hash[..]];
            if !self.changed(&q::AUDIT_SEAL, params).await? {
                return Err(conflict);
            }
        }
        Ok(())
    }

    pub(super) async fn chain(&mut self, after: i64, limit: i64) -> StoreResult<Vec<Sealed>> {
        self.system()?;
        let params = values![after, bounded(limit)];
        self.list(&q::AUDIT_CHAIN, params, |row| {
            Ok(Sealed {
                entry: entry(row)?,
                salt: salt(row, 7)?,
                position: row.get(8)?,
                content: bytes(row, 9)?,
                hash: bytes(row, 10)?,
            })
        })
        .await
    }
}

fn salt(row: &Row, column: usize) -> StoreResult<Option<[u8; 16]>> {
    match row.get::<Option<Vec<u8>>>(column)? {
        Some(_) => bytes(row, column).map(Some),
        None => Ok(None),
    }
}

fn entry(row: &Row) -> StoreResult<AuditEntry> {
    Ok(AuditEntry {
        id: row.get(0)?,
        at: row.get(1)?,
        actor: row.get(2)?,
        action: row.get(3)?,
        subject: row.get(4)?,
        detail: row.get(5)?,
        tenant: row.get(6)?,
    })
}
