"""The suite pointed at a server elsewhere: whose data it touches, what it verifies, what it leaves behind."""

import argparse
import shutil
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from bench import target
from bench.integrity import Story
from bench.report import Refused, is_refused, is_skipped
from bench.runner import Bench
from tests.conftest import business_of
from tests.support.server import RunningServer, token_for

# Holds that earlier tests left come to their end meanwhile, and that is nobody's writing.
WRITTEN = {
    "bookings": "status <> 'held'",
    "events": "type <> 'hold.expired'",
    **dict.fromkeys(("professionals", "services", "clients", "calendars", "idempotency_keys"), "true"),
}
OTHER = "somebody-else"

Rows = Callable[[], Awaitable[dict[str, int]]]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(repetitions=1, seconds=0.3, quick=True, connections=8, warmup=0.1)
    yield made
    made.end()
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture
async def rows(server: RunningServer) -> Rows:
    async def count() -> dict[str, int]:
        connection = await asyncpg.connect(server.dsn)
        try:
            return {
                table: await connection.fetchval(f"SELECT count(*) FROM {table} WHERE {which}")
                for table, which in WRITTEN.items()
            }
        finally:
            await connection.close()

    return count


@pytest.fixture
async def other(server: RunningServer) -> str:
    """Id of a second business on the same server."""
    connection = await asyncpg.connect(server.dsn)
    try:
        await connection.execute(
            "INSERT INTO businesses (id, slug, name, time_zone) VALUES ($1, $2, 'Other', 'UTC') ON CONFLICT DO NOTHING",
            uuid4(),
            OTHER,
        )
    finally:
        await connection.close()
    return await business_of(server.dsn, OTHER)


def options(server: RunningServer, token: str, *only: str, business: str | None = None) -> argparse.Namespace:
    return argparse.Namespace(url=server.url, token=token, business=business, only=list(only))


async def test_without_a_business_nothing_is_written(server: RunningServer, bench: Bench, rows: Rows) -> None:
    token, before = token_for(await business_of(server.dsn)), await rows()
    found = await target.run_remote(options(server, token, "read-slots", "book-hot", "mixed"), bench)
    assert await rows() == before
    assert {row.scenario for row in found} == {"read-slots", "mixed"}
    assert not any(map(is_refused, found))
    assert [row.scenario for row in bench.skipped if is_skipped(row)] == ["book-hot"]


async def test_a_token_of_another_business_is_refused_before_anything_is_written(
    server: RunningServer, bench: Bench, rows: Rows, other: str
) -> None:
    demo = await business_of(server.dsn)
    before = await rows()
    for owner, named in ((demo, OTHER), (demo, other), (other, "demo"), (other, demo)):
        with pytest.raises(Refused, match="nothing is written"):
            await target.run_remote(options(server, token_for(owner), "book-hot", business=named), bench)
    with pytest.raises(Refused, match="401"):
        await target.run_remote(options(server, "no.token.atall", "book-hot", business="demo"), bench)
    assert await rows() == before


async def test_what_would_write_is_stopped_where_no_business_was_settled(server: RunningServer) -> None:
    elsewhere = target.Target(server.url, token_for(await business_of(server.dsn)))
    await elsewhere.open()
    try:
        with pytest.raises(Refused, match="would write"):
            await elsewhere.call("POST", "/api/v1/clients", {"first_name": "Nobody"})
    finally:
        await elsewhere.close()


async def test_bookings_are_verified_then_cancelled(server: RunningServer, bench: Bench, rows: Rows) -> None:
    demo, before = await business_of(server.dsn), await rows()
    wanted = options(server, token_for(demo), "book-spread", "mixed", business="demo")
    found = await target.run_remote(wanted, bench)
    assert not any(map(is_refused, found)), found
    verified = [row.measured for row in found if row.metric == "bookings verified over REST"]
    assert len(verified) == 2
    assert min(verified) > 0
    after = await rows()
    assert after["professionals"] == before["professionals"] + target.PROFESSIONALS_QUICK
    connection = await asyncpg.connect(server.dsn)
    try:
        made = await connection.fetchrow(
            "SELECT id, deleted_at FROM services WHERE name LIKE 'Bench %' ORDER BY id DESC LIMIT 1"
        )
        standing = await connection.fetch(
            "SELECT count(*), status FROM bookings WHERE service_id = $1 AND status <> 'held' GROUP BY status",
            made["id"],
        )
    finally:
        await connection.close()
    assert made["deleted_at"] is not None
    assert [row["status"] for row in standing] == ["cancelled"]


async def test_a_business_is_named_by_its_id_too(server: RunningServer, bench: Bench, other: str) -> None:
    found = await target.run_remote(options(server, token_for(other), "book-hot", business=other), bench)
    assert not any(map(is_refused, found)), found


def test_what_is_not_as_told_is_found() -> None:
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)

    def booking(id_: str, minute: int, status: str = "confirmed") -> target.Booking:
        return target.Booking(id_, status, noon + timedelta(minutes=minute), noon + timedelta(minutes=minute + 5))

    target.check_overlaps("x", [booking("a", 0), booking("b", 5), booking("c", 3, "cancelled")])
    with pytest.raises(Refused, match="overlap"):
        target.check_overlaps("x", [booking("a", 0), booking("b", 4)])
    read = {"a": booking("a", 0), "b": booking("b", 5, "cancelled")}
    target.check_told("x", read, Story(["a", "b"], ["b"]))
    for story in (Story(["a", "a"], []), Story(["a", "lost"], []), Story(["a", "b"], []), Story(["a"], ["a"])):
        with pytest.raises(Refused):
            target.check_told("x", read, story)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:80", "http://127.0.0.1/api/v1", "http://"])
def test_a_url_that_is_no_base_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="no base"):
        target.Target(url, "token")
