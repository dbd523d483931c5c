"""Service tokens, clients and professionals, as rows and as the bodies REST answers with."""

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import UNSET

from actors.placement import shard_of
from protocol import bodies
from protocol.errors import Refused
from protocol.ids import new_id
from protocol.times import format_us, to_us


class Queries(Protocol):
    """What `Database` and `Transaction` have in common."""

    async def fetch(self, query: str, *args: object) -> Sequence[Any]: ...
    async def row(self, query: str, *args: object) -> Any: ...
    async def value(self, query: str, *args: object) -> Any: ...


def _token(row: Any, token: str | None = None) -> bodies.ServiceToken:
    return bodies.ServiceToken(
        id=row["id"],
        name=row["name"],
        role=row["role"],
        scopes=row["scopes"],
        created_at=stamp(row["created_at"]),
        expires_at=stamp(row["expires_at"]),
        revoked_at=stamp(row["revoked_at"]) if row["revoked_at"] else None,
        token=token,
    )


async def add_service_token(
    q: Queries, token_id: str, business_id: str, body: bodies.ServiceTokenCreate, expires_us: int, by: str
) -> bodies.ServiceToken:
    return _token(
        await q.row("insert_service_token", token_id, business_id, body.name, body.role, expires_us, body.scopes, by)
    )


async def list_service_tokens(q: Queries, business_id: str, after: str | None, limit: int) -> list[bodies.ServiceToken]:
    return [_token(r) for r in await q.fetch("list_service_tokens", business_id, after, limit)]


def client_of_row(row: Any) -> bodies.Client:
    return bodies.Client(
        id=row["id"],
        first_name=row["first_name"],
        last_name=row["last_name"],
        email=row["email"],
        phone_number=row["phone"],
        chat_id=row["chat_id"],
        guest=row["guest"],
        created_at=stamp(row["created_at"]),
        updated_at=stamp(row["updated_at"]),
        locale=row["locale"],
    )


async def add_client(
    q: Queries, business_id: str, body: bodies.ClientCreate, compared_by: Sequence[str | None]
) -> tuple[bodies.Client, bool]:
    """The client and whether it is new: a known `chat_id` gives the client who has it, unchanged.

    `compared_by` is the one spelling of e-mail and phone.
    """
    row = await q.row(
        "insert_client", new_id(), business_id, body.first_name, body.last_name, body.email, body.phone_number,
        body.chat_id, *compared_by, body.locale,
    )  # fmt: skip
    if row is not None:
        return client_of_row(row), True
    return client_of_row(await q.row("client_by_chat_id", business_id, body.chat_id)), False


async def client_by_id(q: Queries, business_id: str, client_id: str) -> bodies.Client:
    row = await q.row("client_by_id", business_id, client_id)
    if row is None:
        raise Refused("not_found", "there is no such client")
    return client_of_row(row)


async def list_clients(
    q: Queries, business_id: str, after: str | None, limit: int, *, deleted: bool = False
) -> list[bodies.Client]:
    return [client_of_row(r) for r in await q.fetch("list_clients", business_id, after, limit, deleted)]


async def delete_client(q: Queries, business_id: str, client_id: str) -> str | None:
    """The id of the user who was that client, if any."""
    user_id = await q.value("delete_client", business_id, client_id)
    if user_id is None:
        raise Refused("not_found", "there is no such client")
    return user_id or None


async def restore_client(q: Queries, business_id: str, client_id: str) -> bodies.Client:
    row = await q.row("restore_client", business_id, client_id)
    if row is None:
        raise Refused("not_found", "there is no such client")
    return client_of_row(row)


async def patch_client(
    q: Queries, business_id: str, client_id: str, body: bodies.ClientPatch, compared_by: Sequence[str | None]
) -> bodies.Client:
    given, values = _given(body.first_name, body.last_name, body.email, body.phone_number, body.locale)
    row = await q.row("update_client", business_id, client_id, *given, *values, *compared_by)
    if row is None:
        raise Refused("not_found", "there is no such client")
    return client_of_row(row)


def _professional(row: Any) -> bodies.Professional:
    return bodies.Professional(
        id=row["id"],
        display_name=row["display_name"],
        kind=row["kind"],
        time_zone=row["time_zone"],
        specialisation=row["specialisation"],
        bio=row["bio"],
        username=row["username"],
        phone_number=row["phone"],
        location_id=row["location_id"],
        created_at=stamp(row["created_at"]),
    )


async def add_professional(
    q: Queries, business_id: str, body: bodies.ProfessionalCreate, time_zone: str, shard_count: int
) -> bodies.Professional:
    """A professional and the calendar of the same id."""
    new = new_id()
    await q.value(
        "insert_professional", new, business_id, body.display_name, body.specialisation, body.bio, body.username,
        body.phone_number, body.location_id, body.kind,
    )  # fmt: skip
    await q.value("insert_calendar", new, business_id, shard_of(new, shard_count), time_zone)
    return await professional_by_id(q, business_id, new)


async def professional_by_id(q: Queries, business_id: str, professional_id: str) -> bodies.Professional:
    row = await q.row("professional_by_id", business_id, professional_id)
    if row is None:
        raise Refused("not_found", "there is no such professional")
    return _professional(row)


async def list_professionals(
    q: Queries,
    business_id: str,
    after: str | None,
    limit: int,
    *,
    location_id: str | None = None,
    service_id: str | None = None,
    kind: str | None = None,
    deleted: bool = False,
) -> list[bodies.Professional]:
    rows = await q.fetch("list_professionals", business_id, after, limit, location_id, service_id, deleted, kind)
    return [_professional(r) for r in rows]


async def delete_professional(q: Queries, business_id: str, professional_id: str) -> None:
    if await q.value("delete_professional", business_id, professional_id) is None:
        raise Refused("not_found", "there is no such professional")
    if await q.value("has_bookings_ahead", professional_id):
        raise Refused("conflict", "there are bookings ahead; cancel them or let them pass first")


async def restore_professional(q: Queries, business_id: str, professional_id: str) -> bodies.Professional:
    if await q.value("restore_professional", business_id, professional_id) is None:
        raise Refused("not_found", "there is no such professional")
    return await professional_by_id(q, business_id, professional_id)


async def patch_professional(
    q: Queries, business_id: str, professional_id: str, body: bodies.ProfessionalPatch
) -> bodies.Professional:
    given, values = _given(body.display_name, body.specialisation, body.bio, body.phone_number, body.location_id)
    if await q.value("update_professional", business_id, professional_id, *given, *values) is None:
        raise Refused("not_found", "there is no such professional")
    return await professional_by_id(q, business_id, professional_id)


def _given(*fields: Any) -> tuple[list[bool], list[Any]]:
    """For a patch: which fields are given, and their values with `None` for the others."""
    return [f is not UNSET for f in fields], [None if f is UNSET else f for f in fields]


def stamp(moment: Any) -> str:
    """A timestamp of the database as the API writes it."""
    return format_us(to_us(moment))
