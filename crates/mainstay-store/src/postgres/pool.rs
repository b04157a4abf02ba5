//! Two pools, one per role: the application's sees one tenant at a time, the system's sees everything. Neither role
//! owns anything or can bypass row-level security.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError,
    RecyclingMethod, Runtime, TimeoutType,
};
use mainstay_domain::{StoreError, StoreResult};

use super::{connect::search_path, error::chain, store::PostgresOptions, tls::connector};
use crate::setup::{SetupError, SetupResult};

/// The role of transactions in a tenant's scope.
pub(super) const ROLE_APP: &str = "mainstay_app";
/// The role of transactions in the system's scope.
pub(super) const ROLE_SYSTEM: &str = "mainstay_system";

/// How long to wait for a connection to be free, and for a new one.
const WAIT: Duration = Duration::from_secs(5);
const CREATE: Duration = Duration::from_secs(15);

/// A pool whose connections run as this role, with the options' time limits.
///
/// Connections are not probed when they are taken: each transaction proves that the server is still the primary, by its
/// first statement or by what it writes, which is never out of date.
pub(super) fn pool(
    options: &PostgresOptions,
    role: &'static str,
    size: usize,
) -> SetupResult<Pool> {
    let manager = Manager::from_config(
        options.url.config.clone(),
        connector(&options.url)?,
        ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let session = session(options, role);
    let hook = Hook::async_fn(move |client: &mut ClientWrapper, _| {
        let session = session.clone();
        Box::pin(async move {
            let set = client.batch_execute(&session).await;
            set.map_err(HookError::Backend)
        })
    });
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(CREATE))
        .post_create(hook)
        .build()
        .map_err(|error| SetupError::Url(error.to_string()))
}

/// What every connection is told first. `synchronous_commit = off` would acknowledge what a crash can lose.
///
/// Plans are cached, and a table that was small when its plan was made may hold millions of rows before the server
/// looks at it again: no plan reads a whole table where an index leads to the rows. The price that this puts on the
/// other plans must not make the server compile them.
///
/// The server writes its audit entries itself; without the word `mainstay.writer` the tables would enter each change of
/// the configuration as one that was made by hand.
fn session(options: &PostgresOptions, role: &str) -> String {
    format!(
        "SET statement_timeout = {};
         SET lock_timeout = {};
         SET idle_in_transaction_session_timeout = {};
         SET timezone = 'UTC';
         {};
         SET enable_seqscan = off;
         SET jit = off;
         SET mainstay.writer = 'server';
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
         SET ROLE {role}",
        options.statement_timeout.as_millis(),
        options.lock_timeout.as_millis(),
        options.idle_in_transaction_timeout.as_millis(),
        search_path(),
    )
}

/// A connection taken from a pool. Unless it is given back clean it is closed: the server then rolls back whatever
/// was open on it, also when the caller has gone away in the middle.
pub(super) struct Taken {
    object: Option<Object>,
}

impl Taken {
    pub(super) async fn from(pool: &Pool) -> StoreResult<Self> {
        let object = pool.get().await.map_err(unavailable)?;
        Ok(Self {
            object: Some(object),
        })
    }

    pub(super) fn client(&self) -> StoreResult<&ClientWrapper> {
        let object = self.object.as_ref();
        object
            .map(|object| &**object)
            .ok_or_else(|| StoreError::Bug("a connection was used after it was given back".into()))
    }

    /// Gives the connection back to its pool.
    pub(super) fn give_back(mut self) {
        self.object.take();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

fn unavailable(error: PoolError) -> StoreError {
    let why = match error {
        PoolError::Timeout(TimeoutType::Wait) => "every connection is busy".into(),
        PoolError::Timeout(_) => "it does not answer".into(),
        PoolError::Closed => "the store is closed".into(),
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            chain(&error)
        }
        other => other.to_string(),
    };
    StoreError::Unavailable(why)
}
