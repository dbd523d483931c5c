"""A Slotcast server as its users have it: a process, a port, tokens and JSON."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson

from server.auth import Auth
from server.principal import Principal
from tests.support.nursery import Child, Nursery

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a-secret-for-tests-that-is-long-enough-0123456789"


@cache
def _nursery() -> Nursery:
    return Nursery(ROOT)


class RunningServer:
    """`python -m server serve --demo` on a database. `kill` is SIGKILL, `stop` is SIGTERM.

    It is a child of the nursery, unless it is `cold` or has another `command`: then Python starts for it alone.
    """

    command: Sequence[str] = ("-m", "server")
    cold = False

    def __init__(self, dsn: str, directory: Path, **environment: str) -> None:
        self.dsn = dsn
        self.directory = directory
        self.environment = environment
        self.port = 0
        self.process: subprocess.Popen[bytes] | Child | None = None
        self.log = directory / "server.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        return self.environment.get("SLOTCAST_NODE_NAME", "")

    def start(self, *, wait: bool = True, port: int = 0) -> "RunningServer":
        """Starts it on a free port and waits until it is ready."""
        self.directory.mkdir(parents=True, exist_ok=True)
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SLOTCAST_")},
            "DATABASE_URL": self.dsn,
            "SLOTCAST_JWT_SECRET": SECRET,
            "SLOTCAST_DATA_DIR": str(self.directory),
            "SLOTCAST_PORT": str(port or self.port),
            "SLOTCAST_LOG_FORMAT": "json",
            # All tests come from one address.
            "SLOTCAST_RATE_LIMITS": "off",
            # Where targets of webhooks are.
            "SLOTCAST_WEBHOOK_INSECURE": "true",
            "SLOTCAST_WEBHOOK_ALLOW_PRIVATE": "127.0.0.1",
            **self.environment,
        }
        with self.log.open("ab") as log:
            self._mark = self.log.stat().st_size
            if self.command == RunningServer.command and not self.cold:
                self.process = _nursery().start(("serve", "--demo"), environment, self.log)
            else:
                self.process = subprocess.Popen(
                    [sys.executable, *self.command, "serve", "--demo"],
                    cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
        if wait:
            self.wait_ready()
        return self

    def logged(self) -> str:
        return self.log.read_bytes()[self._mark :].decode(errors="replace")

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.logged()[-4000:]}")
            for line in self.logged().splitlines():
                if '"listening"' in line:
                    self.port = int(orjson.loads(line)["url"].rsplit(":", 1)[1])
                    return
            time.sleep(0.02)
        raise AssertionError(f"the server was not ready in {timeout_s} s:\n{self.logged()[-4000:]}")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


class Answer:
    """A response that was read: `status`, `headers`, and `json` (`None` for an empty or other body)."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        kind = headers.get("Content-Type", "")
        self.json: Any = orjson.loads(body) if body and "json" in kind else None

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:600]!r}>"


class Api:
    """REST calls with a token. Paths are below /api/v1 unless they start with a slash."""

    def __init__(self, server: RunningServer, session: aiohttp.ClientSession, token: str | None) -> None:
        self.server = server
        self.session = session
        self.token = token

    def with_token(self, token: str | None) -> "Api":
        return Api(self.server, self.session, token)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
        **query: Any,
    ) -> Answer:
        url = self.server.url + (path if path.startswith("/") else f"/api/v1/{path}")
        sent = dict(headers or {})
        if self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        if key:
            sent["Idempotency-Key"] = key
        data = raw
        if body is not None:
            data = orjson.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, url, data=data, headers=sent, params={k.rstrip("_"): str(v) for k, v in query.items()}
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.request("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.request("POST", path, {} if body is None else body, **more)

    async def made(self, path: str, body: Any, **more: Any) -> Any:
        """POSTs and returns what was made; fails unless it answers 201."""
        answer = await self.post(path, body, **more)
        assert answer.status == 201, answer
        return answer.json


class Place:
    """A business ready to take bookings: ids, and starts that are free."""

    def __init__(self, api: Api, professional_id: str, service_id: str, client_id: str, day: str) -> None:
        self.api = api
        self.professional_id = professional_id
        self.service_id = service_id
        self.client_id = client_id
        self.day = day

    def at(self, hour: int, minute: int = 0, day: int = 0) -> str:
        """A start on the grid (every half hour, round the clock, UTC), `day` days after the first one."""
        date = datetime.fromisoformat(self.day) + timedelta(days=day)
        return f"{date:%Y-%m-%d}T{hour:02d}:{minute:02d}:00Z"

    def booking(self, start: str, **more: Any) -> dict[str, Any]:
        body = {"professional_id": self.professional_id, "service_id": self.service_id, "start": start}
        if "guest" not in more:
            body["client_id"] = self.client_id
        return {**body, **more}


def token_for(business_id: str, role: str = "owner", ttl_s: float = 3600, secret: str = SECRET, **more: Any) -> str:
    """A token as the server issues them; `more` are fields of `Principal`."""
    subject = more.pop("subject", f"test-{role}")
    return Auth(secret).issue(Principal(subject, business_id, role, time.time() + ttl_s, **more))  # type: ignore[arg-type]


async def new_place(api: Api, **service: Any) -> Place:
    """A fresh professional, open round the clock in UTC, with one service of half an hour, and a client.

    `service` overrides fields of the service.
    """
    professional = await api.made("professionals", {"display_name": "Dr Test", "time_zone": "UTC"})
    body = {"name": "Consultation", "duration_minutes": 30, "horizon_days": 365, **service}
    made = await api.made(f"professionals/{professional['id']}/services", body)
    weekly = [{"weekday": d, "start": "00:00", "end": "24:00"} for d in range(7)]
    put = await api.request(
        "PUT", f"professionals/{professional['id']}/schedule", {"time_zone": "UTC", "weekly": weekly}
    )
    assert put.status == 200, put
    client = await api.made("clients", {"first_name": "Cleo", "last_name": "Client"})
    day = (datetime.now(UTC) + timedelta(days=7)).strftime("%Y-%m-%d")
    return Place(api, professional["id"], made["id"], client["id"], day)


async def tell(db: asyncpg.Connection, kind: str, *ids: str) -> None:
    """Lets servers forget what they remember of these: for what a test has written past them."""
    await db.execute("SELECT pg_notify('slotcast', $1)", orjson.dumps({"kind": kind, "ids": ids, "from": ""}).decode())


async def eventually(check: Any, timeout_s: float = 10.0) -> Any:
    """The first true result of an async check, asked again until then."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = await check()
        if found or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.05)
