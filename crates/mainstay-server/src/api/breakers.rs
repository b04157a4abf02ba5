//! Breakers: how the dependencies of endpoints stand, how that changed, and what a person says of it.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay_domain::{
    BreakerChangeId, StoreExt, StoreResult, Timestamp, Tx,
    access::AuditEntry,
    jobs::breaker::{BreakerChange, BreakerRule, BreakerState, Forced, Turn, Why},
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::page::{Cursor, Page, PageQuery, limit, page, page_of_all};
use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, Repeatable, write},
    },
    http::{
        Code, Problem,
        extract::{Checks, Input, Named, NoInput, Params},
    },
    state::App,
    time::Time,
};

mod view;

use view::{BreakerChangeView, Guarded, GuardedView};

/// How long a reason may be.
const REASON_MAX: usize = 500;
/// For how long a breaker may be held closed: nothing protects its dependency meanwhile.
const CLOSED_MS_MAX: i64 = 7 * 86_400_000;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(breaker_list))
        .routes(routes!(breaker_get))
        .routes(routes!(breaker_history))
        .routes(routes!(breaker_open))
        .routes(routes!(breaker_close))
        .routes(routes!(breaker_auto))
}

/// The breaker that is called so: its dependency's name, or the id of an endpoint behind it.
fn called(all: Vec<Guarded>, name: &str) -> Result<Guarded, Problem> {
    let mut found: Vec<Guarded> = all.into_iter().filter(|one| one.is_called(name)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(Problem::new(
            Code::StateConflict,
            "several tenants have a dependency of this name: give the id of one of its endpoints instead",
        )),
        (None, _) => Err(Problem::not_found("breaker")),
    }
}

async fn loaded(app: &App, caller: &Caller) -> StoreResult<Vec<Guarded>> {
    let read = app.store.read(caller.scope(), |tx| {
        Box::pin(async move { Guarded::load(tx).await })
    });
    read.await
}

/// List breakers
///
/// One for each dependency of the endpoints. As the engine wrote them down last, so every node says the same.
#[utoipa::path(get, path = "/v1/breakers", tag = "jobs", params(PageQuery),
    responses((status = 200, body = Page<GuardedView>)))]
async fn breaker_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<GuardedView>>, Problem> {
    let now = app.clock.now();
    let all = loaded(&app, &caller).await?;
    page_of_all(all, &query, Guarded::first_id, |one| one.view(now)).map(Json)
}

/// Show a breaker
#[utoipa::path(get, path = "/v1/breakers/{name}", tag = "jobs",
    params(("name" = String, Path, description = "its dependency's name, or the id of an endpoint behind it")),
    responses((status = 200, body = GuardedView)))]
async fn breaker_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Named(name): Named,
) -> Result<Json<GuardedView>, Problem> {
    let found = called(loaded(&app, &caller).await?, &name)?;
    Ok(Json(found.view(app.clock.now())))
}

/// List the changes of a breaker
///
/// The last first, each with the rule it was made by and what that counted, or with who made it. Kept as long as events are.
#[utoipa::path(get, path = "/v1/breakers/{name}/history", tag = "jobs",
    params(("name" = String, Path, description = "its dependency's name, or the id of an endpoint behind it"), PageQuery),
    responses((status = 200, body = Page<BreakerChangeView>)))]
async fn breaker_history(
    State(app): State<Arc<App>>,
    caller: Caller,
    Named(name): Named,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<BreakerChangeView>>, Problem> {
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let before = cursor.map_or(BreakerChangeId::MAX, |cursor| {
        BreakerChangeId::from_uuid(cursor.id)
    });
    let dependency = called(loaded(&app, &caller).await?, &name)?.dependency;
    let read = app.store.read(caller.scope(), move |tx| {
        let dependency = dependency.clone();
        Box::pin(async move { tx.breaker_change_list(&dependency, before, limit + 1).await })
    });
    let position = |change: &BreakerChange| Cursor {
        at: change.at,
        id: change.id.uuid(),
    };
    Ok(Json(page(read.await?, limit, position, Into::into)))
}

/// A breaker that is to be held open.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BreakerOpening {
    /// Why: shown beside it and in its history.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// Until when. Left out: until somebody says otherwise.
    until: Option<Time>,
}

/// A breaker that is to be held closed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BreakerClosing {
    /// Why: shown beside it and in its history.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// Until when, a week from now at the latest.
    until: Time,
}

/// What a person says: how it is held, and why; nothing: by its own rule.
type Said = Option<(Forced, String)>;

fn checked(
    reason: &str,
    until: Option<Time>,
    now: Timestamp,
    latest: Timestamp,
) -> Result<(), Problem> {
    let mut checks = Checks::default();
    checks.text("/reason", reason, REASON_MAX);
    if let Some(Time(until)) = until {
        checks.ensure(until > now, "/until", "must be in the future");
        checks.ensure(until <= latest, "/until", "is too far away");
    }
    checks.done()
}

/// Hold a breaker open
///
/// Nothing is sent to its dependency; what comes waits and uses up no attempt. What is under way comes to its end. When the time is
/// over, or it is given back to its own rule, probes are let through first.
#[utoipa::path(post, path = "/v1/breakers/{name}/open", tag = "jobs",
    params(("name" = String, Path, description = "its dependency's name, or the id of an endpoint behind it")),
    request_body = BreakerOpening, responses((status = 200, body = GuardedView)))]
