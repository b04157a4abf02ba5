//! The doors: `POST /in/{source}` and the providers' GET that asks whether the URL is ours.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Extension, Path, RawQuery, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::post,
};
use mainstay::intake::{Answer, Inbound, Knock};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{Code, Problem, body, extract::form_pairs, host::Host, proxies::Client};

/// The doors, which need nobody signed in: the signature says who it is.
pub(crate) fn router<H: Host>(verify_only: bool) -> Router<Arc<H>> {
    let take = if verify_only {
        post(verify::<H>)
    } else {
        post(accept::<H>)
    };
    Router::new().route("/in/{source}", take.get(challenge::<H>))
}

/// The name of a source in the path; what cannot be read is the name of none.
type Name = Result<Path<String>, PathRejection>;

fn name(path: Name) -> String {
    path.map(|path| path.0).unwrap_or_default()
}

/// What became of a request that was taken.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "the engine writes it; here it is described")]
pub(crate) enum TakenStatus {
    /// Something in it is new, and on its way to the bindings.
    Queued,
    /// Everything in it is known.
    Duplicate,
    /// Something in it is known with other content.
    Conflict,
}

/// The answer to a request that was taken.
#[derive(Serialize, ToSchema)]
pub(crate) struct Taken {
    /// Always true: it is committed.
    received: bool,
    status: TakenStatus,
    /// The events in it.
    event_ids: Vec<String>,
}

/// Bring a webhook
///
/// For providers, who sign the body as the source's scheme asks. 2xx only after everything is committed; everything else
/// ends in a status that makes the provider send again when, and only when, that can help.
#[utoipa::path(post, path = "/in/{source}", tag = "intake", operation_id = "intake_accept",
    params(("source" = String, Path, description = "The source's name")),
    request_body(description = "Whatever the provider sends; the signature is over these bytes",
        content((serde_json::Value = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses(
        (status = 200, description = "Kept. A source's `settings.answer` can put another status from 200 to 299, media \
            type and body in its place", content((Taken = "application/json"), (String = "*/*"))),
        (status = "2XX", description = "Kept; answered as the source's `settings.answer` says", body = String,
            content_type = "*/*"),
        (status = 400, description = "There is no signature, or what is signed cannot be read"),
        (status = 401, description = "The signature is wrong or too old, or the source has no secret"),
        (status = 403, description = "The source takes nothing from this address"),
        (status = 404, description = "There is no source of this name"),
        (status = 408, description = "The body did not arrive in time"),
        (status = 413, description = "The body is larger than the source takes"),
        (status = 429, description = "It is genuine, and more came than the source's rate; or too much from the address \
            did not verify. To be sent again"),
        (status = 503, description = "It could not be kept, or the source is disabled; to be sent again"),
    ))]
pub(crate) async fn accept<H: Host>(
    State(app): State<Arc<H>>,
    path: Name,
    Extension(client): Extension<Client>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let source = name(path);
    let inbound = match inbound(&*app, &source, client, &uri, headers, body).await {
        Ok(inbound) => inbound,
        Err(unread) => return unread.answered(&*app, &source),
    };
    let answer = app.intake().accept(&source, inbound).await;
    answered(&*app, &source, answer)
}

/// Everything but the commit: what `mainstay bench intake` compares with.
async fn verify<H: Host>(
    State(app): State<Arc<H>>,
    path: Name,
    Extension(client): Extension<Client>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let source = name(path);
    let inbound = match inbound(&*app, &source, client, &uri, headers, body).await {
        Ok(inbound) => inbound,
        Err(unread) => return unread.answered(&*app, &source),
    };
    let answer = app.intake().verify_only(&source, &inbound).await;
    answered(&*app, &source, answer)
}

/// Why a request was not read to its end.
enum Unread {
    Problem(Problem),
    TurnedAway(Answer),
}

impl Unread {
    fn answered(self, app: &impl Host, source: &str) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::TurnedAway(answer) => answered(app, source, answer),
        }
    }
}

async fn inbound(
    app: &impl Host,
    source: &str,
    client: Client,
    uri: &Uri,
    headers: HeaderMap,
    bytes: Body,
) -> Result<Inbound, Unread> {
    let body = match app.intake().knock(source, client.address).await {
        Knock::Open { body_limit } => {
            let limit = body_limit.min(app.limits().body_bytes);
            let read = body::read(&headers, bytes, limit, app.limits().body_timeout).await;
            read.map_err(Unread::Problem)?
        }
        // It may have been made since; to say that there is none could end it.
        Knock::Unknown if app.away() => return Err(Unread::Problem(not_known_yet())),
        // It takes nothing; `accept` says so without a body.
        Knock::Unknown => bytes::Bytes::new(),
        Knock::TurnedAway(answer) => return Err(Unread::TurnedAway(answer)),
    };
    Ok(Inbound {
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect(),
        body,
        remote: client.address.to_string(),
        url: sent_to(app.url(), uri),
        received_at: app.clock().now(),
    })
}

/// The answer for a source that a server without its database does not know.
fn not_known_yet() -> Problem {
    let detail = "the database cannot be reached, and the source is not known without it";
    Problem::new(Code::StoreUnavailable, detail).retry_after(5)
}

/// The URL that a provider sent to: where we are reached, and path and query as they came, since a provider that signs
/// them signs those bytes. Over HTTP/2 and through some proxies the request names a host as well, which is not believed.
fn sent_to(base: &str, uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("{base}{path}")
}

/// Ask whether the URL is ours
///
/// What Meta asks when somebody enters the URL: answered with `hub.challenge` where `hub.verify_token` is the source's.
#[utoipa::path(get, path = "/in/{source}", tag = "intake", operation_id = "intake_challenge",
    params(
        ("source" = String, Path, description = "The source's name"),
        ("hub.mode" = Option<String>, Query, description = "`subscribe`"),
        ("hub.verify_token" = Option<String>, Query, description = "What the source was told to expect"),
        ("hub.challenge" = Option<String>, Query, description = "What is answered"),
    ),
    responses(
        (status = 200, description = "The challenge", body = String, content_type = "text/plain"),
        (status = 400, description = "The question cannot be understood"),
        (status = 403, description = "The verify token is another one"),
        (status = 404, description = "There is no source of this name"),
        (status = 405, description = "Only sources of the scheme `meta` are asked"),
    ))]
pub(crate) async fn challenge<H: Host>(
    State(app): State<Arc<H>>,
    path: Name,
    RawQuery(query): RawQuery,
) -> Response {
    let source = name(path);
    let query = form_pairs(query.as_deref().unwrap_or_default());
    match app.intake().challenge(&source, &query).await {
        // As for what is posted.
        None if app.away() => not_known_yet().into_response(),
        None => answered(&*app, &source, Answer::unknown_source()),
        Some(answer) => answered(&*app, &source, answer),
    }
}

fn answered(app: &impl Host, source: &str, answer: Answer) -> Response {
    app.metrics().intake(source, answer.status, answer.code);
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
    // HTTP wants them with these statuses; a provider makes nothing of them.
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    if status == StatusCode::UNAUTHORIZED {
        let signed = HeaderValue::from_static("Signature");
        headers.insert(header::WWW_AUTHENTICATE, signed);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_ours_whatever_host_the_request_names() {
        for uri in ["/in/a?x=%20&y", "http://other.example/in/a?x=%20&y"] {
            let uri: Uri = uri.parse().expect("a URI");
            let url = sent_to("https://hooks.example.test", &uri);
            assert_eq!(url, "https://hooks.example.test/in/a?x=%20&y");
        }
    }
}
