//! A connection outside the pools, and what a server must be like.

use mainstay_domain::StoreError;
use tokio_postgres::Client;

use super::{error::chain, tls::connector, url::PostgresUrl};
use crate::setup::{SetupError, SetupResult};

/// The oldest server that works: `security_invoker` views came with it.
const VERSION_MIN: i32 = 15_00_00;

/// The schema that everything of ours is in, so that a database can be shared with the team's own tables.
pub(crate) const SCHEMA: &str = "mainstay";
/// Where versions up to migration 24 kept everything, in a database of their own.
pub(crate) const SCHEMA_BEFORE: &str = "public";

/// Finds our tables, and nobody else's.
pub(crate) fn search_path() -> String {
    format!("SET search_path = {SCHEMA}")
}

/// Which schema our tables are in now; `None` where there are none.
pub(crate) async fn schema_of(client: &Client) -> Result<Option<&'static str>, StoreError> {
    for schema in [SCHEMA, SCHEMA_BEFORE] {
        // A table of that name may be somebody else's.
        let there = format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute
                WHERE attrelid = to_regclass('{schema}.schema_migration') AND attname = 'checksum')"
        );
        let there = client.query_one(&there, &[]).await;
        if there
            .map_err(|error| super::map_error(&error).error)?
            .get(0)
        {
            return Ok(Some(schema));
        }
    }
    Ok(None)
}

/// Connects as the URL says, without a role of the application's. The connection ends when the client is dropped.
pub(crate) async fn connect_plain(url: &PostgresUrl) -> SetupResult<Client> {
    let connected = url.config.connect(connector(url)?).await;
    let (client, connection) = connected.map_err(|error| unreachable(url, &error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = chain(&error), "a connection ended");
        }
    });
    let set = client.batch_execute(&search_path()).await;
    set.map_err(|error| unreachable(url, &error))?;
    Ok(client)
}

fn unreachable(url: &PostgresUrl, error: &tokio_postgres::Error) -> SetupError {
    StoreError::Unavailable(format!("cannot connect to {url}: {}", chain(error))).into()
}

/// Refuses a server that can lose what it has acknowledged.
pub(crate) async fn check_server(client: &Client) -> SetupResult<()> {
    let settings = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('fsync'),
                 current_setting('full_page_writes'), current_setting('server_encoding')",
            &[],
        )
        .await
        .map_err(|error| super::map_error(&error).error)?;
    let version: i32 = settings.get(0);
    if version < VERSION_MIN {
        return Err(SetupError::Server(format!(
            "it is version {}, 15 is the oldest that works",
            version / 10_000
        )));
    }
    for (column, name) in [(1, "fsync"), (2, "full_page_writes")] {
        if settings.get::<_, &str>(column) != "on" {
            return Err(SetupError::Server(format!(
                "{name} is off, so a crash of the machine can lose or ruin what was committed; turn it on"
            )));
        }
    }
    if settings.get::<_, &str>(3) != "UTF8" {
        return Err(SetupError::Server(
            "the database's encoding is not UTF8; create it with ENCODING 'UTF8'".into(),
        ));
    }
    Ok(())
}
