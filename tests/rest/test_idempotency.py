"""The same Idempotency-Key gives the same result, whatever happened in between."""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.conftest import business_of
from tests.rest.helpers import NOBODY, acting, approving_place, book, problem
from tests.support.server import Answer, Api, Place, RunningServer, new_place, token_for


def new_key() -> str:
    return uuid.uuid4().hex


def same(first: Answer, second: Answer) -> None:
    """The same status, bytes and headers; only the request id is each request's own."""
    assert (second.status, second.body) == (first.status, first.body)
    for name in ("Location", "ETag", "Content-Type"):
        assert second.headers.get(name) == first.headers.get(name)
    assert second.headers["X-Request-ID"] != first.headers["X-Request-ID"]


Ask = Callable[[Place, str], Awaitable[Answer]]

CREATIONS: dict[str, Ask] = {
    "client": lambda p, k: p.api.post("clients", {"first_name": "A"}, key=k),
    "client by chat": lambda p, k: p.api.post("clients", {"first_name": "A", "chat_id": hash(k) >> 2}, key=k),
    "service": lambda p, k: p.api.post("services", {"name": "A", "duration_minutes": 5}, key=k),
    "professional": lambda p, k: p.api.post("professionals", {"display_name": "A"}, key=k),
    "professional's service": lambda p, k: p.api.post(
        f"professionals/{p.professional_id}/services", {"name": "A", "duration_minutes": 5}, key=k
    ),
    "time off": lambda p, k: p.api.post(
        f"professionals/{p.professional_id}/time-off",
        {"start": p.at(20), "end": p.at(21), "description": "Lunch"},
        key=k,
    ),
    "schedule": lambda p, k: p.api.request(
        "PUT",
        f"professionals/{p.professional_id}/schedule",
        {"time_zone": "UTC", "weekly": [{"weekday": 1, "start": "09:00", "end": "10:00"}], "force": True},
        key=k,
    ),
    "hold": lambda p, k: p.api.post(
        "holds", {"professional_id": p.professional_id, "service_id": p.service_id, "start": p.at(9)}, key=k
    ),
    "booking": lambda p, k: p.api.post("bookings", p.booking(p.at(9), notes="x"), key=k),
    "guest's booking": lambda p, k: p.api.post("bookings", p.booking(p.at(9), guest={"name": "G"}), key=k),
    "changed client": lambda p, k: p.api.request("PATCH", f"clients/{p.client_id}", {"last_name": "Z"}, key=k),
    "changed service": lambda p, k: p.api.request("PATCH", f"services/{p.service_id}", {"description": "Z"}, key=k),
    "changed professional": lambda p, k: p.api.request(
        "PATCH", f"professionals/{p.professional_id}", {"bio": "Z"}, key=k
    ),
}


async def written(db: asyncpg.Connection, place: Place, business_id: str) -> dict[str, int]:
    """How much there is, and how far the calendar and the service have come."""
    tables = ("clients", "services", "professionals", "service_tokens")
    counts = {t: await db.fetchval(f"SELECT count(*) FROM {t} WHERE business_id = $1", business_id) for t in tables}
    counts["version"] = await db.fetchval(
        "SELECT max(version) FROM events WHERE calendar_id = $1", place.professional_id
    )
    counts["terms"] = await db.fetchval("SELECT version FROM services WHERE id = $1", place.service_id)
    return counts


@pytest.mark.parity("E9")
@pytest.mark.parametrize("what", CREATIONS)
async def test_a_repeated_write_is_done_once(place: Place, db: asyncpg.Connection, business_id: str, what: str) -> None:
    """The second answer is the first one, byte for byte, and nothing more is written."""
    key, ask = new_key(), CREATIONS[what]
    before = await written(db, place, business_id)
    first = await ask(place, key)
    assert first.status in (200, 201), first
    once = await written(db, place, business_id)
    second = await ask(place, key)
    same(first, second)
    assert await written(db, place, business_id) == once
    if what not in ("changed client", "changed professional"):
        assert once != before
        # Under another key it is another request, with an answer of its own.
        assert (await ask(place, new_key())).body != first.body


