//! What is declared of an endpoint: checked, and applied to what there is.

use std::collections::BTreeMap;

use mainstay_domain::{
    TenantId, Timestamp,
    jobs::{
        Endpoint,
        breaker::{DEPENDENCY_MAX, Dependency},
        headers,
        http_out::OutError,
        settings::{EndpointSettings, SettingError},
    },
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::{BreakerSettings, SigningName, settings_of};
use crate::{
    api::retry::Retry,
    http::{Problem, extract::Checks, text::Name},
    outbound::url_parse,
};

/// How long a URL may be.
const URL_MAX: usize = 2_048;

/// Headers to set or to remove. Its values stand in no log.
#[derive(Clone, Deserialize)]
pub(crate) struct HeaderChanges(BTreeMap<String, Option<String>>);

impl std::fmt::Debug for HeaderChanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// An endpoint to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEndpoint {
    /// Unique in the tenant.
    #[schema(value_type = Name<100>)]
    name: String,
    /// `http` or `https`. Private addresses are refused unless an administrator allows them.
    #[schema(max_length = 2048, format = "uri")]
    url: String,
    /// Whose it is. Left out: the key's tenant, else the default one.
    #[schema(value_type = Option<String>, pattern = "^ten_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    pub(super) tenant_id: Option<TenantId>,
    signing: Option<SigningName>,
    #[schema(minimum = 100, maximum = 60000)]
    connect_timeout_ms: Option<u64>,
    #[schema(minimum = 100, maximum = 120000)]
    timeout_ms: Option<u64>,
    #[schema(minimum = 1, maximum = 1000)]
    max_in_flight: Option<u32>,
    retry: Option<Retry>,
    breaker_settings: Option<BreakerSettings>,
    /// Headers to add to each request, 16 at the most. Their values are treated as secrets.
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    headers: Option<HeaderChanges>,
}

/// What is to change.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointChange {
    #[schema(value_type = Option<Name<100>>)]
    pub(in crate::api) name: Option<String>,
    #[schema(max_length = 2048, format = "uri")]
    pub(in crate::api) url: Option<String>,
    enabled: Option<bool>,
    signing: Option<SigningName>,
    #[schema(minimum = 100, maximum = 60000)]
    connect_timeout_ms: Option<u64>,
    #[schema(minimum = 100, maximum = 120000)]
    timeout_ms: Option<u64>,
    #[schema(minimum = 1, maximum = 1000)]
    max_in_flight: Option<u32>,
    retry: Option<Retry>,
    breaker_settings: Option<BreakerSettings>,
    /// Headers to set, or with null to remove; those that are not named stay.
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub(in crate::api) headers: Option<HeaderChanges>,
}

impl From<NewEndpoint> for EndpointChange {
    fn from(new: NewEndpoint) -> Self {
        Self {
            name: Some(new.name),
            url: Some(new.url),
            enabled: None,
            signing: new.signing,
            connect_timeout_ms: new.connect_timeout_ms,
            timeout_ms: new.timeout_ms,
            max_in_flight: new.max_in_flight,
            retry: new.retry,
            breaker_settings: new.breaker_settings,
            headers: new.headers,
        }
    }
}

impl EndpointChange {
    /// What can be said without the endpoint.
    pub(in crate::api) fn check(&self) -> Result<(), Problem> {
        let mut checks = Checks::default();
        if let Some(name) = &self.name {
            checks.text("/name", name, 100);
        }
        if let Some(url) = &self.url {
            check_url(&mut checks, "/url", url);
        }
        checks.done()?;
        if let Some(retry) = &self.retry {
            retry.policy("/retry")?;
        }
        self.headers(&BTreeMap::new())?;
        self.settings(EndpointSettings::default()).map(drop)
    }

    fn headers(
        &self,
        known: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Problem> {
        let Some(HeaderChanges(changes)) = &self.headers else {
            return Ok(known.clone());
        };
        headers::change(known, changes).map_err(|(name, error)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            Problem::field(format!("/headers/{name}"), error.to_string())
        })
    }

    fn settings(&self, known: EndpointSettings) -> Result<EndpointSettings, Problem> {
        let settings = EndpointSettings {
            signing: self.signing.map_or(known.signing, Into::into),
            connect_timeout_ms: self.connect_timeout_ms.unwrap_or(known.connect_timeout_ms),
            timeout_ms: self.timeout_ms.unwrap_or(known.timeout_ms),
            max_in_flight: self.max_in_flight.unwrap_or(known.max_in_flight),
            retry: match &self.retry {
                Some(retry) => retry.policy("/retry")?,
                None => known.retry,
            },
            breaker: match &self.breaker_settings {
                Some(settings) => settings.into(),
                None => known.breaker,
            },
            dependency: match &self.breaker_settings {
                Some(settings) => settings.dependency.clone(),
                None => known.dependency,
            },
        };
        settings.check().map_err(|error| outside(&error))?;
        if let Some(name) = &settings.dependency
            && !Dependency::may_be_named(name)
        {
            return Err(Problem::field(
                "/breaker_settings/dependency",
                format!("must be 1 to {DEPENDENCY_MAX} letters in lower case, digits, - or ."),
            ));
        }
        Ok(settings)
    }

