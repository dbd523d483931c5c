"""A process that dies between sending and writing it down, and many bookings at once."""

import asyncio

import asyncpg
import pytest

from tests.messages.mailbox import Mailbox
from tests.messages.test_mails import guest, jobs_done, listed
from tests.support.server import Place, RunningServer, eventually

MANY = 120


@pytest.mark.faults
async def test_killed_between_sending_and_writing_it_down(
    place: Place, server: RunningServer, mailbox: Mailbox, address: str
) -> None:
    """It is sent again, under the same id, and nothing else is: whoever gets it twice can tell."""
    slow = f"slow-{address}"
    mailbox.go.clear()
    mailbox.taken.clear()
    booked = await place.api.made("bookings", place.booking(place.at(9), guest=guest(slow)))
    while not mailbox.taken.is_set():
        await asyncio.sleep(0.02)
    server.kill()
    mailbox.go.set()
    await asyncio.to_thread(server.start)
    first, second = await mailbox.wait(slow, 2)
    assert first["Message-ID"] == second["Message-ID"]

    async def written() -> bool:
        return [m["outcome"] for m in await listed(place.api, booking_id=booked["id"])] == ["sent"]

    assert await eventually(written)
    (found,) = await listed(place.api, booking_id=booked["id"])
    assert first["Message-ID"] == f"<{found['id']}@mail.example.com>"
    assert await eventually(lambda: jobs_done(place.api, booked["id"]))
    assert len(mailbox.to(slow)) == 2


async def test_as_many_confirmations_as_bookings(place: Place, mailbox: Mailbox, address: str) -> None:
    """Each once, each to whom it is for."""
    addresses = [f"{n}-{address}" for n in range(MANY)]
    starts = [place.at(n % 48 // 2, 30 * (n % 2), day=n // 48) for n in range(MANY)]

    async def book(n: int) -> str:
        return (await place.api.made("bookings", place.booking(starts[n], guest=guest(addresses[n]))))["code"]

    codes = await asyncio.gather(*map(book, range(MANY)))
    async with asyncio.timeout(30):
        while len(_all(mailbox, address)) < MANY:
            await asyncio.sleep(0.05)
    connection = await asyncpg.connect(place.api.server.dsn)
    try:
        waiting = "SELECT count(*) FROM jobs WHERE kind = 'message' AND state IN ('waiting', 'behind', 'working')"
        while await connection.fetchval(waiting):
            await asyncio.sleep(0.05)
    finally:
        await connection.close()
    assert len(_all(mailbox, address)) == MANY
    for code, to in zip(codes, addresses, strict=True):
        (mail,) = mailbox.to(to)
        assert code in mail.as_string()


def _all(mailbox: Mailbox, address: str) -> list[str]:
    return [to for to, _ in mailbox.mails if to.endswith(f"-{address}")]
