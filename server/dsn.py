"""Which database to use, decided once per process."""

from pathlib import Path

from server.config import Settings
from storage import embedded


def dsn_of(settings: Settings) -> str:
    """Starts the embedded one when none is named."""
    return embedded.start(Path(settings.data_dir)) if settings.embedded else settings.database_url
