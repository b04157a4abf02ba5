//! Users: people who sign in. About the whole installation, so keys of one tenant have no business here.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay_domain::{
    StoreExt, UserId,
    access::{Role, User},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    page::{Page, PageQuery, page_of_all},
    sessions::RoleName,
};
use crate::{
    access::{
        Caller,
        idempotency::{Done, write},
        password::{check as check_password, email as check_email},
        session,
    },
    http::{
        Code, Problem,
        extract::{Checks, Id, Input, NoInput, Params},
    },
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(user_list, user_create))
        .routes(routes!(user_update, user_delete))
        .routes(routes!(user_link))
}

/// A person who signs in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserView {
    #[schema(value_type = String)]
    id: UserId,
    email: String,
    role: RoleName,
    /// Whether they can sign in without a link.
    has_password: bool,
    created_at: Time,
    /// When they were last here, to the minute.
    last_seen_at: Option<Time>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email,
            role: user.role.into(),
            has_password: user.password_hash.is_some(),
            created_at: user.created_at.into(),
            last_seen_at: user.last_seen_at.map(Into::into),
        }
    }
}

/// A user to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    #[schema(
        max_length = 254,
        pattern = r"^[^\s@\x00-\x1f\x7f-\x9f]+@[^\s@\x00-\x1f\x7f-\x9f]+$"
    )]
    email: String,
    /// Left out: they sign in by link.
    #[schema(min_length = 10, max_length = 256, format = Password)]
    password: Option<String>,
    role: RoleName,
}

/// What is to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserChange {
    role: Option<RoleName>,
    #[schema(min_length = 10, max_length = 256, format = Password)]
    password: Option<String>,
}

/// List users
#[utoipa::path(get, path = "/v1/users", tag = "access", params(PageQuery),
    responses((status = 200, body = Page<UserView>)))]
async fn user_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<UserView>>, Problem> {
    caller.everywhere()?;
    let all = app
        .store
        .read(caller.scope(), |tx| {
            Box::pin(async move { tx.user_list().await })
        })
        .await?;
    page_of_all(all, &query, |user| user.id.uuid(), UserView::from).map(Json)
}

/// Add a user
#[utoipa::path(post, path = "/v1/users", tag = "access", request_body = NewUser,
    responses((status = 201, body = UserView)))]
async fn user_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<NewUser>,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let NewUser {
        email,
        password,
        role,
    } = input.value;
    let mut checks = Checks::default();
    let email = check_email(&mut checks, "/email", &email);
    if let Some(password) = &password {
        check_password(&mut checks, "/password", password);
    }
    checks.done()?;
    caller.reaches(role.into())?;
    let now = app.clock.now();
    let user = User {
        id: UserId::new(now, &*app.random),
        email,
        role: role.into(),
        password_hash: hash(&app, password).await?,
        created_at: now,
        last_seen_at: None,
    };
    let told = caller.audit(&app, "user.create", user.id, None, None);
    write(&app, &caller, input.repeatable, move |tx| {
        let (user, told) = (user.clone(), told.clone());
        Box::pin(async move {
            tx.user_insert(&user).await?;
            tx.audit_insert(&told).await?;
            Done::json(StatusCode::CREATED, &UserView::from(user)).map(Ok)
        })
    })
    .await
}

async fn hash(app: &App, password: Option<String>) -> Result<Option<String>, Problem> {
    match password {
        Some(password) => app.passwords.hash(password).await.map(Some),
        None => Ok(None),
    }
}

/// Change a user
///
/// A new password ends all of their sessions.
#[utoipa::path(patch, path = "/v1/users/{id}", tag = "access", params(("id" = String, Path, description = "`usr_…`")),
    request_body = UserChange, responses((status = 200, body = UserView)))]
