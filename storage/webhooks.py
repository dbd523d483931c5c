"""Webhooks and their deliveries, as rows and as the bodies REST answers with."""

from typing import Any

import orjson
from msgspec import UNSET

from protocol import limits
from protocol import webhooks as said
from protocol.errors import Refused
from protocol.ids import new_id
from storage.people import Queries, stamp


def _webhook(row: Any) -> said.Webhook:
    def when(name: str) -> str | None:
        return stamp(row[name]) if row[name] is not None else None

    return said.Webhook(
        id=str(row["id"]),
        url=row["url"],
        description=row["description"],
        events=row["events"],
        enabled=row["disabled_at"] is None,
        disabled_at=when("disabled_at"),
        disabled_why=row["disabled_why"],
        failing_since=when("failing_since"),
        secret_overlaps_until=when("overlaps_until"),
        created_by=row["created_by"],
        created_at=stamp(row["created_at"]),
        updated_at=stamp(row["updated_at"]),
    )


def _found(row: Any) -> Any:
    if row is None:
        raise Refused("not_found", "there is no such webhook")
    return row


async def add(q: Queries, business_id: str, body: said.WebhookCreate, by: str, now_us: int) -> said.Webhook:
    """Raises `Refused(limit_reached)`."""
    if await q.value("count_webhooks", business_id) >= limits.webhooks_per_business_max:
        raise Refused("limit_reached", f"a business has at most {limits.webhooks_per_business_max} webhooks")
    events = _sorted(body.events)
    row = await q.row("insert_webhook", new_id(), business_id, body.url, body.description, events, by, now_us)
    return _webhook(row)


async def list_all(q: Queries, business_id: str, after: str | None, limit: int) -> list[said.Webhook]:
    return [_webhook(r) for r in await q.fetch("list_webhooks", business_id, after, limit)]


async def by_id(q: Queries, business_id: str, webhook_id: str) -> said.Webhook:
    return _webhook(_found(await q.row("webhook_by_id", business_id, webhook_id)))


async def patch(
    q: Queries, business_id: str, webhook_id: str, body: said.WebhookPatch
) -> tuple[said.Webhook, said.Webhook]:
    """Before and after. Failures are forgotten with another target, and when it is enabled again."""
    before = _webhook(_found(await q.row("webhook_for_update", business_id, webhook_id)))
    url = before.url if body.url is UNSET else body.url
    enabled = before.enabled if body.enabled is UNSET else body.enabled
    row = await q.row(
        "update_webhook",
        business_id,
        webhook_id,
        url,
        before.description if body.description is UNSET else body.description,
        before.events if body.events is UNSET else _sorted(body.events),
        enabled,
        url != before.url or (enabled and not before.enabled),
    )
    return before, _webhook(row)


async def rotate(q: Queries, business_id: str, webhook_id: str, overlap_hours: int) -> tuple[said.Webhook, int]:
    """The webhook, and the generation of its new secret."""
    row = _found(await q.row("rotate_webhook", business_id, webhook_id, overlap_hours))
    return _webhook(row), row["generation"]


async def delete(q: Queries, business_id: str, webhook_id: str) -> said.Webhook:
    return _webhook(_found(await q.row("delete_webhook", business_id, webhook_id)))


def _sorted(events: list[Any] | None) -> list[str] | None:
    return sorted(set(events)) if events is not None else None


# Deliveries


def _delivery(row: Any) -> said.Delivery:
    return said.Delivery(
        id=row["id"],
        event_id=row["event_id"],
        type=row["type"],
        professional_id=row["calendar_id"],
        state=row["state"],
        tries=row["tries"],
        replays=row["replays"],
        last_tries=[said.DeliveryTry(**entry) for entry in orjson.loads(row["last_tries"])],
        next_try_at=stamp(row["next_try_at"]) if row["next_try_at"] is not None else None,
        created_at=stamp(row["created_at"]),
        body=orjson.loads(row["body"]) if row["body"] is not None else None,
        answer=row["answer"],
    )


async def list_deliveries(
    q: Queries, business_id: str, webhook_id: str, state: str | None, kind: str | None, after: str | None, limit: int
) -> list[said.Delivery]:
    rows = await q.fetch("list_deliveries", business_id, webhook_id, state, kind, after, limit)
    return [_delivery(r) for r in rows]


async def delivery_by_id(q: Queries, business_id: str, webhook_id: str, delivery_id: str) -> said.Delivery:
    row = await q.row("delivery_by_id", business_id, webhook_id, delivery_id)
    if row is None:
        raise Refused("not_found", "there is no such delivery")
    return _delivery(row)


async def replay(q: Queries, business_id: str, webhook_id: str, delivery_id: str) -> said.Delivery:
    """Ready to be sent again. Raises `Refused(conflict)` for one that is on its way."""
    await delivery_by_id(q, business_id, webhook_id, delivery_id)
    if await q.row("replay_delivery", business_id, webhook_id, delivery_id) is None:
        raise Refused("conflict", "this delivery is on its way already")
    return await delivery_by_id(q, business_id, webhook_id, delivery_id)
