"""docs/parity.md and the tests that carry its ids agree."""

import ast
import re

import pytest

from tests.house.test_agreements import ROOT, sources

MARKED = {
    node.args[0].value
    for _, text in sources("tests")
    for node in ast.walk(ast.parse(text))
    if isinstance(node, ast.Call)
    and isinstance(node.func, ast.Attribute)
    and node.func.attr == "parity"
    and node.args
    and isinstance(node.args[0], ast.Constant)
}


def rows() -> dict[str, tuple[str, str]]:
    """What is in Slotcast, and the test, by the row's id."""
    found = {}
    for line in (ROOT / "docs/parity.md").read_text().splitlines():
        match = re.match(r"\| ([A-E]\d+) \| [^|]+ \| ([^|]+) \| ?([^|]*)\|$", line)
        if match:
            found[match[1]] = match[2], match[3].strip()
    return found


def test_every_mark_is_a_rows() -> None:
    assert MARKED - set(rows()) == set()
    assert len(rows()) == 83


@pytest.mark.parametrize("row", rows())
def test_a_covered_row_has_its_test(row: str) -> None:
    """And one that is not there yet promises none."""
    told, test = rows()[row]
    if told.startswith("not yet"):
        assert test == ""
    elif not told.startswith("partly"):
        assert test == f'`parity("{row}")`'
    assert not test or row in MARKED
