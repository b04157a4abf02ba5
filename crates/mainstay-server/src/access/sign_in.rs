//! Signing in: by password or by a one-time link, with or without JavaScript.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Extension, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use mainstay_domain::{
    Random, Scope, StoreError, StoreExt, StoreResult, Timestamp, Tx, UserId,
    access::{AuditEntry, Role, Session, User},
};

use super::{
    audit, keys, pages,
    password::{self, email},
    session,
};
use crate::{
    http::{
        Code, Problem,
        extract::{Checks, form_pairs, raw},
        origin::Origin,
        proxies::Client,
    },
    limits,
    state::App,
};

/// The address that the first owner is offered.
const FIRST_OWNER: &str = "owner@localhost";

/// The pages, which need nobody signed in.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/signin", get(show).post(submit))
        .route("/signin/link", get(link_show).post(link_submit))
        .route("/signin/style.css", get(pages::style))
        .route("/signout", post(leave))
}

/// Signs a user in by password. The same time and the same words whether the user or the password is wrong.
pub(crate) async fn with_password(
    app: &App,
    client: Client,
    email: &str,
    password: String,
) -> Result<String, Problem> {
    let email = email.trim().to_lowercase();
    let address = client.address.to_string();
    let counted = [address.as_str(), email.as_str()];
    app.throttle.check(&counted)?;
    // What no user can have been stored under need not be looked up.
    let known = match email.len() <= password::EMAIL_MAX && !email.chars().any(char::is_control) {
        true => user(app, &email).await?,
        false => None,
    };
    let stored = known.as_ref().and_then(|user| user.password_hash.clone());
    if !app.passwords.verify(password, stored).await? {
        app.throttle.failed(&counted);
        tracing::info!(address, "a sign-in failed");
        return Err(Problem::new(
            Code::SignInFailed,
            "this address and password do not go together",
        ));
    }
    let Some(user) = known else {
        return Err(Problem::internal("a password of nobody was right"));
    };
    begin(app, &user).await
}

async fn user(app: &App, email: &str) -> StoreResult<Option<User>> {
    let email = email.to_owned();
    app.store
        .read(Scope::System("sign-in"), move |tx| {
            let email = email.clone();
            Box::pin(async move { tx.user_by_email(&email).await })
        })
        .await
}

async fn begin(app: &App, user: &User) -> Result<String, Problem> {
    let now = app.clock.now();
    let (session, token) = session::begin(user.id, now, &*app.random);
    let told = audit::entry(
        app,
        format!("user:{}", user.email),
        "session.create",
        user.id.to_string(),
        None,
        None,
    );
    let id = user.id;
    app.store
        .transact(Scope::System("sign-in"), move |tx| {
            let (session, told) = (session.clone(), told.clone());
            Box::pin(async move {
                tx.session_insert(&session).await?;
                tx.user_touch(id, now).await?;
                tx.audit_insert(&told).await
            })
        })
        .await?;
    Ok(token)
}

