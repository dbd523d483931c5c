"""A week's open slots of one professional and service, authenticated."""

from bench.report import Row
from bench.runner import Bench
from bench.scenarios.reading import Reading, run_reading

READING = Reading(
    name="read-slots",
    route="/api/v1/professionals/{id}/slots",
    query="from={day}&to={last}&service_id={service}",
    goal=0.8,
    first_query="from={day}T00:{moment}Z&to={last}T23:59:59Z&service_id={service}",
)


async def run(bench: Bench) -> list[Row]:
    return await run_reading(bench, READING)
