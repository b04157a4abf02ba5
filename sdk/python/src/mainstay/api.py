"""Every route of the API. Made of the API's document by generate.py: not written by hand."""

from __future__ import annotations

from typing import Any

from . import schemas
from .connection import Connection, quoted


class Api:
    """Every route of the API, a method each, named as in its document."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def livez(self) -> str:
        """Whether the process runs."""
        return self._connection.call("GET", "/livez", read="text")

    def metrics(self) -> str:
        """Metrics, as OpenMetrics.

        From this machine without a key; from elsewhere with one that is not bound to a tenant.
        """
        return self._connection.call("GET", "/metrics", read="text")

    def readyz(self) -> str:
        """Whether intake can commit, and the server is not about to stop."""
        return self._connection.call("GET", "/readyz", read="text")

    def audit_list(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        tenant: str | None = None,
        from_: schemas.Time | None = None,
        to: schemas.Time | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageAuditEntry:
        """The audit log, newest first.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/audit",
            query={
                "actor": actor,
                "action": action,
                "subject": subject,
                "tenant": tenant,
                "from": from_,
                "to": to,
                "cursor": cursor,
                "limit": limit,
            },
        )

    def audit_export(self, *, after: int | None = None, limit: int | None = None) -> schemas.AuditChain:
        """A part of the audit log's chain, with what its hashes are made of.

        That it was taken out is in the log as well. `mainstay audit export` writes all of it as a file, and
        `mainstay audit verify` looks whether it holds.

        Takes the role `owner`.
        """
        return self._connection.call("GET", "/v1/audit/export", query={"after": after, "limit": limit})

    def audit_head(self) -> schemas.AuditHead:
        """The end of the audit log's chain.

        Kept elsewhere, it proves that nothing in front of it was changed since: see `mainstay audit verify`.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/audit/head")

    def binding_list(self, *, cursor: str | None = None, limit: int | None = None) -> schemas.PageBinding:
        """List bindings.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/bindings", query={"cursor": cursor, "limit": limit})

    def binding_create(self, body: schemas.NewBinding, *, idempotency_key: str | None = None) -> schemas.Binding:
        """Add a binding.

        Events that come in from now on make jobs by it; older ones can be replayed.

        Takes the role `admin`.
        """
        return self._connection.once("POST", "/v1/bindings", body, idempotency_key=idempotency_key)

    def binding_get(self, id: str) -> schemas.Binding:
        """Show a binding.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/bindings/{quoted(id)}")

    def binding_delete(self, id: str, *, idempotency_key: str | None = None) -> None:
        """Remove a binding.

        Its jobs go on.

        Takes the role `admin`.
        """
        self._connection.once("DELETE", f"/v1/bindings/{quoted(id)}", idempotency_key=idempotency_key, read="nothing")

    def binding_update(
        self,
        id: str,
        body: schemas.BindingChange,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.Binding:
        """Change a binding.

        Takes the role `admin`.
        """
        return self._connection.once("PATCH", f"/v1/bindings/{quoted(id)}", body, idempotency_key=idempotency_key)

    def breaker_list(self, *, cursor: str | None = None, limit: int | None = None) -> schemas.PageDependencyBreaker:
        """List breakers.

        One for each dependency of the endpoints. As the engine wrote them down last, so every node says the same.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/breakers", query={"cursor": cursor, "limit": limit})

    def breaker_get(self, name: str) -> schemas.DependencyBreaker:
        """Show a breaker.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/breakers/{quoted(name)}")

    def breaker_auto(self, name: str, *, idempotency_key: str | None = None) -> schemas.DependencyBreaker:
        """Give a breaker back to its own rule.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/breakers/{quoted(name)}/auto", idempotency_key=idempotency_key)

    def breaker_close(
        self,
        name: str,
        body: schemas.BreakerClosing,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.DependencyBreaker:
        """Hold a breaker closed.

        Everything is sent, whatever its dependency answers. When the time is over it goes by its own rule again, as
        new.

        Takes the role `operator`.
        """
        return self._connection.once(
            "POST",
            f"/v1/breakers/{quoted(name)}/close",
            body,
            idempotency_key=idempotency_key,
        )

    def breaker_history(
        self,
        name: str,
        *,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageBreakerChange:
        """List the changes of a breaker.

        The last first, each with the rule it was made by and what that counted, or with who made it. Kept as long as
        events are.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            f"/v1/breakers/{quoted(name)}/history",
            query={"cursor": cursor, "limit": limit},
        )

    def breaker_open(
        self,
        name: str,
        body: schemas.BreakerOpening,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.DependencyBreaker:
        """Hold a breaker open.

        Nothing is sent to its dependency; what comes waits and uses up no attempt. What is under way comes to its
        end. When the time is over, or it is given back to its own rule, probes are let through first.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/breakers/{quoted(name)}/open", body, idempotency_key=idempotency_key)

    def configuration_get(
        self,
        *,
        tenant: schemas.Text100 | None = None,
        links: bool | None = None,
    ) -> schemas.ConfigurationExport:
        """Show the configuration as a declaration.

        Without any secret: the answer says where they belong.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/configuration", query={"tenant": tenant, "links": links})

    def configuration_apply(
        self,
        body: schemas.NewConfiguration,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.ConfigurationPlan:
        """Change the configuration to what is declared.

        All of it in one transaction or nothing. What is there and not declared is left alone, unless `prune` asks to
        remove it. With `dry_run` it is only said what would change. Applying the same again changes nothing.

        Takes the role `admin`.
        """
        return self._connection.once("POST", "/v1/configuration/apply", body, idempotency_key=idempotency_key)

    def dead_letter_list(
        self,
        *,
        tenant: str | None = None,
        kind: str | None = None,
        endpoint: str | None = None,
        event: str | None = None,
        category: schemas.Category | None = None,
        code: str | None = None,
        from_: schemas.Time | None = None,
        to: schemas.Time | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageDeadLetter:
        """List dead letters, newest first.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/dead-letters",
            query={
                "tenant": tenant,
                "kind": kind,
                "endpoint": endpoint,
                "event": event,
                "category": category,
                "code": code,
                "from": from_,
                "to": to,
                "cursor": cursor,
                "limit": limit,
            },
        )

    def dead_letter_discard(
        self,
        body: schemas.DeadLetterDiscard,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.DiscardAnswer:
        """Give dead letters up, or plan it.

        They leave the list; their jobs stay with the reason in their history. One call takes at most 50,000.

        Takes the role `operator`.
        """
        return self._connection.once("POST", "/v1/dead-letters/discard", body, idempotency_key=idempotency_key)

    def dead_letter_export(
        self,
        *,
        tenant: str | None = None,
        kind: str | None = None,
        endpoint: str | None = None,
        event: str | None = None,
        category: schemas.Category | None = None,
        code: str | None = None,
        from_: schemas.Time | None = None,
        to: schemas.Time | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> bytes:
        """Export dead letters, one JSON object a line.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/dead-letters/export",
            query={
                "tenant": tenant,
                "kind": kind,
                "endpoint": endpoint,
                "event": event,
                "category": category,
                "code": code,
                "from": from_,
                "to": to,
                "cursor": cursor,
                "limit": limit,
            },
            read="bytes",
        )

    def dead_letter_groups(
        self,
        *,
        tenant: str | None = None,
        kind: str | None = None,
        endpoint: str | None = None,
        event: str | None = None,
        category: schemas.Category | None = None,
        code: str | None = None,
        from_: schemas.Time | None = None,
        to: schemas.Time | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.DeadLetterGroups:
        """Group dead letters by their reason.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/dead-letters/groups",
            query={
                "tenant": tenant,
                "kind": kind,
                "endpoint": endpoint,
                "event": event,
                "category": category,
                "code": code,
                "from": from_,
                "to": to,
                "cursor": cursor,
                "limit": limit,
            },
        )

    def dead_letter_retry(
        self,
        body: schemas.DeadLetterRetry,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.RetryAnswer:
        """Run dead letters again, or plan it.

        Their tries start from the beginning. One call takes at most 50,000.

        Takes the role `operator`.
        """
        return self._connection.once("POST", "/v1/dead-letters/retry", body, idempotency_key=idempotency_key)

    def endpoint_list(self, *, cursor: str | None = None, limit: int | None = None) -> schemas.PageEndpoint:
        """List endpoints.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/endpoints", query={"cursor": cursor, "limit": limit})

    def endpoint_create(
        self,
        body: schemas.NewEndpoint,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.CreatedEndpoint:
        """Add an endpoint.

        The answer carries the secret that requests are signed with; nothing shows it again.

        Takes the role `admin`.
        """
        return self._connection.once("POST", "/v1/endpoints", body, idempotency_key=idempotency_key)

    def endpoint_get(self, id: str) -> schemas.Endpoint:
        """Show an endpoint.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/endpoints/{quoted(id)}")

    def endpoint_delete(self, id: str, *, idempotency_key: str | None = None) -> None:
        """Remove an endpoint.

        Refused while a binding names it.

        Takes the role `admin`.
        """
        self._connection.once("DELETE", f"/v1/endpoints/{quoted(id)}", idempotency_key=idempotency_key, read="nothing")

    def endpoint_update(
        self,
        id: str,
        body: schemas.EndpointChange,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.Endpoint:
        """Change an endpoint.

        Takes the role `admin`.
        """
        return self._connection.once("PATCH", f"/v1/endpoints/{quoted(id)}", body, idempotency_key=idempotency_key)

    def endpoint_secret_rotate(
        self,
        id: str,
        body: schemas.SecretRotation | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.EndpointSecret:
        """Make a new signing secret for an endpoint.

        Requests are signed with it and, until the overlap ends, with those before it, so that a receiver can change
        over without a gap.

        Takes the role `admin`.
        """
        return self._connection.once(
            "POST",
            f"/v1/endpoints/{quoted(id)}/secret",
            body,
            idempotency_key=idempotency_key,
        )

    def endpoint_secret_overlap_end(self, id: str, *, idempotency_key: str | None = None) -> None:
        """End the overlap of an endpoint's secrets.

        From now on requests are signed with the newest secret alone.

        Takes the role `admin`.
        """
        self._connection.once(
            "DELETE",
            f"/v1/endpoints/{quoted(id)}/secret/previous",
            idempotency_key=idempotency_key,
            read="nothing",
        )

    def event_list(
        self,
        *,
        source: str | None = None,
        type: str | None = None,
        status: schemas.EventStatus | None = None,
        violates: bool | None = None,
        conflicts: bool | None = None,
        tenant: str | None = None,
        q: str | None = None,
        object: str | None = None,
        from_: schemas.Time | None = None,
        to: schemas.Time | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.EventPage:
        """List events, newest first.

        Where few are asked for among very many, as by their status, one page looks at a part of them and says how
        far it came.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/events",
            query={
                "source": source,
                "type": type,
                "status": status,
                "violates": violates,
                "conflicts": conflicts,
                "tenant": tenant,
                "q": q,
                "object": object,
                "from": from_,
                "to": to,
                "cursor": cursor,
                "limit": limit,
            },
        )

    def event_get(self, id: str) -> schemas.EventDetail:
        """Show an event.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/events/{quoted(id)}")

    def event_filter(self, id: str, *, filter: str) -> schemas.FilterAnswer:
        """Try a binding's filter on an event that is kept.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/events/{quoted(id)}/filter", query={"filter": filter})

    def event_payload(self, id: str) -> bytes:
        """The payload of an event, byte by byte as it came.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/events/{quoted(id)}/payload", read="bytes")

    def health_get(self) -> schemas.Health:
        """How the installation is (HLT-01).

        200 only when everything is healthy, else 503 with the same body.
        """
        return self._connection.call("GET", "/v1/health")

    def job_counts(self) -> schemas.JobCounts:
        """Count jobs by queue.

        A key of one tenant sees the queues of its own endpoints.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/job-counts")

    def job_list(
        self,
        *,
        state: schemas.JobState | None = None,
        queue: str | None = None,
        kind: str | None = None,
        tenant: str | None = None,
        event: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageJob:
        """List jobs, newest first.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/jobs",
            query={
                "state": state,
                "queue": queue,
                "kind": kind,
                "tenant": tenant,
                "event": event,
                "cursor": cursor,
                "limit": limit,
            },
        )

    def job_create(self, body: schemas.NewJobInput, *, idempotency_key: str | None = None) -> schemas.Job:
        """Submit a job.

        To a queue of which more waits than its limits allow: 429 with the code `queue_full`.

        Takes the role `operator`.
        """
        return self._connection.once("POST", "/v1/jobs", body, idempotency_key=idempotency_key)

    def job_create_bulk(self, body: schemas.BulkInput, *, idempotency_key: str | None = None) -> schemas.BulkView:
        """Submit many jobs.

        All in one commit, or none of them: none where one of their queues takes no more (429, `queue_full`).

        Takes the role `operator`.
        """
        return self._connection.once("POST", "/v1/jobs/bulk", body, idempotency_key=idempotency_key)

    def job_get(self, id: str) -> schemas.JobWithAttempts:
        """Show a job with its attempts.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/jobs/{quoted(id)}")

    def job_cancel(self, id: str, body: schemas.CancelInput, *, idempotency_key: str | None = None) -> schemas.JobEnded:
        """Cancel a job that has not ended.

        An attempt that is under way may still reach the endpoint; nothing is started any more.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/jobs/{quoted(id)}/cancel", body, idempotency_key=idempotency_key)

    def job_retry(self, id: str, *, idempotency_key: str | None = None) -> schemas.JobEnded:
        """Run a dead letter again.

        Its tries start from the beginning.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/jobs/{quoted(id)}/retry", idempotency_key=idempotency_key)

    def key_list(self, *, cursor: str | None = None, limit: int | None = None) -> schemas.PageKey:
        """List keys.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/keys", query={"cursor": cursor, "limit": limit})

    def key_create(self, body: schemas.NewKey, *, idempotency_key: str | None = None) -> schemas.CreatedKey:
        """Make a key.

        The answer carries its secret; nothing shows it again.

        Takes the role `owner`.
        """
        return self._connection.once("POST", "/v1/keys", body, idempotency_key=idempotency_key)

    def key_delete(self, id: str, *, idempotency_key: str | None = None) -> None:
        """Remove a key.

        It stops working at once on this node, within seconds on others.

        Takes the role `owner`.
        """
        self._connection.once("DELETE", f"/v1/keys/{quoted(id)}", idempotency_key=idempotency_key, read="nothing")

    def key_update(self, id: str, body: schemas.KeyChange, *, idempotency_key: str | None = None) -> schemas.Key:
        """Change how many requests a key may make.

        In the place of what all keys may make (`limits.*` of the configuration), for some time or until it is
        changed. It holds at once on this node, within seconds on others.

        Takes the role `admin`.
        """
        return self._connection.once("PATCH", f"/v1/keys/{quoted(id)}", body, idempotency_key=idempotency_key)

    def line_list(
        self,
        *,
        state: schemas.LineState | None = None,
        queue: str | None = None,
        endpoint: str | None = None,
        key: str | None = None,
        tenant: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageLine:
        """List lines, newest first.

        A line is there as long as one of its jobs has not ended, or parks it.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/lines",
            query={
                "state": state,
                "queue": queue,
                "endpoint": endpoint,
                "key": key,
                "tenant": tenant,
                "cursor": cursor,
                "limit": limit,
            },
        )

    def line_get(self, id: str) -> schemas.LineWithJobs:
        """Show a line with the jobs that wait in it.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/lines/{quoted(id)}")

    def line_release(self, id: str, *, idempotency_key: str | None = None) -> schemas.LineReleased:
        """Let a parked line go on.

        Its next job runs; the dead letter that parked it stays one.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/lines/{quoted(id)}/release", idempotency_key=idempotency_key)

    def openapi_get(self) -> Any:
        """This document."""
        return self._connection.call("GET", "/v1/openapi.json")

    def overview_get(self, *, window: schemas.Window | None = None) -> schemas.Overview:
        """Everything at a glance.

        A key of one tenant sees what its own sources and endpoints counted.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/overview", query={"window": window})

    def queue_list(self, *, cursor: str | None = None, limit: int | None = None) -> schemas.PageQueue:
        """List queues.

        Counted by the engine as of a moment ago, never by a query. A key of one tenant sees the queues of its own
        endpoints.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/queues", query={"cursor": cursor, "limit": limit})

    def queue_get(self, name: str) -> schemas.Queue:
        """Show a queue.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/queues/{quoted(name)}")

    def queue_update(
        self,
        name: str,
        body: schemas.QueueChange,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.Queue:
        """Change how much of a queue may run.

        It holds for the next job that begins; what runs is not stopped. A limit is kept over restarts too: a new
        owner of the engine begins with empty buckets, and counts what its predecessor had under way for as long as
        an attempt may last.

        Takes the role `admin`.
        """
        return self._connection.once("PATCH", f"/v1/queues/{quoted(name)}", body, idempotency_key=idempotency_key)

    def queue_drain(self, name: str, *, idempotency_key: str | None = None) -> schemas.Queue:
        """Drain a queue.

        What was made until now runs, to its end, retries included; what comes later waits until the queue is
        resumed.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/queues/{quoted(name)}/drain", idempotency_key=idempotency_key)

    def queue_pause(self, name: str, *, idempotency_key: str | None = None) -> schemas.Queue:
        """Pause a queue.

        Nothing of it is started; what runs comes to its end, and what comes waits.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/queues/{quoted(name)}/pause", idempotency_key=idempotency_key)

    def queue_resume(self, name: str, *, idempotency_key: str | None = None) -> schemas.Queue:
        """Let a queue run again.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/queues/{quoted(name)}/resume", idempotency_key=idempotency_key)

    def receipt_list(
        self,
        *,
        source: str | None = None,
        verdict: schemas.Verdict | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageReceipt:
        """List requests, newest first: those that were refused, unless asked otherwise.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/receipts",
            query={"source": source, "verdict": verdict, "cursor": cursor, "limit": limit},
        )

    def receipt_get(self, id: str) -> schemas.ReceiptDetail:
        """Show a request, and why it was refused.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/receipts/{quoted(id)}")

    def replay_list(
        self,
        *,
        tenant: str | None = None,
        state: schemas.ReplayState | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageReplay:
        """List replays, newest first.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/replays",
            query={"tenant": tenant, "state": state, "cursor": cursor, "limit": limit},
        )

    def replay_create(
        self,
        body: schemas.ReplayRequest,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.ReplayPlan | schemas.Replay:
        """Replay events, or plan it.

        A replay makes jobs of its own beside those that there were, at its rate and behind everything that is live.
        Its first jobs are made at once; then it goes on by itself.

        Takes the role `operator`.
        """
        return self._connection.once("POST", "/v1/replays", body, idempotency_key=idempotency_key)

    def replay_get(self, id: str) -> schemas.Replay:
        """Show a replay.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/replays/{quoted(id)}")

    def replay_pause(self, id: str, *, idempotency_key: str | None = None) -> schemas.Replay:
        """Pause a replay.

        It makes no more jobs until it is resumed. What was made goes on.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/replays/{quoted(id)}/pause", idempotency_key=idempotency_key)

    def replay_resume(self, id: str, *, idempotency_key: str | None = None) -> schemas.Replay:
        """Resume a replay.

        One that was paused, or that stopped because too many of its jobs failed.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/replays/{quoted(id)}/resume", idempotency_key=idempotency_key)

    def replay_stop(self, id: str, *, idempotency_key: str | None = None) -> schemas.Replay:
        """Stop a replay.

        It makes no more jobs, ever. What was made goes on.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/replays/{quoted(id)}/stop", idempotency_key=idempotency_key)

    def saga_run_list(
        self,
        *,
        tenant: str | None = None,
        saga: str | None = None,
        state: schemas.SagaRunState | None = None,
        key: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageSagaRun:
        """List runs of sagas, newest first.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/saga-runs",
            query={"tenant": tenant, "saga": saga, "state": state, "key": key, "cursor": cursor, "limit": limit},
        )

    def saga_run_get(self, id: str) -> schemas.SagaRunWithData:
        """Show a run with what it carries.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/saga-runs/{quoted(id)}")

    def saga_run_cancel(
        self,
        id: str,
        body: schemas.CancelRunInput,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.SagaRun:
        """Cancel a run.

        The job of its step is cancelled if it has not ended, and what was done is undone. A request of that step
        which is under way may still take effect: it counts as a step whose outcome is not known.

        Takes the role `operator`.
        """
        return self._connection.once(
            "POST",
            f"/v1/saga-runs/{quoted(id)}/cancel",
            body,
            idempotency_key=idempotency_key,
        )

    def saga_run_decide(
        self,
        id: str,
        body: schemas.DecideInput,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.SagaRun:
        """Approve or reject a step that waits for a person.

        Takes the role `operator`.
        """
        return self._connection.once(
            "POST",
            f"/v1/saga-runs/{quoted(id)}/decide",
            body,
            idempotency_key=idempotency_key,
        )

    def saga_run_retry(self, id: str, *, idempotency_key: str | None = None) -> schemas.SagaRun:
        """Help a run on that failed.

        What undoes its step is run again: its tries start from the beginning.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/saga-runs/{quoted(id)}/retry", idempotency_key=idempotency_key)

    def saga_list(
        self,
        *,
        tenant: str | None = None,
        name: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageSaga:
        """List sagas, newest first.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/sagas",
            query={"tenant": tenant, "name": name, "cursor": cursor, "limit": limit},
        )

    def saga_create(self, body: schemas.NewSaga, *, idempotency_key: str | None = None) -> schemas.SagaWithVersions:
        """Add a saga.

        The steps are its version 1.

        Takes the role `admin`.
        """
        return self._connection.once("POST", "/v1/sagas", body, idempotency_key=idempotency_key)

    def saga_get(self, id: str) -> schemas.SagaWithVersions:
        """Show a saga with its latest versions.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/sagas/{quoted(id)}")

    def saga_delete(self, id: str, *, idempotency_key: str | None = None) -> None:
        """Remove a saga.

        With its versions and its runs that have ended. Refused while one has not.

        Takes the role `admin`.
        """
        self._connection.once("DELETE", f"/v1/sagas/{quoted(id)}", idempotency_key=idempotency_key, read="nothing")

    def saga_run_create(
        self,
        id: str,
        body: schemas.NewSagaRun,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.SagaRun:
        """Begin a run of a saga.

        With its newest version.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/sagas/{quoted(id)}/runs", body, idempotency_key=idempotency_key)

    def saga_version_create(
        self,
        id: str,
        body: schemas.NewSagaVersion,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.SagaWithVersions:
        """Give a saga a new version.

        Runs begin with it from now on; those that have begun end with the version that they began with. Steps that
        are those of the newest version make none.

        Takes the role `admin`.
        """
        return self._connection.once("POST", f"/v1/sagas/{quoted(id)}/versions", body, idempotency_key=idempotency_key)

    def schedule_list(
        self,
        *,
        tenant: str | None = None,
        name: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageSchedule:
        """List schedules, newest first.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/schedules",
            query={"tenant": tenant, "name": name, "cursor": cursor, "limit": limit},
        )

    def schedule_create(self, body: schemas.NewSchedule, *, idempotency_key: str | None = None) -> schemas.Schedule:
        """Add a schedule.

        Its first job is made at the first tick from now on.

        Takes the role `admin`.
        """
        return self._connection.once("POST", "/v1/schedules", body, idempotency_key=idempotency_key)

    def schedule_preview(self, body: schemas.PreviewRequest) -> schemas.SchedulePreview:
        """Say what an expression names.

        Its next ticks, and every clock change of the next two years that it has to do with.

        Takes the role `viewer`.
        """
        return self._connection.call("POST", "/v1/schedules/preview", body)

    def schedule_get(self, id: str) -> schemas.ScheduleWithRuns:
        """Show a schedule with its next ticks and its latest runs.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/schedules/{quoted(id)}")

    def schedule_delete(self, id: str, *, idempotency_key: str | None = None) -> None:
        """Remove a schedule.

        Its jobs go on.

        Takes the role `admin`.
        """
        self._connection.once("DELETE", f"/v1/schedules/{quoted(id)}", idempotency_key=idempotency_key, read="nothing")

    def schedule_update(
        self,
        id: str,
        body: schemas.ScheduleChange,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.Schedule:
        """Change a schedule.

        Another expression or zone begins with its first tick from now on.

        Takes the role `admin`.
        """
        return self._connection.once("PATCH", f"/v1/schedules/{quoted(id)}", body, idempotency_key=idempotency_key)

    def schedule_pause(self, id: str, *, idempotency_key: str | None = None) -> schemas.Schedule:
        """Pause a schedule.

        It makes no jobs until it is resumed. Ticks in between are not missed: there are none.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/schedules/{quoted(id)}/pause", idempotency_key=idempotency_key)

    def schedule_resume(self, id: str, *, idempotency_key: str | None = None) -> schemas.Schedule:
        """Resume a schedule.

        It goes on with its first tick from now on.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/schedules/{quoted(id)}/resume", idempotency_key=idempotency_key)

    def schedule_run(self, id: str, *, idempotency_key: str | None = None) -> schemas.ScheduleRun:
        """Run a schedule now.

        Beside its rule, whatever runs already, and also while it is paused.

        Takes the role `operator`.
        """
        return self._connection.once("POST", f"/v1/schedules/{quoted(id)}/run", idempotency_key=idempotency_key)

    def schedule_runs(self, id: str, *, cursor: str | None = None, limit: int | None = None) -> schemas.PageScheduleRun:
        """List what became of a schedule's ticks, newest first.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            f"/v1/schedules/{quoted(id)}/runs",
            query={"cursor": cursor, "limit": limit},
        )

    def session_get(self) -> schemas.Session:
        """Who is signed in.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/session")

    def session_create(self, body: schemas.SignIn) -> None:
        """Sign in by password.

        Sets the session cookie. After ten failures from one address, or for one user, the next attempt has to wait.
        """
        self._connection.call("POST", "/v1/session", body, read="nothing")

    def session_delete(self) -> None:
        """Sign out.

        Takes the role `viewer`.
        """
        self._connection.call("DELETE", "/v1/session", read="nothing")

    def source_list(self, *, cursor: str | None = None, limit: int | None = None) -> schemas.PageSource:
        """List sources.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/sources", query={"cursor": cursor, "limit": limit})

    def source_create(self, body: schemas.NewSource, *, idempotency_key: str | None = None) -> schemas.CreatedSource:
        """Add a source.

        Takes the role `admin`.
        """
        return self._connection.once("POST", "/v1/sources", body, idempotency_key=idempotency_key)

    def source_get(self, id: str) -> schemas.Source:
        """Show a source.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/sources/{quoted(id)}")

    def source_delete(self, id: str, *, idempotency_key: str | None = None) -> None:
        """Remove a source.

        Refused while a binding names it, and while events wait for their tenant. Its events stay.

        Takes the role `admin`.
        """
        self._connection.once("DELETE", f"/v1/sources/{quoted(id)}", idempotency_key=idempotency_key, read="nothing")

    def source_update(
        self,
        id: str,
        body: schemas.SourceChange,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.Source:
        """Change a source.

        Takes the role `admin`.
        """
        return self._connection.once("PATCH", f"/v1/sources/{quoted(id)}", body, idempotency_key=idempotency_key)

    def source_drift_list(
        self,
        id: str,
        *,
        all: bool | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageDrift:
        """List what a source's events began to say, newest first.

        New types, new fields, fields of another JSON type, and other versions of the provider's API. The first day,
        and the first 20 events of a type, are learned from and nothing is found in them.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            f"/v1/sources/{quoted(id)}/drift",
            query={"all": all, "cursor": cursor, "limit": limit},
        )

    def source_drift_acknowledge(
        self,
        id: str,
        body: schemas.Acknowledgement,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.Acknowledged:
        """Acknowledge what a source's events began to say.

        Takes the role `operator`.
        """
        return self._connection.once(
            "POST",
            f"/v1/sources/{quoted(id)}/drift/acknowledge",
            body,
            idempotency_key=idempotency_key,
        )

    def source_expected_list(
        self,
        id: str,
        *,
        state: schemas.SourceExpectedListState | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageExpectedEvent:
        """List expected events that did not come, newest first.

        By the rules in the source's `settings.expect`. One that comes late is listed no more.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            f"/v1/sources/{quoted(id)}/expected",
            query={"state": state, "cursor": cursor, "limit": limit},
        )

    def source_expected_acknowledge(
        self,
        id: str,
        body: schemas.ExpectedAcknowledgement,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.ExpectedAcknowledged:
        """Acknowledge expected events that did not come.

        Takes the role `operator`.
        """
        return self._connection.once(
            "POST",
            f"/v1/sources/{quoted(id)}/expected/acknowledge",
            body,
            idempotency_key=idempotency_key,
        )

    def source_expected_rules(self, id: str) -> schemas.ExpectedRules:
        """Show what became of a source's expected events.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/sources/{quoted(id)}/expected/rules")

    def source_link_list(
        self,
        id: str,
        *,
        tenant: str | None = None,
        value: str | None = None,
        q: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageSourceLink:
        """List the links of a source, newest first.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            f"/v1/sources/{quoted(id)}/links",
            query={"tenant": tenant, "value": value, "q": q, "cursor": cursor, "limit": limit},
        )

    def source_link_create(
        self,
        id: str,
        body: schemas.NewLinks,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.LinksMade:
        """Link values of a source to tenants.

        Events that wait for a value are given to its tenant from now on, oldest first, and their jobs run. A value
        that is linked to another tenant is refused, and nothing is linked: remove that link first.

        Takes the role `admin`.
        """
        return self._connection.once("POST", f"/v1/sources/{quoted(id)}/links", body, idempotency_key=idempotency_key)

    def source_link_delete(self, id: str, link_id: str, *, idempotency_key: str | None = None) -> None:
        """Remove a link.

        Events that it gave to its tenant stay there. What comes from now on waits.

        Takes the role `admin`.
        """
        self._connection.once(
            "DELETE",
            f"/v1/sources/{quoted(id)}/links/{quoted(link_id)}",
            idempotency_key=idempotency_key,
            read="nothing",
        )

    def source_objects(self, id: str) -> schemas.SourceObjects:
        """Show where the ids of objects stand in a source's events.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/sources/{quoted(id)}/objects")

    def source_reverify(
        self,
        id: str,
        body: schemas.ReverifyRequest,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.ReverifyAnswer:
        """Verify refused requests again, or plan it.

        Each is verified with the source's present scheme, secrets and settings, by the clock of the time when it
        came. Those that are genuine come in as if they had never been refused. One call looks at about 5,000; `next`
        goes on.

        Takes the role `operator`.
        """
        return self._connection.once(
            "POST",
            f"/v1/sources/{quoted(id)}/reverify",
            body,
            idempotency_key=idempotency_key,
        )

    def source_rhythm_get(
        self,
        id: str,
        *,
        event_type: str | None = None,
        window: schemas.SourceRhythmGetWindow | None = None,
    ) -> schemas.Rhythm:
        """Show the rhythm of a source.

        How many events of each type came, and how many were to be expected at these hours of the week.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            f"/v1/sources/{quoted(id)}/rhythm",
            query={"event_type": event_type, "window": window},
        )

    def source_rhythm_signals(
        self,
        id: str,
        *,
        open: bool | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageRhythmSignal:
        """List when a source was silent or brought too much, newest first.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            f"/v1/sources/{quoted(id)}/rhythm/signals",
            query={"open": open, "cursor": cursor, "limit": limit},
        )

    def source_schema_list(
        self,
        id: str,
        *,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageEventSchema:
        """List the schemas of a source that are in force.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            f"/v1/sources/{quoted(id)}/schemas",
            query={"cursor": cursor, "limit": limit},
        )

    def source_schema_create(
        self,
        id: str,
        body: schemas.NewSchema,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.EventSchema:
        """Add a schema to a source, or the next version of the one for these types.

        The version is in force for events that come in from now on. Those that violate it are kept and processed as
        any others, and flagged. The same schema again makes no version.

        Takes the role `admin`.
        """
        return self._connection.once("POST", f"/v1/sources/{quoted(id)}/schemas", body, idempotency_key=idempotency_key)

    def source_schema_get(self, id: str, schema_id: str) -> schemas.EventSchemaDetail:
        """Show a schema with its older versions.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/sources/{quoted(id)}/schemas/{quoted(schema_id)}")

    def source_schema_delete(self, id: str, schema_id: str, *, idempotency_key: str | None = None) -> None:
        """Remove a schema with all its versions.

        Events of its types are checked no more. What it found stays with the events.

        Takes the role `admin`.
        """
        self._connection.once(
            "DELETE",
            f"/v1/sources/{quoted(id)}/schemas/{quoted(schema_id)}",
            idempotency_key=idempotency_key,
            read="nothing",
        )

    def source_secret_create(
        self,
        id: str,
        body: schemas.NewSecret,
        *,
        idempotency_key: str | None = None,
    ) -> schemas.CreatedSecret:
        """Add a secret to a source.

        From now on either may match. Remove the old one when the new one is in use.

        Takes the role `admin`.
        """
        return self._connection.once("POST", f"/v1/sources/{quoted(id)}/secrets", body, idempotency_key=idempotency_key)

    def source_secret_delete(self, id: str, secret_id: str, *, idempotency_key: str | None = None) -> None:
        """Remove a secret of a source.

        Takes the role `admin`.
        """
        self._connection.once(
            "DELETE",
            f"/v1/sources/{quoted(id)}/secrets/{quoted(secret_id)}",
            idempotency_key=idempotency_key,
            read="nothing",
        )

    def source_waiting(
        self,
        id: str,
        *,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageWaitingValue:
        """The values of a source that events wait for, by the order of their bytes.

        An event in which several values were found is counted at each of them.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            f"/v1/sources/{quoted(id)}/waiting",
            query={"cursor": cursor, "limit": limit},
        )

    def sql(self, body: schemas.SqlInput) -> schemas.SqlTable:
        """Run a read-only statement.

        For owners who reach the whole installation. Bounded in rows and time; what was asked stands in the audit
        log.

        Takes the role `owner`.
        """
        return self._connection.call("POST", "/v1/sql", body)

    def storage_get(self) -> schemas.StorageView:
        """How much room the database takes, table by table.

        Measured once an hour at the most. Not for keys of one tenant. Metrics have the same as
        `mainstay_table_bytes`.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/storage")

    def tenant_list(self, *, cursor: str | None = None, limit: int | None = None) -> schemas.PageTenant:
        """List tenants.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/tenants", query={"cursor": cursor, "limit": limit})

    def tenant_create(self, body: schemas.NewTenant, *, idempotency_key: str | None = None) -> schemas.Tenant:
        """Add a tenant.

        Takes the role `owner`.
        """
        return self._connection.once("POST", "/v1/tenants", body, idempotency_key=idempotency_key)

    def tenant_get(self, id: str) -> schemas.Tenant:
        """Show a tenant.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/tenants/{quoted(id)}")

    def tenant_delete(self, id: str, *, idempotency_key: str | None = None) -> None:
        """Remove a tenant.

        Refused while it has sources or endpoints, and while values of sources are linked to it.

        Takes the role `owner`.
        """
        self._connection.once("DELETE", f"/v1/tenants/{quoted(id)}", idempotency_key=idempotency_key, read="nothing")

    def tenant_erase(self, id: str, body: schemas.Erasure, *, idempotency_key: str | None = None) -> schemas.Erased:
        """Erase everything of a tenant's that is sealed.

        Its data keys are destroyed: payloads, headers, secrets and exchanges can be read by nobody any more. That
        events came, when, and what became of them stays known, and so does the audit log. Refused while encryption
        at rest is off, and while a rotation is under way: what is not sealed would stay.

        Takes the role `owner`.
        """
        return self._connection.once("POST", f"/v1/tenants/{quoted(id)}/erase", body, idempotency_key=idempotency_key)

    def timeline_get(
        self,
        *,
        object: str,
        tenant: str | None = None,
        order: schemas.TimelineGetOrder | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.Timeline:
        """Show everything about one object: a customer, a payment, a repository.

        Every event that the id stands in, each with its requests, findings, replays, jobs, attempts and dead
        letters. Where ids stand is said by the rules of the events' sources (`settings.objects`); events are indexed
        in the background, within about a second.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/timeline",
            query={"object": object, "tenant": tenant, "order": order, "cursor": cursor, "limit": limit},
        )

    def user_list(self, *, cursor: str | None = None, limit: int | None = None) -> schemas.PageUser:
        """List users.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/users", query={"cursor": cursor, "limit": limit})

    def user_create(self, body: schemas.NewUser, *, idempotency_key: str | None = None) -> schemas.User:
        """Add a user.

        Takes the role `owner`.
        """
        return self._connection.once("POST", "/v1/users", body, idempotency_key=idempotency_key)

    def user_delete(self, id: str, *, idempotency_key: str | None = None) -> None:
        """Remove a user, and end their sessions.

        Takes the role `owner`.
        """
        self._connection.once("DELETE", f"/v1/users/{quoted(id)}", idempotency_key=idempotency_key, read="nothing")

    def user_update(self, id: str, body: schemas.UserChange, *, idempotency_key: str | None = None) -> schemas.User:
        """Change a user.

        A new password ends all of their sessions.

        Takes the role `owner`.
        """
        return self._connection.once("PATCH", f"/v1/users/{quoted(id)}", body, idempotency_key=idempotency_key)

    def user_link(self, id: str, *, idempotency_key: str | None = None) -> schemas.SignInLink:
        """Make a sign-in link for a user.

        It works once, and for a day.

        Takes the role `owner`.
        """
        return self._connection.once("POST", f"/v1/users/{quoted(id)}/link", idempotency_key=idempotency_key)

    def vault_get(self) -> schemas.Vault:
        """Show how encryption at rest stands.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/vault")

    def data_key_list(self, *, after: int | None = None) -> schemas.DataKeys:
        """List data keys, in the order of their numbers.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/vault/keys", query={"after": after})

    def rotation_create(self, body: schemas.NewRotation, *, idempotency_key: str | None = None) -> schemas.Rotation:
        """Begin a rotation.

        It goes on in the background, step by step; `GET /v1/vault` says how far it is. One at a time.

        Takes the role `owner`.
        """
        return self._connection.once("POST", "/v1/vault/rotations", body, idempotency_key=idempotency_key)

    def waiting_list(
        self,
        *,
        source: str | None = None,
        value: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> schemas.PageWaitingEvent:
        """List events that wait for their tenant, newest first.

        Takes the role `viewer`.
        """
        return self._connection.call(
            "GET",
            "/v1/waiting-events",
            query={"source": source, "value": value, "cursor": cursor, "limit": limit},
        )

    def waiting_get(self, id: str) -> schemas.WaitingEventDetail:
        """Show an event that waits for its tenant.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/waiting-events/{quoted(id)}")

    def waiting_payload(self, id: str) -> bytes:
        """The payload of a waiting event, byte by byte as it came.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", f"/v1/waiting-events/{quoted(id)}/payload", read="bytes")

    def worker_list(self) -> schemas.WorkerList:
        """List workers.

        Those that were heard of in the last ten minutes, or have a job in hand, by name.

        Takes the role `viewer`.
        """
        return self._connection.call("GET", "/v1/workers")

    def worker_heartbeat(self, body: schemas.HeartbeatInput) -> schemas.HeartbeatView:
        """Give signs of life.

        Each renews the lease of its attempt. Three in the time of a lease are enough for one to get lost.

        Takes the role `operator`.
        """
        return self._connection.call("POST", "/v1/workers/heartbeat", body)

    def worker_pull(self, body: schemas.PullInput) -> schemas.Pulled:
        """Ask for jobs.

        Answers as soon as there is at least one, and with none after the time to wait. What is handed out is under a
        lease: without a sign of life for as long as that it is handed to another.

        Takes the role `operator`.
        """
        return self._connection.call("POST", "/v1/workers/pull", body)

    def worker_report(self, body: schemas.ReportInput) -> schemas.ReportView:
        """Say how jobs went.

        Answers once it is committed, and may be repeated. 409 where none of them is recorded, because the attempts
        were in the worker's hands no more: nothing has changed.

        Takes the role `operator`.
        """
        return self._connection.call("POST", "/v1/workers/report", body)