/// Ends the session of this cookie.
pub(crate) async fn end(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(token) = session::from_cookie(headers, app.secure) else {
        return Ok(());
    };
    let (digest, now) = (keys::digest(&token), app.clock.now());
    let told = audit::entry(
        app,
        String::new(),
        "session.delete",
        String::new(),
        None,
        None,
    );
    app.store
        .transact(Scope::System("sign-out"), move |tx| {
            let told = told.clone();
            Box::pin(async move {
                let known = tx.session_get(&digest, now).await?;
                if tx.session_delete(&digest).await?
                    && let Some((_, user)) = known
                {
                    tx.audit_insert(&AuditEntry {
                        actor: format!("user:{}", user.email),
                        subject: user.id.to_string(),
                        ..told
                    })
                    .await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(())
}

struct Form(Vec<(String, String)>);

impl Form {
    async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Self, Problem> {
        let bytes = raw(app, headers, body, limits::FORM_BYTES).await?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Problem::new(Code::RequestMalformed, "the form cannot be read"))?;
        Ok(Self(form_pairs(text)))
    }

    fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(own, _)| own == name)
            .map_or("", |(_, value)| value)
    }
}

/// A form of another site must not sign anybody in or out.
pub(crate) fn same_site(app: &App, client: Client, headers: &HeaderMap) -> Result<(), Problem> {
    match Origin::of(headers, app.public_url.as_deref(), client.proxied) {
        Origin::Foreign => Err(Problem::new(
            Code::OriginForbidden,
            "the form was sent from another site",
        )),
        Origin::Own | Origin::Silent => Ok(()),
    }
}

/// Where to after signing in: a path here, never another site.
fn next(given: &str) -> &str {
    let local = given.starts_with('/') && !given.starts_with("//") && !given.contains('\\');
    let plain = given.len() <= 2_048 && given.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if local && plain { given } else { "/" }
}

fn welcome(app: &App, token: &str, to: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    response
        .headers_mut()
        .append(header::SET_COOKIE, session::cookie(token, app.secure));
    response
}

async fn show(RawQuery(query): RawQuery) -> Response {
    let form = Form(form_pairs(query.as_deref().unwrap_or_default()));
    let notice = (form.get("out") == "1").then_some("You are signed out.");
    pages::sign_in(StatusCode::OK, next(form.get("next")), "", notice, None)
}

async fn submit(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::read(&app, &headers, body).await {
        Ok(form) => form,
        Err(problem) => return failed(&problem, "/", ""),
    };
    let (to, email) = (next(form.get("next")), form.get("email"));
    let signed_in = match same_site(&app, client, &headers) {
        Ok(()) => with_password(&app, client, email, form.get("password").to_owned()).await,
        Err(problem) => Err(problem),
    };
    match signed_in {
        Ok(token) => welcome(&app, &token, to),
        Err(problem) => failed(&problem, to, email),
    }
}

/// The page again, with what went wrong.
fn failed(problem: &Problem, to: &str, email: &str) -> Response {
    let again = pages::sign_in(problem.status(), to, email, None, Some(&sentence(problem)));
    with_retry_after(problem, again)
}

fn sentence(problem: &Problem) -> String {
    let mut chars = problem.detail().chars();
    let first = chars
        .next()
        .map(|c| c.to_uppercase().to_string())
        .unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

fn with_retry_after(problem: &Problem, mut response: Response) -> Response {
    let answered = problem.clone().into_response();
    if let Some(value) = answered.headers().get(header::RETRY_AFTER) {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, value.clone());
    }
    response
}

async fn link_show(RawQuery(query): RawQuery) -> Response {
    let form = Form(form_pairs(query.as_deref().unwrap_or_default()));
    let token = form.get("token");
    // Looking does not use the link up: mail scanners and previews look as well.
    pages::link(
        StatusCode::OK,
        token,
        token.starts_with(session::FIRST),
        FIRST_OWNER,
        None,
    )
}

async fn link_submit(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::read(&app, &headers, body).await {
        Ok(form) => form,
        Err(problem) => {
            return pages::link(problem.status(), "", false, "", Some(&sentence(&problem)));
        }
    };
    let token = form.get("token");
    let taken = async {
        same_site(&app, client, &headers)?;
        with_link(&app, client, token, form.get("email"), form.get("password")).await
    };
    match taken.await {
        Ok(session) => welcome(&app, &session, "/"),
        Err(problem) => {
            let first = token.starts_with(session::FIRST);
            let page = pages::link(
                problem.status(),
                token,
                first,
                form.get("email"),
                Some(&sentence(&problem)),
            );
            with_retry_after(&problem, page)
        }
    }
}

/// Signs in by a one-time link. The first owner may choose an address and a password on the way.
async fn with_link(
    app: &App,
    client: Client,
    token: &str,
    address: &str,
    chosen: &str,
) -> Result<String, Problem> {
    let from = client.address.to_string();
    app.throttle.check(&[&from])?;
    let first = token.starts_with(session::FIRST);
    let mut checks = Checks::default();
    let address = if first {
        email(&mut checks, "the address", address)
    } else {
        String::new()
    };
    if first && !chosen.is_empty() {
        password::check(&mut checks, "the password", chosen);
    }
    // Before the link is taken: a mistake must not use it up.
    checks.done()?;
    let hash = match first && !chosen.is_empty() {
        true => Some(app.passwords.hash(chosen.to_owned()).await?),
        false => None,
    };
    let now = app.clock.now();
    let newcomer = User {
        id: UserId::new(now, &*app.random),
        email: address,
        role: Role::Owner,
        password_hash: hash,
        created_at: now,
        last_seen_at: Some(now),
    };
    let (digest, random) = (keys::digest(token), Arc::clone(&app.random));
    let told = audit::entry(
        app,
        "system:link".into(),
        "session.create",
        String::new(),
        None,
        None,
    );
    let session = app
        .store
        .transact(Scope::System("sign-in link"), move |tx| {
            let (newcomer, random, told) = (newcomer.clone(), Arc::clone(&random), told.clone());
            Box::pin(async move { take(tx, &digest, newcomer, &*random, now, told).await })
        })
        .await?;
    session.ok_or_else(|| {
        app.throttle.failed(&[&from]);
        Problem::new(
            Code::SignInFailed,
            "this link was used already or has ended; the next start of the server, or 'mainstay user link', makes a new one",
        )
    })
}

async fn take(
    tx: &mut dyn Tx,
    digest: &[u8; 32],
    newcomer: User,
    random: &dyn Random,
    now: Timestamp,
    told: AuditEntry,
) -> StoreResult<Option<String>> {
    let Some(link) = tx.session_link_take(digest, now).await? else {
        return Ok(None);
    };
    let user = match link {
        Session {
            user: Some(user), ..
        } => user,
        Session { user: None, .. } => first_owner(tx, newcomer).await?,
    };
    let (session, token) = session::begin(user, now, random);
    tx.session_insert(&session).await?;
    tx.audit_insert(&AuditEntry {
        subject: user.to_string(),
        ..told
    })
    .await?;
    Ok(Some(token))
}

/// Makes the first owner, or finds the one that an earlier link made.
async fn first_owner(tx: &mut dyn Tx, newcomer: User) -> StoreResult<UserId> {
    let Some(known) = tx.user_by_email(&newcomer.email).await? else {
        tx.user_insert(&newcomer).await?;
        return Ok(newcomer.id);
    };
    let changed = User {
        role: Role::Owner,
        password_hash: newcomer.password_hash.or(known.password_hash.clone()),
        ..known
    };
    match tx.user_update(&changed).await? {
        true => Ok(changed.id),
        false => Err(StoreError::Conflict { what: "user" }),
    }
}

async fn leave(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    same_site(&app, client, &headers)?;
    end(&app, &headers).await?;
    let mut response = Redirect::to("/signin?out=1").into_response();
    response
        .headers_mut()
        .append(header::SET_COOKIE, session::cookie_removed(app.secure));
    response
        .headers_mut()
        .insert("clear-site-data", HeaderValue::from_static("\"cache\""));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_one_stays_on_this_site() {
        for own in [
            "/",
            "/events?status=error",
            "/jobs/job_1?next=//evil.example",
        ] {
            assert_eq!(next(own), own);
        }
        for foreign in [
            "",
            "https://evil.example",
            "//evil.example",
            "///evil.example",
            "\\\\evil.example",
            "\\evil.example",
            "/\t/evil.example",
            "/\u{0}",
            "/\u{7f}",
            "/\u{2028}",
            "javascript:alert(1)",
            "events",
            "/\\evil.example",
            "/a b",
            "/\r\nset-cookie:x",
        ] {
            assert_eq!(next(foreign), "/", "{foreign}");
        }
    }
}
