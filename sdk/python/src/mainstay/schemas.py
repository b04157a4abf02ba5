"""The types of the API. Made of the API's document by generate.py: not written by hand."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypedDict


class Acknowledged(TypedDict):
    """What became of an acknowledgement."""

    # Findings that nobody had acknowledged before.
    acknowledged: int


class Acknowledgement(TypedDict, total=False):
    """Which findings were seen."""

    # Exactly these. Left out: all that nobody has acknowledged yet.
    ids: list[DriftId] | None


class ApprovalInput(TypedDict, total=False):
    """That a person is asked."""

    # How long they are waited for; then it counts as rejected. Left out: for ever.
    deadline_secs: int | None


class _Attempt(TypedDict):
    attempt: int
    outcome: Outcome
    started_at: Time


class Attempt(_Attempt, total=False):
    """One try of a job."""

    # The person behind it, or the worker that gave the job back.
    by: str | None
    # What kind of failure.
    category: str | None
    # Its stable code.
    code: str | None
    duration_ms: int | None
    # What went wrong.
    error: str | None
    finished_at: Time | None
    next_attempt_at: Time | None
    # How far it is, or was when it was last said.
    progress: Progress | None
    request: SentRequest | None
    # The beginning of the answer.
    response_excerpt: str | None
    # What came of it, as its worker said.
    result: Any
    # The HTTP status of the answer.
    status: int | None
    # The worker that has it or had it.
    worker: str | None


class _AuditChain(TypedDict):
    # The end of the whole chain.
    head: AuditHead
    # Entries in the order of the chain.
    items: list[SealedEntry]
    # The hash of the entry that it begins behind, in hexadecimal.
    previous: str


class AuditChain(_AuditChain, total=False):
    """A part of the chain."""

    # What to pass as `after` for what follows; null at the end.
    next_after: int | None


class _AuditEntry(TypedDict):
    # What: area and verb.
    action: str
    # Who: `user:anna@example.com`, `key:deploy`, `database:…` for what was done by hand.
    actor: str
    at: Time
    id: str
    # To what.
    subject: str


class AuditEntry(_AuditEntry, total=False):
    """Something that somebody did."""

    # More, without secrets.
    detail: Any
    # Its place in the chain; null for a moment, until it has one.
    position: int | None
    tenant_id: str | None


class _AuditHead(TypedDict):
    # The hash of the last one, in hexadecimal. Who keeps it elsewhere can prove what stood in front of it.
    hash: str
    # How many entries there are in it.
    position: int


class AuditHead(_AuditHead, total=False):
    """Where a chain ends."""

    # When it was sealed; null while there is none.
    sealed_at: Time | None


class Backlog(TypedDict):
    """Jobs that have not ended."""

    retrying: int
    running: int
    scheduled: int
    waiting: int


class BearerRule(TypedDict, total=False):
    """Where the token of the scheme `bearer` stands."""

    # The header.
    header: str
    # What stands before the token. Left out: `Bearer ` in the header `Authorization`, nothing in any other.
    prefix: str | None


class _BeatInput(TypedDict):
    # Of the attempt that was handed out with it.
    token: str


class BeatInput(_BeatInput, total=False):
    """A sign of life."""

    # How far it is. Left out: as far as before.
    progress: Progress | None


class BeatView(TypedDict):
    """How an attempt stands."""

    state: HandState
    token: str


class _Binding(TypedDict):
    created_at: Time
    enabled: bool
    # Events of the last 24 hours that the filter could not be evaluated for; they were taken as not matching.
    filter_failed: int
    handler: HandlerRef
    id: str
    name: str
    source_id: str
    source_name: str
    tenant_id: str
    # Exact types, `prefix.*` or `*`, several separated by commas.
    type_pattern: str


class Binding(_Binding, total=False):
    """A rule that turns events into jobs."""

    # What events of these types must say: an expression; null: they need not say anything.
    filter: str | None
    # The order that its jobs keep; null: they run beside one another.
    ordering: Ordering | None


class BindingChange(TypedDict, total=False):
    """What is to change."""

    enabled: bool | None
    # Empty: no filter any more.
    filter: str | None
    handler: NewHandler | None
    name: Name100 | None
    # With an empty key: no order any more. Of jobs that are made from then on.
    ordering: Ordering | None
    type_pattern: str | None


class _Breaker(TypedDict):
    # What it stands before: the name that the settings say, or the endpoint's own id.
    dependency: str
    # Consecutive failures.
    failures: int
    # Whether a person holds it there.
    forced: bool
    state: BreakerState


class Breaker(_Breaker, total=False):
    """The circuit breaker of what an endpoint depends on."""

    last_error: str | None
    opened_at: Time | None
    # When probes are due.
    probe_at: Time | None


_BreakerChangeNeededWords = TypedDict("_BreakerChangeNeededWords", {"from": "BreakerState"})


class _BreakerChange(_BreakerChangeNeededWords):
    at: Time
    # Of how many calls, where it is a share of them.
    calls: int
    # What the rule counted: failures, slow calls, successes.
    count: int
    id: str
    to: BreakerState
    why: BreakerWhy


class BreakerChange(_BreakerChange, total=False):
    """A change of a breaker's state."""

    # Who did it, where a person did.
    by: str | None
    # What the last failure said.
    error: str | None
    reason: str | None
    # Until when a person holds it.
    until: Time | None


class BreakerClosing(TypedDict):
    """A breaker that is to be held closed."""

    # Why: shown beside it and in its history.
    reason: str
    # Until when, a week from now at the latest.
    until: Time


class BreakerEndpoint(TypedDict):
    """An endpoint behind a breaker."""

    id: str
    name: str


class _BreakerForced(TypedDict):
    at: Time
    by: str
    reason: str


class BreakerForced(_BreakerForced, total=False):
    """What a person said of a breaker."""

    # Until when; null: until somebody says otherwise.
    until: Time | None


class _BreakerOpening(TypedDict):
    # Why: shown beside it and in its history.
    reason: str


class BreakerOpening(_BreakerOpening, total=False):
    """A breaker that is to be held open."""

    # Until when. Left out: until somebody says otherwise.
    until: Time | None


class BreakerSettings(TypedDict, total=False):
    """When an endpoint's breaker opens, and how it closes again."""

    # No share opens it before there were so many calls in the window.
    calls_min: int
    # What it stands before: endpoints of one tenant that name the same share the breaker, and the settings of the one
    # that was made first. Left out: the endpoint has a breaker of its own.
    dependency: str | None
    # The share of the calls in the window that opens it when they failed, in percent. Left out: no share does.
    failed_percent: int | None
    # Consecutive failures that open it.
    failures_to_open: int
    # No pause is longer than this, in milliseconds.
    pause_max_ms: int
    # The first pause before probes, in milliseconds; it doubles each time that one fails.
    pause_ms: int
    # So many probes may be under way at a time, in the whole cluster, and so many must succeed.
    probes: int
    # A call that takes longer is slow, in milliseconds. Left out: none is.
    slow_ms: int | None
    # The share of the calls in the window that opens it when they were slow, in percent.
    slow_percent: int
    # What becomes of jobs that could begin while it is open by its own rule.
    when_open: WhenOpen
    # The window of the shares, in milliseconds.
    window_ms: int

# Where a breaker stands, by its own rule or since a person holds it there.
BreakerState: TypeAlias = Literal["closed", "open", "half_open"]

# Why a breaker changed.
BreakerWhy: TypeAlias = Literal["failures", "failed_share", "slow_share", "pause_over", "probe_failed", "probe_slow", "probes_succeeded", "forced_open", "forced_closed", "automatic", "forced_over"]


class BulkInput(TypedDict):
    """Jobs to submit."""

    jobs: list[NewJobInput]


class BulkView(TypedDict):
    """The jobs that were submitted."""

    # In the order in which they were given.
    items: list[SubmittedJob]


class CancelInput(TypedDict, total=False):
    """Why a job is stopped."""

    reason: Name500 | None


class CancelRunInput(TypedDict, total=False):
    """Why a run is taken back."""

    reason: Name500 | None

# What kind of failure it was.
Category: TypeAlias = Literal["network", "timeout", "rate_limited", "validation", "auth", "conflict", "database", "provider", "bug", "unknown"]


class Change(TypedDict):
    """Things that changed."""

    # At most 20 of them.
    ids: list[str]
    # What they are.
    kind: ChangeKind
    # Whether there are more, or it is not known which.
    more: bool

# What can change.
ChangeKind: TypeAlias = Literal["event", "job", "dead_letter", "endpoint", "source", "binding", "schedule", "saga", "saga_run", "queue"]


class _Check(TypedDict):
    status: Status


class Check(_Check, total=False):
    """How one part is."""

    # Jobs that wait; for the spool, requests.
    depth: int
    # How long the part took to answer.
    latency_ms: int
    # How long the oldest job that could be started has been waiting.
    oldest_waiting_secs: int
    # Whether this node runs the engine; others stand by.
    owner: bool
    # Why it is not healthy, where that is not plain.
    reason: str


class ClockChangeView(TypedDict):
    """A clock change that a rule has to do with."""

    at: Time
    # Named times that are concerned.
    count: int
    effect: ClockEffect
    # The same in a sentence.
    text: str

# What a rule makes of a clock change.
ClockEffect: TypeAlias = Literal["moved", "first_of_two", "left_out", "twice"]


class Configuration(TypedDict, total=False):
    """Sources, endpoints, bindings and schedules as they are declared."""

    # The bindings, each by its source and name; where several share these, by their handlers.
    bindings: list[DeclaredBinding]
    # The endpoints, each by its tenant and name.
    endpoints: list[DeclaredEndpoint]
    # The schedules, each by its tenant and name.
    schedules: list[DeclaredSchedule]
    # The sources, each by its name.
    sources: list[DeclaredSource]
    # Whose the things are that name no tenant: its slug. Left out: the key's tenant, else the default one.
    tenant: Text63 | None

# What is done to a thing.
ConfigurationAction: TypeAlias = Literal["create", "update", "delete"]


class _ConfigurationChange(TypedDict):
    action: ConfigurationAction
    # Field by field; empty for what is removed.
    fields: list[ConfigurationFieldChange]
    kind: ConfigurationKind
    name: str
    # The slug of its tenant.
    tenant: str


class ConfigurationChange(_ConfigurationChange, total=False):
    """What becomes of one thing."""

    # Null for what is yet to be made.
    id: str | None


class ConfigurationExport(TypedDict):
    """The configuration as it is."""

    # Applied again it changes nothing: secrets, which it does not have, stay as they are.
    configuration: Configuration
    # The secrets that there are, and where they belong.
    variables: list[ConfigurationVariable]


class _ConfigurationFieldChange(TypedDict):
    # Where it stands in the thing: a JSON pointer.
    field: str
    # Whether it is a secret: of secrets the last four characters are shown at the most.
    secret: bool


class ConfigurationFieldChange(_ConfigurationFieldChange, total=False):
    """What becomes of one field."""

    # What there will be.
    new: Any
    # What there is; null where there is nothing, or nothing that is shown.
    old: Any

# What kind of thing it is.
ConfigurationKind: TypeAlias = Literal["source", "endpoint", "binding", "schedule"]


class ConfigurationPlan(TypedDict):
    """What a configuration changes."""

    # Whether it was done; else only planned.
    applied: bool
    # In the order in which they are made. Without any, everything is as it is declared.
    changes: list[ConfigurationChange]
    # How many things are as they are declared.
    unchanged: int
    # What is there and not declared, in the tenants that the declaration names. It is left alone.
    unmanaged: list[ConfigurationThing]
    # The version of the configuration that the plan was made with.
    version: int


class ConfigurationThing(TypedDict):
    """A thing that exists."""

    id: str
    kind: ConfigurationKind
    name: str
    # The slug of its tenant.
    tenant: str


class ConfigurationVariable(TypedDict):
    """A secret that is not in the export."""

    # What a file calls it: `${NAME}`.
    name: str
    # Where in `configuration` it belongs: a JSON pointer.
    pointer: str
    # What it is of, for people.
    what: str


class _Conflict(TypedDict):
    # The digest of the content: the first 8 bytes of its SHA-256, in hexadecimal.
    digest: str
    first_at: Time
    last_at: Time
    # Whether there are more.
    more: bool
    payload_bytes: int
    # The request that brought it first.
    receipt_id: str
    # How often it came.
    times: int


class Conflict(_Conflict, total=False):
    """Another content that came under an event's id."""

    # Where the two differ, the first few places; null where either is no JSON or is not kept.
    differences: list[ConflictDifference] | None
    # The digest of the event's own, which came first.
    event_digest: str | None


class _ConflictDifference(TypedDict):
    # Where: a JSON pointer.
    pointer: str


