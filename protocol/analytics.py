"""Bodies of analytics: figures of a range of days, in all and by day, service and professional."""

from protocol.bodies import Answer


class Figures(Answer, kw_only=True):
    """Of the bookings that start on those days. `bookings` is all of them, and the sum of the statuses.

    `attendees` and `booked_minutes` are of those that are pending, confirmed, completed or marked as no-shows; a shared
    session takes its time once. `open_minutes` is working hours without time off; `utilisation` is the booked part of
    it, more than 1 where bookings stand outside hours; both `null` where they mean nothing. `cancelled_by_clients`
    counts guests too. `lead_hours` is the mean time from booking to start.
    """

    bookings: int
    pending: int
    confirmed: int
    completed: int
    cancelled: int
    rejected: int
    expired: int
    no_show: int
    cancelled_by_clients: int
    attendees: int
    booked_minutes: int
    open_minutes: int | None
    utilisation: float | None
    lead_hours: float | None


class DayFigures(Figures, kw_only=True):
    """`date` is that of each calendar's own wall clock."""

    date: str


class ServiceFigures(Figures, kw_only=True):
    service_id: str
    name: str


class ProfessionalFigures(Figures, kw_only=True):
    professional_id: str
    display_name: str


class Analytics(Answer, kw_only=True):
    """Every day of the range is there, in order. Services and professionals come with the most bookings first."""

    date_from: str
    date_to: str
    time_zone: str
    total: Figures
    by_day: list[DayFigures]
    by_service: list[ServiceFigures]
    by_professional: list[ProfessionalFigures]
