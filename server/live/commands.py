"""Live commands: the same desk as REST, the same bodies and problems."""

import hashlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from actors.calendar import commands as cmd
from actors.ports import IdempotencyKey
from protocol import live
from protocol.errors import Refused, invalid
from protocol.times import bounded_us
from server import permissions
from server.desk import Asker
from server.live.viewing import Visitor, principal_for, principal_for_service
from server.principal import Principal, role_of
from server.throttle import Spent
from storage import bookings

if TYPE_CHECKING:
    from server.node import Node

_encode = msgspec.json.Encoder().encode

_Making: TypeAlias = live.Hold | live.Book | live.BookSeries | live.Wait

_QUOTAS: Final[dict[type[live.LiveCommand], str]] = {
    live.Hold: "holds",
    live.Book: "bookings",
    live.BookSeries: "bookings",
    live.Wait: "bookings",
}

NEEDS: Final[dict[type[live.LiveCommand], str]] = {
    live.Hold: "bookings.make",
    live.Release: "bookings.make",
    live.Book: "bookings.make",
    live.BookSeries: "bookings.make",
    live.Wait: "bookings.make",
    live.Confirm: "bookings.decide",
    live.Cancel: "bookings.change",
    live.Reschedule: "bookings.change",
}
"""The permission of each command; how far it goes is judged where the calendar or booking is known."""


async def perform(node: "Node", visitor: Visitor, message: live.LiveCommand, request_id: str) -> Any:
    """The `result` of a command's reply. Raises `Refused`."""
    node.admit()
    permissions.reach(visitor.principal or permissions.GUEST, NEEDS[type(message)])
    await count(node, visitor, message)
    if isinstance(message, _Making):
        principal = await _principal(node, visitor, message)
        language = visitor.accepts if visitor.principal is None else None
        asker = Asker(principal, request_id, _key(principal, message), visitor.request, language)
        if isinstance(message, live.Hold):
            return await node.desk.hold(asker, message)
        if isinstance(message, live.Book):
            return await node.desk.book(asker, message)
        if isinstance(message, live.BookSeries):
            return await node.series.book(asker, message)
        return await _wait(node, asker, message)
    if isinstance(message, live.Release):
        return await _release(node, visitor, message, request_id)
    return await _change(node, visitor, message, request_id)


async def _principal(node: "Node", visitor: Visitor, message: _Making) -> Principal:
    if isinstance(message, live.BookSeries):
        return await principal_for(node, visitor, message.professional_id)
    if message.offering_code is not None:
        offered = await node.desk.offerings.of_code(message.offering_code)
        return await principal_for(node, visitor, offered.professional_id)
    calendar_id = message.professional_id
    if calendar_id is None and not isinstance(message, live.Wait):
        calendar_id = next(iter(message.professional_ids), None)
    if calendar_id is not None:
        return await principal_for(node, visitor, calendar_id)
    if message.service_id is None:
        raise invalid("service_id", "is needed, unless an offering_code says it")
    return await principal_for_service(node, visitor, message.service_id)


async def _wait(node: "Node", asker: Asker, message: live.Wait) -> Any:
    """The key is stored with the entry: both are there or neither."""
    async with node.database.transaction() as tx:
        if asker.key is not None:
            stored = await node.keys.claim(tx, asker.key, asker.principal.business_id)
            if stored is not None:
                return msgspec.Raw(stored.body)
        made = await node.waiting.join(tx, asker, message)
        if asker.key is not None:
            await node.keys.keep(tx, asker.key, 201, _encode(made), {})
    return made


async def count(node: "Node", visitor: Visitor, message: live.LiveCommand | live.Subscribe) -> None:
    """As the edge counts requests. Raises `Refused(rate_limited)`."""
    principal = visitor.principal
    if principal is not None and principal.role not in node.throttle.bound:
        return
    if isinstance(message, live.Subscribe):
        await node.throttle.spend("views", visitor.network if principal is None else principal.subject)
    else:
        await node.throttle.admit(Spent(), principal, visitor.network, _QUOTAS.get(type(message)))


async def _release(node: "Node", visitor: Visitor, message: live.Release, request_id: str) -> None:
    principal = visitor.principal
    if principal is None:
        row = await bookings.find_hold(node.database, message.hold_id)
        if row is None:
            raise Refused("not_found", "there is no such hold")
        principal = await principal_for(node, visitor, row.calendar_id)
    await node.desk.release(Asker(principal, request_id, _key(principal, message)), message.hold_id)


async def _change(
    node: "Node", visitor: Visitor, message: live.Confirm | live.Cancel | live.Reschedule, request_id: str
) -> Any:
    token = None if isinstance(message, live.Confirm) else message.manage_token
    row = await node.desk.find(visitor.principal, message.booking_id, NEEDS[type(message)], token)
    principal = visitor.principal or Principal(row.body.id, row.business_id, "public", 0.0)
    command: cmd.Command
    reason = message.reason if isinstance(message, live.Cancel) else ""
    if isinstance(message, live.Confirm):
        command = cmd.Confirm(row.body.id, message.if_version)
    elif isinstance(message, live.Cancel):
        command = cmd.Cancel(row.body.id, role_of(principal, message.on_behalf_of), message.if_version)
    else:
        start = bounded_us("start", message.start)
        command = cmd.Reschedule(
            row.body.id, start, message.if_version, hold_id=message.hold_id, double=message.double_booking
        )
    asker = Asker(principal, request_id, _key(principal, message, row.body.id), visitor.request)
    return await node.desk.change(asker, row, command, reason)


def _key(principal: Principal, message: live.LiveCommand, booking_id: str = "") -> IdempotencyKey | None:
    """The fingerprint leaves out the message's id, which is new when a command is sent again.

    A guest's keys for a booking are of that booking, as over REST.
    """
    if message.idempotency_key is None:
        return None
    same = msgspec.structs.replace(message, id="-", idempotency_key=None)
    scope = f"{principal.scope}:{booking_id}" if booking_id and principal.role == "public" else principal.scope
    return IdempotencyKey(scope, message.idempotency_key, hashlib.blake2b(_encode(same), digest_size=16).digest())
