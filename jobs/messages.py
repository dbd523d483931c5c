"""Sends messages: the handler of jobs of the kinds `message` and `code`.

A message goes to each of its recipients by the first way that takes it. What came of it is kept under an id that
follows from the job, so that a job done again sends to nobody a second time; only what was sent and could not be
written down any more goes out twice, under the same id.
"""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from actors.ports import Clock
from jobs import facts, texts
from jobs.channels import Undeliverable
from jobs.database import Queries
from jobs.facts import Booking, Person
from jobs.invitation import invitation
from jobs.mail import Invitation, plain
from jobs.outgoing import AboutBooking, Payload, ToAddress, ToOwners, ToStaff
from jobs.queue import Hopeless, Job, Later
from jobs.sealed import Sealed
from jobs.texts import Texts
from jobs.ways import Links, Message, Ways
from protocol import limits
from protocol.errors import Refused
from protocol.languages import Language, choose
from protocol.times import format_us

log = logging.getLogger("slotcast.messages")

_METHODS: Final = {
    "confirmation": "REQUEST", "pending": "REQUEST", "approved": "REQUEST", "rescheduled": "REQUEST",
    "cancelled": "CANCEL", "rejected": "CANCEL", "expired": "CANCEL",
}  # fmt: skip
"""What a message means for the calendar of whoever gets it."""
_ENDED: Final = frozenset({"cancelled", "rejected", "expired"})
_ERROR_CHARS_MAX: Final = 500


