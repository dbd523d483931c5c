"""Problems in the reader's language.

The house speaks English: a refusal is a sentence where it is raised. Here such a sentence is found again among the
templates of the catalogue, whose holes are `{0}`, `{1}`, …, and said in another language. What no template fits stays
in English.
"""

import re
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from babel import Locale
from babel.messages.catalog import Catalog
from babel.numbers import format_decimal

from jobs.catalogues import catalogue, entries
from protocol import limits
from protocol.errors import Refused, problem
from protocol.languages import DEFAULT, LANGUAGES, Language

LOCALE: Final = Path(__file__).resolve().parent / "locale"
"""`<language>/LC_MESSAGES/<domain>.po`"""
DOMAIN: Final = "problems"

FORMS: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("one", "other"),
    "ru": ("one", "few", "many"),
    "kk": ("one", "other"),
}
"""The plural forms of each language by their names in CLDR, in the order in which catalogues list them."""
COUNTED: Final = re.compile(r"\{(\d)\} (?:more )?(?!(?:is|does)\b)[a-z]+s\b")
"""A hole that is a count: a noun in the plural follows it. Such a template has plural forms."""
_HOLE: Final = re.compile(r"\{(\d)\}")
_REMEMBERED_MAX: Final = 2_048

Teller = Callable[[Refused, str], dict[str, Any]]
"""As `protocol.errors.problem`."""


class _Template(NamedTuple):
    pattern: re.Pattern[str]
    counted: int | None
    forms: tuple[str, ...]


class Tongue:
    """One language that is not English."""

    def __init__(self, language: Language, source: Catalog) -> None:
        self.language: Language = language
        self._exact: dict[str, str] = {}
        self._locale = Locale(language)
        templates: list[tuple[int, _Template]] = []
        for english, forms in entries(source):
            if not _HOLE.search(english):
                self._exact[english] = forms[0]
                continue
            counted = COUNTED.search(english) if len(forms) > 1 else None
            fixed = len(_HOLE.sub("", english))
            templates.append((fixed, _Template(_pattern(english), int(counted[1]) if counted else None, forms)))
        # Where several fit, the one that says most by itself is meant.
        templates.sort(key=lambda found: -found[0])
        self._templates = tuple(template for _, template in templates)
        self.text = lru_cache(maxsize=_REMEMBERED_MAX)(self._text)

    def _text(self, english: str) -> str:
        exact = self._exact.get(english)
        if exact is not None:
            return exact
        if len(english) > limits.translated_chars_max:
            return english
        for template in self._templates:
            match = template.pattern.fullmatch(english)
            if match is not None:
                return self._filled(template, match.groups())
        return english

    def _filled(self, template: _Template, holes: tuple[str, ...]) -> str:
        form, counted = template.forms[-1], template.counted
        if counted is not None and holes[counted].isascii() and holes[counted].isdigit():
            number = int(holes[counted])
            form = template.forms[FORMS[self.language].index(self._locale.plural_form(number))]
            holes = (*holes[:counted], format_decimal(number, locale=self.language), *holes[counted + 1 :])
        return _HOLE.sub(lambda hole: holes[int(hole[1])], form)

    def problem(self, refused: Refused, request_id: str) -> dict[str, Any]:
        """As `protocol.errors.problem`; everything that programs read is the same."""
        body = problem(refused, request_id)
        body["title"] = self.text(body["title"])
        body["detail"] = self._detail(refused, body["detail"])
        if refused.errors:
            body["errors"] = [{"field": e.field, "message": self.text(e.message)} for e in refused.errors]
        return body

    def _detail(self, refused: Refused, english: str) -> str:
        if refused.errors:
            first = refused.errors[0]
            if first.field and english == f"{first.field}: {first.message}":
                return f"{first.field}: {self.text(first.message)}"
        return self.text(english)


def _pattern(template: str) -> re.Pattern[str]:
    fixed = _HOLE.split(template)[::2]
    return re.compile("(.*?)".join(map(re.escape, fixed)), re.DOTALL)


@cache
def tongue(language: Language) -> Tongue:
    """Raises `OSError` or `ValueError` for a catalogue that cannot be read."""
    return Tongue(language, catalogue(LOCALE, DOMAIN, language))


@cache
def teller(language: Language) -> Teller:
    """How problems are told in that language; the same object for all who speak it."""
    return problem if language == DEFAULT else tongue(language).problem


def prepare() -> None:
    """Reads every catalogue now: a broken one ends the start, and no request waits for a file."""
    for language in LANGUAGES:
        teller(language)