class ConflictDifference(_ConflictDifference, total=False):
    """One place where two contents differ."""

    # What stands there in the event, as JSON, cut where it is long; null: nothing does.
    event: str | None
    # What stands there in what came later; null: nothing does.
    later: str | None


class _CreatedEndpoint(TypedDict):
    endpoint: Endpoint


class CreatedEndpoint(_CreatedEndpoint, total=False):
    """An endpoint that was added."""

    # What requests are signed with: `whsec_…`. Shown once.
    secret: str | None


class _CreatedKey(TypedDict):
    key: Key


class CreatedKey(_CreatedKey, total=False):
    """A key with its secret."""

    # Shown once: `msk_…`. Null in an answer that is repeated: it was shown before.
    secret: str | None


class _CreatedSecret(TypedDict):
    id: str


class CreatedSecret(_CreatedSecret, total=False):
    """A secret that was added."""

    # The secret that was made; null when it was given, and in an answer that is repeated. Shown once.
    secret: str | None


class _CreatedSource(TypedDict):
    source: Source


class CreatedSource(_CreatedSource, total=False):
    """A source that was added."""

    # The secret that was made; null when it was given, or is the provider's to choose. Shown once: null in an answer
    # that is repeated.
    secret: str | None


class _DataKey(TypedDict):
    created_at: Time
    # The master key that wraps it.
    master_key_id: str
    # What sealed values name it by.
    number: int
    state: DataKeyState


class DataKey(_DataKey, total=False):
    """A data key. What it is, nobody is told."""

    destroyed_at: Time | None
    retired_at: Time | None
    # Whose data it seals; none: what belongs to nobody.
    tenant_id: str | None

# How a data key stands.
DataKeyState: TypeAlias = Literal["current", "retired", "destroyed"]


class _DataKeys(TypedDict):
    items: list[DataKey]


class DataKeys(_DataKeys, total=False):
    """Data keys."""

    # The `after` of the next page; none: that was all.
    next_after: int | None

# The database behind the server.
Database: TypeAlias = Literal["sqlite", "postgres"]


class _DeadLetter(TypedDict):
    # Attempts recorded.
    attempts: int
    category: Category
    # The stable code of the last failure.
    code: str
    died_at: Time
    # What the last failure said.
    error: str
    job_id: str
    kind: str
    queue: str
    tenant_id: str


class DeadLetter(_DeadLetter, total=False):
    """A job that has used up its tries, or met an error that no retry can mend."""

    endpoint_id: str | None
    endpoint_name: str | None
    event_id: str | None
    event_type: str | None
    # The HTTP status of the last answer.
    status: int | None


class DeadLetterDiscard(TypedDict):
    """Dead letters to give up."""

    # Only say what would happen.
    plan: bool
    # Why: it stays in the jobs' histories.
    reason: Name500
    selection: DeadLetterSelection


class _DeadLetterGroup(TypedDict):
    category: Category
    code: str
    count: int
    kind: str
    # When the last died.
    newest: Time
    # When the first died.
    oldest: Time
    # The error of one of them.
    sample_error: str


class DeadLetterGroup(_DeadLetterGroup, total=False):
    """Dead letters that failed alike."""

    endpoint_id: str | None
    endpoint_name: str | None


class DeadLetterGroups(TypedDict):
    """Groups of dead letters."""

    items: list[DeadLetterGroup]


class DeadLetterRetry(TypedDict):
    """Dead letters to run again."""

    # Only say what would happen.
    plan: bool
    selection: DeadLetterSelection


_DeadLetterSelectionWords = TypedDict("_DeadLetterSelectionWords", {"from": "Time | None"}, total=False)


class DeadLetterSelection(_DeadLetterSelectionWords, total=False):
    """Which dead letters."""

    category: Category | None
    # The stable code of the last failure.
    code: Name100 | None
    # An endpoint's name or id.
    endpoint: Text100 | None
    # An event's id.
    event: str | None
    # Exactly these; of the rest only what they match as well.
    job_ids: list[JobId] | None
    # What was to be done.
    kind: Name100 | None
    # A tenant's id or slug.
    tenant: Text100 | None
    # Died before.
    to: Time | None


class _DecideInput(TypedDict):
    # Approved; or rejected: then what was done is undone.
    approved: bool
    # The step that waits.
    step: str


class DecideInput(_DecideInput, total=False):
    """What a person says to a step that waits for approval."""

    reason: Name500 | None


class _DeclaredBinding(TypedDict):
    # The name of its source, whose tenant is the binding's.
    source: str
    # Exact types, `prefix.*` or `*`, several separated by commas.
    type_pattern: str


class DeclaredBinding(_DeclaredBinding, total=False):
    """A binding that is to be."""

    enabled: bool | None
    # The name of the endpoint; or else there is a handler.
    endpoint: str | None
    # Empty: no filter any more.
    filter: str | None
    handler: NewHandler | None
    name: Name100 | None
    # With an empty key: no order any more. Of jobs that are made from then on.
    ordering: Ordering | None


class _DeclaredEndpoint(TypedDict):
    # Unique in the tenant.
    name: Name100
    # `http` or `https`. Private addresses are refused unless an administrator allows them.
    url: str


class DeclaredEndpoint(_DeclaredEndpoint, total=False):
    """An endpoint that is to be."""

    breaker_settings: BreakerSettings | None
    connect_timeout_ms: int | None
    enabled: bool | None
    # Headers to set, or with null to remove; those that are not named stay.
    headers: dict[str, str | None] | None
    max_in_flight: int | None
    retry: RetryPolicy | None
    # What requests are signed with, the newest first: `whsec_…`. Left out: they stay as they are, and a new endpoint
    # gets one that is not shown.
    secrets: list[str] | None
    signing: Signing | None
    # The slug of its tenant.
    tenant: Text63 | None
    timeout_ms: int | None


class _DeclaredSchedule(TypedDict):
    # Five fields, six with seconds first, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    cron: str
    # Unique in the tenant.
    name: str


class DeclaredSchedule(_DeclaredSchedule, total=False):
    """A schedule that is to be. Its jobs go to `endpoint` or `kind`."""

    catch_up_max: int | None
    # Push to this endpoint from now on.
    endpoint: Text100 | None
    grace_ms: int | None
    jitter_ms: int | None
    # Run this built-in job kind from now on, or one of the team's own, for the workers of `queue`.
    kind: Text100 | None
    misfire: Misfire | None
    overlap: Overlap | None
    # Whether it makes no jobs until it is resumed. Left out: it makes them.
    paused: bool | None
    # Null: none any more.
    payload: Any
    # Where jobs of a kind of the team's own wait for a worker. Beside `kind`.
    queue: str | None
    retry: RetryPolicy | None
    # The slug of its tenant.
    tenant: Text63 | None
    zone: Text64 | None


class _DeclaredSource(TypedDict):
    # Stands in the URL: `/in/{name}`.
    name: str
    scheme: Scheme


class DeclaredSource(_DeclaredSource, total=False):
    """A source that is to be: what can be changed of one, and what makes it."""

    enabled: bool | None
    # The slugs of tenants by the provider's values that stand for them; the empty value is for events in which none is
    # found. Those that are not here are unlinked. Left out: links stay as they are. At most 1,000 in all.
    links: dict[str, str] | None
    # The JSON Schemas of its events by their types, each of which is one type, `prefix.*` or `*`. One that differs from
    # what is in force becomes its next version; those that are not here are removed. Left out: they stay as they are.
    schemas: dict[str, Any] | None
    # The signing secrets: those that it has already stay, the others of its secrets are removed. Left out: they stay as
    # they are.
    secrets: list[str] | None
    # Replaces all settings.
    settings: SourceSettings | None
    # The slug of its tenant.
    tenant: Text63 | None
    verify_token: str | None

# A delay as the document describes it, in milliseconds.
DelayMs: TypeAlias = int


class _DependencyBreaker(TypedDict):
    # What it stands before: a name, or the id of the endpoint whose own it is.
    dependency: str
    # The endpoints whose jobs go there, the one first whose settings count.
    endpoints: list[BreakerEndpoint]
    # Consecutive failures.
    failures: int
    # What people call it: the same name, or the endpoint's.
    name: str
    settings: BreakerSettings
    # Whether endpoints named the dependency, so that several may share it.
    shared: bool
    state: BreakerState
    # Probes that succeeded since it is half open.
    successes: int
    tenant_id: str


class DependencyBreaker(_DependencyBreaker, total=False):
    """The breaker of one dependency."""

    # What a person said, as long as it holds.
    forced: BreakerForced | None
    last_error: str | None
    opened_at: Time | None
    # When probes are due.
    probe_at: Time | None


class _Diagnosis(TypedDict):
    # A stable word: `genuine`, `secret_missing`, `header_missing`, `malformed`, `clock_skew`, `address_not_allowed`,
    # `certificate_missing`, `not_kept`, `body_malformed`, `other_source`, `key_encoding`, `body_altered`,
    # `url_differs`, `test_mode`, `wrong_secret`, `body_not_kept` or `unreadable`.
    cause: str
    # The same in a sentence.
    detail: str


class Diagnosis(_Diagnosis, total=False):
    """Which rule a refused request fails by, with what its source knows now and the clock of the time when it came."""

    # For `clock_skew`: when it came less when it was signed, in seconds; positive when it was signed before.
    clock_difference_secs: int | None
    # For `other_source`: the tenant's source whose secret it is signed with.
    other_source_id: str | None
    other_source_name: str | None


class DiscardAnswer(TypedDict):
    """What would happen, or what happened."""

    by_reason: list[ReasonCount]
    # How many were given up; 0 in a plan.
    discarded: int
    # How many the selection met.
    matched: int


class _Drift(TypedDict):
    # What came.
    after: str
    # What was known before; empty: nothing.
    before: str
    # An event that has it.
    event_id: str
    # The type of the events.
    event_type: str
    found_at: Time
    id: str
    kind: DriftKind
    # The field: a JSON pointer with `*` for every place of a list; empty where it is about the whole.
    path: str


class Drift(_Drift, total=False):
    """Something that a source's events began to say."""

    # When somebody had seen it; null: nobody yet.
    acknowledged_at: Time | None
    # Who.
    acknowledged_by: str | None

DriftId: TypeAlias = str

# What is new.
DriftKind: TypeAlias = Literal["new_type", "new_field", "field_type", "api_version"]


class Endpoint(TypedDict):
    """The team's own URL that jobs are pushed to."""

    breaker: Breaker
    breaker_settings: BreakerSettings
    connect_timeout_ms: int
    created_at: Time
    # Whether jobs are pushed. While it is not, they wait.
    enabled: bool
    # The names of the headers that are added to each request; their values are not shown.
    header_names: list[str]
    id: str
    # How many requests may be under way at once.
    max_in_flight: int
    name: str
    retry: RetryPolicy
    # What requests are signed with, newest first.
    secrets: list[EndpointSecretInForce]
    signing: Signing
    stats: EndpointStats
    tenant_id: str
    timeout_ms: int
    updated_at: Time
    url: str


class EndpointChange(TypedDict, total=False):
    """What is to change."""

    breaker_settings: BreakerSettings | None
    connect_timeout_ms: int | None
    enabled: bool | None
    # Headers to set, or with null to remove; those that are not named stay.
    headers: dict[str, str | None] | None
    max_in_flight: int | None
    name: Name100 | None
    retry: RetryPolicy | None
    signing: Signing | None
    timeout_ms: int | None
    url: str | None


class _EndpointHealth(TypedDict):
    # What was taken off, and why.
    lost: list[EndpointHealthLost]
    state: EndpointHealthState


class EndpointHealth(_EndpointHealth, total=False):
    """How well an endpoint does: 100 less what each cause costs."""

    # From 0 to 100; null: nothing was sent in 24 hours.
    score: int | None

# What costs points.
EndpointHealthCause: TypeAlias = Literal["failures", "streak", "slow", "breaker_open", "breaker_half_open"]


class EndpointHealthLost(TypedDict):
    """Points that an endpoint has lost."""

    cause: EndpointHealthCause
    points: int

# What a score means.
EndpointHealthState: TypeAlias = Literal["healthy", "degraded", "failing", "unknown"]


class EndpointSecret(TypedDict, total=False):
    """A fresh signing secret."""

    # Until when the secret before it signs along; null: it does not.
    previous_until: Time | None
    # `whsec_…`. Shown once: null in an answer that is repeated.
    secret: str | None


class _EndpointSecretInForce(TypedDict):
    # Its last characters.
    hint: str


class EndpointSecretInForce(_EndpointSecretInForce, total=False):
    """A secret that requests are signed with."""

    # Until when it signs; null: until another takes its place.
    until: Time | None


class _EndpointStats(TypedDict):
    # Dead letters.
    dead: int
    # Attempts that failed in 24 hours.
    failed: int
    # All of the following in one number.
    health: EndpointHealth
    # Requests under way.
    in_flight: int
    # Jobs to be tried again.
    retrying: int
    # Jobs done in 24 hours.
    succeeded: int
    # Jobs that could be started.
    waiting: int


