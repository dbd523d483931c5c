"""When there is work at all: working hours and time off, as callers ask for them."""

from actors.calendar import commands as cmd
from actors.calendar.hours import check_schedule
from actors.ports import Details, Outcome
from actors.questions import hours_body
from actors.switchboard import Switchboard
from protocol import events as ev
from protocol import limits, schedules
from protocol.errors import invalid
from protocol.ids import new_id
from protocol.recurrence import occurrences
from protocol.times import DAY, bounded_us, format_us
from server import audit
from server.desk import Asker, Desk
from storage import bookings
from storage.postgres import Database


class Timekeeping:
    """What is forced over bookings is told to the audit log once it is durable; asked again with its key after a crash
    in between, it is written then, and never twice.
    """

    def __init__(self, desk: Desk, switchboard: Switchboard, database: Database) -> None:
        self._desk = desk
        self._switchboard = switchboard
        self._database = database

    async def change_schedule(
        self, asker: Asker, calendar_id: str, schedule: ev.Schedule, effective_from: str = "", *, force: bool = False
    ) -> schedules.ScheduleAnswer:
        check_schedule(schedule)
        command = cmd.ChangeSchedule(schedule, effective_from, force)
        outcome = await self._desk.ask(asker, calendar_id, command)
        changed = outcome.event
        assert isinstance(changed, ev.ScheduleChanged)
        answer = hours_body(calendar_id, changed.schedule, outcome.version)
        if changed.forced:
            await audit.tell(self._database, asker, "schedule.forced", "schedule", calendar_id, answer, outcome)
        return answer

    async def block_time(self, asker: Asker, calendar_id: str, body: schedules.TimeOffCreate) -> schedules.TimeOff:
        start, end = bounded_us("start", body.start), bounded_us("end", body.end)
        if end <= start:
            raise invalid("end", "must be after start")
        if end - start > limits.time_off_days_max * DAY:
            raise invalid("end", f"at most {limits.time_off_days_max} days after start")
        if body.rrule is not None:
            made, outcome = await self._block_series(asker, calendar_id, body, body.rrule, (start, end))
        else:
            made, outcome = await self._block(asker, calendar_id, body, (start, end))
        if made.forced:
            id_ = made.series_id or made.id
            await audit.tell(self._database, asker, "time_off.forced", "time_off", id_, made, outcome)
        return made

    async def _block(
        self, asker: Asker, calendar_id: str, body: schedules.TimeOffCreate, span: tuple[int, int]
    ) -> tuple[schedules.TimeOff, Outcome]:
        command = cmd.BlockTime(new_id(), *span, body.force)
        outcome = await self._desk.ask(asker, calendar_id, command, Details(description=body.description))
        blocked = outcome.event
        assert isinstance(blocked, ev.TimeBlocked)
        made = schedules.TimeOff(
            id=blocked.id,
            professional_id=calendar_id,
            start=format_us(blocked.start),
            end=format_us(blocked.end),
            description=body.description,
            forced=blocked.forced,
            calendar_version=outcome.version,
        )
        return made, outcome

    async def _block_series(
        self, asker: Asker, calendar_id: str, body: schedules.TimeOffCreate, rule: str, span: tuple[int, int]
    ) -> tuple[schedules.TimeOff, Outcome]:
        time_zone = await self._switchboard.time_zone(calendar_id, asker.principal.business_id)
        spans = occurrences("rrule", rule, span, time_zone, limits.time_off_series_max)
        items = tuple(cmd.Period(new_id(), *s) for s in spans)
        command = cmd.BlockSeries(new_id(), items, body.force)
        outcome = await self._desk.ask(asker, calendar_id, command, Details(description=body.description))
        last = outcome.event
        assert isinstance(last, ev.TimeBlocked)
        assert last.series is not None
        # From the journal, because a request that is repeated gets the periods that were made the first time.
        periods = [
            schedules.TimeOffPeriod(id=e.id, start=format_us(e.start), end=format_us(e.end), forced=e.forced)
            for e in await bookings.periods_of_series(self._database, calendar_id, last.series, outcome.version)
        ]
        first = periods[0]
        made = schedules.TimeOff(
            id=first.id,
            professional_id=calendar_id,
            start=first.start,
            end=first.end,
            description=body.description,
            forced=any(p.forced for p in periods),
            series_id=last.series,
            periods=periods,
            calendar_version=outcome.version,
        )
        return made, outcome

    async def unblock_time(self, asker: Asker, calendar_id: str, block_id: str) -> None:
        """`block_id` is of one period, or of the series of all that are to go."""
        await self._desk.ask(asker, calendar_id, cmd.Unblock(block_id))
