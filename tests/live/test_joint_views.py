"""Services that take several calendars, watched and booked over live: what is shown open can be booked by all."""

from typing import Any

from tests.live.conftest import Connect
from tests.rest.teams import DAY, Team, at, new_team
from tests.support.live import LiveClient, Replica
from tests.support.server import Api


async def _watch(client: LiveClient, team: Team, **more: Any) -> Replica:
    told = await client.subscribe(service_id=team.service_id, from_=DAY, to=DAY, time_zone="UTC", **more)
    return client.views[told["view"]]


async def _agrees(client: LiveClient, team: Team, replica: Replica) -> None:
    wanted = await team.slots()
    await client.until(lambda: replica.starts("open") == wanted)
    assert replica.gaps == []


async def test_one_view_of_all_that_is_needed(api: Api, connect: Connect) -> None:
    """It follows bookings, rooms' time off, cancellations, and what is booked of one of those needed elsewhere."""
    team = await new_team(api, people=2, rooms=1, professionals_needed=2)
    client = await connect()
    replica = await _watch(client, team)
    assert replica.professional_id is None
    assert len(replica.slots) == 48
    await _agrees(client, team, replica)
    booked = await team.book(at(9))
    await client.until(lambda: replica.state(at(9)) == "booked")
    await _agrees(client, team, replica)
    off = {"start": at(11), "end": at(12)}
    blocked = await api.made(f"professionals/{team.rooms[0]}/time-off", off)
    await client.until(lambda: replica.state(at(11)) == "booked")
    await _agrees(client, team, replica)
    await api.post(f"bookings/{booked['id']}/cancel")
    await client.until(lambda: replica.state(at(9)) == "open")
    await api.request("DELETE", f"professionals/{team.rooms[0]}/time-off/{blocked['id']}")
    await client.until(lambda: replica.state(at(11)) == "open")
    await api.made(f"professionals/{team.people[1]}/time-off", off)
    await client.until(lambda: replica.state(at(11)) in ("booked", "blocked"))
    held = await api.made("holds", {"service_id": team.service_id, "start": at(14)})
    await client.until(lambda: replica.state(at(14)) == "held")
    assert replica.slots[at(14)]["held_until"] == held["expires_at"]
    await _agrees(client, team, replica)


async def test_with_a_professional_who_has_to_take_part(api: Api, connect: Connect) -> None:
    team = await new_team(api, people=3, professionals_needed=2)
    client = await connect()
    mine = await _watch(client, team, professional_id=team.people[2])
    any_two = await _watch(client, team)
    await team.book(at(9), professional_ids=team.people[1:])
    await client.until(lambda: mine.state(at(9)) == "booked" == any_two.state(at(9)))
    await team.book(at(10), professional_ids=team.people[:2])
    await client.until(lambda: mine.state(at(10)) == "booked" == any_two.state(at(10)))
    await api.made(f"professionals/{team.people[0]}/time-off", {"start": at(11), "end": at(12)})
    assert mine.state(at(11)) == any_two.state(at(11)) == "open"
    problem = await client.problem(
        "subscribe", service_id=team.service_id, professional_id=team.service_id, from_=DAY, to=DAY
    )
    assert problem["code"] == "service_not_offered"


async def test_commands_that_name_nobody(api: Api, connect: Connect) -> None:
    """The same over live as over REST, by visitors too."""
    team = await new_team(api, people=2, rooms=1, professionals_needed=2)
    client = await connect()
    held = await client.done("hold", service_id=team.service_id, start=at(9))
    assert (held["professional_ids"], held["resource_ids"]) == (team.people, team.rooms)
    booked = await client.done("book", **team.body(at(9), hold_id=held["id"], professional_id=held["professional_id"]))
    assert booked["professional_ids"] == team.people
    moved = await client.done("reschedule", booking_id=booked["id"], start=at(12))
    assert moved["start"] == at(12)
    problem = await client.problem("book", **team.body(at(12)))
    assert problem["code"] == "slot_unavailable"
    assert at(12) not in [a["start"] for a in problem["alternatives"]]
    visitor = await connect(origin=api.server.url)
    replica = await _watch(visitor, team)
    guest = {"service_id": team.service_id, "start": at(15), "guest": {"name": "G"}}
    assert (await visitor.done("book", **guest))["professional_ids"] == team.people
    await visitor.until(lambda: replica.state(at(15)) == "booked")
    assert (await client.done("cancel", booking_id=booked["id"]))["status"] == "cancelled"
    await visitor.until(lambda: replica.state(at(12)) == "open")
