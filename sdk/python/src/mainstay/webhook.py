"""Webhooks that a server pushes to an endpoint, verified as Standard Webhooks asks."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from .errors import MainstayError

#: Headers as any framework has them: a mapping whose names may be in any case, or pairs, as text or as bytes (ASGI).
Headers = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]
WebhookProblem = Literal[
    "header_missing", "timestamp_invalid", "timestamp_too_old", "timestamp_too_new", "signature_wrong", "body_not_json"
]


@dataclass(frozen=True)
class VerifiedWebhook:
    """A webhook that proved to come from the server."""

    #: The same for every try of the same delivery: what a handler remembers to do it once.
    id: str
    timestamp: datetime
    #: The body, parsed.
    payload: Any


class WebhookVerificationError(MainstayError):
    """The webhook is not to be believed: answer 401 and do nothing."""

    def __init__(self, reason: WebhookProblem, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def verify_webhook(
    body: bytes | str,
    headers: Headers,
    secret: str | Iterable[str],
    *,
    tolerance_secs: int = 300,
    now: float | None = None,
) -> VerifiedWebhook:
    """Verifies a webhook; raises `WebhookVerificationError` where it is not genuine.

    `body` is the body byte for byte as it came, never what a parser has made of it. `secret` is the endpoint's (`whsec_…`);
    several while one replaces another. `tolerance_secs` is how old a webhook may be, and how far ahead a clock.
    """
    if not isinstance(body, (bytes, bytearray, memoryview, str)):
        raise MainstayError("the body must be the raw bytes or text of the request, not what a parser has made of it")
    raw = body.encode() if isinstance(body, str) else bytes(body)
    named = _named(headers)
    id, at, given = (_header(named, f"webhook-{name}") for name in ("id", "timestamp", "signature"))
    timestamp = _fresh(at, time.time() if now is None else now, tolerance_secs)
    signed = f"{id}.{at}.".encode("utf-8", "surrogateescape") + raw
    expected = [hmac.new(key, signed, hashlib.sha256).digest() for key in _keys(secret)]
    if not _matches(given, expected):
        raise WebhookVerificationError("signature_wrong", "no signature of the webhook is of one of the secrets")
    try:
        return VerifiedWebhook(id, timestamp, json.loads(raw))
    except ValueError:
        raise WebhookVerificationError("body_not_json", "the webhook is genuine, but its body is no JSON") from None


def _named(headers: Headers) -> dict[str, str]:
    pairs = headers.items() if isinstance(headers, Mapping) or hasattr(headers, "items") else headers
    return {_text(name).lower(): _text(value) for name, value in pairs}


def _text(given: str | bytes) -> str:
    return given.decode("latin-1") if isinstance(given, bytes) else given


def _header(headers: dict[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise WebhookVerificationError("header_missing", f"the header {name} is missing")
    return value


def _fresh(text: str, now: float, tolerance_secs: int) -> datetime:
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise WebhookVerificationError("timestamp_invalid", "the timestamp is no number of seconds")
    age = int(now) - int(text)
    if age > tolerance_secs:
        raise WebhookVerificationError("timestamp_too_old", f"the webhook was signed {age} seconds ago")
    if -age > tolerance_secs:
        raise WebhookVerificationError("timestamp_too_new", f"the webhook is signed {-age} seconds ahead of this clock")
    return datetime.fromtimestamp(int(text), timezone.utc)


def _keys(secret: str | Iterable[str]) -> list[bytes]:
    keys = [_bytes(one.removeprefix("whsec_")) for one in ([secret] if isinstance(secret, str) else secret)]
    if not keys:
        raise MainstayError("secret is missing: the one that the endpoint shows")
    if not all(keys):
        raise MainstayError("a secret is empty or no base64")
    return [key for key in keys if key]


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _matches(given: str, expected: list[bytes]) -> bool:
    """Compares every signature with every secret's, each in constant time, and stops at none."""
    found = False
    for part in given.split(" "):
        version, _, text = part.partition(",")
        signature = _bytes(text) if version == "v1" else None
        for own in expected:
            found |= signature is not None and hmac.compare_digest(signature, own)
    return found
