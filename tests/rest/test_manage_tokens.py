"""A booking's code is for people to say on the telephone; only the manage token opens the booking."""

import hashlib

import asyncpg

from tests.rest.helpers import book, problem
from tests.support.server import Answer, Api, Place


async def tries(caller: Api, booking: str, start: str, headers: dict[str, str]) -> list[Answer]:
    path = f"bookings/{booking}"
    return [
        await caller.get(path, headers=headers),
        await caller.request("PATCH", path, {"notes": "x"}, headers=headers),
        await caller.post(f"{path}/cancel", headers=headers),
        await caller.post(f"{path}/reschedule", {"start": start}, headers=headers),
    ]


async def test_a_code_alone_opens_nothing(place: Place) -> None:
    """Neither a guest's nor a client's, with nothing, with itself or with an id as the token."""
    guests = await place.api.made("bookings", place.booking(place.at(9), guest={"name": "A"}))
    clients = await book(place, place.at(10))
    anyone = place.api.with_token(None)
    for booked in (guests, clients):
        for name in (booked["code"], booked["code"].lower(), booked["id"]):
            for answer in await tries(anyone, name, place.at(11), {}):
                problem(answer, "unauthorized")
            for shown in (booked["code"], booked["id"], booked["client_id"], "0" * 64):
                for answer in await tries(anyone, name, place.at(11), {"X-Manage-Token": shown}):
                    problem(answer, "not_found")
        assert (await place.api.get(f"bookings/{booked['id']}")).json["version"] == 1


async def test_a_manage_token_has_256_bits_and_is_kept_as_a_hash(place: Place, db: asyncpg.Connection) -> None:
    tokens = []
    for hour in range(9, 13):
        booked = await place.api.made("bookings", place.booking(place.at(hour), guest={"name": "A"}))
        tokens.append(booked["manage_token"])
        kept = await db.fetchval("SELECT manage_hash FROM bookings WHERE id = $1", booked["id"])
        assert kept == hashlib.sha256(tokens[-1].encode()).digest()
    assert len({t[:8] for t in tokens}) == len(tokens)
    assert all(len(bytes.fromhex(t)) == 32 for t in tokens)
