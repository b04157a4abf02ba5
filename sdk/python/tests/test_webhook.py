"""Webhooks are believed only where they are genuine."""

from __future__ import annotations

import base64
import hashlib
import json
import unittest
from typing import Any

from mainstay import MainstayError, VerifiedWebhook, WebhookVerificationError, verify_webhook

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = 1_790_000_000
BODY = '{"amount":4200,"note":"grün ✓"}'


def signed(secret: str, *, id: str = "msg_1", at: object = NOW, body: str = BODY) -> dict[str, str]:
    """Signed by another implementation than the one that is tested: RFC 2104, spelled out."""
    key = base64.b64decode(secret[6:]).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(one ^ 0x36 for one in key) + f"{id}.{at}.{body}".encode()).digest()
    outer = hashlib.sha256(bytes(one ^ 0x5C for one in key) + inner).digest()
    signature = base64.b64encode(outer).decode()
    return {"webhook-id": id, "webhook-timestamp": str(at), "webhook-signature": f"v1,{signature}"}


def verified(headers: Any, *, body: Any = BODY, secret: Any = SECRET) -> VerifiedWebhook:
    return verify_webhook(body, headers, secret, now=NOW)


class Webhooks(unittest.TestCase):
    def refused(self, reason: str, headers: Any, **more: Any) -> None:
        with self.assertRaises(WebhookVerificationError) as caught:
            verified(headers, **more)
        self.assertEqual(caught.exception.reason, reason)

    def test_a_genuine_webhook_is_read_whatever_its_body_and_headers_come_as(self) -> None:
        headers = signed(SECRET)
        shouted = {name.upper(): value for name, value in headers.items()}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        for body in (BODY, BODY.encode(), bytearray(BODY.encode()), memoryview(BODY.encode())):
            for given in (headers, shouted, pairs):
                webhook = verified(given, body=body)
                self.assertEqual((webhook.id, webhook.timestamp.timestamp()), ("msg_1", NOW))
                self.assertEqual(webhook.payload, json.loads(BODY))

    def test_one_of_several_secrets_and_one_of_several_signatures_is_enough(self) -> None:
        headers = signed(OTHER)
        self.assertEqual(verified(headers, secret=[SECRET, OTHER]).id, "msg_1")
        headers["webhook-signature"] = f"v1,AAAA v2,{'A' * 44} v1,ü {headers['webhook-signature']}"
        self.assertEqual(verified(headers, secret=(SECRET, OTHER)).id, "msg_1")

    def test_what_was_changed_signed_by_another_or_has_no_signature_is_refused(self) -> None:
        headers = signed(SECRET)
        self.refused("signature_wrong", headers, body=BODY.replace("4200", "4201"))
        self.refused("signature_wrong", {**headers, "webhook-id": "msg_2"})
        self.refused("signature_wrong", signed(OTHER))
        for instead in ("v1a,", "v1,!", "v2,", ","):
            self.refused("signature_wrong", {**headers, "webhook-signature": headers["webhook-signature"].replace("v1,", instead)})
        self.refused("signature_wrong", {**headers, "webhook-signature": "v1,"})
        for name in headers:
            self.refused("header_missing", {other: value for other, value in headers.items() if other != name})

    def test_what_is_too_old_or_ahead_of_time_is_refused_at_the_second(self) -> None:
        self.refused("timestamp_too_old", signed(SECRET, at=NOW - 301))
        self.refused("timestamp_too_new", signed(SECRET, at=NOW + 301))
        for wrong in ("1e9", "-1", "٣", "1" * 13):
            self.refused("timestamp_invalid", {**signed(SECRET), "webhook-timestamp": wrong})
        for edge in (NOW - 300, NOW + 300):
            self.assertEqual(verified(signed(SECRET, at=edge)).timestamp.timestamp(), edge)

    def test_a_parsed_body_and_an_empty_secret_are_mistakes_that_are_named(self) -> None:
        headers = signed(SECRET)
        with self.assertRaisesRegex(MainstayError, "raw bytes"):
            verified(headers, body=json.loads(BODY))
        secrets: list[Any] = ["", [], "whsec_", "whsec_no base64!"]
        for secret in secrets:
            with self.assertRaisesRegex(MainstayError, "secret"):
                verified(headers, secret=secret)
        self.refused("body_not_json", signed(SECRET, body="no json"), body="no json")
