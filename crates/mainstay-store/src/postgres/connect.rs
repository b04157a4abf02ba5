//! A connection outside the pools, and what a server must be like.

use mainstay_domain::StoreError;
use tokio_postgres::Client;

use super::{error::chain, tls::connector, url::PostgresUrl};
use crate::setup::{SetupError, SetupResult};

/// The oldest server that works: `security_invoker` views came with it.
const VERSION_MIN: i32 = 15_00_00;

/// Connects as the URL says, without a role of the application's. The connection ends when the client is dropped.
pub(crate) async fn connect_plain(url: &PostgresUrl) -> SetupResult<Client> {
    let connected = url.config.connect(connector(url)?).await;
    let (client, connection) = connected.map_err(|error| unreachable(url, &error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = chain(&error), "a connection ended");
        }
    });
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
