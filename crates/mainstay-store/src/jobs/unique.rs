//! Who has which key of a queue, of jobs that there is to be one of.

use mainstay_domain::{
    JobId, StoreError, StoreResult, Timestamp,
    jobs::unique::{UniqueHolder, UniqueKey},
};

use super::queries as q;
use crate::{sql::Row, tx::SqlTx, verbs::values};

/// How often a key may be forgotten while it is being asked for.
const TAKE_TRIES: usize = 3;

impl SqlTx<'_> {
    pub(super) async fn unique_taken(
        &mut self,
        key: UniqueKey<'_>,
        job: JobId,
        at: Timestamp,
    ) -> StoreResult<Option<UniqueHolder>> {
        self.scope.admit(key.tenant)?;
        // Between the two statements retention may forget whoever had it.
        for _ in 0..TAKE_TRIES {
            let params = values![key.tenant, key.queue, key.key, job, at];
            if self.changed(&q::UNIQUE_TAKE, params).await? {
                return Ok(None);
            }
            let params = values![key.tenant, key.queue, key.key];
            let held = self.first(&q::UNIQUE_HOLD, params, holder).await?;
            if held.is_some() {
                return Ok(held);
            }
        }
        Err(StoreError::Conflict { what: "key" })
    }

    pub(super) async fn unique_given(
        &mut self,
        key: UniqueKey<'_>,
        holder: &UniqueHolder,
    ) -> StoreResult<()> {
        self.scope.admit(key.tenant)?;
        let params = values![
            key.tenant,
            key.queue,
            key.key,
            holder.job,
            holder.at,
            holder.first_at
        ];
        self.execute(&q::UNIQUE_GIVE, params).await.map(|_| ())
    }
}

fn holder(row: &Row) -> StoreResult<UniqueHolder> {
    Ok(UniqueHolder {
        job: row.get(0)?,
        at: row.get(1)?,
        first_at: row.get(2)?,
    })
}
