//! Access: who calls, and what the caller may do.
//!
//! A request is either a key's (`Authorization: Bearer msk_…`) or a browser's with a session cookie. What each route
//! under `/v1` needs stands in [`needs`]; a new route is closed until somebody declares it.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use mainstay_domain::{
    KeyId, Scope, StoreExt, TenantId, UserId,
    access::{ApiKey, RateClass, Role},
};

pub(crate) mod audit;
pub(crate) mod export;
pub(crate) mod idempotency;
pub(crate) mod keys;
pub(crate) mod needs;
pub(crate) mod pages;
pub(crate) mod password;
pub(crate) mod rate;
pub(crate) mod reads;
pub(crate) mod seal;
pub(crate) mod session;
pub(crate) mod sign_in;
pub(crate) mod throttle;

use needs::{Kind, Need};
use reads::{InTenant, Look};

use crate::{
    http::{Code, Problem, origin::Origin, proxies::Client},
    limits,
    state::App,
};

/// Who is behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// A person, by session.
    User {
        /// The person.
        id: UserId,
        /// The person's address.
        email: String,
    },
    /// A program, by key.
    Key {
        /// The key.
        id: KeyId,
        /// Its name.
        name: String,
    },
}

/// Who calls, and how far that reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Who.
    pub(crate) who: Who,
    /// What they may do.
    pub(crate) role: Role,
    /// The one tenant that they reach; none: all.
    pub(crate) tenant: Option<TenantId>,
}

impl Caller {
    /// The scope that every transaction for this caller runs in.
    pub(crate) fn scope(&self) -> Scope {
        match self.tenant {
            Some(tenant) => Scope::Tenant(tenant),
            None => Scope::System("api"),
        }
    }

    /// How the audit log and the history of jobs name the caller.
    pub(crate) fn actor(&self) -> String {
        match &self.who {
            Who::User { email, .. } => format!("user:{email}"),
            Who::Key { name, .. } => format!("key:{name}"),
        }
    }

    /// What an `Idempotency-Key` belongs to.
    pub(crate) fn id(&self) -> String {
        match &self.who {
            Who::User { id, .. } => id.to_string(),
            Who::Key { id, .. } => id.to_string(),
        }
    }

    /// A tenant that stands in the request, if the caller reaches it (SEC-06); else the caller's own, if there is one.
    pub(crate) fn admit(&self, asked: Option<TenantId>) -> Result<Option<TenantId>, Problem> {
        match (self.tenant, asked) {
            (Some(own), Some(asked)) if own != asked => Err(outside("this tenant")),
            (own, asked) => Ok(asked.or(own)),
        }
    }

    /// Refuses to give a role that is above the caller's own, or to touch somebody who has one.
    pub(crate) fn reaches(&self, role: Role) -> Result<(), Problem> {
        if role <= self.role {
            return Ok(());
        }
        Err(Problem::new(
            Code::RoleForbidden,
            format!("the role {} is above yours", role.as_str()),
        ))
    }

    /// Refuses callers that are bound to one tenant: what follows is about the whole installation.
    pub(crate) fn everywhere(&self) -> Result<(), Problem> {
        match self.tenant {
            Some(_) => Err(outside("this route")),
            None => Ok(()),
        }
    }
}

fn outside(what: &str) -> Problem {
    Problem::new(
        Code::TenantForbidden,
        format!("the key is bound to one tenant, and {what} is outside of it"),
    )
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        // Put there by `guard`; a route outside of it has no caller and must not ask for one.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(unauthenticated)
    }
}

/// Lets a request under `/v1` through, or not.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let need = path.and_then(|path| needs::of(request.method(), path.as_str()));
    if need.is_some_and(|need| need.role.is_none()) {
        return next.run(request).await;
    }
    let client = request.extensions().get::<Client>().copied();
    let headers = request.headers().clone();
    match authenticate(&app, &headers, client).await {
        Ok(known) => {
            let write = !request.method().is_safe();
            let class = need.map_or(RateClass::Writes, |need| need.class);
            let quota = rate::quota(&known, class, &app.limits.requests, app.clock.now());
            let standing = app.rate.count(&known.caller.id(), quota);
            let allowed = standing.admit().and_then(|()| known.may(write, need));
            let mut response = match allowed {
                Ok(need) => pass(&app, need, known.caller, request, next).await,
                Err(problem) => problem.into_response(),
            };
            standing.tell(response.headers_mut());
            response
        }
        Err(problem) => problem.into_response(),
    }
}