class EndpointStats(_EndpointStats, total=False):
    """How an endpoint does: its queue now, its counts of the last 24 hours."""

    # The last minute in which an attempt failed.
    last_failure_at: Time | None
    # The last minute in which a job was done.
    last_success_at: Time | None
    # The median time to an answer in 24 hours, whatever the answer was, to about 6 %. Requests that were given up after
    # the timeout count; those without a connection do not. Null when there were none.
    p50_ms: int | None
    # The 99th percentile of the same.
    p99_ms: int | None
    # The share of attempts that succeeded in 24 hours; null when there were none.
    success_rate: float | None


class Erased(TypedDict):
    """What was erased."""

    # Data keys destroyed.
    keys_destroyed: int
    tenant_id: str


class Erasure(TypedDict):
    """The erasure of a tenant."""

    # The tenant's slug, typed out: what is erased comes back from nowhere.
    confirm: str


class _Event(TypedDict):
    # How often it came again with other content.
    conflicts: int
    # How often the provider delivered it.
    deliveries: int
    id: str
    jobs: JobTally
    payload_bytes: int
    # The provider's own id.
    provider_id: str
    received_at: Time
    source_id: str
    source_name: str
    status: EventStatus
    tenant_id: str
    # The provider's type, e.g. `invoice.paid`.
    type: str


class Event(_Event, total=False):
    """An accepted, immutable fact."""

    # When the provider says that it happened.
    occurred_at: Time | None
    # What it had otherwise than the schema of its type says; null: nothing, or no schema is for its type.
    violation: Violation | None


class _EventDetail(Event):
    # What came again under its id with other content, the first first. The event is what came first of all.
    conflicts_list: list[Conflict]
    # The headers of the request that brought it first, without credentials.
    headers: dict[str, str]
    # Its jobs, newest first.
    jobs_list: list[JobWithAttempts]
    # The ids of objects that stand in it, as far as it is indexed: each has a timeline.
    objects: list[ObjectId]
    # Whether the payload was erased: nobody can read it any more.
    payload_erased: bool
    # The requests that brought it, oldest first.
    receipts: list[EventReceipt]
    # The replays that touched it, newest first.
    replays: list[Replay]


class EventDetail(_EventDetail, total=False):
    """An event with everything that is known of it."""

    # The payload, where it is JSON and not too large to show; numbers exactly as they came.
    payload: Any
    # The payload, where it is text but no JSON and not too large to show.
    payload_text: str | None

EventId: TypeAlias = str


class _EventPage(TypedDict):
    # What is on it. It may be less than was asked for, or nothing, and still not the last page.
    items: list[Event]


class EventPage(_EventPage, total=False):
    """One page of a list of events."""

    # Looking for few among very many ended before the page was full: everything that was received since then was looked
    # at, and `next_cursor` goes on from there. Null: the page is full, or the last.
    looked_back_to: Time | None
    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _EventReceipt(TypedDict):
    id: str
    received_at: Time
    # The address it came from.
    remote: str
    verdict: Verdict


class EventReceipt(_EventReceipt, total=False):
    """A request that brought an event."""

    # The end of the secret that matched; null when it is gone.
    secret_hint: str | None


class EventRule(TypedDict, total=False):
    """Where an event's parts stand, for the schemes `bearer` and `address`. Left out, the body's digest is the id."""

    # Where the event's id stands. Where it is absent from a request, a digest of the body takes its place.
    id: IdFrom
    # Where it stands when the event happened.
    occurred_at: TimeFrom | None
    # Where the event's type stands.
    type: KindFrom | None


class EventSchema(TypedDict):
    """What events of some types of a source are expected to look like."""

    # When this version was made.
    created_at: Time
    id: str
    # The JSON Schema.
    schema: Any
    source_id: str
    stats: SchemaStats
    # One type exactly, `prefix.*` or `*`. Of several that match, the most exact one counts.
    types: str
    # The version that is in force.
    version: int


class EventSchemaDetail(EventSchema):
    """A schema with its older versions."""

    # The versions that are kept, newest first. The first is in force.
    versions: list[EventSchemaVersion]


class EventSchemaVersion(TypedDict):
    """One version of a schema."""

    created_at: Time
    schema: Any
    version: int

# How an event stands.
EventStatus: TypeAlias = Literal["pending", "processing", "success", "error", "unhandled"]


class ExpectAfter(TypedDict):
    """The events that begin something."""

    # Where the object's key stands in the payload: a JSON pointer to a string or a whole number.
    key: str
    # One type exactly, `prefix.*` or `*`.
    type: str


class _ExpectRule(TypedDict):
    # What begins it: events of this source.
    after: ExpectAfter
    # What must come.
    expect: ExpectThen
    # Unique in the source.
    name: str
    # Within how many seconds after the other was received.
    within_secs: int


class ExpectRule(_ExpectRule, total=False):
    """After an event of one type one of another must come for the same object within a time."""

    # How many seconds before the other it may have come already, since webhooks overtake each other.
    before_secs: int


class _ExpectThen(TypedDict):
    # Where the same key stands in their payload.
    key: str
    # One type exactly, `prefix.*` or `*`.
    type: str


class ExpectThen(_ExpectThen, total=False):
    """The events that must come."""

    # The name of their source, which is of the same tenant; null: this one.
    source: str | None

ExpectationId: TypeAlias = str


class ExpectedAcknowledged(TypedDict):
    """What became of an acknowledgement of missing events."""

    # Missing events that nobody had acknowledged before.
    acknowledged: int


class ExpectedAcknowledgement(TypedDict, total=False):
    """Which missing events were seen to."""

    # Exactly these. Left out: all that nobody has acknowledged yet.
    ids: list[ExpectationId] | None


class _ExpectedEvent(TypedDict):
    # When the event that began it was received.
    began_at: Time
    # Until when the other should have come.
    due_at: Time
    # The event that began it.
    event_id: str
    # The type that must come.
    expected_type: str
    id: str
    # The key of the object.
    object: str
    # The name of the source's rule.
    rule: str
    # The tenant of the event that began it.
    tenant_id: str


class ExpectedEvent(_ExpectedEvent, total=False):
    """An event that must follow another."""

    # When somebody had seen to it; null: nobody yet.
    acknowledged_at: Time | None
    # Who.
    acknowledged_by: str | None


class ExpectedRule(TypedDict):
    """What became of the expected events of one rule."""

    # Came in time.
    fulfilled: int
    # Came after they were found missing.
    late: int
    # Found missing, all in all.
    missed: int
    # Not watched, since there were more than 20000 of the rule and a tenant at once.
    overflowed: int
    # Those that may still come, and those that are missing.
    pending: int
    # The rule's name.
    rule: str


class ExpectedRules(TypedDict):
    """What became of a source's expected events."""

    # By rule; one of which no event has come yet is left out, one that is removed may still be here.
    rules: list[ExpectedRule]


class _FailureInput(TypedDict):
    # What went wrong, in a sentence.
    message: str


class FailureInput(_FailureInput, total=False):
    """Why an attempt failed."""

    # What kind of failure: it decides whether another try can help. Left out: `unknown`, which is tried again.
    category: str | None
    # A stable code of the team's own. Left out: `worker_failed`.
    code: str | None
    # Not before so many seconds have passed.
    retry_after_secs: int | None
    # False: the job is not tried again, whatever its policy says.
    retryable: bool | None


class FieldError(TypedDict):
    """What is wrong with one field."""

    # What is wrong with it.
    detail: str
    # A JSON pointer into the body (`/settings/tolerance_secs`), or `?name` for a parameter of the query.
    pointer: str


class _FilterAnswer(TypedDict):
    outcome: FilterOutcome


class FilterAnswer(_FilterAnswer, total=False):
    """What a filter says of an event, and why where it fails."""

    # Why it failed.
    reason: str | None

# What a filter says of an event.
FilterOutcome: TypeAlias = Literal["passed", "held", "failed"]

# What a message is about.
FollowEvent: TypeAlias = Literal["event", "now", "at"]


class FollowMessage(TypedDict):
    """One message of the stream. Its `id` is the cursor to go on with."""

    # JSON: of an event a `FollowedEvent`.
    data: str
    event: FollowEvent
    id: str


class _FollowedEvent(TypedDict):
    id: str
    # The provider's own id.
    provider_id: str
    # The request that brought it first.
    receipt_id: str
    received_at: Time
    source_id: str
    source_name: str
    tenant_id: str
    # The provider's type, e.g. `invoice.paid`.
    type: str


class FollowedEvent(_FollowedEvent, total=False):
    """An event, as it is told to who follows."""

    # The body in base64. Null where none was asked for, and where the request is not the caller's to see.
    body: str | None
    # The headers of that request, without credentials. Null where no body was asked for, and where the request is not
    # the caller's to see.
    headers: dict[str, str] | None
    occurred_at: Time | None

# How an attempt stands.
HandState: TypeAlias = Literal["held", "cancelled", "ended", "unknown"]

# What carries out the jobs of a binding.
HandlerRef: TypeAlias = "HandlerRefEndpoint | HandlerRefBuiltin"


class HandlerRefBuiltin(TypedDict):
    """A built-in handler."""

    kind: Literal["builtin"]
    # Its job kind, e.g. `billing.record`.
    name: str


class HandlerRefEndpoint(TypedDict):
    """A push to the team's own URL."""

    endpoint_id: str
    endpoint_name: str
    kind: Literal["endpoint"]


class _HeaderParts(TypedDict):
    # What stands between two fields.
    separator: str
    # The name of the field with the signature; it may stand there several times, and any may match.
    signature: str


class HeaderParts(_HeaderParts, total=False):
    """The fields of a signature header like Stripe's or Paddle's."""

    # The name of the field with the time.
    timestamp: str | None


class Health(TypedDict):
    """How the installation is."""

    # By part: `database`, `queue`, `engine`, and `spool` where there is one.
    checks: dict[str, Check]
    # The worst of all checks.
    status: Status
    timestamp: Time
    uptime_secs: int
    version: str


class HeartbeatInput(TypedDict):
    """Signs of life."""

    beats: list[BeatInput]
    # The worker's name.
    worker: str


class HeartbeatView(TypedDict):
    """How attempts stand."""

    # In the same order.
    beats: list[BeatView]

# The hash of an HMAC.
HmacAlgorithm: TypeAlias = Literal["sha1", "sha256", "sha512"]


class _HmacRule(TypedDict):
    # The header with the signature.
    header: str


class HmacRule(_HmacRule, total=False):
    """How a provider signs that has no scheme of its own. Only `header` is needed; the rest defaults to lower-case
    hexadecimal HMAC-SHA256 over the body, keyed with the secret's text. `docs/sources.md` has examples.
    """

    algorithm: HmacAlgorithm
    encoding: SignatureEncoding
    # Where the event's id stands. Where it is absent from a request, a digest of the body takes its place.
    id: IdFrom
    key_encoding: KeyEncoding
    # Where it stands when the event happened.
    occurred_at: TimeFrom | None
    # For a header made of fields, such as `ts=…;h1=…`: which they are.
    parts: HeaderParts | None
    # What stands before the signature, e.g. `sha256=`.
    prefix: str
    # What is signed: `{body}`, and `{timestamp}` and `{id}` where the rule says where they stand.
    signed: str
    # The header with the time of the signature, in seconds since 1970.
    timestamp_header: str | None
    # Where the event's type stands.
    type: KindFrom | None

# Where an event's id stands.
IdFrom: TypeAlias = "IdFromHeader | IdFromPointer | Literal[\"digest\"]"


class IdFromHeader(TypedDict):
    """In a header."""

    # In a header.
    header: str


class IdFromPointer(TypedDict):
    """In the body: a JSON pointer to a string or a whole number."""

    # In the body: a JSON pointer to a string or a whole number.
    pointer: str

# What becomes of a submission whose key is taken.
IfTakenName: TypeAlias = Literal["keep", "replace"]


class IndexView(TypedDict):
    """How far the index goes."""

    # Whether everything there is was received before. If not, the newest events are still to come.
    complete: bool
    # Sources whose events are looked at once more.
    reindexing: list[Reindexing]
    # What was received before is indexed.
    until: Time


class _Job(TypedDict):
    # The last attempt recorded.
    attempts: int
    created_at: Time
    id: str
    # What is to be done, e.g. `endpoint.deliver`.
    kind: str
    # How often it is tried in all.
    max_attempts: int
    queue: str
    state: JobState
    tenant_id: str


class Job(_Job, total=False):
    """One unit of work."""

    binding_id: str | None
    endpoint_id: str | None
    event_id: str | None
    finished_at: Time | None
    last_error: str | None
    next_attempt_at: Time | None
    # The order that it keeps with others, if any.
    order: JobOrder | None
    replay_id: str | None
    # Not before.
    run_at: Time | None


