//! How much room the database takes, table by table (CLN-05). Measured once an hour at the most, since SQLite has to look at
//! every page for it; what cannot be measured in time is not known.

use std::sync::Arc;

use mainstay_domain::{
    Scope, StoreError, StoreResult, Timestamp,
    store::{Database, Table},
};
use tokio::{sync::Mutex, time::Instant};

use crate::{limits, state::App};

/// Tables with their indexes, the largest first.
const SQLITE: &str = "
    SELECT coalesce(m.tbl_name, s.name) AS name, sum(s.pgsize) AS bytes
    FROM dbstat AS s LEFT JOIN sqlite_master AS m ON m.name = s.name
    WHERE s.aggregate = TRUE GROUP BY 1 ORDER BY 2 DESC, 1";
const POSTGRES: &str = "
    SELECT c.relname::text AS name, pg_total_relation_size(c.oid) AS bytes FROM pg_class AS c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'm') ORDER BY 2 DESC, 1";

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measured {
    /// When.
    pub(crate) at: Timestamp,
    /// Name and bytes of each table with its indexes, the largest first.
    pub(crate) tables: Vec<(String, i64)>,
}

impl Measured {
    /// All tables together.
    pub(crate) fn bytes(&self) -> i64 {
        self.tables.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// When it was tried last, and what was found.
type Tried = (Instant, Option<Arc<Measured>>);

/// What was measured last.
#[derive(Default)]
pub(crate) struct Sizes(Mutex<Option<Tried>>);

impl Sizes {
    /// What is known, an hour old at the most. Measured now where nothing is; whoever asks meanwhile waits for it.
    pub(crate) async fn now(&self, app: &App) -> StoreResult<Arc<Measured>> {
        let mut last = self.0.lock().await;
        if let Some((at, Some(known))) = &*last
            && at.elapsed() < limits::SIZES_CACHE
        {
            return Ok(Arc::clone(known));
        }
        let measured = measure(app).await.map(Arc::new);
        *last = Some((Instant::now(), measured.as_ref().ok().map(Arc::clone)));
        measured
    }

    /// What is known without waiting for it; measured afterwards where it is time to.
    pub(crate) fn known(&self, app: &Arc<App>) -> Option<Arc<Measured>> {
        // Held while it is being measured.
        let last = self.0.try_lock().ok()?;
        let due = last
            .as_ref()
            .is_none_or(|(at, _)| at.elapsed() >= limits::SIZES_CACHE);
        let known = last.as_ref().and_then(|(_, known)| known.clone());
        drop(last);
        if due {
            let app = Arc::clone(app);
            tokio::spawn(async move {
                if let Err(error) = app.sizes.now(&app).await {
                    tracing::warn!(%error, "the database could not be measured; trying again in an hour");
                }
            });
        }
        known
    }
}

async fn measure(app: &App) -> StoreResult<Measured> {
    let statement = match app.store.database() {
        Database::Sqlite => SQLITE,
        Database::Postgres => POSTGRES,
    };
    let scope = Scope::System("sizes");
    let found = app
        .store
        .query(scope, statement.to_owned(), limits::SQL_ROWS_MAX);
    Ok(Measured {
        at: app.clock.now(),
        tables: tables(&found.await?)?,
    })
}

fn tables(found: &Table) -> StoreResult<Vec<(String, i64)>> {
    let rows = found.rows.iter();
    let read = rows.map(|row| {
        let name = row.first()?.as_str()?.to_owned();
        let bytes = row.get(1)?;
        // A sum that might be too large for a number is a text.
        let bytes = bytes.as_i64().or_else(|| bytes.as_str()?.parse().ok());
        Some((name, bytes?))
    });
    read.collect::<Option<_>>()
        .ok_or_else(|| StoreError::Corrupt("the sizes of tables cannot be read".into()))
}