/// Runs the request. What looks at what came in or went out is answered once the audit log says so.
async fn pass(
    app: &Arc<App>,
    need: Need,
    caller: Caller,
    mut request: Request,
    next: Next,
) -> Response {
    let (own, look) = match need.kind {
        Kind::Read(action) => {
            let path = request.extensions().get::<MatchedPath>();
            let look = Look::new(&caller, action, path, request.uri());
            (caller.tenant, Some(look))
        }
        Kind::Look | Kind::Change | Kind::Ask => (None, None),
    };
    request.extensions_mut().insert(caller);
    let response = next.run(request).await;
    let Some(look) = look.filter(|_| response.status().is_success()) else {
        return response;
    };
    let found = response.extensions().get::<InTenant>();
    let tenant = found.map(|found| found.0).or(own);
    match app.reads.note(app, look, tenant).await {
        Ok(()) => response,
        Err(problem) => problem.into_response(),
    }
}

/// A caller, and by what we know them.
pub(crate) struct Known {
    /// The caller.
    pub(crate) caller: Caller,
    /// For a browser: which page caused the request.
    pub(crate) origin: Option<Origin>,
    /// For a program: its key.
    key: Option<Arc<ApiKey>>,
}

impl Known {
    /// What the route needs, if the caller has it.
    fn may(&self, write: bool, need: Option<Need>) -> Result<Need, Problem> {
        if write && self.origin.is_some_and(|origin| origin != Origin::Own) {
            return Err(Problem::new(
                Code::OriginForbidden,
                "a write with a session must come from one of our own pages; programs use an API key",
            ));
        }
        let Some(need) = need else {
            tracing::error!("a route is closed because nobody declared who may call it");
            return Err(Problem::new(
                Code::RoleForbidden,
                "this route is open to nobody",
            ));
        };
        match need.role {
            Some(least) if self.caller.role < least => Err(Problem::new(
                Code::RoleForbidden,
                format!(
                    "this takes the role {}, and yours is {}",
                    least.as_str(),
                    self.caller.role.as_str()
                ),
            )),
            _ => Ok(need),
        }
    }
}

/// What somebody showed who is answered for longer than a moment: to be looked at again meanwhile.
pub(crate) struct Shown(HeaderMap);

impl Shown {
    /// What a request showed.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut shown = HeaderMap::new();
        for name in [header::AUTHORIZATION, header::COOKIE] {
            for value in headers.get_all(&name) {
                shown.append(name.clone(), value.clone());
            }
        }
        Self(shown)
    }

    /// Whether it still makes this caller, with the same role and reach. While the database cannot be asked, it does.
    pub(crate) async fn holds(&self, app: &App, caller: &Caller) -> bool {
        match authenticate(app, &self.0, None).await {
            Ok(known) => known.caller == *caller,
            Err(problem) => problem.code() != Code::Unauthenticated,
        }
    }
}

/// Finds out who calls.
pub(crate) async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    client: Option<Client>,
) -> Result<Known, Problem> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let key = by_key(app, value.to_str().unwrap_or_default()).await?;
        return Ok(Known {
            caller: caller_of(&key),
            origin: None,
            key: Some(key),
        });
    }
    let caller = by_session(app, headers).await?;
    let proxied = client.is_some_and(|client| client.proxied);
    let origin = Origin::of(headers, app.public_url.as_deref(), proxied);
    Ok(Known {
        caller,
        origin: Some(origin),
        key: None,
    })
}

fn unauthenticated() -> Problem {
    Problem::new(
        Code::Unauthenticated,
        "send an API key as 'Authorization: Bearer msk_…', or sign in",
    )
}

async fn by_key(app: &App, value: &str) -> Result<Arc<ApiKey>, Problem> {
    let refused = || {
        Problem::new(
            Code::Unauthenticated,
            "the API key is unknown, has ended, or is not a key",
        )
    };
    let (scheme, token) = value.split_once(' ').ok_or_else(refused)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(refused());
    }
    app.keys.find(app, token.trim()).await?.ok_or_else(refused)
}

