"""The page of permissions agrees with the table that decides, with the routes and with the live protocol."""

from typing import Any, get_args

import pytest

from protocol import bodies, live
from server import asyncapi, desk, openapi
from server.app import endpoints
from server.live import commands, viewing
from server.permissions import TABLE, Reach
from tests.permissions.page import JUDGED, LEVELS, document_operations, page, row_of

DOCUMENT = openapi.document(endpoints(None))
OPERATIONS = document_operations(DOCUMENT)


def test_the_page_and_the_table_that_decides_are_one() -> None:
    """Every permission and every role, cell by cell."""
    levels = page().levels
    assert list(levels) == list(TABLE), "docs/permissions.md lists the permissions of server/permissions.py, in order"
    for permission, row in TABLE.items():
        decided = {role: row.get(role, Reach.NONE).name.lower().replace("none", "—") for role in levels[permission]}
        assert levels[permission] == decided, permission
        assert set(row) <= set(levels[permission]), "a role without a column"


def test_the_page_uses_the_words_that_it_explains() -> None:
    """Nothing else is judged, and nothing is judged by a word that the test does not know."""
    found = page()
    assert {level for row in found.levels.values() for level in row.values()} <= LEVELS
    assert {row.of for row in (*found.operations.values(), *found.messages.values())} <= JUDGED


@pytest.mark.parametrize(("method", "path"), [o[:2] for o in OPERATIONS], ids=[" ".join(o[:2]) for o in OPERATIONS])
def test_every_route_has_a_row_that_names_what_it_needs(method: str, path: str) -> None:
    """The page, OpenAPI and the endpoint say the same."""
    row = row_of(method, path)
    operation = DOCUMENT["paths"][path][method.lower()]
    assert operation["x-permission"] == row.permission
    assert (row.of in ("nobody", "whoever asks")) == (row.permission is None)
    optional: list[dict[str, Any]] = [{}, {"bearer": []}]
    other = optional if operation["operationId"] in VISITORS else None
    assert operation.get("security") == {"nobody": [], "whoever asks": optional}.get(
        row.of, [{"bearer": []}, {"manageToken": []}] if _guests(operation) else other
    )


VISITORS = {"make_hold", "book", "join"}
"""The page names them below the table: who has no login may do it with an offering's code."""


def _guests(operation: dict[str, Any]) -> bool:
    """Whether the operation is one of those that the page names below the table."""
    return operation["operationId"] in {
        "read_booking", "patch_booking", "reschedule", "cancel", "history", "read_entry", "leave",
    }  # fmt: skip


def test_the_page_has_no_route_that_is_no_more() -> None:
    assert set(page().operations) == {o[:2] for o in OPERATIONS}


def test_every_live_message_has_a_row() -> None:
    """Out of the published protocol: what acts or watches needs a permission, what is left only keeps a connection."""
    received = asyncapi.document()["operations"]["receive"]["messages"]
    tags = {message["$ref"].rsplit("/", 1)[1] for message in received}
    assert set(page().messages) == tags - {"auth", "unsubscribe", "ping"}
    needs = {kind.__struct_config__.tag: commands.NEEDS[kind] for kind in get_args(live.LiveCommand)}
    assert {tag: row.permission for tag, row in page().messages.items()} == {**needs, "subscribe": viewing.NEEDS}


def test_a_field_that_needs_more_is_one_that_is_asked_for() -> None:
    """By the name that the page gives it, and with the permission that the desk asks for."""
    assert {name: row.permission for name, row in page().fields.items()} == {"double_booking": desk.DOUBLE}
    for body in (bodies.BookingCreate, bodies.RescheduleBody, live.Book, live.Reschedule):
        assert set(page().fields) <= set(body.__struct_fields__)


def test_every_permission_is_needed_somewhere() -> None:
    """One that nothing needs is a promise about nothing."""
    found = page()
    rows = (*found.operations.values(), *found.messages.values(), *found.fields.values())
    needed = {row.permission for row in rows}
    assert set(TABLE) - needed == set()
