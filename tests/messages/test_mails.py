"""What happens to a booking, as whoever booked gets it by mail."""

from email.message import EmailMessage
from typing import Any

import asyncpg
import icalendar
import pytest

from jobs.invitation import uid_of
from tests.messages.conftest import PUBLIC_URL, SENDER
from tests.messages.mailbox import Mailbox, part
from tests.rest.helpers import approving_place
from tests.support.server import Api, Place, eventually


def event_of(mail: EmailMessage) -> Any:
    """The event of its calendar file, with the file's method."""
    calendar = icalendar.Calendar.from_ical(part(mail, "text/calendar"))
    (event,) = calendar.walk("VEVENT")
    event.method = str(calendar["METHOD"])
    return event


def guest(address: str, name: str = "Grace Hopper") -> dict[str, Any]:
    return {"name": name, "email": address}


async def test_a_guest_hears_of_their_booking(place: Place, mailbox: Mailbox, address: str) -> None:
    """As text, as HTML and as a calendar file, with a link that changes it."""
    booked = await place.api.made("bookings", place.booking(place.at(9), guest=guest(address)))
    (mail,) = await mailbox.wait(address)
    assert mail["From"].addresses[0].addr_spec == SENDER
    assert (mail["To"].addresses[0].display_name, mail["To"].addresses[0].addr_spec) == ("Grace Hopper", address)
    assert mail["Date"].datetime is not None
    assert mail["Message-ID"].endswith("@mail.example.com>")
    assert (mail["Auto-Submitted"], mail["Content-Language"]) == ("auto-generated", "en")
    assert mail["List-Unsubscribe"] is None, "what is needed cannot be unsubscribed"
    link = f"{PUBLIC_URL}/manage#{booked['code']}.{booked['manage_token']}"
    for kind in ("text/plain", "text/html"):
        said = part(mail, kind)
        assert link in said
        assert booked["code"] in said
        assert "09:00 (GMT+00:00)" in said
    event = event_of(mail)
    assert (event.method, str(event["STATUS"])) == ("REQUEST", "CONFIRMED")
    assert str(event["UID"]) == uid_of(booked["id"])
    assert event["DTSTART"].dt.isoformat() == place.at(9).replace("Z", "+00:00")
    assert str(event["ATTENDEE"]) == f"mailto:{address}"
    assert booked["manage_token"] not in part(mail, "text/calendar"), "calendars are shown to others"


async def test_a_calendar_follows_a_booking_from_request_to_end(place: Place, mailbox: Mailbox, address: str) -> None:
    """Pending, approved, moved, cancelled: one UID, a SEQUENCE that rises, and mails in their order."""
    asked = await approving_place(place)
    booked = await place.api.made("bookings", asked.booking(place.at(9), guest=guest(address)))
    path = f"bookings/{booked['id']}"
    assert (await place.api.post(f"{path}/confirm")).status == 200
    assert (await place.api.post(f"{path}/reschedule", {"start": place.at(11)})).status == 200
    assert (await place.api.post(f"{path}/cancel", {"reason": "the water\nis off"})).status == 200
    mails = await mailbox.wait(address, 4)
    subjects = [m["Subject"].split(":")[0] for m in mails]
    assert subjects == ["Request received", "Approved", "New time", "Cancelled"]
    events = [event_of(m) for m in mails]
    assert {str(e["UID"]) for e in events} == {uid_of(booked["id"])}
    sequences = [int(e["SEQUENCE"]) for e in events]
    assert sequences == sorted(set(sequences))
    assert [e.method for e in events] == ["REQUEST", "REQUEST", "REQUEST", "CANCEL"]
    assert str(events[0]["STATUS"]) == "TENTATIVE"
    assert str(events[3]["STATUS"]) == "CANCELLED"
    assert "11:00" in part(mails[2], "text/plain")
    assert events[2]["DTSTART"].dt.hour == 11
    assert "Reason: the water is off" in part(mails[3], "text/plain")
    assert "/manage#" not in part(mails[3], "text/plain"), "there is nothing left to change"


async def test_a_refused_request_is_told_too(place: Place, mailbox: Mailbox, address: str) -> None:
    asked = await approving_place(place)
    booked = await place.api.made("bookings", asked.booking(place.at(9), guest=guest(address)))
    assert (await place.api.post(f"bookings/{booked['id']}/reject", {"reason": "away"})).status == 200
    _, mail = await mailbox.wait(address, 2)
    assert mail["Subject"].startswith("Not possible")
    assert event_of(mail).method == "CANCEL"