    /// The endpoint as it is to be.
    pub(in crate::api) fn apply(
        &self,
        known: Endpoint,
        now: Timestamp,
    ) -> Result<Endpoint, Problem> {
        let settings = self.settings(settings_of(&known))?;
        Ok(Endpoint {
            headers: self.headers(&known.headers)?,
            name: self.name.clone().unwrap_or(known.name),
            url: self.url.clone().unwrap_or(known.url),
            enabled: self.enabled.unwrap_or(known.enabled),
            settings: serde_json::to_string(&settings).map_err(Problem::internal)?,
            updated_at: now,
            ..known
        })
    }
}

fn outside(error: &SettingError) -> Problem {
    let field = error
        .field
        .replacen("breaker.", "breaker_settings/", 1)
        .replace('.', "/");
    Problem::field(
        format!("/{field}"),
        format!("must be between {} and {}", error.min, error.max),
    )
}

/// What a delivery could never be sent to is refused when it is declared, by the deliveries' own rule. Beyond it, a URL is
/// taken only as it will be used: the rule overlooks white space around a URL and drops a fragment.
fn check_url(checks: &mut Checks, pointer: &str, text: &str) {
    checks.ensure(
        text.chars().count() <= URL_MAX,
        pointer,
        &format!("must have at most {URL_MAX} characters"),
    );
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        checks.fail(pointer, "has white space or control characters in it");
    } else if text.contains('#') {
        checks.fail(pointer, "has a fragment, which no request carries");
    } else {
        match url_parse(text) {
            Ok(_) => {}
            Err(OutError::Url(reason)) => {
                checks.fail(pointer, format!("cannot be pushed to: {reason}"));
            }
            Err(error) => checks.fail(pointer, format!("cannot be pushed to: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_one_that_can_be_pushed_to() {
        let passes = |text: &str| {
            let mut checks = Checks::default();
            check_url(&mut checks, "/url", text);
            checks.done().is_ok()
        };
        assert!(passes("https://api.example.com/hooks?x=1") && passes("http://127.0.0.1:3000/"));
        for wrong in [
            "",
            "example.com",
            "ftp://a/",
            "https://",
            "https://u:p@a/",
            "https://a/#x",
            "https://a/ b",
            "file:///etc",
        ] {
            assert!(!passes(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_change_out_of_bounds_is_pointed_at() {
        let change = EndpointChange {
            timeout_ms: Some(1),
            ..EndpointChange::default()
        };
        let problem = change.check().expect_err("too short");
        assert_eq!(problem.body().errors[0].pointer, "/timeout_ms");
        let settings = BreakerSettings {
            failures_to_open: 0,
            ..BreakerSettings::default()
        };
        let change = EndpointChange {
            breaker_settings: Some(settings),
            ..EndpointChange::default()
        };
        assert_eq!(
            change.check().expect_err("none").body().errors[0].pointer,
            "/breaker_settings/failures_to_open"
        );
    }

    fn refusal(url: &str) -> Option<String> {
        let mut checks = Checks::default();
        check_url(&mut checks, "/url", url);
        checks
            .done()
            .err()
            .map(|problem| problem.detail().to_owned())
    }

    #[test]
    fn a_url_that_nothing_could_be_sent_to_is_refused_when_it_is_declared() {
        for usable in [
            "https://example.com/hooks?a=b",
            "http://127.0.0.1:9/",
            "http://[::1]:80",
        ] {
            assert_eq!(refusal(usable), None, "{usable}");
        }
        for (wrong, why) in [
            ("", "cannot be pushed to"),
            ("ftp://example.com/", "must begin with http:// or https://"),
            ("https://anna:secret@example.com/", "carries credentials"),
            ("http://example.com:0/", "port 0"),
            ("http://", "cannot be pushed to"),
            (" http://example.com/", "white space"),
            ("http://example.com/#top", "fragment"),
            (
                &format!("http://example.com/{}", "a".repeat(2_048)),
                "at most 2048",
            ),
        ] {
            let refusal = refusal(wrong).unwrap_or_default();
            assert!(refusal.contains(why), "{wrong}: {refusal}");
            assert!(!refusal.contains("secret"), "{refusal}");
        }
    }
}
