"""Everything that is said is translated, wholly, and nothing else is."""

import re

import pytest

from protocol.languages import Language
from server.translations import FORMS
from tests.languages import elsewhere
from tests.languages.catalogues import DOMAINS, TRANSLATED, kept, path_of, wanted

_HOLES = re.compile(r"\{\d\}|%\(\w+\)s|%[sd]")
_HOW = "run `make texts`, then translate what is new"
EVERY = [(domain, language) for domain in DOMAINS for language in TRANSLATED]


@pytest.mark.parametrize(("domain", "language"), EVERY)
def test_no_text_is_missing_and_none_is_stale(domain: str, language: Language) -> None:
    there = {message.id for message in kept(domain, language) if message.id}
    expected = set(wanted(domain))
    assert expected - there == set(), _HOW
    assert there - expected == set(), f"these are said no more: {_HOW}"


@pytest.mark.parametrize(("domain", "language"), EVERY)
def test_every_text_is_translated_in_all_its_forms(domain: str, language: Language) -> None:
    catalogue = kept(domain, language)
    assert catalogue.num_plurals == len(FORMS[language])
    for message in catalogue:
        if not message.id:
            continue
        plural = isinstance(message.id, tuple)
        forms = message.string if isinstance(message.string, tuple) else (message.string,)
        assert len(forms) == (catalogue.num_plurals if plural else 1), message.id
        assert all(form and form.strip() for form in forms), message.id
        assert not message.fuzzy, message.id


@pytest.mark.parametrize(("domain", "language"), EVERY)
def test_what_is_filled_in_is_the_same(domain: str, language: Language) -> None:
    for message in kept(domain, language):
        if not message.id:
            continue
        english = message.id if isinstance(message.id, tuple) else (message.id,)
        holes = {hole for text in english for hole in _HOLES.findall(text)}
        for form in message.string if isinstance(message.string, tuple) else (message.string,):
            filled = set(_HOLES.findall(form))
            # What a library says about its own reasons may be left out, and "one" may stand for 1.
            may_lack = holes if message.id in elsewhere.LIBRARIES or isinstance(message.id, tuple) else set()
            assert filled <= holes, (message.id, form)
            assert holes - filled <= may_lack, (message.id, form)


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_sentence_stays_one_and_a_half_sentence_half(language: Language) -> None:
    """Titles and details are put together with others."""
    for message in kept("problems", language):
        if not isinstance(message.id, str) or not message.id or message.id in elsewhere.LIBRARIES:
            continue
        assert message.string.strip() == message.string, message.id
        assert (message.string[-1] in ".!?…:") == (message.id[-1] in ".!?…:"), message.id


@pytest.mark.parametrize(("domain", "language"), EVERY)
def test_the_alphabet_is_the_languages_own(domain: str, language: Language) -> None:
    """A letter of the other alphabet that looks the same is found by no search and read by no machine."""
    mixed = re.compile(r"(?=[А-Яа-яЁёӘәҒғҚқҢңӨөҰұҮүҺһІі])\w*[A-Za-z]\w*|\b[A-Za-z]+[А-Яа-яЁёӘәҒғҚқҢңӨөҰұҮүҺһІі]\w*")
    for message in kept(domain, language):
        for form in message.string if isinstance(message.string, tuple) else (message.string,):
            if message.id:
                assert mixed.findall(form) == [], (message.id, form)


def test_the_files_hold_nothing_beside_it() -> None:
    names = {path_of(domain, language) for domain, language in EVERY}
    assert set(path_of("problems", "ru").parents[2].rglob("*.po")) == names
