"""Which language is chosen, from what people, bookings, browsers and businesses say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.languages import LANGUAGES, accepted, choose, of


def test_whoever_is_nearer_to_the_reader_goes_first() -> None:
    assert choose("kk", "ru", "en", "ru") == "kk"
    assert choose(None, "ru", "kk", "en") == "ru"
    assert choose(None, None, "kk", "ru") == "kk"
    assert choose(None, None, None, "ru") == "ru"
    assert choose(None, None, None, None) == "en"


def test_what_is_not_spoken_is_passed_over() -> None:
    assert choose("de", "fr-FR", "es, it;q=0.5", "ru-KZ") == "ru"
    assert choose("de", None, "*", "de") == "en"
    assert choose("", "", "", "") == "en"


@pytest.mark.parametrize(
    ("locale", "language"),
    [("ru", "ru"), ("ru-KZ", "ru"), ("kk_KZ", "kk"), ("EN-gb", "en"), ("rus", None), ("kkj", None), ("r", None)],
)
def test_a_locale_is_of_a_language(locale: str, language: str | None) -> None:
    assert of(locale) == language


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("ru", "ru"),
        ("ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7", "ru"),
        ("en;q=0.5, kk;q=0.9", "kk"),
        ("de, ru;q=0.1", "ru"),
        ("ru;q=0, en;q=0.1", "en"),
        ("kk, ru", "kk"),
        ("ru ; q = 0.3 , kk;q=0.31", "kk"),
        ("zh-Hant-TW,zh;q=0.9", None),
        ("*", None),
        ("ru;q=2", None),
        ("ru;level=1", None),
        (";;,,=", None),
        ("", None),
        (None, None),
    ],
)
def test_an_accept_language_is_weighed(header: str | None, language: str | None) -> None:
    assert accepted(header) == language


def test_only_the_beginning_of_a_header_is_looked_at() -> None:
    assert accepted("de," * 1_000 + "ru") is None


@given(st.text(max_size=300))
def test_no_header_is_too_strange(header: str) -> None:
    assert accepted(header) in (*LANGUAGES, None)
    assert choose(header, header, header, header) in LANGUAGES
