"""One database, one node: who is refused, and who is fenced."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from tests.faults.conftest import LONG, Site
from tests.support.server import RunningServer

_OWNERS = (
    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'slotcast ownership%' "
    "AND datname = current_database()"
)


async def test_a_second_node_does_not_start(site: Site, tmp_path: Path) -> None:
    """It ends with code 2 and a line that says why; the first one notices nothing."""
    await site.open()
    second = RunningServer(site.server.dsn, tmp_path / "second").start(wait=False)
    assert second.process is not None
    assert await asyncio.to_thread(second.process.wait, 30) == 2
    assert "another node" in second.logged()
    assert "Traceback" not in second.logged()
    await site.some_more(20)
    assert not any(s.code == "moved" for s in site.history.refusals)
    await site.check()


async def test_epochs_taken_behind_its_back(site: Site) -> None:
    """Nothing more is written under an epoch that was taken; a node that still holds its claim takes new ones."""
    await site.open()
    for _ in range(5 if LONG else 1):
        taken = await site.db.fetch("UPDATE shards SET epoch = epoch + 1 RETURNING id, epoch, seq")
        await site.some_more(40)
        written = await site.db.fetchval(
            "SELECT count(*) FROM events e JOIN unnest($1::int[], $2::bigint[], $3::bigint[]) AS t (id, epoch, seq) "
            "ON e.shard = t.id WHERE e.seq > t.seq AND e.epoch <= t.epoch",
            [r["id"] for r in taken], [r["epoch"] for r in taken], [r["seq"] for r in taken],
        )  # fmt: skip
        assert written == 0
    codes = {s.code for s in site.history.refusals}
    assert codes & {"moved", "unavailable"}, codes
    await site.check()


async def test_what_another_owner_wrote_is_seen(site: Site) -> None:
    """Between the loss of a shard and its return somebody else writes: the node decides on that, not on what it
    remembers, and its viewers see it.
    """
    await site.open()
    place = site.places[0]
    await site.load.settle()
    shard = await site.db.fetchval("SELECT shard FROM calendars WHERE id = $1", place.professional_id)
    await site.converged()
    free = next(s for s, (state, _) in site.watchers[0].replica.slots.items() if state == "open")
    start = f"{datetime.fromtimestamp(free / 1_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    site.history.others.add("other")
    async with site.db.transaction():
        await site.db.execute("UPDATE shards SET epoch = epoch + 1, seq = seq + 1 WHERE id = $1", shard)
        await site.db.execute(_OTHERS_BOOKING, place.professional_id, start, place.service_id)
    # The first finds the fence and stops the calendar; from then on it is the true state that decides.
    answers = []
    for number in range(100):
        answers.append(await site.api.post("bookings", place.booking(start), key=f"other-{number}"))
        if answers[-1].status != 503:
            break
        await asyncio.sleep(0.1)
    assert answers[-1].status == 409, answers[-1]
    assert answers[0].json["code"] == "moved", answers[0]
    await site.check()


_OTHERS_BOOKING = """
WITH last AS (SELECT * FROM events WHERE calendar_id = $1 ORDER BY version DESC LIMIT 1),
booked AS (
    INSERT INTO bookings (id, business_id, calendar_id, service_id, code, status, start_at, end_at, blocked,
                          session_id, capacity, attendees, created_at, updated_at)
    SELECT i, business_id, calendar_id, $3::uuid, 'BK-OTHER', 'confirmed', t, t + interval '30 min',
           tstzrange(t, t + interval '30 min'), i, 1, 1, now(), now()
    FROM last, (SELECT gen_random_uuid() AS i, $2::text::timestamptz AS t) new RETURNING *
)
INSERT INTO events (shard, seq, calendar_id, version, business_id, epoch, type, at, by, request_id, data)
SELECT last.shard, (SELECT seq FROM shards s WHERE s.id = last.shard), last.calendar_id, last.version + 1,
       last.business_id, last.epoch + 1, 'booking.created', now(), 'system:other', 'other',
       jsonb_build_object('type', 'booking.created', 'id', booked.id, 'code', booked.code, 'status', 'confirmed',
           'service_id', $3, 'start', (extract(epoch FROM booked.start_at) * 1000000)::bigint,
           'duration', 1800000000, 'before', 0, 'after', 0, 'places', 1)
FROM last, booked"""


async def test_a_node_that_lost_its_claim_stops(site: Site) -> None:
    """Its lock is gone and somebody else has it: it ends with code 1 and says so, and has written nothing since."""
    await site.open()
    usurper = await asyncpg.connect(site.dsn)
    try:
        owner = await site.db.fetchval(_OWNERS)
        # Wait in line for the lock, so that it is taken the moment it is free.
        waiting = asyncio.create_task(usurper.execute("SELECT pg_advisory_lock(hashtext('slotcast single node'))"))
        await asyncio.sleep(0.2)
        await site.db.execute("SELECT pg_terminate_backend($1)", owner)
        await waiting
        taken = {
            r["id"]: r["seq"] for r in await site.db.fetch("UPDATE shards SET epoch = epoch + 1 RETURNING id, seq")
        }
        assert site.server.process is not None
        assert await asyncio.to_thread(site.server.process.wait, 40) == 1
        assert "another node has taken this database" in site.server.logged()
        assert {r["id"]: r["seq"] for r in await site.db.fetch("SELECT id, seq FROM shards")} == taken
    finally:
        await usurper.close()
    await site.start()
    await site.check(lost=True)
