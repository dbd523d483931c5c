"""How every peer serves: aiohttp under uvloop, one process, no access log."""

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

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


def serve_low(
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    running: AbstractAsyncContextManager[None],
    port: int,
) -> None:
    """The same beneath routes and applications, as Slotcast serves: `answer` gets every request while in `running`."""

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with running:
            runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=1.0)  # type: ignore[arg-type]
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
            await stop.wait()
            await runner.cleanup()

    uvloop.run(run())


def text_frame(payload: bytes) -> bytes:
    """A whole WebSocket frame from a server; of less than 64 KB."""
    size = len(payload)
    head = bytes([0x81, size]) if size < 126 else bytes([0x81, 126]) + size.to_bytes(2, "big")
    return head + payload
