"""Procrastinate as its pages (https://procrastinate.readthedocs.io/en/stable/) set it: `batch_defer_async`
(howto/basics/batch_defer.html), jobs beside each other in one worker with as many connections (reference.html,
`App.run_worker_async`), jobs deleted once they succeeded (howto/production/delete_finished_jobs.html)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import procrastinate
from program import PAYLOAD, URL, Hand, Handled, in_pieces, run

CONCURRENT = 20

# It says that an app should not stand in the main module; nothing is imported from this one.
logging.getLogger("procrastinate").setLevel(logging.ERROR)

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=URL, min_size=CONCURRENT, max_size=CONCURRENT)
)
handled = Handled()


@app.task(name="noop", queue="noop")
async def noop(note: str) -> None:
    handled.one()


async def install() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def enqueue() -> Hand:
    await app.open_async()
    return lambda count: in_pieces(count, 1_000, hand)


async def hand(some: int) -> None:
    await noop.batch_defer_async(*([PAYLOAD] * some))


async def drain(counted: Handled) -> Callable[[], Awaitable[None]]:
    global handled
    handled = counted
    await app.open_async()
    return lambda: app.run_worker_async(
        queues=["noop"],
        concurrency=CONCURRENT,
        fetch_job_polling_interval=0.5,
        delete_jobs="successful",
        install_signal_handlers=False,
    )


asyncio.run(run(install, enqueue, drain))
