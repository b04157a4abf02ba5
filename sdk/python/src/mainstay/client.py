"""A Mainstay server, as a program of the team's sees it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from . import schemas
from .api import Api
from .connection import Connection, Query, quoted
from .errors import MainstayError
from .worker import Handler, OnEvent, Worker


@dataclass(frozen=True)
class NewJob:
    """A job to submit."""

    #: What is to be done, e.g. `invoice.render`.
    kind: str
    #: Handed to the handler as it is; at most 256 KiB of JSON.
    payload: Any = None
    #: The queue whose workers do it.
    queue: str | None = None
    #: Whose it is: a tenant's id.
    tenant_id: str | None = None
    #: Not before; with a time zone.
    run_at: datetime | None = None
    retry: schemas.RetryPolicy | None = None
    #: Jobs of a tenant and a queue that share it run one at a time, in their order.
    ordering_key: str | None = None
    #: What becomes of the others with its key should it end as a dead letter.
    on_dead: Literal["park", "continue"] | None = None
    #: There is to be one of it: what becomes of it when there is another with its key.
    unique: schemas.UniqueInput | None = None
    #: Not at or after: what has not begun by then is a dead letter with the code `expired`; with a time zone.
    deadline: datetime | None = None
    #: The same, so many seconds from when it is submitted.
    expires_in_secs: int | None = None

    def wire(self) -> dict[str, Any]:
        """As the API takes it: what was not said is left out."""
        given = {
            "kind": self.kind,
            "payload": self.payload,
            "queue": self.queue,
            "tenant_id": self.tenant_id,
            "run_at": moment(self.run_at) if self.run_at else None,
            "deadline": moment(self.deadline) if self.deadline else None,
            "expires_in_secs": self.expires_in_secs,
            "retry": self.retry,
            "ordering_key": self.ordering_key,
            "on_dead": self.on_dead,
            "unique": self.unique,
        }
        return {name: value for name, value in given.items() if value is not None}


def moment(at: datetime) -> str:
    """A time as the API takes it."""
    if at.tzinfo is None:
        raise MainstayError("a time must have a time zone: datetime.now(timezone.utc) has one")
    return at.isoformat()


class Mainstay:
    """A Mainstay server. One is enough for all threads of a process; it may be made before a fork."""

    def __init__(self, url: str, key: str, *, timeout: float = 30.0, ssl_context: ssl.SSLContext | None = None) -> None:
        """`key` is an API key (`msk_…`); `timeout` is for how long to wait for an answer, in seconds."""
        self._connection = Connection(url, key, timeout=timeout, ssl_context=ssl_context)
        #: Every route of the API, a method each: `mainstay.api.job_list(state="dead")`.
        self.api = Api(self._connection)

    def __enter__(self) -> Mainstay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connections that wait for a next request."""
        self._connection.close()

    def enqueue(
        self,
        kind: str,
        payload: Any = None,
        *,
        queue: str | None = None,
        tenant_id: str | None = None,
        run_at: datetime | None = None,
        deadline: datetime | None = None,
        expires_in_secs: int | None = None,
        retry: schemas.RetryPolicy | None = None,
        ordering_key: str | None = None,
        on_dead: Literal["park", "continue"] | None = None,
        unique: schemas.UniqueInput | None = None,
        idempotency_key: str | None = None,
    ) -> schemas.Job:
        """Submits a job. Returns once it is committed: it will be done, whatever happens to this process.

        While the server is away it is repeated a few times under one `Idempotency-Key`. Give one of your own where your
        process may repeat it: the same key with the same request takes effect once within a day.
        """
        job = NewJob(
            kind,
            payload,
            queue,
            tenant_id,
            run_at,
            retry,
            ordering_key,
            on_dead,
            unique,
            deadline,
            expires_in_secs,
        )
        return self._connection.once("POST", "/v1/jobs", job.wire(), idempotency_key=idempotency_key)

    def enqueue_many(self, jobs: Iterable[NewJob], *, idempotency_key: str | None = None) -> list[str]:
        """Submits up to 1,000 jobs in one commit: all of them or none. Returns their ids, in the same order."""
        body = {"jobs": [job.wire() for job in jobs]}
        made = self._connection.once("POST", "/v1/jobs/bulk", body, idempotency_key=idempotency_key)
        return [job["id"] for job in made["items"]]

    def job(self, id: str) -> schemas.JobWithAttempts:
        """A job with its attempts."""
        return self._connection.call("GET", f"/v1/jobs/{quoted(id)}")

    def cancel(self, id: str, reason: str | None = None) -> schemas.JobEnded:
        """Stops a job that has not ended; a worker that has it hears of it."""
        body = {} if reason is None else {"reason": reason}
        return self._connection.once("POST", f"/v1/jobs/{quoted(id)}/cancel", body)

    def worker(
        self,
        queue: str | Sequence[str],
        handler: Handler,
        *,
        concurrency: int = 1,
        name: str | None = None,
        lease_secs: int = 30,
        wait_secs: int = 20,
        on_event: OnEvent | None = None,
    ) -> Worker:
        """A worker: takes jobs of one queue or several and calls a handler for each. It works from `start()` or `run()` on."""
        return Worker(
            self._connection,
            queue,
            handler,
            concurrency=concurrency,
            name=name,
            lease_secs=lease_secs,
            wait_secs=wait_secs,
            on_event=on_event,
        )

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Any route of the API, by its path."""
        return self._connection.call(method, path, body, query=query, headers=headers, timeout=timeout)
