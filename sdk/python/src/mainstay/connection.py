"""Requests to a server over HTTP: a few connections that are kept, for any number of threads."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import selectors
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

from .errors import MainstayError, UnavailableError, UnreachableError, problem_error

Read = Literal["json", "text", "bytes", "nothing"]
Query = Mapping[str, "str | int | bool | None"]

_CONNECT_SECS = 5.0
#: How many connections wait for their next request, and for how long.
_IDLE_MAX = 16
_IDLE_SECS = 15.0
#: How often a write is sent before it fails, and how long after the first time.
_TRIES = 4
_PAUSE_SECS = 0.25


def quoted(text: str) -> str:
    """A text as a part of a path."""
    return quote(text, safe="")


class Aborted(MainstayError):
    """The request was given up by whoever made it."""


class Abort:
    """Gives up a request that is under way, from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over = False
        self._socket: socket.socket | None = None

    @property
    def over(self) -> bool:
        """Whether it was given up."""
        return self._over

    def now(self) -> None:
        """Whoever waits for an answer waits no longer; whoever asks after this does not begin."""
        with self._lock:
            self._over = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    # Not TLS's own way, which must not be gone while another thread reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def watch(self, sock: socket.socket | None) -> None:
        """This is what the request goes through; None once it has been answered."""
        with self._lock:
            if self._over and sock is not None:
                raise Aborted("the request was given up")
            self._socket = sock


class Connection:
    """The API of a server."""

    def __init__(self, url: str, key: str, *, timeout: float = 30.0, ssl_context: ssl.SSLContext | None = None) -> None:
        if not url:
            raise MainstayError("url is missing: the address of the server")
        if not key:
            raise MainstayError("key is missing: an API key of the server")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MainstayError("url is no address of a server; one looks like https://mainstay.example.com")
        self._scheme, self._host, self._port = parts.scheme, parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._key = key
        self._timeout = timeout
        self._tls = (ssl_context or ssl.create_default_context()) if self._scheme == "https" else None
        self._lock = threading.Lock()
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._process = os.getpid()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        read: Read = "json",
        abort: Abort | None = None,
    ) -> Any:
        """Makes a request and reads its answer; whatever goes wrong is an error of ours."""
        given = {"accept": "*/*", "authorization": f"Bearer {self._key}", **(headers or {})}
        data = None
        if body is not None:
            given["content-type"] = "application/json"
            data = encoded(body)
        target = f"{self._prefix}{path}{_query(query)}"
        response, answer = self._send(method, target, data, given, timeout or self._timeout, abort)
        if not 200 <= response.status < 300:
            raise problem_error(
                _problem(answer, response.status),
                request_id=response.getheader("x-request-id"),
                retry_after_secs=_seconds(response.getheader("retry-after")),
            )
        return _read(answer, read, response)

    def once(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        idempotency_key: str | None = None,
        query: Query | None = None,
        read: Read = "json",
    ) -> Any:
        """A write that is repeated while the server is away, and takes effect once."""
        headers = {"idempotency-key": idempotency_key or str(uuid.uuid4())}
        for tried in range(1, _TRIES + 1):
            try:
                return self.call(method, path, body, query=query, headers=headers, read=read)
            except MainstayError as error:
                if not isinstance(error, (UnreachableError, UnavailableError)) or tried == _TRIES:
                    raise
            time.sleep(_PAUSE_SECS * 2 ** (tried - 1) * random.uniform(0.75, 1.25))
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Lets go of the connections that wait. It can go on being used."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _send(
        self,
        method: str,
        target: str,
        data: bytes | None,
        headers: dict[str, str],
        timeout: float,
        abort: Abort | None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self._kept() or self._new()
        whole = False
        try:
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(timeout)
            if abort:
                abort.watch(connection.sock)
            connection.request(method, target, data, headers)
            response = connection.getresponse()
            answer = response.read()
            whole = True
            return response, answer
        except http.client.InvalidURL:
            raise
        except (OSError, http.client.HTTPException) as error:
            if abort and abort.over:
                raise Aborted("the request was given up") from None
            raise UnreachableError(f"no answer from {self._scheme}://{self._host}: {error or type(error).__name__}") from error
        finally:
            if abort:
                abort.watch(None)
            if whole and connection.sock is not None:
                self._keep(connection)
            else:
                connection.close()

    def _new(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=_CONNECT_SECS, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_SECS)

    def _kept(self) -> http.client.HTTPConnection | None:
        """A connection that is still open, the one that was used last."""
        with self._lock:
            # After a fork they are the parent's.
            ours, self._process = self._process == os.getpid(), os.getpid()
            while self._idle:
                since, connection = self._idle.pop()
                if ours and time.monotonic() - since < _IDLE_SECS and not _dropped(connection.sock):
                    return connection
                connection.close()
        return None

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _IDLE_MAX:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()


def encoded(value: object) -> bytes:
    """JSON, as short as it can be."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _dropped(sock: socket.socket) -> bool:
    """Whether the other end has closed it: then there is something to read, and nobody has asked for anything."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _query(query: Query | None) -> str:
    given = [(name, value) for name, value in (query or {}).items() if value is not None]
    words = [(name, str(value).lower() if isinstance(value, bool) else value) for name, value in given]
    return f"?{urlencode(words)}" if words else ""


def _read(answer: bytes, read: Read, response: http.client.HTTPResponse) -> Any:
    if read == "bytes":
        return answer
    if read == "text":
        return answer.decode(errors="replace")
    if read == "nothing" or answer == b"":
        return None
    try:
        return json.loads(answer)
    except ValueError:
        raise problem_error(_unexpected(response.status), request_id=response.getheader("x-request-id")) from None


def _problem(answer: bytes, status: int) -> dict[str, Any]:
    try:
        problem = json.loads(answer)
    except ValueError:
        problem = None
    if isinstance(problem, dict) and isinstance(problem.get("code"), str):
        return {"detail": problem["code"], **problem, "status": status}
    # Something that stands in front of the server said it.
    return _unexpected(status)


def _unexpected(status: int) -> dict[str, Any]:
    detail = f"the answer has the status {status} and is not Mainstay's"
    return {"type": "about:blank", "title": "unexpected answer", "status": status, "detail": detail, "code": "unexpected_answer"}


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
