"""How many meetings of a service there may be a day and a week."""

from datetime import timedelta

from actors.calendar.state import Calendar, Reservation, Service, claims_between, live_places
from protocol.times import local_date, local_us

_DAY_MINUTES = 24 * 60


class Caps:
    """Counts for one service at one time; days are counted once however many starts are asked about.

    A shared session is one meeting. What is over counts, and so do holds. Weeks begin on Monday, by the calendar's
    wall clock.
    """

    def __init__(self, calendar: Calendar, service: Service, now: int, ignoring: Reservation | None = None) -> None:
        self._calendar = calendar
        self._service = service
        self._now = now
        self._ignoring = ignoring
        self._counted: dict[tuple[int, int], int] = {}

    def reached(self, start: int, also: tuple[int, ...] = ()) -> str:
        """Which cap one more meeting at `start` would break: `day`, `week` or none. `also` are starts of others to
        come.
        """
        service, tz = self._service, self._calendar.hours.tz
        if not service.capped:
            return ""
        day = local_date(start, tz)
        for name, cap, first, days in (
            ("day", service.daily_cap, day, 1),
            ("week", service.weekly_cap, day - timedelta(days=day.weekday()), 7),
        ):
            if cap:
                span = local_us(first, 0, tz), local_us(first + timedelta(days=days), 0, tz)
                if self._meetings(span) + sum(span[0] <= s < span[1] for s in also) >= cap:
                    return name
        return ""

    def _meetings(self, span: tuple[int, int]) -> int:
        counted = self._counted.get(span)
        if counted is None:
            a, b = span
            mine = self._service.id
            meetings = {
                c.id
                for c in claims_between(self._calendar, a, b)
                if c.service_id == mine and a <= c.start < b and live_places(c, self._now, self._ignoring)
            }
            meetings.update(
                d.meeting for d in (self._calendar.done or {}).values() if d.service_id == mine and a <= d.start < b
            )
            counted = self._counted[span] = len(meetings)
        return counted
