//! The doors: `POST /in/{source}` and the providers' GET that asks whether the URL is ours.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Extension, Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use mainstay::intake::{Answer, Inbound};

use crate::{
    http::{
        Problem,
        extract::{form_pairs, raw},
        proxies::Client,
    },
    state::App,
};

/// The doors, which need nobody signed in: the signature says who it is.
pub(crate) fn router(verify_only: bool) -> Router<Arc<App>> {
    let take = if verify_only {
        post(verify)
    } else {
        post(accept)
    };
    Router::new().route("/in/{source}", take.get(challenge))
}

async fn accept(
    State(app): State<Arc<App>>,
    Path(source): Path<String>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let inbound = match inbound(&app, &source, client, headers, body).await {
        Ok(inbound) => inbound,
        Err(problem) => return problem.into_response(),
    };
    let answer = app.mainstay.intake.accept(&source, inbound).await;
    answered(&app, &source, answer)
}

/// Everything but the commit: what `mainstay bench intake` compares with.
async fn verify(
    State(app): State<Arc<App>>,
    Path(source): Path<String>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let inbound = match inbound(&app, &source, client, headers, body).await {
        Ok(inbound) => inbound,
        Err(problem) => return problem.into_response(),
    };
    let answer = app.mainstay.intake.verify_only(&source, &inbound).await;
    answered(&app, &source, answer)
}

async fn inbound(
    app: &App,
    source: &str,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Inbound, Problem> {
    // A source that there is not takes nothing; `accept` says so without a body.
    let limit = app.mainstay.intake.body_limit(source).await;
    let body = match limit {
        Some(limit) => raw(app, &headers, body, limit.min(app.limits.body_bytes)).await?,
        None => bytes::Bytes::new(),
    };
    Ok(Inbound {
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect(),
        body,
        remote: client.address.to_string(),
        received_at: app.clock.now(),
    })
}

async fn challenge(
    State(app): State<Arc<App>>,
    Path(source): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = form_pairs(query.as_deref().unwrap_or_default());
    let answer = app.mainstay.intake.challenge(&source, &query).await;
    answered(&app, &source, answer)
}

fn answered(app: &App, source: &str, answer: Answer) -> Response {
    app.metrics.intake(source, answer.status, answer.code);
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_str(&answer.content_type);
    headers.insert(
        header::CONTENT_TYPE,
        kind.unwrap_or(HeaderValue::from_static("application/octet-stream")),
    );
    if let Some(secs) = answer.retry_after_secs {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}
