"""Bodies about what is kept: the audit log, a client's data, and counts of the platform."""

from typing import Any

from protocol.bodies import Answer, Booking, Client
from protocol.messages import Message, Preferences


class AuditEntry(Answer, kw_only=True):
    """`by` did `action` to the `what` of id `what_id`. `before` and `after` have the fields that changed."""

    id: str
    at: str
    business_id: str | None
    by: str
    action: str
    what: str
    what_id: str | None
    before: Any
    after: Any
    address: str | None
    user_agent: str | None
    request_id: str


class ClientBan(Answer, kw_only=True):
    id: str
    reason: str | None
    created_at: str


class ClientExport(Answer, kw_only=True):
    """Everything a business holds about a client."""

    exported_at: str
    client: Client
    user_id: str | None
    bookings: list[Booking]
    bans: list[ClientBan]
    preferences: Preferences
    messages: list[Message]


class Statistics(Answer, kw_only=True):
    """People and businesses as of now; bookings by the day they were made, `date_from` to `date_to`, in UTC."""

    date_from: str
    date_to: str
    businesses: dict[str, int]
    users: int
    professionals: int
    clients: int
    bookings: dict[str, int]
