"""Webhooks over HTTP: set up by the office, told of what happens, read and repeated in the log."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from protocol import limits
from protocol.webhooks import EVENT_TYPES
from tests.jobs.targets import Target, serving
from tests.rest.helpers import NOBODY, acting, all_pages, book, new_business, problem
from tests.rest.people import audited
from tests.support.server import Api, Place, RunningServer, eventually, new_place

URL = "https://hooks.example.com/slotcast"


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with serving(Target()) as running:
        yield running


@pytest.fixture
async def shop(api: Api, server: RunningServer) -> Place:
    """In a business of its own, whose webhooks nobody else counts."""
    return await new_place(acting(api, await new_business(server.dsn), "owner"))


async def hook_to(owner: Api, target: Target, *events: str) -> Any:
    """For bookings, unless other events are named."""
    wanted = list(events) or [e for e in sorted(EVENT_TYPES) if e.startswith("booking.")]
    return await owner.made("webhooks", {"url": target.url, "events": wanted})


async def settled(owner: Api, hook: Any, count: int) -> list[Any]:
    """The log, the oldest first, once so many deliveries are at their end."""

    async def look() -> list[Any]:
        items = (await owner.get(f"webhooks/{hook['id']}/deliveries")).json["items"]
        return items if len([i for i in items if i["state"] != "waiting"]) >= count else []

    return list(reversed(await eventually(look, 20)))


async def test_bookings_reach_a_webhook(shop: Place, target: Target) -> None:
    """From the request to the target, through journal, queue and network, signed with the secret that was shown."""
    owner = shop.api
    hook = await hook_to(owner, target)
    booked = await book(shop, shop.at(9))
    await owner.post(f"bookings/{booked['id']}/cancel")
    log = await settled(owner, hook, 2)
    assert [(d["type"], d["state"], d["tries"]) for d in log] == [
        ("booking.created", "delivered", 1), ("booking.cancelled", "delivered", 1),
    ]  # fmt: skip
    said = [Webhook(hook["secret"]).verify(r.body, r.headers) for r in target.received]
    assert [s["data"]["booking"]["status"] for s in said] == ["confirmed", "cancelled"]
    for event in said:
        about = event["data"]["booking"]
        assert event["data"]["professional_id"] == shop.professional_id
        assert (about["id"], about["code"], about["client_id"]) == (booked["id"], booked["code"], shop.client_id)
        assert (about["start"], about["end"]) == (booked["start"], booked["end"])
    assert [d["event_id"] for d in log] == [r.headers["webhook-id"] for r in target.received]


async def test_holds_and_hours_reach_a_webhook(shop: Place, target: Target) -> None:
    owner = shop.api
    hook = await hook_to(owner, target, "hold.created", "hold.released", "schedule.changed")
    body = {"professional_id": shop.professional_id, "service_id": shop.service_id, "start": shop.at(9)}
    hold = await owner.made("holds", body)
    await owner.request("DELETE", f"holds/{hold['id']}")
    hours = {"time_zone": "UTC", "weekly": [{"weekday": 0, "start": "09:00", "end": "12:00"}]}
    put = await owner.request("PUT", f"professionals/{shop.professional_id}/schedule", hours)

    async def arrived() -> list[Any]:
        said = [Webhook(hook["secret"]).verify(r.body, r.headers) for r in target.received]
        # What was right before the webhook may be among it: clocks of nodes differ.
        said = [s for s in said if s["data"]["calendar_version"] > 1]
        return said if len(said) == 3 else []

    said = await eventually(arrived)
    assert [s["type"] for s in said] == ["hold.created", "hold.released", "schedule.changed"]
    placed = said[0]["data"]["hold"]
    assert (placed["id"], placed["expires_at"]) == (hold["id"], hold["expires_at"])
    assert said[2]["data"]["schedule"] == put.json
    assert "holder" not in str(said)


async def test_a_webhook_is_made_read_changed_and_removed(shop: Place) -> None:
    """Its secret is shown once and found nowhere else."""
    owner = shop.api
    made = await owner.made("webhooks", {"url": URL, "events": ["hold.expired", "booking.created", "hold.expired"]})
    assert made["events"] == ["booking.created", "hold.expired"]
    assert made["secret"].startswith("whsec_")
    path = f"webhooks/{made['id']}"
    read = await owner.get(path)
    assert read.json == made | {"secret": None}
    assert (await owner.get("webhooks")).json["items"] == [read.json]
    patched = await owner.request("PATCH", path, {"url": f"{URL}/2", "events": None, "description": "CRM"})
    assert patched.status == 200, patched
    changed = patched.json
    assert (changed["url"], changed["events"], changed["description"]) == (f"{URL}/2", None, "CRM")
    off = (await owner.request("PATCH", path, {"enabled": False})).json
    assert (off["enabled"], off["disabled_why"]) == (False, "by hand")
    on = (await owner.request("PATCH", path, {"enabled": True})).json
    assert (on["enabled"], on["disabled_at"], on["disabled_why"]) == (True, None, None)
    assert (await owner.request("DELETE", path)).status == 204
    problem(await owner.get(path), "not_found")
    problem(await owner.get(f"{path}/deliveries"), "not_found")
    assert (await owner.get("webhooks")).json["items"] == []
    entries = await audited(owner)
    assert [e["action"] for e in reversed(entries)][-5:] == [
        "webhook.made", "webhook.changed", "webhook.changed", "webhook.changed", "webhook.removed",
    ]  # fmt: skip
    assert made["secret"] not in str(entries)
    assert "/slotcast" not in str([e["after"] for e in entries]), "a path may be a secret"


async def test_a_secret_is_changed_for_another(shop: Place, target: Target) -> None:
    """Both sign for a day, or the new one alone."""
    owner = shop.api
    hook = await hook_to(owner, target)
    answer = await owner.post(f"webhooks/{hook['id']}/rotate")
    fresh = answer.json["secret"]
    assert answer.json["secret_overlaps_until"] > answer.json["updated_at"]
    assert fresh not in (hook["secret"], None)
    await owner.post(f"webhooks/{hook['id']}/test")
    await settled(owner, hook, 1)
    for secret in (hook["secret"], fresh):
        assert Webhook(secret).verify(target.received[0].body, target.received[0].headers)["type"] == "webhook.test"
    latest = (await owner.post(f"webhooks/{hook['id']}/rotate", {"overlap_hours": 0})).json["secret"]
    await owner.post(f"webhooks/{hook['id']}/test")
    await settled(owner, hook, 2)
    Webhook(latest).verify(target.received[1].body, target.received[1].headers)
    assert len(target.received[1].headers["webhook-signature"].split(" ")) == 1


async def test_the_test_button_tells_how_it_went(shop: Place, target: Target) -> None:
    """Also for a webhook that is disabled, and once only."""
    owner = shop.api
    hook = await hook_to(owner, target)
    await owner.request("PATCH", f"webhooks/{hook['id']}", {"enabled": False})
    target.answer = lambda _: web.Response(status=500, text="not today")
    begun = await owner.post(f"webhooks/{hook['id']}/test")
    assert (begun.status, begun.json["state"], begun.json["tries"]) == (202, "waiting", 0)
    await settled(owner, hook, 1)
    found = (await owner.get(begun.headers["Location"])).json
    assert (found["state"], found["tries"], found["answer"]) == ("failed", 1, "not today")
    (tried,) = found["last_tries"]
    assert (tried["status"], tried["error"]) == (500, None)
    assert found["body"]["type"] == "webhook.test"
    after = (await owner.get(f"webhooks/{hook['id']}")).json
    assert after["failing_since"] is None, "a test says nothing of what happened"
    assert len(target.received) == 1


async def test_a_delivery_is_sent_again_under_its_id(shop: Place, target: Target) -> None:
    owner = shop.api
    hook = await hook_to(owner, target)
    await book(shop, shop.at(9))
    (first,) = await settled(owner, hook, 1)
    path = f"webhooks/{hook['id']}/deliveries/{first['id']}/replay"
    key = {"key": "once"}
    answer = await owner.post(path, **key)
    assert (answer.status, answer.json["state"], answer.json["replays"]) == (202, "waiting", 1)
    assert (await owner.post(path, **key)).body == answer.body

    async def again() -> bool:
        return len(target.received) == 2

    assert await eventually(again)
    (second,) = await settled(owner, hook, 1)
    assert (second["state"], second["tries"], second["replays"], second["event_id"]) == (
        "delivered", 1, 1, first["event_id"],
    )  # fmt: skip
    assert len({(r.headers["webhook-id"], r.body) for r in target.received}) == 1
    await owner.request("PATCH", f"webhooks/{hook['id']}", {"enabled": False})
    problem(await owner.post(path), "conflict")
    problem(await owner.post(f"webhooks/{hook['id']}/deliveries/{NOBODY}/replay"), "conflict")


async def test_what_is_on_its_way_is_not_sent_twice(shop: Place, db: asyncpg.Connection) -> None:
    """A delivery that waits, because its target is in trouble; one that nobody has to do any more can be sent again."""
    owner = shop.api
    hook = await owner.made("webhooks", {"url": "http://127.0.0.1:9/"})
    await book(shop, shop.at(9))

    async def tried() -> list[Any]:
        items = (await owner.get(f"webhooks/{hook['id']}/deliveries", state="waiting")).json["items"]
        return [i for i in items if i["tries"]]

    (waiting,) = await eventually(tried)
    assert waiting["last_tries"][0]["error"] == "no connection could be made"
    assert waiting["next_try_at"] is not None
    path = f"webhooks/{hook['id']}/deliveries/{waiting['id']}/replay"
    problem(await owner.post(path), "conflict")
    await db.execute("DELETE FROM jobs WHERE key = $1", f"webhook:{waiting['id']}:0")
    assert (await owner.post(path)).status == 202
    assert (await owner.request("DELETE", f"webhooks/{hook['id']}")).status == 204


async def test_the_log_has_pages_and_filters(shop: Place, target: Target) -> None:
    owner = shop.api
    hook = await hook_to(owner, target)
    for hour in range(5):
        await book(shop, shop.at(hour))
    await owner.post(f"webhooks/{hook['id']}/test")
    log = await settled(owner, hook, 6)
    path = f"webhooks/{hook['id']}/deliveries"
    pages = await all_pages(owner, path, 2)
    assert [len(p) for p in pages] == [2, 2, 2]
    assert [d["id"] for p in pages for d in p] == [d["id"] for d in reversed(log)]
    assert len((await owner.get(path, type="webhook.test")).json["items"]) == 1
    assert (await owner.get(path, state="failed")).json["items"] == []
    problem(await owner.get(path, state="lost"), "validation_failed", "state")
    problem(await owner.get(f"{path}/{NOBODY}"), "not_found")


async def test_a_business_has_a_few_webhooks(shop: Place) -> None:
    owner = shop.api
    made = [await owner.made("webhooks", {"url": f"{URL}/{n}"}) for n in range(limits.webhooks_per_business_max)]
    problem(await owner.post("webhooks", {"url": URL}), "limit_reached")
    assert [len(p) for p in await all_pages(owner, "webhooks", 4)] == [4, 4, 2]
    await owner.request("DELETE", f"webhooks/{made[0]['id']}")
    await owner.made("webhooks", {"url": URL})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "file:///etc/passwd"), ("url", "ftp://example.com/"), ("url", "https://"), ("url", ""), ("url", None),
        ("url", "https://user:secret@example.com/"), ("url", "https://10.0.0.1/"), ("url", "https://[::1]/"),
        ("url", "https://[::ffff:10.0.0.1]/"), ("url", "https://169.254.169.254/latest/meta-data"),
        ("url", "https://example.com:5432/"), ("url", "https://a\nb.example/"), ("url", "https://x/" + "x" * 3_000),
        ("url", 7), ("events", []), ("events", ["booking.made"]), ("events", "booking.created"),
        ("events", ["booking.created"] * 50), ("description", "x" * 201), ("secret", "mine"), ("enabled", "yes"),
    ],
)  # fmt: skip
async def test_what_is_no_webhook_is_refused(shop: Place, field: str, value: Any) -> None:
    """When it is made and when it is changed, naming the field."""
    owner = shop.api
    named = {"events": "events[0]"}.get(field, field)
    # For what does not happen here: a delivery that failed would be told of.
    made = await owner.made("webhooks", {"url": URL, "events": ["waitlist.promoted"]})
    answer = await owner.post("webhooks", {"url": URL} | {field: value})
    body = problem(answer, "validation_failed")
    assert body["errors"][0]["field"] in (field, named), answer
    patched = await owner.request("PATCH", f"webhooks/{made['id']}", {field: value})
    assert problem(patched, "validation_failed")["errors"][0]["field"] in (field, named), patched
    assert (await owner.get("webhooks")).json["items"] == [made | {"secret": None}]


async def test_webhooks_are_for_the_office(shop: Place, stranger: Api, db: asyncpg.Connection) -> None:
    """Not for professionals, clients, programs, or managers of some locations; nor for another business."""
    query = "SELECT business_id FROM professionals WHERE id = $1"
    business_id = str(await db.fetchval(query, shop.professional_id))
    hook = await shop.api.made("webhooks", {"url": URL})
    for role, more in (
        ("professional", {}), ("client", {}), ("service", {}), ("manager", {"locations": frozenset({NOBODY})}),
    ):  # fmt: skip
        caller = acting(shop.api, business_id, role, **more)
        problem(await caller.get("webhooks"), "forbidden")
        problem(await caller.post("webhooks", {"url": URL}), "forbidden")
    assert (await acting(shop.api, business_id, "manager").get(f"webhooks/{hook['id']}")).status == 200
    for method, path in (
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/test"), ("GET", "/deliveries"),
    ):  # fmt: skip
        body = None if method in ("GET", "DELETE") else {}
        problem(await stranger.request(method, f"webhooks/{hook['id']}{path}", body), "not_found")


async def test_the_description_names_every_event(api: Api) -> None:
    """Whoever sets up a webhook finds there what can be asked for."""
    schemas = (await api.get("/openapi.json")).json["components"]["schemas"]
    assert set(schemas["WebhookCreate"]["properties"]["events"]["anyOf"][0]["items"]["enum"]) == EVENT_TYPES
