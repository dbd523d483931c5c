"""Views to watch, and a live generator to watch them with."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from bench.children import Generator
from bench.live import Answer, Command, Failed, View
from bench.report import Refused
from bench.runner import GRACE_SECONDS
from bench.slotcast import Slotcast

MINUTES = 30
DAYS = 7

Wanted = TypeVar("Wanted", bound=Answer)


async def make_view(slotcast: Slotcast, minutes: int = MINUTES) -> View:
    """A week of slots of a new professional, from nine to five."""
    service = await slotcast.service(minutes)
    [professional] = await slotcast.professionals(1, service, "09:00", "17:00")
    return View(
        port=slotcast.port,
        token=slotcast.token,
        professional_id=professional,
        service_id=service,
        from_date=f"{_day(0):%Y-%m-%d}",
        to_date=f"{_day(DAYS - 1):%Y-%m-%d}",
    )


def starts(days: int = DAYS) -> list[str]:
    """The full hours in the first days of a view; no two of them are neighbours."""
    return [f"{_day(day):%Y-%m-%d}T{hour:02}:00:00Z" for day in range(days) for hour in range(9, 17)]


def midnight(day: int) -> str:
    """When a day of the view begins."""
    return f"{_day(day):%Y-%m-%d}T00:00:00Z"


def _day(number: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=2 + number)


async def live_generator(stack: AsyncExitStack) -> Generator:
    """A generator of its own, which ends with the stack."""
    generator = await Generator.start("bench.live_load")
    stack.push_async_callback(generator.stop)
    return generator


async def ask(scenario: str, generator: Generator, command: Command, wanted: type[Wanted], seconds: float) -> Wanted:
    """What the generator answers within `seconds` and some grace; what it found wrong refuses the run."""
    answer = await generator.ask(command, Failed | wanted, seconds + GRACE_SECONDS)  # type: ignore[arg-type]
    if isinstance(answer, Failed):
        raise Refused(f"{scenario}: {answer.failure}")
    return answer


async def samples(slotcast: Slotcast) -> dict[str, float]:
    """The server's own counters and gauges by name and labels, as it shows them to Prometheus."""
    _, _, text = await slotcast.raw("GET", "/metrics")
    lines = (line.rpartition(" ") for line in text.decode().splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}