@pytest.mark.parity("E9")
@pytest.mark.parametrize("what", CREATIONS)
async def test_duplicates_at_the_same_moment_are_one(
    place: Place, db: asyncpg.Connection, business_id: str, what: str
) -> None:
    """A client that repeats itself before it has heard: one effect, equal answers."""
    key = new_key()
    answers = await asyncio.gather(*(CREATIONS[what](place, key) for _ in range(8)))
    assert {(a.status, a.body) for a in answers} == {(answers[0].status, answers[0].body)}
    assert answers[0].status in (200, 201)
    once = await written(db, place, business_id)
    await CREATIONS[what](place, key)
    assert await written(db, place, business_id) == once


@pytest.mark.parity("E9")
async def test_the_same_key_with_another_request_is_refused(place: Place) -> None:
    """Another body, path, method or If-Match under a used key: 422, and nothing is done."""
    key = new_key()
    made = await place.api.post("bookings", place.booking(place.at(9)), key=key)
    assert made.status == 201
    path = f"bookings/{made.json['id']}"
    for answer in (
        await place.api.post("bookings", place.booking(place.at(10)), key=key),
        await place.api.post("bookings", place.booking(place.at(9), notes="x"), key=key),
        await place.api.post(f"{path}/cancel", {}, key=key),
        await place.api.request("PATCH", path, {"notes": "x"}, key=key),
        await place.api.post("clients", {"first_name": "x"}, key=key),
        await place.api.post(
            "holds", {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)},
            key=key,
        ),
    ):  # fmt: skip
        problem(answer, "idempotency_mismatch")
    assert (await place.api.get(path)).json["version"] == 1
    key = new_key()
    await place.api.post("clients", {"first_name": "A"}, key=key)
    problem(await place.api.post("clients", {"first_name": "B"}, key=key), "idempotency_mismatch")
    problem(await place.api.post("bookings", place.booking(place.at(12)), key=key), "idempotency_mismatch")
    key = new_key()
    assert (await place.api.request("PATCH", path, {"notes": "x"}, key=key, headers={"If-Match": '"1"'})).status == 200
    answer = await place.api.request("PATCH", path, {"notes": "x"}, key=key, headers={"If-Match": '"2"'})
    problem(answer, "idempotency_mismatch")


@pytest.mark.parity("E9")
async def test_a_refusal_is_repeated_even_when_the_slot_became_free(place: Place) -> None:
    """The key stands for that attempt; a new attempt takes a new key."""
    winner = await book(place, place.at(9))
    key = new_key()
    refused = await place.api.post("bookings", place.booking(place.at(9)), key=key)
    problem(refused, "slot_unavailable")
    await place.api.post(f"bookings/{winner['id']}/cancel")
    again = await place.api.post("bookings", place.booking(place.at(9)), key=key)
    body = problem(again, "slot_unavailable")
    assert {**body, "request_id": ""} == {**refused.json, "request_id": ""}
    assert (await place.api.post("bookings", place.booking(place.at(9)), key=new_key())).status == 201


@pytest.mark.parity("E9")
async def test_a_change_is_told_as_it_was_whatever_came_after(place: Place) -> None:
    """Confirmed, moved, noted and cancelled: each key still tells its own step."""
    made = await book(await approving_place(place), place.at(9))
    path = f"bookings/{made['id']}"
    steps: list[tuple[str, str, Any]] = [
        ("POST", f"{path}/confirm", {}),
        ("POST", f"{path}/reschedule", {"start": place.at(10)}),
        ("PATCH", path, {"notes": "Third"}),
        ("POST", f"{path}/reschedule", {"start": place.at(11)}),
        ("POST", f"{path}/cancel", {"reason": "Enough"}),
    ]
    keys = [new_key() for _ in steps]
    told = [await place.api.request(*step, key=key) for step, key in zip(steps, keys, strict=True)]
    assert [a.status for a in told] == [200] * 5
    assert [a.json["version"] for a in told] == [2, 3, 4, 5, 6]
    for step, key, first in zip(steps, keys, told, strict=True):
        again = await place.api.request(*step, key=key)
        assert again.status == 200, again
        # Notes are not in the journal: those of now are told.
        assert {**again.json, "notes": None} == {**first.json, "notes": None}
        assert again.headers["ETag"] == first.headers["ETag"]
    assert (await place.api.get(path)).json["version"] == 6


