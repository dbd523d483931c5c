"""The texts of messages: one template a kind, in every language, as text, as HTML and as one line for a telephone.

All of them are rendered once at the start: a template that is broken keeps the server from starting.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

import jinja2
import msgspec
from babel import Locale
from babel.core import UnknownLocaleError
from babel.dates import format_date, format_datetime, format_time, get_timezone_gmt
from babel.numbers import UnknownCurrencyError, format_currency, get_currency_precision
from babel.support import NullTranslations

from protocol.languages import LANGUAGES, Language
from protocol.times import MINUTE, from_us, zone

FOLDER: Final = Path(__file__).resolve().parent / "templates"
DOMAIN: Final = "mail"
"""The catalogue that the templates are translated by."""

_NONE: Final[dict[str, Any]] = dict.fromkeys(
    ("name", "business", "service", "when", "when_short", "professional", "client", "place", "phone", "price",
     "reason", "until", "booking_code", "code", "manage_url", "unsubscribe_url", "day", "url"), "",
) | {"attendees": 0, "minutes": 0, "ended": False}  # fmt: skip
"""Everything that a text may speak of."""
_LOCALES: Final[dict[Language, Locale]] = {"en": Locale("en", "GB"), "ru": Locale("ru"), "kk": Locale("kk")}
"""English as it is written in most countries: the day before the month, and twenty-four hours."""
_speaking: ContextVar[NullTranslations] = ContextVar("slotcast.texts")


class Rendered(msgspec.Struct, frozen=True):
    """`short` is the text message, and what a chat shows."""

    subject: str
    text: str
    html: str
    short: str


class Texts:
    def __init__(self, translations: Mapping[Language, NullTranslations], folder: Path = FOLDER) -> None:
        """Raises `jinja2.TemplateError`, or what else a template does wrong, if any of them cannot be rendered."""
        self._translations = translations
        self._plain = _environment(folder, html=False)
        self._html = _environment(folder, html=True)
        self.kinds = frozenset(path.stem for path in folder.glob("*.j2")) - {"facts"}
        for kind in sorted(self.kinds):
            for language in LANGUAGES:
                for sample in SAMPLES:
                    self.render(kind, language, sample)

    def render(self, kind: str, language: Language, fields: Mapping[str, Any]) -> Rendered:
        """`fields` are those of `SAMPLES`, as far as there are any. Raises `KeyError` for a kind that has no text."""
        if kind not in self.kinds:
            raise KeyError(kind)
        said = {**_NONE, **fields, "language": language}
        token = _speaking.set(self._translations[language])
        try:
            plain, html = (e.get_template(f"{kind}.j2") for e in (self._plain, self._html))
            context = plain.new_context(said)
            subject, short = (_one_line("".join(plain.blocks[block](context))) for block in ("subject", "short"))
            if not subject or not short:
                raise ValueError(f"the template {kind} says nothing in {language}")
            text = plain.render(said, layout="layout.txt").strip() + "\n"
            return Rendered(subject, text, html.render(said, layout="layout.html"), short)
        finally:
            _speaking.reset(token)


def _environment(folder: Path, *, html: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        # Plain text has nothing to escape.
        autoescape=html,  # noqa: S701
        undefined=jinja2.StrictUndefined,
        trim_blocks=html,
        lstrip_blocks=html,
        extensions=["jinja2.ext.i18n"],
        auto_reload=False,
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined] - the extension adds it
        lambda text: _speaking.get().ugettext(text),
        lambda one, many, count: _speaking.get().ungettext(one, many, count),
        newstyle=True,
    )
    return environment


def _one_line(text: str) -> str:
    return " ".join(text.split())


# What is filled in


def when(us: int, time_zone: str, language: Language) -> str:
    """Monday, 23 November 2026, 09:00 (GMT+01:00), on the clock of the place."""
    local = from_us(us).astimezone(zone(time_zone))
    locale = _LOCALES[language]
    day, hour = format_date(local, "full", locale=locale), format_time(local, "HH:mm", locale=locale)
    return f"{day}, {hour} ({get_timezone_gmt(local, locale=locale)})"


def when_short(us: int, time_zone: str, language: Language) -> str:
    local = from_us(us).astimezone(zone(time_zone))
    return format_datetime(local, "d MMM, HH:mm", locale=_LOCALES[language])


def day(us: int, time_zone: str, language: Language) -> str:
    return format_date(from_us(us).astimezone(zone(time_zone)), "long", locale=_LOCALES[language])


def price(minor: int | None, currency: str | None, language: Language) -> str:
    """Empty for what has no price, or one in a currency that nobody knows."""
    if minor is None or currency is None:
        return ""
    try:
        return format_currency(minor / 10 ** get_currency_precision(currency), currency, locale=_LOCALES[language])
    except (UnknownCurrencyError, UnknownLocaleError):
        return ""


def _sample(**more: Any) -> dict[str, Any]:
    return {
        "name": "Cleo Winter",
        "business": "Salon Sommer",
        "service": "Haircut",
        "when": when(1_800_000_000_000_000, "Europe/Berlin", "en"),
        "when_short": when_short(1_800_000_000_000_000, "Europe/Berlin", "en"),
        "professional": "Ada Sommer",
        "client": "Cleo Winter",
        "place": "Mitte, Torstraße 1, Berlin",
        "phone": "+49 30 901820",
        "price": price(3500, "EUR", "en"),
        "reason": "closed that day",
        "until": when(1_800_000_000_000_000 - 15 * MINUTE, "Europe/Berlin", "en"),
        "booking_code": "BK-V4HFPXRM",
        "code": "204517",
        "manage_url": "https://example.com/manage#BK-V4HFPXRM.0",
        "unsubscribe_url": "https://example.com/unsubscribe#0",
        "day": "1 January 2027",
        "url": "https://example.com/hook",
        **more,
    }


SAMPLES: Final[tuple[dict[str, Any], ...]] = (
    _sample(attendees=3, minutes=10),
    {"name": "Cleo", "business": "Salon Sommer", "ended": True},
)
"""What every template is tried with: everything, and next to nothing."""
