"""Commands over live: the bodies and problems of REST, and the promises of an idempotency key."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.live.conftest import Connect
from tests.support.live import Contract, LiveClient
from tests.support.server import Api, Place, RunningServer

Json = dict[str, Any]


def _hold(place: Place, start: str, **more: Any) -> Json:
    return {"professional_id": place.professional_id, "service_id": place.service_id, "start": start, **more}


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_shape(v) for v in value[:1]]
    return type(value)


async def test_replies_are_the_bodies_of_rest(connect: Connect, place: Place) -> None:
    live, api = await connect(), place.api
    over_rest = await api.made("holds", _hold(place, place.at(1)))
    over_live = await live.done("hold", **_hold(place, place.at(2)))
    assert _shape(over_live) == _shape(over_rest)
    assert over_live["start"] == place.at(2)
    assert await live.done("release", hold_id=over_live["id"]) is None
    for hold in (None, over_rest["id"]):
        kept = {"hold_id": hold, "start": place.at(1)} if hold else {"start": place.at(3)}
        booked = await live.done("book", **{**place.booking(place.at(1), notes="by the window"), **kept})
        assert booked["notes"] == "by the window"
    rest = await api.made("bookings", place.booking(place.at(4), notes="by the window"))
    assert _shape(booked) == _shape(rest)
    guest = {"name": "Anna", "email": "anna@example.com"}
    by_live = await live.done("book", **place.booking(place.at(5), guest=guest))
    by_rest = await api.made("bookings", place.booking(place.at(6), guest=guest))
    assert _shape(by_live) == _shape(by_rest)
    moved = await live.done("reschedule", booking_id=by_live["id"], start=place.at(7))
    moved_rest = await api.post(f"bookings/{by_rest['id']}/reschedule", {"start": place.at(8)})
    assert _shape(moved) == _shape(moved_rest.json)
    assert (moved["start"], moved["end"], moved["version"]) == (place.at(7), place.at(7, 30), 2)
    gone = await live.done("cancel", booking_id=by_live["code"], reason="ill")
    gone_rest = await api.post(f"bookings/{by_rest['id']}/cancel", {"reason": "ill"})
    assert _shape(gone) == _shape(gone_rest.json)
    assert (gone["status"], gone["reason"], gone["cancelled_by"]) == ("cancelled", "ill", "owner")
    read = await api.get(f"bookings/{by_live['id']}")
    assert read.json["status"] == "cancelled", "what was done over live is what REST reads"


async def test_confirm_over_live(connect: Connect, place: Place) -> None:
    body = {"name": "By approval", "duration_minutes": 30, "confirmation": "approval"}
    service = await place.api.made(f"professionals/{place.professional_id}/services", body)
    live = await connect()
    booked = await live.done("book", **{**place.booking(place.at(9)), "service_id": service["id"]})
    assert booked["status"] == "pending"
    assert (await live.problem("confirm", booking_id=booked["id"], if_version=9))["code"] == "version_mismatch"
    confirmed = await live.done("confirm", booking_id=booked["id"], if_version=1)
    assert (confirmed["status"], confirmed["version"]) == ("confirmed", 2)
    assert (await live.problem("confirm", booking_id=booked["id"]))["code"] == "invalid_transition"


async def test_problems_are_those_of_rest(connect: Connect, place: Place) -> None:
    live, api = await connect(), place.api
    booked = await api.made("bookings", place.booking(place.at(9)))
    await api.post(f"bookings/{booked['id']}/cancel")
    taken = await api.made("bookings", place.booking(place.at(10)))
    nobody = "0198c0de-0000-7000-8000-000000000000"
    cases: list[tuple[str, Json, str, Json | None]] = [
        ("book", place.booking(place.at(10)), "bookings", None),
        ("book", place.booking(place.at(10, 10)), "bookings", None),
        ("book", place.booking("2020-01-01T10:00:00Z"), "bookings", None),
        ("book", {**place.booking(place.at(11)), "service_id": nobody}, "bookings", None),
        ("book", {**place.booking(place.at(11)), "client_id": nobody}, "bookings", None),
        ("book", {**place.booking(place.at(11)), "client_id": "x"}, "bookings", None),
        ("book", {**place.booking(place.at(11)), "attendees": 7}, "bookings", None),
        ("book", {**place.booking(place.at(11)), "hold_id": nobody}, "bookings", None),
        ("book", {**place.booking(place.at(11)), "if_version": 1}, "bookings", None),
        ("book", {**place.booking(place.at(11)), "professional_id": nobody}, "bookings", None),
        ("book", {**place.booking(place.at(11)), "start": "3000-01-01T10:00:00Z"}, "bookings", None),
        ("hold", _hold(place, place.at(10)), "holds", None),
        ("hold", _hold(place, place.at(11), ttl_seconds=10_000), "holds", None),
        ("cancel", {"booking_id": booked["id"]}, f"bookings/{booked['id']}/cancel", {}),
        ("confirm", {"booking_id": taken["id"]}, f"bookings/{taken['id']}/confirm", {}),
        ("cancel", {"booking_id": "BK-NOPE0"}, "bookings/BK-NOPE0/cancel", {}),
        ("reschedule", {"booking_id": booked["id"], "start": place.at(12)}, f"bookings/{booked['id']}/reschedule",
         {"start": place.at(12)}),
    ]  # fmt: skip
    codes = set()
    for kind, fields, path, body in cases:
        over_rest = await api.post(path, fields if body is None else body)
        over_live = await live.problem(kind, **fields)
        assert over_rest.status >= 400, fields
        rest = over_rest.json
        assert {k: v for k, v in over_live.items() if k != "request_id"} == {
            k: v for k, v in rest.items() if k != "request_id"
        }, (kind, fields)
        codes.add(rest["code"])
    assert "slot_unavailable" in codes
    assert len(codes) >= 9, codes


async def test_many_commands_at_once_are_all_answered_by_their_id(connect: Connect, place: Place) -> None:
    live = await connect()
    replica = await live.watch(place, days=5)
    starts = [place.at(h, m, day=d) for d in range(5) for h in range(20) for m in (0, 30)]
    replies = await asyncio.gather(*(live.ask("book", **place.booking(s)) for s in starts * 2))
    by_start: dict[str, list[bool]] = {}
    for start, reply in zip(starts * 2, replies, strict=True):
        by_start.setdefault(start, []).append(reply["ok"])
        if reply["ok"]:
            assert reply["result"]["start"] == start
        else:
            assert reply["problem"]["code"] == "slot_unavailable"
    assert {tuple(sorted(found)) for found in by_start.values()} == {(False, True)}
    await live.until(lambda: replica.starts("booked") == sorted(starts))
    assert len(replica.deltas) < len(starts), "deltas merge under load"


# Idempotency keys


async def _keyed(live: LiveClient, kind: str, key: str, **fields: Any) -> Json:
    return await live.ask(kind, idempotency_key=key, **fields)


async def test_the_same_key_gives_the_same_reply_also_after_a_reconnect(
    connect: Connect, api: Api, place: Place, db: asyncpg.Connection
) -> None:
    live = await connect()
    first = await _keyed(live, "book", "k1", **place.booking(place.at(9)))
    again = await _keyed(live, "book", "k1", **place.booking(place.at(9)))
    assert again["result"] == first["result"]
    assert again["id"] != first["id"]
    at_once = await asyncio.gather(*(_keyed(live, "book", "k2", **place.booking(place.at(10))) for _ in range(20)))
    assert len({r["result"]["id"] for r in at_once}) == 1
    live.drop()
    await live.connect((await api.made("auth/ticket", {}))["ticket"])
    after = await _keyed(live, "book", "k1", **place.booking(place.at(9)))
    assert after["result"] == first["result"]
    other = await _keyed(live, "book", "k1", **place.booking(place.at(11)))
    assert other["problem"]["code"] == "idempotency_mismatch"
    count = await db.fetchval("SELECT count(*) FROM bookings WHERE calendar_id = $1", place.professional_id)
    assert count == 2


async def test_a_key_repeats_refusals_too(connect: Connect, place: Place) -> None:
    live = await connect()
    booked = await live.done("book", **place.booking(place.at(9)))
    refused = await _keyed(live, "book", "r1", **place.booking(place.at(9)))
    assert refused["problem"]["code"] == "slot_unavailable"
    await live.done("cancel", booking_id=booked["id"])
    again = await _keyed(live, "book", "r1", **place.booking(place.at(9)))
    assert again["problem"]["code"] == "slot_unavailable"
    assert again["problem"]["alternatives"] == refused["problem"]["alternatives"]


async def test_every_command_keeps_its_key(connect: Connect, place: Place) -> None:
    body = {"name": "By approval", "duration_minutes": 30, "confirmation": "approval"}
    service = await place.api.made(f"professionals/{place.professional_id}/services", body)
    live = await connect()
    hold = [(await _keyed(live, "hold", "h", **_hold(place, place.at(9))))["result"] for _ in range(2)]
    assert hold[0] == hold[1]
    for _ in range(2):
        released = await _keyed(live, "release", "r", hold_id=hold[0]["id"])
        assert released["ok"], released
    booked = await live.done("book", **{**place.booking(place.at(9)), "service_id": service["id"]})
    for kind, more in (
        ("confirm", {}),
        ("reschedule", {"start": place.at(12)}),
        ("cancel", {"reason": "ill"}),
    ):
        found = [await _keyed(live, kind, f"k-{kind}", booking_id=booked["id"], **more) for _ in range(2)]
        assert found[0]["ok"], found
        assert found[0]["result"] == found[1]["result"], kind


async def test_a_visitors_key_outlives_the_connection(
    connect: Connect, server: RunningServer, place: Place, contract: Contract
) -> None:
    """A guest whose connection broke before the reply came asks again and gets the booking, not a refusal."""
    page = await connect(origin=server.url)
    booking = place.booking(place.at(9), guest={"name": "Anna"})
    hold = await _keyed(page, "hold", "visitor-hold-71c2", **_hold(place, place.at(9)))
    booking["hold_id"] = hold["result"]["id"]
    first = await _keyed(page, "book", "visitor-book-71c2", **booking)
    assert first["ok"], first
    page.drop()
    await page.connect()
    again = await _keyed(page, "book", "visitor-book-71c2", **booking)
    assert again["result"] == first["result"]
    assert again["result"]["manage_token"]


@pytest.mark.parametrize("key", ["", "x" * 129])
async def test_a_key_that_is_none_is_refused(connect: Connect, place: Place, key: str) -> None:
    live = await connect()
    refused = await _keyed(live, "book", key, **place.booking(place.at(9)))
    assert refused["problem"]["code"] == "validation_failed"
    assert [e["field"] for e in refused["problem"]["errors"]] == ["idempotency_key"]
