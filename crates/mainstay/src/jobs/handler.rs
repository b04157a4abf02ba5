//! What carries a job out, and where the engine finds it.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use mainstay_domain::{
    Category, StoreError, StoreResult, Tx,
    intake::Arrival,
    jobs::{DeadLetter, JobBody, breaker::Told, retry::RetryPolicy},
    sagas::SagaRun,
};
use mainstay_domain::{EndpointId, Timestamp};

use super::machine::{Failure, Report};

/// A built-in handler. Its effects and the completion of its job are one commit: exactly once.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Carries the job out. Awaits nothing but the transaction's own operations; may be run more than once, and only
    /// what it did in its last run stays.
    async fn run(&self, tx: &mut dyn Tx, job: &JobBody) -> Result<(), HandlerError>;

    /// Whether it works on the event of its job: then no schedule can make its jobs.
    fn needs_event(&self) -> bool {
        true
    }

    /// What [`Self::run`] would change as things are now, or `None` where it cannot tell. Only reads.
    async fn effects(
        &self,
        _tx: &mut dyn Tx,
        _job: &JobBody,
    ) -> Result<Option<Vec<Effect>>, HandlerError> {
        Ok(None)
    }
}

/// A row that a handler would add, change or remove; where both sides are the same it would stay as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// What a person calls such a row.
    pub what: &'static str,
    /// How it is: an object. None: it is not there.
    pub before: Option<serde_json::Value>,
    /// How it would be. None: it would be gone.
    pub after: Option<serde_json::Value>,
}

/// The built-in handlers by their job kind.
pub type BuiltinHandlers = BTreeMap<String, Arc<dyn Handler>>;

/// Why a built-in handler could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The job cannot be done like this.
    #[error("{}", .0.error)]
    Failure(Box<Failure>),
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HandlerError {
    /// The job cannot be done like this: a category, a stable code, a sentence.
    pub fn new(category: Category, code: &str, error: impl Into<String>) -> Self {
        Self::Failure(Box::new(Failure::new(category, code, error)))
    }
}

/// A handler whose work leaves the process: at least once, each start committed before it begins.
#[async_trait]
pub trait Outbound: Send + Sync {
    /// Carries the job out, within bounds of its own, and says how it went.
    async fn run(&self, job: JobBody, attempt: AttemptInfo) -> Report;
}

/// Which attempt it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptInfo {
    /// The attempt's number in the job's history.
    pub attempt: i32,
    /// Which try it is since the job was made or run again, from 1.
    pub tries: i32,
}

/// What a person should be told of.
#[derive(Debug, Clone, PartialEq)]
pub enum Announcement {
    /// A job died.
    Dead(DeadLetter),
    /// What an endpoint depends on is down, or back.
    Breaker {
        /// Whose.
        endpoint: EndpointId,
        /// Which of the two.
        told: Told,
        /// When.
        at: Timestamp,
        /// What the last failure said.
        error: Option<String>,
    },
    /// A run of a saga needs a person: it waits for one, or something could not be undone.
    Run {
        /// As it is then.
        run: Box<SagaRun>,
        /// The saga's name.
        saga: String,
    },
}

/// Turns announcements into events of our own.
#[async_trait]
pub trait Announcer: Send + Sync {
    /// The version of the configuration that [`Self::announce`] goes by, or an older one; `None` when it goes by none.
    /// What is announced is recorded only while this is the store's, so that no binding misses an event.
    fn config_version(&self) -> Option<i64>;
    /// The event to append in the transaction of what is announced; `None` when nobody needs to be told.
    fn announce(&self, what: &Announcement) -> Option<Arrival>;
    /// Reads the configuration again: it is another one by now.
    async fn refresh(&self) -> StoreResult<()>;
}

/// A built-in job kind.
pub(crate) struct Builtin {
    pub(crate) queue: String,
    pub(crate) retry: RetryPolicy,
    pub(crate) handler: Arc<dyn Handler>,
}

/// All job kinds.
#[derive(Default)]
pub struct Registry {
    builtin: BTreeMap<String, Builtin>,
    outbound: BTreeMap<String, Arc<dyn Outbound>>,
}

impl Registry {
    /// Adds a built-in kind and the queue that its jobs wait in.
    pub fn builtin(
        &mut self,
        kind: &str,
        queue: &str,
        retry: RetryPolicy,
        handler: Arc<dyn Handler>,
    ) {
        self.builtin.insert(
            kind.to_owned(),
            Builtin {
                queue: queue.to_owned(),
                retry,
                handler,
            },
        );
    }

    /// Adds a kind whose work leaves the process.
    pub fn outbound(&mut self, kind: &str, handler: Arc<dyn Outbound>) {
        self.outbound.insert(kind.to_owned(), handler);
    }

    /// Every built-in kind with its queue.
    pub fn builtin_queues(&self) -> Vec<(String, String)> {
        self.builtin
            .iter()
            .map(|(kind, builtin)| (kind.clone(), builtin.queue.clone()))
            .collect()
    }

    /// The built-in handlers.
    pub fn builtin_handlers(&self) -> BuiltinHandlers {
        self.builtin
            .iter()
            .map(|(kind, builtin)| (kind.clone(), Arc::clone(&builtin.handler)))
            .collect()
    }

    pub(crate) fn find_builtin(&self, kind: &str) -> Option<&Builtin> {
        self.builtin.get(kind)
    }

    pub(crate) fn find_outbound(&self, kind: &str) -> Option<Arc<dyn Outbound>> {
        self.outbound.get(kind).cloned()
    }

    /// The retry policy of each queue of built-in kinds.
    pub(crate) fn policies(&self) -> impl Iterator<Item = (&str, &RetryPolicy)> {
        self.builtin
            .values()
            .map(|builtin| (builtin.queue.as_str(), &builtin.retry))
    }
}

/// The job kind that does nothing: for benches, and to see whether jobs run at all.
pub const NOOP: &str = "noop";
/// The queue that it waits in.
pub const NOOP_QUEUE: &str = "default";

/// Does nothing.
pub struct Noop;

#[async_trait]
impl Handler for Noop {
    async fn run(&self, _: &mut dyn Tx, _: &JobBody) -> Result<(), HandlerError> {
        Ok(())
    }

    fn needs_event(&self) -> bool {
        false
    }

    async fn effects(
        &self,
        _: &mut dyn Tx,
        _: &JobBody,
    ) -> Result<Option<Vec<Effect>>, HandlerError> {
        Ok(Some(Vec::new()))
    }
}
