"""Named SQL from `sql/queries/`, read once. The SQL is there, not here."""

import re
from functools import cache
from pathlib import Path
from typing import Final

SQL_DIR: Final = Path(__file__).resolve().parents[1] / "sql"
_NAME: Final = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def queries() -> dict[str, str]:
    """Every named query. A name that stands twice is an error at start."""
    found: dict[str, str] = {}
    for path in sorted((SQL_DIR / "queries").glob("*.sql")):
        _, *parts = _NAME.split(path.read_text())
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise ValueError(f"query {name} stands twice")
            found[name] = text.strip().rstrip(";")
    return found


def sql(name: str) -> str:
    return queries()[name]
