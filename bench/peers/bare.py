"""aiohttp as it comes that reads the body and answers ready bytes, nothing else: what goals are set against."""

from pathlib import Path

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from bench.peers.serving import arguments, serve

# aiohttp writes these itself, as it does for any server built on it.
AUTOMATIC = {"date", "server", "content-length", "connection", "transfer-encoding"}


class Canned(msgspec.Struct, frozen=True):
    """An answer taken from a real server, given to every request that matches."""

    method: str
    path: str
    """An aiohttp route pattern."""
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def handler_of(canned: Canned) -> Handler:
    headers = [(name, value) for name, value in canned.headers if name.lower() not in AUTOMATIC]
    status, body = canned.status, canned.body

    async def answer(request: web.Request) -> web.Response:
        if request.body_exists:
            await request.read()
        return web.Response(status=status, headers=headers, body=body)

    return answer


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--answers", type=Path, required=True, help="JSON list of canned answers")
    options = parser.parse_args()
    app = web.Application()
    for canned in msgspec.json.decode(options.answers.read_bytes(), type=list[Canned]):
        app.router.add_route(canned.method, canned.path, handler_of(canned))
    serve(app, options.port)


if __name__ == "__main__":
    main()
