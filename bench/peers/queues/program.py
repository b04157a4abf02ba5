"""What a queue's program in Python is: `program.mjs` says how it is spoken with."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable

Hand = Callable[[int], Awaitable[None]]

#: A hundred bytes of JSON, the same for every queue.
PAYLOAD = {"note": "x" * (100 - len('{"note":""}'))}
#: The address of the database.
URL = os.environ.get("PEER_URL", "")
#: How many jobs this process hands in.
JOBS = int(os.environ.get("PEER_JOBS", "0"))
#: How often it is said how many were handled, in seconds.
TELL_SECS = 0.01


class Handled:
    """How many jobs were carried out."""

    def __init__(self) -> None:
        self.count = 0

    def one(self) -> None:
        """One more was."""
        self.count += 1


def say(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)


async def word(wanted: str) -> None:
    said = await asyncio.to_thread(sys.stdin.readline)
    if said.strip() != wanted:
        raise RuntimeError(f"{wanted} was expected, not {said!r}")


async def in_pieces(count: int, size: int, hand: Hand) -> None:
    """Calls `hand` with the size of each piece of at most `size`."""
    while count > 0:
        some = min(size, count)
        count -= some
        await hand(some)


async def tell(handled: Handled) -> None:
    told = 0
    while True:
        await asyncio.sleep(TELL_SECS)
        if handled.count != told:
            told = handled.count
            say({"handled": told})


async def run(
    install: Callable[[], Awaitable[None]],
    enqueue: Callable[[], Awaitable[Hand]],
    drain: Callable[[Handled], Awaitable[Callable[[], Awaitable[None]]]],
) -> None:
    """Runs what was asked for: `program.mjs` says what the three do. `drain` answers what works until it is cancelled."""
    role = sys.argv[1]
    if role == "install":
        await install()
        return
    if role == "enqueue":
        hand = await enqueue()
        say({"ready": True})
        await word("go")
        await hand(JOBS)
        say({"handled": JOBS})
        os._exit(0)
    handled = Handled()
    start = await drain(handled)
    say({"ready": True})
    await word("go")
    work = [asyncio.ensure_future(start()), asyncio.ensure_future(tell(handled))]
    stopped = asyncio.ensure_future(word("stop"))
    await asyncio.wait([*work, stopped], return_when=asyncio.FIRST_COMPLETED)
    for task in work:
        if task.done():
            task.result()
    await stopped
    # Everything is carried out and committed by now; what a graceful end takes is not measured.
    os._exit(0)
