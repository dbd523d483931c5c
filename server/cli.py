"""The command line: `python -m server`, installed as `slotcast`."""

import asyncio
import sys
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Optional

import asyncpg
import orjson
import typer

from server import backup_cli, cluster_cli, config, jobs_cli
from server.config import ConfigError, Settings

app = typer.Typer(
    help="Slotcast, a real-time scheduling server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
migrate_app = typer.Typer(help="The database schema.", no_args_is_help=True)
app.add_typer(migrate_app, name="migrate")
app.add_typer(cluster_cli.app, name="cluster")
app.add_typer(jobs_cli.app, name="jobs")
app.command()(backup_cli.backup)
app.command()(backup_cli.restore)

ConfigFile = Annotated[Optional[str], typer.Option("--config", help="A TOML file with settings.")]  # noqa: UP045 - typer on 3.11


def _settings(path: str | None = None) -> Settings:
    from server.logs import configure

    settings = config.load(path)
    configure(settings.log_level, settings.log_format)
    return settings


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    if sys.platform == "win32":
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


def _fail(text: str) -> typer.Exit:
    typer.echo(f"slotcast: {text}", err=True)
    return typer.Exit(2)


@app.command()
def serve(
    demo: Annotated[bool, typer.Option(help="Make a demo business and print a login and a token.")] = False,
    workers: Annotated[
        Optional[int],  # noqa: UP045 - typer on 3.11
        typer.Option(min=1, max=config.WORKERS_MAX, help="How many nodes share the port. [default: SLOTCAST_WORKERS]"),
    ] = None,
    worker: Annotated[Optional[str], typer.Option(hidden=True)] = None,  # noqa: UP045 - typer on 3.11
    config_file: ConfigFile = None,
) -> None:
    """Start one node, or several on one port."""
    from protocol.errors import Refused
    from server.dsn import dsn_of
    from server.inherited import Inherited
    from storage.ownership import AlreadyRunning

    settings = _settings(config_file)
    count = workers or settings.workers
    try:
        if worker is None and count > 1:
            code = _supervise(settings, count)
        else:
            # Only a node needs all of this; the parent of workers stays small.
            from server.serve import serve as run

            inherited = Inherited(worker) if worker else None
            code = _run(run(settings, dsn_of(settings), demo=demo, inherited=inherited))
    except AlreadyRunning as error:
        raise _fail(str(error)) from None
    except (Refused, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        from server.serve import explain

        raise _fail(f"cannot start: {explain(error)}") from None
    raise typer.Exit(code)


def _supervise(settings: Settings, count: int) -> int:
    from server import workers
    from server.dsn import dsn_of

    workers.refuse_unusable(settings, count)
    return workers.run(settings, dsn_of(settings), count)


@migrate_app.command("up")
def migrate_up(config_file: ConfigFile = None) -> None:
    """Apply what is missing."""
    from storage import migrations

    _database(config_file, migrations.up)


@migrate_app.command("down")
def migrate_down(
    count: Annotated[int, typer.Option(min=1, help="How many to take back.")] = 1,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; the data of those migrations is lost.")] = False,
    config_file: ConfigFile = None,
) -> None:
    """Take back the last migrations, with their data."""
    from storage import migrations

    if not yes:
        typer.confirm(f"Take back {count} migration(s) and lose their data?", abort=True)
    _database(config_file, lambda dsn: migrations.down(dsn, count))


@migrate_app.command("status")
def migrate_status(config_file: ConfigFile = None) -> None:
    """List migrations and whether they are applied."""
    from storage import migrations

    for state in _database(config_file, migrations.status):
        typer.echo(f"{'applied' if state.applied else 'pending'}  {state.id}")


@migrate_app.command("new")
def migrate_new(name: str) -> None:
    """Write an empty migration."""
    from storage.migrations import MIGRATIONS_DIR

    if not name.replace("_", "").isalnum():
        raise _fail("a migration's name is letters, digits and underscores")
    existing = sorted(p.stem for p in MIGRATIONS_DIR.glob("*.sql"))
    # After the last of all days: they are applied in the order of their names.
    number = max((int(stem.split("_")[1]) for stem in existing), default=0) + 1
    path = MIGRATIONS_DIR / f"{datetime.now(UTC):%Y%m%d}_{number:02d}_{name}.sql"
    depends = existing[-1] if existing else ""
    path.write_text(f"-- {name}\n-- depends: {depends}\n\n-- migrate: apply\n\n-- migrate: rollback\n")
    typer.echo(str(path))


def _database(config_file: str | None, work: Any) -> Any:
    from protocol.errors import Refused
    from server.dsn import dsn_of
    from server.serve import explain

    settings = _settings(config_file)
    try:
        return _run(work(dsn_of(settings)))
    except Refused as refused:
        if refused.code == "conflict":
            raise
        raise _fail(f"cannot reach the database: {explain(refused)}") from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _fail(f"cannot reach the database: {explain(error)}") from None


@app.command()
def token(
    business: Annotated[str, typer.Option(help="The business's slug.")],
    role: Annotated[str, typer.Option(help="owner, manager or service.")],
    ttl: Annotated[str, typer.Option(help="How long it is good: 30m, 1h, 7d.")] = "1h",
    config_file: ConfigFile = None,
) -> None:
    """Print an access token for a business."""
    from protocol.ids import new_id
    from server.auth import Auth
    from server.keys import ring_of
    from server.principal import Principal
    from storage.businesses import business_by_slug
    from storage.meter import NullMeter
    from storage.postgres import Database

    if role not in ("owner", "manager", "service"):
        raise _fail("--role is owner, manager or service")
    seconds = _seconds(ttl)
    settings = _settings(config_file)

    async def find(dsn: str) -> str | None:
        database = await Database.open(dsn, 2, NullMeter())
        try:
            found = await business_by_slug(database, business)
            return found.id if found else None
        finally:
            await database.close()

    business_id = _database(config_file, find)
    if business_id is None:
        raise _fail(f"there is no business {business!r}")
    principal = Principal(new_id(), business_id, role, time.time() + seconds)  # type: ignore[arg-type] - checked above
    typer.echo(Auth(settings.jwt_secret, ring_of(settings.jwt_keys, settings.jwt_secret)).issue(principal))


def _seconds(text: str) -> int:
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:])
    number = text[:-1]
    if unit is None or not (number.isascii() and number.isdigit()) or not 0 < int(number) * unit <= 3650 * 86400:
        raise _fail("--ttl is a number and a unit: 30m, 1h, 7d")
    return int(number) * unit


