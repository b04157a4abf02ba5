"""Submitting, and what the server says to it."""

from __future__ import annotations

import os
import unittest
from datetime import datetime, timedelta, timezone

from mainstay import (
    AccessError,
    ConflictError,
    Mainstay,
    MainstayError,
    NewJob,
    NotFoundError,
    ProblemError,
    RateLimitedError,
    UnavailableError,
    UnreachableError,
    ValidationError,
)

from .fake import RESET, Answer, Fake, problem


class Submitting(unittest.TestCase):
    def test_a_job_is_submitted_with_what_was_said_and_nothing_else(self) -> None:
        with Fake(lambda *_: Answer({"id": "job_1"}, 201)) as server:
            at = datetime(2030, 1, 2, 3, 4, 5, 678_000, timezone(timedelta(hours=1)))
            made = server.mainstay.enqueue(
                "a.kind",
                {"n": "grün"},
                queue="team",
                run_at=at,
                tenant_id="ten_1",
                ordering_key="k",
                on_dead="continue",
                unique={"key": "november"},
                deadline=at + timedelta(minutes=10),
            )
            server.mainstay.enqueue("b", expires_in_secs=600)
            first, second = server.requests
        self.assertEqual(made["id"], "job_1")
        self.assertEqual(
            first.body,
            {
                "kind": "a.kind",
                "payload": {"n": "grün"},
                "queue": "team",
                "tenant_id": "ten_1",
                "run_at": "2030-01-02T03:04:05.678000+01:00",
                "ordering_key": "k",
                "on_dead": "continue",
                "unique": {"key": "november"},
                "deadline": "2030-01-02T03:14:05.678000+01:00",
            },
        )
        self.assertEqual(second.body, {"kind": "b", "expires_in_secs": 600})
        self.assertEqual(first.headers["authorization"], "Bearer msk_test")
        self.assertNotEqual(first.headers["idempotency-key"], second.headers["idempotency-key"])

    def test_a_submission_is_repeated_with_the_same_key_while_the_server_is_away(self) -> None:
        answers = [RESET, problem(503, "store_unavailable"), Answer({"items": [{"id": "job_1"}, {"id": "job_2"}]}, 201)]
        with Fake(lambda _, count: answers[count - 1]) as server:
            ids = server.mainstay.enqueue_many([NewJob("a", queue="q"), NewJob("b", {"n": 1}, queue="q")])
            keys = {one.headers["idempotency-key"] for one in server.requests}
        self.assertEqual(ids, ["job_1", "job_2"])
        self.assertEqual((len(server.requests), len(keys)), (3, 1))
        self.assertEqual(server.requests[0].body["jobs"][1], {"kind": "b", "payload": {"n": 1}, "queue": "q"})

    def test_a_time_without_a_zone_is_a_mistake_that_is_named(self) -> None:
        with Fake(lambda *_: Answer()) as server:
            with self.assertRaisesRegex(MainstayError, "time zone"):
                server.mainstay.enqueue("a", run_at=datetime(2030, 1, 2))
        self.assertEqual(server.requests, [])


