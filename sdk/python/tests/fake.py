"""A server that answers what a test says, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from mainstay import Mainstay

#: How long a test waits for what must come.
SECS = 20


@dataclass
class Asked:
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    #: Which connection it came through, from 1.
    connection: int


@dataclass
class Answer:
    """What is answered; with `reset` nothing is, and the connection is gone."""

    json: Any = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False


def problem(status: int, code: str, **headers: str) -> Answer:
    body = {"type": f"/docs/errors#{code}", "title": code, "status": status, "detail": f"because of {code}", "code": code}
    return Answer(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


RESET = Answer(reset=True)
F = TypeVar("F", bound="Fake")


class Fake:
    """The server. `answer` is called with each request and its number, from 1."""

    def __init__(self, answer: Callable[[Asked, int], Answer]) -> None:
        self.requests: list[Asked] = []
        self.connections = 0
        self.closing = threading.Event()
        lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                with lock:
                    fake.connections += 1
                    self.number = fake.connections

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def serve(self) -> None:
                text = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, json.loads(text) if text else None, self.number)
                with lock:
                    fake.requests.append(asked)
                    count = len(fake.requests)
                self.say(answer(asked, count))

            def say(self, given: Answer) -> None:
                if given.reset:
                    self.close_connection = True
                    return
                text = given.json if isinstance(given.json, str) else json.dumps(given.json)
                self.send_response(given.status)
                for name, value in {"content-length": str(len(text.encode())), **given.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_DELETE = do_PATCH = serve

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.mainstay = Mainstay(f"{self.url}/", "msk_test")
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def __enter__(self: F) -> F:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.mainstay.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def job(number: int, **more: Any) -> dict[str, Any]:
    return {
        "token": f"token-{number}",
        "id": f"job_{number}",
        "tenant_id": "ten_1",
        "queue": "q",
        "kind": "a.kind",
        "payload": {"n": number},
        "attempt": 1,
        "tries": 1,
        "lease_secs": 5,
        "created_at": "2030-01-02T03:04:05.678901Z",
        **more,
    }


class Queue(Fake):
    """A server with these jobs in its queue. `report` and `beat` answer in its place; None: as it does by itself."""

    def __init__(
        self,
        count: int,
        *,
        pull: Callable[[Asked], Answer | None] = lambda _: None,
        report: Callable[[Asked], Answer | None] = lambda _: None,
        beat: Callable[[Asked], Answer | str | None] = lambda _: None,
    ) -> None:
        self.jobs = [job(number + 1) for number in range(count)]
        self.told: list[Any] = []
        self.beats: list[Any] = []
        self._pull, self._report, self._beat = pull, report, beat
        super().__init__(self._answer)

    def asked(self, path: str) -> list[Asked]:
        return [one for one in self.requests if one.path == f"/v1/workers/{path}"]

    def _answer(self, asked: Asked, _: int) -> Answer:
        if asked.path == "/v1/workers/pull":
            return self._pull(asked) or self._jobs(asked)
        if asked.path == "/v1/workers/heartbeat":
            given = self._beat(asked) or "held"
            if isinstance(given, Answer):
                return given
            self.beats += asked.body["beats"]
            return Answer({"beats": [{"token": one["token"], "state": given} for one in asked.body["beats"]]})
        refused = self._report(asked)
        if refused is None:
            self.told += asked.body["outcomes"]
        return refused or Answer({"outcomes": []})

    def _jobs(self, asked: Asked) -> Answer:
        most = asked.body["max"]
        taken, self.jobs = self.jobs[:most], self.jobs[most:]
        if not taken and asked.body["wait_secs"] > 0:
            # As long as somebody waits.
            self.closing.wait(SECS)
        return Answer({"jobs": taken, "outcomes": []})