HOSTILE = {
    "brackets": "<script>alert(1)</script>",
    "quotes": '"; Bcc: x@example.org, "',
    "commas": "Hopper, Grace; and others <a@b.example>",
    "encoded": "=?utf-8?q?a=0D=0ABcc:_x@example.org?=",
    "line ends": "a\u2028Bcc: x@example.org\u0085Bcc: y@example.org",
    "long": "ы" * 200,
    "percent": "%(business)s %s {{ 7 * 7 }} {% raw %}",
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_name_breaks_out_of_nothing(
    place: Place, mailbox: Mailbox, address: str, kind: str, db: asyncpg.Connection
) -> None:
    """Not out of a header, not out of the HTML, not out of the calendar file; the text shows it as it is."""
    name = HOSTILE[kind]
    client = await place.api.made("clients", {"first_name": "x", "email": address})
    # Past the edge, which lets no control characters in.
    await db.execute("UPDATE clients SET first_name = $2, last_name = '' WHERE id = $1", client["id"], name)
    await db.execute("UPDATE professionals SET display_name = $2 WHERE id = $1", place.professional_id, name)
    await place.api.made("bookings", place.booking(place.at(9), client_id=client["id"]))
    (mail,) = await mailbox.wait(address)
    assert [a.addr_spec for a in mail["To"].addresses] == [address]
    assert mail["Bcc"] is None
    assert mail["Cc"] is None
    assert "<script>" not in part(mail, "text/html")
    assert str(event_of(mail)["ATTENDEE"]) == f"mailto:{address}"
    assert len(icalendar.Calendar.from_ical(part(mail, "text/calendar")).walk()) == 2
    if kind == "percent":
        assert name in part(mail, "text/plain")


async def test_the_language_is_the_clients(
    place: Place, mailbox: Mailbox, address: str, db: asyncpg.Connection
) -> None:
    """Their login's first, then that in which they booked, then the business's."""
    client = await place.api.made("clients", {"first_name": "Асель", "email": address})
    await db.execute("UPDATE clients SET locale = 'kk' WHERE id = $1", client["id"])
    await place.api.made("bookings", place.booking(place.at(9), client_id=client["id"]))
    (mail,) = await mailbox.wait(address)
    assert (mail["Content-Language"], mail["Subject"].split(":")[0]) == ("kk", "Расталды")
    assert 'lang="kk"' in part(mail, "text/html")
    assert "Қашан" in part(mail, "text/plain")


async def test_a_client_without_an_address_is_a_row_and_no_mail(api: Api, place: Place, db: asyncpg.Connection) -> None:
    booked = await api.made("bookings", place.booking(place.at(9)))
    items = await eventually(lambda: listed(api, booking_id=booked["id"]))
    assert [(m["kind"], m["channel"], m["outcome"]) for m in items] == [("confirmation", None, "skipped")]
    assert items[0]["error"] == "no address to send it to"


async def listed(api: Api, **query: Any) -> list[Any]:
    answer = await api.get("messages", **query)
    assert answer.status == 200, answer
    return answer.json["items"]


@pytest.mark.parity("D6")
async def test_what_was_sent_is_on_record(api: Api, place: Place, mailbox: Mailbox, address: str) -> None:
    """To whom, by what, with what outcome; the id is that of the mail."""
    booked = await api.made("bookings", place.booking(place.at(9), guest=guest(address)))
    (mail,) = await mailbox.wait(address)
    (found,) = await eventually(lambda: listed(api, booking_id=booked["id"]))
    assert found["client_id"] == booked["client_id"]
    told = [found[k] for k in ("kind", "channel", "address", "language", "outcome", "error", "tries")]
    assert told == ["confirmation", "email", address, "en", "sent", None, 1]
    assert mail["Message-ID"] == f"<{found['id']}@mail.example.com>"
    for query, count in (
        ({"kind": "confirmation"}, 1), ({"kind": "reminder"}, 0), ({"outcome": "failed"}, 0), ({"channel": "sms"}, 0),
        ({"client_id": booked["client_id"]}, 1),
    ):  # fmt: skip
        assert len(await listed(api, booking_id=booked["id"], **query)) == count, query


async def test_an_erased_client_leaves_no_address(api: Api, place: Place, mailbox: Mailbox, address: str) -> None:
    """Of messages that went out before, nor of what was wished; nor is anything sent afterwards."""
    booked = await api.made("bookings", place.booking(place.at(9), guest=guest(address)))
    await mailbox.wait(address)
    await eventually(lambda: listed(api, booking_id=booked["id"]))
    client = f"clients/{booked['client_id']}"
    assert (await api.request("PUT", f"{client}/preferences", {"reminders": False})).status == 200
    assert (await api.get(f"{client}/export")).json["messages"][0]["address"] == address
    assert (await api.post(f"{client}/erase")).status == 204
    (found,) = await listed(api, booking_id=booked["id"])
    assert (found["address"], found["outcome"]) == (None, "sent")
    assert (await api.post(f"bookings/{booked['id']}/cancel")).status == 200
    done = await eventually(lambda: jobs_done(api, booked["id"]))
    assert done
    assert len(mailbox.to(address)) == 1


async def jobs_done(api: Api, booking_id: str) -> bool:
    """Whether all that happened to a booking was followed, and nothing waits for it any more."""
    connection = await asyncpg.connect(api.server.dsn)
    try:
        query = """SELECT bool_and(f.seq = s.seq) AND NOT EXISTS (
            SELECT FROM jobs WHERE lane = $1 AND state IN ('waiting', 'behind', 'working'))
            FROM followers f JOIN shards s ON s.id = f.shard WHERE f.name = 'notifications'"""
        return await connection.fetchval(query, f"booking:{booking_id}")
    finally:
        await connection.close()
