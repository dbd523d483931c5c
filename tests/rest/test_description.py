"""The description is whole: whoever reads only `/openapi.json` can write a client."""

from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate

from protocol.errors import KINDS
from server import examples, openapi
from server.app import endpoints
from tests.permissions.page import document_operations

ENDPOINTS = endpoints(None)
DOCUMENT = openapi.document(ENDPOINTS)
OPERATIONS = [pytest.param(m, p, o, id=f"{m} {p}") for m, p, o in document_operations(DOCUMENT)]
SPEAKS_FOR_ITSELF = {"Empty", "DeviceTokenAsk"}


def test_it_is_valid() -> None:
    """By the reference validator, so generators take it."""
    validate(DOCUMENT)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_every_operation_is_described(method: str, path: str, operation: dict[str, Any]) -> None:
    """What it does, where it belongs, what it needs, what it answers and how it fails."""
    assert operation["summary"][0].isupper()
    assert not operation["summary"].endswith(".")
    assert len(operation["tags"]) == 1
    assert operation["tags"][0] in [tag["name"] for tag in DOCUMENT["tags"]]
    assert "x-permission" in operation
    for alternative in operation.get("security", DOCUMENT["security"]):
        assert set(alternative) <= set(DOCUMENT["components"]["securitySchemes"])
    successes = {status for status in operation["responses"] if status < "300"}
    assert successes
    for status, answer in operation["responses"].items():
        assert answer["description"]
        if status >= "400" and path.startswith("/api/v1/"):
            codes = answer["description"].removeprefix("`code` is one of: ").replace("`", "").split(", ")
            assert all(KINDS[code].status == int(status) for code in codes), (status, codes)
    if path.startswith("/api/v1/"):
        expected = {"422", "429", "503"} | ({"401", "403"} if operation["x-permission"] else set())
        assert expected <= set(operation["responses"])
        if method != "DELETE" and "204" not in successes:
            assert all("content" in operation["responses"][status] for status in successes)


@pytest.mark.parametrize("body", sorted({e.body.__name__ for e in ENDPOINTS if e.body is not None}))
def test_every_body_has_an_example_that_is_taken(body: str) -> None:
    """A new type has to be given one, unless it says everything by being empty."""
    if body in SPEAKS_FOR_ITSELF:
        assert body not in examples.BODIES
        return
    assert body in examples.BODIES, f"server/examples.py has none for {body}"
    kind = next(e.body for e in ENDPOINTS if e.body is not None and e.body.__name__ == body)
    assert msgspec.convert(examples.BODIES[body], kind)


def test_no_example_is_of_a_body_that_is_no_more() -> None:
    assert set(examples.BODIES) <= {e.body.__name__ for e in ENDPOINTS if e.body is not None}


def test_ways_to_prove_oneself_are_named() -> None:
    """A token, or a guest's manage token; nothing needs a login that does not say so."""
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert (schemes["manageToken"]["in"], schemes["manageToken"]["name"]) == ("header", "X-Manage-Token")
    guests = {
        f"{method} {path}"
        for method, path, operation in document_operations(DOCUMENT)
        if {"manageToken": []} in operation.get("security", ())
    }
    b = "/api/v1/bookings/{id}"
    w = "/api/v1/waitlist/{id}"
    assert guests == {
        f"GET {b}", f"PATCH {b}", f"POST {b}/cancel", f"POST {b}/reschedule", f"GET {b}/history", f"GET {w}",
        f"DELETE {w}",
    }  # fmt: skip
