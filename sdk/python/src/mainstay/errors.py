"""What goes wrong, as exceptions."""

from __future__ import annotations

from typing import Any


class MainstayError(Exception):
    """Everything that this package raises by itself."""


class UnreachableError(MainstayError):
    """The server could not be reached, or did not answer in time. Whether the request took effect is not known."""


class ProblemError(MainstayError):
    """The server said no (RFC 9457)."""

    def __init__(
        self, problem: dict[str, Any], *, request_id: str | None = None, retry_after_secs: float | None = None
    ) -> None:
        super().__init__(f"{problem['code']}: {problem['detail']}")
        #: The HTTP status.
        self.status: int = problem["status"]
        #: The stable code, explained in the server's `/docs/errors`.
        self.code: str = problem["code"]
        #: What went wrong and what to do about it, in a sentence.
        self.detail: str = problem["detail"]
        #: Under which the server's log has the request.
        self.request_id = request_id
        #: Seconds after which to try again, where the server says so.
        self.retry_after_secs = retry_after_secs
        #: All that the server said.
        self.problem = problem

    @property
    def temporary(self) -> bool:
        """Whether the same request can succeed later."""
        return self.status == 429 or self.status >= 500


class ValidationError(ProblemError):
    """Fields of the request are wrong."""

    @property
    def fields(self) -> dict[str, str]:
        """What is wrong with each, by its place: a JSON pointer into the body, or `?name` for a parameter of the query."""
        return {one["pointer"]: one["detail"] for one in self.problem.get("errors", [])}


class AccessError(ProblemError):
    """The key is missing, has ended, or may not do this."""


class NotFoundError(ProblemError):
    """There is no such thing in reach."""


class ConflictError(ProblemError):
    """Not possible as things stand."""


class RateLimitedError(ProblemError):
    """Too many requests."""


class UnavailableError(ProblemError):
    """The server cannot do it now."""


_KINDS: dict[int, type[ProblemError]] = {
    400: ValidationError,
    413: ValidationError,
    415: ValidationError,
    422: ValidationError,
    401: AccessError,
    403: AccessError,
    404: NotFoundError,
    410: NotFoundError,
    409: ConflictError,
    429: RateLimitedError,
}


def problem_error(
    problem: dict[str, Any], *, request_id: str | None = None, retry_after_secs: float | None = None
) -> ProblemError:
    """The exception that a problem is."""
    other = UnavailableError if problem["status"] >= 500 else ProblemError
    kind = _KINDS.get(problem["status"], other)
    return kind(problem, request_id=request_id, retry_after_secs=retry_after_secs)


def away(error: MainstayError) -> bool:
    """Whether the same request is worth repeating."""
    return isinstance(error, UnreachableError) or (isinstance(error, ProblemError) and error.temporary)


def elsewhere(error: MainstayError) -> bool:
    """Whether another node owns the jobs, or one that has just begun to: soon somebody answers."""
    return isinstance(error, ProblemError) and error.code in ("not_the_owner", "owner_starting")
