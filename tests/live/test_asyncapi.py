"""The description of the live protocol is about this protocol."""

from typing import get_args

import jsonschema
import msgspec
import pytest

from protocol import live
from tests.live.conftest import Connect
from tests.support.live import Contract
from tests.support.server import Place, RunningServer

RECEIVED = [t.__struct_config__.tag for t in get_args(live.AnyClientMessage)]
SENT = [t.__struct_config__.tag for t in get_args(live.AnyServerMessage)]


def _resolve(document: dict, ref: str) -> dict:  # type: ignore[type-arg]
    found = document
    for part in ref.removeprefix("#/").split("/"):
        found = found[part]
    return found


def _refs(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [r for v in node.values() for r in _refs(v)]
    return [r for v in node for r in _refs(v)] if isinstance(node, list) else []


async def test_it_names_every_message_and_every_reference_resolves(contract: Contract) -> None:
    document = contract.document
    assert document["asyncapi"] == "3.0.0"
    assert set(document["components"]["messages"]) == {*RECEIVED, *SENT}
    channel = document["channels"]["live"]
    assert channel["address"] == "/api/v1/live"
    assert set(channel["messages"]) == {*RECEIVED, *SENT}
    operations = document["operations"]
    for name, tags in (("receive", RECEIVED), ("send", SENT)):
        assert operations[name]["action"] == name
        assert [m["$ref"].rsplit("/", 1)[1] for m in operations[name]["messages"]] == tags
    refs = _refs(document)
    assert len(refs) > 40
    for ref in refs:
        assert _resolve(document, ref)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for code in live.Close:
        assert str(code.value) in document["info"]["description"]


async def test_it_would_catch_a_message_that_is_not_as_described(contract: Contract) -> None:
    good = {"type": "delta", "view": "v", "from_version": 1, "version": 2, "changes": []}
    contract.validate(good)
    slot = {"start": "x", "end": "y", "state": "open", "remaining": 1}
    for bad in (
        {**good, "version": "2"},
        {**good, "changes": [{**slot, "state": "free"}]},
        {k: v for k, v in good.items() if k != "view"},
        {"type": "ping", "id": "x", "extra": 1},
        {"type": "ping", "id": ""},
    ):
        with pytest.raises(jsonschema.ValidationError):
            contract.validate(bad)


async def test_real_messages_of_every_kind_are_as_described(
    connect: Connect, place: Place, server: RunningServer, contract: Contract
) -> None:
    """Every message of these tests is checked as it comes; here they all come."""
    body = {"name": "By approval", "duration_minutes": 30, "confirmation": "approval"}
    service = await place.api.made(f"professionals/{place.professional_id}/services", body)
    client = await connect()
    replica, told = await client.rewatch(place, time_zone="Europe/Berlin", since=0)
    await client.done("auth", token=place.api.token)
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
    held = await client.done("hold", **hold, ttl_seconds=60, attendees=1, client_id=place.client_id)
    await client.done("release", hold_id=held["id"], idempotency_key="a")
    booked = await client.done(
        "book", **{**place.booking(place.at(9), attendees=1, notes="x"), "service_id": service["id"]}
    )
    await client.problem("book", **place.booking(place.at(9)))
    await client.done("confirm", booking_id=booked["id"], if_version=1, idempotency_key="b")
    await client.done("reschedule", booking_id=booked["id"], start=place.at(11), idempotency_key="c")
    await client.done("cancel", booking_id=booked["id"], reason="ill", idempotency_key="d")
    series = {**hold, "start": place.at(10), "rrule": "FREQ=DAILY;COUNT=2", "client_id": place.client_id}
    await client.done("book_series", **series, idempotency_key="e")
    waiting = {"service_id": place.service_id, "professional_id": place.professional_id, "client_id": place.client_id}
    await client.done("wait", **waiting, **{"from": place.at(10), "to": place.at(10, 30)}, idempotency_key="f")
    await place.api.request(
        "PUT",
        f"professionals/{place.professional_id}/schedule",
        {"time_zone": "UTC", "weekly": [{"weekday": d, "start": "09:00", "end": "12:00"} for d in range(7)]},
    )
    await client.until(lambda: len(replica.slots) == 6)
    await client.done("ping")
    await client.done("unsubscribe", subscription=told["id"])
    # `goodbye` is looked at where a server ends; `moved` needs a second node.
    assert {*RECEIVED, *SENT} - {"goodbye", "moved"} <= set(contract.seen)
    for message in (live.Goodbye(reconnect_after_ms=500), live.Moved(view="v")):
        contract.validate(msgspec.to_builtins(message))
