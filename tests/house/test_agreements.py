"""What was agreed and could be forgotten: settings, codes, rooms, sizes, where SQL may stand."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from actors.calendar import apply, decide
from actors.calendar.commands import AnyCommand
from protocol import events as ev
from protocol.errors import KINDS
from server.config import DESCRIPTIONS, PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("protocol", "actors", "storage", "jobs", "server", "bench")
ROOMS = (*PACKAGES, "sql", "tests")
LINES_MAX = 400
# Longer ones, with the reason a reader is given and a bound of their own.
LONGER = {
    "protocol/bodies.py": (500, "a catalogue: one type after the other, read by looking up"),
}


def sources(*folders: str, suffixes: tuple[str, ...] = (".py",)) -> Iterator[tuple[str, str]]:
    """Name and text of every file below the folders."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and "node_modules" not in path.parts and "__pycache__" not in path.parts:
                yield path.relative_to(ROOT).as_posix(), path.read_text()


def table_rows(page: str, pattern: str) -> list[list[str]]:
    """The cells of the markdown rows whose first cell holds the pattern in backticks."""
    rows = [
        line.strip().strip("|").split("|") for line in (ROOT / page).read_text().splitlines() if line.startswith("|")
    ]
    return [[c.strip() for c in row] for row in rows if re.search(rf"`({pattern})`", row[0])]


# Settings


def test_every_setting_is_described() -> None:
    """`python -m server config` prints these descriptions."""
    assert set(DESCRIPTIONS) == set(Settings.__struct_fields__)
    assert all(DESCRIPTIONS.values())


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    """Who runs a server finds every setting in one table, and none that is no more."""
    rows = {re.search(rf"`({PREFIX}\w+)`", row[0])[1]: row for row in table_rows("README.md", rf"{PREFIX}\w+")}  # type: ignore[index]
    expected = {PREFIX + name.upper() for name in Settings.__struct_fields__}
    assert set(rows) - {PREFIX + "CONFIG"} == expected
    for name in Settings.__struct_fields__:
        cell = rows[PREFIX + name.upper()][1]
        written = {name: cell.strip("`")} if cell else {}
        documented = getattr(msgspec.convert(written, Settings, strict=False), name)
        assert documented == getattr(Settings(), name), f"README.md gives another default for {PREFIX}{name.upper()}"


# Error codes


def codes_used() -> Iterator[tuple[str, str]]:
    """File and code of each `Refused(…)` and `Refusal(…)` whose code stands there as text."""
    for name, text in sources("protocol", "actors", "storage", "jobs", "server"):
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("Refused", "Refusal"):
                first = node.args[0]
                choices = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
                yield from ((name, c.value) for c in choices if isinstance(c, ast.Constant))


def test_every_code_used_is_a_known_one() -> None:
    """A code without a status would be a 500."""
    found = list(codes_used())
    assert len(found) > 50, "the search finds what it looks for"
    assert [f"{name}: {code}" for name, code in found if code not in KINDS] == []


def test_every_code_is_documented_with_its_status() -> None:
    """docs/errors.md has one row per code that callers may see, and no other."""
    rows = table_rows("docs/errors.md", r"\w+")
    documented = {re.search(r"`(\w+)`", row[0])[1]: row[1] for row in rows}  # type: ignore[index]
    assert set(documented) == set(KINDS)
    wrong = {c: (s, KINDS[c].status) for c, s in documented.items() if s != str(KINDS[c].status)}
    assert wrong == {}


# The house


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_a_readme(room: str) -> None:
    """It says what the room is for, what holds there and where to start."""
    text = (ROOT / room / "README.md").read_text()
    assert len(text.split()) > 30


def test_files_can_be_held_in_mind() -> None:
    """Longer ones need a reason, and one that has become short again needs none."""
    lines = {name: text.count("\n") for name, text in sources(*PACKAGES, suffixes=(".py", ".js"))}
    too_long = {n: c for n, c in lines.items() if c > LONGER.get(n, (LINES_MAX,))[0]}
    assert too_long == {}, "split it, or give the reason in LONGER"
    assert [n for n in LONGER if lines.get(n, 0) <= LINES_MAX] == []


SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s.+\sSET|DELETE\s+FROM|CREATE\s+TABLE|SELECT\s+\w+\()", re.DOTALL
)


def test_sql_stands_in_sql_files() -> None:
    """Neither the edge nor the jobs hold SQL text; docstrings and comments may speak of it."""
    found = [
        f"{name}:{node.lineno}"
        for name, text in sources("server", "jobs", "actors", "protocol")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    ]
    assert found == []


@pytest.mark.parametrize("text", ["SELECT a FROM b", "INSERT  INTO x", "UPDATE x\nSET y", "DELETE FROM z"])
def test_the_search_for_sql_finds_it(text: str) -> None:
    """The test above can fail."""
    assert SQL.search(text)


# Events and commands


def test_event_tags_are_unique_and_public_names() -> None:
    """The tag is the event's name in the API: `thing.happened`, one per kind."""
    kinds = get_args(ev.AnyEvent)
    tags = [ev.tag_of(kind) for kind in kinds]
    assert len(set(tags)) == len(tags)
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", tag) for tag in tags)
    assert set(kinds) == set(ev.Event.__subclasses__()), "every kind can be read back"


def test_every_event_is_applied_and_every_command_decided() -> None:
    """The tables of the core are whole."""
    assert set(apply._APPLY) == set(get_args(ev.AnyEvent))
    assert set(decide._DECIDE) == set(get_args(AnyCommand))