fn caller_of(key: &ApiKey) -> Caller {
    Caller {
        who: Who::Key {
            id: key.id,
            name: key.name.clone(),
        },
        role: key.role,
        tenant: key.tenant,
    }
}

async fn by_session(app: &App, headers: &HeaderMap) -> Result<Caller, Problem> {
    let token = session::from_cookie(headers, app.secure).ok_or_else(unauthenticated)?;
    let (digest, now) = (keys::digest(&token), app.clock.now());
    let found = app
        .store
        .read(Scope::System("session"), move |tx| {
            Box::pin(async move { tx.session_get(&digest, now).await })
        })
        .await?;
    let (_, user) = found.ok_or_else(unauthenticated)?;
    if user
        .last_seen_at
        .is_none_or(|seen| now.ms_since(seen) >= limits::TOUCH_MS)
    {
        touch_user(app, user.id).await;
    }
    Ok(Caller {
        who: Who::User {
            id: user.id,
            email: user.email,
        },
        role: user.role,
        tenant: None,
    })
}

/// A note for people; a request does not fail for want of it.
async fn touch_user(app: &App, id: UserId) {
    let now = app.clock.now();
    let touched = app
        .store
        .transact(Scope::System("session"), move |tx| {
            Box::pin(async move { tx.user_touch(id, now).await })
        })
        .await;
    if let Err(error) = touched {
        tracing::debug!(%error, "when a user was last here could not be noted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn caller(role: Role, tenant: Option<TenantId>) -> Caller {
        Caller {
            who: Who::Key {
                id: KeyId::NIL,
                name: "deploy".into(),
            },
            role,
            tenant,
        }
    }

    fn known(role: Role, origin: Option<Origin>) -> Known {
        Known {
            caller: caller(role, None),
            origin,
            key: None,
        }
    }

    fn need(role: Role) -> Option<Need> {
        Some(Need {
            role: Some(role),
            kind: Kind::Change,
            class: RateClass::Writes,
        })
    }

    #[test]
    fn each_role_may_do_what_it_needs_and_what_those_below_may() {
        for least in Role::ALL {
            for role in Role::ALL {
                let allowed = known(role, None).may(true, need(least));
                assert_eq!(allowed.is_ok(), role >= least, "{role:?} {least:?}");
                if let Err(refused) = allowed {
                    assert_eq!(refused.code(), Code::RoleForbidden);
                }
                assert_eq!(caller(role, None).reaches(least).is_ok(), role >= least);
            }
        }
    }

    #[test]
    fn a_route_that_nobody_declared_is_closed_to_the_owner_too() {
        for write in [false, true] {
            let refused = known(Role::Owner, None).may(write, None);
            assert_eq!(refused.expect_err("closed").code(), Code::RoleForbidden);
        }
    }

    #[test]
    fn a_session_writes_only_from_our_own_pages() {
        assert!(
            known(Role::Owner, Some(Origin::Own))
                .may(true, need(Role::Owner))
                .is_ok()
        );
        for origin in [Origin::Foreign, Origin::Silent] {
            let refused = known(Role::Owner, Some(origin))
                .may(true, need(Role::Viewer))
                .expect_err("another page");
            assert_eq!(refused.code(), Code::OriginForbidden);
            assert!(
                known(Role::Owner, Some(origin))
                    .may(false, need(Role::Viewer))
                    .is_ok()
            );
        }
    }

    #[test]
    fn a_bound_key_reaches_its_own_tenant_only() {
        let own = TenantId::from_uuid(Uuid::from_u128(1));
        let other = TenantId::from_uuid(Uuid::from_u128(2));
        let bound = caller(Role::Owner, Some(own));
        assert_eq!(bound.admit(None), Ok(Some(own)));
        assert_eq!(bound.admit(Some(own)), Ok(Some(own)));
        assert_eq!(
            bound.admit(Some(other)).expect_err("outside").code(),
            Code::TenantForbidden
        );
        assert_eq!(
            bound.everywhere().expect_err("bound").code(),
            Code::TenantForbidden
        );
        assert_eq!(bound.scope(), Scope::Tenant(own));
        let free = caller(Role::Owner, None);
        assert_eq!(free.admit(Some(other)), Ok(Some(other)));
        assert_eq!(free.admit(None), Ok(None));
        assert!(free.everywhere().is_ok());
    }
}
