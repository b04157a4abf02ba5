//! What an administrator says of how many requests one key may make, where that differs from what all keys may (RLM-05).

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use mainstay_domain::{
    KeyId, StoreError, StoreResult, Timestamp, Tx,
    access::{ApiKey, AuditEntry, RateClass, RateOverride},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::KeyView;
use crate::{
    access::{
        Caller,
        idempotency::{Done, Outcome, write},
    },
    http::{
        Problem,
        extract::{Checks, Id, Input},
        text::Name,
    },
    state::App,
    time::Time,
};

/// The most requests in a minute that an override can allow.
const PER_MINUTE_MAX: u32 = 100_000_000;

/// What requests count as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RateClassName {
    /// Looks at something.
    Reads,
    /// Changes something.
    Writes,
    /// Buys something.
    Purchases,
    /// Buys credits.
    CreditPurchases,
    /// Submits jobs or follows events.
    Work,
}

impl From<RateClass> for RateClassName {
    fn from(class: RateClass) -> Self {
        match class {
            RateClass::Reads => Self::Reads,
            RateClass::Writes => Self::Writes,
            RateClass::Purchases => Self::Purchases,
            RateClass::CreditPurchases => Self::CreditPurchases,
            RateClass::Work => Self::Work,
        }
    }
}

impl From<RateClassName> for RateClass {
    fn from(class: RateClassName) -> Self {
        match class {
            RateClassName::Reads => Self::Reads,
            RateClassName::Writes => Self::Writes,
            RateClassName::Purchases => Self::Purchases,
            RateClassName::CreditPurchases => Self::CreditPurchases,
            RateClassName::Work => Self::Work,
        }
    }
}

/// How many requests of a class a key may make.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyLimit {
    /// What is counted.
    class: RateClassName,
    /// How many in a minute, on each node.
    per_minute: u32,
    /// Until when; null: until it is changed.
    until: Option<Time>,
    /// Why.
    reason: String,
    /// Who said so.
    by: String,
    /// When.
    at: Time,
}

impl From<&RateOverride> for KeyLimit {
    fn from(limit: &RateOverride) -> Self {
        Self {
            class: limit.class.into(),
            per_minute: limit.per_minute,
            until: limit.until.map(Into::into),
            reason: limit.reason.clone(),
            by: limit.by.clone(),
            at: limit.at.into(),
        }
    }
}

/// What is to change of a key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyChange {
    /// All that is said of its limits from now on, one word on each class at most; of a class that is left out, what all keys
    /// may make holds.
    #[schema(max_items = 5)]
    limits: Vec<KeyLimitInput>,
}

/// How many requests of a class a key is to be allowed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyLimitInput {
    /// What is counted.
    class: RateClassName,
    /// How many in a minute, on each node.
    #[schema(minimum = 1, maximum = 100_000_000)]
    per_minute: u32,
    /// Until when. Left out: until it is changed.
    until: Option<Time>,
    /// Why, for whoever comes across it.
    #[schema(value_type = Name<200>)]
    reason: String,
}

impl KeyLimitInput {
    /// The word that it is; where the same was said before, who said it and when stay.
    fn said(&self, before: &[RateOverride], by: &str, now: Timestamp) -> RateOverride {
        let new = RateOverride {
            class: self.class.into(),
            per_minute: self.per_minute,
            until: self.until.map(|until| until.0),
            reason: self.reason.clone(),
            by: by.to_owned(),
            at: now,
        };
        let same = |old: &&RateOverride| {
            (old.class, old.per_minute, old.until, &old.reason)
                == (new.class, new.per_minute, new.until, &new.reason)
        };
        before.iter().find(same).cloned().unwrap_or(new)
    }
}

impl KeyChange {
    fn check(&self, now: Timestamp) -> Result<(), Problem> {
        let mut checks = Checks::default();
        for (index, limit) in self.limits.iter().enumerate() {
            let at = |field: &str| format!("/limits/{index}/{field}");
            let earlier = &self.limits[..index];
            let alone = earlier.iter().all(|other| other.class != limit.class);
            checks.ensure(alone, &at("class"), "is in the list already");
            let fits = (1..=PER_MINUTE_MAX).contains(&limit.per_minute);
            checks.ensure(
                fits,
                &at("per_minute"),
                &format!("must be between 1 and {PER_MINUTE_MAX}"),
            );
            let ahead = limit.until.is_none_or(|until| until.0 > now);
            checks.ensure(ahead, &at("until"), "must lie ahead");
            checks.text(&at("reason"), &limit.reason, 200);
        }
        checks.done()
    }
}

/// Change how many requests a key may make
///
/// In the place of what all keys may make (`limits.*` of the configuration), for some time or until it is changed. It holds
/// at once on this node, within seconds on others.
#[utoipa::path(patch, path = "/v1/keys/{id}", tag = "access", params(("id" = String, Path, description = "`key_…`")),
    request_body = KeyChange, responses((status = 200, body = KeyView)))]
pub(super) async fn key_update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<KeyId>,
    input: Input<KeyChange>,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let now = app.clock.now();
    input.value.check(now)?;
    let change = Arc::new(input.value);
    let told = caller.audit(&app, "key.update", id, None, None);
    let reach = caller.clone();
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (change, told, reach) = (Arc::clone(&change), told.clone(), reach.clone());
        Box::pin(async move { carry_out(tx, id, &change, told, &reach, now).await })
    })
    .await;
    app.keys.forget(id);
    done
}

async fn carry_out(
    tx: &mut dyn Tx,
    id: KeyId,
    change: &KeyChange,
    mut told: AuditEntry,
    caller: &Caller,
    now: Timestamp,
) -> StoreResult<Outcome> {
    let Some(key) = tx.key_get(id).await? else {
        return Ok(Err(Problem::not_found("key")));
    };
    if let Err(above) = caller.reaches(key.role) {
        return Ok(Err(above));
    }
    let by = caller.actor();
    let said = change
        .limits
        .iter()
        .map(|limit| limit.said(&key.limits, &by, now));
    let mut limits: Vec<_> = said.collect();
    limits.sort_by_key(|limit| limit.class);
    if !tx.key_limit(id, &key.limits, &limits).await? {
        return Err(StoreError::Conflict { what: "key" });
    }
    told.tenant = key.tenant;
    told.detail = Some(serde_json::json!({ "limits": told_of(&limits) }).to_string());
    tx.audit_insert(&told).await?;
    let key = ApiKey { limits, ..key };
    Done::json(StatusCode::OK, &KeyView::of(&key, now)).map(Ok)
}

/// What the log says of limits: who changed them and when stands in the entry itself.
fn told_of(limits: &[RateOverride]) -> Vec<serde_json::Value> {
    let told = |limit: &RateOverride| {
        serde_json::json!({
            "class": limit.class,
            "per_minute": limit.per_minute,
            "until": limit.until.map(Time::from),
            "reason": limit.reason,
        })
    };
    limits.iter().map(told).collect()
}
