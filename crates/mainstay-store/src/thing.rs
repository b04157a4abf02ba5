//! Tables and what a person calls a row of them: for errors about conflicts and references.

const THINGS: &[(&str, &str)] = &[
    ("api_key", "key"),
    ("app_user", "user"),
    ("attempt", "attempt"),
    ("attempt_start", "attempt"),
    ("billing_event", "billing event"),
    ("binding", "binding"),
    ("breaker", "breaker"),
    ("checkpoint", "checkpoint"),
    ("data_key", "data key"),
    ("dead_letter", "dead letter"),
    ("dedup", "event"),
    ("endpoint", "endpoint"),
    ("event", "event"),
    ("event_conflict", "conflict"),
    ("event_new", "event"),
    ("event_schema", "schema"),
    ("event_shape", "shape"),
    ("event_violation", "violation"),
    ("event_waiting", "waiting event"),
    ("expectation", "expected event"),
    ("expectation_met", "expected event"),
    ("expectation_tally", "expected event"),
    ("idempotency", "idempotency key"),
    ("job", "job"),
    ("line", "line"),
    ("line_job", "line"),
    ("object_event", "index"),
    ("object_index", "index"),
    ("object_kind", "index"),
    ("object_mention", "index"),
    ("object_note", "index"),
    ("object_source", "index"),
    ("queue", "queue"),
    ("queue_rule", "queue"),
    ("receipt", "receipt"),
    ("replay", "replay"),
    ("rhythm_clock", "rhythm"),
    ("rhythm_counted", "rhythm"),
    ("rhythm_hour", "rhythm"),
    ("rhythm_signal", "signal"),
    ("rhythm_type", "rhythm"),
    ("session", "session"),
    ("source", "source"),
    ("source_drift", "finding"),
    ("source_known", "source"),
    ("source_link", "link"),
    ("source_secret", "secret"),
    ("tally", "tally record"),
    ("tenant", "tenant"),
    ("user", "user"),
];

/// What a row of this table is called.
pub(crate) fn thing(table: &str) -> &'static str {
    THINGS
        .iter()
        .find(|(name, _)| *name == table)
        .map_or("row", |(_, thing)| thing)
}
