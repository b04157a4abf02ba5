"""Starts Mainstay on each database and holds it to its own OpenAPI document. Called by tools/contract."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

HERE = pathlib.Path(__file__).resolve().parent
# An answer is due within this; the slowest thing that may be asked for is a statement of SQL's, which has 10 s.
REQUEST_TIMEOUT_SECS = "20"
STOP_WITHIN_SECS = 60


def say(text):
    print(f"contract: {text}", flush=True)


@contextmanager
def sqlite():
    yield []


@contextmanager
def postgres(url):
    """A database of its own in the cluster of the tests."""
    name = f"mainstay_contract_{os.getpid()}"

    def psql(statement):
        subprocess.run(["psql", "--quiet", "--no-psqlrc", "--command", statement, url], check=True)

    psql(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield ["--database", urlunsplit(urlsplit(url)._replace(path=f"/{name}"))]
    finally:
        psql(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def server(binary, folder, arguments):
    """A running server: its address, and a key of an owner's that the command line made."""
    log = (folder / "server.log").open("wb")
    own = ["--data", str(folder / "data"), *arguments]
    process = subprocess.Popen(
        [binary, "serve", "--listen", "127.0.0.1:0", *own],
        # More requests in a minute than a key may make.
        env=os.environ | {f"MAINSTAY_LIMITS_{what}_PER_MINUTE": "1000000" for what in ("READS", "WRITES", "REQUESTS")},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        address = None
        for line in process.stdout:
            if found := re.search(r"is listening on (http://\S+)", line):
                address = found[1]
                break
        if address is None:
            raise SystemExit(f"contract: the server did not start\n{tail(folder)}")
        made = subprocess.run(
            [binary, "key", "create", "contract", "--role", "owner", "--json", "--data", str(folder / "data")],
            check=True,
            capture_output=True,
        )
        yield address, json.loads(made.stdout)["secret"]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            ended = process.wait(STOP_WITHIN_SECS)
        except subprocess.TimeoutExpired:
            process.kill()
            ended = process.wait()
        process.stdout.close()
        log.close()
    if ended != 0:
        raise SystemExit(f"contract: the server ended with {ended}\n{tail(folder)}")


def tail(folder):
    return "\n".join((folder / "server.log").read_text(errors="replace").splitlines()[-30:])


def hold(database, binary, place, seed, examples):
    begun = time.monotonic()
    say(f"{database}, seed {seed}, {examples} examples of each operation")
    with tempfile.TemporaryDirectory(prefix="mainstay-contract-") as folder, place as arguments:
        folder = pathlib.Path(folder)
        with server(binary, folder, arguments) as (address, key):
            tried = subprocess.run(
                [
                    str(pathlib.Path(sys.executable).parent / "schemathesis"),
                    *("--config-file", str(HERE / "schemathesis.toml")),
                    *("run", f"{address}/v1/openapi.json"),
                    *("--seed", str(seed)),
                    *("--max-examples", str(examples)),
                    *("--request-timeout", REQUEST_TIMEOUT_SECS),
                    "--continue-on-failure",
                    "--no-color",
                ],
                cwd=folder,
                env={**os.environ, "CONTRACT_KEY": key, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"},
            )
        defects = [line for line in (folder / "server.log").read_text(errors="replace").splitlines() if " ERROR " in line]
        if tried.returncode != 0 or defects:
            for line in defects[:10]:
                say(line)
            raise SystemExit(f"contract: {database}: broken, seed {seed}; CONTRACT_SEED={seed} does the same again")
    say(f"{database}: kept ({time.monotonic() - begun:.0f} s)")


def main():
    binary = sys.argv[1]
    seed = int(os.environ.get("CONTRACT_SEED", "20261"))
    examples = int(os.environ.get("CONTRACT_EXAMPLES", "15"))
    hold("SQLite", binary, sqlite(), seed, examples)
    if url := os.environ.get("MAINSTAY_TEST_POSTGRES"):
        hold("PostgreSQL", binary, postgres(url), seed, examples)
    else:
        say("PostgreSQL: left out, MAINSTAY_TEST_POSTGRES is not set")


main()
