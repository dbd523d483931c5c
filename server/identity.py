"""How people are told apart: one spelling for each e-mail address, telephone number and username.

What is stored, compared and looked up is always what these functions return.
"""

import re
from typing import Final

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from protocol.errors import invalid

_USERNAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{1,62}[a-z0-9])\Z")

_E164_CHARS_MIN: Final = 8
"""The shortest numbers there are, with plus sign and country code; the library takes shorter ones for possible."""


def email(text: str, field: str = "email") -> str:
    """The address with its domain in ASCII (IDNA) and all in lower case. Raises `Refused(validation_failed)`.

    The part before the @ is put in lower case and not folded further: folding would make `straße@` and `strasse@` one,
    which are two mailboxes.
    """
    try:
        found = validate_email(text.strip(), check_deliverability=False, strict=True)
    except EmailNotValidError as error:
        raise invalid(field, str(error)) from None
    return f"{found.local_part.lower()}@{found.ascii_domain.lower()}"


def phone(text: str, region: str | None = None, field: str = "phone") -> str:
    """The number as E.164. `region` (ISO 3166-1) is the country of one written without. Raises
    `Refused(validation_failed)`.

    A number must have a possible length. Whether it is assigned changes faster than any table of ours.
    """
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise invalid(field, "is no telephone number; write it with its country code, as +49 30 1234567") from None
    if number.extension is not None or not phonenumbers.is_possible_number(number):
        raise invalid(field, "is no telephone number of that country")
    found = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if len(found) < _E164_CHARS_MIN:
        raise invalid(field, "is too short for a telephone number")
    return found


def username(text: str, field: str = "username") -> str:
    """In lower case; ASCII letters, digits and `. _ -` between them. Raises `Refused(validation_failed)`.

    Only ASCII, because other alphabets have letters that look like these.
    """
    found = text.strip().lower()
    if not _USERNAME.match(found):
        raise invalid(field, "3 to 64 letters a to z, digits and . _ - between them")
    return found


def is_region(text: str) -> bool:
    """Whether telephone numbers can be read as those of that country."""
    return text in phonenumbers.SUPPORTED_REGIONS
