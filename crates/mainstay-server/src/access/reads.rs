//! Who looked at what came in or went out: each such look is in the audit log before its answer is given.
//!
//! Looks that come at the same time share one commit. The same look of the same caller within a minute is one entry: a
//! page that is refreshed while somebody reads it would bury everything else. So what the log promises is this: for every
//! answer there is an entry that says so and is not older than a minute. Where none can be written, there is no answer.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{extract::MatchedPath, http::Uri};
use mainstay_domain::{Scope, StoreError, StoreExt, StoreResult, TenantId, access::AuditEntry};
use tokio::{sync::oneshot, time::Instant};

use super::{Caller, audit};
use crate::{
    http::{Code, Problem},
    limits,
    state::App,
};

/// In whose data something was read; handlers that know put it into their answer's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InTenant(pub(crate) TenantId);

/// One look.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Look {
    actor: String,
    action: &'static str,
    subject: String,
    query: Option<String>,
}

impl Look {
    /// A look of this caller's: at the thing that stands in the path, with what was asked.
    pub(crate) fn new(
        caller: &Caller,
        action: &'static str,
        template: Option<&MatchedPath>,
        uri: &Uri,
    ) -> Self {
        let template = template.map_or("", MatchedPath::as_str).split('/');
        let found = template
            .zip(uri.path().split('/'))
            .find(|(name, _)| *name == "{id}");
        Self {
            actor: caller.actor(),
            action,
            subject: found.map(|(_, id)| id.to_owned()).unwrap_or_default(),
            // A cursor says nothing: the parts of one export are one look.
            query: uri
                .query()
                .filter(|_| action != "audit.export")
                .map(str::to_owned),
        }
    }

    /// A look of this caller's at one thing, among others that were asked for together.
    pub(crate) fn at(caller: &Caller, action: &'static str, subject: String) -> Self {
        Self {
            actor: caller.actor(),
            action,
            subject,
            query: None,
        }
    }

    fn entry(&self, app: &App, tenant: Option<TenantId>) -> AuditEntry {
        let detail = self
            .query
            .as_ref()
            .map(|query| serde_json::json!({ "query": query }));
        audit::entry(
            app,
            self.actor.clone(),
            self.action,
            self.subject.clone(),
            detail,
            tenant,
        )
    }
}

struct Waiting {
    look: Look,
    tenant: Option<TenantId>,
    told: oneshot::Sender<StoreResult<()>>,
}

/// Looks that wait for their entry, and those that have had one a moment ago.
#[derive(Default)]
pub(crate) struct Reads {
    waiting: Mutex<VecDeque<Waiting>>,
    turn: Arc<tokio::sync::Mutex<()>>,
    known: Mutex<HashMap<Look, Instant>>,
}

impl Reads {
    /// Comes back once the log says that this was looked at.
    pub(crate) async fn note(
        &self,
        app: &Arc<App>,
        look: Look,
        tenant: Option<TenantId>,
    ) -> Result<(), Problem> {
        if self.is_known(&look) {
            return Ok(());
        }
        let (told, heard) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.len() >= limits::READS_WAITING_MAX {
                return Err(Problem::new(
                    Code::Overloaded,
                    "too much is being read at once; try again in a moment",
                )
                .retry_after(1));
            }
            waiting.push_back(Waiting { look, tenant, told });
        }
        // Whoever has the turn writes for all who wait. It goes on when the caller goes away: others wait for it too.
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let batch = self.next();
        if !batch.is_empty() {
            let app = Arc::clone(app);
            tokio::spawn(async move {
                let write = |batch| app.reads.write(&app, batch);
                app.reads.to_the_end(batch, write).await;
                drop(turn);
            });
        }
        match heard.await {
            Ok(written) => written.map_err(Into::into),
            // The process ends.
            Err(_) => Err(StoreError::Unavailable("nobody wrote the entry".into()).into()),
        }
    }

    /// Writes these and all that wait behind them: of those who waited, the last may have gone away, and nobody would come
    /// for the rest.
    async fn to_the_end<W: Future<Output = ()>>(
        &self,
        mut batch: Vec<Waiting>,
        write: impl Fn(Vec<Waiting>) -> W,
    ) {
        while !batch.is_empty() {
            write(batch).await;
            batch = self.next();
        }
    }

    fn next(&self) -> Vec<Waiting> {
        let mut waiting = lock(&self.waiting);
        let count = waiting.len().min(limits::READS_AT_ONCE);
        waiting.drain(..count).collect()
    }

    async fn write(&self, app: &App, batch: Vec<Waiting>) {
        let mut entries: HashMap<Look, AuditEntry> = HashMap::new();
        for one in &batch {
            let entry = || one.look.entry(app, one.tenant);
            entries.entry(one.look.clone()).or_insert_with(entry);
        }
        let looks: Vec<Look> = entries.keys().cloned().collect();
        let entries: Arc<[AuditEntry]> = entries.into_values().collect();
        let written = app
            .store
            .transact(Scope::System("audit of reads"), move |tx| {
                let entries = Arc::clone(&entries);
                Box::pin(async move {
                    for entry in entries.iter() {
                        tx.audit_insert(entry).await?;
                    }
                    Ok(())
                })
            })
            .await;
        match &written {
            Ok(()) => self.learn(looks),
            Err(error) => tracing::warn!(%error, "reads were refused: they could not be entered"),
        }
        for one in batch {
            let told = match &written {
                Ok(()) => Ok(()),
                Err(error) => Err(StoreError::Unavailable(error.to_string())),
            };
            // Whoever has gone away has not been answered.
            let _ = one.told.send(told);
        }
    }

    fn is_known(&self, look: &Look) -> bool {
        let known = lock(&self.known);
        known
            .get(look)
            .is_some_and(|at| at.elapsed() < limits::READ_AGAIN)
    }

    fn learn(&self, looks: Vec<Look>) {
        let now = Instant::now();
        let mut known = lock(&self.known);
        if known.len() + looks.len() > limits::READS_KNOWN_MAX {
            known.clear();
        }
        known.extend(looks.into_iter().map(|look| (look, now)));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_has_the_turn_writes_for_those_too_whose_callers_have_gone_away() {
        let reads = Reads::default();
        let mut heard = None;
        for at in 0..=2 * limits::READS_AT_ONCE {
            let (told, hears) = oneshot::channel();
            let look = Look {
                actor: format!("user:{at}@example.com"),
                action: "event.read",
                subject: String::new(),
                query: None,
            };
            lock(&reads.waiting).push_back(Waiting {
                look,
                tenant: None,
                told,
            });
            // All but the last have gone away, and none of them comes for its turn.
            heard = Some(hears);
        }
        let first = reads.next();
        assert_eq!(first.len(), limits::READS_AT_ONCE);
        reads
            .to_the_end(first, |batch: Vec<Waiting>| async {
                for one in batch {
                    let _ = one.told.send(Ok(()));
                }
            })
            .await;
        let last = heard.expect("somebody waits");
        assert!(matches!(last.await, Ok(Ok(()))), "nobody came for the last");
    }
}
