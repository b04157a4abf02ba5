//! The queues' settings: of built-in kinds from the registry, of endpoints from the configuration.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use mainstay_domain::{
    EndpointId, Scope, StoreExt, StoreResult,
    intake::Config,
    jobs::{
        QueueNumber, QueueRules,
        breaker::{BreakerRule, Dependency},
        retry::RetryPolicy,
        settings::EndpointSettings,
    },
};

use super::Shared;
use crate::jobs::{
    machine::{Guarded, Input, QueueSettings, Runs},
    workers::is_workers,
};

/// Built-in jobs of one queue under way at once: a bound on how much one transaction's failure repeats.
const BUILTIN_IN_FLIGHT: u32 = 2_000;
/// Jobs of one queue in the hands of workers at once.
const WORKERS_IN_FLIGHT: u32 = 10_000;

/// The settings as they were last loaded.
#[derive(Default)]
pub(super) struct Configured(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    version: Option<i64>,
    endpoints: HashMap<QueueNumber, EndpointId>,
    builtin: HashSet<QueueNumber>,
}

/// What was loaded.
pub(super) struct Settings {
    version: i64,
    queues: Vec<(QueueNumber, QueueSettings)>,
}

impl Settings {
    /// The answer to the request with this number; 0 when nobody asked.
    pub(super) fn answer(self, request: u64) -> Input {
        Input::Configured {
            request,
            version: self.version,
            queues: self.queues,
        }
    }
}

impl Configured {
    /// The endpoint that this queue belongs to.
    pub(super) fn endpoint(&self, queue: QueueNumber) -> Option<EndpointId> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .endpoints
            .get(&queue)
            .copied()
    }

    /// Whether this process itself carries its jobs out.
    pub(super) fn is_builtin(&self, queue: QueueNumber) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.builtin.contains(&queue)
    }

    /// Loads the settings if another version is in the store than the last that was loaded.
    pub(super) async fn load_if_changed(&self, shared: &Shared) -> StoreResult<Option<Settings>> {
        let asked = shared.store.read(Scope::System("engine"), |tx| {
            Box::pin(async move { tx.config_version().await })
        });
        let version = asked.await?;
        let known = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .version;
        if known == Some(version) {
            return Ok(None);
        }
        self.load(shared).await.map(Some)
    }

    /// Loads the settings.
    pub(super) async fn load(&self, shared: &Shared) -> StoreResult<Settings> {
        let (config, names, rules, said) = shared
            .store
            .read(Scope::System("engine"), |tx| {
                Box::pin(async move {
                    let config = tx.config_load().await?;
                    let names = tx.queue_list().await?;
                    let rules = tx.queue_rules().await?;
                    Ok((config, names, rules, tx.breaker_rules().await?))
                })
            })
            .await?;
        let names: BTreeMap<String, QueueNumber> = names
            .into_iter()
            .map(|(number, name)| (name, number))
            .collect();
        let mut queues: BTreeMap<QueueNumber, QueueSettings> = shared
            .registry
            .policies()
            .filter_map(|(name, retry)| Some((*names.get(name)?, builtin(retry))))
            .collect();
        queues.extend(endpoints(&config, &said));
        queues.extend(workers(&names, &queues));
        let queues = ruled(queues, &rules);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.version = Some(config.version);
        seen.endpoints = config
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.queue, endpoint.id))
            .collect();
        let builtin = |settings: &QueueSettings| settings.runs == Runs::Builtin;
        seen.builtin = queues
            .iter()
            .filter(|(_, settings)| builtin(settings))
            .map(|(queue, _)| *queue)
            .collect();
        Ok(Settings {
            version: config.version,
            queues,
        })
    }
}

/// The settings with what a team says on top, also of queues that nobody has settings for.
fn ruled(
    mut queues: BTreeMap<QueueNumber, QueueSettings>,
    rules: &[QueueRules],
) -> Vec<(QueueNumber, QueueSettings)> {
    for rules in rules {
        let settings = queues.remove(&rules.queue);
        let settings = settings.unwrap_or_else(QueueSettings::orphaned);
        queues.insert(rules.queue, settings.with(rules));
    }
    queues.into_iter().collect()
}

fn builtin(retry: &RetryPolicy) -> QueueSettings {
    QueueSettings {
        runs: Runs::Builtin,
        max_in_flight: BUILTIN_IN_FLIGHT,
        retry: retry.clone(),
        ..QueueSettings::orphaned()
    }
}

/// Every other queue that a person has named.
fn workers(
    names: &BTreeMap<String, QueueNumber>,
    others: &BTreeMap<QueueNumber, QueueSettings>,
) -> Vec<(QueueNumber, QueueSettings)> {
    let own = names
        .iter()
        .filter(|(name, number)| is_workers(name) && !others.contains_key(number));
    own.map(|(_, number)| {
        let settings = QueueSettings {
            runs: Runs::Worker,
            max_in_flight: WORKERS_IN_FLIGHT,
            ..QueueSettings::orphaned()
        };
        (*number, settings)
    })
    .collect()
}

/// What people say of breakers stands beside the endpoints.
fn endpoints(
    config: &Config,
    said: &[BreakerRule],
) -> impl Iterator<Item = (QueueNumber, QueueSettings)> {
    let said: HashMap<&Dependency, &BreakerRule> =
        said.iter().map(|rule| (&rule.dependency, rule)).collect();
    config.endpoints.iter().map(move |endpoint| {
        let settings: EndpointSettings = serde_json::from_str(&endpoint.settings).unwrap_or_else(|error| {
            tracing::error!(endpoint = %endpoint.id, %error, "the settings of an endpoint cannot be read; using the defaults");
            EndpointSettings::default()
        });
        let dependency = Dependency::of(endpoint, &settings);
        let guarded = Guarded {
            forced: said.get(&dependency).map(|rule| rule.forced),
            policy: settings.breaker,
            dependency,
        };
        let queue = QueueSettings {
            enabled: endpoint.enabled,
            max_in_flight: settings.max_in_flight,
            attempt_ms: settings.timeout_ms.min(i64::MAX as u64) as i64,
            retry: settings.retry,
            breaker: Some(guarded),
            ..QueueSettings::orphaned()
        };
        (endpoint.queue, queue)
    })
}
