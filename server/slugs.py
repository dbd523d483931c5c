"""Names of businesses in addresses: which can be had, and which one a request came under."""

from typing import Final

from aiohttp import web

from protocol.errors import FieldError, Refused, invalid
from protocol.ids import is_uuid
from server.remote import host_of

_WORDS: Final = """
    account accounts admin administrator api app apps asyncapi audit auth autodiscover availability billing blog book
    booking bookings bot cdn chat client clients cname console contact dashboard dev developer developers dns
    docs download email embed example faq feeds files forum ftp health healthz help host hostmaster hooks id images imap
    info internal invite legal live local localhost location locations login logout mail mailer main manage manager
    media members metrics monitor mta-sts mx news noreply ns ns1 ns2 oauth openapi ops owner pages pay payment payments
    pop pop3 portal postmaster prod production professionals proxy public readyz register root sandbox search secure
    security server service services settings shop signin signup site smtp sse ssl staging static stats status
    subdomain support system team test tests tls token tokens user users webhook webhooks webmail webmaster websocket
    widget wpad ws www www1 www2
"""
RESERVED: Final = frozenset(_WORDS.split())
"""Names that are ours, that mail and browsers give a meaning, or that a visitor would take for the platform."""


def check_slug(slug: str) -> None:
    """Raises `Refused(validation_failed)` for one that nobody can have. Its form is checked by its type."""
    if slug in RESERVED:
        raise invalid("slug", "is set aside; choose another")
    if is_uuid(slug):
        raise invalid("slug", "looks like an id; choose another")


def taken() -> Refused:
    return Refused("conflict", "slug: is taken", errors=(FieldError("slug", "is taken"),))


def slug_of_host(request: web.BaseRequest, base_domain: str) -> str | None:
    """The one label in front of the base domain under which the request came.

    The caller chooses the header, so it may select what is public and nothing more.
    """
    base = base_domain.lower().strip(".")
    host = host_of(request).lower().partition(":")[0].rstrip(".")
    if not base or not host.endswith("." + base):
        return None
    label = host.removesuffix("." + base)
    return label if label and "." not in label else None
