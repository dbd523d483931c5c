"""`slotcast cluster`: what operators ask of and about several nodes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Optional

import asyncpg
import msgspec
import typer

from protocol.errors import Refused
from protocol.ids import new_id
from server import config
from server.config import ConfigError, Settings

if TYPE_CHECKING:
    from storage.postgres import Database
    from storage.redis_directory import RedisDirectory

app = typer.Typer(help="Several nodes that share the calendars.", no_args_is_help=True)

ConfigFile = Annotated[Optional[str], typer.Option("--config", help="A TOML file with settings.")]  # noqa: UP045 - typer on 3.11


@app.command()
def status(
    json: Annotated[bool, typer.Option("--json", help="All of it, for machines.")] = False,
    config_file: ConfigFile = None,
) -> None:
    """Show nodes and shards: who owns what, and what is on its way."""
    from server.cluster_status import as_text, cluster_status

    found = _ask(config_file, cluster_status)
    typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode() if json else as_text(found))


@app.command()
def drain(node: Annotated[str, typer.Argument(help="Its name or id.")], config_file: ConfigFile = None) -> None:
    """Let a node hand all its shards to the others. It goes on passing requests on until it is stopped."""

    async def ask(directory: "RedisDirectory", _: "Database") -> bool:
        return await directory.request_drain(node)

    if not _ask(config_file, ask):
        typer.echo(f"slotcast: there is no node {node!r} alive", err=True)
        raise typer.Exit(2)
    typer.echo(f"{node} was asked to hand over its shards")


def _ask(config_file: str | None, work: "Callable[[RedisDirectory, Database], Awaitable[Any]]") -> Any:
    from storage.redis_client import RedisUnusable

    settings = config.load(config_file)
    if not settings.redis_url:
        raise ConfigError("SLOTCAST_REDIS_URL is not set: a single node has no cluster")
    try:
        return asyncio.run(_with_both(settings, work))
    except (Refused, RedisUnusable, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        text = error.detail or error.kind.title if isinstance(error, Refused) else str(error)
        typer.echo(f"slotcast: {text}", err=True)
        raise typer.Exit(2) from None


async def _with_both(settings: Settings, work: "Callable[[RedisDirectory, Database], Awaitable[Any]]") -> Any:
    from server.dsn import dsn_of
    from storage.meter import NullMeter
    from storage.postgres import Database
    from storage.redis_client import RedisServer, key_prefix
    from storage.redis_directory import RedisDirectory

    redis = RedisServer(settings.redis_url)
    await redis.check()
    database = await Database.open(dsn_of(settings), 2, NullMeter())
    try:
        prefix = key_prefix(await database.value("database_id", new_id()))
        directory = RedisDirectory(redis, prefix, settings.lease_ttl_s)
        try:
            return await work(directory, database)
        finally:
            await directory.stop()
    finally:
        await database.close()
