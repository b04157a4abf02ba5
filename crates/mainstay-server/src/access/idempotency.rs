//! Writes that are safe to repeat: the same `Idempotency-Key` with the same request takes effect once.
//!
//! Four states. *In progress*: the first one is still under way, 409. *Applied*: its answer is given again, marked
//! `Idempotency-Replayed: true`. *Refused*: the key came with another request before, 422. *Expired*: after a day the
//! key is free again. The record is written in the transaction of the effects, so there is never one without the other.
//! What an answer shows once is not kept: where it stood, the repeated answer has null.
//!
//! Of the key only a digest is kept, and the digest of the request is made with the key itself: who reads the table
//! cannot try out which password a request may have had in it.

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest::{Context, SHA256};
use axum::{
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mainstay_domain::{
    Scope, StoreError, StoreExt, StoreResult, Timestamp, Tx, access::IdempotentWrite,
    store::BoxFuture,
};
use serde::Serialize;

use super::{Caller, keys};
use crate::{
    http::{Code, Problem},
    limits,
    state::App,
};

/// What the store calls the record; a conflict about it means that somebody else was faster.
pub(crate) const RECORD: &str = "idempotency key";
const HEADER: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";

/// A request as a write that may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repeatable {
    /// A digest of the key.
    key: Option<String>,
    digest: [u8; 16],
    /// Where the answer shows what nobody is to see again.
    hidden: &'static [&'static str],
}

impl Repeatable {
    /// Reads the header, and what the key stands for: method, path and body.
    pub(crate) fn new(parts: &Parts, body: &[u8]) -> Result<Self, Problem> {
        let key = parts
            .headers
            .get(HEADER)
            .map(|value| value.to_str().unwrap_or_default().trim().to_owned());
        if let Some(key) = &key {
            let plain = key.bytes().all(|byte| (0x21..0x7f).contains(&byte));
            if key.is_empty() || key.len() > limits::IDEMPOTENCY_KEY_MAX || !plain {
                let detail =
                    "the header Idempotency-Key must have 1 to 255 visible ASCII characters";
                return Err(Problem::new(Code::ValidationFailed, detail));
            }
        }
        let mut context = Context::new(&SHA256);
        for part in [
            key.as_deref().unwrap_or_default().as_bytes(),
            parts.method.as_str().as_bytes(),
            parts.uri.to_string().as_bytes(),
            body,
        ] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&context.finish().as_ref()[..16]);
        Ok(Self {
            key: key.map(|key| URL_SAFE_NO_PAD.encode(keys::digest(&key))),
            digest,
            hidden: &[],
        })
    }

    /// The same write, whose answer has secrets at these JSON pointers: they are not kept.
    pub(crate) fn hiding(self, hidden: &'static [&'static str]) -> Self {
        Self { hidden, ..self }
    }
}

/// What a write answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    status: u16,
    body: String,
}

impl Done {
    /// The answer as it is kept: null stands where it shows what is shown once.
    fn kept(&self, hidden: &[&str]) -> StoreResult<String> {
        if hidden.is_empty() {
            return Ok(self.body.clone());
        }
        let bug = |error: serde_json::Error| StoreError::Bug(error.to_string());
        let mut body: serde_json::Value = serde_json::from_str(&self.body).map_err(bug)?;
        for pointer in hidden {
            let shown = body.pointer_mut(pointer);
            let shown = shown.ok_or_else(|| StoreError::Bug(format!("no {pointer} to hide")))?;
            *shown = serde_json::Value::Null;
        }
        serde_json::to_string(&body).map_err(bug)
    }

    /// Done, and nothing to say about it.
    pub(crate) const fn nothing() -> Self {
        Self {
            status: 204,
            body: String::new(),
        }
    }

