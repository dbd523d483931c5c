"""The server's pages in the reader's language: what stands in `pages/`, and beside it the texts of its scripts."""

from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
import msgspec
from aiohttp import web
from babel import Locale

from jobs.catalogues import catalogue, entries, translations
from protocol.languages import DEFAULT, LANGUAGES, Language
from server.edge import Reply
from server.speech import language_of
from server.translations import FORMS, LOCALE

PAGES: Final = Path(__file__).resolve().parent / "pages"
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
}
_DOMAIN: Final = "pages"
_NAMES: Final[dict[Language, str]] = {"en": "English", "ru": "Русский", "kk": "Қазақша"}


class PageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """`lang` is the language chosen on the page, instead of what the browser accepts."""

    lang: Language | None = None


def shown(name: str, request: web.BaseRequest, query: PageQuery) -> Reply:
    """The page of that name, a file without its `.html`."""
    language = query.lang or language_of(request)
    headers = {
        **HEADERS,
        "Content-Type": "text/html; charset=utf-8",
        "Content-Language": language,
        "Vary": "Accept-Language",
        "Cache-Control": "no-cache",
    }
    return Reply(rendered(name, language), headers=headers)


@cache
def rendered(name: str, language: Language) -> bytes:
    """Raises `jinja2.TemplateError` for a page that is broken."""
    context = {"language": language, "names": _NAMES, "texts": _texts(language)}
    return _templates(language).get_template(f"{name}.html").render(context).encode()


def prepare() -> None:
    """Makes every page now: a broken one ends the start, and no request waits for a file."""
    for path in PAGES.glob("*.html"):
        for language in LANGUAGES:
            rendered(path.stem, language)


@cache
def _templates(language: Language) -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        auto_reload=False,
    )
    spoken = translations(LOCALE, _DOMAIN, language)
    made.install_gettext_callables(spoken.ugettext, spoken.ungettext, newstyle=True)  # type: ignore[attr-defined]
    return made


def _texts(language: Language) -> dict[str, Any]:
    """What `texts.js` reads: each English text with its translation, or with its plural forms in the order of
    `forms`.
    """
    said: dict[str, str | tuple[str, ...]] = {}
    if language != DEFAULT:
        for english, forms in entries(catalogue(LOCALE, _DOMAIN, language)):
            first, *others = forms
            said[english] = forms if others else first
    return {"language": language, "forms": FORMS[language], "texts": said, "names": _names_of_dates(language)}


def _names_of_dates(language: Language) -> dict[str, dict[str, list[str]]]:
    """Weekdays from Monday on, and months: not every browser knows them."""
    locale = Locale(language)
    widths = {"long": "wide", "short": "abbreviated"}
    return {
        "weekday": {name: [locale.days["format"][width][i] for i in range(7)] for name, width in widths.items()},
        "month": {name: [locale.months["format"][width][i] for i in range(1, 13)] for name, width in widths.items()},
    }
