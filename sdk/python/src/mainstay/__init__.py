"""Mainstay for Python: submit jobs, work on them, verify webhooks."""

from . import schemas
from .api import Api
from .client import Mainstay, NewJob
from .errors import (
    AccessError,
    ConflictError,
    MainstayError,
    NotFoundError,
    ProblemError,
    RateLimitedError,
    UnavailableError,
    UnreachableError,
    ValidationError,
)
from .job import JobFailure, JobGone, Release, Snooze, WorkerJob
from .transaction import enqueue_in
from .webhook import VerifiedWebhook, WebhookVerificationError, verify_webhook
from .worker import Worker, WorkerEvent

__all__ = [
    "AccessError",
    "Api",
    "ConflictError",
    "JobFailure",
    "JobGone",
    "Mainstay",
    "MainstayError",
    "NewJob",
    "NotFoundError",
    "ProblemError",
    "RateLimitedError",
    "Release",
    "Snooze",
    "UnavailableError",
    "UnreachableError",
    "ValidationError",
    "VerifiedWebhook",
    "WebhookVerificationError",
    "Worker",
    "WorkerEvent",
    "WorkerJob",
    "enqueue_in",
    "schemas",
    "verify_webhook",
]