    /// An answer in JSON.
    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> StoreResult<Self> {
        let body =
            serde_json::to_string(body).map_err(|error| StoreError::Bug(error.to_string()))?;
        Ok(Self {
            status: status.as_u16(),
            body,
        })
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = (status, self.body).into_response();
        if status != StatusCode::NO_CONTENT {
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
        } else {
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
        response
    }
}

/// What a write comes to inside its transaction: a problem leaves nothing behind only if it was found before the first
/// change, which every write sees to.
pub(crate) type Outcome = Result<Done, Problem>;

/// A record to make, and what of the answer is left out of it.
type Kept = (IdempotentWrite, &'static [&'static str]);

enum Ended {
    Fresh(Outcome),
    Again(Done),
    /// A record of more than a day ago is in the way.
    Expired,
}

/// Runs a write in one transaction, with its idempotency record.
pub(crate) async fn write<F>(
    app: &App,
    caller: &Caller,
    repeatable: Repeatable,
    work: F,
) -> Result<Response, Problem>
where
    F: for<'t> Fn(&'t mut dyn Tx) -> BoxFuture<'t, StoreResult<Outcome>> + Send + Sync + 'static,
{
    write_in(app, caller, caller.scope(), repeatable, work).await
}

/// The same, in a scope of its own choice: for what is about the whole installation.
pub(crate) async fn write_in<F>(
    app: &App,
    caller: &Caller,
    scope: Scope,
    repeatable: Repeatable,
    work: F,
) -> Result<Response, Problem>
where
    F: for<'t> Fn(&'t mut dyn Tx) -> BoxFuture<'t, StoreResult<Outcome>> + Send + Sync + 'static,
{
    let _turn = app.in_progress.take(caller, &repeatable)?;
    let record = record(caller, &repeatable, app.clock.now()).map(|one| (one, repeatable.hidden));
    let work = Arc::new(work);
    let ended = once(app, scope, record.clone(), Arc::clone(&work)).await;
    if matches!(ended, Ok(Ended::Expired)) {
        expire(app).await?;
        return answer(once(app, scope, record, work).await);
    }
    answer(ended)
}

async fn once<F>(app: &App, scope: Scope, record: Option<Kept>, work: Arc<F>) -> StoreResult<Ended>
where
    F: for<'t> Fn(&'t mut dyn Tx) -> BoxFuture<'t, StoreResult<Outcome>> + Send + Sync + 'static,
{
    app.store
        .transact(scope, move |tx| {
            let (record, work) = (record.clone(), Arc::clone(&work));
            Box::pin(async move { attempt(tx, record, &*work).await })
        })
        .await
}

/// Removes what has expired; cleaning does so too, in its own time.
async fn expire(app: &App) -> StoreResult<()> {
    let now = app.clock.now();
    app.store
        .transact(Scope::System("idempotency"), move |tx| {
            Box::pin(async move { tx.access_expire(now, EXPIRE_STEP).await.map(drop) })
        })
        .await
}

