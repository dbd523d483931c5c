"""Catalogues of translations: gettext's `.po` files, read as they stand, so that no build step comes between."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po
from babel.support import NullTranslations, Translations

from protocol.languages import DEFAULT, Language


def catalogue(folder: Path, domain: str, language: Language) -> Catalog:
    """`folder` holds `<language>/LC_MESSAGES/<domain>.po`. Raises `OSError` or `ValueError` for one that cannot be
    read.
    """
    path = folder / language / "LC_MESSAGES" / f"{domain}.po"
    with path.open("rb") as file:
        try:
            return read_po(file, locale=language, abort_invalid=True)
        except (PoFileError, ValueError, IndexError) as error:
            raise ValueError(f"{path} is no catalogue: {error}") from error


def entries(source: Catalog) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each English text with its translation, or with all its forms where it has a plural; none that is not
    translated.
    """
    for message in source:
        english, said = message.id, message.string
        forms = (said,) if isinstance(said, str) else tuple(said or ())
        if english and forms and all(forms):
            yield english if isinstance(english, str) else english[0], forms


def translations(folder: Path, domain: str, language: Language) -> NullTranslations:
    """With `ugettext` and `ungettext`; English is what the texts are written in, and translates to itself."""
    if language == DEFAULT:
        return NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, catalogue(folder, domain, language))
    compiled.seek(0)
    return Translations(compiled, domain)