class JobCounts(TypedDict):
    """How many jobs there are, by queue."""

    queues: dict[str, QueueCounts]
    timestamp: Time


class JobEnded(TypedDict):
    """What became of a job."""

    id: str
    state: JobState

JobId: TypeAlias = str


class JobOrder(TypedDict):
    """The order that a job keeps with others of its queue."""

    # The ordering key.
    key: str
    on_dead: OnDead
    # Its place: those with lower numbers come first. Numbers are left out.
    position: int
    # Whether it waits behind another job with its key.
    waits: bool

# How a job stands.
JobState: TypeAlias = Literal["waiting", "scheduled", "running", "retrying", "done", "dead", "cancelled"]


class JobTally(TypedDict):
    """How many jobs of an event are in which state."""

    cancelled: int
    dead: int
    done: int
    retrying: int
    running: int
    total: int
    waiting: int


class _JobWithAttempts(Job):
    attempts_list: list[Attempt]


class JobWithAttempts(_JobWithAttempts, total=False):
    """A job with its history."""

    # The line that it is the head of, or waits in.
    line: Line | None
    # Its own payload, where it has one that is JSON.
    payload: Any


class _Key(TypedDict):
    created_at: Time
    id: str
    # How many requests it may make, where that differs from what all keys may.
    limits: list[KeyLimit]
    # For people.
    name: str
    role: Role


class Key(_Key, total=False):
    """An API key, without its secret."""

    # When it stops working.
    expires_at: Time | None
    # When it was last used, to the minute.
    last_used_at: Time | None
    # The one tenant that it reaches; null: all.
    tenant_id: str | None


class KeyChange(TypedDict):
    """What is to change of a key."""

    # All that is said of its limits from now on, one word on each class at most; of a class that is left out, what all
    # keys may make holds.
    limits: list[KeyLimitInput]

# How the text of a secret stands for the key's bytes.
KeyEncoding: TypeAlias = Literal["utf8", "base64", "hex"]


_KeyLimitNeededWords = TypedDict("_KeyLimitNeededWords", {"class": "RateClassName"})


class _KeyLimit(_KeyLimitNeededWords):
    # When.
    at: Time
    # Who said so.
    by: str
    # How many in a minute, on each node.
    per_minute: int
    # Why.
    reason: str


class KeyLimit(_KeyLimit, total=False):
    """How many requests of a class a key may make."""

    # Until when; null: until it is changed.
    until: Time | None


_KeyLimitInputNeededWords = TypedDict("_KeyLimitInputNeededWords", {"class": "RateClassName"})


class _KeyLimitInput(_KeyLimitInputNeededWords):
    # How many in a minute, on each node.
    per_minute: int
    # Why, for whoever comes across it.
    reason: Name200


class KeyLimitInput(_KeyLimitInput, total=False):
    """How many requests of a class a key is to be allowed."""

    # Until when. Left out: until it is changed.
    until: Time | None

# Where an event's type stands.
KindFrom: TypeAlias = "KindFromHeader | KindFromPointer | KindFromFixed"


class KindFromFixed(TypedDict):
    """Every event has this one."""

    # Every event has this one.
    fixed: str


class KindFromHeader(TypedDict):
    """In a header."""

    # In a header.
    header: str


class KindFromPointer(TypedDict):
    """In the body: a JSON pointer."""

    # In the body: a JSON pointer.
    pointer: str


class _LastRun(TypedDict):
    job_id: str
    tick: Time


class LastRun(_LastRun, total=False):
    """The last run of a schedule."""

    # Null: the job is gone.
    job_state: JobState | None


class _Line(TypedDict):
    # The job that all others wait for.
    head_job_id: str
    id: str
    # The ordering key.
    key: str
    queue: str
    # When the head's turn came.
    since: Time
    state: LineState
    tenant_id: str
    # How many wait behind it.
    waiting: int


class Line(_Line, total=False):
    """The jobs of one queue that share an ordering key, as long as one of them has not ended."""

    endpoint_id: str | None
    endpoint_name: str | None
    # When the head became a dead letter.
    parked_at: Time | None


class LineReleased(TypedDict):
    """A line that goes on."""

    id: str
    # The dead letter that was passed by. It stays one, and can still be run again.
    passed_job_id: str

# Whether a line moves.
LineState: TypeAlias = Literal["parked", "moving"]


class LineWithJobs(Line):
    """A line with the jobs that wait in it."""

    # The next first; the first hundred of them.
    waiting_job_ids: list[str]


class LinksMade(TypedDict):
    """What became of values to link."""

    # Those that are new. What waited for them is given to its tenants from now on.
    added: int
    # Those that were linked to the same tenant already.
    known: int


class MasterKey(TypedDict):
    """A master key, known by an id that is derived from it. The key itself is nowhere."""

    # Whether the server has it. The first that it has wraps new data keys.
    configured: bool
    # Data keys under it that seal.
    current: int
    # 16 hexadecimal digits.
    id: str
    # Data keys under it that only open what they sealed.
    retired: int
    # Whether new data keys are wrapped by it.
    wraps: bool

# What becomes of ticks that nobody was there for.
Misfire: TypeAlias = Literal["skip", "one", "all"]

Name100: TypeAlias = str

Name200: TypeAlias = str

Name500: TypeAlias = str


class _NewBinding(TypedDict):
    # Exact types, `prefix.*` or `*`, several separated by commas.
    type_pattern: str


class NewBinding(_NewBinding, total=False):
    """A binding to add. The source is named by `source_id` or `source`; the handler by `endpoint_id`, `endpoint` or
    `handler`.
    """

    # The endpoint's name or id.
    endpoint: Text100 | None
    # The endpoint's id.
    endpoint_id: Text100 | None
    # What events of these types must say: an expression over `type`, `source`, `id`, `body` and `headers`, such as
    # `body.amount > 1000`.
    filter: str | None
    handler: NewHandler | None
    # For people; made from the rule when it is left out.
    name: Name100 | None
    # The order that its jobs keep. Left out: they run beside one another.
    ordering: Ordering | None
    # The source's name or id.
    source: Text100 | None
    # The source's id.
    source_id: Text100 | None


class _NewConfiguration(TypedDict):
    configuration: Configuration


class NewConfiguration(_NewConfiguration, total=False):
    """A configuration to apply."""

    # Only plan.
    dry_run: bool
    # Remove what is not declared, in the tenants that the declaration names.
    prune: bool
    # The version that the plan was made with: refused when anything was changed since.
    version: int | None


class _NewEndpoint(TypedDict):
    # Unique in the tenant.
    name: Name100
    # `http` or `https`. Private addresses are refused unless an administrator allows them.
    url: str


class NewEndpoint(_NewEndpoint, total=False):
    """An endpoint to add."""

    breaker_settings: BreakerSettings | None
    connect_timeout_ms: int | None
    # Headers to add to each request, 16 at the most. Their values are treated as secrets.
    headers: dict[str, str | None] | None
    max_in_flight: int | None
    retry: RetryPolicy | None
    signing: Signing | None
    # Whose it is. Left out: the key's tenant, else the default one.
    tenant_id: str | None
    timeout_ms: int | None

# What is to carry out the jobs of a binding.
NewHandler: TypeAlias = "NewHandlerEndpoint | NewHandlerBuiltin"


class NewHandlerBuiltin(TypedDict):
    """A built-in handler."""

    kind: Literal["builtin"]
    # Its job kind, e.g. `billing.record`.
    name: str


class NewHandlerEndpoint(TypedDict):
    """A push to the team's own URL."""

    # Its id or name.
    endpoint_id: str
    kind: Literal["endpoint"]


class _NewJobInput(TypedDict):
    # What is to be done: a kind of the team's own, for its workers, e.g. `invoice.render`; or a built-in one, e.g.
    # `noop`.
    kind: str


class NewJobInput(_NewJobInput, total=False):
    """A job to submit."""

    # What becomes of the others with its key should it end as a dead letter. Left out: `park`.
    on_dead: OnDead | None
    # Jobs of a tenant and a queue that share it run one at a time, in the order in which they are submitted.
    ordering_key: str | None
    # Handed to the handler as it is.
    payload: Any
    # Where it waits: workers ask for the jobs of a queue. Left out: a built-in kind's own queue.
    queue: str | None
    # Left out: the handler's own.
    retry: RetryPolicy | None
    # Not before.
    run_at: Time | None
    # Whose it is. Left out: the key's tenant, else the default one.
    tenant_id: str | None
    # There is to be one of it: what becomes of it when there is another with its key.
    unique: UniqueInput | None


class _NewKey(TypedDict):
    # For people.
    name: Name100
    role: Role


class NewKey(_NewKey, total=False):
    """A key to make."""

    # When it is to stop working.
    expires_at: Time | None
    # The one tenant that it is to reach.
    tenant_id: str | None


class NewLink(TypedDict):
    """A value to link."""

    # The tenant's id or slug.
    tenant: str
    # As it stands in the provider's requests. Empty: for events in which no value is found.
    value: str


class NewLinks(TypedDict):
    """Values to link, all of them or none."""

    links: list[NewLink]


class NewRotation(TypedDict):
    """A rotation to begin."""

    mode: RotationMode


class _NewSaga(TypedDict):
    # Unique in the tenant.
    name: str
    # One after the other.
    steps: list[SagaStepInput]


class NewSaga(_NewSaga, total=False):
    """A saga to add, with the steps of its first version."""

    # Whose it is. Left out: the key's tenant, else the default one.
    tenant_id: str | None


class NewSagaRun(TypedDict, total=False):
    """A run to begin."""

    # What it is begun with: JSON of at most 64 KiB.
    input: Any
    # There is one run of the saga with this key: the one that is there already is the answer.
    key: str | None
    # Whose it is, where the saga is given by name and several tenants have one of that name.
    tenant_id: str | None


class NewSagaVersion(TypedDict):
    """Another version of a saga."""

    # One after the other.
    steps: list[SagaStepInput]


class _NewSchedule(TypedDict):
    # Five fields (minute hour day month weekday), six with seconds first, or `@hourly`, `@daily`, `@weekly`,
    # `@monthly`, `@yearly`.
    cron: str
    # Unique in the tenant.
    name: str


class NewSchedule(_NewSchedule, total=False):
    """A schedule to add. Where its jobs go is named by `endpoint`, by a built-in `kind`, or by a `kind` of the team's
    own and the `queue` that its workers ask.
    """

    # How many missed ticks `misfire: all` makes up for.
    catch_up_max: int | None
    # Push to this endpoint, by its id or name.
    endpoint: Text100 | None
    # How late a tick may be and not be missed, in milliseconds.
    grace_ms: int | None
    # A run is put off by up to this, in milliseconds, always the same for a tick, never as far as the next one.
    jitter_ms: int | None
    # Or run this built-in job kind, e.g. `noop`; or one of the team's own, for the workers of `queue`.
    kind: Text100 | None
    # Left out: `one`.
    misfire: Misfire | None
    # Left out: `allow`.
    overlap: Overlap | None
    # Whether it makes no jobs until it is resumed.
    paused: bool
    # What its jobs are told beside their tick: at most 16 KiB.
    payload: Any
    # Where jobs of a kind of the team's own wait for a worker.
    queue: str | None
    # Left out: the endpoint's, else the handler's own.
    retry: RetryPolicy | None
    # Whose it is. Left out: the key's tenant, else the default one.
    tenant_id: str | None
    # The IANA name of the time zone that it is read in. Left out: `UTC`.
    zone: Text64 | None


class NewSchema(TypedDict):
    """A schema to add, or its next version."""

    # A JSON Schema of at most 64 KiB, in one document: every `$ref` leads into it.
    schema: Any
    # One type exactly, `prefix.*` or `*`.
    types: str


class NewSecret(TypedDict, total=False):
    """A secret to add."""

    # Left out: made, for the schemes where it is ours to choose.
    secret: str | None


class _NewSource(TypedDict):
    # Stands in the URL: `/in/{name}`.
    name: str
    scheme: Scheme


class NewSource(_NewSource, total=False):
    """A source to add."""

    # The signing secret that the provider shows. Left out: made for the schemes where it is ours to choose.
    secret: str | None
    settings: SourceSettings
    # Whose events come in here. Left out: the key's tenant, else the default one.
    tenant_id: str | None
    # The scheme `meta`: what Meta must send when it asks whether the URL is ours.
    verify_token: str | None


class _NewTenant(TypedDict):
    # For people.
    name: Name100


class NewTenant(_NewTenant, total=False):
    """A tenant to add."""

    # For commands; made from the name when it is left out.
    slug: str | None


class _NewUser(TypedDict):
    email: str
    role: Role


