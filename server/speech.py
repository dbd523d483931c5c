"""In which language a caller is answered."""

from typing import TYPE_CHECKING, Final

from aiohttp import web

from protocol.errors import Refused, invalid
from protocol.languages import LANGUAGES, Language, accepted, choose, of
from server.principal import Principal
from server.router import Parameters

if TYPE_CHECKING:
    from server.node import Node

_WORTH_ASKING: Final = frozenset({403, 409, 412, 422})
"""Statuses for which the database may be asked how a business speaks. With the others it is in trouble, or the caller
asks for what is not there, or too often.
"""


def language_of(request: web.BaseRequest, user: str | None = None, business: str | None = None) -> Language:
    """By the user's locale, what the request accepts, and the business's locale, in this order."""
    return choose(user, None, request.headers.get("Accept-Language"), business)


async def language_of_problem(
    node: "Node", request: web.BaseRequest, principal: Principal | None, parameters: Parameters, refused: Refused
) -> Language:
    """As `language_of`, for the login and, where that and the request are silent, the business it is about."""
    user = principal.locale if principal is not None else None
    if of(user) or accepted(request.headers.get("Accept-Language")):
        return language_of(request, user)
    return language_of(request, user, await _locale_of_business(node, principal, parameters, refused))


async def _locale_of_business(
    node: "Node", principal: Principal | None, parameters: Parameters, refused: Refused
) -> str | None:
    may_ask = refused.kind.status in _WORTH_ASKING
    try:
        if principal is not None and principal.business_id:
            business = node.businesses.known(principal.business_id)
            if business is None and may_ask:
                business = await node.businesses.get(principal.business_id)
        else:
            slug = parameters.get("slug")
            business = await node.businesses.public(slug) if slug is not None and may_ask else None
    except Refused:
        return None
    return business.locale if business is not None else None


def accepted_by(request: web.BaseRequest) -> Language | None:
    """What a live connection wants to be answered in. A page cannot set headers for one: `lang` in the query stands
    for its `Accept-Language`. Raises `Refused(validation_failed)` for a language there is not.
    """
    wanted = request.query.get("lang") if "lang=" in request.raw_path else None
    if wanted is not None and wanted not in LANGUAGES:
        raise invalid("lang", f"must be one of {', '.join(LANGUAGES)}")
    return accepted(wanted or request.headers.get("Accept-Language"))
