//! Re-verify: once a secret or a setting was mended, what had been refused for it and proves genuine comes in.

use std::sync::Arc;

use axum::{Json, extract::State, response::IntoResponse, response::Response};
use mainstay::intake::reverify;
use mainstay_domain::{ReceiptId, SourceId, StoreExt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access::{Caller, idempotency::converge},
    http::{
        Code, Problem,
        extract::{Id, Input},
    },
    state::App,
};

/// Refused requests to verify again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReverifyRequest {
    /// Only say what would happen.
    plan: bool,
    /// Where the last call ended: its `next`. Left out: begins with the oldest.
    #[schema(value_type = Option<String>, pattern = "^rcp_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    after: Option<ReceiptId>,
}

/// How many requests stay refused for one reason.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StillRefused {
    /// The code of the reason that holds now, e.g. `signature_wrong`; `body_not_kept` where the body was too large to be
    /// kept.
    reason: String,
    count: i64,
}

/// What would happen, or what happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReverifyAnswer {
    /// Refused requests looked at, oldest first.
    examined: i64,
    /// Those that verify now.
    genuine: i64,
    /// Those that came in with something new; 0 in a plan.
    released: i64,
    /// Those that came in with what has come since; 0 in a plan.
    duplicates: i64,
    /// Those that came in with what is known with other content; 0 in a plan.
    conflicts: i64,
    still_refused: Vec<StillRefused>,
    /// Where the next call goes on, as its `after`; null: all were looked at.
    #[schema(value_type = Option<String>)]
    next: Option<ReceiptId>,
}

impl From<reverify::Reverified> for ReverifyAnswer {
    fn from(done: reverify::Reverified) -> Self {
        Self {
            examined: done.examined,
            genuine: done.genuine,
            released: done.released,
            duplicates: done.duplicates,
            conflicts: done.conflicts,
            still_refused: done
                .still_refused
                .into_iter()
                .map(|(reason, count)| StillRefused {
                    reason: reason.to_owned(),
                    count,
                })
                .collect(),
            next: done.next,
        }
    }
}

/// Verify refused requests again, or plan it
///
/// Each is verified with the source's present scheme, secrets and settings, by the clock of the time when it came. Those
/// that are genuine come in as if they had never been refused. One call looks at about 5,000; `next` goes on.
#[utoipa::path(post, path = "/v1/sources/{id}/reverify", tag = "intake", request_body = ReverifyRequest,
    params(("id" = String, Path, description = "`src_…`")), responses((status = 200, body = ReverifyAnswer)))]
pub(super) async fn source_reverify(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    input: Input<ReverifyRequest>,
) -> Result<Response, Problem> {
    let ReverifyRequest { plan, after } = input.value;
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move { tx.source_get(id).await })
        })
        .await?;
    let tenant = found.ok_or_else(|| Problem::not_found("source"))?.tenant;
    let request = reverify::Request {
        source: id,
        after,
        base_url: app.url().to_owned(),
        told: None,
    };
    if plan {
        return Ok(Json(run(&app, &request).await?).into_response());
    }
    let request = reverify::Request {
        told: Some(caller.audit(&app, "receipt.release", id, None, Some(tenant))),
        ..request
    };
    let what = after.map(|after| serde_json::json!({ "after": after }));
    let begun = caller.audit(&app, "source.reverify", id, what, Some(tenant));
    let done = async {
        // Written before the first step: what is begun is on record even if the process dies on the way.
        app.store
            .transact(caller.scope(), move |tx| {
                let begun = begun.clone();
                Box::pin(async move { tx.audit_insert(&begun).await })
            })
            .await?;
        run(&app, &request).await
    };
    converge(&app, &caller, input.repeatable, done).await
}

async fn run(app: &App, request: &reverify::Request) -> Result<ReverifyAnswer, Problem> {
    let done = app.mainstay.intake.reverify(request).await?;
    done.map(Into::into).ok_or_else(|| {
        Problem::new(
            Code::StateConflict,
            "no request can come in by this source, so none can be verified again",
        )
    })
}
