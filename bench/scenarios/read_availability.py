"""One day's whole grid of one professional, every slot with why, authenticated."""

from bench.report import Row
from bench.runner import Bench
from bench.scenarios.reading import Reading, run_reading

READING = Reading(
    name="read-availability",
    route="/api/v1/professionals/{id}/availability",
    query="date={day}",
    goal=0.8,
)


async def run(bench: Bench) -> list[Row]:
    return await run_reading(bench, READING)
