"""The audit log: who did what, before and after, from where."""

import asyncpg
import pytest

from tests.rest.helpers import acting, all_pages, book, new_business, problem
from tests.rest.people import audited, member, super_admin
from tests.support.server import Api, RunningServer, new_place


@pytest.fixture
async def business(server: RunningServer) -> str:
    return await new_business(server.dsn)


@pytest.fixture
async def owner(api: Api, business: str) -> Api:
    return acting(api, business, "owner")


@pytest.mark.parity("C13")
async def test_every_administrative_act_is_written_down(api: Api, db: asyncpg.Connection, business: str) -> None:
    """By whom, from where, in which request, on what."""
    owner, user_id, _ = await member(api, db, business, "owner")
    token = await owner.made("service-tokens", {"name": "bot"})
    location = await owner.made("locations", {"name": "Main"})
    ban = await owner.made("ban-list", {"phone": "+49 30 1234567"})
    headers = {"User-Agent": "the owner's browser", "X-Request-ID": "my-request"}
    await owner.request("PATCH", f"businesses/{business}", {"name": "New"}, headers=headers)
    await owner.request("DELETE", f"service-tokens/{token['id']}")
    await owner.request("DELETE", f"locations/{location['id']}")
    await owner.request("DELETE", f"ban-list/{ban['id']}")
    entries = await audited(owner)
    assert [(e["action"], e["what_id"]) for e in reversed(entries)] == [
        ("token.issued", token["id"]), ("location.made", location["id"]), ("ban.made", ban["id"]),
        ("business.changed", business), ("token.revoked", token["id"]), ("location.removed", location["id"]),
        ("ban.lifted", ban["id"]),
    ]  # fmt: skip
    assert {e["by"] for e in entries} == {f"user:{user_id}"}
    assert {e["business_id"] for e in entries} == {business}
    changed = entries[3]
    assert (changed["user_agent"], changed["request_id"], changed["address"]) == (
        "the owner's browser", "my-request", "127.0.0.1",
    )  # fmt: skip
    assert (changed["before"], changed["after"]) == ({"name": "Another one"}, {"name": "New"})
    assert token["token"] not in str(entries)


@pytest.mark.parity("C13")
async def test_forced_time_off_is_written_down_once(owner: Api) -> None:
    """Also when it is asked for again under its key; what blocks nothing is no administrative act."""
    place = await new_place(owner)
    await book(place, place.at(9))
    path = f"professionals/{place.professional_id}/time-off"
    span = {"start": place.at(9), "end": place.at(10)}
    problem(await owner.post(path, span), "time_off_conflict")
    for _ in range(2):
        made = await owner.post(path, span | {"force": True, "description": "flood"}, key="flood")
        assert made.status == 201
    await owner.made(path, {"start": place.at(20), "end": place.at(21)})
    entries = await audited(owner, action="time_off.forced")
    assert [(e["what_id"], e["after"]["description"]) for e in entries] == [(made.json["id"], "flood")]


async def test_what_was_refused_is_not_written_down(owner: Api, db: asyncpg.Connection) -> None:
    """The entry is part of the act."""
    location = await owner.made("locations", {"name": "Main"})
    await owner.made("professionals", {"display_name": "P", "location_id": location["id"]})
    before = await audited(owner)
    problem(await owner.request("DELETE", f"locations/{location['id']}"), "conflict")
    problem(await owner.post("locations", {"name": ""}), "validation_failed")
    assert await audited(owner) == before


async def test_the_log_is_filtered_and_paged(owner: Api, api: Api, business: str) -> None:
    """The newest first."""
    made = [await owner.made("locations", {"name": f"L{n}"}) for n in range(5)]
    other = acting(api, business, "owner", subject="another-owner")
    await other.request("PATCH", f"locations/{made[0]['id']}", {"name": "x"})
    pages = await all_pages(owner, "audit", 2)
    assert [len(p) for p in pages] == [2, 2, 2]
    assert [e["what_id"] for p in pages for e in p] == [made[0]["id"], *[m["id"] for m in reversed(made)]]
    assert len(await audited(owner, action="location.made")) == 5
    assert [e["action"] for e in await audited(owner, by="user:another-owner")] == ["location.changed"]
    assert len(await audited(owner, what_id=made[0]["id"])) == 2
    today = (await audited(owner))[0]["at"][:10]
    assert len(await audited(owner, date_from=today, date_to="2099-01-01")) == 6
    assert await audited(owner, date_to="2001-01-01") == []
    for bad in (
        {"date_from": "x"},
        {"action": ""},
        {"by": "\0"},
        {"what_id": "\x7f"},
        {"colour": "x"},
        {"business_id": "x"},
    ):
        problem(await owner.get("audit", **bad), "validation_failed")


@pytest.mark.parity("C13")
async def test_owners_read_their_own_log_and_super_admins_all(
    owner: Api, api: Api, stranger: Api, db: asyncpg.Connection, business: str
) -> None:
    made = await owner.made("locations", {"name": "Main"})
    assert await audited(stranger) == []
    problem(await stranger.get("audit", business_id=business), "not_found")
    admin = await super_admin(api, db)
    assert [e["what_id"] for e in await audited(admin, business_id=business)] == [made["id"]]
    assert [e["business_id"] for e in await audited(admin, what_id=made["id"])] == [business]
    for role in ("manager", "professional", "client", "service"):
        problem(await acting(api, business, role).get("audit"), "forbidden")