/// For a write that takes several transactions and comes to the same end however often it is run: looks whether it was
/// applied, runs it, and remembers its answer.
pub(crate) async fn converge<T>(
    app: &App,
    caller: &Caller,
    repeatable: Repeatable,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<Response, Problem>
where
    T: Serialize,
{
    let _turn = app.in_progress.take(caller, &repeatable)?;
    let Some(record) = record(caller, &repeatable, app.clock.now()) else {
        return Ok(Done::json(StatusCode::OK, &work.await?)?.into_response());
    };
    let asked = record.clone();
    let known = app
        .store
        .read(caller.scope(), move |tx| {
            let asked = asked.clone();
            Box::pin(async move { tx.idempotency_get(&asked.caller, &asked.key).await })
        })
        .await?;
    match known
        .map(|known| decide(&known, &record))
        .unwrap_or(Decision::Run)
    {
        Decision::Again(done) => return answer(Ok(Ended::Again(done))),
        Decision::Refuse(problem) => return Err(problem),
        Decision::Renew => expire(app).await?,
        Decision::Run => {}
    }
    let done = Done::json(StatusCode::OK, &work.await?)?;
    let kept = done.clone();
    let ended = app
        .store
        .transact(caller.scope(), move |tx| {
            let (record, kept) = (record.clone(), kept.clone());
            Box::pin(async move {
                attempt(tx, Some((record, &[])), &move |_| {
                    let kept = kept.clone();
                    Box::pin(async move { Ok(Ok(kept)) })
                })
                .await
            })
        })
        .await;
    if let Err(error) = ended {
        // It took effect; that it will not be recognised is not worth an error.
        tracing::warn!(%error, "the answer to an idempotent write could not be kept");
    }
    Ok(done.into_response())
}

fn record(caller: &Caller, repeatable: &Repeatable, now: Timestamp) -> Option<IdempotentWrite> {
    repeatable.key.as_ref().map(|key| IdempotentWrite {
        caller: caller.id(),
        key: key.clone(),
        request: repeatable.digest,
        answer: None,
        created_at: now,
    })
}

async fn attempt<F>(tx: &mut dyn Tx, record: Option<Kept>, work: &F) -> StoreResult<Ended>
where
    F: for<'t> Fn(&'t mut dyn Tx) -> BoxFuture<'t, StoreResult<Outcome>> + Send + Sync,
{
    let Some((record, hidden)) = record else {
        return work(tx).await.map(Ended::Fresh);
    };
    if let Some(known) = tx.idempotency_get(&record.caller, &record.key).await? {
        match decide(&known, &record) {
            Decision::Again(done) => return Ok(Ended::Again(done)),
            Decision::Refuse(problem) => return Ok(Ended::Fresh(Err(problem))),
            Decision::Renew => return Ok(Ended::Expired),
            Decision::Run => {}
        }
    }
    let outcome = work(tx).await?;
    if let Ok(done) = &outcome
        && done.body.len() <= limits::IDEMPOTENCY_ANSWER_MAX
    {
        let answer = Some((i32::from(done.status), done.kept(hidden)?));
        tx.idempotency_insert(&IdempotentWrite { answer, ..record })
            .await?;
    }
    Ok(Ended::Fresh(outcome))
}

/// Expired records that are removed when one of them is in the way.
const EXPIRE_STEP: i64 = 1_000;

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Run,
    Renew,
    Again(Done),
    Refuse(Problem),
}

/// The four states.
fn decide(known: &IdempotentWrite, asked: &IdempotentWrite) -> Decision {
    if asked.created_at.ms_since(known.created_at) >= limits::IDEMPOTENCY_MS {
        return Decision::Renew;
    }
    if known.request != asked.request {
        return Decision::Refuse(Problem::new(
            Code::IdempotencyKeyReused,
            "this Idempotency-Key came with another request before; use a new key",
        ));
    }
    match &known.answer {
        Some((status, body)) => Decision::Again(Done {
            status: u16::try_from(*status).unwrap_or(200),
            body: body.clone(),
        }),
        None => Decision::Refuse(in_progress()),
    }
}

fn in_progress() -> Problem {
    Problem::new(
        Code::IdempotencyInProgress,
        "wait for the answer to the first request, then ask again",
    )
    .retry_after(1)
}

