"""Many bookings at once: as many confirmations, each once, each to whom it is for.

`SLOTCAST_PROVE=long` books ten thousand times.
"""

import asyncio
import os
from collections import Counter
from itertools import product
from typing import Final

import asyncpg
import pytest

from tests.messages.mailbox import Mailbox, part
from tests.messages.test_mails import guest
from tests.support.server import Api, Place, new_place

LONG: Final = os.environ.get("SLOTCAST_PROVE") == "long"
PLACES, DAYS = (20, 11) if LONG else (2, 2)
MANY: Final = 10_000 if LONG else 120
AT_ONCE: Final = 64
WAIT_S: Final = 1200 if LONG else 60


@pytest.mark.timeout(2 * WAIT_S)
async def test_as_many_confirmations_as_bookings(api: Api, mailbox: Mailbox, address: str) -> None:
    places = [await new_place(api) for _ in range(PLACES)]
    slots = product(range(DAYS), range(24), (0, 30), places)
    room = asyncio.Semaphore(AT_ONCE)
    here = len(mailbox.mails)

    async def book(n: int, day: int, hour: int, minute: int, place: Place) -> tuple[str, str]:
        to = f"{n}-{address}"
        async with room:
            start = place.at(hour, minute, day=day)
            booked = await api.made("bookings", place.booking(start, guest=guest(to)))
        return to, booked["code"]

    codes = dict(await asyncio.gather(*(book(n, *slot) for n, slot in zip(range(MANY), slots, strict=False))))
    assert len(codes) == MANY
    connection = await asyncpg.connect(api.server.dsn)
    try:
        waiting = """SELECT
            EXISTS (SELECT FROM jobs WHERE kind = 'message' AND state IN ('waiting', 'behind', 'working'))
            OR EXISTS (SELECT FROM followers f JOIN shards s ON s.id = f.shard
                       WHERE f.name = 'notifications' AND f.seq < s.seq)"""
        async with asyncio.timeout(WAIT_S):
            while await connection.fetchval(waiting):
                await asyncio.sleep(0.1)
        kept = await connection.fetchval(
            """SELECT count(*) FROM messages
            WHERE kind = 'confirmation' AND outcome = 'sent' AND address LIKE '%-' || $1""",
            address,
        )
    finally:
        await connection.close()
    ours = [(to, mail) for to, mail in mailbox.mails[here:] if to.endswith(f"-{address}")]
    assert Counter(to for to, _ in ours) == Counter(codes.keys())
    assert len({mail["Message-ID"] for _, mail in ours}) == kept == MANY
    for to, mail in ours:
        assert codes[to] in part(mail, "text/plain")
