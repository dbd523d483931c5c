"""Instants are integers: microseconds since 1970-01-01T00:00:00Z. Text is RFC 3339 in UTC with `Z`."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from protocol import limits
from protocol.errors import invalid

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)

START_OF_TIME: Final = (datetime(limits.year_min, 1, 1, tzinfo=UTC) - _EPOCH) // _US
END_OF_TIME: Final = (datetime(limits.year_max, 1, 1, tzinfo=UTC) - _EPOCH) // _US


def to_us(moment: datetime) -> int:
    """Microseconds of an aware datetime."""
    return (moment - _EPOCH) // _US


def from_us(us: int) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + timedelta(microseconds=us)


_MINUTES: Final = tuple(f"T{minute // 60:02d}:{minute % 60:02d}:" for minute in range(24 * 60))


@lru_cache(maxsize=8_192)
def _day(number: int) -> str:
    return from_us(number * DAY).strftime("%Y-%m-%d")


def format_us(us: int) -> str:
    """RFC 3339 in UTC, with milliseconds only where there are any. Days repeat, hence the cache."""
    day, rest = divmod(us, DAY)
    minute, rest = divmod(rest, MINUTE)
    if not rest:
        return f"{_day(day)}{_MINUTES[minute]}00Z"
    second, rest = divmod(rest, SECOND)
    sharp = f"{_day(day)}{_MINUTES[minute]}{second:02d}"
    return f"{sharp}.{rest // 1000:03d}Z" if rest >= 1000 else f"{sharp}Z"


def bounded_us(field: str, moment: datetime) -> int:
    """Microseconds of a datetime that came from outside.

    Raises `Refused(validation_failed)` outside the years of `limits`, where zone rules mean nothing.
    """
    try:
        us = to_us(moment)
    except OverflowError:
        us = END_OF_TIME
    if not START_OF_TIME <= us < END_OF_TIME:
        raise invalid(field, f"must lie between the years {limits.year_min} and {limits.year_max - 1}")
    return us


@lru_cache(maxsize=1_024)
def zone(name: str) -> ZoneInfo:
    """The IANA zone of that name. Raises `Refused(validation_failed)` for a name that is not one."""
    # The file-like check keeps names such as "../x" away from the file system. Zones begin with a capital; "localtime"
    # and "posixrules" are files of one machine, which the database does not know.
    if not name or len(name) > 64 or name[0].islower() or name.startswith(("/", ".")) or ".." in name or "\0" in name:
        raise invalid("time_zone", f"{name[:64]!r} is not an IANA time zone")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise invalid("time_zone", f"{name!r} is not an IANA time zone") from error


def local_us(day: date, minute: int, tz: ZoneInfo) -> int:
    """The instant at which a wall clock in `tz` shows `minute` minutes after midnight of `day`.

    RFC 5545, section 3.3.5: a time that a change of offset skips is read with the offset before the
    gap; a time that occurs twice means the first. `fold=0` gives both. 1,440 is the next midnight.
    """
    wall = datetime(day.year, day.month, day.day) + timedelta(minutes=minute)
    return to_us(wall.replace(tzinfo=tz, fold=0))


def local_date(us: int, tz: ZoneInfo) -> date:
    """The date a wall clock in `tz` shows at that instant."""
    return from_us(us).astimezone(tz).date()


def parse_date(field: str, text: str) -> date:
    """A date in the form 2026-12-31, within the years of `limits`."""
    try:
        # `fromisoformat` also reads weeks (2026-W01-1) and dates without hyphens.
        if len(text) != 10 or text[4] != "-" or text[7] != "-":
            raise ValueError
        day = date.fromisoformat(text)
    except ValueError:
        raise invalid(field, "must be a date in the form 2026-12-31") from None
    if not limits.year_min <= day.year < limits.year_max:
        raise invalid(field, f"must lie between the years {limits.year_min} and {limits.year_max - 1}")
    return day
