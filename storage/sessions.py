"""Sessions of users, one row per sign-in."""

from collections.abc import Sequence
from typing import Any

import msgspec

from protocol import limits
from protocol import people as said
from storage.people import Queries, stamp


class Refreshing(msgspec.Struct, frozen=True):
    """A session whose refresh token was shown, locked. `just_used`: its last refresh was moments ago."""

    user_id: str
    business_id: str | None
    seed: bytes
    generation: int
    over: bool
    just_used: bool


async def add_session(
    q: Queries,
    session_id: str,
    user_id: str,
    business_id: str | None,
    seed: bytes,
    address: str | None,
    user_agent: str | None,
) -> list[str]:
    """Keeps the session; the ids of the oldest ones that had to end for it."""
    await q.value(
        "insert_session", session_id, user_id, business_id, seed, address, user_agent, limits.refresh_token_ttl_s
    )
    return _ids(await q.fetch("end_oldest_sessions", user_id, limits.sessions_per_user_max))


async def session_for_refresh(q: Queries, session_id: str) -> Refreshing | None:
    row = await q.row("session_for_refresh", session_id, limits.refresh_grace_s)
    return Refreshing(*row) if row else None


async def advance(q: Queries, session_id: str) -> int:
    """The session's new generation; it lasts the whole time again."""
    return await q.value("advance_session", session_id, limits.refresh_token_ttl_s)


async def list_sessions(
    q: Queries, user_id: str, current: str | None, after: str | None, limit: int
) -> list[said.Session]:
    return [
        said.Session(
            id=row["id"],
            business_id=row["business_id"],
            address=row["address"],
            user_agent=row["user_agent"],
            created_at=stamp(row["created_at"]),
            used_at=stamp(row["used_at"]),
            expires_at=stamp(row["expires_at"]),
            current=row["id"] == current,
        )
        for row in await q.fetch("list_sessions", user_id, after, limit)
    ]


async def end_sessions(
    q: Queries,
    user_id: str,
    why: str,
    *,
    business_id: str | None = None,
    only: str | None = None,
    but: str | None = None,
) -> list[str]:
    """The ids of the sessions that ended: all of the user, of one business, one alone, or all but one."""
    return _ids(await q.fetch("end_sessions", user_id, business_id, only, but, why))


async def revoked(q: Queries) -> tuple[list[str], list[str]]:
    """Tokens that were revoked, and sessions that ended while an access token of theirs may still be good."""
    tokens = await q.fetch("revoked_tokens")
    return _ids(tokens), _ids(await q.fetch("sessions_ended_lately", limits.access_token_ttl_s))


def _ids(rows: Sequence[Any]) -> list[str]:
    return [row["id"] for row in rows]