class NewUser(_NewUser, total=False):
    """A user to add."""

    # Left out: they sign in by link.
    password: str | None


class ObjectId(TypedDict):
    """An id that stands in an event."""

    id: str
    # What it is the id of, e.g. `customer`: the name of the rule that found it.
    name: str


class _ObjectRule(TypedDict):
    # What they are ids of, e.g. `customer`.
    name: str
    # Where they stand in the payload: a JSON pointer; a step `*` stands for every element of a list. In a form, `/` and
    # the name of a field.
    pointer: str


class ObjectRule(_ObjectRule, total=False):
    """Where ids of one kind of object stand in events."""

    # Of which type of events; with a trailing `*` those that begin so.
    types: str

# What becomes of a line whose head ends as a dead letter.
OnDead: TypeAlias = Literal["park", "continue"]


class OpenRuns(TypedDict):
    """Runs in one state."""

    count: int
    state: SagaRunState


class _Ordering(TypedDict):
    # Where the key stands in the event's body: a JSON pointer such as `/data/object/customer`. Empty: no order.
    key: str


class Ordering(_Ordering, total=False):
    """The order that jobs keep: those of one endpoint or queue that share a key run one at a time, in the order of
    their events.
    """

    # Where it stands when it does not stand there. Where it stands in neither place the job keeps no order.
    fallback: str | None
    on_dead: OnDead

# How an attempt ended.
Outcome: TypeAlias = Literal["running", "succeeded", "failed", "dead", "lost", "unknown", "cancelled", "requeued", "discarded"]


class _OutcomeInput(TypedDict):
    outcome: OutcomeWord
    # Of the attempt that was handed out with it.
    token: str


class OutcomeInput(_OutcomeInput, total=False):
    """How an attempt went."""

    # How long it is to wait, if it is snoozed.
    delay_secs: int | None
    # Why, if it failed.
    failure: FailureInput | None
    # Why, if it is given back.
    reason: str | None
    # What came of it, if it is completed: JSON of at most 64 KiB, kept with the attempt.
    result: Any


class _OutcomeView(TypedDict):
    # Whether it is recorded. The same can be told again.
    recorded: bool
    token: str


class OutcomeView(_OutcomeView, total=False):
    """What became of an outcome that was told."""

    # Why not: `lease_ended` or `job_cancelled`.
    code: str | None

# How an attempt went.
OutcomeWord: TypeAlias = Literal["completed", "failed", "released", "snoozed"]

# What becomes of a tick while the job of the last run has not ended.
Overlap: TypeAlias = Literal["allow", "skip", "wait"]


class _Overview(TypedDict):
    backlog: Backlog
    # The sources that are silent, bring too much, or lack an expected event.
    concerns: list[OverviewConcern]
    dead_letters: int
    endpoints: list[Endpoint]
    # Jobs that wait behind these dead letters.
    jobs_parked: int
    # Ordering keys of which nothing runs until somebody has dealt with a dead letter.
    lines_parked: int
    now: Time
    sources: list[Source]
    throughput: Throughput
    totals: OverviewTotals
    window: Window


class Overview(_Overview, total=False):
    """Everything at a glance."""

    oldest_waiting_secs: int | None


class OverviewConcern(TypedDict):
    """A source that something is wrong with, by its rhythm or the events that must follow others."""

    # Expected events that did not come and that nobody has acknowledged.
    missing: int
    # Types that are silent, or one for all together.
    silent: int
    source: str
    source_id: str
    # Types that more come of than usual.
    surging: int


class OverviewPoint(TypedDict):
    """Counts from one time to the next."""

    at: Time
    dead: int
    done: int
    duplicates: int
    failed: int
    received: int
    refused: int


class _OverviewTotals(TypedDict):
    dead: int
    done: int
    duplicates: int
    failed: int
    received: int
    refused: int


class OverviewTotals(_OverviewTotals, total=False):
    """Counts of the whole window."""

    # The share of attempts that succeeded; null when there were none.
    success_rate: float | None


class _PageAuditEntry(TypedDict):
    # What is on it.
    items: list[AuditEntry]


