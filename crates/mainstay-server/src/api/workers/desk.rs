//! What the node keeps for workers: the numbers of queues by name, and how many polls each caller has open.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use mainstay_domain::{Scope, StoreExt, StoreResult, jobs::QueueNumber};

use crate::{
    access::Caller,
    api::resolve,
    http::{Code, Problem},
    limits,
    state::App,
};

/// Queues' numbers, and open polls.
#[derive(Default)]
pub(crate) struct Desk {
    /// A queue's number never changes. There are at most 10,000.
    numbers: Mutex<HashMap<String, QueueNumber>>,
    polls: Arc<Mutex<HashMap<String, usize>>>,
}

/// A poll of a caller's. Closed when dropped.
pub(super) struct OpenPoll {
    polls: Arc<Mutex<HashMap<String, usize>>>,
    caller: String,
}

impl Drop for OpenPoll {
    fn drop(&mut self) {
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = polls.get_mut(&self.caller) {
            *open -= 1;
            if *open == 0 {
                polls.remove(&self.caller);
            }
        }
    }
}

impl Desk {
    /// One more poll of this caller's, if it may have it.
    pub(super) fn poll(&self, caller: String) -> Result<OpenPoll, Problem> {
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = polls.values().sum();
        let own = polls.get(&caller).copied().unwrap_or_default();
        if own >= limits::POLLS_PER_CALLER_MAX || all >= limits::POLLS_MAX {
            let detail = format!("{own} polls of this key are open; let some of them end");
            return Err(Problem::new(Code::TooManyPolls, detail).retry_after(1));
        }
        polls.insert(caller.clone(), own + 1);
        Ok(OpenPoll {
            polls: Arc::clone(&self.polls),
            caller,
        })
    }

    /// The number of a queue, made when it is new; `at` points to where its name stands in the request.
    pub(crate) async fn number(
        &self,
        app: &App,
        caller: &Caller,
        name: &str,
        at: &str,
    ) -> Result<QueueNumber, Problem> {
        if let Some(number) = self.known(name) {
            return Ok(number);
        }
        let (wanted, caller, at) = (name.to_owned(), caller.clone(), at.to_owned());
        let number = app
            .store
            .transact(Scope::System("queue"), move |tx| {
                let (name, caller, at) = (wanted.clone(), caller.clone(), at.clone());
                Box::pin(async move { resolve::queue_for_workers(tx, &caller, &name, &at).await })
            })
            .await??;
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.insert(name.to_owned(), number);
        Ok(number)
    }

    /// The names of queues.
    pub(super) async fn names(
        &self,
        app: &App,
        wanted: &HashSet<QueueNumber>,
    ) -> StoreResult<HashMap<QueueNumber, String>> {
        let named = |numbers: &HashMap<String, QueueNumber>| -> HashMap<QueueNumber, String> {
            let found = numbers.iter().filter(|(_, number)| wanted.contains(number));
            found
                .map(|(name, number)| (*number, name.clone()))
                .collect()
        };
        let known = named(&self.numbers.lock().unwrap_or_else(PoisonError::into_inner));
        if known.len() == wanted.len() {
            return Ok(known);
        }
        let all = app
            .store
            .read(Scope::System("queues"), |tx| {
                Box::pin(async move { tx.queue_list().await })
            })
            .await?;
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.extend(all.into_iter().map(|(number, name)| (name, number)));
        Ok(named(&numbers))
    }

    fn known(&self, name: &str) -> Option<QueueNumber> {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.get(name).copied()
    }
}
