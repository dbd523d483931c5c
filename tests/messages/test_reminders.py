"""Reminders: planned, moved, taken back, sent once."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from jobs.queue import JournalEvent
from jobs.reminders import Due, Reminders
from protocol.times import HOUR, MINUTE, format_us, to_us
from tests.messages.conftest import PUBLIC_URL
from tests.messages.mailbox import Mailbox, part
from tests.messages.test_mails import guest, jobs_done
from tests.rest.helpers import approving_place, problem
from tests.support.server import Api, Place, eventually, new_place


async def planned(db: asyncpg.Connection, booking_id: str) -> list[tuple[str, int]]:
    """When, and how many minutes before the start, of those that wait."""
    rows = await db.fetch(
        "SELECT run_at, (payload ->> 'minutes')::int AS minutes FROM jobs WHERE kind = 'reminder' AND state = 'waiting'"
        " AND payload ->> 'booking_id' = $1 ORDER BY run_at", booking_id,
    )  # fmt: skip
    return [(format_us(to_us(r["run_at"])), r["minutes"]) for r in rows]


async def planned_at(db: asyncpg.Connection, booking_id: str, expected: list[tuple[str, int]]) -> None:
    async def there() -> bool:
        return await planned(db, booking_id) == expected

    assert await eventually(there), (await planned(db, booking_id), expected)


async def made_due(db: asyncpg.Connection, booking_id: str, minutes: int) -> None:
    """Now, whenever it was planned."""
    changed = await db.execute(
        "UPDATE jobs SET run_at = now() WHERE kind = 'reminder' AND payload ->> 'booking_id' = $1"
        " AND (payload ->> 'minutes')::int = $2 AND state = 'waiting'", booking_id, minutes,
    )  # fmt: skip
    assert changed == "UPDATE 1"


@pytest.mark.parity("E5")
async def test_a_day_and_two_hours_before(place: Place, mailbox: Mailbox, address: str, db: asyncpg.Connection) -> None:
    """Planned when the booking is made; sent once each, with a way to stop them."""
    booked = await place.api.made("bookings", place.booking(place.at(9), guest=guest(address)))
    before = place.at(9, day=-1)
    await planned_at(db, booked["id"], [(before, 1440), (place.at(7), 120)])
    await made_due(db, booked["id"], 1440)
    _, mail = await mailbox.wait(address, 2)
    assert mail["Subject"].startswith("Reminder: Consultation")
    assert "09:00 (GMT+00:00)" in part(mail, "text/plain")
    assert mail["List-Unsubscribe"].startswith(f"<{PUBLIC_URL}/api/v1/unsubscribe/")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert f"{PUBLIC_URL}/unsubscribe#" in part(mail, "text/html")
    await planned_at(db, booked["id"], [(place.at(7), 120)])


async def test_of_a_business_that_was_removed_nobody_is_reminded(
    stranger: Api, mailbox: Mailbox, address: str, db: asyncpg.Connection
) -> None:
    place = await new_place(stranger)
    booked = await place.api.made("bookings", place.booking(place.at(9), guest=guest(address)))
    await mailbox.wait(address)
    await planned_at(db, booked["id"], [(place.at(9, day=-1), 1440), (place.at(7), 120)])
    await db.execute(
        "UPDATE businesses SET deleted_at = now() WHERE id = (SELECT business_id FROM bookings WHERE id = $1)",
        booked["id"],
    )
    await made_due(db, booked["id"], 1440)
    done = "SELECT EXISTS (SELECT FROM jobs WHERE key LIKE 'message:reminder:' || $1 || ':%' AND state = 'done')"
    assert await eventually(lambda: db.fetchval(done, booked["id"]))
    assert len(mailbox.to(address)) == 1


async def test_after_a_reschedule_once_at_the_new_time(
    place: Place, mailbox: Mailbox, address: str, db: asyncpg.Connection
) -> None:
    """Also after one was sent for the old time; and away and back plans nothing twice."""
    booked = await place.api.made("bookings", place.booking(place.at(9), guest=guest(address)))
    path = f"bookings/{booked['id']}/reschedule"
    await planned_at(db, booked["id"], [(place.at(9, day=-1), 1440), (place.at(7), 120)])
    await made_due(db, booked["id"], 1440)
    await mailbox.wait(address, 2)
    for start, hour in ((place.at(15, day=2), 15), (place.at(16, day=2), 16), (place.at(15, day=2), 15)):
        assert (await place.api.post(path, {"start": start})).status == 200
        await planned_at(db, booked["id"], [(place.at(hour, day=1), 1440), (place.at(hour - 2, day=2), 120)])
    await made_due(db, booked["id"], 1440)
    await made_due(db, booked["id"], 120)
    mails = await mailbox.wait(address, 7)
    assert await eventually(lambda: jobs_done(place.api, booked["id"]))
    reminders = [m for m in mailbox.to(address) if m["Subject"].startswith("Reminder")]
    assert len(reminders) == 3, [m["Subject"] for m in mails]
    assert all("15:00" in part(m, "text/plain") for m in reminders[1:])


@pytest.mark.parametrize("end", ["cancel", "no-show"])
async def test_none_for_a_booking_that_has_ended(place: Place, address: str, db: asyncpg.Connection, end: str) -> None:
    booked = await place.api.made("bookings", place.booking(place.at(9), guest=guest(address)))
    await planned_at(db, booked["id"], [(place.at(9, day=-1), 1440), (place.at(7), 120)])
    answer = await place.api.post(f"bookings/{booked['id']}/{end}")
    if end == "no-show":
        # It has not begun.
        assert answer.status == 409
        await place.api.post(f"bookings/{booked['id']}/cancel")
    await planned_at(db, booked["id"], [])


async def test_a_request_is_reminded_of_once_it_is_approved(place: Place, address: str, db: asyncpg.Connection) -> None:
    asked = await approving_place(place)
    booked = await place.api.made("bookings", asked.booking(place.at(9), guest=guest(address)))
    assert await eventually(lambda: jobs_done(place.api, booked["id"]))
    assert await planned(db, booked["id"]) == []
    await place.api.post(f"bookings/{booked['id']}/confirm")
    await planned_at(db, booked["id"], [(place.at(9, day=-1), 1440), (place.at(7), 120)])


async def test_a_service_says_when(place: Place, address: str, db: asyncpg.Connection, as_client: Api) -> None:
    """For bookings made from then on. Nothing at all is possible; nonsense is not."""
    path = f"services/{place.service_id}/reminders"
    assert (await place.api.get(path)).json == {"minutes": [1440, 120]}
    put = await place.api.request("PUT", path, {"minutes": [30, 2880]})
    assert (put.status, put.json) == (200, {"minutes": [2880, 30]})
    booked = await place.api.made("bookings", place.booking(place.at(9), guest=guest(address)))
    await planned_at(db, booked["id"], [(place.at(9, day=-2), 2880), (place.at(8, 30), 30)])
    for bad in ([4], [86_401], [60, 60], [1, 2, 3, 4, 5, 6], ["60"], [6.5], None):
        problem(await place.api.request("PUT", path, {"minutes": bad}), "validation_failed")
    problem(await as_client.request("PUT", path, {"minutes": []}), "forbidden")
    missing = f"services/{uuid.uuid4()}/reminders"
    problem(await place.api.request("PUT", missing, {"minutes": []}), "not_found")
    assert (await place.api.request("PUT", path, {"minutes": []})).json == {"minutes": []}
    booked = await place.api.made("bookings", place.booking(place.at(12), guest=guest(address)))
    assert await eventually(lambda: jobs_done(place.api, booked["id"]))
    assert await planned(db, booked["id"]) == []


async def test_a_moment_that_has_passed_is_left_out(api: Api, address: str, db: asyncpg.Connection) -> None:
    """Booked five hours before: two hours before is still to come, a day before is not."""
    soon = await new_place(api)
    start = (datetime.now(UTC) + timedelta(hours=5)).replace(minute=0, second=0, microsecond=0)
    text = start.strftime("%Y-%m-%dT%H:%M:%SZ")
    booked = await api.made("bookings", soon.booking(text, guest=guest(address)))
    await planned_at(db, booked["id"], [((start - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ"), 120)])


async def test_one_that_comes_too_late_is_not_sent(
    place: Place, mailbox: Mailbox, address: str, db: asyncpg.Connection
) -> None:
    """When the next one is due, the one before it has nothing more to say; nor when its booking has moved meanwhile."""
    booked = await place.api.made("bookings", place.booking(place.at(9), guest=guest(address)))
    await planned_at(db, booked["id"], [(place.at(9, day=-1), 1440), (place.at(7), 120)])
    await mailbox.wait(address)
    for minutes, changed in ((1440, {"until": 1}), (120, {"start": 1})):
        await db.execute(
            "UPDATE jobs SET payload = payload || $3::jsonb WHERE kind = 'reminder'"
            " AND payload ->> 'booking_id' = $1 AND (payload ->> 'minutes')::int = $2",
            booked["id"], minutes, json.dumps(changed),
        )  # fmt: skip
    await made_due(db, booked["id"], 1440)
    await made_due(db, booked["id"], 120)

    async def both_done() -> bool:
        return await planned(db, booked["id"]) == [] and await jobs_done(place.api, booked["id"])

    assert await eventually(both_done)
    assert len(mailbox.to(address)) == 1


# Without a server


class Clock:
    def __init__(self, us: int) -> None:
        self.us = us

    def now_us(self) -> int:
        return self.us


class OneBooking:
    """As a transaction: one booking, and reminders that were planned for it."""

    def __init__(self, **row: Any) -> None:
        self.row = {"id": "b", "business_id": "n", "status": "confirmed", "reminder_minutes": [1440, 120]} | row
        self.planned: list[str] = []

    async def fetch(self, query: str, *args: object) -> list[Any]:
        if query == "reminders_planned":
            return [{"key": key} for key in self.planned]
        assert query == "bookings_to_remind"
        return [self.row]


def event(type_: str, at: int) -> JournalEvent:
    return JournalEvent(0, 1, "c", 1, "n", at, "user:1", "r", type_, {"id": "b"})


@pytest.mark.parametrize(
    ("day", "zone"),
    [
        ("2026-03-29", "Europe/Berlin"),
        ("2026-10-25", "Europe/Berlin"),
        ("2026-11-01", "America/New_York"),
        ("2026-03-08", "America/New_York"),
    ],
)
async def test_a_day_before_is_twenty_four_hours_also_when_clocks_change(day: str, zone: str) -> None:
    """At noon on the day the clocks change: the wall said another hour then, the elapsed time is as promised."""
    start = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=ZoneInfo(zone))
    us, made = to_us(start), to_us(start) - 72 * HOUR
    there = OneBooking(start_at=start, updated_at=datetime.fromtimestamp(made / 1_000_000, UTC))
    digest = await Reminders(Clock(made)).digest([event("booking.created", made)], there)
    assert sorted(job.run_at for job in digest.jobs) == [us - 24 * HOUR, us - 2 * HOUR]
    wall = datetime.fromtimestamp((us - 24 * HOUR) / 1_000_000, ZoneInfo(zone)).hour
    assert wall != 12


async def test_what_a_digest_plans_and_takes_back() -> None:
    """What was planned is taken back first, whatever is planned then; each is good until the next is due."""
    start = datetime(2027, 5, 3, 9, tzinfo=UTC)
    us, changed = to_us(start), to_us(start) - 100 * HOUR
    there = OneBooking(start_at=start, updated_at=datetime.fromtimestamp(changed / 1_000_000, UTC))
    there.planned = ["old"]
    digest = await Reminders(Clock(changed + HOUR)).digest([event("booking.rescheduled", changed)], there)
    assert digest.withdrawn == ["old"]
    dues = [(d.minutes, d.until) for j in digest.jobs for d in [Due(**j.payload)]]
    assert dues == [(120, us), (1440, us - 120 * MINUTE)]
    there.row["status"] = "cancelled"
    digest = await Reminders(Clock(changed)).digest([event("booking.cancelled", changed)], there)
    assert (digest.jobs, digest.withdrawn) == ([], ["old"])
    digest = await Reminders(Clock(changed)).digest([event("hold.created", changed)], there)
    assert (digest.jobs, digest.withdrawn) == ([], [])


async def test_a_follower_that_lagged_behind_reminds_of_what_is_still_to_come() -> None:
    """A day late it does not send what the next reminder says better."""
    start = datetime(2027, 5, 3, 9, tzinfo=UTC)
    us = to_us(start)
    there = OneBooking(start_at=start, updated_at=datetime.fromtimestamp((us - 100 * HOUR) / 1_000_000, UTC))
    for now, minutes in ((us - 20 * HOUR, [120, 1440]), (us - HOUR, [120]), (us + 1, [])):
        digest = await Reminders(Clock(now)).digest([event("booking.created", us - 100 * HOUR)], there)
        assert [Due(**j.payload).minutes for j in digest.jobs] == minutes