class Messages:
    def __init__(self, database: Queries, text: Texts, ways: Ways, links: Links, sealed: Sealed, clock: Clock) -> None:
        self._database = database
        self._texts = text
        self._ways = ways
        self._links = links
        self._sealed = sealed
        self._clock = clock

    async def handle(self, job: Job) -> None:
        try:
            payload = msgspec.convert(job.payload, Payload)
        except msgspec.ValidationError as error:
            # A node of a later version, which has put it in, may have it the next time. So below.
            raise Later(f"the payload is none of a message: {error}") from None
        if payload.message not in self._texts.kinds:
            raise Later(f"there is no text for {payload.message}")
        if isinstance(payload, AboutBooking):
            await self._about_booking(job, payload)
        elif isinstance(payload, ToStaff):
            await self._to_staff(job, payload)
        elif isinstance(payload, ToOwners):
            await self._to_owners(job, payload)
        else:
            await self._to_address(job, payload)

    # To whom, and about what

    async def _about_booking(self, job: Job, payload: AboutBooking) -> None:
        if job.business_id is None:
            raise Hopeless("a message about a booking names its business")
        booking = await facts.booking(self._database, job.business_id, payload.booking_id)
        if booking is None or (person := booking.client) is None:
            # A hold that has ended, or a client who is gone: there is nobody to tell.
            return
        kind, business = payload.message, booking.business
        start = booking.start if payload.start is None else payload.start
        if kind == "reminder":
            if booking.status != "confirmed" or booking.start != start or self._clock.now_us() >= start:
                return
            if not person.reminders:
                await self._keep(job, kind, business.id, "none", person, booking.id, "skipped", "unsubscribed")
                return
        end = start + (booking.end - booking.start if payload.duration is None else payload.duration)
        language = choose(person.locale, person.spoken, None, business.locale)
        manage = self._links.manage(booking) if booking.by_guest and kind not in _ENDED and booking.code else ""
        stop = self._links.unsubscribe(person.client_id) if kind == "reminder" and person.client_id else None
        fields = _facts(booking, person, start, language) | {
            "professional": plain(booking.professional),
            "phone": plain(booking.location_phone or ""),
            "price": texts.price(booking.price_minor, booking.currency, language),
            "reason": plain(booking.reason or "") if kind in ("cancelled", "rejected") else "",
            "manage_url": manage,
            "unsubscribe_url": stop.page if stop else "",
        }
        if kind == "waitlist_hold":
            until = payload.expires_at or booking.expires_at
            if until is None or self._clock.now_us() >= until:
                return
            fields["until"] = texts.when(until, booking.time_zone, language)
        await self._send(
            job,
            person,
            Message(
                kind=kind,
                business=business,
                language=language,
                said=self._texts.render(kind, language, fields),
                booking_id=booking.id,
                booking_code=booking.code,
                start=start,
                end=end,
                one_click=stop.one_click if stop else None,
                invitation=self._invitation(payload, booking, person, start, end, fields),
            ),
        )

    def _invitation(
        self, payload: AboutBooking, booking: Booking, person: Person, start: int, end: int, fields: Mapping[str, Any]
    ) -> Invitation | None:
        method, mail = _METHODS.get(payload.message), self._ways.mail
        if method is None or mail is None or person.email is None:
            return None
        return invitation(
            method=method,
            booking_id=booking.id,
            sequence=payload.version,
            start=start,
            end=end,
            now=self._clock.now_us(),
            tentative=payload.message == "pending" or booking.status == "pending",
            summary=f"{booking.service}, {booking.business.name}",
            # Not the link: calendars are shown to others.
            description="\n".join(f for f in (fields["professional"], fields["booking_code"]) if f),
            place=fields["place"],
            organizer=(booking.business.name, mail.sender),
            attendee=(person.name, person.email),
        )

    async def _to_staff(self, job: Job, payload: ToStaff) -> None:
        if job.business_id is None:
            raise Hopeless("a message about a booking names its business")
        booking = await facts.booking(self._database, job.business_id, payload.booking_id)
        person = await facts.staff(self._database, payload.calendar_id)
        if booking is None or person is None or (payload.message == "staff_requested" and booking.status != "pending"):
            return
        start = booking.start if payload.start is None else payload.start
        language = choose(person.locale, None, None, booking.business.locale)
        fields = _facts(booking, person, start, language) | {
            "client": plain(booking.client.name) if booking.client else "",
            "reason": plain(booking.reason or "") if payload.message == "staff_cancelled" else "",
        }
        message = Message(
            kind=payload.message,
            business=booking.business,
            language=language,
            said=self._texts.render(payload.message, language, fields),
            booking_id=booking.id,
            booking_code=booking.code,
            start=start,
            end=start + (booking.end - booking.start if payload.duration is None else payload.duration),
        )
        await self._send(job, person, message)

    async def _to_owners(self, job: Job, payload: ToOwners) -> None:
        if job.business_id is None:
            raise Hopeless("a message to owners names their business")
        business, owners = await facts.owners(self._database, job.business_id)
        if business is None:
            return
        said: dict[str, Any] = {name: plain(value) for name, value in payload.fields.items()}
        if payload.message == "trial_ending":
            ends = business.trial_ends
            if ends is None or said.get("ends_at") not in (None, format_us(ends)):
                # It was given another end since.
                return
            said["ended"] = ends <= self._clock.now_us()
        later: Later | None = None
        for person in owners:
            language = choose(person.locale, None, None, business.locale)
            fields = {"name": plain(person.name), "business": plain(business.name), **said}
            if business.trial_ends is not None:
                fields["day"] = texts.day(business.trial_ends, business.time_zone, language)
            message = Message(
                kind=payload.message,
                business=business,
                language=language,
                said=self._texts.render(payload.message, language, fields),
            )
            try:
                await self._send(job, person, message)
            except Later as put_off:
                # The others are not to wait for this one.
                later = put_off
        if later is not None:
            raise later

    async def _to_address(self, job: Job, payload: ToAddress) -> None:
        try:
            secret = self._sealed.open(payload.sealed)
        except ValueError as error:
            raise Hopeless(str(error)) from None
        is_mail = "@" in secret.to
        person = Person(name="", email=secret.to if is_mail else None, phone=None if is_mail else secret.to)
        if self._clock.now_us() >= payload.until:
            await self._keep(job, payload.message, None, "none", person, None, "skipped", "too late to be of use")
            return
        language = choose(await facts.locale_of(self._database, secret.to), secret.fields.get("locale"), None, None)
        fields = {**secret.fields, "minutes": limits.code_ttl_s // 60}
        said = self._texts.render(payload.message, language, fields)
        await self._send(job, person, Message(kind=payload.message, business=None, language=language, said=said))

    # Sending

    async def _send(self, job: Job, person: Person, message: Message) -> None:
        """By the first way that takes it. Raises `Later` when one of them may take it another time."""
        business_id = message.business.id if message.business else None
        ways = self._ways.to(person, message.business)
        for way in ways:
            id_ = message_id(job.id, person.client_id or person.user_id or "", way.channel)
            before = await self._database.value("message_outcome", id_)
            if before == "sent":
                return
            if before == "refused":
                continue
            outcome, error = "sent", None
            put_off: Later | None = None
            try:
                await way.send(id_, message)
            except Undeliverable as refused:
                outcome, error = "refused", refused.reason
            except Later as later:
                if not later.tried:
                    raise
                outcome, error, put_off = "failed", later.reason, later
            await self._keep(
                job, message.kind, business_id, way.channel, person, message.booking_id, outcome, error,
                id_=id_, address=way.address, language=message.language,
            )  # fmt: skip
            if outcome == "sent":
                return
            if put_off is not None:
                raise put_off
        if not ways:
            why = "no way to send is set up" if self._ways.none else "no address to send it to"
            await self._keep(
                job, message.kind, business_id, "none", person, message.booking_id, "skipped", why,
                language=message.language,
            )  # fmt: skip

    async def _keep(
        self,
        job: Job,
        kind: str,
        business_id: str | None,
        channel: str,
        person: Person,
        booking_id: str | None,
        outcome: str,
        error: str | None,
        *,
        id_: str | None = None,
        address: str | None = None,
        language: Language = "en",
    ) -> None:
        id_ = id_ or message_id(job.id, person.client_id or person.user_id or "", channel)
        try:
            await self._database.value(
                "keep_message", id_, job.id, business_id, kind, channel, address, language, booking_id,
                person.client_id, person.user_id, outcome, error[:_ERROR_CHARS_MAX] if error else None,
            )  # fmt: skip
        except Refused:
            log.warning("what came of message %s could not be written down", id_)
            raise


def _facts(booking: Booking, person: Person, start: int, language: Language) -> dict[str, Any]:
    """What everybody is told of a booking."""
    return {
        "name": plain(person.name),
        "business": plain(booking.business.name),
        "service": plain(booking.service),
        "place": plain(", ".join(p for p in (booking.location, booking.location_address) if p)),
        "when": texts.when(start, booking.time_zone, language),
        "when_short": texts.when_short(start, booking.time_zone, language),
        "attendees": booking.attendees,
        "booking_code": booking.code or "",
    }


def message_id(job_id: str, recipient: str, channel: str) -> str:
    """The same for a job done again. In the order of jobs: a UUIDv8 that begins as theirs do."""
    h = hashlib.blake2b(f"{job_id}:{recipient}:{channel}".encode(), digest_size=8).hexdigest()
    return f"{job_id[:13]}-8{h[:3]}-{'89ab'[int(h[3], 16) & 3]}{h[4:7]}-{job_id[-3:]}{h[7:]}"
