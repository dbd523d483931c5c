"""Recurring bookings: several of one service and calendar, decided together."""

from actors.calendar import commands as cmd
from actors.inquiries import OfferSeries
from actors.ports import Outcome
from actors.switchboard import Switchboard
from protocol import bodies, limits
from protocol import events as ev
from protocol import series as said
from protocol.errors import Refused, invalid
from protocol.ids import booking_code, new_id
from protocol.recurrence import occurrences
from protocol.times import MINUTE, bounded_us, format_us
from server.answers import answered
from server.auth import Auth
from server.desk import Asker, Desk
from server.outcomes import made_by
from storage import bookings
from storage.postgres import Database

_ENDED = ("invalid_transition", "too_late_to_cancel")


class SeriesDesk:
    def __init__(self, desk: Desk, switchboard: Switchboard, database: Database, auth: Auth) -> None:
        self._desk = desk
        self._switchboard = switchboard
        self._database = database
        self._auth = auth

    async def question(self, business_id: str, b: said.SeriesAsk) -> OfferSeries:
        """The starts that the rule makes of the first."""
        if await self._desk.together.several(business_id, b.service_id):
            raise invalid("service_id", "its meetings take several calendars; book them one by one")
        start, duration = bounded_us("start", b.start), (b.duration_minutes or 0) * MINUTE
        time_zone = await self._switchboard.time_zone(b.professional_id, business_id)
        # Only the starts count; how long each lasts is a matter of the service.
        spans = occurrences("rrule", b.rrule, (start, start + MINUTE), time_zone, limits.series_max)
        return OfferSeries(b.service_id, tuple(a for a, _ in spans), duration, b.attendees)

    async def book(self, asker: Asker, b: said.SeriesCreate) -> said.Series:
        """Raises `Refused(series_conflict)` with the starts that cannot be had."""
        business = await self._desk.may_make(asker, b.professional_id)
        asked = await self.question(asker.principal.business_id, b)
        items = tuple(cmd.Occurrence(new_id(), booking_code(), start) for start in asked.starts)
        client_id, details = await self._desk.for_whom(asker, business, b, b.service_id, [i.id for i in items])
        command = cmd.BookSeries(
            new_id(),
            items,
            b.service_id,
            b.attendees,
            client_id,
            asked.duration,
            answered(b.answers),
            b.on_conflict == "skip",
        )
        outcome = await self._desk.ask(asker, b.professional_id, command, details)
        booked = outcome.event
        assert isinstance(booked, ev.Booked)
        assert booked.series is not None
        # From the journal, because a request that is repeated gets what was booked the first time.
        made = await bookings.booked_as_series(self._database, b.professional_id, booked.series, outcome.version)
        had = {one.start for one in made}
        return said.Series(
            id=booked.series,
            bookings=[self._booking(b, one, outcome) for one in made],
            skipped=[format_us(start) for start in asked.starts if start not in had],
            calendar_version=outcome.version,
        )

    def _booking(self, b: said.SeriesCreate, booked: ev.Booked, outcome: Outcome) -> bodies.Booking:
        return made_by(
            booked,
            b.professional_id,
            1,
            outcome.at,
            notes=b.notes,
            answers=b.answers or None,
            manage_token=self._auth.manage_token(booked.id) if b.guest is not None else None,
        )

    async def rows(self, asker: Asker, series_id: str, permission: str) -> list[bookings.BookingRow]:
        """The bookings of a series that the caller may reach. Raises `Refused(not_found)` when there are none."""
        rows = await bookings.of_series(self._database, asker.principal.business_id, series_id)
        try:
            for row in rows:
                await self._desk.together.may_touch(asker.principal, permission, row, holds_token=False)
        except Refused as refused:
            if refused.code != "not_found":
                raise
            rows = []
        if not rows:
            raise Refused("not_found", "there is no such series")
        return rows

    async def cancel(self, asker: Asker, series_id: str, by: str, reason: str) -> said.Series:
        """Cancels what of it is still to come, one after the other; what may not be cancelled any more stays."""
        if asker.key is not None:
            raise invalid("Idempotency-Key", "cancelling a series twice is the same as once; leave it out")
        changed: list[bodies.Booking] = []
        for row in await self.rows(asker, series_id, "bookings.change"):
            body = row.body
            if body.status in ("pending", "confirmed"):
                try:
                    body = await self._desk.change(asker, row, cmd.Cancel(body.id, by), reason)
                except Refused as refused:
                    if refused.code not in _ENDED:
                        raise
            changed.append(body)
        return said.Series(id=series_id, bookings=changed, skipped=[])
