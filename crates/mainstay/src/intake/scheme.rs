//! From a source's settings to a scheme with its keys prepared, and from a request to the events that it brings.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use mainstay_domain::{
    Timestamp,
    intake::{
        Source,
        scheme::{
            CertificateNeeded, Diagnosis, Payload, PreparedScheme, Request, Route, Scheme, Secret,
            challenge as answer_challenge, diagnose as diagnose_request,
        },
        settings::{SettingProblem, SourceSettings},
    },
};

pub(crate) use mainstay_domain::intake::scheme::Refusal;

use super::{Answer, Door, Inbound};

/// A verified request.
pub(crate) struct Accepted {
    /// Which of the source's secrets matched, newest first.
    pub(crate) secret_index: usize,
    /// What it brings: none to many.
    pub(crate) events: Vec<Found>,
}

/// One event that a request brings.
pub(crate) struct Found {
    pub(crate) provider_id: String,
    pub(crate) kind: String,
    pub(crate) occurred_at: Option<Timestamp>,
    pub(crate) dedup_keys: Vec<[u8; 16]>,
    pub(crate) payload: Bytes,
}

/// Checks a source before it is stored: its scheme, its settings and each of its secrets.
pub fn check_source(
    scheme: &str,
    settings: &SourceSettings,
    secrets: &[&str],
) -> Result<(), SettingProblem> {
    settings.check()?;
    let scheme = Scheme::from_settings(scheme, settings)?;
    secrets
        .iter()
        .try_for_each(|secret| scheme.check_secret(&Secret::from(*secret)))
}

pub(super) fn prepare(
    source: &Source,
    settings: &SourceSettings,
) -> Result<PreparedScheme, String> {
    let scheme = Scheme::from_settings(&source.scheme, settings);
    let secrets: Vec<Secret> = source
        .secrets
        .iter()
        .map(|one| Secret::from(one.secret.as_str()))
        .collect();
    scheme
        .and_then(|scheme| PreparedScheme::new(scheme, &secrets))
        .and_then(|prepared| Ok(prepared.allowing(settings.ranges()?)))
        .map_err(|problem| problem.to_string())
}

/// The certificate that a request wants to be judged by, where the source's scheme goes by one.
pub(super) fn certificate_needed<'a>(
    door: &Door,
    inbound: &'a Inbound,
    now: Timestamp,
) -> Result<Option<CertificateNeeded<'a>>, Refusal> {
    match &door.scheme {
        Some(scheme) => scheme.certificate_needed(&request(inbound, "", now)),
        None => Ok(None),
    }
}

pub(super) fn verify(
    door: &Door,
    inbound: &Inbound,
    now: Timestamp,
    certificate: Option<&[u8]>,
) -> Result<Accepted, Refusal> {
    let Some(scheme) = &door.scheme else {
        return Err(Refusal::SecretMissing);
    };
    let url = url(door, inbound);
    let mut request = request(inbound, &url, now);
    request.route.certificate = certificate;
    let verified = scheme.verify(door.settings.tolerance_secs, &request)?;
    Ok(Accepted {
        secret_index: verified.secret_index,
        events: found(scheme, inbound, &request)?,
    })
}

/// What a request brings that was verified before.
pub(super) fn extract(door: &Door, inbound: &Inbound) -> Result<Vec<Found>, Refusal> {
    let Some(scheme) = &door.scheme else {
        return Err(Refusal::SecretMissing);
    };
    found(scheme, inbound, &request(inbound, "", inbound.received_at))
}

fn found(
    scheme: &PreparedScheme,
    inbound: &Inbound,
    request: &Request<'_>,
) -> Result<Vec<Found>, Refusal> {
    let found = scheme.extract(request)?.into_iter().map(|one| Found {
        provider_id: one.provider_id,
        kind: one.kind,
        occurred_at: one.occurred_at_micros.map(Timestamp::from_micros),
        dedup_keys: one.dedup_keys,
        payload: match one.payload {
            Payload::Body => inbound.body.clone(),
            Payload::Part(part) => part.into(),
        },
    });
    Ok(found.collect())
}

/// Why the door would refuse a request, judged by the clock of the time when it came.
pub(super) fn diagnose(door: &Door, inbound: &Inbound, others: &[Arc<Door>]) -> Option<Diagnosis> {
    let scheme = door.scheme.as_ref()?;
    let secrets: Vec<Secret> = door
        .source
        .secrets
        .iter()
        .map(|one| Secret::from(one.secret.as_str()))
        .collect();
    let others: Vec<&PreparedScheme> = others
        .iter()
        .filter_map(|other| other.scheme.as_ref())
        .collect();
    let url = url(door, inbound);
    Some(diagnose_request(
        scheme,
        &secrets,
        door.settings.tolerance_secs,
        &request(inbound, &url, inbound.received_at),
        &others,
    ))
}

/// What a verified request is answered with that only asks whether the URL is ours.
pub(super) fn challenge_answer(door: &Door, inbound: &Inbound, now: Timestamp) -> Option<Answer> {
    let challenge = door
        .scheme
        .as_ref()?
        .challenge(&request(inbound, "", now))?;
    Some(Answer::challenge(&challenge))
}

fn request<'a>(inbound: &'a Inbound, url: &'a str, now: Timestamp) -> Request<'a> {
    Request {
        headers: &inbound.headers,
        body: &inbound.body,
        now_secs: now.secs(),
        route: Route {
            url,
            remote: inbound.remote.parse().ok(),
            certificate: None,
        },
    }
}

/// The URL as the provider has it: what the source was told, with the query that came.
fn url<'a>(door: &Door, inbound: &'a Inbound) -> Cow<'a, str> {
    let Some(told) = &door.settings.url else {
        return Cow::Borrowed(&inbound.url);
    };
    let query = inbound.url.find('?').map_or("", |at| &inbound.url[at..]);
    Cow::Owned(format!("{told}{query}"))
}

pub(super) fn challenge(door: &Door, query: &[(String, String)]) -> Answer {
    let Some(Scheme::Meta { verify_token }) = door.scheme.as_ref().map(PreparedScheme::scheme)
    else {
        return Answer::no_challenge();
    };
    match answer_challenge(verify_token.as_ref(), query) {
        Ok(text) => Answer::challenge(&text),
        Err(refusal) => Answer::refused(&refusal),
    }
}
