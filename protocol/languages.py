"""Which language somebody is spoken to in: the three there are, and how one is chosen."""

import re
from functools import lru_cache
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta

from protocol import limits

Language = Literal["en", "ru", "kk"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
DEFAULT: Final[Language] = "en"

Locale = Annotated[str, Meta(pattern=r"^(en|ru|kk)(-[A-Z]{2})?$(?!\n)", examples=["en"])]
"""A language that we speak, with a country or without."""

_RANGE: Final = re.compile(
    r"([a-z]{2,3})(?:-[a-z0-9-]{1,35})?(?:\s*;\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?", re.IGNORECASE
)


def choose(user: str | None, booking: str | None, accept_language: str | None, business: str | None) -> Language:
    """The first of these that names a language there is: the user's, the booking's, what the request accepts, the
    business's; English when none does. All but `accept_language` are locales, such as `ru` or `kk-KZ`.
    """
    return of(user) or of(booking) or accepted(accept_language) or of(business) or DEFAULT


def of(locale: str | None) -> Language | None:
    """The language of a locale; `None` for one that we do not speak."""
    if not locale:
        return None
    wanted = locale[:2].lower()
    if len(locale) > 2 and locale[2] not in "-_":
        return None
    return next((language for language in LANGUAGES if language == wanted), None)


def accepted(header: str | None) -> Language | None:
    """The best of what an `Accept-Language` asks for; `None` when it names nothing that we speak."""
    return _accepted(header[: limits.accept_language_chars_max]) if header else None


@lru_cache(maxsize=1024)
def _accepted(header: str) -> Language | None:
    best, best_weight = None, 0.0
    for part in header.split(","):
        match = _RANGE.fullmatch(part.strip())
        language = of(match[1]) if match else None
        if match is None or language is None:
            continue
        weight = float(match[2]) if match[2] else 1.0
        if weight > best_weight:
            best, best_weight = language, weight
    return best
