"""What the load is told of a request whose connection broke."""

import asyncio

import aiohttp
import pytest

from tests.faults.once import Broken


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_what_may_have_been_read_is_not_told_as_never_sent(http: aiohttp.ClientSession, method: str) -> None:
    """A server that ends after it has read a request, and before it answers."""
    read: list[bytes] = []

    async def last_words(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read.append(await reader.readuntil(b"\r\n\r\n"))
        server.close()
        writer.close()

    server = await asyncio.start_server(last_words, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    with pytest.raises(Broken):
        await http.request(method, url)
    assert len(read) == 1
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.request(method, url)
