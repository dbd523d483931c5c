"""That a trial ends reaches its owner as a mail."""

import asyncpg
import pytest

from jobs.job_queue import JobQueue
from jobs.trials import Trials
from server.node import SystemClock
from storage.meter import NullMeter
from storage.postgres import Database
from tests.rest.helpers import new_business
from tests.rest.people import join, new_user
from tests.support.server import RunningServer, eventually

pytestmark = pytest.mark.parity("C1")


async def test_the_owner_hears_of_it_and_nobody_else(server: RunningServer, db: asyncpg.Connection) -> None:
    business = await new_business(server.dsn)
    owner, manager = await new_user(db), await new_user(db)
    await join(db, business, owner, "owner")
    await join(db, business, manager, "manager")
    await db.execute("UPDATE businesses SET trial_ends_at = now() + interval '12 hours' WHERE id = $1", business)
    database = await Database.open(server.dsn, 2, NullMeter())
    try:
        await Trials(database, JobQueue(database), SystemClock()).once([0])
    finally:
        await database.close()
    query = "SELECT kind, channel, address, outcome FROM messages WHERE business_id = $1"
    found = await eventually(lambda: db.fetch(query, business))
    assert [tuple(r) for r in found] == [("trial_ending", "email", owner["email"], "sent")]
