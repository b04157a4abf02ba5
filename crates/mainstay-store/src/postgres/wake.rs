//! Waking: one connection that listens, and says on behalf of this node that there is work.
//!
//! A notification is a statement of its own after the commit, never part of the transaction: notifications inside
//! transactions make all commits of the database wait for each other. At most one goes out per `PAUSE`. A wake on the
//! same node needs no round trip. Losing one is allowed, so nothing is repeated after a broken connection; whoever
//! waits is woken once when it is back.
//!
//! The same connection hears of leases that were given up. Those are told by the transaction that gives one up: it is
//! the last of a node that leaves, and there is one of it in hours.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_postgres::{AsyncMessage, Client};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

use super::{error::chain, tls::connector, url::PostgresUrl};
use crate::setup::SetupResult;

/// The least time between two notifications.
const PAUSE: Duration = Duration::from_millis(20);
/// How often a silent connection is probed, and how long the answer may take.
const PROBE: Duration = Duration::from_secs(15);
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait before connecting again: at first, and at most.
const AGAIN_FIRST: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(5);

const LISTEN: &str = "
    SET statement_timeout = '10s';
    LISTEN mainstay_wake;
    LISTEN mainstay_lease";
/// Where it is told that a lease was given up.
const LEASES: &str = "mainstay_lease";
const NOTIFY: &str = "SELECT pg_notify('mainstay_wake', $1)";
/// Fails on a standby, which never notifies anybody.
const ALIVE: &str = "SELECT 1 / (NOT pg_is_in_recovery())::int";

pub(super) struct Wake {
    /// This node's own signal.
    here: Notify,
    /// Other nodes are to be told.
    tell: Notify,
    /// A lease was given up.
    lease: Notify,
    /// Tells our own notifications apart.
    id: String,
    closed: watch::Sender<bool>,
}

impl Wake {
    /// Starts listening in the background; a server that is away is waited for.
    pub(super) fn start(url: &PostgresUrl) -> SetupResult<Arc<Self>> {
        let wake = Arc::new(Self {
            here: Notify::new(),
            tell: Notify::new(),
            lease: Notify::new(),
            id: unique().to_string(),
            closed: watch::Sender::new(false),
        });
        let (tls, url, own) = (connector(url)?, url.clone(), Arc::clone(&wake));
        tokio::spawn(async move {
            let mut closed = own.closed.subscribe();
            tokio::select! {
                () = own.run(&url, &tls) => {}
                _ = closed.wait_for(|closed| *closed) => {}
            }
        });
        Ok(wake)
    }

    pub(super) fn wake(&self) {
        self.here.notify_one();
        self.tell.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.here.notified().await;
    }

    pub(super) async fn lease_given_up(&self) {
        self.lease.notified().await;
    }

    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    async fn run(self: &Arc<Self>, url: &PostgresUrl, tls: &MakeRustlsConnect) {
        let mut again = AGAIN_FIRST;
        loop {
            match self.listen(url, tls).await {
                Ok((client, connection)) => {
                    again = AGAIN_FIRST;
                    // Something may have been said while nobody listened.
                    self.here.notify_one();
                    let ended = self.serve(&client, connection).await;
                    tracing::warn!(error = %ended, "the connection that listens for work was lost");
                }
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "cannot listen for work, trying again"
                    );
                }
            }
            sleep(again).await;
            again = (again * 2).min(AGAIN_MAX);
        }
    }

    async fn listen(
        self: &Arc<Self>,
        url: &PostgresUrl,
        tls: &MakeRustlsConnect,
    ) -> Result<(Client, Connection), tokio_postgres::Error> {
        let (client, mut connection) = url.config.connect(tls.clone()).await?;
        let own = Arc::clone(self);
        let task = tokio::spawn(async move {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    Ok(AsyncMessage::Notification(said)) if said.channel() == LEASES => {
                        own.lease.notify_one();
                    }
                    Ok(AsyncMessage::Notification(said)) if said.payload() != own.id => {
                        own.here.notify_one();
                    }
                    Ok(_) => {}
                    Err(error) => return chain(&error),
                }
            }
            "closed".to_owned()
        });
        let connection = Connection(task);
        client.batch_execute(LISTEN).await?;
        Ok((client, connection))
    }

    /// Sends notifications and probes the connection until it is lost; answers why.
    async fn serve(&self, client: &Client, mut connection: Connection) -> String {
        loop {
            let said = tokio::select! {
                ended = &mut connection.0 => {
                    return ended.unwrap_or_else(|error| error.to_string());
                }
                () = self.tell.notified() => {
                    let said = timeout(PROBE_LIMIT, client.execute(NOTIFY, &[&self.id])).await;
                    sleep(PAUSE).await;
                    said.map(|said| said.map(|_| ()))
                }
                () = sleep(PROBE) => timeout(PROBE_LIMIT, client.batch_execute(ALIVE)).await,
            };
            match said {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return chain(&error),
                Err(_) => return "it does not answer".to_owned(),
            }
        }
    }
}

/// The task that reads the connection; it ends with whoever holds this.
struct Connection(JoinHandle<String>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// No id of the store's, so not from the injected clock: it only has to differ between living processes.
fn unique() -> Uuid {
    use std::hash::{BuildHasher, RandomState};
    let half = || RandomState::new().hash_one(std::process::id());
    Uuid::from_u64_pair(half(), half())
}
