//! By when a job must have begun, as it is asked for.

use mainstay_domain::Timestamp;

use crate::{http::extract::Checks, time::Time};

/// The longest time that a job may be given, in seconds.
pub(crate) const EXPIRES_SECS_MAX: i64 = 365 * 24 * 60 * 60;

/// The deadline of a job that is submitted now, as a time or as a span; `place` says where a field stands in the request.
pub(super) fn deadline(
    (deadline, expires_in_secs): (Option<Time>, Option<i64>),
    run_at: Option<Time>,
    now: Timestamp,
    checks: &mut Checks,
    place: impl Fn(&str) -> String,
) -> Option<Timestamp> {
    let secs = |secs: &i64| (1..=EXPIRES_SECS_MAX).contains(secs);
    checks.ensure(
        expires_in_secs.as_ref().is_none_or(secs),
        &place("expires_in_secs"),
        &format!("must be between 1 and {EXPIRES_SECS_MAX}"),
    );
    checks.ensure(
        deadline.is_none() || expires_in_secs.is_none(),
        &place("expires_in_secs"),
        "cannot be given with a deadline: they say the same",
    );
    let span = expires_in_secs.map(|secs| now.plus_ms(secs.saturating_mul(1_000)));
    let at = deadline.map(|time| time.0).or(span)?;
    let named = match deadline {
        Some(_) => "deadline",
        None => "expires_in_secs",
    };
    checks.ensure(at > now, &place(named), "has passed already");
    let begins = run_at.map_or(now, |time| time.0);
    checks.ensure(
        at > begins || at <= now,
        &place(named),
        "comes before run_at: the job could never begin",
    );
    Some(at)
}