async fn user_update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<UserId>,
    input: Input<UserChange>,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let UserChange { role, password } = input.value;
    let mut checks = Checks::default();
    if let Some(password) = &password {
        check_password(&mut checks, "/password", password);
    }
    checks.done()?;
    if let Some(role) = role {
        caller.reaches(role.into())?;
    }
    let reach = caller.clone();
    let what = serde_json::json!({ "role": role, "password": password.is_some() });
    let hash = hash(&app, password).await?;
    let told = caller.audit(&app, "user.update", id, Some(what), None);
    let changed = hash.is_some();
    write(&app, &caller, input.repeatable, move |tx| {
        let (hash, told, reach) = (hash.clone(), told.clone(), reach.clone());
        Box::pin(async move {
            tx.user_owners_hold().await?;
            let all = tx.user_list().await?;
            let Some(known) = all.iter().find(|user| user.id == id) else {
                return Ok(Err(Problem::not_found("user")));
            };
            if let Err(above) = reach.reaches(known.role) {
                return Ok(Err(above));
            }
            let role = role.map_or(known.role, Role::from);
            if role != Role::Owner && last_owner(&all, id) {
                return Ok(Err(nobody_left()));
            }
            let user = User {
                role,
                password_hash: hash.or(known.password_hash.clone()),
                ..known.clone()
            };
            tx.user_update(&user).await?;
            if changed {
                tx.session_end_all(id).await?;
            }
            tx.audit_insert(&told).await?;
            Done::json(StatusCode::OK, &UserView::from(user)).map(Ok)
        })
    })
    .await
}

fn last_owner(all: &[User], id: UserId) -> bool {
    all.iter()
        .filter(|user| user.role == Role::Owner)
        .all(|user| user.id == id)
        && all
            .iter()
            .any(|user| user.id == id && user.role == Role::Owner)
}

fn nobody_left() -> Problem {
    Problem::new(
        Code::StateConflict,
        "this is the last owner; make somebody else an owner first",
    )
}

/// Remove a user, and end their sessions
#[utoipa::path(delete, path = "/v1/users/{id}", tag = "access",
    params(("id" = String, Path, description = "`usr_…`")), responses((status = 204, description = "Removed")))]
async fn user_delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<UserId>,
    input: NoInput,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let told = caller.audit(&app, "user.delete", id, None, None);
    let reach = caller.clone();
    write(&app, &caller, input.repeatable, move |tx| {
        let (told, reach) = (told.clone(), reach.clone());
        Box::pin(async move {
            tx.user_owners_hold().await?;
            let all = tx.user_list().await?;
            if let Err(above) = all
                .iter()
                .filter(|user| user.id == id)
                .try_for_each(|user| reach.reaches(user.role))
            {
                return Ok(Err(above));
            }
            if last_owner(&all, id) {
                return Ok(Err(nobody_left()));
            }
            if !tx.user_delete(id).await? {
                return Ok(Err(Problem::not_found("user")));
            }
            tx.audit_insert(&told).await?;
            Ok(Ok(Done::nothing()))
        })
    })
    .await
}

/// A sign-in link.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignInLink {
    /// Works once, and for a day. Null in an answer that is repeated: it was shown before.
    url: Option<String>,
}

/// Make a sign-in link for a user
///
/// It works once, and for a day.
#[utoipa::path(post, path = "/v1/users/{id}/link", tag = "access",
    params(("id" = String, Path, description = "`usr_…`")), responses((status = 201, body = SignInLink)))]
async fn user_link(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<UserId>,
    input: NoInput,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let told = caller.audit(&app, "user.link", id, None, None);
    let (link, token) = session::link(Some(id), app.clock.now(), &*app.random);
    let url = format!("{}/signin/link?token={token}", app.url());
    let reach = caller.clone();
    // A link signs its bearer in as that user: whoever makes one must not get above themselves by it.
    let repeatable = input.repeatable.hiding(&["/url"]);
    write(&app, &caller, repeatable, move |tx| {
        let (told, link, url, reach) = (told.clone(), link.clone(), url.clone(), reach.clone());
        Box::pin(async move {
            let all = tx.user_list().await?;
            let Some(user) = all.iter().find(|user| user.id == id) else {
                return Ok(Err(Problem::not_found("user")));
            };
            if let Err(above) = reach.reaches(user.role) {
                return Ok(Err(above));
            }
            tx.session_insert(&link).await?;
            tx.audit_insert(&told).await?;
            Done::json(StatusCode::CREATED, &SignInLink { url: Some(url) }).map(Ok)
        })
    })
    .await
}
