"""Bookings that take several calendars, and those for which a professional is found."""

import asyncio

import asyncpg

from tests.rest.helpers import acting, problem
from tests.rest.teams import DAY, at, calendar, new_team, rows_of
from tests.support.server import Api, eventually


async def test_a_meeting_takes_everybody_and_a_room(api: Api, db: asyncpg.Connection) -> None:
    """One booking, led by the first; the others' time is theirs no more; cancelled, all of it is free."""
    team = await new_team(api, people=2, rooms=2, professionals_needed=2)
    booked = await team.book(at(9))
    assert booked["professional_id"] == team.people[0]
    assert booked["professional_ids"] == team.people
    assert booked["resource_ids"] == [team.rooms[0]]
    assert booked["status"] == "confirmed"
    everything = sorted([*team.people, team.rooms[0]])
    assert await rows_of(db, everything) == [(c, "confirmed", at(9)) for c in everything]
    assert at(9) not in await team.slots()
    assert at(10) in await team.slots()
    cancelled = await api.post(f"bookings/{booked['id']}/cancel")
    assert cancelled.json["status"] == "cancelled", cancelled
    assert await rows_of(db, everything) == []
    assert at(9) in await team.slots()


async def test_all_or_nothing(api: Api, db: asyncpg.Connection) -> None:
    """Where one who is needed is taken, nobody is; what is offered instead can be booked by all."""
    team = await new_team(api, people=2, rooms=1, professionals_needed=2)
    blocked = {"start": at(9), "end": at(11)}
    await api.made(f"professionals/{team.rooms[0]}/time-off", blocked)
    refused = problem(await api.post("bookings", team.body(at(9, 30))), "slot_unavailable")
    assert await rows_of(db, [*team.people, *team.rooms]) == []
    starts = [a["start"] for a in refused["alternatives"]]
    assert at(8, 30) in starts
    assert at(11) in starts
    assert set(starts) <= set(await team.slots())
    assert not {at(9), at(9, 30), at(10), at(10, 30)} & set(await team.slots())
    assert (await team.book(starts[0]))["start"] == starts[0]


async def test_everybody_wants_the_same_room(api: Api, db: asyncpg.Connection) -> None:
    """Twenty at once for meetings of different people in two rooms at one time: two are booked, nothing overlaps and
    nothing is left behind.
    """
    team = await new_team(api, people=6, rooms=2, professionals_needed=2)
    answers = await asyncio.gather(
        *(api.post("bookings", team.body(at(9)), key=f"{team.service_id}{i}") for i in range(20))
    )
    booked = [a for a in answers if a.status == 201]
    for answer in answers:
        if answer.status != 201:
            problem(answer, "slot_unavailable")
    assert 1 <= len(booked) <= 2
    taken = [c for b in booked for c in (*b.json["professional_ids"], *b.json["resource_ids"])]
    assert len(taken) == len(set(taken))

    async def settled() -> bool:
        found = await rows_of(db, [*team.people, *team.rooms])
        return sorted(found) == sorted((c, "confirmed", at(9)) for c in taken)

    assert await eventually(settled)


async def test_the_same_key_gives_the_same_meeting(api: Api) -> None:
    """Also sent at once, and also when it was refused; for another request the key is taken."""
    team = await new_team(api, people=2, rooms=2, professionals_needed=2)
    body, key = team.body(at(9), guest={"name": "G"}) | {"client_id": None}, f"key-{team.service_id}"
    answers = await asyncio.gather(*(api.post("bookings", body, key=key) for _ in range(5)))
    assert [a.status for a in answers] == [201] * 5
    first = answers[0].json
    assert all(a.json == first for a in answers)
    assert (await api.post("bookings", body, key=key)).json == first
    problem(await api.post("bookings", team.body(at(10)), key=key), "idempotency_mismatch")
    again = f"again-{team.service_id}"
    refused = problem(await api.post("bookings", body, key=again), "slot_unavailable")
    await api.post(f"bookings/{first['id']}/cancel")
    repeated = problem(await api.post("bookings", body, key=again), "slot_unavailable")
    assert {**repeated, "request_id": ""} == {**refused, "request_id": ""}
    guest = api.with_token(None)
    shown = {"X-Manage-Token": first["manage_token"]}
    assert (await guest.get(f"bookings/{first['code']}", headers=shown)).json["professional_ids"] == team.people


