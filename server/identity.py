"""How people are told apart: one spelling for each e-mail address, telephone number and username.

What is stored, compared and looked up is always what these functions return.
"""

import re
from typing import Final, NamedTuple

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from protocol.errors import Refused, invalid

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


class ContactKeys(NamedTuple):
    """What the addresses of a client are compared by; `None` where there is none."""

    email: str | None
    phone: str | None


def contact_keys(email_typed: str | None, phone_typed: str | None, region: str | None) -> ContactKeys:
    """One spelling for what somebody typed about a client, who may have written anything: what cannot be read as an
    address or number is compared as it stands, without spaces and signs. `region` is the business's.
    """
    return ContactKeys(
        _key_of_email(email_typed) if email_typed else None, _key_of_phone(phone_typed, region) if phone_typed else None
    )


def _key_of_email(text: str) -> str:
    try:
        return email(text)
    except Refused:
        return text.strip().lower()


def _key_of_phone(text: str, region: str | None) -> str:
    try:
        return phone(text, region)
    except Refused:
        return ("+" if text.strip().startswith("+") else "") + "".join(c for c in text if c in "0123456789")


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
