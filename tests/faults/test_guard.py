"""The database's own guards fire: the state in memory was wrong, and nobody is told anything untrue."""

import asyncio

from tests.faults.conftest import Site
from tests.support.server import Place

_ROW = """
INSERT INTO bookings (id, business_id, calendar_id, service_id, code, status, start_at, end_at, blocked, session_id,
                      capacity, attendees, created_at, updated_at)
SELECT i, business_id, id, $2::uuid, 'BK-WRONG', 'confirmed', t, t + interval '30 min',
       tstzrange(t, t + interval '30 min'), i, 1, 1, now(), now()
FROM calendars, (SELECT gen_random_uuid() AS i, $3::text::timestamptz AS t) new WHERE id = $1"""


async def test_a_poisoned_row_harms_nobody_else(site: Site) -> None:
    """A row written past the server stands where it will book: that caller hears 409 after a reload, everybody in the
    same batch is served, and the guard is counted.
    """
    await site.open()
    await site.load.settle()
    poisoned, neighbour = site.places[0], site.places[1]
    start = poisoned.at(5, 0, day=30)
    await site.db.execute(_ROW, poisoned.professional_id, poisoned.service_id, start)
    before = await site.metric("slotcast_guard_violations_total")

    async def book(place: Place, at: str, key: str) -> int:
        return (await site.api.post("bookings", place.booking(at, notes=key), key=key)).status

    # Sent together, so that they meet in few batches: the poison in the middle of its own calendar's and others'.
    wanted = [(poisoned, poisoned.at(h, 0, day=31), 201) for h in range(10)]
    wanted += [(poisoned, start, 409)]
    wanted += [(poisoned, poisoned.at(h, 30, day=31), 201) for h in range(10)]
    wanted += [(neighbour, neighbour.at(h, 0, day=30), 201) for h in range(20)]
    got = await asyncio.gather(*(book(place, at, f"guard-{i}") for i, (place, at, _) in enumerate(wanted)))
    assert got == [status for _, _, status in wanted]
    assert await site.metric("slotcast_guard_violations_total") > before
    # The row that nobody decided is not in the journal; without it all must be well.
    await site.db.execute("DELETE FROM bookings WHERE code = 'BK-WRONG'")
    kept = await site.db.fetchval("SELECT count(*) FROM bookings WHERE notes LIKE 'guard-%' AND status = 'confirmed'")
    assert kept == 40
