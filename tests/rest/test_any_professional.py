"""Bookings that leave open whose calendar: a professional is found."""

import asyncio

import asyncpg

from tests.conftest import business_of
from tests.rest.helpers import acting, problem
from tests.rest.teams import DAY, at, new_team, rows_of
from tests.support.server import Api


async def test_whoever_has_least_to_do(api: Api) -> None:
    """The fewest minutes in that week; bookings named for somebody count."""
    team = await new_team(api, people=3, assignment="least_loaded")
    first, second, third = team.people
    await team.book(at(8), professional_id=first)
    await team.book(at(9), professional_id=second)
    assert (await team.book(at(10)))["professional_id"] == third
    more = [(await team.book(at(hour)))["professional_id"] for hour in (11, 12, 13)]
    assert sorted(more) == team.people


async def test_whoever_has_waited_longest(api: Api) -> None:
    """Each in turn, whatever lasts how long; a named one counts as their turn."""
    team = await new_team(api, people=3, assignment="round_robin")
    turns = [(await team.book(at(hour)))["professional_id"] for hour in (8, 9, 10)]
    assert sorted(turns) == team.people
    await team.book(at(11), professional_id=turns[0])
    assert [(await team.book(at(hour)))["professional_id"] for hour in (12, 13, 14)] == [*turns[1:], turns[0]]


async def test_only_who_is_free(api: Api) -> None:
    """Every professional is found before anybody is refused; then the answer has starts at which somebody is free."""
    team = await new_team(api, people=3)
    found = [(await team.book(at(9)))["professional_id"] for _ in team.people]
    assert sorted(found) == team.people
    refused = problem(await api.post("bookings", team.body(at(9))), "slot_unavailable")
    assert {a["start"] for a in refused["alternatives"]} <= set(await team.slots())
    await api.made(f"professionals/{team.people[0]}/time-off", {"start": at(10), "end": at(11)})
    found = [(await team.book(at(10)))["professional_id"] for _ in team.people[1:]]
    assert sorted(found) == team.people[1:]
    problem(await api.post("bookings", team.body("2020-01-01T09:00:00Z")), "in_the_past")
    problem(await api.post("bookings", team.body(at(9, 10))), "off_grid")
    problem(await api.post("bookings", team.body(at(9), service_id=team.client_id)), "not_found")


async def test_a_race_for_whoever_is_free(api: Api, db: asyncpg.Connection) -> None:
    """Fifteen at once for five professionals: five are booked, each with one of their own."""
    team = await new_team(api, people=5)
    keys = [f"{team.service_id}{i}" for i in range(15)]
    answers = await asyncio.gather(*(api.post("bookings", team.body(at(9)), key=key) for key in keys))
    booked = [a.json["professional_id"] for a in answers if a.status == 201]
    assert sorted(booked) == team.people
    again = await asyncio.gather(*(api.post("bookings", team.body(at(9)), key=key) for key in keys))
    assert [(a.status, a.json.get("id")) for a in again] == [(a.status, a.json.get("id")) for a in answers]
    assert await rows_of(db, team.people) == [(p, "confirmed", at(9)) for p in team.people]


async def test_holds_of_whoever_is_free(api: Api) -> None:
    team = await new_team(api, people=2)
    body = {"service_id": team.service_id, "start": at(9)}
    held = [await api.made("holds", body, key=f"{team.service_id}{i}") for i in range(2)]
    assert sorted(h["professional_id"] for h in held) == team.people
    assert [await api.made("holds", body, key=f"{team.service_id}{i}") for i in range(2)] == held
    problem(await api.post("holds", body), "slot_unavailable")
    problem(await api.post("bookings", team.body(at(9), hold_id=held[0]["id"])), "validation_failed", "professional_id")
    booked = await team.book(at(9), hold_id=held[0]["id"], professional_id=held[0]["professional_id"])
    assert booked["id"] == held[0]["id"]


async def test_whom_the_caller_may_book(api: Api, business_id: str) -> None:
    """A professional's own login finds only themselves; a client anybody."""
    team = await new_team(api, people=2)
    for _ in range(2):
        own = acting(api, business_id, "professional", professional_id=team.people[1])
        answer = await own.post("bookings", team.body(at(9)))
        assert answer.json.get("professional_id", team.people[1]) == team.people[1], answer
    assert answer.status == 409
    nobody = acting(api, business_id, "professional")
    problem(await nobody.post("bookings", team.body(at(9))), "forbidden")
    client = acting(api, business_id, "client", client_id=team.client_id)
    assert (await client.made("bookings", team.body(at(9))))["professional_id"] == team.people[0]


async def test_visitors_find_somebody_too(api: Api) -> None:
    """By the public page, as a guest, and only when everybody needed is free."""
    slug = (await api.get("businesses/" + await business_of(api.server.dsn))).json["slug"]
    team = await new_team(api, people=2, rooms=1, professionals_needed=2)
    visitor = api.with_token(None)
    path = f"public/{slug}"
    query = {"service_id": team.service_id, "time_zone": "UTC"}

    async def starts(**more: str) -> list[str]:
        answer = await visitor.get(f"{path}/availability", from_=DAY, to=DAY, **query, **more)
        assert answer.status == 200, answer
        return [s["start"] for s in answer.json["slots"]]

    assert at(9) in await starts()
    assert at(9) in await starts(professional_id=team.people[1])
    body = {"service_id": team.service_id, "start": at(9), "guest": {"name": "G"}}
    booked = await visitor.post(f"{path}/bookings", body)
    assert booked.status == 201, booked
    assert (booked.json["professional_ids"], booked.json["resource_ids"]) == (team.people, team.rooms)
    assert at(9) not in await starts()
    assert at(9) not in await starts(professional_id=team.people[1])
    own = await team.slots(f"professionals/{team.people[1]}/slots", service_id=team.service_id)
    assert at(9) not in own
    assert at(10) in own