class PageAuditEntry(_PageAuditEntry, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageBinding(TypedDict):
    # What is on it.
    items: list[Binding]


class PageBinding(_PageBinding, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageBreakerChange(TypedDict):
    # What is on it.
    items: list[BreakerChange]


class PageBreakerChange(_PageBreakerChange, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageDeadLetter(TypedDict):
    # What is on it.
    items: list[DeadLetter]


class PageDeadLetter(_PageDeadLetter, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageDependencyBreaker(TypedDict):
    # What is on it.
    items: list[DependencyBreaker]


class PageDependencyBreaker(_PageDependencyBreaker, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageDrift(TypedDict):
    # What is on it.
    items: list[Drift]


class PageDrift(_PageDrift, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageEndpoint(TypedDict):
    # What is on it.
    items: list[Endpoint]


class PageEndpoint(_PageEndpoint, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageEventSchema(TypedDict):
    # What is on it.
    items: list[EventSchema]


class PageEventSchema(_PageEventSchema, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageExpectedEvent(TypedDict):
    # What is on it.
    items: list[ExpectedEvent]


class PageExpectedEvent(_PageExpectedEvent, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageJob(TypedDict):
    # What is on it.
    items: list[Job]


class PageJob(_PageJob, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageKey(TypedDict):
    # What is on it.
    items: list[Key]


class PageKey(_PageKey, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageLine(TypedDict):
    # What is on it.
    items: list[Line]


class PageLine(_PageLine, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageQueue(TypedDict):
    # What is on it.
    items: list[Queue]


class PageQueue(_PageQueue, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageReceipt(TypedDict):
    # What is on it.
    items: list[Receipt]


class PageReceipt(_PageReceipt, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageReplay(TypedDict):
    # What is on it.
    items: list[Replay]


class PageReplay(_PageReplay, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageRhythmSignal(TypedDict):
    # What is on it.
    items: list[RhythmSignal]


class PageRhythmSignal(_PageRhythmSignal, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageSaga(TypedDict):
    # What is on it.
    items: list[Saga]


class PageSaga(_PageSaga, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageSagaRun(TypedDict):
    # What is on it.
    items: list[SagaRun]


class PageSagaRun(_PageSagaRun, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageSchedule(TypedDict):
    # What is on it.
    items: list[Schedule]


class PageSchedule(_PageSchedule, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageScheduleRun(TypedDict):
    # What is on it.
    items: list[ScheduleRun]


class PageScheduleRun(_PageScheduleRun, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageSource(TypedDict):
    # What is on it.
    items: list[Source]


class PageSource(_PageSource, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageSourceLink(TypedDict):
    # What is on it.
    items: list[SourceLink]


class PageSourceLink(_PageSourceLink, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageTenant(TypedDict):
    # What is on it.
    items: list[Tenant]


class PageTenant(_PageTenant, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageUser(TypedDict):
    # What is on it.
    items: list[User]


class PageUser(_PageUser, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageWaitingEvent(TypedDict):
    # What is on it.
    items: list[WaitingEvent]


class PageWaitingEvent(_PageWaitingEvent, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PageWaitingValue(TypedDict):
    # What is on it.
    items: list[WaitingValue]


class PageWaitingValue(_PageWaitingValue, total=False):
    """One page of a list."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None


class _PreviewRequest(TypedDict):
    # As in a schedule.
    cron: str


class PreviewRequest(_PreviewRequest, total=False):
    """An expression to look at."""

    # Ticks after this time. Left out: from now on.
    after: Time | None
    # How many ticks.
    count: int | None
    # Left out: `UTC`.
    zone: Text64 | None


class _Problem(TypedDict):
    # The stable code.
    code: str
    # What happened here, and what to do about it.
    detail: str
    # The HTTP status.
    status: int
    # What it means, in a few words.
    title: str
    # Where the code is explained.
    type: str


class Problem(_Problem, total=False):
    """An error, as RFC 9457 wants it."""

    # Which fields are wrong.
    errors: list[FieldError]


class Progress(TypedDict, total=False):
    """How far a job is."""

    # In words.
    note: str | None
    # Hundredths that are done.
    percent: int | None


class _PullInput(TypedDict):
    # The queues whose jobs it takes. One that there is not yet is made.
    queues: list[str]
    # The name that the worker gives itself: of its own, since it is listed under it.
    worker: str


class PullInput(_PullInput, total=False):
    """Jobs that are asked for."""

    # For how many seconds it holds each without a sign of life.
    lease_secs: int
    # How many jobs at the most.
    max: int
    # How other jobs went: recorded first.
    outcomes: list[OutcomeInput]
    # For how many seconds to wait for the first. Left out: 20, and not at all where outcomes are told.
    wait_secs: int | None


class Pulled(TypedDict):
    """The jobs that there were."""

    jobs: list[PulledJob]
    # What became of the outcomes that were told, in the same order.
    outcomes: list[OutcomeView]


class _PulledJob(TypedDict):
    # Greater each time that the job is handed out: who keeps the greatest can refuse what comes late.
    attempt: int
    created_at: Time
    id: str
    # What is to be done.
    kind: str
    # For how many seconds it is held without a sign of life.
    lease_secs: int
    queue: str
    tenant_id: str
    # What to show when speaking of this attempt.
    token: str
    # Which try it is since the job was made or run again, from 1.
    tries: int


class PulledJob(_PulledJob, total=False):
    """A job in a worker's hands."""

    payload: Any


class Quality(TypedDict):
    """How good the data of a source is, by the new events of the last 24 hours."""

    # Events that violate their schema in nothing, of those that were checked.
    accuracy: QualityScore
    # Events that lack nothing that their schema requires, of those that were checked.
    completeness: QualityScore
    # Events that came within 5 minutes of when they happened, of those of which that is known.
    freshness: QualityScore


class _QualityScore(TypedDict):
    denominator: int
    numerator: int


class QualityScore(_QualityScore, total=False):
    """A share, and what it is of."""

    # `numerator` / `denominator`, from 0 to 1; null where there was nothing to judge.
    score: float | None


class _Queue(TypedDict):
    # Dead letters.
    dead: int
    flow: QueueFlow
    # Jobs made in a second, over the last minute.
    in_per_sec: float
    limits: QueueLimits
    # Whether paces and tenants are known: by the node that runs the engine.
    live: bool
    name: str
    # Jobs that came to an end in a second, over the last minute.
    out_per_sec: float
    # Jobs to be tried again.
    retrying: int
    # Jobs under way.
    running: int
    # Jobs whose time has not come.
    scheduled: int
    # Those who use the most of it, and those of whom the most waits.
    tenants: list[QueueTenant]
    # Jobs that could be started.
    waiting: int


class Queue(_Queue, total=False):
    """A queue: how it stands, and what was said of it."""

    # The endpoint's breaker.
    breaker: BreakerState | None
    # How long what waits and runs would take at that pace, in seconds; null while nothing ends.
    drain_secs: int | None
    # While it is drained: whether nothing is left of what was made before.
    drained: bool | None
    # The endpoint that its jobs are pushed to.
    endpoint_id: str | None
    endpoint_name: str | None
    # When somebody said so; null: nobody did.
    flow_at: Time | None
    # When the oldest waiting job was made.
    oldest_waiting_at: Time | None


class QueueChange(TypedDict, total=False):
    """What is to change. What is left out stays; null takes a limit away."""

    # How many jobs may run at once.
    max_in_flight: int | None
    # How often one may begin.
    rate: QueueRate | None
    # How many jobs of one tenant may run at once.
    tenant_max_in_flight: int | None
    # How often one of a tenant's may begin.
    tenant_rate: QueueRate | None
    # Shares of tenants: from 1 to 1000, null for 1. Tenants that are not named keep theirs.
    weights: dict[str, int | None] | None


class QueueCounts(TypedDict):
    """How many jobs of a queue are in which state."""

    # Under way.
    active: int
    # Done, since the beginning.
    completed: int
    # Dead letters.
    failed: int
    # Failed, to be tried again.
    retrying: int
    # Ready, or not due yet.
    waiting: int

# Whether a queue's jobs are started.
QueueFlow: TypeAlias = Literal["running", "paused", "draining"]


class _QueueLimits(TypedDict):
    # Tenants whose share of the worker time is not 1.
    weights: dict[str, int]


class QueueLimits(_QueueLimits, total=False):
    """How much of a queue may run. Null: no limit of the queue's own."""

    # How many jobs may run at once.
    max_in_flight: int | None
    # How often one may begin.
    rate: QueueRate | None
    # How many jobs of one tenant may run at once.
    tenant_max_in_flight: int | None
    # How often one of a tenant's may begin.
    tenant_rate: QueueRate | None


class _QueueRate(TypedDict):
    # So many,
    count: int


class QueueRate(_QueueRate, total=False):
    """How often jobs may begin."""

    # So many may begin at once after a pause; 1: they are spread evenly.
    burst: int
    # in so many milliseconds.
    per_ms: int


class QueueTenant(TypedDict):
    """What a tenant uses of a queue."""

    # Whether one of the limits of tenants holds it back.
    limited: bool
    # Whether there are more of them than that.
    more: bool
    # Its jobs under way.
    running: int
    tenant_id: str
    # Worker time that its jobs took in the last five minutes, in milliseconds: of attempts that have ended.
    used_ms: int
    # Its jobs that could be started.
    waiting: int

# What requests count as.
RateClassName: TypeAlias = Literal["reads", "writes", "purchases", "credit_purchases", "work"]


class Rates(TypedDict):
    """What happened in the last second."""

    done: int
    failed: int
    received: int


class ReasonCount(TypedDict):
    """How many failed for one reason."""

    category: Category
    code: str
    count: int


class _Receipt(TypedDict):
    # Bytes of its body.
    bytes: int
    id: str
    received_at: Time
    # The address it came from.
    remote: str
    source_id: str
    source_name: str
    verdict: Verdict


class Receipt(_Receipt, total=False):
    """A request as it arrived."""

    # For a refused request the code of the reason, e.g. `signature_wrong`.
    reason: str | None


class _ReceiptDetail(Receipt):
    # Its headers, without credentials.
    headers: dict[str, str]


class ReceiptDetail(_ReceiptDetail, total=False):
    """A request with everything that is known of it."""

    # Why it is refused; null where it is not, or where its source is gone.
    diagnosis: Diagnosis | None


class Reindexing(TypedDict):
    """How far a source's events are looked at once more, since its rules have changed."""

    done: int
    source_id: str
    total: int


class RelatedObject(TypedDict):
    """An id that stands in the same events."""

    # In how many of the newest 100 events.
    events: int
    id: str
    name: str


class _Replay(TypedDict):
    # Who asked for it.
    by: str
    # Jobs that a person cancelled.
    cancelled: int
    created_at: Time
    # Jobs that became dead letters.
    dead: int
    # Jobs that were done.
    done: int
    # Events that were looked at.
    events: int
    id: str
    # Jobs that were made.
    jobs: int
    rate_per_second: int
    # Events that were selected when it was asked for.
    selected: int
    # Whether there were more: no more than 10,000 are counted.
    selected_at_least: bool
    selection: ReplaySelected
    skip_done: bool
    # Jobs that were left out, being done already.
    skipped: int
    state: ReplayState
    stop_on_failures_percent: int
    # Jobs that have not ended yet.
    unfinished: int
    unfinished_max: int


class Replay(_Replay, total=False):
    """A replay."""

    # The one binding that the events go to; null: every one that matches, or the endpoint.
    binding_id: str | None
    ended_at: Time | None
    # The endpoint that the events go to without any binding.
    endpoint_id: str | None
    # Why it was stopped: `person`, `failures` (it can be resumed), `binding_gone` or `endpoint_gone`.
    reason: str | None
    # The tenant whose events are replayed; null: those of every tenant.
    tenant_id: str | None


class _ReplayChange(TypedDict):
    # What such a row is called.
    what: str


class ReplayChange(_ReplayChange, total=False):
    """A row before and after. The same twice: it stays as it is."""

    # Null: it would be gone.
    after: Any
    # Null: it is not there.
    before: Any


class ReplayDryFailure(TypedDict):
    """Why a job would fail."""

    code: str
    error: str


class _ReplayDryJob(TypedDict):
    event_id: str
    # The job's kind.
    kind: str
    name: str
    # The event's type.
    type: str


class ReplayDryJob(_ReplayDryJob, total=False):
    """What one job would do."""

    # The binding; null: the endpoint that was named.
    binding_id: str | None
    # The rows that it would touch; null where nobody can tell, as with a push to an endpoint.
    changes: list[ReplayChange] | None
    # Why it would fail.
    failure: ReplayDryFailure | None


class ReplayDryRun(TypedDict):
    """What built-in handlers would change, as the database is now. Nothing is changed."""

    # Events that were tried, oldest first.
    events: int
    jobs: list[ReplayDryJob]
    # Whether there are more.
    more: bool


class _ReplayPlan(TypedDict):
    # Jobs that are done already for these events; made once more unless `skip_done`.
    already_done: int
    # Whether there are more events than a plan looks at (10,000): each number is at least so large.
    at_least: bool
    # How long the jobs take to be made, at this rate.
    duration_secs: int
    # Events selected.
    events: int
    # Where the jobs go, by name.
    goals: list[ReplayPlanGoal]
    # Jobs to make.
    jobs: int
    rate_per_second: int


class ReplayPlan(_ReplayPlan, total=False):
    """What a replay would do."""

    # The dry run, where it was asked for.
    effects: ReplayDryRun | None


class _ReplayPlanGoal(TypedDict):
    # Events that have a job for it that is done already.
    already_done: int
    # Jobs to make for it.
    jobs: int
    name: str


class ReplayPlanGoal(_ReplayPlanGoal, total=False):
    """What a plan says of one binding, or of the endpoint."""

    # The binding; null: the endpoint that was named.
    binding_id: str | None


class _ReplayRequest(TypedDict):
    # Only say what would happen.
    plan: bool
    selection: ReplaySelection


class ReplayRequest(_ReplayRequest, total=False):
    """A replay to plan or to run."""

    # The one binding that the events go to, whatever its types and filter. Left out: every enabled one of their source
    # that matches when their turn comes.
    binding_id: str | None
    # In a plan: a dry run of the first 100 events, which says what built-in handlers would change.
    effects: bool
    # Instead of bindings: the one endpoint that the events are pushed to, a sandbox. It must belong to the tenant of
    # the event, or of the event's source.
    endpoint_id: str | None
    # Jobs to make in a second.
    rate_per_second: int | None
    # Leave out an event where a job of the same binding (or endpoint) is done already.
    skip_done: bool
    # The share of its latest hundred jobs (and at least twenty) whose first try failed that stops it, in percent; 0:
    # none does.
    stop_on_failures_percent: int | None
    # Jobs of this replay that may be unfinished at once: beyond them it waits.
    unfinished_max: int | None


class _ReplaySelected(TypedDict):
    conflicts: bool
    # How many events were named by their ids.
    event_ids: int
    violates: bool


_ReplaySelectedWords = TypedDict("_ReplaySelectedWords", {"from": "Time | None"}, total=False)


class ReplaySelected(_ReplaySelected, _ReplaySelectedWords, total=False):
    """Which events a replay is about, as it was asked."""

    # The id of an object that stands in them.
    object: str | None
    provider_id: str | None
    source_id: str | None
    status: EventStatus | None
    to: Time | None
    type: str | None


_ReplaySelectionWords = TypedDict("_ReplaySelectionWords", {"from": "Time | None"}, total=False)


class ReplaySelection(_ReplaySelectionWords, total=False):
    """Which events."""

    # Only those that came again with other content.
    conflicts: bool
    # Exactly these; of the rest only what they match as well.
    event_ids: list[EventId] | None
    # The id of an object that stands in events.
    object: Text200 | None
    # An event's id, or the provider's; or, where no event is called so, the id of an object that stands in events.
    q: Text300 | None
    # A source's name or id.
    source: Text100 | None
    status: EventStatus | None
    # A tenant's id or slug.
    tenant: Text100 | None
    # Received before. What comes in after the replay was asked for is never replayed.
    to: Time | None
    # A type; with a trailing `*` all that begin so.
    type: Name200 | None
    # Only those that violate the schema of their type.
    violates: bool

# How a replay stands.
ReplayState: TypeAlias = Literal["running", "paused", "finishing", "done", "stopped"]


class ReportInput(TypedDict):
    """How jobs went."""

    outcomes: list[OutcomeInput]
    # The worker's name.
    worker: str


class ReportView(TypedDict):
    """What became of the outcomes."""

    # In the same order.
    outcomes: list[OutcomeView]


class RetryAnswer(TypedDict):
    """What would happen, or what happened."""

    by_reason: list[ReasonCount]
    # How many the selection met.
    matched: int
    # How many run again; 0 in a plan.
    retried: int

# When to try again.
RetryPolicy: TypeAlias = "RetryPolicyExponential | RetryPolicyFullJitter | RetryPolicySchedule"


class _RetryPolicyExponential(TypedDict):
    strategy: Literal["exponential"]


class RetryPolicyExponential(_RetryPolicyExponential, total=False):
    """Growing delays with a little jitter."""

    # How often a job is tried in all.
    attempts_max: int
    # The first delay, in milliseconds.
    base_ms: int
    # By what the delay grows.
    factor: float
    # The whole width of the jitter as a share of the delay.
    jitter: float
    # No delay is longer than this, in milliseconds.
    max_ms: int


class RetryPolicyFullJitter(TypedDict):
    """Growing delays, at a random point between nothing and the whole."""

    # How often a job is tried in all.
    attempts_max: int
    # The first delay, in milliseconds.
    base_ms: int
    # No delay is longer than this, in milliseconds.
    max_ms: int
    strategy: Literal["full_jitter"]


class RetryPolicySchedule(TypedDict):
    """These delays one after the other, the last one repeated."""

    # How often a job is tried in all.
    attempts_max: int
    # The delays, in milliseconds.
    delays_ms: list[DelayMs]
    strategy: Literal["schedule"]


class _ReverifyAnswer(TypedDict):
    # Those that came in with what is known with other content; 0 in a plan.
    conflicts: int
    # Those that came in with what has come since; 0 in a plan.
    duplicates: int
    # Refused requests looked at, oldest first.
    examined: int
    # Those that verify now.
    genuine: int
    # Those that came in with something new; 0 in a plan.
    released: int
    still_refused: list[StillRefused]


class ReverifyAnswer(_ReverifyAnswer, total=False):
    """What would happen, or what happened."""

    # Where the next call goes on, as its `after`; null: all were looked at.
    next: str | None


class _ReverifyRequest(TypedDict):
    # Only say what would happen.
    plan: bool


class ReverifyRequest(_ReverifyRequest, total=False):
    """Refused requests to verify again."""

    # Where the last call ended: its `next`. Left out: begins with the oldest.
    after: str | None


class _Rhythm(TypedDict):
    # The hours of the window, oldest first, the last one under way; none where nothing is known of the type.
    hours: list[RhythmHour]
    # The types, all together first. At most 64 are counted for themselves; those that came later are counted with all.
    types: list[RhythmType]


class Rhythm(_Rhythm, total=False):
    """How many events of each type a source brought, and how many were expected."""

    # Up to when events are counted; null: nobody has begun.
    counted_to: Time | None
    # The type that the hours are of; null: all together.
    event_type: str | None


class _RhythmHour(TypedDict):
    # How many came in that part.
    actual: int
    # Its start.
    at: Time
    # Which part of it was counted, from 0 to 1: less than all where Mainstay was away, more came than it counts, or the
    # hour is under way.
    counted: float


class RhythmHour(_RhythmHour, total=False):
    """One hour."""

    # How many were expected in that part, of an hour under way in all of it; null: it is being learned.
    expected: float | None
    # One in a hundred such hours has more.
    high: int | None
    # One in a hundred such hours has fewer.
    low: int | None

# What does not fit.
RhythmKind: TypeAlias = Literal["silence", "surge"]


class _RhythmSignal(TypedDict):
    # How many came.
    actual: int
    # How many were expected in it until the signal opened.
    expected: float
    id: str
    kind: RhythmKind
    opened_at: Time
    # The start of the time that was looked at.
    since: Time


class RhythmSignal(_RhythmSignal, total=False):
    """That a source was silent, or brought too much."""

    # Null: it goes on.
    ended_at: Time | None
    # The type; null: all types together.
    event_type: str | None


class _RhythmType(TypedDict):
    # How many came in the window.
    actual: int
    # When the last one was received.
    last_event_at: Time
    # Whether this hour of the week is still being learned: it must have been counted in two weeks.
    learning: bool


class RhythmType(_RhythmType, total=False):
    """One type."""

    # The type; null: all together.
    event_type: str | None
    # How many were expected, in the hours that are learned; null where none is.
    expected: float | None

# What somebody may do.
Role: TypeAlias = Literal["owner", "admin", "operator", "viewer"]


class _Rotation(TypedDict):
    # Old data keys removed.
    keys_removed: int
    # Data keys wrapped anew.
    keys_wrapped: int
    mode: RotationMode
    phase: RotationPhase
    # Rows looked at.
    rows: int
    started_at: Time
    # Who asked for it.
    started_by: str
    # Values sealed.
    values_sealed: int
    # Values that cannot be opened, because they were erased or changed; they stay as they are.
    values_unreadable: int


class Rotation(_Rotation, total=False):
    """A rotation: what was asked for, and how far it is."""

    ended_at: Time | None

# What a rotation does.
RotationMode: TypeAlias = Literal["master", "seal", "data"]

# How far a rotation is.
RotationPhase: TypeAlias = Literal["wrap", "settle", "seal", "done"]


class Saga(TypedDict):
    """Several durable steps, each with what undoes it."""

    created_at: Time
    id: str
    name: str
    tenant_id: str
    # When it got its newest version.
    updated_at: Time
    # The newest version: the one that runs begin with.
    version: int


class _SagaAction(TypedDict):
    # What is done: a kind of the team's own, a built-in one, or `endpoint.deliver`.
    kind: str
    # Where it waits.
    queue: str


class SagaAction(_SagaAction, total=False):
    """What a job of a saga does."""

    endpoint_id: str | None
    # Null also of an endpoint that is gone.
    endpoint_name: str | None
    # Null: what the run was begun with.
    input: Any
    # Null: the endpoint's, else the queue's.
    retry: RetryPolicy | None


class SagaActionInput(TypedDict, total=False):
    """What a job of a saga does. Where it goes is named by `endpoint`, or by `queue` and `kind`, or by a built-in
    `kind` alone.
    """

    # Push it to this endpoint, by its id or name.
    endpoint: Text100 | None
    # Its input: JSON in which `{"$": "/input/…"}`, `{"$": "/steps/NAME/…"}` and `{"$": "/run/id"}` stand for what the
    # run was begun with, what came of an earlier step, and the run. Left out: what the run was begun with.
    input: Any
    # What the worker is to do; or a built-in kind.
    kind: str | None
    # Let it wait here for a worker.
    queue: str | None
    # Left out: the endpoint's, else the queue's.
    retry: RetryPolicy | None


class _SagaCancel(TypedDict):
    at: Time
    by: str


class SagaCancel(_SagaCancel, total=False):
    """That a person takes a run back."""

    reason: str | None


class _SagaRun(TypedDict):
    # Who began it.
    by: str
    created_at: Time
    id: str
    saga_id: str
    state: SagaRunState
    steps: list[SagaRunStep]
    tenant_id: str
    # The version that it began with, and ends with.
    version: int


class SagaRun(_SagaRun, total=False):
    """One run of a saga."""

    # That a person takes it back.
    cancel: SagaCancel | None
    # Why it does not go on, or went back.
    error: str | None
    finished_at: Time | None
    # What there is one run of in the saga.
    key: str | None

# How a run stands.
SagaRunState: TypeAlias = Literal["running", "waiting", "compensating", "done", "compensated", "failed"]


class _SagaRunStep(TypedDict):
    # The key that it is done with, however often it is tried.
    idempotency_key: str
    name: str
    state: SagaStepState
    # Whether nobody knows that it was done.
    uncertain: bool


class SagaRunStep(_SagaRunStep, total=False):
    """A step of a run."""

    code: str | None
    # The job that undoes it.
    compensation_job_id: str | None
    # Until when it must have ended.
    deadline_at: Time | None
    error: str | None
    finished_at: Time | None
    # The job that does it.
    job_id: str | None
    # The job that finds out whether it was done.
    lookup_job_id: str | None
    started_at: Time | None
    # What a person said.
    verdict: SagaVerdict | None


class _SagaRunWithData(SagaRun):
    # What came of its steps, by name.
    outputs: dict[str, Any]
    # The saga's name.
    saga_name: str
    # The steps of its version, in their order.
    shape: list[SagaShape]


class SagaRunWithData(_SagaRunWithData, total=False):
    """One run of a saga, with what it carries."""

    # What it was begun with; null too where its tenant's key is destroyed.
    input: Any


class SagaShape(TypedDict):
    """What a step of the run's version is, for a picture of the run."""

    # Whether it waits for a person.
    approval: bool
    # Whether something undoes it.
    compensation: bool
    # Whether something finds out whether it was done.
    lookup: bool
    name: str


class _SagaStep(TypedDict):
    name: str


class SagaStep(_SagaStep, total=False):
    """One step of a saga."""

    # What it does; null: it waits for a person.
    action: SagaAction | None
    # What undoes it.
    compensation: SagaAction | None
    # What is asked when nobody knows whether it was done.
    lookup: SagaAction | None
    # How long it may take, or a person may think.
    timeout_secs: int | None


class _SagaStepInput(TypedDict):
    # Unique in the saga.
    name: str


class SagaStepInput(_SagaStepInput, total=False):
    """One step: what it does, or `approval`."""

    # It waits for a person, who approves or rejects.
    approval: ApprovalInput | None
    # What undoes it.
    compensation: SagaActionInput | None
    # Push it to this endpoint, by its id or name.
    endpoint: Text100 | None
    # Its input: JSON in which `{"$": "/input/…"}`, `{"$": "/steps/NAME/…"}` and `{"$": "/run/id"}` stand for what the
    # run was begun with, what came of an earlier step, and the run. Left out: what the run was begun with.
    input: Any
    # What the worker is to do; or a built-in kind.
    kind: str | None
    # What is asked when nobody knows whether it was done. It answers `{"done": true, "output": …}` or `{"done":
    # false}`.
    lookup: SagaActionInput | None
    # Let it wait here for a worker.
    queue: str | None
    # Left out: the endpoint's, else the queue's.
    retry: RetryPolicy | None
    # How long it may take with all its tries. Left out: as long as its retries last.
    timeout_secs: int | None

# How a step of a run stands.
SagaStepState: TypeAlias = Literal["pending", "running", "unknown", "done", "failed", "compensating", "compensated", "skipped"]


class _SagaVerdict(TypedDict):
    approved: bool
    at: Time
    by: str


class SagaVerdict(_SagaVerdict, total=False):
    """What a person said to a step that waits for approval."""

    reason: str | None


class SagaVersion(TypedDict):
    """One version of a saga. It never changes."""

    # Who made it.
    by: str
    created_at: Time
    steps: list[SagaStep]
    version: int


class SagaWithVersions(Saga):
    """A saga with its latest versions."""

    # Runs that have not ended.
    open_runs: list[OpenRuns]
    # Newest first, at most twenty.
    versions: list[SagaVersion]


class _Schedule(TypedDict):
    catch_up_max: int
    created_at: Time
    cron: str
    grace_ms: int
    id: str
    jitter_ms: int
    # What its jobs do: a built-in kind, one for the workers of `queue`, or `endpoint.deliver`.
    kind: str
    misfire: Misfire
    name: str
    overlap: Overlap
    paused: bool
    queue: str
    tenant_id: str
    updated_at: Time
    # The time zone that it is read in.
    zone: str


class Schedule(_Schedule, total=False):
    """A cron rule that makes jobs."""

    endpoint_id: str | None
    endpoint_name: str | None
    # The last run, as long as it is known.
    last_run: LastRun | None
    # When its job is made: the tick put off by the jitter, or by a run that it waits for.
    next_run_at: Time | None
    # The next tick; null while it is paused.
    next_tick: Time | None
    payload: Any
    # Why it cannot be used on this server.
    problem: str | None
    # Null: the endpoint's, else the handler's own.
    retry: RetryPolicy | None


class ScheduleChange(TypedDict, total=False):
    """What is to change."""

    catch_up_max: int | None
    cron: str | None
    # Push to this endpoint from now on.
    endpoint: Text100 | None
    grace_ms: int | None
    jitter_ms: int | None
    # Run this built-in job kind from now on, or one of the team's own, for the workers of `queue`.
    kind: Text100 | None
    misfire: Misfire | None
    name: str | None
    overlap: Overlap | None
    # Null: none any more.
    payload: Any
    # Where jobs of a kind of the team's own wait for a worker. Beside `kind`.
    queue: str | None
    retry: RetryPolicy | None
    zone: Text64 | None


class SchedulePreview(TypedDict):
    """What an expression names."""

    # The clock changes of the two years after that it has to do with.
    clock_changes: list[ClockChangeView]
    # Whether the expression follows the clock hour by hour, rather than naming times of a day.
    follows_clock: bool
    ticks: list[TickView]
    # The time zone as it is usually written.
    zone: str


class _ScheduleRun(TypedDict):
    # How many ticks this stands for.
    count: int
    # When it was decided.
    decided_at: Time
    outcome: TickOutcome
    # The tick; of several that were missed the last.
    tick: Time


class ScheduleRun(_ScheduleRun, total=False):
    """What became of a tick, or of several that were missed together."""

    job_id: str | None
    # Null: it made no job, or the job is gone.
    job_state: JobState | None
    # What the schedule's clock showed then, with its offset.
    local: str | None
    # The first of several that were missed.
    since: Time | None


class ScheduleWithRuns(Schedule):
    """A schedule with its next ticks and its latest runs."""

    # The clock changes of the next two years that it has to do with.
    clock_changes: list[ClockChangeView]
    # Whether it follows the clock hour by hour, rather than naming times of a day.
    follows_clock: bool
    # The next ten ticks of its rule, also while it is paused.
    next_ticks: list[TickView]
    # What became of its latest ticks, newest first.
    runs: list[ScheduleRun]


class SchemaStats(TypedDict):
    """What was counted by a schema in the last 24 hours."""

    # New events that were checked.
    checked: int
    # Those of them that lack something that it requires.
    incomplete: int
    # New events that were too large to be checked.
    unchecked: int
    # Those of them that violate it.
    violated: int

# How a provider signs its webhooks.
Scheme: TypeAlias = Literal["stripe", "standard_webhooks", "github", "meta", "shopify", "slack", "paddle", "whop", "paypal", "twilio", "bearer", "address", "hmac"]


class _SealedEntry(TypedDict):
    # What.
    action: str
    # Who; empty where it was erased.
    actor: str
    at: Time
    # The digest of actor, subject and detail.
    content: str
    # The hash over the entry before it and this one.
    hash: str
    id: str
    # Its place in the chain, from 1.
    position: int
    # To what; empty where it was erased.
    subject: str


class SealedEntry(_SealedEntry, total=False):
    """An entry in its place, with what its hash is made of."""

    # More, as the text of a JSON value: the hash goes over this very text.
    detail: str | None
    # What the digest of actor, subject and detail is made with, in hexadecimal; null where they were erased.
    salt: str | None
    tenant_id: str | None


class SecretRotation(TypedDict, total=False):
    """How a new signing secret takes the place of the one before."""

    # How long the secrets before it sign along, in seconds: a day unless this says otherwise; 0: not at all.
    overlap_secs: int | None


class SentRequest(TypedDict, total=False):
    """What was sent in an attempt."""

    headers: dict[str, str]
    method: str
    url: str


class _Session(TypedDict):
    # The database behind it.
    database: Database
    # Whether this is the demo.
    demo: bool
    # What they may do.
    role: Role
    # The server's version.
    version: str


class Session(_Session, total=False):
    """Who is signed in, and to what."""

    # The program, by key.
    key: SessionKey | None
    # The one tenant that they reach; null: all.
    tenant_id: str | None
    # The person, by session.
    user: SessionUser | None


class SessionKey(TypedDict):
    """A key that calls."""

    id: str
    name: str


class SessionUser(TypedDict):
    """A person who is signed in."""

    email: str
    id: str
    role: Role


class SignIn(TypedDict):
    """Address and password."""

    email: str
    password: str


class SignInLink(TypedDict, total=False):
    """A sign-in link."""

    # Works once, and for a day. Null in an answer that is repeated: it was shown before.
    url: str | None

# How a signature is written.
SignatureEncoding: TypeAlias = Literal["hex", "base64"]

# How requests to an endpoint are signed.
Signing: TypeAlias = Literal["standard_webhooks", "original"]


class Source(TypedDict):
    """A named door for inbound webhooks."""

    created_at: Time
    # Whether requests are taken. While it is not, providers are asked to send again later.
    enabled: bool
    id: str
    name: str
    scheme: SourceScheme
    # Newest first. Any of them may match: that is how one is rotated.
    secrets: list[SourceSecret]
    settings: SourceSettings
    stats: SourceStats
    tenant_id: str
    updated_at: Time
    # Where the provider sends to; empty for our own events, which no request can reach.
    url: str


class _SourceAnswer(TypedDict):
    # 200 to 299: anything else would make the provider send again.
    status: int


class SourceAnswer(_SourceAnswer, total=False):
    """The answer to an accepted request."""

    body: str
    content_type: str


class SourceChange(TypedDict, total=False):
    """What is to change."""

    enabled: bool | None
    name: str | None
    # Replaces all settings.
    settings: SourceSettings | None
    verify_token: str | None

# How an expected event stands.
SourceExpectedListState: TypeAlias = Literal["missing", "all", "waiting"]


class SourceLink(TypedDict):
    """A value of a provider's that stands for a tenant."""

    created_at: Time
    id: str
    tenant_id: str
    # Empty: for events in which no value is found.
    value: str


class _SourceObjects(TypedDict):
    # Whether they are the source's own; else they are those of its scheme.
    own: bool
    # The rules in force, in the order in which ids are taken.
    rules: list[ObjectRule]


class SourceObjects(_SourceObjects, total=False):
    """Where the ids of objects stand in the events of a source."""

    # How far its events are looked at once more, since the rules have changed; null: they are all indexed by them.
    reindexing: Reindexing | None


class _SourceRate(TypedDict):
    # Requests that prove genuine in a second.
    per_second: int


class SourceRate(_SourceRate, total=False):
    """How much a source's provider sends at the most, on each node. What is over is told to come again."""

    # How many of them may come at once; null: ten seconds' worth.
    burst: int | None

# Up to when.
SourceRhythmGetWindow: TypeAlias = Literal["day", "week"]

# How what comes in by a source is signed.
SourceScheme: TypeAlias = Literal["stripe", "standard_webhooks", "github", "meta", "shopify", "slack", "paddle", "whop", "paypal", "twilio", "bearer", "address", "hmac", "mainstay"]


class _SourceSecret(TypedDict):
    created_at: Time
    # The last four characters.
    hint: str
    id: str


class SourceSecret(_SourceSecret, total=False):
    """A signing secret, without itself."""

    # When it last matched, to the minute.
    last_used_at: Time | None


class SourceSettings(TypedDict, total=False):
    """What a source can be told beside its scheme."""

    # The addresses and ranges, such as `192.0.2.0/24`, that requests may come from; empty: from anywhere. Required by
    # the scheme `address`, and an addition to any other.
    allow: list[str]
    # What an accepted request is answered with, where the provider reads it.
    answer: SourceAnswer | None
    # The scheme `bearer`: where the token stands.
    bearer: BearerRule | None
    # The largest body, in bytes.
    body_limit_bytes: int
    # The schemes `bearer` and `address`: where the event's parts stand.
    event: EventRule | None
    # What must come after what.
    expect: list[ExpectRule]
    # The rule of the scheme `hmac`: required there, refused elsewhere.
    hmac: HmacRule | None
    # Where the ids of objects stand in events, for timelines; null: where those of the scheme do.
    objects: list[ObjectRule] | None
    # How much its provider sends at the most; null: as much as it likes. Not for the schemes `github` and `twilio`,
    # whose providers send nothing again.
    rate: SourceRate | None
    # How the tenant of each event is found; null: it is the source's own. Not for keys that are bound to a tenant.
    tenant: TenantRule | None
    # How old, and how far in the future, a signature's time may be, in seconds.
    tolerance_secs: int
    # The scheme `twilio`: the URL as Twilio has it, without its query, where that is not the server's public URL.
    url: str | None


class _SourceStats(TypedDict):
    # Events that came again with other content.
    conflicts: int
    # Requests that brought nothing new.
    duplicates: int
    # Requests that brought something new.
    events: int
    # How good the data of new events is.
    quality: Quality
    # Genuine requests that were told to come again, since more came than `settings.rate`.
    rate_exceeded: int
    # Requests in all.
    received: int
    # Requests that were refused.
    refused: int
    # Those of them that were only counted, since more came than the quarantine takes.
    refused_not_kept: int
    # Requests that were turned away unread, since too many of their address had failed.
    turned_away: int


class SourceStats(_SourceStats, total=False):
    """Counts of the last 24 hours."""

    # The last minute in which something new came; null when none did in these 24 hours.
    last_event_at: Time | None
    # The first minute in which one was only counted; null when all were kept.
    refused_not_kept_since: Time | None


class SqlInput(TypedDict):
    """A statement."""

    # One statement that reads.
    statement: str


class SqlTable(TypedDict):
    """What a statement answered."""

    columns: list[str]
    rows: list[list[Any]]
    # Whether there are more rows than are shown.
    truncated: bool

# How something is. The order matters: the worst of several is the greatest.
Status: TypeAlias = Literal["healthy", "degraded", "unhealthy"]

# What a step of a timeline is.
StepName: TypeAlias = Literal["request", "event", "violation", "finding", "replay", "job", "attempt", "dead_letter"]


class StillRefused(TypedDict):
    """How many requests stay refused for one reason."""

    count: int
    # The code of the reason that holds now, e.g. `signature_wrong`; `body_not_kept` where the body was too large to be
    # kept.
    reason: str


class StorageView(TypedDict):
    """How much room the database takes."""

    # All tables together.
    bytes: int
    measured_at: Time
    # The largest first.
    tables: list[TableSize]

# What a message is about.
StreamEvent: TypeAlias = Literal["tick", "change"]


class StreamMessage(TypedDict):
    """One message of the stream."""

    # JSON: a `Tick` or a `Change`.
    data: str
    event: StreamEvent


class SubmittedJob(TypedDict):
    """A job that was submitted."""

    # Whether it is one that was there before, with the key of the one that was given.
    existing: bool
    id: str


class TableSize(TypedDict):
    """How much room a table takes."""

    # With its indexes.
    bytes: int
    name: str


class Taken(TypedDict):
    """The answer to a request that was taken."""

    # The events in it.
    event_ids: list[str]
    # Always true: it is committed.
    received: bool
    status: TakenStatus

# What became of a request that was taken.
TakenStatus: TypeAlias = Literal["queued", "duplicate", "conflict"]


class Tenant(TypedDict):
    """One customer of the SaaS."""

    created_at: Time
    id: str
    # For people.
    name: str
    # For commands and filters.
    slug: str

# Where a value stands that a tenant may be known by.
TenantFrom: TypeAlias = "TenantFromHeader | TenantFromPointer"


class TenantFromHeader(TypedDict):
    """In a header."""

    # In a header.
    header: str


class TenantFromPointer(TypedDict):
    """In the event's payload: a JSON pointer to a string or a whole number; in a form, `/` and the name of a field."""

    # In the event's payload: a JSON pointer to a string or a whole number; in a form, `/` and the name of a field.
    pointer: str


class _TenantRule(TypedDict):
    # Where values stand that a tenant may be known by, in order: the first that leads to one wins.
    find: list[TenantFrom]


class TenantRule(_TenantRule, total=False):
    """How the tenant of each event is found."""

    # Whether a value that nobody linked may be the slug or the id of a tenant itself.
    direct: bool

Text100: TypeAlias = str

Text200: TypeAlias = str

Text300: TypeAlias = str

Text63: TypeAlias = str

Text64: TypeAlias = str


class Throughput(TypedDict):
    """The counts behind the charts."""

    points: list[OverviewPoint]
    # How long one point is.
    step_secs: int


class _Tick(TypedDict):
    at: Time
    backlog: Backlog
    dead_letters: int
    rates: Rates


class Tick(_Tick, total=False):
    """How things stand, every second."""

    oldest_waiting_secs: int | None

# What became of a tick.
TickOutcome: TypeAlias = Literal["run", "by_hand", "overlapped", "missed"]


class _TickView(TypedDict):
    at: Time
    # What the schedule's clock shows then, with its offset.
    local: str


class TickView(_TickView, total=False):
    """A moment that a rule names."""

    # What a clock change makes of it.
    note: str | None

Time: TypeAlias = str

# Where it stands when an event happened: RFC 3339, or seconds or milliseconds since 1970.
TimeFrom: TypeAlias = "TimeFromHeader | TimeFromPointer"


class TimeFromHeader(TypedDict):
    """In a header."""

    # In a header.
    header: str


class TimeFromPointer(TypedDict):
    """In the body: a JSON pointer."""

    # In the body: a JSON pointer.
    pointer: str


class _Timeline(TypedDict):
    index: IndexView
    items: list[TimelineItem]
    # The id that was asked for.
    object: str
    # Other ids in the newest of its events, the most frequent first; on the first page alone.
    related: list[RelatedObject]


class Timeline(_Timeline, total=False):
    """Everything about one object."""

    # What to pass as `cursor` for the next page; null on the last.
    next_cursor: str | None

# Which way a timeline goes.
TimelineGetOrder: TypeAlias = Literal["newest", "oldest"]


class TimelineItem(Event):
    """An event with its ids and everything that happened around it."""

    # The ids that stand in it.
    objects: list[ObjectId]
    # In causal order: the request, the event, then what followed, each after what it follows from.
    steps: list[TimelineStep]
    # Whether there are more steps than are shown.
    steps_truncated: bool


class _TimelineStep(TypedDict):
    at: Time
    # The id of what it tells of; of an attempt and a dead letter the job's.
    id: str
    # Verdict, state or outcome.
    state: str
    # The same in words.
    text: str
    what: StepName


class TimelineStep(_TimelineStep, total=False):
    """One step of what happened around an event."""

    # The id of what it follows from; null: it is the beginning.
    of: str | None


class _UniqueInput(TypedDict):
    # What they share, e.g. `report:2026-11`. Only a digest of it is kept.
    key: str


class UniqueInput(_UniqueInput, total=False):
    """One of its kind: what becomes of it when there is another with its key in its queue, of the same tenant."""

    # With `replace` and `run_at`: however often it is replaced, it runs no later than so long after the first one.
    at_latest_secs: int | None
    # And in any case for so long after it was submitted.
    for_secs: int | None
    # Left out: `keep`.
    if_taken: IfTakenName | None
    # Until when an earlier one stands in its way. Left out: `ended`.
    until: UniqueUntilName | None

# Until when an earlier job stands in the way.
UniqueUntilName: TypeAlias = Literal["ended", "started"]


class _User(TypedDict):
    created_at: Time
    email: str
    # Whether they can sign in without a link.
    has_password: bool
    id: str
    role: Role


class User(_User, total=False):
    """A person who signs in."""

    # When they were last here, to the minute.
    last_seen_at: Time | None


class UserChange(TypedDict, total=False):
    """What is to change."""

    password: str | None
    role: Role | None


class _Vault(TypedDict):
    # Master keys that the server has, or that data keys are wrapped by.
    master_keys: list[MasterKey]
    # Whether what comes in is sealed.
    on: bool
    # Whether everything is sealed: from the beginning, or since a rotation saw to it.
    whole: bool


class Vault(_Vault, total=False):
    """How encryption at rest stands."""

    # The rotation that is under way, or else the last one.
    rotation: Rotation | None

# How a request was judged.
Verdict: TypeAlias = Literal["accepted", "duplicate", "conflict", "refused"]


class Violation(TypedDict):
    """What an event has otherwise than its schema says."""

    # The first few problems.
    problems: list[ViolationProblem]
    schema_id: str
    # The version of the schema that it was checked against when it came in.
    version: int


class ViolationProblem(TypedDict):
    """One thing that an event has otherwise than its schema says."""

    # The word of the schema that it breaks, such as `required`; empty where it cannot be said.
    keyword: str
    # Where in the payload: a JSON pointer.
    pointer: str
    # What is wrong. No value of the event's is quoted.
    problem: str


class _WaitingEvent(TypedDict):
    # How often the provider delivered it.
    deliveries: int
    id: str
    payload_bytes: int
    # The provider's own id.
    provider_id: str
    received_at: Time
    source_id: str
    source_name: str
    # The provider's type, e.g. `invoice.paid`.
    type: str
    # The values that its tenant was looked for by: a link of any of them assigns it. One empty value: none was found.
    values: list[str]


class WaitingEvent(_WaitingEvent, total=False):
    """An event whose tenant is not known yet. It keeps its id when it becomes known."""

    # When the provider says that it happened.
    occurred_at: Time | None


class _WaitingEventDetail(WaitingEvent):
    # The headers of the request that brought it first, without credentials.
    headers: dict[str, str]
    # The requests that brought it, oldest first.
    receipts: list[EventReceipt]


class WaitingEventDetail(_WaitingEventDetail, total=False):
    """A waiting event with everything that is known of it."""

    # The payload, where it is JSON and not too large to show; numbers exactly as they came.
    payload: Any
    # The payload, where it is text but no JSON and not too large to show.
    payload_text: str | None


class WaitingValue(TypedDict):
    """How many events wait for a value."""

    events: int
    # The event that has waited longest.
    oldest_event_id: str
    # Since when it has.
    oldest_received_at: Time
    # Empty: no value was found in them.
    value: str

# What becomes of jobs while a breaker is open by its own rule. While a person holds it open they wait.
WhenOpen: TypeAlias = Literal["wait", "fail"]

# How far back.
Window: TypeAlias = Literal["1h", "24h", "7d"]


class Worker(TypedDict):
    """A process that takes jobs."""

    # By which key it works, e.g. `key:deploy`.
    by: str
    # The jobs in its hands.
    job_ids: list[str]
    # When it was last heard of.
    last_seen_at: Time
    # The name that it gives itself.
    name: str
    # The queues that it asked for last.
    queues: list[str]


class WorkerList(TypedDict):
    """The workers."""

    items: list[Worker]
