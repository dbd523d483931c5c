"""What there is to translate, by domain, and the files that hold the translations."""

from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import write_po

from jobs.catalogues import catalogue
from protocol.errors import KINDS
from protocol.languages import DEFAULT, LANGUAGES, Language
from server.translations import COUNTED, LOCALE
from tests.languages import elsewhere
from tests.languages.extract import ROOT, Said, found

Id = str | tuple[str, str]
"""With its plural, where a text has one."""

TRANSLATED: Final[tuple[Language, ...]] = tuple(language for language in LANGUAGES if language != DEFAULT)
_TRANS: Final[dict[str, Any]] = {"extensions": "jinja2.ext.i18n", "newstyle_gettext": "true", "silent": "false"}
_SCRIPT: Final = {"t": None, "parts": None, "n": (1, 2)}
_TEMPLATE: Final = {"_": None, "gettext": None, "ngettext": (1, 2)}


def of_problems() -> Iterator[tuple[Id, str]]:
    for kind in KINDS.values():
        yield kind.title, "protocol/errors.py"
    said = [s for s in found() if isinstance(s, Said) and s.where not in (*elsewhere.BUILDERS, *elsewhere.OPERATORS)]
    for template, where in said:
        for whole in elsewhere.WHOLE.get(template, [template]):
            # A field's name that stands before its message is put there again, as it is.
            text = whole.removeprefix("slug: ")
            yield ((text, text) if COUNTED.search(text) else text), where
    for text in elsewhere.LIBRARIES:
        yield text, "tests/languages/elsewhere.py"


def _extracted(method: str, folder: str, pattern: str, keywords: Any, options: Any = None) -> Iterator[tuple[Id, str]]:
    for path in sorted((ROOT / folder).rglob(pattern)):
        with path.open("rb") as file:
            for _, text, _, _ in extract(method, file, keywords, (), options or {}):
                yield text, path.relative_to(ROOT).as_posix()


def of_pages() -> Iterator[tuple[Id, str]]:
    yield from _extracted("jinja2", "server/pages", "*.html", _TEMPLATE, _TRANS)
    yield from _extracted("javascript", "server/pages", "*.js", _SCRIPT, {"parse_template_string": True})


def of_mail() -> Iterator[tuple[Id, str]]:
    for pattern in ("*.j2", "*.html", "*.txt"):
        yield from _extracted("jinja2", "jobs/templates", pattern, _TEMPLATE, _TRANS)


DOMAINS: Final[dict[str, Callable[[], Iterable[tuple[Id, str]]]]] = {
    "problems": of_problems,
    "pages": of_pages,
    "mail": of_mail,
}


def wanted(domain: str) -> dict[Id, list[str]]:
    """What there is to translate, with where it stands. The same text with and without a plural is one with."""
    places: dict[Id, list[str]] = {}
    for text, where in DOMAINS[domain]():
        here = places.setdefault(text, [])
        if where not in here:
            here.append(where)
    return places


def path_of(domain: str, language: Language) -> Path:
    return LOCALE / language / "LC_MESSAGES" / f"{domain}.po"


def kept(domain: str, language: Language) -> Catalog:
    return catalogue(LOCALE, domain, language)


def update(domain: str, language: Language) -> int:
    """Writes the file anew, with what is translated already and room for what is not; how many are missing."""
    path = path_of(domain, language)
    old = kept(domain, language) if path.exists() else Catalog(locale=language)
    new, missing = Catalog(locale=language, fuzzy=False), 0
    for text, places in wanted(domain).items():
        before = old.get(text if isinstance(text, str) else text[0])
        same_kind = before is not None and isinstance(before.id, tuple) == isinstance(text, tuple)
        string: Any = before.string if before is not None and same_kind else ""
        forms = string if isinstance(string, tuple) else (string,)
        missing += not all(forms)
        new.add(text, string or None, locations=[(place, None) for place in sorted(places)])  # type: ignore[list-item]
    written = BytesIO()
    write_po(written, new, width=120, omit_header=True, include_lineno=False)
    head = f'msgid ""\nmsgstr ""\n"Language: {language}\\n"\n"Content-Type: text/plain; charset=utf-8\\n"\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f'{head}"Plural-Forms: {new.plural_forms}\\n"\n\n'.encode() + written.getvalue())
    return missing
