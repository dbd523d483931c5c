"""Services and who offers them."""

from typing import Any

import msgspec
import orjson
from msgspec import UNSET

from protocol import limits, services
from protocol.errors import Refused, invalid
from protocol.ids import new_id
from storage import locations
from storage.people import Queries, stamp

_decode_questions = msgspec.json.Decoder(list[services.Question]).decode
_encode = msgspec.json.Encoder().encode


def _service(row: Any) -> services.Service:
    return services.Service(
        id=str(row["id"]),
        name=row["name"],
        description=row["description"],
        duration_minutes=row["duration_minutes"],
        durations_minutes=row["durations_minutes"],
        step_minutes=row["step_minutes"],
        buffer_before_minutes=row["buffer_before_minutes"],
        buffer_after_minutes=row["buffer_after_minutes"],
        notice_minutes=row["notice_minutes"],
        horizon_days=row["horizon_days"],
        capacity=row["capacity"],
        daily_cap=row["daily_cap"],
        weekly_cap=row["weekly_cap"],
        confirmation=row["confirmation"],
        cancellation_notice_minutes=row["cancellation_notice_minutes"],
        reschedule_notice_minutes=row["reschedule_notice_minutes"],
        price_minor=row["price_minor"],
        currency=row["currency"],
        questions=_decode_questions(row["questions"]),
        assignment=row["assignment"],
        location_ids=[str(i) for i in row["location_ids"]],
        professionals_needed=row["professionals_needed"],
        resources=orjson.loads(row["resources"]),
        version=row["version"],
        created_at=stamp(row["created_at"]),
    )


def _terms(s: services.ServiceCreate | services.Service) -> tuple[object, ...]:
    """The columns of insert and update, in their order."""
    return (
        s.name, s.description, s.duration_minutes, s.step_minutes or s.duration_minutes, s.buffer_before_minutes,
        s.buffer_after_minutes, s.notice_minutes, s.horizon_days, s.capacity, s.confirmation, s.price_minor, s.currency,
        s.durations_minutes, s.daily_cap, s.weekly_cap, s.cancellation_notice_minutes, s.reschedule_notice_minutes,
        _encode(s.questions).decode(), s.assignment, s.location_ids, s.professionals_needed,
        _encode(s.resources).decode(),
    )  # fmt: skip


async def _check(q: Queries, business_id: str, s: services.ServiceCreate | services.Service) -> None:
    """Raises `Refused(validation_failed)` for fields that do not go together, or name what is not there."""
    if (s.price_minor is None) != (s.currency is None):
        raise invalid("currency", "price_minor and currency come together")
    if len(set(s.durations_minutes)) < len(s.durations_minutes):
        raise invalid("durations_minutes", "names one twice")
    _check_questions(s.questions)
    if s.location_ids:
        await locations.check(q, business_id, s.location_ids)
    several = s.professionals_needed - 1 + len(s.resources)
    if several > limits.parts_per_meeting_max:
        raise invalid("resources", f"a meeting takes up at most {limits.parts_per_meeting_max} other calendars")
    if several and s.capacity > 1:
        raise invalid("capacity", "must be 1 where a meeting takes several calendars")
    wanted = [resource for group in s.resources for resource in group]
    if len(set(wanted)) < len(wanted):
        raise invalid("resources", "names one twice")
    found = {r["id"] for r in await q.fetch("resources_among", business_id, wanted)} if wanted else set()
    for resource in wanted:
        if resource not in found:
            raise invalid("resources", f"{resource} is no resource of this business")


def _check_questions(questions: list[services.Question]) -> None:
    for i, question in enumerate(questions):
        if question.id in (earlier.id for earlier in questions[:i]):
            raise invalid(f"questions[{i}].id", "stands there twice")
        if (question.kind == "choice") != bool(question.options):
            raise invalid(f"questions[{i}].options", "a choice has options, and nothing else has")
        if len(set(question.options)) < len(question.options):
            raise invalid(f"questions[{i}].options", "names one twice")


async def add_service(q: Queries, business_id: str, body: services.ServiceCreate) -> services.Service:
    """The service, offered by the professionals named. Raises `Refused` for one who is not of the business."""
    await _check(q, business_id, body)
    service = _service(await q.row("insert_service", new_id(), business_id, *_terms(body)))
    for professional_id in body.professional_ids:
        if await q.value("link_service", business_id, professional_id, service.id) is None:
            raise invalid("professional_ids", f"{professional_id} is no professional of this business")
    return service


async def questions_of(q: Queries, business_id: str, service_id: str) -> list[services.Question]:
    """What the service asks of who books it; an offering asks nothing."""
    found = await q.value("questions_of_service", business_id, service_id)
    return _decode_questions(found) if found else []


async def service_by_id(q: Queries, business_id: str, service_id: str) -> services.Service:
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
) -> list[services.Service]:
    if professional_id is None:
        rows = await q.fetch("list_services", business_id, after, limit, deleted)
    else:
        rows = await q.fetch("list_services_of", business_id, after, limit, professional_id)
    return [_service(r) for r in rows]


async def patch_service(
    q: Queries, business_id: str, service_id: str, body: services.ServicePatch
) -> tuple[services.Service, services.Service]:
    """The service as it was, and as it is."""
    row = await q.row("service_for_update", business_id, service_id)
    if row is None:
        raise Refused("not_found", "there is no such service")
    given = {f: v for f in body.__struct_fields__ if (v := getattr(body, f)) is not UNSET}
    before = _service(row)
    merged = msgspec.structs.replace(before, **given)
    await _check(q, business_id, merged)
    return before, _service(await q.row("update_service", business_id, service_id, *_terms(merged)))


async def delete_service(q: Queries, business_id: str, service_id: str) -> None:
    if await q.value("delete_service", business_id, service_id) is None:
        raise Refused("not_found", "there is no such service")


async def restore_service(q: Queries, business_id: str, service_id: str) -> services.Service:
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
