"""docs/permissions.md as the tests read it: what each cell of the matrix has to answer."""

import re
from functools import cache
from typing import Any, Final, NamedTuple

from tests.support.server import ROOT

LEVELS: Final = frozenset({"any", "whole", "location", "own", "—"})
JUDGED: Final = frozenset(
    {
        "nobody", "whoever asks", "oneself", "the platform", "the business", "a list", "a location", "a membership",
        "a request", "a calendar", "a hold", "a booking", "a client", "a client's bookings",
    }
)  # fmt: skip
_BASE: Final = "/api/v1/"


class Row(NamedTuple):
    """What an operation needs, and of what; without `permission` it is open to everybody."""

    permission: str | None
    of: str


class Page(NamedTuple):
    levels: dict[str, dict[str, str]]
    operations: dict[tuple[str, str], Row]
    messages: dict[str, Row]
    fields: dict[str, Row]


@cache
def page() -> Page:
    tables = _tables((ROOT / "docs/permissions.md").read_text())
    roles = [_role(head) for head in tables["permission"][0][1:]]
    levels = {_code(p): dict(zip(roles, cells, strict=True)) for p, *cells in tables["permission"][1:]}
    operations = {}
    for cell, needs, of in tables["operation"][1:]:
        method, path = _code(cell).split(" ")
        key = method, path if path.startswith("/") else _BASE + path
        assert key not in operations, f"docs/permissions.md has two rows for {cell}"
        operations[key] = _row(needs, of)
    messages = {_code(tag): _row(needs, of) for tag, needs, of in tables["message"][1:]}
    fields = {_code(name): _row(needs, of) for name, needs, of in tables["field"][1:]}
    return Page(levels, operations, messages, fields)


def _tables(text: str) -> dict[str, list[list[str]]]:
    """Each table by what heads its first column, the heads first, without the line below them."""
    found: dict[str, list[list[str]]] = {}
    current: list[list[str]] | None = None
    for line in text.splitlines():
        if not line.startswith("|"):
            current = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if current is None:
            current = found.setdefault(cells[0], [])
        if not set("".join(cells)) <= {"-"}:
            current.append(cells)
    return found


def _code(cell: str) -> str:
    match = re.fullmatch(r"`([^`]+)`", cell)
    assert match, f"docs/permissions.md: {cell} should stand in backticks"
    return match[1]


def _role(head: str) -> str:
    return {"super admin": "super_admin", "visitor": "public"}.get(head, head)


def _row(needs: str, of: str) -> Row:
    return Row(None if needs == "nothing" else _code(needs), of)


def row_of(method: str, path: str) -> Row:
    """The row of a route. Fails, and says what to do, where there is none."""
    found = page().operations.get((method, path))
    assert found is not None, (
        f"docs/permissions.md says nothing of {method} {path.removeprefix(_BASE)}: write a row for it, and a request in"
        " tests/permissions/probes.py"
    )
    return found


# The expectation


class Who(NamedTuple):
    """A caller, in the page's words. `place` limits a manager, `own` is whose calendar or client they are."""

    name: str
    role: str | None = None
    business: str | None = None
    place: str | None = None
    own: str | None = None
    scopes: tuple[str, ...] | None = None


ALLOWED: Final = 200


def expected(row: Row, who: Who, side: str, *, names_something: bool, guests: bool = False) -> int:
    """200 for a caller who gets in, else the status of the refusal.

    `side` is where the target is: `here`, `there` (both in the first business), or `foreign` (in the second).
    `names_something`: the request has an id.
    """
    if row.permission is None:
        return 401 if row.of == "whoever asks" and who.name == "garbage" else ALLOWED
    if who.role is None:
        return 404 if guests and who.name == "manage token of another" else 401
    if who.scopes is not None and row.permission not in who.scopes:
        return 403
    level = page().levels[row.permission][who.role]
    if level == "whole":
        level = "any" if who.place is None else "—"
    if level == "location" and who.place is None:
        level = "any"
    if level == "—":
        return 403
    if row.of in ("the platform", "oneself"):
        return ALLOWED
    if row.of == "the business" and level != "any":
        return 403
    elsewhere = (side == "foreign") != (who.business == "second")
    if names_something and elsewhere and who.role not in ("super_admin", "public"):
        return 404
    if level == "any":
        return ALLOWED
    return _within(row.of, level, who, side)


def _within(of: str, level: str, who: Who, side: str) -> int:
    theirs = side == (who.place if level == "location" else who.own)
    if of == "a list" or (of == "a client's bookings" and who.role != "client"):
        return ALLOWED
    if of == "a location":
        return ALLOWED if theirs else 403
    if of == "a request":
        return ALLOWED if theirs and level == "own" else 404
    if of == "a calendar":
        return ALLOWED if theirs or who.role in ("client", "public") else 403
    if of == "a hold" and who.role == "public":
        return ALLOWED
    if of in ("a membership", "a hold", "a booking", "a client", "a client's bookings"):
        return ALLOWED if theirs else 404
    return 403


def document_operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each operation."""
    return [
        (method.upper(), path, operation)
        for path, found in document["paths"].items()
        for method, operation in found.items()
    ]
