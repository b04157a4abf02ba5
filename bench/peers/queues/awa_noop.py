"""Awa through its package for Python as its pages set it for many jobs that take no time (docs/configuration.md of its
repository): `enqueue_many_copy`, 1,024 permits since a permit is held until its completion is durable, and several
enqueue shards, which give up strict order."""

import asyncio
from collections.abc import Awaitable, Callable

import awa
import psycopg
from program import PAYLOAD, URL, Hand, Handled, in_pieces, run

QUEUE = "noop"
KIND = "noop"
PERMITS = 1_024
SHARDS = 4


async def install() -> None:
    await awa.migrate(URL)
    async with await psycopg.AsyncConnection.connect(URL) as connection:
        # A fresh installation's own step to its storage of today.
        await connection.execute("SELECT awa.storage_auto_finalize_if_fresh('awa')")
        await connection.execute(
            "INSERT INTO awa.queue_meta (queue, enqueue_shards) VALUES (%s, %s)"
            " ON CONFLICT (queue) DO UPDATE SET enqueue_shards = excluded.enqueue_shards",
            (QUEUE, SHARDS),
        )


async def enqueue() -> Hand:
    client = awa.AsyncClient(URL, max_connections=10)

    async def hand(some: int) -> None:
        await client.enqueue_many_copy([PAYLOAD] * some, kind=KIND, queue=QUEUE)

    return lambda count: in_pieces(count, 10_000, hand)


async def drain(handled: Handled) -> Callable[[], Awaitable[None]]:
    client = awa.AsyncClient(URL, max_connections=50)

    @client.task(dict, kind=KIND, queue=QUEUE)
    async def noop(job: awa.Job) -> None:
        handled.one()

    async def start() -> None:
        await client.start([{"name": QUEUE, "max_workers": PERMITS}])
        await asyncio.Event().wait()

    return start


asyncio.run(run(install, enqueue, drain))
