"""How every peer serves: aiohttp under uvloop, one process, no access log."""

import argparse

import uvloop
from aiohttp import web


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser that knows the port every peer needs."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    return parser


def serve(app: web.Application, port: int) -> None:
    """Run until SIGTERM; `/readyz` answers 200 once start-up is done."""
    app.router.add_get("/readyz", _ready)
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        access_log=None,
        print=None,
        handle_signals=True,
        shutdown_timeout=1.0,
        loop=uvloop.new_event_loop(),
    )


async def _ready(_: web.Request) -> web.Response:
    return web.Response(text="ready")
