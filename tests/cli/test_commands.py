"""The other commands: migrations, tokens, the super admin, the description."""

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

import asyncpg
import jwt
import orjson
import pytest

from storage import migrations
from tests.cli.conftest import Cli, one_line
from tests.conftest import business_of
from tests.support.server import ROOT, SECRET, Api, RunningServer


def fetch(dsn: str, query: str, *arguments: Any) -> Any:
    async def read() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(query, *arguments)
        finally:
            await connection.close()

    return asyncio.run(read())


# Migrations


@pytest.mark.parity("A17")
def test_migrations_go_up_and_down_again(cli: Cli, database: dict[str, str]) -> None:
    """Status tells where one is; down takes everything back; twice up is no more than once."""
    dsn = database["DATABASE_URL"]
    names = sorted(p.stem for p in (ROOT / "sql" / "migrations").glob("*.sql"))
    tables = (
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public' AND table_name NOT LIKE '%pogo%'"
    )

    def status() -> list[str]:
        done = cli("migrate", "status", **database)
        assert done.code == 0, done
        return done.out.split("\n")[:-1]

    assert status() == [f"pending  {n}" for n in names]
    assert cli("migrate", "up", **database).code == 0
    assert status() == [f"applied  {n}" for n in names]
    made = fetch(dsn, tables)
    assert made >= 10
    asyncio.run(migrations.up(dsn))
    # Without --yes it asks, and no is no.
    assert cli("migrate", "down", stdin="n\n", **database).code == 1
    assert fetch(dsn, tables) == made
    assert cli("migrate", "down", "--count", str(len(names)), "--yes", **database).code == 0
    assert status() == [f"pending  {n}" for n in names]
    assert fetch(dsn, tables) == 0


@pytest.mark.parity("A17")
def test_a_new_migration_is_written_and_applied(cli: Cli, database: dict[str, str], tmp_path: Path) -> None:
    """In a copy of the rooms: an empty one that depends on the last, and can be applied as it is."""
    copy = tmp_path / "copy"
    for room in ("server", "storage", "protocol", "actors", "jobs", "sql"):
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted(p.stem for p in (copy / "sql" / "migrations").glob("*.sql"))
    done = cli("migrate", "new", "add_colours", cwd=copy)
    assert done.code == 0, done
    path = Path(done.out.strip())
    assert path.parent == copy / "sql" / "migrations"
    assert path.stem.endswith("_add_colours")
    assert f"-- depends: {before[-1]}" in path.read_text()
    assert sorted([*before, path.stem]) == [*before, path.stem], "it comes last"
    assert cli("migrate", "up", cwd=copy, **database).code == 0
    assert fetch(database["DATABASE_URL"], "SELECT count(*) FROM businesses") == 0
    status = cli("migrate", "status", cwd=copy, **database).out.split("\n")[:-1]
    assert status[-1] == f"applied  {path.stem}"
    for bad in ("", "../escape", "a b"):
        assert cli("migrate", "new", "--", bad, cwd=copy).code == 2
    assert len(list((copy / "sql" / "migrations").glob("*.sql"))) == len(before) + 1


# Tokens


async def test_a_token_is_printed_and_opens_the_server(cli: Cli, server: RunningServer, http: Any) -> None:
    """For the business named, with the role and for the time asked for."""
    environment = {"DATABASE_URL": server.dsn, "SLOTCAST_JWT_SECRET": SECRET}
    done = await asyncio.to_thread(
        cli, "token", "--business", "demo", "--role", "manager", "--ttl", "2h", **environment
    )
    assert done.code == 0, done
    token = done.out.strip()
    assert (await Api(server, http, token).get("clients", limit=1)).status == 200
    assert (await Api(server, http, token).get("service-tokens")).status == 403
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["business"] == await business_of(server.dsn)
    assert abs(claims["exp"] - time.time() - 7200) < 60


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--business", "demo", "--role", "king"), "--role"),
        (("--business", "demo'; --", "--role", "owner"), "demo"),
        (("--business", "demo", "--role", "owner", "--ttl", "soon"), "--ttl"),
        (("--business", "demo", "--role", "owner", "--ttl", "0h"), "--ttl"),
        (("--business", "demo", "--role", "owner", "--ttl", "99999d"), "--ttl"),
    ],
)
def test_no_token_is_made_for_a_bad_request(
    cli: Cli, server: RunningServer, arguments: tuple[str, ...], word: str
) -> None:
    """One line says what is wrong, and nothing is printed that looks like a token."""
    done = cli("token", *arguments, DATABASE_URL=server.dsn, SLOTCAST_JWT_SECRET=SECRET)
    one_line(done, word)
    assert done.out == ""


# The super admin


def test_a_super_admin_is_made_once(cli: Cli, database: dict[str, str]) -> None:
    """The password is kept as a hash; the same address, in whatever case, is refused the second time."""
    asyncio.run(migrations.up(database["DATABASE_URL"]))
    arguments = ("create-admin", "--email", "Root@Example.org", "--password", "long enough for all")
    done = cli(*arguments, **database)
    assert done.code == 0, done
    assert "root@example.org" in done.out
    assert "long enough" not in done.out + done.err
    query = "SELECT super_admin::text || ' ' || password_hash FROM users WHERE email = 'root@example.org'"
    stored = fetch(database["DATABASE_URL"], query)
    assert stored.startswith("true $argon2id$")
    one_line(cli(*arguments, **database), "root@example.org")
    assert fetch(database["DATABASE_URL"], "SELECT count(*) FROM users") == 1


@pytest.mark.parametrize(
    ("email", "password", "word"),
    [
        ("root@example.org", "short", "10"),
        ("root@example.org\nx", "long enough for all", "address"),
    ],
)
def test_a_super_admin_needs_an_address_and_a_password(cli: Cli, email: str, password: str, word: str) -> None:
    """Judged before any database is asked."""
    done = cli("create-admin", "--email", email, "--password", password)
    assert done.code == 2, done
    assert word in done.err


# The description


async def test_the_description_is_that_of_the_server(cli: Cli, api: Api, tmp_path: Path) -> None:
    """Printed or written, without a database: what `/openapi.json` answers."""
    file = tmp_path / "openapi.json"
    printed, written = await asyncio.gather(
        asyncio.to_thread(cli, "openapi"), asyncio.to_thread(cli, "openapi", "--output", str(file))
    )
    answered = (await api.get("/openapi.json")).json
    assert (printed.code, written.code) == (0, 0)
    assert orjson.loads(printed.out) == orjson.loads(file.read_bytes()) == answered


def test_help_names_every_command(cli: Cli) -> None:
    """With a line on each."""
    done = cli("--help")
    assert done.code == 0
    for command in ("serve", "migrate", "token", "create-admin", "check-config", "openapi"):
        assert command in done.out
    unknown = cli("fly")
    assert unknown.code == 2
