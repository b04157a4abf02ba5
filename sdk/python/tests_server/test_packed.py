"""The package as it is published, in somebody's environment, with the real server, on each database."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tarfile
import time
import unittest
import zipfile
from collections.abc import Callable
from functools import partial
from typing import Any

import pg8000.dbapi  # type: ignore[import-untyped]
import psycopg
from psycopg.rows import dict_row

from mainstay import Mainstay, NewJob, NotFoundError, enqueue_in

from .scratch import CLUSTER, PACKAGE, SECS, Program, Scratch, Server, examples

WORKER = """
import json, os, sys
from mainstay import Mainstay, WorkerJob

def say(**what):
    sys.stdout.write(json.dumps(what) + chr(10))  # in one piece, whatever other threads say

def double(job: WorkerJob):
    say(began=job.id, attempt=job.attempt)
    job.progress(50, "half of it")
    job.sleep(job.payload["takes_secs"])
    return {"twice": job.payload["n"] * 2}

mainstay = Mainstay(os.environ["MAINSTAY_URL"], os.environ["MAINSTAY_API_KEY"])
told = lambda event: say(event=event.type, job=event.job, recorded=event.recorded)
worker = mainstay.worker(os.environ["QUEUE"], double, concurrency=6, lease_secs=5, on_event=told)
worker.run()
say(stopped=worker.in_hand)
"""

TYPED = """
from mainstay import JobFailure, Mainstay, WorkerJob, schemas, verify_webhook

mainstay = Mainstay("http://localhost", "msk_")

def send(job: WorkerJob) -> dict[str, str]:
    if job.gone:
        raise JobFailure("gone", category="timeout")
    return {"sent": job.payload["to"]}