@app.command("create-admin")
def create_admin(
    email: Annotated[str, typer.Option(help="The super admin's e-mail.")],
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)],
    name: Annotated[str, typer.Option()] = "Administrator",
    config_file: ConfigFile = None,
) -> None:
    """Make a super admin. The only way there is."""
    from protocol.errors import Refused
    from protocol.ids import new_id
    from server import identity
    from server.passwords import hash_password
    from storage.meter import NullMeter
    from storage.postgres import Database

    try:
        address = identity.email(email)
    except Refused:
        raise _fail(f"{email!r} is no e-mail address") from None
    if not 10 <= len(password) <= 1024:
        raise _fail("a password has 10 to 1,024 characters")

    async def make(dsn: str) -> None:
        database = await Database.open(dsn, 2, NullMeter())
        try:
            await database.value(
                "insert_user", new_id(), address, None, None, name, hash_password(password), True, "en", None
            )
        finally:
            await database.close()

    try:
        _database(config_file, make)
    except Refused as refused:
        raise _fail(f"{address}: {refused.detail}") from None
    typer.echo(f"super admin {address} made")


@app.command("check-config")
def check_config(config_file: ConfigFile = None) -> None:
    """Print the settings in force, secrets hidden, or say what is wrong with them."""
    typer.echo(orjson.dumps(config.redacted(_settings(config_file)), option=orjson.OPT_INDENT_2).decode())


@app.command()
def openapi(
    output: Annotated[Path | None, typer.Option(help="A file instead of standard output.")] = None,
) -> None:
    """Print the OpenAPI document."""
    from server.app import endpoints
    from server.openapi import document

    text = orjson.dumps(document(endpoints(None)), option=orjson.OPT_INDENT_2).decode()
    if output is None:
        typer.echo(text)
    else:
        output.write_text(text + "\n")


def main() -> None:
    try:
        app()
    except ConfigError as error:
        typer.echo(f"slotcast: {error}", err=True)
        sys.exit(2)
