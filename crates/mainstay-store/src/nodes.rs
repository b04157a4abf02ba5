//! Nodes: who is there, by the database's own clock. Written once but for that clock.

use std::time::Duration;

use async_trait::async_trait;
use mainstay_domain::{
    NodeId, StoreError, StoreResult,
    nodes::{Holder, Node, NodeSeen, NodesTx, PUBLIC_KEY_BYTES},
};

use crate::{
    lease::LEASE_HOLDER,
    queries,
    sql::{Reach, Row, Sql},
    tx::{Dialect, SqlTx},
    verbs::values,
};

/// A statement that asks for the time, in each database's own words.
struct Timed {
    sqlite: Sql,
    postgres: Sql,
}

impl Timed {
    const fn of(&'static self, conn: &Dialect<'_>) -> &'static Sql {
        match conn {
            Dialect::Sqlite(_) => &self.sqlite,
            Dialect::Postgres(_) => &self.postgres,
        }
    }
}

macro_rules! sqlite {
    (now) => {
        "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
    };
    ($text:literal) => {
        $text
    };
}

macro_rules! postgres {
    (now) => {
        "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    };
    ($text:literal) => {
        $text
    };
}

/// The same text with the one clock and the other.
macro_rules! timed {
    ($($name:ident = $($part:tt),*;)*) => {$(
        static $name: Timed = Timed {
            sqlite: Sql {
                name: concat!(stringify!($name), "_SQLITE"),
                reach: Reach::Platform,
                text: concat!($(sqlite!($part)),*),
            },
            postgres: Sql {
                name: concat!(stringify!($name), "_POSTGRES"),
                reach: Reach::Platform,
                text: concat!($(postgres!($part)),*),
            },
        };
    )*};
}

timed! {
    NODE_RENEW = "
        INSERT INTO node (id, version, address, public_key, since, seen_at) VALUES ($1, $2, $3, $4, ", now, ", ", now, ")
        ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at";
    NODE_EXPIRE = "DELETE FROM node WHERE seen_at < ", now, " - $1";
    NODE_LIST = "
        SELECT node.id, node.version, node.address, node.since, node.seen_at, ", now, " - node.seen_at,
            lease.holder IS NOT NULL
        FROM node LEFT JOIN lease
            ON lease.name = $1 AND lease.holder = node.id AND lease.expires_at > ", now, "
        ORDER BY node.since, node.id";
}

queries! {
    NODE_REMOVE: Platform = "DELETE FROM node WHERE id = $1";
    NODE_KEY: Platform = "SELECT public_key FROM node WHERE id = $1";
}

#[async_trait]
impl NodesTx for SqlTx<'_> {
    async fn node_renew(&mut self, node: &Node) -> StoreResult<()> {
        self.system()?;
        let sql = NODE_RENEW.of(&self.conn);
        let (version, address) = (node.version.as_str(), node.address.clone());
        let params = values![node.id, version, address, &node.public_key[..]];
        self.execute(sql, params).await?;
        Ok(())
    }

    async fn node_remove(&mut self, id: NodeId) -> StoreResult<()> {
        self.system()?;
        self.execute(&NODE_REMOVE, values![id]).await?;
        Ok(())
    }

    async fn node_expire(&mut self, silent: Duration) -> StoreResult<i64> {
        self.system()?;
        let sql = NODE_EXPIRE.of(&self.conn);
        let silent = i64::try_from(silent.as_micros()).unwrap_or(i64::MAX / 2);
        Ok(self.execute(sql, values![silent]).await? as i64)
    }

    async fn node_list(&mut self, lease: &'static str) -> StoreResult<Vec<NodeSeen>> {
        self.system()?;
        let sql = NODE_LIST.of(&self.conn);
        self.list(sql, values![lease], seen).await
    }

    async fn node_key(&mut self, id: NodeId) -> StoreResult<Option<[u8; PUBLIC_KEY_BYTES]>> {
        self.system()?;
        let found = self
            .first(&NODE_KEY, values![id], |row| row.get::<Vec<u8>>(0))
            .await?;
        let key = found.map(<[u8; PUBLIC_KEY_BYTES]>::try_from);
        key.transpose()
            .map_err(|_| StoreError::Corrupt("a node's public key has another length".into()))
    }

    async fn lease_holder(&mut self, lease: &'static str) -> StoreResult<Option<Holder>> {
        self.system()?;
        self.first(&LEASE_HOLDER, values![lease], |row| {
            Ok(Holder {
                id: row.get(0)?,
                address: row.get(1)?,
            })
        })
        .await
    }
}

fn seen(row: &Row) -> StoreResult<NodeSeen> {
    let silent_us: i64 = row.get(5)?;
    Ok(NodeSeen {
        id: row.get(0)?,
        version: row.get(1)?,
        address: row.get(2)?,
        since: row.get(3)?,
        seen_at: row.get(4)?,
        silent_ms: silent_us.max(0) / 1_000,
        holds: row.get(6)?,
    })
}
