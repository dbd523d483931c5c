"""Webhooks: addresses that hear of a business's events, and the log of what they were told."""

import hashlib
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from jobs import deliveries
from jobs.webhook_events import test_event
from protocol import bodies
from protocol import webhooks as said
from protocol.errors import Refused
from protocol.ids import new_id
from server import audit
from server.config import Settings
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.targets import Targets
from server.webhooks import secret_of, targets_of
from storage import webhooks


class DeliveriesQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    state: said.DeliveryState | None = None
    type: bodies.Name | None = None


@cache
def _targets(settings: Settings) -> Targets:
    return targets_of(settings)


async def create_webhook(call: Call[said.WebhookCreate, Any]) -> Reply:
    """Takes no Idempotency-Key: to answer twice, the secret would have to be stored in clear."""
    _targets(call.node.settings).check(call.body.url)
    made = await webhooks.add(call.tx, call.business_id, call.body, call.principal.label, call.node.clock.now_us())
    await audit.record(call, "webhook.made", "webhook", made.id, after=_told(made))
    made.secret = secret_of(call.node.auth, made.id, 1)
    return Reply(made, 201, {"Location": f"/api/v1/webhooks/{made.id}"})


async def list_webhooks(call: Call[Any, PageQuery]) -> dict[str, Any]:
    auth, q = call.node.auth, call.query
    position = decode_cursor(auth, "webhooks", q.cursor)
    items = await webhooks.list_all(
        call.node.database, call.business_id, position[0] if position else None, q.limit + 1
    )
    return page(auth, "webhooks", items, q.limit)


async def read_webhook(call: Call[Any, Any]) -> said.Webhook:
    return await webhooks.by_id(call.node.database, call.business_id, call.id("id"))


async def patch_webhook(call: Call[said.WebhookPatch, Any]) -> said.Webhook:
    if isinstance(call.body.url, str):
        _targets(call.node.settings).check(call.body.url)
    before, after = await webhooks.patch(call.tx, call.business_id, call.id("id"), call.body)
    await audit.record(call, "webhook.changed", "webhook", after.id, before=_told(before), after=_told(after))
    return after


async def delete_webhook(call: Call[Any, Any]) -> None:
    """What is on its way to it is not sent any more."""
    gone = await webhooks.delete(call.tx, call.business_id, call.id("id"))
    await audit.record(call, "webhook.removed", "webhook", gone.id, before=_told(gone))


async def rotate_webhook(call: Call[said.WebhookRotate, Any]) -> said.Webhook:
    """Takes no Idempotency-Key, as `create_webhook`."""
    found, generation = await webhooks.rotate(call.tx, call.business_id, call.id("id"), call.body.overlap_hours)
    await audit.record(
        call, "webhook.rotated", "webhook", found.id, after={"overlaps_until": found.secret_overlaps_until}
    )
    found.secret = secret_of(call.node.auth, found.id, generation)
    return found


async def test_webhook(call: Call[bodies.Empty, Any]) -> Reply:
    """Also while it is disabled. It is tried once; the log tells how it went."""
    found = await webhooks.by_id(call.tx, call.business_id, call.id("id"))
    event = test_event(found.id, call.business_id, new_id(), call.node.clock.now_us())
    job = await deliveries.add_test(call.tx, found.id, event)
    await call.node.queue.put([job], call.tx)
    made = await webhooks.delivery_by_id(call.tx, call.business_id, found.id, job.payload["delivery_id"])
    return Reply(made, 202, {"Location": f"/api/v1/webhooks/{found.id}/deliveries/{made.id}"})


async def list_deliveries(call: Call[Any, DeliveriesQuery]) -> dict[str, Any]:
    """The newest first."""
    auth, q = call.node.auth, call.query
    found = await webhooks.by_id(call.node.database, call.business_id, call.id("id"))
    position = decode_cursor(auth, "deliveries", q.cursor)
    items = await webhooks.list_deliveries(
        call.node.database,
        call.business_id,
        found.id,
        q.state,
        q.type,
        position[0] if position else None,
        q.limit + 1,
    )
    return page(auth, "deliveries", items, q.limit)


async def read_delivery(call: Call[Any, Any]) -> said.Delivery:
    return await webhooks.delivery_by_id(call.node.database, call.business_id, call.id("id"), call.id("delivery_id"))


async def replay_delivery(call: Call[bodies.Empty, Any]) -> Reply:
    """Behind what waits for the same calendar, under the same `webhook-id`."""
    found = await webhooks.by_id(call.tx, call.business_id, call.id("id"))
    if not found.enabled:
        raise Refused("conflict", "the webhook is disabled")
    again = await webhooks.replay(call.tx, call.business_id, found.id, call.id("delivery_id"))
    line = again.professional_id or again.event_id
    job = deliveries.job(again.id, found.id, call.business_id, line, again.replays)
    await call.node.queue.put([job], call.tx)
    return Reply(again, 202)


def _told(webhook: said.Webhook) -> dict[str, Any]:
    """For the audit log. The path of a URL may be a secret; that it was another one shows."""
    parts = urlsplit(webhook.url)
    known_by = hashlib.sha256(webhook.url.encode()).hexdigest()[:8]
    return {
        "target": f"{parts.scheme}://{parts.hostname} ({known_by})",
        "events": webhook.events,
        "description": webhook.description,
        "enabled": webhook.enabled,
    }


def routes(node: Any) -> list[Endpoint]:
    p, needs, area = "/api/v1/webhooks", "webhooks.manage", "webhooks"
    one, log = p + "/{id}", p + "/{id}/deliveries"
    return [
        Endpoint(node, "POST", p, create_webhook, needs=needs, status=201, tx=True, keyed=False,
                 summary="Send the business's events to an address", answer=said.Webhook, body=said.WebhookCreate,
                 errors=("limit_reached",), area=area),
        Endpoint(node, "GET", p, list_webhooks, needs=needs, summary="List webhooks", answer=list[said.Webhook],
                 query=PageQuery, area=area),
        Endpoint(node, "GET", one, read_webhook, needs=needs, summary="Read a webhook", answer=said.Webhook, area=area),
        Endpoint(node, "PATCH", one, patch_webhook, needs=needs, tx=True, answer=said.Webhook, body=said.WebhookPatch,
                 summary="Change a webhook, switch it off or on again", area=area),
        Endpoint(node, "DELETE", one, delete_webhook, needs=needs, status=204, tx=True, keyed=False,
                 summary="Remove a webhook", area=area),
        Endpoint(node, "POST", one + "/rotate", rotate_webhook, needs=needs, tx=True, keyed=False,
                 summary="A new secret; the one before signs as well for a while", answer=said.Webhook,
                 body=said.WebhookRotate, area=area),
        Endpoint(node, "POST", one + "/test", test_webhook, needs=needs, status=202, tx=True, answer=said.Delivery,
                 summary="Send something that means nothing", body=bodies.Empty, area=area),
        Endpoint(node, "GET", log, list_deliveries, needs=needs, summary="What was sent, the newest first",
                 answer=list[said.Delivery], query=DeliveriesQuery, area=area),
        Endpoint(node, "GET", log + "/{delivery_id}", read_delivery, needs=needs, area=area,
                 summary="Read a delivery: body, tries and answer", answer=said.Delivery),
        Endpoint(node, "POST", log + "/{delivery_id}/replay", replay_delivery, needs=needs, status=202, tx=True,
                 summary="Send a delivery again", answer=said.Delivery, body=bodies.Empty, errors=("conflict",),
                 area=area),
    ]  # fmt: skip