async def test_who_is_named_takes_part(api: Api) -> None:
    """Professionals and rooms by choice; what cannot be chosen is refused with the field's name."""
    team = await new_team(api, people=3, rooms=2, professionals_needed=2)
    named = await team.book(at(9), professional_ids=team.people[1:], resource_ids=team.rooms[1:])
    assert (named["professional_ids"], named["resource_ids"]) == (team.people[1:], team.rooms[1:])
    half = await team.book(at(10), professional_id=team.people[2])
    assert team.people[2] in half["professional_ids"]
    assert len(half["professional_ids"]) == 2
    problem(
        await api.post("bookings", team.body(at(11), professional_ids=team.people)),
        "validation_failed",
        "professional_ids",
    )
    bad_room = team.body(at(11), resource_ids=[team.people[0]])
    problem(await api.post("bookings", bad_room), "validation_failed", "resource_ids")
    stranger = await calendar(api, "Somebody")
    problem(await api.post("bookings", team.body(at(11), professional_ids=[stranger])), "service_not_offered")
    double = team.body(at(9), double_booking=True)
    problem(await api.post("bookings", double), "validation_failed", "double_booking")
    problem(await api.post("bookings", team.body(at(11), if_version=3)), "validation_failed", "if_version")
    room_alone = {"professional_id": team.rooms[0], "service_id": team.service_id, "start": at(12)}
    problem(await api.post("bookings", room_alone | {"client_id": team.client_id}), "service_not_offered")


async def test_a_hold_of_a_meeting(api: Api, db: asyncpg.Connection) -> None:
    """Holds everything; becomes the booking, or lets everything go."""
    team = await new_team(api, people=2, rooms=1, professionals_needed=2)
    everything = sorted([*team.people, *team.rooms])
    body = {"service_id": team.service_id, "start": at(9), "ttl_seconds": 60}
    held = await api.made("holds", body, key=f"hold-{team.service_id}")
    assert (await api.made("holds", body, key=f"hold-{team.service_id}")) == held
    assert (held["professional_ids"], held["resource_ids"]) == (team.people, team.rooms)
    assert await rows_of(db, everything) == [(c, "held", at(9)) for c in everything]
    assert at(9) not in await team.slots()
    booked = await team.book(at(9), hold_id=held["id"], professional_id=held["professional_id"])
    assert booked["id"] == held["id"]
    assert booked["professional_ids"] == team.people
    assert await rows_of(db, everything) == [(c, "confirmed", at(9)) for c in everything]
    other = await api.made("holds", body | {"start": at(10)})
    assert (await api.request("DELETE", f"holds/{other['id']}")).status == 204
    assert await rows_of(db, everything) == [(c, "confirmed", at(9)) for c in everything]


async def test_a_hold_that_ends_lets_everything_go(api: Api, db: asyncpg.Connection) -> None:
    team = await new_team(api, people=2, professionals_needed=2)
    await api.made("holds", {"service_id": team.service_id, "start": at(9), "ttl_seconds": 1})

    async def free() -> bool:
        return await rows_of(db, team.people) == [] and at(9) in await team.slots()

    assert await eventually(free, 15)


async def test_a_meeting_moves_whole(api: Api, db: asyncpg.Connection) -> None:
    """Everything goes to the new time, into another room if the first is taken; not onto itself; not half."""
    team = await new_team(api, people=2, rooms=2, professionals_needed=2)
    booked = await team.book(at(9))
    await api.made(f"professionals/{team.rooms[0]}/time-off", {"start": at(11), "end": at(12)})
    path = f"bookings/{booked['id']}/reschedule"
    moved = await api.post(path, {"start": at(11)}, key=f"move-{booked['id']}")
    assert moved.status == 200, moved
    assert (moved.json["start"], moved.json["id"], moved.json["code"]) == (at(11), booked["id"], booked["code"])
    assert (await api.post(path, {"start": at(11)}, key=f"move-{booked['id']}")).json["start"] == at(11)
    read = (await api.get(f"bookings/{booked['id']}")).json
    assert (read["start"], read["resource_ids"], read["professional_ids"]) == (at(11), team.rooms[1:], team.people)
    everything = sorted([*team.people, team.rooms[1]])
    assert await rows_of(db, [*team.people, *team.rooms]) == [(c, "confirmed", at(11)) for c in everything]
    problem(await api.post(path, {"start": at(11)}), "slot_unavailable")
    await api.made(f"professionals/{team.people[1]}/time-off", {"start": at(14), "end": at(15)})
    problem(await api.post(path, {"start": at(14)}), "slot_unavailable")
    assert await rows_of(db, [*team.people, *team.rooms]) == [(c, "confirmed", at(11)) for c in everything]


