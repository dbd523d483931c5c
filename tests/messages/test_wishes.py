"""What people wish to be told, and who may see what was."""

import uuid

import asyncpg
import pytest

from server.auth import Auth
from server.messaging import unsubscribe_token
from tests.messages.mailbox import Mailbox
from tests.messages.test_mails import guest, jobs_done
from tests.messages.test_reminders import made_due, planned_at
from tests.messages.test_ways import told
from tests.rest.helpers import acting, problem
from tests.support.server import SECRET, Api, Place, eventually


async def test_reminders_stop_by_one_click_and_nothing_else_does(
    place: Place, mailbox: Mailbox, address: str, db: asyncpg.Connection
) -> None:
    """As a mail program posts it: without a login, with a form for a body; again it changes nothing."""
    booked = await place.api.made("bookings", place.booking(place.at(9), guest=guest(address)))
    await planned_at(db, booked["id"], [(place.at(9, day=-1), 1440), (place.at(7), 120)])
    await made_due(db, booked["id"], 1440)
    _, mail = await mailbox.wait(address, 2)
    path = mail["List-Unsubscribe"].strip("<>").removeprefix("https://book.example.com")
    anyone = place.api.with_token(None)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for _ in range(2):
        answer = await anyone.request("POST", path, raw=b"List-Unsubscribe=One-Click", headers=form)
        assert answer.status == 204, answer
    wishes = await place.api.get(f"clients/{booked['client_id']}/preferences")
    assert wishes.json == {"client_id": booked["client_id"], "reminders": False, "channel": None}
    await made_due(db, booked["id"], 120)
    assert await told(place.api, booked["id"], outcome="skipped") == [(None, "skipped")]
    assert (await place.api.post(f"bookings/{booked['id']}/cancel")).status == 200
    mails = await mailbox.wait(address, 3)
    assert await eventually(lambda: jobs_done(place.api, booked["id"]))
    assert [m["Subject"].split(":")[0] for m in mails] == ["Confirmed", "Reminder", "Cancelled"]


async def test_looking_at_the_link_changes_nothing(place: Place) -> None:
    """Programs that look for viruses do."""
    token = unsubscribe_token(Auth(SECRET), place.client_id)
    answer = await place.api.with_token(None).get(f"unsubscribe/{token}")
    assert answer.status == 405
    assert (await place.api.get(f"clients/{place.client_id}/preferences")).json["reminders"] is True


@pytest.mark.parametrize("kind", ["another", "cut", "bare", "garbage", "nobody", "not ASCII"])
async def test_a_link_of_ones_own_making_is_none(place: Place, kind: str) -> None:
    good = unsubscribe_token(Auth(SECRET), place.client_id)
    bad = {
        "another": unsubscribe_token(Auth("x" * 40), place.client_id),
        "cut": good[:-1],
        "bare": place.client_id,
        "garbage": "a.b.c",
        "nobody": unsubscribe_token(Auth(SECRET), str(uuid.uuid4())),
        "not ASCII": f"{place.client_id}.%C3%A9",
    }[kind]
    problem(await place.api.with_token(None).post(f"unsubscribe/{bad}"), "not_found")
    assert (await place.api.get(f"clients/{place.client_id}/preferences")).json["reminders"] is True


async def test_clients_say_what_they_wish_themselves(place: Place, as_client: Api, stranger: Api) -> None:
    """For themselves alone; the business may say it for them, another business may not."""
    path = f"clients/{place.client_id}/preferences"
    put = await as_client.request("PUT", path, {"reminders": False, "channel": "chat"})
    assert put.json == {"client_id": place.client_id, "reminders": False, "channel": "chat"}
    assert (await place.api.get(path)).json == put.json
    assert (await place.api.request("PUT", path, {"reminders": True})).json["channel"] is None
    other = (await place.api.made("clients", {"first_name": "x"}))["id"]
    for api, about in ((as_client, other), (stranger, place.client_id), (place.api, str(uuid.uuid4()))):
        problem(await api.get(f"clients/{about}/preferences"), "not_found")
        problem(await api.request("PUT", f"clients/{about}/preferences", {"reminders": True}), "not_found")
    for bad in ({}, {"reminders": None}, {"reminders": True, "channel": "pigeon"}, {"reminders": True, "x": 1}, []):
        problem(await place.api.request("PUT", path, bad), "validation_failed")


async def test_who_reads_what_was_sent(place: Place, as_client: Api, stranger: Api, business_id: str) -> None:
    """Owners, and managers of the whole business, of their own business."""
    booked = await place.api.made("bookings", place.booking(place.at(9)))
    assert await told(place.api, booked["id"]) == [(None, "skipped")]
    manager = acting(place.api, business_id, "manager")
    assert len((await manager.get("messages", booking_id=booked["id"])).json["items"]) == 1
    assert (await stranger.get("messages", booking_id=booked["id"])).json["items"] == []
    limited = acting(place.api, business_id, "manager", locations=frozenset({str(uuid.uuid4())}))
    for api in (as_client, limited, acting(place.api, business_id, "service")):
        problem(await api.get("messages"), "forbidden")
    for query in ({"kind": "x"}, {"channel": "x"}, {"outcome": "x"}, {"booking_id": "x"}, {"limit": 0}, {"x": 1}):
        problem(await place.api.get("messages", **query), "validation_failed")


async def test_messages_are_read_page_by_page(place: Place) -> None:
    """The newest first, each once."""
    for hour in range(9, 14):
        await place.api.made("bookings", place.booking(place.at(hour)))

    async def there() -> bool:
        return len((await place.api.get("messages", client_id=place.client_id)).json["items"]) == 5

    assert await eventually(there)
    seen, cursor = [], {}
    while True:
        page = (await place.api.get("messages", client_id=place.client_id, limit=2, **cursor)).json
        seen += [m["id"] for m in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert len(seen) == 5
    assert seen == sorted(set(seen), reverse=True)