class Errors(unittest.TestCase):
    def test_what_the_server_refuses_is_not_repeated_and_is_an_error_of_its_own_class(self) -> None:
        kinds = {
            400: ValidationError,
            401: AccessError,
            403: AccessError,
            404: NotFoundError,
            409: ConflictError,
            429: RateLimitedError,
        }
        for status, kind in kinds.items():
            said = problem(status, "a_code", retry_after="7", x_request_id="req-1")
            with self.subTest(status), Fake(lambda *_, said=said: said) as server:
                with self.assertRaises(kind) as caught:
                    server.mainstay.enqueue("a")
                error = caught.exception
                self.assertIsInstance(error, ProblemError)
                self.assertEqual((error.code, error.status, error.retry_after_secs), ("a_code", status, 7))
                self.assertEqual((error.request_id, str(error)), ("req-1", "a_code: because of a_code"))
                self.assertEqual(len(server.requests), 1)

    def test_wrong_fields_are_named(self) -> None:
        said = problem(400, "validation_failed")
        said.json["errors"] = [{"pointer": "/queue", "detail": "must be given"}]
        with Fake(lambda *_: said) as server, self.assertRaises(ValidationError) as caught:
            server.mainstay.enqueue("a")
        self.assertEqual(caught.exception.fields, {"/queue": "must be given"})

    def test_what_is_no_answer_of_ours_is_an_error_and_never_a_success(self) -> None:
        for status, kind in ((502, UnavailableError), (200, ProblemError), (302, ProblemError)):
            with self.subTest(status), Fake(lambda *_, status=status: Answer("<html>hello</html>", status)) as server:
                with self.assertRaises(kind) as caught:
                    server.mainstay.api.health_get()
                self.assertEqual(caught.exception.code, "unexpected_answer")

    def test_an_answer_that_breaks_off_is_none(self) -> None:
        with Fake(lambda *_: Answer({"id": "job_1"}, headers={"content-length": "1000", "connection": "close"})) as server:
            with self.assertRaises(UnreachableError):
                server.mainstay.job("job_1")

    def test_a_server_that_is_not_there_or_too_slow_is_unreachable(self) -> None:
        with Fake(lambda *_: Answer()) as server:
            mainstay = server.mainstay
        with self.assertRaises(UnreachableError):
            mainstay.job("job_1")

        def slow(*_: object) -> Answer:
            server.closing.wait(5)
            return Answer()

        with Fake(slow) as server:
            with self.assertRaises(UnreachableError):
                server.mainstay.call("GET", "/v1/health", timeout=0.05)

    def test_without_an_address_or_a_key_nothing_is_begun(self) -> None:
        for url, key, named in (("", "k", "url"), ("example.com", "k", "url"), ("http://a", "", "key")):
            with self.subTest(named), self.assertRaisesRegex(MainstayError, named):
                Mainstay(url, key)


class Routes(unittest.TestCase):
    def test_a_route_is_a_method_with_its_parameters(self) -> None:
        with Fake(lambda *_: Answer({"items": [], "next_cursor": None})) as server:
            api = server.mainstay.api
            api.job_list(state="dead", limit=5)
            api.dead_letter_list(from_="2030-01-01T00:00:00Z")
            api.source_drift_list("src_1", all=True)
            api.queue_get("a/b?c")
            api.source_delete("src_1", idempotency_key="mine")
        asked = [(one.method, one.path) for one in server.requests]
        self.assertEqual(
            asked,
            [
                ("GET", "/v1/jobs?state=dead&limit=5"),
                ("GET", "/v1/dead-letters?from=2030-01-01T00%3A00%3A00Z"),
                ("GET", "/v1/sources/src_1/drift?all=true"),
                ("GET", "/v1/queues/a%2Fb%3Fc"),
                ("DELETE", "/v1/sources/src_1"),
            ],
        )
        self.assertEqual(server.requests[-1].headers["idempotency-key"], "mine")


class Connections(unittest.TestCase):
    def test_a_connection_is_used_again_and_one_that_was_closed_is_not(self) -> None:
        closes = {3: {"connection": "close"}}
        with Fake(lambda _, count: Answer({}, headers=closes.get(count, {}))) as server:
            for _ in range(4):
                server.mainstay.call("GET", "/v1/health")
        self.assertEqual([one.connection for one in server.requests], [1, 1, 1, 2])

    @unittest.skipUnless(hasattr(os, "fork"), "there are no forks here")
    def test_a_process_that_was_forked_has_connections_of_its_own(self) -> None:
        with Fake(lambda *_: Answer({})) as server:
            server.mainstay.call("GET", "/v1/health")
            child = os.fork()
            if child == 0:
                try:
                    server.mainstay.call("GET", "/v1/health")
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            _, status = os.waitpid(child, 0)
            server.mainstay.call("GET", "/v1/health")
        self.assertEqual(status, 0)
        self.assertEqual([one.connection for one in server.requests], [1, 2, 1])
