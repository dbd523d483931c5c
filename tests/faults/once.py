"""HTTP where one request is sent once, so that whoever writes down what was asked writes down all of it."""

from typing import Final

import aiohttp

_TIMEOUT_S: Final = 30.0


class Broken(aiohttp.ClientError):
    """The connection ended under a request, which may have been read."""


async def _told(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    # Of these errors aiohttp makes a second attempt where the method allows it, and tells of that one alone: "could not
    # connect" may then be said of a request that was carried out.
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise Broken(str(error)) from error


def session() -> aiohttp.ClientSession:
    """Raises `ClientConnectorError` for what was certainly not sent, and `Broken` for what may have been."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(_TIMEOUT_S), middlewares=(_told,)
    )
