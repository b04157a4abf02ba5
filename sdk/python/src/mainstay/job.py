"""A job in a worker's hands, and what may come of it."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from .connection import encoded
from .errors import MainstayError

#: Why a job is in a worker's hands no more.
Why = Literal["cancelled", "lost", "stopped"]
Category = Literal[
    "network", "timeout", "rate_limited", "validation", "auth", "conflict", "database", "provider", "bug", "unknown"
]

_RESULT_BYTES_MAX = 64 * 1024


class JobFailure(MainstayError):
    """Raised by a handler: the job fails, and is tried again by its policy or as this says."""

    def __init__(
        self,
        message: str,
        *,
        category: Category | None = None,
        code: str | None = None,
        retry_after_secs: int | None = None,
        retryable: bool | None = None,
    ) -> None:
        """`category` is what kind of failure: `validation`, `auth` and `bug` are not tried again. `code` is a stable one of
        your own. `retryable=False`: not tried again, whatever its policy says."""
        super().__init__(message)
        self.failure: dict[str, Any] = {"message": clipped(message, 2_000)}
        given = {"category": category, "code": code, "retry_after_secs": retry_after_secs, "retryable": retryable}
        self.failure.update({name: value for name, value in given.items() if value is not None})


class Snooze(MainstayError):
    """Raised by a handler: the job is given back and handed out again later. That uses up no try."""

    def __init__(self, secs: int, reason: str | None = None) -> None:
        super().__init__(reason or f"not before {secs} seconds have passed")
        self.secs = secs
        self.reason = reason


class Release(MainstayError):
    """Raised by a handler: the job is given back, to be handed to another at once. That uses up no try."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason or "given back")
        self.reason = reason


class JobGone(MainstayError):
    """The job is in this worker's hands no more."""

    def __init__(self, why: Why) -> None:
        super().__init__(f"the job is {why}")
        self.why = why


@dataclass(frozen=True)
class WorkerJob:
    """A job in a worker's hands."""

    id: str
    kind: str
    queue: str
    tenant_id: str
    payload: Any
    #: Greater each time that the job is handed out: a fencing token for whatever it is written to.
    attempt: int
    #: Which try it is, from 1.
    tries: int
    created_at: datetime
    _hand: Hand = field(repr=False, compare=False)

    @property
    def gone(self) -> Why | None:
        """Why there is nothing more to do about it: it was cancelled, is in other hands, or the worker stops for good."""
        return self._hand.gone

    def check(self) -> None:
        """Raises `JobGone` where there is nothing more to do: for a handler to call between its steps."""
        self.sleep(0)

    def sleep(self, secs: float) -> None:
        """Waits, and raises `JobGone` as soon as there is nothing more to do."""
        if self._hand.let_go.wait(secs) and self._hand.gone:
            raise JobGone(self._hand.gone)

    def progress(self, percent: float | None = None, note: str | None = None) -> None:
        """Says how far it is, in hundredths and in words: told with the next sign of life, and shown on the job's page."""
        said: dict[str, Any] = {}
        if percent is not None:
            said["percent"] = round(min(100, max(0, percent)))
        if note:
            said["note"] = clipped(note, 500)
        self._hand.progress = said


class Hand:
    """What a worker knows of a job that it has."""

    def __init__(self, pulled: dict[str, Any]) -> None:
        self.token: str = pulled["token"]
        self.progress: dict[str, Any] | None = None
        self.gone: Why | None = None
        self.let_go = threading.Event()
        #: The handler has ended; what is left is to tell the outcome.
        self.handled = False
        self.job = WorkerJob(
            id=pulled["id"],
            kind=pulled["kind"],
            queue=pulled["queue"],
            tenant_id=pulled["tenant_id"],
            payload=pulled.get("payload"),
            attempt=pulled["attempt"],
            tries=pulled["tries"],
            created_at=_time(pulled["created_at"]),
            _hand=self,
        )

    def end(self, why: Why) -> bool:
        """Tells the handler that there is nothing more to do; whether that is news."""
        if self.gone or self.handled:
            return False
        self.gone = why
        self.let_go.set()
        return True

    def beat(self) -> dict[str, Any]:
        """Its sign of life."""
        progress = self.progress
        return {"token": self.token, "progress": progress} if progress else {"token": self.token}

    def completed(self, result: Any) -> dict[str, Any]:
        """What is told of a handler that returned. Raises where the result is none that can be kept."""
        if result is None:
            return {"token": self.token, "outcome": "completed"}
        try:
            bytes = len(encoded(result))
        except (TypeError, ValueError) as error:
            raise JobFailure(f"the handler's result is no JSON: {error}", category="bug", code="result_invalid") from error
        if bytes > _RESULT_BYTES_MAX:
            message = f"the handler's result has more than {_RESULT_BYTES_MAX} bytes of JSON"
            raise JobFailure(message, category="bug", code="result_too_large")
        return {"token": self.token, "outcome": "completed", "result": result}

    def raised(self, error: BaseException) -> dict[str, Any]:
        """What is told of a handler that raised."""
        if isinstance(error, Snooze):
            return {"token": self.token, "outcome": "snoozed", "delay_secs": error.secs, **_reason(error.reason)}
        if isinstance(error, Release):
            return {"token": self.token, "outcome": "released", **_reason(error.reason)}
        if isinstance(error, JobFailure):
            return {"token": self.token, "outcome": "failed", "failure": error.failure}
        message = clipped(str(error) or type(error).__name__, 2_000)
        return {"token": self.token, "outcome": "failed", "failure": {"message": message}}


def _reason(reason: str | None) -> dict[str, str]:
    return {"reason": clipped(reason, 500)} if reason else {}


def clipped(text: str, most: int) -> str:
    """A text as the API takes it: short enough, on one line, nothing around it."""
    clean = re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text).strip()
    return clean.encode("utf-8", "replace").decode()[:most].strip() or "no message"


def _time(text: str) -> datetime:
    """RFC 3339 with any number of digits, which Python 3.10 cannot read by itself."""
    whole, _, rest = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{rest[:6]:0<6}+00:00")
