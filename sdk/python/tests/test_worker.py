"""Workers, and a server that plays tricks on them."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import unittest
from datetime import datetime, timezone
from typing import Any

from mainstay import AccessError, JobFailure, JobGone, MainstayError, Release, Snooze, WorkerEvent, WorkerJob

from .fake import SECS, Answer, Asked, Fake, Queue, problem

NOT_THE_OWNER = problem(503, "not_the_owner", retry_after="1")
STARTING = problem(503, "owner_starting", retry_after="1")


def setUpModule() -> None:
    logging.getLogger("mainstay").setLevel(logging.CRITICAL)


def until_gone(job: WorkerJob) -> None:
    job.sleep(SECS)
    raise AssertionError("nobody said that it is gone")


class Outcomes(unittest.TestCase):
    def test_each_job_is_carried_out_and_what_came_of_it_is_told(self) -> None:
        seen: list[WorkerJob] = []

        def handler(job: WorkerJob) -> Any:
            seen.append(job)
            return None if job.payload["n"] == 2 else {"twice": job.payload["n"] * 2}

        with Queue(3) as server:
            worker = server.mainstay.worker(["q", "other"], handler, concurrency=2, name="w")
            self.assertEqual(worker.drain(), 3)
        first = next(job for job in seen if job.id == "job_1")
        self.assertEqual((first.kind, first.queue, first.tenant_id, first.payload), ("a.kind", "q", "ten_1", {"n": 1}))
        self.assertEqual((first.attempt, first.tries), (1, 1))
        self.assertEqual(first.created_at, datetime(2030, 1, 2, 3, 4, 5, 678_901, timezone.utc))
        self.assertEqual(
            sorted(server.told, key=lambda one: one["token"]),
            [
                {"token": "token-1", "outcome": "completed", "result": {"twice": 2}},
                {"token": "token-2", "outcome": "completed"},
                {"token": "token-3", "outcome": "completed", "result": {"twice": 6}},
            ],
        )
        self.assertEqual(
            server.asked("pull")[0].body,
            {"worker": "w", "queues": ["q", "other"], "max": 2, "lease_secs": 30, "wait_secs": 0},
        )

    def test_what_a_handler_raises_decides_what_becomes_of_the_job(self) -> None:
        raised: dict[int, BaseException] = {
            1: ValueError("it broke\nhere"),
            2: JobFailure("declined", category="validation", code="card_declined", retryable=False, retry_after_secs=5),
            3: Snooze(60, "no paper"),
            4: Release(),
            5: KeyError(),
            6: SystemExit("no more"),
        }

        def handler(job: WorkerJob) -> Any:
            if job.payload["n"] == 7:
                return {1, 2}
            if job.payload["n"] == 8:
                return "x" * 70_000
            raise raised[job.payload["n"]]

        with Queue(8) as server:
            server.mainstay.worker("q", handler).drain()
        failure = {"message": "declined", "category": "validation", "code": "card_declined", "retry_after_secs": 5, "retryable": False}
        self.assertEqual(
            server.told[:6],
            [
                {"token": "token-1", "outcome": "failed", "failure": {"message": "it broke here"}},
                {"token": "token-2", "outcome": "failed", "failure": failure},
                {"token": "token-3", "outcome": "snoozed", "delay_secs": 60, "reason": "no paper"},
                {"token": "token-4", "outcome": "released"},
                {"token": "token-5", "outcome": "failed", "failure": {"message": "KeyError"}},
                {"token": "token-6", "outcome": "failed", "failure": {"message": "no more"}},
            ],
        )
        self.assertEqual([one["failure"]["code"] for one in server.told[6:]], ["result_invalid", "result_too_large"])

    def test_as_many_run_at_the_same_time_as_was_said(self) -> None:
        together = threading.Barrier(3)

        with Queue(6) as server:
            worker = server.mainstay.worker("q", lambda _: together.wait(SECS) and None, concurrency=3)
            self.assertEqual(worker.drain(), 6)
        self.assertEqual({one["outcome"] for one in server.told}, {"completed"})

    def test_an_outcome_is_told_again_until_it_is_recorded(self) -> None:
        answers = [problem(500, "internal"), STARTING, NOT_THE_OWNER, None]
        with Queue(1, report=lambda _: answers.pop(0)) as server:
            began = time.monotonic()
            server.mainstay.worker("q", lambda _: 7).drain()
        reports = [one.body for one in server.asked("report")]
        self.assertEqual(len(reports), 4)
        self.assertTrue(all(one == reports[0] for one in reports))
        self.assertLess(time.monotonic() - began, 1.5, "another node is asked without waiting for long")

    def test_an_outcome_that_counts_for_nothing_is_not_told_again(self) -> None:
        events: list[WorkerEvent] = []
        with Queue(1, report=lambda _: problem(409, "lease_ended")) as server:
            server.mainstay.worker("q", lambda _: 7, on_event=events.append).drain()
        self.assertEqual(events, [WorkerEvent("done", "job_1", recorded=False)])
        self.assertEqual(len(server.asked("report")), 1)


class Leases(unittest.TestCase):
    def test_a_handler_hears_that_its_job_was_cancelled(self) -> None:
        self.hears("cancelled", "cancelled")

    def test_a_handler_hears_that_its_job_is_in_other_hands(self) -> None:
        self.hears("ended", "lost")

    def hears(self, state: str, why: str) -> None:
        heard: list[str] = []
        events: list[str] = []

        def handler(job: WorkerJob) -> None:
            try:
                until_gone(job)
            except JobGone as gone:
                heard.append(gone.why)
                self.assertEqual(job.gone, gone.why)
                raise

        with Queue(1, beat=lambda _: state) as server:
            server.mainstay.worker("q", handler, lease_secs=5, on_event=lambda one: events.append(one.type)).drain()
        self.assertEqual((heard, events, server.told), ([why], [why], []))

    def test_progress_goes_with_the_signs_of_life_the_last_one_before_the_outcome(self) -> None:
        def handler(job: WorkerJob) -> None:
            job.progress(12.6, "be\ngun")
            job.progress(140)

        with Queue(1) as server:
            server.mainstay.worker("q", handler).drain()
        self.assertEqual(server.beats, [{"token": "token-1", "progress": {"percent": 100}}])

    def test_a_sign_of_life_that_another_node_refused_is_given_again_at_once(self) -> None:
        answers: list[Any] = [NOT_THE_OWNER, STARTING, NOT_THE_OWNER]
        held = threading.Event()

        def beat(_: Asked) -> Any:
            if answers:
                return answers.pop(0)
            held.set()
            return "held"

        with Queue(1, beat=beat) as server:
            began: list[float] = []

            def handler(_: WorkerJob) -> bool:
                began.append(time.monotonic())
                return held.wait(SECS)

            server.mainstay.worker("q", handler, lease_secs=6).drain()
            # The first is due after two seconds; the next would be after four.
            self.assertLess(time.monotonic() - began[0], 3.8)
        self.assertEqual(len(server.asked("heartbeat")), 4)
        self.assertEqual(server.told, [{"token": "token-1", "outcome": "completed", "result": True}])

    def test_signs_of_life_are_given_until_the_outcome_is_told(self) -> None:
        beaten = threading.Event()

        def beat(_: Asked) -> None:
            beaten.set()

        def report(_: Asked) -> Answer | None:
            return None if beaten.is_set() else problem(500, "internal")

        with Queue(1, beat=beat, report=report) as server:
            server.mainstay.worker("q", lambda _: 7, lease_secs=5).drain()
        self.assertEqual(server.beats[0], {"token": "token-1"})
        self.assertEqual(server.told, [{"token": "token-1", "outcome": "completed", "result": 7}])


class Stopping(unittest.TestCase):
    def test_a_worker_that_is_stopped_finishes_what_it_has_and_takes_nothing_more(self) -> None:
        begun, finish = threading.Event(), threading.Event()

        def handler(_: WorkerJob) -> str:
            begun.set()
            finish.wait(SECS)
            return "done"

        with Queue(2) as server:
            worker = server.mainstay.worker("q", handler).start()
            self.assertTrue(begun.wait(SECS))
            stopping = threading.Thread(target=worker.stop)
            stopping.start()
            finish.set()
            stopping.join(SECS)
            self.assertEqual(server.told, [{"token": "token-1", "outcome": "completed", "result": "done"}])
            self.assertEqual(worker.in_hand, 0)
            self.assertTrue(worker.finished())

    def test_one_that_waits_for_jobs_stops_at_once(self) -> None:
        asked = threading.Event()

        def pull(_: Asked) -> None:
            asked.set()

        with Queue(0, pull=pull) as server:
            worker = server.mainstay.worker("q", lambda _: None).start()
            self.assertTrue(asked.wait(SECS))
            began = time.monotonic()
            worker.stop()
            self.assertLess(time.monotonic() - began, 5)

    def test_one_that_is_stopped_for_good_gives_back_what_still_runs(self) -> None:
        begun = threading.Event()

        def handler(job: WorkerJob) -> None:
            begun.set()
            until_gone(job)

        with Queue(1) as server:
            worker = server.mainstay.worker("q", handler).start()
            self.assertTrue(begun.wait(SECS))
            worker.stop(grace_secs=0.01)
        self.assertEqual(server.told, [{"token": "token-1", "outcome": "released", "reason": "the worker was stopped"}])

    def test_one_that_runs_in_the_main_thread_finishes_what_it_has_after_a_signal(self) -> None:
        def handler(job: WorkerJob) -> str:
            os.kill(os.getpid(), signal.SIGTERM)
            while worker.finished(0.01) is False:
                job.check()
            return "done"

        with Queue(1) as server:
            worker = server.mainstay.worker("q", handler)
            worker.run()
        self.assertEqual(server.told, [{"token": "token-1", "outcome": "completed", "result": "done"}])

    def test_one_that_runs_in_the_main_thread_gives_up_after_a_second_signal(self) -> None:
        pid = os.getpid()

        def handler(job: WorkerJob) -> None:
            os.kill(pid, signal.SIGTERM)
            while worker.finished(0.01) is False:
                pass
            os.kill(pid, signal.SIGTERM)
            until_gone(job)

        before = signal.getsignal(signal.SIGTERM)
        with Queue(1) as server:
            worker = server.mainstay.worker("q", handler)
            worker.run()
        self.assertEqual(server.told, [{"token": "token-1", "outcome": "released", "reason": "the worker was stopped"}])
        self.assertIs(signal.getsignal(signal.SIGTERM), before)


class Away(unittest.TestCase):
    def test_a_server_that_is_away_is_asked_again_and_one_that_says_no_is_not(self) -> None:
        answers: list[Answer | None] = [problem(503, "store_unavailable", retry_after="0"), NOT_THE_OWNER, None]
        events: list[WorkerEvent] = []
        done: list[str] = []

        def pull(_: Asked) -> Answer | None:
            return answers.pop(0) if answers else problem(403, "role_forbidden")

        with Queue(1, pull=pull) as server:
            worker = server.mainstay.worker("q", lambda job: done.append(job.id), on_event=events.append)
            with self.assertRaises(AccessError):
                worker.run()
        self.assertEqual(done, ["job_1"])
        self.assertEqual([one.type for one in events if one.type != "done"], ["away", "away", "back"])
        pauses = [one.pause_secs for one in events if one.type == "away"]
        self.assertEqual(pauses, [0.25, 0.5], "what another node asks for is not waited for")

    def test_one_that_drains_looks_for_the_owner_of_the_jobs(self) -> None:
        answers: list[Answer | None] = [NOT_THE_OWNER, STARTING]
        with Queue(1, pull=lambda _: answers.pop(0) if answers else None) as server:
            self.assertEqual(server.mainstay.worker("q", lambda _: None).drain(), 1)
        with Fake(lambda *_: problem(503, "store_unavailable")) as away, self.assertRaises(MainstayError):
            away.mainstay.worker("q", lambda _: None).drain()

    def test_what_an_observer_raises_stops_nothing(self) -> None:
        def observer(_: WorkerEvent) -> None:
            raise RuntimeError("it broke")

        with Queue(2) as server:
            self.assertEqual(server.mainstay.worker("q", lambda _: None, on_event=observer).drain(), 2)

    def test_what_makes_no_sense_is_refused_before_anything_is_asked(self) -> None:
        with Queue(0) as server:
            wrong: list[dict[str, Any]] = [{"concurrency": 0}, {"lease_secs": 1}, {"wait_secs": 31}]
            for given in wrong:
                with self.assertRaisesRegex(MainstayError, *given):
                    server.mainstay.worker("q", lambda _: None, **given)
        self.assertEqual(server.requests, [])
