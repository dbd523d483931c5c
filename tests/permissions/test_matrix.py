"""Each operation × each caller × each place, over HTTP, against the page.

What is refused goes first and has to leave every row of both businesses as it was.
"""

from typing import Any

import asyncpg
import pytest

from server import openapi
from server.app import endpoints
from tests.permissions.estate import SIDES, Caller, Estate
from tests.permissions.page import ALLOWED, Who, document_operations, expected, row_of
from tests.permissions.probes import NOBODYS, Probe
from tests.permissions.targets import FRESH, OTHERWISE
from tests.support.server import Answer

PROBES = [Probe(*operation) for operation in document_operations(openapi.document(endpoints(None)))]
OF_NOBODY = ("idempotency_keys", "jobs", "messages")
"""Tables in which something changes when nobody asks for it: earlier requests are still being worked at."""
OF_WORKERS = {
    "webhooks": ["failures", "failing_since", "try_after", "probed_until"],
    "webhook_deliveries": ["state", "tries", "last_tries", "next_try_at", "updated_at", "answer"],
}
"""Columns of which the same is true."""
NOT_BY_PLACE = ("nobody", "whoever asks", "oneself", "the platform")


async def rows_of(db: asyncpg.Connection, estate: Estate) -> dict[str, str]:
    """A digest of every table's rows of the two businesses, and of the users."""
    businesses = [estate.sides[name].business_id for name in ("here", "foreign")]
    users = [c.user["id"] for c in estate.callers.values() if c.user]
    tables = await db.fetch(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND column_name = 'business_id' AND table_name <> ALL ($1)", [*OF_NOBODY],
    )  # fmt: skip
    found = {}
    for (table,) in tables:
        digest = f"""SELECT md5(string_agg(t.row, ',' ORDER BY t.row)) FROM
            (SELECT (to_jsonb(t) - $2::text[])::text AS row FROM {table} t WHERE business_id = ANY($1)) t"""
        found[table] = await db.fetchval(digest, businesses, OF_WORKERS.get(table, []))
    digest = "SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM users t WHERE id = ANY($1)"
    return {**found, "users": await db.fetchval(digest, users)}


def cells(estate: Estate, probe: Probe) -> list[tuple[Caller, str, int]]:
    row = row_of(probe.method, probe.path)
    sides = SIDES if probe.names_something and row.of not in NOT_BY_PLACE else ("here",)
    return [
        (caller, side, expected(row, caller.who, side, names_something=len(sides) > 1, guests=probe.guests))
        for caller in estate.callers.values()
        for side in sides
        # To a stranger there is as here.
        if not (caller.who.business == "second" and (len(sides) == 1 or side == "there"))
        and (row.permission is not None or caller.who.name in ("no token", "garbage", "owner"))
    ]


def same(one: Answer, other: Answer) -> bool:
    """Whether nothing but the time tells the answers apart."""
    fields = [{k: v for k, v in a.headers.items() if k != "Date"} for a in (one, other)]
    return (one.status, one.body) == (other.status, other.body) and fields[0] == fields[1]


@pytest.mark.parity("C4")
@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.key)
async def test_everybody_gets_what_the_page_says(estate: Estate, db: asyncpg.Connection, probe: Probe) -> None:
    wrong: list[str] = []
    nobodys = dict.fromkeys([k for side in estate.sides.values() for k in side.ids] + ["sessions"], NOBODYS)
    before = await rows_of(db, estate)
    found = cells(estate, probe)
    for caller, side, status in found:
        if status == ALLOWED:
            continue
        target = estate.sides[side]
        answer = await probe.ask(caller, target, target.ids | {"sessions": NOBODYS})
        told = f"{caller.who.name} → {side}: {answer!r}"
        if answer.status != status:
            wrong.append(f"{told}, not {status}")
        elif status == 404:
            nobody = await probe.ask(caller, target, nobodys, _renamed(probe.body(target, caller), nobodys))
            if not same(answer, nobody):
                wrong.append(f"{told}, but of nobody's id {nobody!r}")
        wrong += leaks(estate, caller, answer)
    assert not wrong, "\n".join(["", *wrong])
    assert await rows_of(db, estate) == before, "a refusal has changed something"
    for caller, side, status in found:
        if status == ALLOWED:
            target = estate.sides[side]
            acting, ids = caller, target.ids
            if probe.key in FRESH:
                acting, ids = await FRESH[probe.key](caller, target, db)
            answer = await probe.ask(acting, target, ids)
            wanted = OTHERWISE.get(probe.key, probe.successes)
            if answer.status not in wanted:
                wrong.append(f"{caller.who.name} → {side}: {answer!r}, not {wanted}")
            wrong += leaks(estate, caller, answer, public=probe.is_open)
    assert not wrong, "\n".join(["", *wrong])


def _renamed(body: Any, nobodys: dict[str, str]) -> Any:
    if not isinstance(body, dict):
        return body
    return {k: nobodys["professionals"] if k == "professional_id" else v for k, v in body.items()}


def leaks(estate: Estate, caller: Caller, answer: Answer, *, public: bool = False) -> list[str]:
    """`public`: what everybody may see of a business, which is not what the caller may."""
    text = answer.body.decode()
    hidden = estate.hidden_from(Who("anybody", "public") if public else caller.who)
    return [f"{caller.who.name} is told of {h}: {text[:300]}" for h in hidden if h in text]