worker = mainstay.worker("q", send, concurrency=2)
id: str = mainstay.enqueue("a", {"to": "you"}, queue="q")["id"]
state: schemas.JobState = mainstay.job(id)["state"]
reason: str | None = mainstay.api.dead_letter_list()["items"][0].get("error")
at: float = verify_webhook(b"", {}, "s").timestamp.timestamp()
mainstay.worker("q", send, concurency=2)  # type: ignore[call-arg]
mainstay.api.job_list(state="odd")  # type: ignore[arg-type]
"""

scratch: Scratch


def setUpModule() -> None:
    global scratch
    scratch = Scratch()


def tearDownModule() -> None:
    scratch.remove()


class Packed(unittest.TestCase):
    def test_the_wheel_has_the_package_and_nothing_else(self) -> None:
        modules = {f"mainstay/{one.name}" for one in (PACKAGE / "src" / "mainstay").iterdir() if one.is_file()}
        with zipfile.ZipFile(scratch.wheel) as wheel:
            names = set(wheel.namelist())
            (described,) = (wheel.read(name).decode() for name in names if name.endswith("/METADATA"))
        self.assertEqual({name for name in names if ".dist-info/" not in name}, modules)
        self.assertIn("mainstay/py.typed", names)
        self.assertIn("Name: mainstay-sdk\n", described)
        self.assertNotIn("Requires-Dist", described)

    def test_the_sdist_has_what_the_wheel_is_made_of(self) -> None:
        with tarfile.open(scratch.sdist) as sdist:
            names = {name.partition("/")[2] for name in sdist.getnames()}
        self.assertLessEqual({"pyproject.toml", "README.md", "src/mainstay/worker.py", "tests/test_worker.py"}, names)

    def test_its_types_hold_for_whoever_checks_against_them(self) -> None:
        program = scratch.write("typed.py", TYPED)
        ran = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--python-executable", scratch.python, program],
            cwd=scratch.at,
            capture_output=True,
            text=True,
        )
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)


class OnSqlite(unittest.TestCase):
    server: Server
    mainstay: Mainstay

    @classmethod
    def made(cls) -> Server:
        return Server()

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = cls.made()
        cls.server.start()
        cls.mainstay = Mainstay(cls.server.url, cls.server.key)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.mainstay.close()
        cls.server.remove()

    def program(self, text: str, **env: str) -> Program:
        path = scratch.write("program.py", text)
        known = {"MAINSTAY_URL": self.server.url, "MAINSTAY_API_KEY": self.server.key, "DATABASE_URL": self.server.database}
        return Program(scratch, path, {**known, **env})

    def submitted(self, queue: str, count: int) -> list[str]:
        payloads = [{"n": n, "takes_secs": 0.15} for n in range(count)]
        return self.mainstay.enqueue_many(NewJob("number.double", payload, queue=queue) for payload in payloads)

    def until(self, look: Callable[[], Any]) -> Any:
        """What a look finds at last; there is nothing that would tell."""
        end = time.monotonic() + SECS
        while not (found := look()):
            self.assertLess(time.monotonic(), end, "it never came")
            time.sleep(0.05)
        return found

    def completed(self, queue: str) -> int:
        counts = self.mainstay.api.job_counts()["queues"].get(queue)
        return counts["completed"] if counts else 0

    def all_done(self, ids: list[str]) -> None:
        """Each with its result, once, and nothing is left hanging."""
        for n, id in enumerate(ids):
            job = self.mainstay.job(id)
            self.assertEqual(job["state"], "done", job)
            attempts = job["attempts_list"]
            self.assertEqual(attempts[-1].get("result"), {"twice": n * 2})
            self.assertEqual([one["outcome"] for one in attempts].count("succeeded"), 1)

    def test_a_worker_goes_on_when_the_server_is_killed_and_nothing_is_lost(self) -> None:
        ids = self.submitted("survive", 30)
        worker = self.program(WORKER, QUEUE="survive")
        worker.seen(8, lambda line: "began" in line)
        self.server.kill()
        self.server.start()
        self.until(lambda: self.completed("survive") == 30)
        self.assertEqual(worker.end(signal.SIGTERM), 0)
        self.assertEqual(json.loads(worker.lines[-1]), {"stopped": 0})
        self.all_done(ids)

    def test_what_a_killed_worker_had_in_hand_is_handed_to_another(self) -> None:
        ids = self.submitted("replace", 16)
        first = self.program(WORKER, QUEUE="replace")
        first.seen(8, lambda line: "began" in line)
        first.end(signal.SIGKILL)
        second = self.program(WORKER, QUEUE="replace")
        self.until(lambda: self.completed("replace") == 16)
        self.assertEqual(second.end(signal.SIGTERM), 0)
        self.all_done(ids)
        attempts = [json.loads(line).get("attempt", 0) for line in second.lines]
        self.assertGreater(max(attempts), 1, "some were in hand")

    def test_a_worker_that_is_asked_to_stop_finishes_what_it_has(self) -> None:
        ids = self.submitted("stop", 4)
        worker = self.program(WORKER, QUEUE="stop")
        worker.seen(4, lambda line: "began" in line)
        self.assertEqual(worker.end(signal.SIGTERM), 0)
        self.assertEqual(len(worker.seen(4, lambda line: '"recorded": true' in line)), 4)
        self.all_done(ids)
        attempt = self.mainstay.job(ids[0])["attempts_list"][0]
        self.assertEqual(attempt.get("progress"), {"percent": 50, "note": "half of it"})

    def test_the_examples_for_submitting_and_working_do_what_they_say(self) -> None:
        submit = self.program(examples()["submit.py"])
        self.assertEqual(submit.end(), 0)
        drain = self.program(examples()["drain.py"])
        self.assertEqual((drain.end(), drain.lines), (0, ["2"]))
        work = self.program(examples()["work.py"])
        job = self.until(lambda: self.job_in("done", submit.lines[0]))
        self.assertEqual(work.end(signal.SIGTERM), 0)
        last = job["attempts_list"][-1]
        self.assertEqual(last["result"], {"url": "https://files.example.com/7.pdf"})
        self.assertEqual(last["progress"], {"percent": 66, "note": "page 3"})

    def job_in(self, state: str, id: str) -> Any:
        job = self.mainstay.job(id)
        return job if job["state"] == state else None

    def test_the_example_of_what_a_handler_raises_does_what_it_says(self) -> None:
        program: dict[str, Any] = {}
        exec(examples()["charge.py"], program)
        answers = {"declined": "dead", "slow down": "retrying", "closed": "waiting", "paid": "done"}
        ids = {answer: self.mainstay.enqueue("card.charge", {"answer": answer}, queue="cards")["id"] for answer in answers}
        self.mainstay.worker("cards", program["charge"], concurrency=4).drain()
        self.assertEqual({answer: self.mainstay.job(id)["state"] for answer, id in ids.items()}, answers)
        dead = self.program(examples()["dead.py"])
        self.assertEqual(dead.end(), 0)
        self.assertIn(f"{ids['declined']} the card is declined", dead.lines)
        self.assertRegex(dead.lines[-1], r"^not_found \S+$")

    def test_a_webhook_of_the_server_is_verified_by_the_example(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        made = self.mainstay.api.endpoint_create({"name": "example", "url": f"http://127.0.0.1:{port}/webhooks"})
        secret = made["secret"]
        assert secret
        receiver = self.program(examples()["receive.py"], PORT=str(port), WEBHOOK_SECRET=secret)
        self.until(lambda: not self.closed(port))
        schedule = self.mainstay.api.schedule_create(
            {"name": "now", "cron": "0 0 1 1 *", "endpoint": "example", "payload": {"hello": "you"}}
        )
        run = self.mainstay.api.schedule_run(schedule["id"])
        (line,) = receiver.seen(1, lambda line: line.startswith("job_"))
        self.assertEqual(line.split()[0], run["job_id"])
        receiver.end(signal.SIGKILL)

    def closed(self, port: int) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) != 0

    def test_what_there_is_not_is_told_with_the_id_of_the_request(self) -> None:
        with self.assertRaises(NotFoundError) as caught:
            self.mainstay.job("job_01jh3z8q5fe7s8tz1v2n4r6x9c")
        self.assertEqual((caught.exception.status, caught.exception.code), (404, "not_found"))
        self.assertTrue(caught.exception.request_id)


@unittest.skipUnless(CLUSTER, "MAINSTAY_TEST_POSTGRES is not set")
class OnPostgres(OnSqlite):
    @classmethod
    def made(cls) -> Server:
        return Server(postgres=True)

    def cursors(self) -> dict[str, tuple[Any, Any]]:
        """Of two drivers, that have nothing in common but PEP 249, and one whose rows are dictionaries."""
        url = self.server.database
        parts = psycopg.conninfo.conninfo_to_dict(url)
        native = pg8000.dbapi.connect(str(parts["user"]), str(parts["host"]), str(parts["dbname"]), int(str(parts["port"])))
        plain, named = psycopg.connect(url), psycopg.connect(url, row_factory=dict_row)
        opened = {"pg8000": native, "psycopg": plain, "dictionaries": named}
        for connection in opened.values():
            self.addCleanup(connection.close)
        return {name: (connection, connection.cursor()) for name, connection in opened.items()}

    def test_a_job_is_part_of_the_callers_transaction(self) -> None:
        self.mainstay.enqueue("first", queue="letters")
        self.mainstay.worker("letters", lambda _: None).drain()
        for name, (connection, cursor) in self.cursors().items():
            with self.subTest(name):
                gone = enqueue_in(cursor, "letter.print", {"to": name}, queue="letters")
                connection.rollback()
                kept = enqueue_in(cursor, "letter.print", {"to": f"{name} ✓"}, queue="letters", tenant="default")
                with self.assertRaises(NotFoundError):
                    self.mainstay.job(kept)
                connection.commit()
                with self.assertRaises(NotFoundError):
                    self.mainstay.job(gone)
                worker = self.mainstay.worker("letters", lambda job: job.payload).start()
                job = self.until(partial(self.job_in, "done", kept))
                worker.stop()
                self.assertEqual(job["attempts_list"][-1]["result"], {"to": f"{name} ✓"})

    def test_the_example_with_a_transaction_does_what_it_says(self) -> None:
        self.mainstay.enqueue("first", queue="invoices")
        with psycopg.connect(self.server.database) as connection:
            connection.execute("CREATE TABLE orders (id integer PRIMARY KEY, total integer)")
        order = self.program(examples()["order.py"])
        self.assertEqual(order.end(), 0)
        self.assertEqual(self.mainstay.job(order.lines[0])["kind"], "order.confirm")


class Examples(unittest.TestCase):
    def test_no_example_is_left_out(self) -> None:
        text = (PACKAGE / "README.md").read_text()
        self.assertEqual(text.count("```python"), len(examples()))
        ours = (PACKAGE / "tests_server" / "test_packed.py").read_text()
        self.assertEqual([name for name in examples() if f'examples()["{name}"]' not in ours], [])