fn answer(ended: StoreResult<Ended>) -> Result<Response, Problem> {
    match ended {
        Ok(Ended::Fresh(outcome)) => outcome.map(IntoResponse::into_response),
        Ok(Ended::Again(done)) => {
            let mut response = done.into_response();
            response
                .headers_mut()
                .insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        // Still in the way after what has expired was removed: a moment later it is not.
        Ok(Ended::Expired) => Err(in_progress()),
        // Another node was faster by a moment; its answer is there when the caller asks again.
        Err(StoreError::Conflict { what: RECORD }) => Err(in_progress()),
        Err(error) => Err(error.into()),
    }
}

/// Writes with a key that this node is carrying out.
#[derive(Clone, Default)]
pub(crate) struct InProgress(Arc<Mutex<HashSet<(String, String)>>>);

/// A write under way; dropped when it has been answered.
pub(crate) struct Turn {
    all: InProgress,
    own: Option<(String, String)>,
}

impl InProgress {
    fn take(&self, caller: &Caller, repeatable: &Repeatable) -> Result<Turn, Problem> {
        let own = repeatable
            .key
            .as_ref()
            .map(|key| (caller.id(), key.clone()));
        if let Some(own) = &own
            && !self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(own.clone())
        {
            return Err(in_progress());
        }
        Ok(Turn {
            all: self.clone(),
            own,
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            self.all
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use mainstay_domain::{KeyId, access::Role};

    use crate::access::Who;

    fn repeatable(key: &str, uri: &str, body: &[u8]) -> Result<Repeatable, Problem> {
        let request = Request::post(uri)
            .header("Idempotency-Key", key)
            .body(())
            .expect("a request");
        Repeatable::new(&request.into_parts().0, body)
    }

    fn written(key: &str, body: &[u8], at: i64) -> IdempotentWrite {
        let digest = repeatable(key, "/v1/jobs", body)
            .expect("a fine key")
            .digest;
        IdempotentWrite {
            caller: "key".into(),
            key: key.into(),
            request: digest,
            answer: Some((201, "{}".into())),
            created_at: Timestamp::from_secs(at),
        }
    }

    #[test]
    fn the_same_request_again_gets_the_same_answer() {
        let decision = decide(&written("a", b"1", 100), &written("a", b"1", 200));
        assert_eq!(
            decision,
            Decision::Again(Done {
                status: 201,
                body: "{}".into()
            })
        );
    }

    #[test]
    fn another_request_under_the_same_key_is_refused() {
        let Decision::Refuse(problem) = decide(&written("a", b"1", 100), &written("a", b"2", 200))
        else {
            panic!("not refused");
        };
        assert_eq!(problem.code(), Code::IdempotencyKeyReused);
    }

    #[test]
    fn after_a_day_the_key_is_free_again() {
        let day = 24 * 60 * 60;
        assert_eq!(
            decide(&written("a", b"1", 100), &written("a", b"2", 100 + day)),
            Decision::Renew
        );
        assert_ne!(
            decide(&written("a", b"1", 100), &written("a", b"2", 99 + day)),
            Decision::Renew
        );
    }

    #[test]
    fn a_first_request_without_an_answer_is_still_in_progress() {
        let known = IdempotentWrite {
            answer: None,
            ..written("a", b"1", 100)
        };
        let Decision::Refuse(problem) = decide(&known, &written("a", b"1", 101)) else {
            panic!("not refused")
        };
        assert_eq!(problem.code(), Code::IdempotencyInProgress);
    }

    #[test]
    fn a_key_is_taken_once_at_a_time_and_by_caller() {
        let caller = |id| Caller {
            who: Who::Key {
                id: KeyId::from_uuid(uuid::Uuid::from_u128(id)),
                name: "k".into(),
            },
            role: Role::Owner,
            tenant: None,
        };
        let all = InProgress::default();
        let one = repeatable("a", "/", b"").expect("a fine key");
        let turn = all.take(&caller(1), &one).expect("free");
        assert!(all.take(&caller(1), &one).is_err());
        assert!(all.take(&caller(2), &one).is_ok());
        drop(turn);
        assert!(all.take(&caller(1), &one).is_ok());
    }

    #[test]
    fn method_path_and_body_are_all_told_apart() {
        let digest = |uri, body| repeatable("a", uri, body).expect("a fine key").digest;
        assert_ne!(digest("/v1/jobs", b"1"), digest("/v1/jobs", b"2"));
        assert_ne!(digest("/v1/jobs", b"1"), digest("/v1/jobs?x=1", b"1"));
        assert_ne!(digest("/v1/a", b"bc"), digest("/v1/ab", b"c"));
    }

    #[test]
    fn a_key_must_be_visible_and_short() {
        assert!(repeatable("k-1", "/", b"").is_ok());
        for wrong in ["", " ", "a b", &"x".repeat(256)] {
            assert!(repeatable(wrong, "/", b"").is_err(), "{wrong}");
        }
    }
}
