//! One PostgreSQL cluster per run of the tests, a database per test.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use mainstay_domain::Timestamp;
use mainstay_store::{
    PostgresUrl,
    migrate::{Migrator, Mode, Place},
};
use tokio_postgres::{Client, NoTls};

/// Where the tests find a running cluster: the URL of a superuser.
const VARIABLE: &str = "MAINSTAY_TEST_POSTGRES";
/// Keeps two makers of the template apart: "template" in ASCII.
const LOCK: i64 = 0x7465_6d70_6c61_7465;

/// The cluster that the tests run on.
#[derive(Debug, Clone)]
pub struct Cluster {
    url: String,
}

impl Cluster {
    /// The cluster of this run.
    ///
    /// # Panics
    /// When there is none: says how to start one.
    pub fn of_this_run() -> Self {
        let Ok(url) = std::env::var(VARIABLE) else {
            panic!(
                "{VARIABLE} is not set, so there is no PostgreSQL to test on. Start one with\n\n    \
                 export {VARIABLE}=$(tools/postgres start /tmp/mainstay-postgres)\n\nand stop it with\n\n    \
                 tools/postgres stop /tmp/mainstay-postgres\n"
            );
        };
        Self { url }
    }

    /// A new, empty database.
    pub async fn scratch(&self) -> ScratchDatabase {
        self.create("template0").await
    }

    /// A new database with the schema of this program. The schema is made once per cluster and then copied.
    pub async fn migrated(&self) -> ScratchDatabase {
        let template = self.template().await;
        self.create(&template).await
    }

    async fn create(&self, template: &str) -> ScratchDatabase {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("mainstay_test_{}_{number}", std::process::id());
        let client = self.client().await;
        // Left behind by a process of the same number that was killed.
        execute(
            &client,
            &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        )
        .await;
        execute(
            &client,
            &format!("CREATE DATABASE {name} TEMPLATE {template}"),
        )
        .await;
        ScratchDatabase {
            cluster: self.clone(),
            url: self.parsed().with_database(&name),
            name,
        }
    }

    async fn template(&self) -> String {
        let migrator = Migrator::embedded();
        let name = format!("mainstay_template_{}", &migrator.fingerprint()[..16]);
        let client = self.client().await;
        execute(&client, &format!("SELECT pg_advisory_lock({LOCK})")).await;
        let there = "SELECT count(*) FROM pg_database WHERE datname = $1 AND datistemplate";
        let there = client.query_one(there, &[&name]).await;
        let there: i64 = there.expect("databases can be listed").get(0);
        if there == 0 {
            execute(
                &client,
                &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            )
            .await;
            execute(
                &client,
                &format!("CREATE DATABASE {name} TEMPLATE template0"),
            )
            .await;
            let url = self.parsed().with_database(&name);
            let now = Timestamp::EPOCH;
            let applied = migrator.up(Place::Postgres(&url), Mode::Apply, now).await;
            applied.expect("the migrations run");
            // Only now is it whole.
            execute(&client, &format!("ALTER DATABASE {name} IS_TEMPLATE true")).await;
        }
        name
    }

    fn parsed(&self) -> PostgresUrl {
        self.url.parse().expect("the cluster's URL is good")
    }

    async fn client(&self) -> Client {
        client(&self.url).await
    }
}

/// A connection of the superuser's.
async fn client(url: &str) -> Client {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.expect("the cluster answers");
    tokio::spawn(connection);
    client
}

async fn execute(client: &Client, text: &str) {
    let done = client.batch_execute(text).await;
    done.unwrap_or_else(|error| panic!("{text}: {error:?}"));
}

/// A database of a test's own; gone when this is dropped.
#[derive(Debug)]
pub struct ScratchDatabase {
    cluster: Cluster,
    name: String,
    url: PostgresUrl,
}

impl ScratchDatabase {
    /// Its address, as the superuser.
    pub fn url(&self) -> &PostgresUrl {
        &self.url
    }

    /// Its address as text, as another user.
    pub fn url_as(&self, user: &str) -> String {
        let (front, query) = self
            .cluster
            .url
            .split_once('?')
            .unwrap_or((&self.cluster.url, ""));
        let (_, host) = front.rsplit_once('@').expect("the URL names a user");
        let (host, _) = host.split_once('/').unwrap_or((host, ""));
        format!("postgres://{user}@{host}/{}?{query}", self.name)
    }

    /// A plain connection of the superuser's, for looking and meddling.
    pub async fn client(&self) -> Client {
        let client = client(&self.url_as("postgres")).await;
        execute(&client, "SET search_path = mainstay").await;
        client
    }
}

impl Drop for ScratchDatabase {
    fn drop(&mut self) {
        let (cluster, name) = (self.cluster.clone(), self.name.clone());
        // The test's own runtime may be going down.
        let gone = thread::spawn(move || {
            crate::run(async move {
                let client = cluster.client().await;
                execute(
                    &client,
                    &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
                )
                .await;
            });
        });
        let gone = gone.join();
        if !thread::panicking() {
            gone.expect("the test's database is dropped");
        }
    }
}
