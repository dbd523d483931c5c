"""Services and who offers them."""

from typing import Any

import msgspec
from msgspec import UNSET

from protocol import bodies
from protocol.errors import Refused, invalid
from protocol.ids import new_id
from storage.people import Queries, stamp


def _service(row: Any) -> bodies.Service:
    return bodies.Service(
        id=str(row["id"]),
        name=row["name"],
        description=row["description"],
        duration_minutes=row["duration_minutes"],
        step_minutes=row["step_minutes"],
        buffer_before_minutes=row["buffer_before_minutes"],
        buffer_after_minutes=row["buffer_after_minutes"],
        notice_minutes=row["notice_minutes"],
        horizon_days=row["horizon_days"],
        capacity=row["capacity"],
        confirmation=row["confirmation"],
        price_minor=row["price_minor"],
        currency=row["currency"],
        version=row["version"],
        created_at=stamp(row["created_at"]),
    )


def _terms(s: Any) -> tuple[object, ...]:
    """The columns of insert and update, in their order."""
    return (
        s.name, s.description, s.duration_minutes, s.step_minutes or s.duration_minutes, s.buffer_before_minutes,
        s.buffer_after_minutes, s.notice_minutes, s.horizon_days, s.capacity, s.confirmation, s.price_minor, s.currency,
    )  # fmt: skip


async def add_service(q: Queries, business_id: str, body: bodies.ServiceCreate) -> bodies.Service:
    """The service, offered by the professionals named. Raises `Refused` for one who is not of the business."""
    if (body.price_minor is None) != (body.currency is None):
        raise invalid("currency", "price_minor and currency come together")
    service = _service(await q.row("insert_service", new_id(), business_id, *_terms(body)))
    for professional_id in body.professional_ids:
        if await q.value("link_service", business_id, professional_id, service.id) is None:
            raise invalid("professional_ids", f"{professional_id} is no professional of this business")
    return service


async def service_by_id(q: Queries, business_id: str, service_id: str) -> bodies.Service:
    row = await q.row("service_by_id", business_id, service_id)
    if row is None:
        raise Refused("not_found", "there is no such service")
    return _service(row)


async def list_services(
    q: Queries,
    business_id: str,
    after: str | None,
    limit: int,
    professional_id: str | None = None,
    *,
    deleted: bool = False,
) -> list[bodies.Service]:
    if professional_id is None:
        rows = await q.fetch("list_services", business_id, after, limit, deleted)
    else:
        rows = await q.fetch("list_services_of", business_id, after, limit, professional_id)
    return [_service(r) for r in rows]


async def patch_service(
    q: Queries, business_id: str, service_id: str, body: bodies.ServicePatch
) -> tuple[bodies.Service, bodies.Service]:
    """The service as it was, and as it is."""
    row = await q.row("service_for_update", business_id, service_id)
    if row is None:
        raise Refused("not_found", "there is no such service")
    given = {f: v for f in body.__struct_fields__ if (v := getattr(body, f)) is not UNSET}
    before = _service(row)
    merged = msgspec.structs.replace(before, **given)
    if (merged.price_minor is None) != (merged.currency is None):
        raise invalid("currency", "price_minor and currency come together")
    return before, _service(await q.row("update_service", business_id, service_id, *_terms(merged)))


async def delete_service(q: Queries, business_id: str, service_id: str) -> None:
    if await q.value("delete_service", business_id, service_id) is None:
        raise Refused("not_found", "there is no such service")


async def restore_service(q: Queries, business_id: str, service_id: str) -> bodies.Service:
    if await q.value("restore_service", business_id, service_id) is None:
        raise Refused("not_found", "there is no such service")
    return await service_by_id(q, business_id, service_id)


async def offering(q: Queries, business_id: str, service_id: str) -> list[str]:
    """The ids of the professionals who offer a service."""
    return [r["professional_id"] for r in await q.fetch("professionals_offering", business_id, service_id)]


async def link(q: Queries, business_id: str, professional_id: str, service_id: str) -> None:
    if await q.value("link_service", business_id, professional_id, service_id) is None:
        raise Refused("not_found", "there is no such professional or service")


async def unlink(q: Queries, business_id: str, professional_id: str, service_id: str) -> None:
    if await q.value("unlink_service", business_id, professional_id, service_id) is None:
        raise Refused("not_found", "this professional does not offer that service")
