//! Drift: what a provider's events begin to say that they never said before.
//!
//! Off the hot path. What comes in leaves a sample where there is room for one; a task looks at the samples once a second
//! and writes down what is new. Samples that find no room are counted and gone: what they would have told, others tell.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mainstay_domain::{
    DriftId, EventId, Scope, SourceId, StoreError, StoreExt, StoreResult, Timestamp,
    intake::{
        Appended, Blob,
        drift::{
            Drift, DriftKind, Finding, LEARN_MS, OPEN_MAX, Shape, TEXT_CHARS_MAX, TYPES_MAX,
            fields_of,
        },
    },
};
use serde_json::Value;
use tokio::sync::watch;

use super::{Door, Intake, MATCHES_MAX, decompress, noted::Noted};

/// Samples that wait to be looked at: what one look costs at the most.
const SAMPLES_MAX: usize = 200;
/// The largest payload that is looked at.
const PAYLOAD_BYTES_MAX: i64 = 256 * 1024;
/// Types of events whose shapes are remembered.
const SHAPES_MAX: usize = 1_000;
/// Findings of one sample that are kept.
const FINDINGS_MAX: usize = 20;
/// How often samples are looked at.
const PAUSE: Duration = Duration::from_secs(1);
const SCOPE: Scope = Scope::System("drift");
/// The type of our own event about findings.
const KIND: &str = "source.drift";

/// An event to learn from.
struct Sample {
    door: Arc<Door>,
    event_type: String,
    payload: Blob,
    headers: Blob,
    event: EventId,
}

/// Samples, and what was learned from them so far.
#[derive(Default)]
pub(super) struct Sampler {
    waiting: Mutex<Vec<Sample>>,
    /// How many wait, so that a full house costs nobody a lock.
    count: AtomicUsize,
    dropped: AtomicI64,
    shapes: Mutex<HashMap<(SourceId, String), Shape>>,
}

impl Sampler {
    /// Whether a sample would be taken.
    pub(super) fn has_room(&self) -> bool {
        self.count.load(Ordering::Relaxed) < SAMPLES_MAX
    }

