"""A worker: asks for jobs, calls a handler for each, and says how it went."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Literal

from .connection import Abort, Aborted, Connection
from .errors import ConflictError, MainstayError, away, elsewhere
from .job import Hand, WorkerJob, clipped
from .pauses import NEAR_SECS, jittered, longer

#: What carries jobs out. What it returns is kept as the job's result: anything that is JSON.
Handler = Callable[[WorkerJob], Any]

#: How long outcomes are told after a stop for good, and a request for jobs that is to be over soon is repeated.
_TELL_SECS = 10.0
_log = logging.getLogger("mainstay")


@dataclass(frozen=True)
class WorkerEvent:
    """What happens to a worker, told as it happens."""

    #: `done`, `failed`, `cancelled` and `lost` are of a job; `away` and `back` of the server.
    type: Literal["done", "failed", "cancelled", "lost", "away", "back"]
    #: The job's id.
    job: str | None = None
    #: Of `done`: whether the outcome counts. It does not where the job is in other hands.
    recorded: bool | None = None
    #: Of `failed` and `away`.
    error: BaseException | None = None
    #: Of `away`: in how many seconds it is asked again; 0: with the next sign of life.
    pause_secs: float | None = None


OnEvent = Callable[[WorkerEvent], None]


class Worker:
    """A worker. Made by `Mainstay.worker`."""

    def __init__(
        self,
        connection: Connection,
        queue: str | Sequence[str],
        handler: Handler,
        *,
        concurrency: int = 1,
        name: str | None = None,
        lease_secs: int = 30,
        wait_secs: int = 20,
        on_event: OnEvent | None = None,
    ) -> None:
        """`concurrency` is how many jobs are worked on at the same time, each in a thread (at most 100); `lease_secs` for how
        long a job is in hand should this process die (5 to 3600); `wait_secs` for how long one request for jobs waits at
        the server (at most 30); `name` is of its own; left out, the machine's, the process's and a part that is made up."""
        self._connection = connection
        self._queues = [queue] if isinstance(queue, str) else list(queue)
        self._handler = handler
        self._concurrency = _within("concurrency", concurrency, 1, 100)
        self._lease_secs = _within("lease_secs", lease_secs, 5, 3600)
        self._wait_secs = _within("wait_secs", wait_secs, 0, 30)
        self._on_event = on_event
        #: Under which the server lists it.
        self.name = name or clipped(f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}", 100)
        self._hands: dict[str, Hand] = {}
        #: Guards the hands, and is told whenever one becomes free.
        self._free = threading.Condition()
        self._todo: SimpleQueue[Hand | None] = SimpleQueue()
        #: Nothing more is taken.
        self._stopping = threading.Event()
        self._pulling = Abort()
        #: What runs is given up.
        self._given_up_at: float | None = None
        #: Nothing is left to do.
        self._over = threading.Event()
        self._puller: threading.Thread | None = None
        self._refused: MainstayError | None = None
        #: What `run` waits for: `signal`, `idle` when nothing more is taken, `over`.
        self._asked: SimpleQueue[str] = SimpleQueue()

    @property
    def in_hand(self) -> int:
        """How many jobs are in its hands."""
        return len(self._hands)

    def start(self) -> Worker:
        """Begins to work, in threads of its own. Again, it does nothing."""
        if self._puller is None:
            self._begin()
            self._puller = self._thread(self._work, "pull")
        return self

    def run(self, *, grace_secs: float | None = None) -> None:
        """Works until the process is asked to end (SIGTERM, Ctrl-C), finishes what it has, and returns: for the main thread.

        After `grace_secs` (left out: never), or when asked once more, what still runs is given up as `stop` says. Raises where
        the server says that this worker may not work at all.
        """
        asked = self._asked
        before = {one: signal.signal(one, lambda *_: asked.put("signal")) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            self.start()
            asked.get()
            self._thread(lambda: self._stop_for(asked, grace_secs), "stop")
            while (said := asked.get()) != "over":
                if said == "signal":
                    self.give_up()
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
        self.finished()

    def finished(self, timeout: float | None = None) -> bool:
        """Waits until it takes nothing more; whether that is so. Raises where the server says that it may not work at all."""
        if self._puller is not None:
            self._puller.join(timeout)
            if self._puller.is_alive():
                return False
        if self._refused is not None:
            raise self._refused
        return True

    def stop(self, *, grace_secs: float | None = None) -> None:
        """Takes nothing more and returns when what runs has ended.

        After `grace_secs` (left out: never) what still runs is given up: `job.check()` and `job.sleep()` raise, and the job is
        given back, which uses up no try. A handler that does not look is waited for ten seconds more; the lease of its job
        then runs out.
        """
        self._stopping.set()
        self._pulling.now()
        with self._free:
            self._free.notify_all()
        if self._puller is not None:
            self._puller.join()
        if not self._emptied(grace_secs):
            self.give_up()
            self._emptied(_TELL_SECS)
        self._end()

    def _stop_for(self, asked: SimpleQueue[str], grace_secs: float | None) -> None:
        try:
            self.stop(grace_secs=grace_secs)
        finally:
            asked.put("over")

    def give_up(self) -> None:
        """Gives back what runs, as soon as its handlers see it."""
        self._given_up_at = time.monotonic()
        for hand in self._in_hand():
            hand.end("stopped")

    def drain(self) -> int:
        """Takes the jobs that there are, works until none is left, and returns how many: for tests and for functions that live
        for a moment."""
        taken = 0
        self._begin()
        try:
            while jobs := self._pull_soon():
                taken += len(jobs)
                for job in jobs:
                    self._take(job)
                self._emptied(None)
            return taken
        finally:
            self._end()

    def _begin(self) -> None:
        self._over = threading.Event()
        self._todo = SimpleQueue()
        self._thread(self._beats, "beats")
        for number in range(self._concurrency):
            self._thread(self._carry_out_all, str(number))

    def _end(self) -> None:
        self._over.set()
        for _ in range(self._concurrency):
            self._todo.put(None)

    def _thread(self, what: Callable[[], object], name: str) -> threading.Thread:
        # A daemon: what a handler does for ever keeps no process from ending.
        thread = threading.Thread(target=what, name=f"mainstay-{name}", daemon=True)
        thread.start()
        return thread

    def _work(self) -> None:
        pause = 0.0
        while (free := self._places()) > 0:
            try:
                jobs = self._pull(free, self._wait_secs)
            except Aborted:
                break
            except MainstayError as error:
                if not away(error):
                    self._refused = error
                    break
                pause = longer(pause, error)
                self._tell(WorkerEvent("away", error=error, pause_secs=pause))
                self._stopping.wait(jittered(pause))
                continue
            if pause > 0:
                self._tell(WorkerEvent("back"))
            pause = 0.0
            for job in jobs:
                self._take(job)
        self._asked.put("idle")

    def _places(self) -> int:
        """How many jobs it can take, once it can take one; none when it stops."""
        with self._free:
            self._free.wait_for(lambda: self._stopping.is_set() or len(self._hands) < self._concurrency)
            return 0 if self._stopping.is_set() else self._concurrency - len(self._hands)

    def _emptied(self, secs: float | None) -> bool:
        """Waits until nothing is in its hands; whether that is so."""
        with self._free:
            return self._free.wait_for(lambda: not self._hands, secs)

    def _in_hand(self) -> list[Hand]:
        with self._free:
            return list(self._hands.values())

    def _pull(self, most: int, wait_secs: int) -> list[dict[str, Any]]:
        body = {
            "worker": self.name,
            "queues": self._queues,
            "max": most,
            "lease_secs": self._lease_secs,
            "wait_secs": wait_secs,
        }
        answer = self._connection.call("POST", "/v1/workers/pull", body, timeout=wait_secs + 15, abort=self._pulling)
        jobs: list[dict[str, Any]] = _listed(answer, "jobs")
        return jobs

    def _pull_soon(self) -> list[dict[str, Any]]:
        """What there is, also while the jobs are between two owners."""
        began, pause = time.monotonic(), 0.0
        while True:
            try:
                return self._pull(self._concurrency, 0)
            except MainstayError as error:
                if not elsewhere(error) or time.monotonic() - began > _TELL_SECS:
                    raise
                pause = longer(pause, error)
                self._tell(WorkerEvent("away", error=error, pause_secs=pause))
            self._over.wait(jittered(pause))

    def _take(self, job: dict[str, Any]) -> None:
        hand = Hand(job)
        with self._free:
            self._hands[hand.token] = hand
        self._todo.put(hand)

    def _carry_out_all(self) -> None:
        todo = self._todo
        while (hand := todo.get()) is not None:
            try:
                self._carry_out(hand)
            finally:
                with self._free:
                    self._hands.pop(hand.token, None)
                    self._free.notify_all()

    def _carry_out(self, hand: Hand) -> None:
        outcome = self._outcome(hand)
        hand.handled = True
        if hand.gone in ("cancelled", "lost"):
            return
        if hand.progress:
            # Its last word on how far it is comes first, so that it is kept.
            self._beat(hand)
        if hand.gone == "stopped" and outcome["outcome"] != "completed":
            outcome = {"token": hand.token, "outcome": "released", "reason": "the worker was stopped"}
        self._report(hand, outcome)

    def _outcome(self, hand: Hand) -> dict[str, Any]:
        if hand.gone:
            return hand.raised(MainstayError("given up before it began"))
        try:
            return hand.completed(self._handler(hand.job))
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is its job's outcome
            outcome = hand.raised(error)
            if outcome["outcome"] == "failed" and not hand.gone:
                self._tell(WorkerEvent("failed", hand.job.id, error=error))
            return outcome

    def _report(self, hand: Hand, outcome: dict[str, Any]) -> None:
        """Tells an outcome until the server has recorded it, or says that it counts for nothing."""
        body = {"worker": self.name, "outcomes": [outcome]}
        pause = 0.0
        while True:
            try:
                self._connection.call("POST", "/v1/workers/report", body)
                self._tell(WorkerEvent("done", hand.job.id, recorded=True))
                return
            except ConflictError:
                self._tell(WorkerEvent("done", hand.job.id, recorded=False))
                return
            except MainstayError as error:
                given_up = self._given_up_at is not None and time.monotonic() - self._given_up_at > _TELL_SECS
                if not away(error) or given_up:
                    self._tell(WorkerEvent("failed", hand.job.id, error=error))
                    return
                pause = NEAR_SECS if elsewhere(error) else longer(pause, error)
                self._tell(WorkerEvent("away", error=error, pause_secs=pause))
            self._over.wait(jittered(pause))

    def _beats(self) -> None:
        """Signs of life for what is in hand, three in the time of a lease."""
        over = self._over
        while not over.wait(self._lease_secs / 3):
            self._beat()

    def _beat(self, only: Hand | None = None) -> None:
        """A sign of life for all or for one. Where it is only another node that has to be asked, that is done soon: a lease ends
        while one waits for the next."""
        while hands := [only] if only else self._in_hand():
            body = {"worker": self.name, "beats": [hand.beat() for hand in hands]}
            try:
                answer = self._connection.call("POST", "/v1/workers/heartbeat", body, timeout=self._lease_secs / 3)
                beats = _listed(answer, "beats")
            except MainstayError as error:
                near = elsewhere(error)
                self._tell(WorkerEvent("away", error=error, pause_secs=NEAR_SECS if near else 0.0))
                if not near or self._over.wait(jittered(NEAR_SECS)):
                    # The server is away. When it is back it grants everybody a lease more.
                    return
                continue
            standing = {beat["token"]: beat["state"] for beat in beats}
            for hand in hands:
                self._stands(hand, standing.get(hand.token))
            return

    def _stands(self, hand: Hand, state: str | None) -> None:
        if state == "cancelled" and hand.end("cancelled"):
            self._tell(WorkerEvent("cancelled", hand.job.id))
        if state == "ended" and hand.end("lost"):
            self._tell(WorkerEvent("lost", hand.job.id))

    def _tell(self, event: WorkerEvent) -> None:
        _logged(event)
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:
                _log.exception("the worker's on_event raised")


def _logged(event: WorkerEvent) -> None:
    if event.type == "failed":
        _log.error("job %s failed", event.job, exc_info=event.error)
    elif event.type == "away":
        _log.warning("the server is away: %s", event.error)
    elif event.type in ("cancelled", "lost"):
        _log.info("job %s is %s", event.job, event.type)


def _listed(answer: Any, name: str) -> list[dict[str, Any]]:
    """A list of the answer's. Somebody else may have answered in the server's place, such as a proxy."""
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise MainstayError(f"the answer has no {name}: it is not the server's")
    return found


def _within(name: str, value: int, least: int, most: int) -> int:
    if not isinstance(value, int) or not least <= value <= most:
        raise MainstayError(f"{name} must be {least} to {most}")
    return value
