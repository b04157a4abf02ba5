"""A real server on a database of its own, and the package as somebody installs it."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", PACKAGE.parent.parent / "target"))
BINARY = os.environ.get("MAINSTAY_BINARY", str(TARGET / "debug" / "mainstay"))
CLUSTER = os.environ.get("MAINSTAY_TEST_POSTGRES")
#: How long what must come is waited for.
SECS = 60


class Server:
    """A server, on SQLite or on a database of the cluster of the tests."""

    def __init__(self, postgres: bool = False) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mainstay-sdk-"))
        self._arguments = ["--data", str(self.folder / "data")]
        self._name = f"mainstay_sdk_{os.getpid()}" if postgres else None
        #: The database's address, on PostgreSQL.
        self.database = ""
        if self._name:
            assert CLUSTER
            self._psql(f"CREATE DATABASE {self._name} TEMPLATE template0")
            self.database = urlunsplit(urlsplit(CLUSTER)._replace(path=f"/{self._name}"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.key = ""

    def start(self) -> None:
        database = ["--database", self.database] if self.database else []
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [BINARY, "serve", "--listen", f"127.0.0.1:{self._port}", *self._arguments, *database],
                cwd=self.folder,
                # The tests look more often than a program should, and push to this machine.
                env={**os.environ, "MAINSTAY_LIMITS_READS_PER_MINUTE": "100000", "MAINSTAY_OUTBOUND_ALLOW": "127.0.0.0/8"},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        while not self._ready():
            if self._process.poll() is not None:
                raise AssertionError((self.folder / "log").read_text()[-4_000:])
            time.sleep(0.02)
        self.key = self.key or self._made_key()

    def kill(self) -> None:
        """Ends it as a power cut does."""
        self._process.kill()
        self._process.wait()

    def remove(self) -> None:
        self.kill()
        if self._name:
            self._psql(f"DROP DATABASE {self._name} WITH (FORCE)")
        shutil.rmtree(self.folder)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):
                return True
        except OSError:
            return False

    def _made_key(self) -> str:
        made = subprocess.run(
            [BINARY, "key", "create", "sdk", "--role", "owner", "--json", *self._arguments], check=True, capture_output=True
        )
        return str(json.loads(made.stdout)["secret"])

    def _psql(self, statement: str) -> None:
        assert CLUSTER
        subprocess.run(["psql", "--quiet", "--no-psqlrc", "--command", statement, CLUSTER], check=True)


class Scratch:
    """An environment that has the package, built and installed as anybody would, and what these tests were installed with."""

    def __init__(self) -> None:
        self.at = pathlib.Path(tempfile.mkdtemp(prefix="mainstay-sdk-"))
        # What was left by a build must not get into this one.
        source = self.at / "source"
        shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__", "dist", ".mypy_cache"))
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", self.at / "dist", source)
        (self.wheel,) = (self.at / "dist").glob("*.whl")
        (self.sdist,) = (self.at / "dist").glob("*.tar.gz")
        run(sys.executable, "-m", "venv", "--without-pip", self.at / "venv")
        self.python = self.at / "venv" / "bin" / "python"
        run(sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-index", "--no-deps", self.wheel)
        # Drivers of databases, from where these tests have them.
        (site,) = (self.at / "venv" / "lib").glob("python*/site-packages")
        (ours,) = pathlib.Path(sys.prefix, "lib").glob("python*/site-packages")
        (site / "drivers.pth").write_text(f"{ours}\n")

    def write(self, name: str, text: str) -> pathlib.Path:
        path = self.at / name
        path.write_text(text)
        return path

    def remove(self) -> None:
        shutil.rmtree(self.at)


def run(*command: object) -> str:
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=SECS)
    if ran.returncode != 0:
        raise AssertionError(f"{command}: {ran.stdout}{ran.stderr}")
    return ran.stdout


class Program:
    """A program in the scratch environment, and its lines."""

    def __init__(self, scratch: Scratch, path: pathlib.Path, env: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._process = subprocess.Popen(
            [scratch.python, "-u", path], cwd=scratch.at, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()
        self._process.stdout.close()

    def seen(self, count: int, wanted: Callable[[str], Any]) -> list[str]:
        """Waits until so many lines are as wanted."""
        found: list[str] = []
        with self._more:
            enough = self._more.wait_for(lambda: len(found := [one for one in self.lines if wanted(one)]) >= count, SECS)
            found = [one for one in self.lines if wanted(one)]
        assert enough, f"only {len(found)} of {count}: {self.lines[-5:]}"
        return found

    def end(self, how: signal.Signals | None = None) -> int:
        """How it ended, once it has."""
        if how is not None:
            self._process.send_signal(how)
        status = self._process.wait(SECS)
        self._reader.join()
        return status


def examples() -> dict[str, str]:
    """The programs of the README, by their names."""
    text = (PACKAGE / "README.md").read_text()
    return {name: program for program, name in re.findall(r"```python\n((?:# (\w+\.py))\n.*?)```", text, re.DOTALL)}
