"""Codes that prove an address, and tokens that tell devices apart. Neither is kept in clear."""

from typing import Literal

import msgspec

from storage.people import Queries

Kind = Literal["email", "phone"]


class Code(msgspec.Struct, frozen=True):
    """A code that was tried. `user_id` is whose address it proves, if anybody's."""

    user_id: str | None
    kind: Kind
    target: str
    code_hash: bytes


async def add_code(
    q: Queries, code_id: str, kind: Kind, target: str, code_hash: bytes, user_id: str | None, ttl_s: int
) -> None:
    await q.value("insert_code", code_id, kind, target, code_hash, user_id, ttl_s)


async def try_code(q: Queries, code_id: str, tries_max: int) -> Code | None:
    """Counts a try; `None` when there are none left, or no such code."""
    row = await q.row("try_code", code_id, tries_max)
    return Code(*row) if row else None


async def use_code(q: Queries, code_id: str) -> bool:
    return await q.value("use_code", code_id) is not None


async def mark_verified(q: Queries, user_id: str, kind: Kind, target: str) -> None:
    await q.value("mark_verified", user_id, kind, target)


async def add_device(
    q: Queries, device_id: str, token_hash: bytes, user_id: str | None, address: str | None, user_agent: str | None
) -> None:
    await q.value("insert_device", device_id, token_hash, user_id, address, user_agent)


async def see_device(
    q: Queries, token_hash: bytes, user_id: str | None, address: str | None, user_agent: str | None
) -> bool:
    """Whether there is such a device; it is kept for longer then."""
    return await q.value("see_device", token_hash, user_id, address, user_agent) is not None
