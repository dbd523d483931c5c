"""What the database itself holds: tables, facts and indexes, and that only parameters reach it."""

import ast
import re
from pathlib import Path

import asyncpg
import pytest

from tests.rest.helpers import book
from tests.support.server import ROOT, Place

# Facts of the seed system's tables and where they are here.
FACTS = {
    "clients": {
        "id": "uuid", "first_name": "text", "last_name": "text", "chat_id": "bigint", "phone": "text",
        "created_at": "timestamp with time zone", "updated_at": "timestamp with time zone", "business_id": "uuid",
    },
    "professionals": {
        "id": "uuid", "display_name": "text", "username": "text", "phone": "text", "chat_id": "bigint",
        "specialisation": "text", "bio": "text", "created_at": "timestamp with time zone",
    },
    "users": {"id": "uuid", "username": "text", "email": "text", "phone": "text", "password_hash": "text"},
    "bookings": {
        "id": "uuid", "calendar_id": "uuid", "client_id": "uuid", "service_id": "uuid", "status": "text",
        "start_at": "timestamp with time zone", "end_at": "timestamp with time zone", "notes": "text",
        "cancelled_by": "text", "reason": "text", "created_at": "timestamp with time zone",
        "updated_at": "timestamp with time zone",
    },
    "time_off": {
        "id": "uuid", "calendar_id": "uuid", "start_at": "timestamp with time zone",
        "end_at": "timestamp with time zone", "description": "text",
    },
}  # fmt: skip


@pytest.mark.parity("A16")
@pytest.mark.parametrize("table", FACTS)
async def test_the_tables_hold_the_seed_systems_facts(db: asyncpg.Connection, table: str) -> None:
    """Each fact in a column of the type that suits it; instants with a zone, ids as UUIDs."""
    rows = await db.fetch("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = $1", table)
    found = {r["column_name"]: r["data_type"] for r in rows}
    assert {k: found.get(k) for k in FACTS[table]} == FACTS[table]


@pytest.mark.parity("A16")
@pytest.mark.parametrize(
    ("table", "columns", "unique"),
    [
        ("clients", ("business_id", "chat_id"), True),
        ("clients", ("business_id", "id"), False),
        ("professionals", ("business_id", "username"), True),
        ("professionals", ("business_id", "id"), False),
        ("bookings", ("calendar_id", "start_at", "id"), False),
        ("bookings", ("client_id", "start_at"), False),
        ("bookings", ("business_id", "start_at", "id"), False),
        ("bookings", ("code",), True),
        ("time_off", ("calendar_id", "start_at"), False),
        ("users", ("email",), True),
        ("users", ("username",), True),
        ("users", ("phone",), True),
        ("events", ("calendar_id", "version"), True),
    ],
)
async def test_what_is_looked_up_has_an_index(
    db: asyncpg.Connection, table: str, columns: tuple[str, ...], unique: bool
) -> None:
    """By client, by professional and date, by code; what must be unique is so in the database."""
    rows = await db.fetch(
        "SELECT i.indisunique AS unique, array_agg(a.attname::text ORDER BY k.n) AS columns FROM pg_index i"
        " CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum"
        " WHERE i.indrelid = $1::text::regclass GROUP BY i.indexrelid, i.indisunique",
        table,
    )
    fitting = [r for r in rows if tuple(r["columns"]) == columns]
    assert fitting, [tuple(r["columns"]) for r in rows]
    assert any(r["unique"] for r in fitting) or not unique


@pytest.mark.parity("A16")
async def test_the_database_guards_statuses_and_overlaps_itself(db: asyncpg.Connection, place: Place) -> None:
    """A status nobody knows, an end before its start and an overlapping booking are refused by Postgres."""
    booked = await book(place, place.at(9))
    await book(place, place.at(10))
    for change, error in (
        ("status = 'perhaps'", asyncpg.CheckViolationError),
        ("end_at = start_at - interval '1 hour'", asyncpg.CheckViolationError),
        ("attendees = 0", asyncpg.CheckViolationError),
        ("start_at = start_at + interval '1 hour', end_at = end_at + interval '1 hour',"
         " blocked = tstzrange(start_at + interval '1 hour', end_at + interval '1 hour')",
         asyncpg.ExclusionViolationError),
    ):  # fmt: skip
        with pytest.raises(error):
            await db.execute(f"UPDATE bookings SET {change} WHERE id = $1", booked["id"])


@pytest.mark.parity("A22")
async def test_ids_are_uuids_that_rise_with_time(place: Place) -> None:
    """UUIDv7, so that they sort by when they were made and cannot be counted through."""
    made = [await book(place, place.at(h)) for h in (9, 10, 11)]
    ids = [b["id"] for b in made]
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", i) for i in ids)
    assert ids == sorted(ids)


@pytest.mark.parity("A22")
def test_sql_is_never_put_together_from_text() -> None:
    """Statements come from `sql/` by name and values as parameters: no statement stands in a string of the code.

    The two exceptions are constants of the migration lock and of the checks at start.
    """
    statement = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|TRUNCATE|WITH)\s", re.I)
    calls = {"execute", "fetch", "fetchrow", "fetchval", "prepare", "executemany", "cursor"}
    found = []
    for room in ("server", "storage", "jobs", "actors", "protocol"):
        for path in sorted(Path(ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    first = next((v.value for v in node.values if isinstance(v, ast.Constant)), "")
                    if isinstance(first, str) and statement.match(first):
                        found.append(f"{path.name}:{node.lineno} builds a statement")
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in calls
                    and node.args
                    and isinstance(node.args[0], (ast.JoinedStr, ast.BinOp))
                ):
                    found.append(f"{path.name}:{node.lineno} executes text put together")
    assert found == []
