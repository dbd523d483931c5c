"""A process that dies between sending and writing it down."""

import asyncio

import pytest

from tests.messages.mailbox import Mailbox
from tests.messages.test_mails import guest, jobs_done, listed
from tests.support.server import Place, RunningServer, eventually


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
