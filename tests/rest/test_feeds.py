"""Calendar feeds: what a calendar program is given, for how long, and what it need not fetch again."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import asyncpg
import icalendar
import pytest

from protocol import limits
from tests.rest.helpers import NOBODY, acting, approving_place, book, problem
from tests.rest.people import audited
from tests.support.server import Answer, Api, Place, RunningServer, eventually

pytestmark = pytest.mark.parity("B19")


async def made(api: Api, path: str) -> str:
    """The path of a new feed."""
    url = (await api.made(path, {}))["url"]
    return "/api/" + url.split("/api/", 1)[1]


async def fetched(api: Api, path: str, **headers: str) -> Answer:
    """As a calendar program asks, without login."""
    answer = await api.with_token(None).get(path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    assert answer.status in (200, 304), answer
    return answer


def entries(answer: Answer) -> dict[str, Any]:
    """Events of the file by booking."""
    calendar: Any = icalendar.Calendar.from_ical(answer.body)
    return {str(e["uid"]).removesuffix("@slotcast"): e for e in calendar.walk("VEVENT")}


async def test_a_professional_sees_who_comes(place: Place) -> None:
    booked = await book(place, place.at(9))
    pending = await book(await approving_place(place), place.at(11))
    feed = await made(place.api, f"professionals/{place.professional_id}/feed")
    answer = await fetched(place.api, feed)
    assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
    found = entries(answer)
    assert set(found) == {booked["id"], pending["id"]}
    event = found[booked["id"]]
    assert event["dtstart"].dt == datetime.fromisoformat(booked["start"])
    assert event["dtend"].dt == datetime.fromisoformat(booked["end"])
    assert str(event["summary"]) == "Consultation: Cleo Client"
    assert str(event["description"]) == booked["code"]
    assert (str(event["status"]), str(found[pending["id"]]["status"])) == ("CONFIRMED", "TENTATIVE")
    assert b"DTSTART:" in answer.body
    assert answer.body.count(b"Z\r\n") >= 8, "in UTC, which no clock change moves"


async def test_what_moves_and_ends_follows(place: Place) -> None:
    """The same UID at another time, with a higher sequence; what is cancelled is there no more."""
    booked = await book(place, place.at(9))
    feed = await made(place.api, f"professionals/{place.professional_id}/feed")
    before = entries(await fetched(place.api, feed))[booked["id"]]
    path = f"bookings/{booked['id']}"
    assert (await place.api.post(f"{path}/reschedule", {"start": place.at(14)})).status == 200
    after = entries(await fetched(place.api, feed))[booked["id"]]
    assert after["dtstart"].dt == datetime.fromisoformat(place.at(14))
    assert after["sequence"] > before["sequence"]
    assert (await place.api.post(f"{path}/cancel")).status == 200
    assert entries(await fetched(place.api, feed)) == {}


async def test_a_client_sees_their_own(place: Place, as_client: Api) -> None:
    booked = await book(place, place.at(9))
    await place.api.made("bookings", place.booking(place.at(10), guest={"name": "Another"}))
    feed = await made(as_client, f"clients/{place.client_id}/feed")
    found = entries(await fetched(place.api, feed))
    assert set(found) == {booked["id"]}
    assert str(found[booked["id"]]["summary"]) == "Consultation: Dr Test, Demo Salon"


async def test_names_stay_text(place: Place) -> None:
    """Whatever a client is called, they add no line and no property."""
    name = "Eve;X=1\\nDTSTART:19700101T000000Z,\\ BEGIN:VEVENT"
    body = {"first_name": name, "last_name": "“Q”"}
    client = await place.api.made("clients", body)
    booked = await place.api.made("bookings", place.booking(place.at(9)) | {"client_id": client["id"]})
    feed = await made(place.api, f"professionals/{place.professional_id}/feed")
    found = entries(await fetched(place.api, feed))
    assert set(found) == {booked["id"]}
    assert str(found[booked["id"]]["summary"]) == f"Consultation: {name} “Q”"
    assert found[booked["id"]]["dtstart"].dt == datetime.fromisoformat(booked["start"])


async def test_a_new_feed_ends_the_one_before(place: Place) -> None:
    path = f"professionals/{place.professional_id}/feed"
    first, second = await made(place.api, path), await made(place.api, path)
    problem(await place.api.get(first), "not_found")
    await fetched(place.api, second)
    assert (await place.api.request("DELETE", path)).status == 204
    problem(await place.api.get(second), "not_found")
    problem(await place.api.request("DELETE", path), "not_found")
    actions = [e["action"] for e in await audited(place.api, what_id=place.professional_id)]
    assert actions[:3] == ["feed.ended", "feed.made", "feed.made"]


async def test_feeds_made_at_the_same_time_leave_one(place: Place) -> None:
    """Whoever is second replaces the first or is told to try again; nobody gets a 500."""
    path = f"professionals/{place.professional_id}/feed"
    answers = await asyncio.gather(*(place.api.post(path) for _ in range(6)))
    assert {a.status for a in answers} <= {201, 409}
    urls = ["/api/" + a.json["url"].split("/api/", 1)[1] for a in answers if a.status == 201]
    assert urls
    alive = [(await place.api.get(url)).status for url in urls]
    assert alive.count(200) == 1


async def test_a_feed_ends_with_whose_it_was(place: Place) -> None:
    """A client who is erased, a professional who has left."""
    of_client = await made(place.api, f"clients/{place.client_id}/feed")
    of_professional = await made(place.api, f"professionals/{place.professional_id}/feed")
    assert (await place.api.post(f"clients/{place.client_id}/erase")).status == 204
    problem(await place.api.get(of_client), "not_found")
    assert (await place.api.request("DELETE", f"professionals/{place.professional_id}")).status == 204
    problem(await place.api.get(of_professional), "not_found")
    problem(await place.api.post(f"clients/{place.client_id}/feed"), "not_found")


async def test_nothing_is_sent_again_that_did_not_change(place: Place) -> None:
    feed = await made(place.api, f"professionals/{place.professional_id}/feed")
    booked = await book(place, place.at(9))
    first = await fetched(place.api, feed)
    tag, since = first.headers["ETag"], first.headers["Last-Modified"]
    long_ago = format_datetime(datetime(2000, 1, 1, tzinfo=UTC))
    for headers in (
        {"If_None_Match": tag}, {"If_None_Match": f'"x", W/{tag}'}, {"If_None_Match": "*"},
        {"If_Modified_Since": since}, {"If_None_Match": tag, "If_Modified_Since": long_ago},
    ):  # fmt: skip
        again = await fetched(place.api, feed, **headers)
        assert (again.status, again.body) == (304, b""), headers
        assert again.headers["Content-Type"].startswith("text/calendar")
        assert again.headers["ETag"] == tag
    for headers in ({}, {"If_None_Match": '"x"', "If_Modified_Since": since}, {"If_Modified_Since": "yesterday"}):
        again = await fetched(place.api, feed, **headers)
        assert (again.status, again.body, again.headers["Last-Modified"]) == (200, first.body, since)
    await place.api.post(f"bookings/{booked['id']}/cancel")
    changed = await fetched(place.api, feed, If_None_Match=tag)
    assert changed.status == 200
    assert changed.headers["ETag"] != tag


async def test_a_name_that_changes_is_news(place: Place) -> None:
    """Also for programs that ask by date alone."""
    await book(place, place.at(9))
    feed = await made(place.api, f"professionals/{place.professional_id}/feed")
    since = (await fetched(place.api, feed)).headers["Last-Modified"]
    answer = await place.api.request("PATCH", f"clients/{place.client_id}", {"first_name": "Renamed"})
    assert answer.status == 200

    async def news() -> bool:
        # A date has whole seconds: within the second of the first look it may go unnoticed once.
        await fetched(place.api, feed)
        return (await fetched(place.api, feed, If_Modified_Since=since)).status == 200

    await asyncio.sleep(1)
    assert await eventually(news)


async def test_a_feed_is_bounded(place: Place, db: asyncpg.Connection) -> None:
    """By days and by entries, the nearest first."""
    now = datetime.now(UTC)
    await db.execute(
        """INSERT INTO bookings (id, business_id, calendar_id, service_id, code, status, start_at, end_at, blocked,
            session_id, capacity, attendees, created_at, updated_at)
        SELECT i.id, c.business_id, c.id, $2, 'F' || i.id, 'completed', s, s + interval '1 minute',
            tstzrange(s, s + interval '1 minute'), i.id, 1, 1, $3, $3
        FROM calendars c, generate_series(-200, 1200) AS n,
            LATERAL (SELECT gen_random_uuid() AS id WHERE n < 9999) AS i,
            LATERAL (SELECT $3::timestamptz + n * interval '6 hours' AS s) AS t
        WHERE c.id = $1""",
        uuid.UUID(place.professional_id), uuid.UUID(place.service_id), now,
    )  # fmt: skip
    feed = await made(place.api, f"professionals/{place.professional_id}/feed")
    starts = sorted(e["dtstart"].dt for e in entries(await fetched(place.api, feed)).values())
    assert len(starts) == limits.feed_entries_max
    assert timedelta(0) <= starts[0] - (now - timedelta(limits.feed_days_back)) < timedelta(hours=7)


@pytest.mark.parametrize(
    "file", ["x.ics", "x" * 43, "x" * 43 + ".ics", "é" * 43 + ".ics", "%00" * 43 + ".ics", ".ics", "..%2F" * 9 + ".ics"]
)
async def test_other_addresses_are_of_nobody(api: Api, file: str) -> None:
    problem(await api.with_token(None).get(f"feeds/{file}"), "not_found")


async def test_who_may_make_one(place: Place, as_professional: Api, as_client: Api, business_id: str) -> None:
    """Tests of permissions ask for the rest."""
    path = f"professionals/{place.professional_id}/feed"
    await made(as_professional, path)
    problem(await as_client.post(path), "forbidden")
    problem(await place.api.post(f"professionals/{NOBODY}/feed"), "not_found")
    other = acting(place.api, business_id, "professional", subject="x", professional_id=NOBODY)
    problem(await other.post(path), "forbidden")
    problem(await as_professional.post(f"clients/{place.client_id}/feed"), "forbidden")


async def test_the_address_is_secret(place: Place, server: RunningServer, db: asyncpg.Connection) -> None:
    """It stands neither in the database nor in the log."""
    feed = await made(place.api, f"professionals/{place.professional_id}/feed")
    token = feed.rsplit("/", 1)[1].removesuffix(".ics")
    request_id = uuid.uuid4().hex
    await fetched(place.api, feed, X_Request_ID=request_id)
    line = await eventually(lambda: _line(server, request_id))
    assert '"path":"/api/v1/feeds/{file}"' in line
    assert token not in server.log.read_text()
    rows = await db.fetch("SELECT f::text AS text FROM feeds f UNION ALL SELECT a::text FROM audit_log a")
    assert not [r for r in rows if token in r["text"]]


async def _line(server: RunningServer, request_id: str) -> str:
    return next((line for line in server.log.read_text().splitlines() if request_id in line), "")