async fn breaker_open(
    State(app): State<Arc<App>>,
    caller: Caller,
    Named(name): Named,
    input: Input<BreakerOpening>,
) -> Result<Response, Problem> {
    let BreakerOpening { reason, until } = input.value;
    checked(&reason, until, app.clock.now(), Timestamp::MAX)?;
    let until = until.map(|Time(until)| until);
    let said = Some((Forced { open: true, until }, reason));
    say(&app, &caller, name, "breaker.open", input.repeatable, said).await
}

/// Hold a breaker closed
///
/// Everything is sent, whatever its dependency answers. When the time is over it goes by its own rule again, as new.
#[utoipa::path(post, path = "/v1/breakers/{name}/close", tag = "jobs",
    params(("name" = String, Path, description = "its dependency's name, or the id of an endpoint behind it")),
    request_body = BreakerClosing, responses((status = 200, body = GuardedView)))]
async fn breaker_close(
    State(app): State<Arc<App>>,
    caller: Caller,
    Named(name): Named,
    input: Input<BreakerClosing>,
) -> Result<Response, Problem> {
    let BreakerClosing { reason, until } = input.value;
    let now = app.clock.now();
    checked(&reason, Some(until), now, now.plus_ms(CLOSED_MS_MAX))?;
    let until = Some(until.0);
    let said = Some((Forced { open: false, until }, reason));
    say(&app, &caller, name, "breaker.close", input.repeatable, said).await
}

/// Give a breaker back to its own rule
#[utoipa::path(post, path = "/v1/breakers/{name}/auto", tag = "jobs",
    params(("name" = String, Path, description = "its dependency's name, or the id of an endpoint behind it")),
    responses((status = 200, body = GuardedView)))]
async fn breaker_auto(
    State(app): State<Arc<App>>,
    caller: Caller,
    Named(name): Named,
    input: NoInput,
) -> Result<Response, Problem> {
    say(&app, &caller, name, "breaker.auto", input.repeatable, None).await
}

async fn say(
    app: &Arc<App>,
    caller: &Caller,
    name: String,
    action: &'static str,
    repeatable: Repeatable,
    said: Said,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let (by, id) = (caller.actor(), BreakerChangeId::new(now, &*app.random));
    let told = caller.audit(app, action, &name, None, None);
    let subject = Arc::new(name);
    let (asked, answer) = (Arc::clone(&subject), Arc::clone(&subject));
    let done = write(app, caller, repeatable, move |tx| {
        let (name, said) = (Arc::clone(&asked), said.clone());
        let (by, told) = (by.clone(), told.clone());
        Box::pin(async move {
            // What is read is what is changed: nobody else is in between.
            tx.config_hold().await?;
            let known = match called(Guarded::load(tx).await?, &name) {
                Ok(known) => known,
                Err(problem) => return Ok(Err(problem)),
            };
            let was_held = known.is_held(now);
            let change = change_of(&known, &said, (id, now, by));
            let known = match said {
                Some((forced, reason)) => held(tx, known, forced, reason, &change).await?,
                None => {
                    tx.breaker_rule_clear(&known.dependency).await?;
                    known.freed(now)
                }
            };
            if change.turn.why != Why::Automatic || was_held {
                tx.breaker_change_insert(&change).await?;
            }
            let detail = serde_json::json!({
                "dependency": change.dependency.name,
                "reason": change.reason,
                "until": change.until.map(Time),
            });
            let told = AuditEntry {
                detail: Some(detail.to_string()),
                ..in_tenant(told, change.dependency.tenant)
            };
            tx.audit_insert(&told).await?;
            Done::json(StatusCode::OK, &known.view(now)).map(Ok)
        })
    })
    .await?;
    app.configured("breaker", &*answer).await;
    Ok(done)
}

async fn held(
    tx: &mut dyn Tx,
    known: Guarded,
    forced: Forced,
    reason: String,
    change: &BreakerChange,
) -> StoreResult<Guarded> {
    let rule = BreakerRule {
        dependency: known.dependency.clone(),
        forced,
        reason,
        by: change.by.clone().unwrap_or_default(),
        at: change.at,
    };
    tx.breaker_rule_set(&rule).await?;
    Ok(known.said(rule))
}

/// What its history says of it.
fn change_of(
    known: &Guarded,
    said: &Said,
    (id, at, by): (BreakerChangeId, Timestamp, String),
) -> BreakerChange {
    let from = known.stands(at);
    let (to, why) = match said {
        Some((forced, _)) if forced.open => (BreakerState::Open, Why::ForcedOpen),
        Some(_) => (BreakerState::Closed, Why::ForcedClosed),
        // Held open, probes are due; held closed, it is as new: it stands where it stood.
        None => (from, Why::Automatic),
    };
    BreakerChange {
        id,
        dependency: known.dependency.clone(),
        at,
        turn: Turn {
            from,
            to,
            why,
            count: 0,
            calls: 0,
        },
        error: None,
        by: Some(by),
        reason: said.as_ref().map(|(_, reason)| reason.clone()),
        until: said.as_ref().and_then(|(forced, _)| forced.until),
    }
}