    /// Takes samples of what was new in a request; without room they are only counted.
    pub(super) fn offer(&self, door: &Arc<Door>, noted: Vec<Noted>, appended: &[Appended]) {
        for (noted, appended) in noted.into_iter().zip(appended) {
            let Appended::New(event) = appended else {
                continue;
            };
            let Some(looked) = noted.sample else {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let mut waiting = lock(&self.waiting);
            if waiting.len() >= SAMPLES_MAX {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            waiting.push(Sample {
                door: Arc::clone(door),
                event_type: looked.kind,
                payload: looked.payload,
                headers: looked.headers,
                event: *event,
            });
            self.count.store(waiting.len(), Ordering::Relaxed);
        }
    }

    fn take(&self) -> Vec<Sample> {
        let mut waiting = lock(&self.waiting);
        self.count.store(0, Ordering::Relaxed);
        std::mem::take(&mut *waiting)
    }

    fn remember(&self, source: SourceId, event_type: String, shape: Shape) {
        let mut shapes = lock(&self.shapes);
        if shapes.len() >= SHAPES_MAX {
            // They are in the store.
            shapes.clear();
        }
        shapes.insert((source, event_type), shape);
    }
}

/// What a sample is taken of: what is not too large to be looked at.
pub(super) fn worth_a_look(event_type: &str, payload_bytes: i64) -> bool {
    payload_bytes <= PAYLOAD_BYTES_MAX && event_type.chars().count() <= TEXT_CHARS_MAX
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at samples, again and again.
pub(crate) async fn run(intake: Arc<Intake>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if let Err(error) = intake.drift_learn().await {
            tracing::warn!(%error, "what events look like could not be written down");
        }
    }
}

/// What is to be written down of one sample.
struct Learned {
    sample: Sample,
    shape: Shape,
    findings: Vec<Finding>,
    at: Timestamp,
}

impl Intake {
    /// How many events were new and no sample was taken of, since this process started.
    pub fn drift_unsampled(&self) -> i64 {
        self.drift.dropped.load(Ordering::Relaxed)
    }

    /// Learns from the samples that wait. Answers how many findings are new.
    pub async fn drift_learn(self: &Arc<Self>) -> StoreResult<usize> {
        let (mut found, mut failed) = (0, Ok(()));
        for sample in self.drift.take() {
            // Requests that come meanwhile have their turn.
            tokio::task::yield_now().await;
            match self.learn(sample).await {
                Ok(new) => found += new,
                // The others may do better.
                Err(error) => {
                    self.drift.dropped.fetch_add(1, Ordering::Relaxed);
                    failed = Err(error);
                }
            }
        }
        failed.map(|()| found)
    }

    async fn learn(self: &Arc<Self>, sample: Sample) -> StoreResult<usize> {
        let bytes = decompress(&sample.payload)?;
        // What is no JSON has no fields.
        let Ok(payload) = serde_json::from_slice::<Value>(&bytes) else {
            return Ok(0);
        };
        let source = &sample.door.source;
        let key = (source.id, sample.event_type.clone());
        let known = lock(&self.drift.shapes).remove(&key);
        let known = match known {
            Some(known) => Some(known),
            None => self.shape_load(&sample).await?,
        };
        let at = self.clock.now();
        let day_of = |since: Timestamp| at.ms_since(since) < LEARN_MS;
        let (mut shape, new_type) = match known {
            Some(known) => (known, false),
            None => {
                let (count, since) = self.types_known(&sample).await?;
                if count >= TYPES_MAX {
                    return Ok(0);
                }
                let fresh = Shape {
                    since: at.micros(),
                    ..Shape::default()
                };
                (fresh, since.is_some_and(|since| !day_of(since)))
            }
        };
        let young = day_of(Timestamp::from_micros(shape.since));
        let version = api_version(&source.scheme, &payload, &sample.headers)?;
        let (mut findings, changed) = shape.learn(fields_of(&payload), version, young);
        findings.truncate(FINDINGS_MAX);
        if new_type {
            findings.push(Finding {
                kind: DriftKind::NewType,
                path: String::new(),
                before: String::new(),
                after: sample.event_type.clone(),
            });
        }
        if !changed {
            self.drift.remember(key.0, key.1, shape);
            return Ok(0);
        }
        let learned = Learned {
            sample,
            shape: shape.clone(),
            findings,
            at,
        };
        let written = self.learned_write(Arc::new(learned)).await;
        match written {
            Ok(found) => {
                self.drift.remember(key.0, key.1, shape);
                Ok(found)
            }
            // The source is gone.
            Err(StoreError::Reference { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }

    async fn shape_load(&self, sample: &Sample) -> StoreResult<Option<Shape>> {
        let (tenant, source) = (sample.door.source.tenant, sample.door.source.id);
        let event_type = sample.event_type.clone();
        self.store
            .read(SCOPE, move |tx| {
                let event_type = event_type.clone();
                Box::pin(async move { tx.shape_get(tenant, source, &event_type).await })
            })
            .await
    }

    async fn types_known(&self, sample: &Sample) -> StoreResult<(i64, Option<Timestamp>)> {
        let (tenant, source) = (sample.door.source.tenant, sample.door.source.id);
        self.store
            .read(SCOPE, move |tx| {
                Box::pin(async move { tx.shape_count(tenant, source).await })
            })
            .await
    }

    /// In one transaction: what is known now, what of it is a finding, and our own event about those.
    async fn learned_write(self: &Arc<Self>, learned: Arc<Learned>) -> StoreResult<usize> {
        let mut tries = 1..=MATCHES_MAX;
        loop {
            // Before anything is matched: what is learned meanwhile counts as a change.
            let version = self.config_version();
            let (intake, work) = (Arc::clone(self), Arc::clone(&learned));
            let written = self.store.transact(SCOPE, move |tx| {
                let (intake, learned) = (Arc::clone(&intake), Arc::clone(&work));
                Box::pin(async move { write(tx, &intake, version, &learned).await })
            });
            match written.await {
                Err(StoreError::ConfigChanged) if tries.next().is_some() => self.reload().await?,
                Ok(found) if found > 0 => {
                    self.store.wake();
                    self.samples
                        .changed("source", &[learned.sample.door.source.id]);
                    return Ok(found);
                }
                other => return other,
            }
        }
    }

    fn drifts(&self, learned: &Learned) -> Vec<Drift> {
        let source = &learned.sample.door.source;
        let findings = learned.findings.iter();
        findings
            .map(|finding| Drift {
                id: DriftId::new(learned.at, &*self.random),
                tenant: source.tenant,
                source: source.id,
                event_type: learned.sample.event_type.clone(),
                finding: finding.clone(),
                event: learned.sample.event,
                found_at: learned.at,
                acknowledged_at: None,
                acknowledged_by: None,
            })
            .collect()
    }
}

async fn write(
    tx: &mut dyn mainstay_domain::Tx,
    intake: &Intake,
    config_version: i64,
    learned: &Learned,
) -> StoreResult<usize> {
    let (source, event_type) = (&learned.sample.door.source, &learned.sample.event_type);
    let mut shape = learned.shape.clone();
    // Another node may have learned something else.
    if let Some(known) = tx.shape_get(source.tenant, source.id, event_type).await? {
        shape.merge(known);
    }
    tx.shape_put(source.tenant, source.id, event_type, &shape)
        .await?;
    if learned.findings.is_empty() {
        return Ok(0);
    }
    let open = tx.drift_open(source.tenant, source.id, OPEN_MAX).await?;
    let room = usize::try_from(OPEN_MAX - open).unwrap_or_default();
    let mut new = Vec::new();
    for drift in intake.drifts(learned).into_iter().take(room) {
        if tx.drift_insert(&drift).await? {
            new.push(drift);
        }
    }
    let Some(first) = new.first() else {
        return Ok(0);
    };
    let findings = new.iter().map(|drift| {
        serde_json::json!({
            "drift_id": drift.id,
            "kind": drift.finding.kind.as_str(),
            "path": drift.finding.path,
            "before": drift.finding.before,
            "after": drift.finding.after,
        })
    });
    let payload = serde_json::json!({
        "type": KIND,
        "source_id": source.id,
        "source": source.name,
        "event_type": event_type,
        "event_id": learned.sample.event,
        "findings": findings.collect::<Vec<_>>(),
    });
    let unique = format!("{KIND}:{}", first.id);
    if let Some(arrival) = intake.own_event(KIND, &unique, source.tenant, &payload, learned.at) {
        tx.event_append(config_version, &[arrival]).await?;
    }
    Ok(new.len())
}

/// The version of the provider's API that an event was made with, where its scheme has one.
fn api_version(scheme: &str, payload: &Value, headers: &Blob) -> StoreResult<Option<String>> {
    let (pointer, header) = match scheme {
        "stripe" => (Some("/api_version"), None),
        "whop" => (Some("/api_version"), Some("api-version-date")),
        "paypal" => (Some("/resource_version"), None),
        "shopify" => (None, Some("x-shopify-api-version")),
        // GitHub.com names none; a server of one's own names its release.
        "github" => (None, Some("x-github-enterprise-version")),
        _ => return Ok(None),
    };
    let said = pointer.and_then(|pointer| payload.pointer(pointer)?.as_str());
    let said = match (said, header) {
        (Some(said), _) => Some(said.to_owned()),
        (None, Some(header)) => {
            let kept: HashMap<String, Value> = serde_json::from_slice(&decompress(headers)?)
                .map_err(|error| {
                    StoreError::Corrupt(format!("kept headers cannot be read: {error}"))
                })?;
            kept.get(header)
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
        }
        (None, None) => None,
    };
    Ok(said.filter(|version| version.chars().count() <= TEXT_CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::intake::blob::headers_json;

    fn version(scheme: &str, payload: &Value, header: (&str, &str)) -> Option<String> {
        let headers = [(header.0.to_owned(), header.1.as_bytes().to_vec())];
        api_version(scheme, payload, &headers_json(&headers, None)).expect("it can be read")
    }

    #[test]
    fn the_version_of_an_api_is_found_where_its_provider_says_it() {
        let none = ("x-other", "1");
        let shopify = ("x-shopify-api-version", "2026-07");
        let found = [
            version("stripe", &json!({ "api_version": "2026-01-28" }), none),
            version("whop", &json!({ "api_version": "v1" }), none),
            version("whop", &json!({}), ("api-version-date", "2026-02-01")),
            version("paypal", &json!({ "resource_version": "2.0" }), none),
            version("shopify", &json!({}), shopify),
            version(
                "github",
                &json!({}),
                ("x-github-enterprise-version", "3.19"),
            ),
        ];
        let found = found.map(|one| one.expect("it says one"));
        assert_eq!(
            found,
            ["2026-01-28", "v1", "2026-02-01", "2.0", "2026-07", "3.19"]
        );
    }

    #[test]
    fn a_header_that_is_another_providers_says_nothing() {
        let shopify = ("x-shopify-api-version", "2026-07");
        assert_eq!(version("stripe", &json!({}), shopify), None);
        assert_eq!(
            version("hmac", &json!({ "api_version": "1" }), shopify),
            None
        );
        let long = "1".repeat(TEXT_CHARS_MAX + 1);
        assert_eq!(
            version("shopify", &json!({}), ("x-shopify-api-version", &long)),
            None
        );
    }

    #[test]
    fn the_version_is_found_among_as_many_headers_as_may_come() {
        let many: Vec<(String, Vec<u8>)> = (0..90)
            .map(|number| (format!("x-{number}"), vec![b'1'; 40]))
            .chain([("x-shopify-api-version".to_owned(), b"2026-07".to_vec())])
            .collect();
        let kept = headers_json(&many, None);
        let found = api_version("shopify", &json!({}), &kept).expect("it can be read");
        assert_eq!(found.as_deref(), Some("2026-07"));
    }
}
