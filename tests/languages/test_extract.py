"""The search for texts finds what it looks for, and tells what it cannot read."""

from tests.languages import elsewhere
from tests.languages.extract import Opaque, Said, found, found_in

_SOURCE = """
TABLE = {"a": "from a table", "b": f"{x} from it"}

def one(field, found):
    detail = "named before" if found else f"{found} was found"
    raise Refused("conflict", detail)

async def two(field):
    if field:
        raise invalid(field, f"at most {limits.most!r:.9} words"  " in two parts")
    problem.Refusal("a", detail="as a keyword")
    Refused("a", TABLE.get(field, "not this"))
    Refused("a")
    Refused("a", "")
    Refused("a", str(field) + "glued")

def three(detail):
    return Refused("a", detail)

def four(field):
    message = _five(field)
    return Refused("a", message) if message else None

def _five(field):
    if field:
        return f"{field} is returned"
    return "" if field is None else "and so is this"
"""


def test_texts_are_found_however_they_are_written() -> None:
    what = list(found_in("x.py", _SOURCE))
    assert {s.template for s in what if isinstance(s, Said)} == {
        "named before", "{0} was found", "at most {0} words in two parts", "as a keyword", "from a table",
        "{0} from it", "{0} is returned", "and so is this",
    }  # fmt: skip
    assert [s.code for s in what if isinstance(s, Opaque)] == ["str(field) + 'glued'", "detail"]


def test_the_house_says_nothing_that_cannot_be_found() -> None:
    opaque = {(s.where, s.code) for s in found() if isinstance(s, Opaque)}
    assert opaque - set(elsewhere.NOT_FOUND) == set(), "write it as a literal or an f-string, or say where it is found"
    assert set(elsewhere.NOT_FOUND) - opaque == set(), "these are said no more"


def test_nothing_else_is_named_that_is_gone() -> None:
    said = {s.template for s in found() if isinstance(s, Said)}
    assert set(elsewhere.WHOLE) - said == set()
