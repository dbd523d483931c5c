"""What webhooks say of an event."""

import re
from typing import Any

import msgspec
import orjson
import pytest

from jobs.queue import JournalEvent
from jobs.webhook_events import BookingNow, announced, of_booking, promoted
from jobs.webhook_events import test_event as event_of_test
from protocol import events as ev
from protocol.times import HOUR, MINUTE, format_us
from protocol.waitlist import holder_of
from protocol.webhooks import EVENT_TYPES
from tests.support.server import ROOT

CALENDAR = "0198c0de-0000-7000-8000-000000000001"
BUSINESS = "0198c0de-0000-7000-8000-000000000002"
BOOKING = "0198c0de-0000-7000-8000-000000000003"
NOW = 1_800_000_000_000_000
START = NOW + 24 * HOUR


def journal_event(event: ev.Event, version: int = 7) -> JournalEvent:
    """As the journal has it and a follower gets it."""
    return JournalEvent(
        shard=1, seq=1, calendar_id=CALENDAR, version=version, business_id=BUSINESS, at=NOW, by="user:1",
        request_id="r", type=ev.tag_of(event), data=orjson.loads(ev.encode(event)),
    )  # fmt: skip


def row(**more: Any) -> BookingNow:
    fields: dict[str, Any] = {
        "id": BOOKING, "calendar_id": CALENDAR, "code": "BK-AAAAAAAA", "status": "confirmed", "service_id": "s",
        "client_id": "c", "start_at": START, "end_at": START + 30 * MINUTE, "attendees": 2, "cancelled_by": None,
    }  # fmt: skip
    return BookingNow(**fields | more)


def told(event: ev.Event, booking: BookingNow | None = None) -> Any:
    return orjson.loads(announced(journal_event(event), booking).body)


BOOKED = ev.Booked(
    id=BOOKING, code="BK-AAAAAAAA", status="pending", service_id="s", start=START, duration=30 * MINUTE, before=MINUTE,
    after=MINUTE, places=2, client_id="c", session="x", capacity=3,
)  # fmt: skip


def test_a_booking_that_was_made_is_told_whole() -> None:
    assert told(BOOKED, row(status="cancelled", start_at=0)) == {
        "type": "booking.created",
        "timestamp": format_us(NOW),
        "data": {
            "business_id": BUSINESS,
            "professional_id": CALENDAR,
            "calendar_version": 7,
            "booking": {
                "id": BOOKING, "code": "BK-AAAAAAAA", "status": "pending", "service_id": "s", "client_id": "c",
                "start": format_us(START), "end": format_us(START + 30 * MINUTE), "attendees": 2,
            },
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (ev.Confirmed(BOOKING), "confirmed"),
        (ev.Rejected(BOOKING), "rejected"),
        (ev.Completed(BOOKING), "completed"),
        (ev.NoShow(BOOKING), "no_show"),
        (ev.Expired(BOOKING), "expired"),
        (ev.Cancelled(BOOKING, "client"), "cancelled"),
    ],
)
def test_the_status_is_the_events_however_far_the_row_is(event: ev.Event, status: str) -> None:
    said = told(event, row(status="no_show"))["data"]["booking"]
    assert (said["status"], said["code"], said["client_id"]) == (status, "BK-AAAAAAAA", "c")
    assert said["start"] == format_us(START)
    if status == "cancelled":
        assert said["cancelled_by"] == "client"


def test_a_move_tells_the_new_time() -> None:
    moved = ev.Rescheduled(BOOKING, START + HOUR, 45 * MINUTE, 0, 0)
    said = told(moved, row())["data"]["booking"]
    assert (said["start"], said["end"]) == (format_us(START + HOUR), format_us(START + HOUR + 45 * MINUTE))


def test_a_booking_whose_row_is_gone_is_told_by_its_id() -> None:
    assert told(ev.Confirmed(BOOKING))["data"]["booking"] == {"id": BOOKING, "status": "confirmed"}


def test_a_hold_does_not_tell_who_holds_it() -> None:
    hold = ev.HoldPlaced(
        id=BOOKING, service_id="s", start=START, duration=HOUR, before=0, after=0, places=1, expires_at=NOW + MINUTE,
        holder="public:secret",
    )  # fmt: skip
    said = told(hold)
    assert said["data"]["hold"] == {
        "id": BOOKING, "service_id": "s", "start": format_us(START), "end": format_us(START + HOUR), "attendees": 1,
        "expires_at": format_us(NOW + MINUTE),
    }  # fmt: skip
    assert "secret" not in orjson.dumps(said).decode()
    assert told(ev.HoldExpired(BOOKING))["data"]["hold"] == {"id": BOOKING}


def test_hours_are_told_as_the_api_has_them() -> None:
    schedule = ev.Schedule("Europe/Berlin", (ev.WeeklyRange(0, 540, 1050),), (ev.Override("2026-12-24", ()),))
    said = told(ev.ScheduleChanged(schedule))["data"]
    assert said["schedule"]["weekly"] == [{"weekday": 0, "start": "09:00", "end": "17:30"}]
    assert said["professional_id"] == CALENDAR


def test_who_waited_is_told_of_beside_the_hold() -> None:
    """By an event of its own; a hold of anybody else is none of the waitlist's."""
    hold = ev.HoldPlaced(
        id="h", service_id="s", start=START, duration=HOUR, before=0, after=0, places=2, expires_at=NOW,
        holder=holder_of("w"),
    )  # fmt: skip
    event = journal_event(hold)
    found = promoted(event)
    assert found is not None
    assert found.event_id != announced(event, None).event_id
    said = orjson.loads(found.body)["data"]["waitlist"]
    assert (said["id"], said["hold_id"], said["attendees"]) == ("w", "h", 2)
    assert (said["start"], said["end"], said["expires_at"]) == tuple(map(format_us, (START, START + HOUR, NOW)))
    assert promoted(journal_event(msgspec.structs.replace(hold, holder="client:1"))) is None


def test_an_event_has_one_id_for_ever() -> None:
    """It follows from the calendar and the version, or from the occasion."""
    event = journal_event(BOOKED)
    assert announced(event, None).event_id == announced(event, row()).event_id
    assert announced(event, None).event_id != announced(journal_event(BOOKED, version=8), None).event_id
    one, same, other = (
        of_booking("booking.reminder", BUSINESS, row(), occasion, NOW, {"minutes": 120}).event_id
        for occasion in ("a", "a", "b")
    )
    assert one == same != other
    assert event_of_test("w", BUSINESS, "1", NOW).event_id != event_of_test("w", BUSINESS, "2", NOW).event_id


def test_every_public_event_of_the_journal_can_be_told() -> None:
    """Those that calendars write; the others are announced."""
    known = {ev.tag_of(kind) for kind in msgspec.inspect.type_info(ev.AnyEvent).types for kind in [kind.cls]}
    assert known >= EVENT_TYPES - {"booking.reminder", "waitlist.promoted"}
    assert known - EVENT_TYPES == {"booking.amended", "time_off.created", "time_off.deleted"}


def test_the_page_tells_of_every_event() -> None:
    """docs/webhooks.md has a row for each, and no other."""
    rows = re.findall(r"^\| `(\w+\.\w+)` \|", (ROOT / "docs/webhooks.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(EVENT_TYPES)