async def test_whoever_takes_part_may_act(api: Api, business_id: str, db: asyncpg.Connection) -> None:
    """The second professional sees the meeting in their list, once, and cancels it; a third sees nothing."""
    team = await new_team(api, people=3, professionals_needed=2)
    booked = await team.book(at(9), professional_ids=team.people[:2])
    part = await db.fetchval("SELECT id::text FROM bookings WHERE leader_id = $1::text::uuid", team.people[0])
    first, second, third = (acting(api, business_id, "professional", professional_id=p) for p in team.people)
    for who in (first, second):
        assert [b["id"] for b in (await who.get("bookings")).json["items"]] == [booked["id"]]
        assert (await who.get(f"bookings/{part}")).json["id"] == booked["id"]
    assert (await third.get("bookings")).json["items"] == []
    problem(await third.get(f"bookings/{booked['id']}"), "not_found")
    mine = (await api.get("bookings", date=DAY, client_id=team.client_id)).json["items"]
    assert [b["id"] for b in mine] == [booked["id"]]
    cancelled = await second.post(f"bookings/{part}/cancel")
    assert (cancelled.json["id"], cancelled.json["status"]) == (booked["id"], "cancelled")
    assert await rows_of(db, team.people) == []
    problem(await third.post("bookings", team.body(at(10), professional_ids=team.people[:2])), "forbidden")
    own = await third.made("bookings", team.body(at(10)))
    assert team.people[2] in own["professional_ids"]


async def test_what_becomes_of_it_becomes_of_all(api: Api, db: asyncpg.Connection) -> None:
    """A meeting by approval blocks everybody's time while it is pending; confirmed or rejected, the parts follow."""
    team = await new_team(api, people=2, professionals_needed=2, confirmation="approval")
    pending = await team.book(at(9))
    assert pending["status"] == "pending"
    assert await rows_of(db, team.people) == [(team.people[0], "pending", at(9)), (team.people[1], "confirmed", at(9))]
    other = {"professional_id": team.people[1], "start": at(9)}
    problem(await api.post("bookings", team.body(**other)), "slot_unavailable")
    assert (await api.post(f"bookings/{pending['id']}/confirm")).json["status"] == "confirmed"
    assert (await api.post(f"bookings/{pending['id']}/reject")).json["status"] == "rejected"
    assert await rows_of(db, team.people) == []


async def test_what_does_not_take_several_calendars(api: Api) -> None:
    """A series and a shared capacity are of one calendar; a service that came to need more says so."""
    team = await new_team(api, people=2, professionals_needed=2)
    series = {"professional_id": team.people[0], "rrule": "FREQ=WEEKLY;COUNT=3"}
    problem(await api.post("bookings/series", team.body(at(9), **series)), "validation_failed", "service_id")
    shared = {"name": "Class", "duration_minutes": 30, "capacity": 5, "professionals_needed": 2}
    problem(await api.post("services", shared), "validation_failed", "capacity")
    plain = await new_team(api, people=2)
    alone = await plain.book(at(9), professional_id=plain.people[0])
    assert "professional_ids" not in alone
    await api.request("PATCH", f"services/{plain.service_id}", {"professionals_needed": 2})
    both = await plain.book(at(10))
    assert both["professional_ids"] == plain.people
    assert (await api.post(f"bookings/{alone['id']}/reschedule", {"start": at(11)})).json["start"] == at(11)
