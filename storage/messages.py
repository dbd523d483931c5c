"""What was sent to whom, and how people want to be told."""

from collections.abc import Sequence
from typing import Any

import msgspec

from protocol import limits
from protocol import messages as said
from protocol.errors import Refused
from storage.people import Queries, stamp


class MessageFilter(msgspec.Struct, kw_only=True):
    """`None` is no filter."""

    kind: str | None = None
    channel: str | None = None
    outcome: str | None = None
    booking_id: str | None = None
    client_id: str | None = None


async def list_messages(
    q: Queries, business_id: str, f: MessageFilter, after: str | None, limit: int
) -> list[said.Message]:
    """The newest first."""
    rows = await q.fetch(
        "list_messages", business_id, after, limit, f.kind, f.channel, f.outcome, f.booking_id, f.client_id
    )
    return [_message(r) for r in rows]


async def messages_of_client(q: Queries, business_id: str, client_id: str) -> list[said.Message]:
    """All of them. Raises `Refused(limit_reached)` rather than leave some out."""
    most = limits.export_messages_max
    found = await list_messages(q, business_id, MessageFilter(client_id=client_id), None, most + 1)
    if len(found) > most:
        raise Refused("limit_reached", f"more than {most} messages; read them with GET messages?client_id=…")
    return found


def _message(row: Any) -> said.Message:
    return said.Message(
        id=row["id"],
        kind=row["kind"],
        channel=None if row["channel"] == "none" else row["channel"],
        address=row["address"],
        language=row["language"],
        booking_id=row["booking_id"],
        client_id=row["client_id"],
        user_id=row["user_id"],
        outcome=row["outcome"],
        error=row["error"],
        tries=row["tries"],
        created_at=stamp(row["created_at"]),
        updated_at=stamp(row["updated_at"]),
    )


async def preferences(q: Queries, business_id: str, client_id: str) -> said.Preferences:
    return _preferences(await q.row("preferences_of_client", business_id, client_id))


async def set_preferences(q: Queries, business_id: str, client_id: str, body: said.PreferencesPut) -> said.Preferences:
    return _preferences(await q.row("set_preferences_of_client", business_id, client_id, body.reminders, body.channel))


def _preferences(row: Any) -> said.Preferences:
    if row is None:
        raise Refused("not_found", "there is no such client")
    return said.Preferences(client_id=row["client_id"], reminders=row["reminders"], channel=row["channel"])


async def unsubscribe(q: Queries, client_id: str) -> bool:
    """Whether there is such a client."""
    return await q.value("unsubscribe_client", client_id) is not None


async def reminders(q: Queries, business_id: str, service_id: str) -> said.Reminders:
    return _reminders(await q.value("reminders_of_service", business_id, service_id))


async def set_reminders(q: Queries, business_id: str, service_id: str, minutes: Sequence[int]) -> said.Reminders:
    return _reminders(await q.value("set_reminders_of_service", business_id, service_id, minutes))


def _reminders(minutes: list[int] | None) -> said.Reminders:
    if minutes is None:
        raise Refused("not_found", "there is no such service")
    return said.Reminders(minutes=sorted(minutes, reverse=True))


async def chat_callback(q: Queries, business_id: str) -> str | None:
    return await q.value("chat_callback_of", business_id)


async def set_chat_callback(q: Queries, business_id: str, url: str | None) -> None:
    if await q.value("set_chat_callback", business_id, url) is None:
        raise Refused("not_found", "there is no such business")


async def erase_messages(q: Queries, business_id: str, client_id: str) -> None:
    """Where they went; that they went stays. What the client wished goes, too."""
    await q.fetch("erase_messages_of_client", business_id, client_id)