async def test_a_release_and_a_deletion_are_repeated(place: Place) -> None:
    """What is gone was taken away by this very request, so it is 204 again; by another key it is not there."""
    hold = await place.api.made(
        "holds", {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
    )
    off = await place.api.made(
        f"professionals/{place.professional_id}/time-off", {"start": place.at(12), "end": place.at(13)}
    )
    service = await place.api.made("services", {"name": "x", "duration_minutes": 5})
    for path in (
        f"holds/{hold['id']}",
        f"professionals/{place.professional_id}/time-off/{off['id']}",
        f"services/{service['id']}",
    ):
        key = new_key()
        for _ in range(3):
            assert (await place.api.request("DELETE", path, key=key)).status == 204, path
        problem(await place.api.request("DELETE", path, key=new_key()), "not_found")


async def test_a_refused_release_is_refused_the_same_way(place: Place, db: asyncpg.Connection) -> None:
    """Also when the hold, which was just ending then, has gone from the tables since."""
    held = await place.api.made(
        "holds", {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
    )
    assert (await place.api.request("DELETE", f"holds/{held['id']}")).status == 204
    # As one who asks sees it in the moment between a decision and its commit.
    await db.execute(
        """INSERT INTO bookings (id, business_id, calendar_id, service_id, status, start_at, end_at, blocked,
            session_id, capacity, attendees, holder, expires_at, created_at, updated_at)
        SELECT $1, p.business_id, p.id, $3, 'held', now(), now() + interval '1 hour',
            tstzrange(now(), now() + interval '1 hour'), $1, 1, 1, 'x', now() + interval '1 hour', now(), now()
        FROM professionals p WHERE p.id = $2""",
        held["id"], place.professional_id, place.service_id,
    )  # fmt: skip
    first = await place.api.request("DELETE", f"holds/{held['id']}", key="too-late")
    await db.execute("DELETE FROM bookings WHERE id = $1", held["id"])
    again = await place.api.request("DELETE", f"holds/{held['id']}", key="too-late")
    assert problem(first, "hold_gone")["calendar_version"] == problem(again, "hold_gone")["calendar_version"]
    problem(await place.api.request("DELETE", f"holds/{held['id']}", key="another"), "not_found")


async def test_keys_are_each_callers_own(place: Place, business_id: str, stranger: Api) -> None:
    """Two callers who happen to use the same key do not hear each other's answers."""
    key = new_key()
    first = await place.api.made("clients", {"first_name": "A"}, key=key)
    for caller in (stranger, acting(place.api, business_id, "owner", subject="somebody-else")):
        other = await caller.made("clients", {"first_name": "A"}, key=key)
        assert other["id"] != first["id"]
    mine = await place.api.post("bookings", place.booking(place.at(9)), key=new_key())
    other_caller = acting(place.api, business_id, "manager", subject="a-third")
    key = new_key()
    assert (await place.api.post("bookings", place.booking(place.at(10)), key=key)).status == 201
    problem(await other_caller.post("bookings", place.booking(place.at(10)), key=key), "slot_unavailable")
    assert mine.status == 201


async def test_guests_have_keys_of_their_own(place: Place) -> None:
    """The keys of one booking's guest are not those of another's."""
    key, anyone = new_key(), place.api.with_token(None)
    for hour in (9, 10):
        booked = await place.api.made("bookings", place.booking(place.at(hour), guest={"name": "G"}))
        shown = {"X-Manage-Token": booked["manage_token"]}
        cancel = f"bookings/{booked['id']}/cancel"
        first = await anyone.post(cancel, key=key, headers=shown)
        assert first.status == 200, first
        assert first.json["id"] == booked["id"]
        same(first, await anyone.post(cancel, key=key, headers=shown))


@pytest.mark.parametrize("key", ["x" * 129, "two words", "ü", "tab\tbed", '""', " "])
async def test_a_key_of_another_form_is_invalid(place: Place, key: str) -> None:
    """1 to 128 visible ASCII characters."""
    for path, body in (("clients", {"first_name": "A"}), ("bookings", place.booking(place.at(9)))):
        answer = await place.api.post(path, body, headers={"Idempotency-Key": key})
        problem(answer, "validation_failed", "Idempotency-Key")


@pytest.mark.parametrize("key", ["x" * 128, "!~", "a:b/c?d=e&f", "DROP-TABLE';--"])
async def test_any_visible_ascii_is_a_key(place: Place, key: str) -> None:
    """Also quoted, as the draft standard writes it: the same key."""
    key = key[:-8] + new_key()[:8] if len(key) > 100 else key + new_key()
    first = await place.api.post("clients", {"first_name": "A"}, key=key)
    same(first, await place.api.post("clients", {"first_name": "A"}, key=f'"{key}"'))


async def test_a_key_ends_after_a_day(place: Place, db: asyncpg.Connection) -> None:
    """Then it may name another request."""
    key = new_key()
    first = await place.api.made("clients", {"first_name": "A"}, key=key)
    booked = await place.api.post("bookings", place.booking(place.at(9)), key=f"b{key}")
    assert booked.status == 201
    await _age(db, "23 hours 59 minutes", key, f"b{key}")
    assert (await place.api.made("clients", {"first_name": "A"}, key=key))["id"] == first["id"]
    assert (await place.api.post("bookings", place.booking(place.at(9)), key=f"b{key}")).body == booked.body
    await _age(db, "24 hours 1 minute", key, f"b{key}")
    second = await place.api.made("clients", {"first_name": "B"}, key=key)
    assert second["id"] != first["id"]
    problem(await place.api.post("bookings", place.booking(place.at(9)), key=f"b{key}"), "slot_unavailable")


async def _age(db: asyncpg.Connection, age: str, *keys: str) -> None:
    done = await db.execute(
        "UPDATE idempotency_keys SET created_at = now() - $1::text::interval WHERE key = ANY ($2::text[])",
        age, list(keys),
    )  # fmt: skip
    assert done == f"UPDATE {len(keys)}"


@pytest.mark.parity("E9")
async def test_keys_survive_a_restart_and_a_crash(fresh_server: RunningServer) -> None:
    """After SIGTERM and after SIGKILL the same keys give the same answers."""
    fresh_server.start()
    # No connection outlives the server it was made to.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        await _ask_over_restarts(fresh_server, http)


async def _ask_over_restarts(fresh_server: RunningServer, http: aiohttp.ClientSession) -> None:
    api = Api(fresh_server, http, token_for(await business_of(fresh_server.dsn)))
    place = await new_place(api)
    taken = await book(place, place.at(8))
    refused_key = new_key()
    refused = await api.post("bookings", place.booking(place.at(8)), key=refused_key)
    problem(refused, "slot_unavailable")
    await api.post(f"bookings/{taken['id']}/cancel")
    names = ["client", "service", "time off", "hold", "guest's booking", "schedule"]
    creations = {n: CREATIONS[n] for n in names}
    # The hold and the booking want different times here.
    creations["guest's booking"] = lambda p, k: p.api.post("bookings", p.booking(p.at(11), guest={"name": "G"}), key=k)
    keys = {name: new_key() for name in creations}
    first = {name: await ask(place, keys[name]) for name, ask in creations.items()}
    assert all(a.status in (200, 201) for a in first.values())

    for end in (fresh_server.stop, fresh_server.kill):
        end()
        fresh_server.start()
        for name, ask in creations.items():
            same(first[name], await ask(place, keys[name]))
        again = await api.post("bookings", place.booking(place.at(8)), key=refused_key)
        assert problem(again, "slot_unavailable")["alternatives"] == refused.json["alternatives"]


async def test_a_storm_of_repeats_books_each_slot_once(place: Place) -> None:
    """Twenty bookings, each sent five times in disorder: twenty bookings."""
    work = [(place.at(i // 2, 30 * (i % 2)), f"{new_key()}") for i in range(20)] * 5
    random.Random(7).shuffle(work)
    answers = await asyncio.gather(*(place.api.post("bookings", place.booking(start), key=key) for start, key in work))
    by_key: dict[str, set[bytes]] = {}
    for (_, key), answer in zip(work, answers, strict=True):
        assert answer.status == 201, answer
        by_key.setdefault(key, set()).add(answer.body)
    assert all(len(bodies) == 1 for bodies in by_key.values())
    listed = await place.api.get("bookings", professional_id=place.professional_id)
    assert len(listed.json["items"]) == 20
    assert NOBODY not in [b["id"] for b in listed.json["items"]]
