"""Migrations and named queries, against a real Postgres."""

import asyncio
import re

import asyncpg
import pytest

from storage import migrations
from storage.queries import queries
from tests.house.test_agreements import sources
from tests.support.postgres import TestPostgres

CATALOGUE = {
    "columns": """SELECT c.relname, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname,
        format_type(a.atttypid, a.atttypmod), a.attnotnull,
        pg_get_expr(d.adbin, d.adrelid), c.reloptions FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p') AND a.attnum > 0
        AND NOT a.attisdropped""",
    "constraints": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), condeferrable, condeferred
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "functions": """SELECT p.proname, pg_get_functiondef(p.oid) FROM pg_proc p LEFT JOIN pg_depend d
        ON d.objid = p.oid AND d.deptype = 'e' WHERE p.pronamespace = 'public'::regnamespace AND d.objid IS NULL""",
    "triggers": """SELECT t.tgrelid::regclass::text, t.tgname, pg_get_triggerdef(t.oid) FROM pg_trigger t
        WHERE NOT t.tgisinternal""",
    "types": """SELECT t.typname, t.typtype::text FROM pg_type t LEFT JOIN pg_depend d ON d.objid = t.oid AND
        d.deptype = 'e' WHERE t.typnamespace = 'public'::regnamespace AND d.objid IS NULL""",
    "sequences": "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'",
    "extensions": "SELECT extname FROM pg_extension",
}


async def schema_of(dsn: str) -> dict[str, list[str]]:
    """Everything in the schema but for the migration tool's own tables, as sorted text."""
    connection = await asyncpg.connect(dsn)
    try:
        return {
            part: sorted(text for row in await connection.fetch(query) if "_pogo" not in (text := repr(tuple(row))))
            for part, query in CATALOGUE.items()
        }
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def migrated(postgres: TestPostgres) -> str:
    """A database with every migration applied, to look at and not to write to."""
    return postgres.new_database_sync()


def steps() -> int:
    return len(list(migrations.MIGRATIONS_DIR.glob("*.sql")))


@pytest.mark.parametrize("back", range(1, steps() + 1))
async def test_migrations_down_and_up_again_change_nothing(postgres: TestPostgres, migrated: str, back: int) -> None:
    """Whatever number of migrations is taken back: applied again, the schema is that of a fresh database."""
    dsn = await postgres.empty_database()
    empty = await schema_of(dsn)
    await migrations.up(dsn)
    fresh = await schema_of(migrated)
    assert fresh["columns"]
    assert await schema_of(dsn) == fresh
    await migrations.down(dsn, back)
    if back == steps():
        assert await schema_of(dsn) == empty, "taking back all leaves nothing behind"
    else:
        assert await schema_of(dsn) != fresh
    await migrations.up(dsn)
    assert await schema_of(dsn) == fresh
    assert all(m.applied for m in await migrations.status(dsn))


async def test_nodes_that_start_together_migrate_once(postgres: TestPostgres, migrated: str) -> None:
    """They wait for each other."""
    dsn = await postgres.empty_database()
    await asyncio.gather(*(migrations.up(dsn) for _ in range(4)))
    assert await schema_of(dsn) == await schema_of(migrated)


async def test_every_named_query_prepares(migrated: str) -> None:
    """Postgres understands each against the migrated schema."""
    connection = await asyncpg.connect(migrated)
    wrong: dict[str, str] = {}
    try:
        for name, text in queries().items():
            try:
                await connection.prepare(text)
            except asyncpg.PostgresError as error:
                wrong[name] = str(error)
    finally:
        await connection.close()
    assert wrong == {}


def test_every_named_query_is_used() -> None:
    """A query nobody asks is read by everybody for nothing."""
    text = "".join(t for _, t in sources("storage", "jobs", "server"))
    assert [name for name in queries() if not re.search(rf"""["']{name}["']""", text)] == []


def test_queries_that_are_asked_exist() -> None:
    """A name that is written wrong fails here and not when a user comes by."""
    asked = {
        name
        for _, text in sources("storage", "jobs", "server")
        for name in re.findall(
            r"""\b(?:database|tx|_database|queries|_queries)\.(?:fetch|row|value)\(\s*"(\w+)\"""", text
        )
        + re.findall(r"""\bsql\("(\w+)"\)""", text)
    }
    assert len(asked) > 20, "the search finds what it looks for"
    assert asked - set(queries()) == set()
