"""`slotcast backup` and `slotcast restore`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Optional

import asyncpg
import typer

from protocol.errors import Refused
from server import config

ConfigFile = Annotated[Optional[str], typer.Option("--config", help="A TOML file with settings.")]  # noqa: UP045 - typer on 3.11
File = Annotated[Path, typer.Argument(help="The file.", dir_okay=False)]


def backup(file: File, config_file: ConfigFile = None) -> None:
    """Write the whole database to a new file, while nodes are running or not."""
    from server.backup import dump

    _do(config_file, lambda dsn: dump(dsn, file))
    typer.echo(f"{file}: {file.stat().st_size:,} bytes. Keep SLOTCAST_JWT_SECRET beside it, or tokens are void.")


def restore(file: File, config_file: ConfigFile = None) -> None:
    """Read a backup into an empty database."""
    from server.backup import restore as read

    _do(config_file, lambda dsn: read(dsn, file))
    typer.echo(f"{file} is restored. Nodes that start on it apply what migrations are missing.")


def _do(config_file: str | None, work: Callable[[str], None]) -> None:
    from server.backup import BackupError
    from server.dsn import dsn_of
    from server.serve import explain

    settings = config.load(config_file)
    try:
        work(dsn_of(settings))
    except BackupError as error:
        _fail(str(error))
    except (Refused, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        _fail(explain(error))


def _fail(text: str) -> None:
    typer.echo(f"slotcast: {text}", err=True)
    raise typer.Exit(2)
