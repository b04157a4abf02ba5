//! Leases: who may act, decided by the database's own clock. Written once but for that clock.
//!
//! The holder counts the time from before its call on its own monotonic clock and stops early, so clocks need not
//! agree. The epoch grows with every change of holder.

use std::time::Duration;

use mainstay_domain::{NodeId, StoreResult, store::Lease};

use crate::{
    queries,
    sql::{Reach, Sql, Value},
    tx::{Dialect, SqlTx},
};

/// The clock is each database's own word, so this one statement is written twice.
static LEASE_TAKE_SQLITE: Sql = Sql {
    name: "LEASE_TAKE_SQLITE",
    reach: Reach::Platform,
    text: "
        INSERT INTO lease (name, holder, epoch, expires_at)
        VALUES ($1, $2, 1, CAST(unixepoch('subsec') * 1000000 AS INTEGER) + $3)
        ON CONFLICT (name) DO UPDATE SET
            epoch = lease.epoch + CASE WHEN lease.holder = excluded.holder THEN 0 ELSE 1 END,
            holder = excluded.holder,
            expires_at = excluded.expires_at
        WHERE lease.holder = excluded.holder
            OR lease.expires_at <= CAST(unixepoch('subsec') * 1000000 AS INTEGER)
        RETURNING epoch",
};

static LEASE_TAKE_POSTGRES: Sql = Sql {
    name: "LEASE_TAKE_POSTGRES",
    reach: Reach::Platform,
    text: "
        INSERT INTO lease (name, holder, epoch, expires_at)
        VALUES ($1, $2, 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $3)
        ON CONFLICT (name) DO UPDATE SET
            epoch = lease.epoch + CASE WHEN lease.holder = excluded.holder THEN 0 ELSE 1 END,
            holder = excluded.holder,
            expires_at = excluded.expires_at
        WHERE lease.holder = excluded.holder
            OR lease.expires_at <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
        RETURNING epoch",
};

/// PostgreSQL alone has other nodes to tell. The channel is the one that `postgres/wake.rs` listens on.
static LEASE_TELL: Sql = Sql {
    name: "LEASE_TELL",
    reach: Reach::Platform,
    text: "SELECT pg_notify('mainstay_lease', $1)",
};

queries! {
    /// The row stays: its epoch must go on growing.
    LEASE_RELEASE: Platform = "UPDATE lease SET expires_at = 0 WHERE name = $1 AND holder = $2";
    /// One that was given up has no holder.
    LEASE_HOLDER: Platform = "
        SELECT lease.holder, node.address FROM lease LEFT JOIN node ON node.id = lease.holder
        WHERE lease.name = $1 AND lease.expires_at > 0";
}

impl SqlTx<'_> {
    /// Takes or renews a lease; `None` while another holds it.
    pub(crate) async fn lease_take(
        &mut self,
        name: &'static str,
        holder: NodeId,
        ttl: Duration,
    ) -> StoreResult<Option<Lease>> {
        let sql: &'static Sql = match self.conn {
            Dialect::Sqlite(_) => &LEASE_TAKE_SQLITE,
            Dialect::Postgres(_) => &LEASE_TAKE_POSTGRES,
        };
        let ttl = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX / 2);
        let params: [Value; 3] = [name.into(), holder.uuid().into(), ttl.into()];
        let rows = self.conn().query(sql, &params).await?;
        let epoch = rows.first().map(|row| row.get(0)).transpose()?;
        Ok(epoch.map(|epoch| Lease { epoch }))
    }

    /// Gives a lease up, if it is still the holder's.
    pub(crate) async fn lease_release(
        &mut self,
        name: &'static str,
        holder: NodeId,
    ) -> StoreResult<()> {
        let params: [Value; 2] = [name.into(), holder.uuid().into()];
        let given_up = self.conn().execute(&LEASE_RELEASE, &params).await? > 0;
        if given_up && matches!(self.conn, Dialect::Postgres(_)) {
            // Those that stand by need not wait until they ask again.
            self.conn().execute(&LEASE_TELL, &[name.into()]).await?;
        }
        Ok(())
    }
}
