//! All routes together, inside the frame that stands around every request.

use std::sync::Arc;

use axum::{
    Router,
    http::Method,
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    access::sign_in,
    api, health,
    http::{Code, Problem, frame},
    intake, metrics,
    state::App,
    ui,
};

/// The whole server.
pub(crate) fn router(app: &Arc<App>, verify_only: bool) -> Router {
    Router::new()
        .merge(api::router(app))
        .merge(intake::router::<App>(verify_only))
        .merge(sign_in::router())
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/docs/errors", get(ui::errors))
        .fallback(ui::serve)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(frame::panicked))
        .layer(middleware::from_fn_with_state(
            Arc::clone(app),
            frame::around::<App>,
        ))
        .with_state(Arc::clone(app))
}

async fn method_not_allowed(method: Method) -> Response {
    Problem::new(
        Code::MethodNotAllowed,
        format!("{method} is not possible here; see the header Allow"),
    )
    .into_response()
}
