"""What can go wrong, said once: code → HTTP status → title → may the caller simply try again.

A refusal made by a calendar, a REST problem and a live reply use the same codes.
"""

import re
from typing import Any, Final, NamedTuple

import msgspec

_FIELD_AT: Final = re.compile(r" - at `\$?\.?(.*)`$")
_FIELD_NAMED: Final = re.compile(r"(?:unknown|required) field `(.*)`")


class Kind(NamedTuple):
    status: int
    title: str
    may_retry: bool = False


KINDS: Final[dict[str, Kind]] = {
    # The request itself
    "malformed_body": Kind(400, "The body is not valid JSON"),
    "malformed_request": Kind(400, "The request is not valid"),
    "validation_failed": Kind(422, "A field has a value that is not allowed"),
    "unsupported_media_type": Kind(415, "The body must be application/json"),
    "body_too_large": Kind(413, "The body is too large"),
    "method_not_allowed": Kind(405, "This method is not allowed here"),
    "invalid_cursor": Kind(400, "The cursor is not one this list gave out"),
    # Who asks
    "unauthorized": Kind(401, "A valid token is needed"),
    "forbidden": Kind(403, "This token may not do that"),
    "not_found": Kind(404, "There is no such thing here"),
    "conflict": Kind(409, "It conflicts with what exists"),
    "business_required": Kind(409, "Say which business to sign in to"),
    "rate_limited": Kind(429, "Too many requests", may_retry=True),
    # What the state of a business does not allow
    "business_pending": Kind(409, "The business has not been approved yet"),
    "business_suspended": Kind(409, "The business takes no bookings"),
    "trial_over": Kind(409, "The business's trial period has ended"),
    # What a business's rules do not allow
    "banned": Kind(403, "This person may not book here"),
    "too_late_to_cancel": Kind(409, "It is too late to cancel or move this booking"),
    # Idempotency and versions
    "idempotency_mismatch": Kind(422, "This Idempotency-Key was used with another request"),
    "version_mismatch": Kind(412, "The booking has changed since that version"),
    "calendar_changed": Kind(409, "The calendar has changed since that version"),
    # What a calendar refuses
    "slot_unavailable": Kind(409, "That time is taken"),
    "outside_hours": Kind(422, "That time is outside working hours"),
    "off_grid": Kind(422, "No slot starts at that time"),
    "in_the_past": Kind(422, "That time has passed"),
    "too_soon": Kind(422, "That time is inside the minimum notice"),
    "beyond_horizon": Kind(422, "That time is further ahead than bookings are taken"),
    "too_many_attendees": Kind(422, "More attendees than one session can hold"),
    "service_not_offered": Kind(422, "This professional does not offer that service"),
    "duration_not_offered": Kind(422, "The service does not last that long"),
    "cap_reached": Kind(409, "No more of these meetings are taken on that day or in that week"),
    "already_booked": Kind(409, "This person or device has booked already"),
    "identity_required": Kind(422, "Say who books: an e-mail address, or a device token too"),
    "answers_required": Kind(422, "Questions of this service have not been answered"),
    "hold_gone": Kind(409, "The hold has ended or never was"),
    "hold_limit": Kind(429, "Too many holds at once", may_retry=True),
    "invalid_transition": Kind(409, "The booking's status does not allow that"),
    "not_yet": Kind(409, "That is possible only once the booking has started"),
    "time_off_conflict": Kind(409, "There are bookings in that period"),
    "schedule_conflict": Kind(409, "There are bookings outside these hours"),
    "series_conflict": Kind(409, "Some of these times cannot be booked"),
    "limit_reached": Kind(409, "A limit of this calendar is reached"),
    # The server
    "overloaded": Kind(503, "Too much work is waiting", may_retry=True),
    "unavailable": Kind(503, "The database cannot be reached; nothing was changed", may_retry=True),
    "draining": Kind(503, "This node is shutting down", may_retry=True),
    "deadline_exceeded": Kind(503, "The answer was not ready in time; nothing was changed", may_retry=True),
    "unknown_outcome": Kind(503, "It is not known whether this was done", may_retry=True),
    "internal_error": Kind(500, "Something went wrong on our side"),
    # Live only
    "unknown_message": Kind(400, "There is no such message"),
    "too_many_subscriptions": Kind(429, "Too many subscriptions on one connection"),
    "not_subscribed": Kind(404, "There is no such subscription"),
    # The journal
    "events_gone": Kind(410, "Events after that version are no longer kept"),
    # Ownership
    "moved": Kind(503, "The calendar has moved to another node", may_retry=True),
}


class FieldError(msgspec.Struct, frozen=True):
    """One field of the request: `field` is a dotted path, `message` says what was expected."""

    field: str
    message: str


class Refused(Exception):
    """Raised wherever a request ends without doing what it asked; carries what the caller is told.

    `extra` holds members beside the standard ones, for example `alternatives` and `calendar_version`.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: tuple[FieldError, ...] = (),
        retry_after_s: int | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s
        self.extra = extra

    @property
    def kind(self) -> Kind:
        return KINDS[self.code]


def invalid(field: str, message: str) -> Refused:
    """A 422 that names one field."""
    return Refused("validation_failed", f"{field}: {message}", errors=(FieldError(field, message),))


def not_valid(text: str) -> Refused:
    """The 422 for what msgspec says of a value that does not fit its type; names the field where it does."""
    at = _FIELD_AT.search(text)
    field = at[1] if at else ""
    message = _FIELD_AT.sub("", text)
    if "matching regex" in message:
        message = "has characters or a form that is not allowed"
    named = _FIELD_NAMED.search(message)
    if named:
        field = f"{field}.{named[1]}" if field else named[1]
    detail = f"{field}: {message}" if field else message
    return Refused("validation_failed", detail, errors=(FieldError(field, message),))


def problem(refused: Refused, request_id: str) -> dict[str, Any]:
    """The RFC 9457 members of a refusal, ready to encode; used by REST and by live replies alike."""
    kind = refused.kind
    body: dict[str, Any] = {
        "type": f"urn:slotcast:problem:{refused.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": refused.detail or kind.title,
        "code": refused.code,
        "request_id": request_id,
    }
    if refused.errors:
        body["errors"] = [{"field": e.field, "message": e.message} for e in refused.errors]
    if refused.extra:
        body.update(refused.extra)
    if retry_after_s(refused) is not None:
        body["retry_after_s"] = retry_after_s(refused)
    return body


def retry_after_s(refused: Refused) -> int | None:
    """Seconds to wait before the same request may succeed; `None` when waiting does not help."""
    if refused.retry_after_s is not None:
        return refused.retry_after_s
    return 1 if refused.kind.may_retry else None
