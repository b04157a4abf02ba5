//! Who is signed in, and signing in and out as a program does.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Extension, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use mainstay_domain::{KeyId, TenantId, UserId, access::Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    access::{Caller, Who, session, sign_in},
    http::{
        Problem,
        extract::{Input, NoInput},
        proxies::Client,
    },
    state::App,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(session_get, session_create, session_delete))
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Role)]
pub(crate) enum RoleName {
    /// Everything in reach, also who else may do what.
    Owner,
    /// What an operator may, and set up sources, endpoints, bindings, schemas, secrets and links.
    Admin,
    /// What a viewer may, and run again, cancel, discard, pause, replay and acknowledge.
    Operator,
    /// Look at everything in reach, payloads too.
    Viewer,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => Self::Owner,
            Role::Admin => Self::Admin,
            Role::Operator => Self::Operator,
            Role::Viewer => Self::Viewer,
        }
    }
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Owner => Self::Owner,
            RoleName::Admin => Self::Admin,
            RoleName::Operator => Self::Operator,
            RoleName::Viewer => Self::Viewer,
        }
    }
}

/// Who is signed in, and to what.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    /// The person, by session.
    user: Option<SessionUser>,
    /// The program, by key.
    key: Option<SessionKey>,
    /// What they may do.
    role: RoleName,
    /// The one tenant that they reach; null: all.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// The server's version.
    version: &'static str,
    /// The database behind it.
    database: DatabaseName,
    /// Whether this is the demo.
    demo: bool,
}

/// The database behind the server.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Database)]
pub(crate) enum DatabaseName {
    /// Embedded SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A person who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionUser {
    #[schema(value_type = String)]
    id: UserId,
    email: String,
    role: RoleName,
}

/// A key that calls.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionKey {
    #[schema(value_type = String)]
    id: KeyId,
    name: String,
}

/// Who is signed in
#[utoipa::path(get, path = "/v1/session", tag = "access", responses((status = 200, body = SessionView)))]
async fn session_get(State(app): State<Arc<App>>, caller: Caller) -> Json<SessionView> {
    let role = caller.role.into();
    let (user, key) = match caller.who {
        Who::User { id, email } => (Some(SessionUser { id, email, role }), None),
        Who::Key { id, name } => (None, Some(SessionKey { id, name })),
    };
    Json(SessionView {
        user,
        key,
        role,
        tenant_id: caller.tenant,
        version: env!("CARGO_PKG_VERSION"),
        database: match app.store.database() {
            mainstay_domain::store::Database::Sqlite => DatabaseName::Sqlite,
            mainstay_domain::store::Database::Postgres => DatabaseName::Postgres,
        },
        demo: app.demo,
    })
}

/// Address and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    #[schema(max_length = 254)]
    email: String,
    #[schema(max_length = 256, format = Password)]
    password: String,
}

/// Sign in by password
///
/// Sets the session cookie. After ten failures from one address, or for one user, the next attempt has to wait.
#[utoipa::path(post, path = "/v1/session", tag = "access", request_body = SignIn, responses(
    (status = 204, description = "Signed in; the session is in the cookie",
        headers(("set-cookie" = String, description = "The session"))),
    (status = 401, description = "Address and password do not go together"),
    (status = 403, description = "The request comes from another site"),
    (status = 429, description = "Too many attempts failed"),
))]
async fn session_create(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    input: Input<SignIn>,
) -> Result<Response, Problem> {
    sign_in::same_site(&app, client, &headers)?;
    let token =
        sign_in::with_password(&app, client, &input.value.email, input.value.password).await?;
    let cookie = session::cookie(&token, app.secure);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Sign out
#[utoipa::path(delete, path = "/v1/session", tag = "access", responses((status = 204, description = "Signed out")))]
async fn session_delete(
    State(app): State<Arc<App>>,
    _caller: Caller,
    headers: HeaderMap,
    // Safe to repeat as it is; a key that came along is only looked at.
    _: NoInput,
) -> Result<Response, Problem> {
    sign_in::end(&app, &headers).await?;
    let cookie = session::cookie_removed(app.secure);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}
