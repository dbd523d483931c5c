"""The suite against a server that runs elsewhere: its own rates and latencies, told over REST alone.

Nothing is written unless a business is named and the token is found to be of that business. What is made there is
called "Bench …"; its bookings are cancelled and its service deleted at the end, whatever happened before. Ratios
need peers beside the server, and SQL its database, so both are left out: each booking is verified by reading it.
"""

import argparse
import base64
import binascii
import ssl
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from bench import integrity
from bench.children import Generator
from bench.load import Bookings, Job, Outcome, request_text
from bench.mixed_job import MixedJob, Site
from bench.report import Refused, Row, refused_row
from bench.runner import Bench, accept, level_rows, run_job
from bench.scenarios import mixed
from bench.scenarios.booking import midnight_in
from bench.slotcast import at_once

READS = ("read-slots", "read-availability")
WRITES = ("book-hot", "book-spread")
NAMES = (*READS, *WRITES, "mixed")
PROFESSIONALS, PROFESSIONALS_QUICK = 20, 4
BOOKED, BOOKED_QUICK = 2000, 100
READ_FROM = 50
DAYS = 7
MINUTES = 5
STEP = MINUTES * 60
PAGE = 200
# Each kind of scenario books in weeks of its own, so that none meets another's bookings.
FIRST_DAY = {"book-hot": 2, "book-spread": 30, "mixed": 60}
SHARE = 0.5
TIMEOUT = aiohttp.ClientTimeout(30)


class Booking(msgspec.Struct, frozen=True):
    """What reading a booking back tells of it."""

    id: str
    status: str
    start: datetime
    end: datetime


class Target:
    """A server's REST interface; refuses to write until `unlock` has settled whose data may be touched."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise Refused(f"{url} is no base of a server, such as https://slots.example")
        self.host = parts.hostname
        self.tls = parts.scheme == "https"
        self.port = parts.port or (443 if self.tls else 80)
        self.token = token
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._may_write = False
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        secure = ssl.create_default_context() if self.tls else True
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self.token}"},
            connector=aiohttp.TCPConnector(ssl=secure),
            timeout=TIMEOUT,
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, method: str, path: str, body: object | None = None) -> tuple[int, bytes]:
        """Status and body of any answer."""
        if method != "GET" and not self._may_write:
            raise Refused(f"{method} {path} would write, and no business was named and found to be the token's")
        assert self._session is not None
        try:
            async with self._session.request(method, self._base + path, json=body, allow_redirects=False) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Refused(f"{method} {path}: {type(error).__name__} {error}") from error

    async def call(self, method: str, path: str, body: object | None = None) -> Any:
        """JSON of a 2xx answer; anything else refuses the run."""
        status, content = await self.ask(method, path, body)
        if not 200 <= status < 300:
            raise Refused(f"{method} {path} gave {status}: {content[:600].decode(errors='replace')}")
        return msgspec.json.decode(content) if content else None

    async def items(self, path: str, most: int) -> list[dict[str, Any]]:
        """The first items of a list, page by page."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None and len(found) < most:
            mark = "&" if "?" in path else "?"
            page = await self.call("GET", f"{path}{mark}limit={PAGE}" + (f"&cursor={cursor}" if cursor else ""))
            found += page["items"]
            cursor = page["next_cursor"]
        return found[:most]

    async def unlock(self, business: str) -> None:
        """Allow writing if the token is of this business, named by slug or id; refuse the run otherwise.

        The server proves the token by answering, and the token says whose it is. Of slugs the server tells only
        its demo's; any other business is named by id.
        """
        await self.call("GET", "/api/v1/professionals?limit=1")
        owner = _claimed_business(self.token)
        if business != owner and not await self._is_demo(business):
            raise Refused(
                f"the token is not known to be of business {business!r}, so nothing is written. "
                f"It is of the business with id {owner or 'unknown'}; name that id if it is the one you mean"
            )
        self._may_write = True

    async def _is_demo(self, slug: str) -> bool:
        """Whether the server calls its demo so, and the token sees the demo's professional: others find nothing."""
        status, content = await self.ask("GET", "/demo.json")
        if status != 200:
            return False
        try:
            demo = msgspec.json.decode(content)
            name, professional = demo["business"]["slug"], demo["professional"]["id"]
        except (msgspec.DecodeError, KeyError, TypeError):
            return False
        status, _ = await self.ask("GET", f"/api/v1/professionals/{professional}")
        return bool(name == slug and status == 200)

    def request(self, method: str, path: str, body: str = "") -> str:
        return request_text(method, path, self.port, self.token, body, host=self.host)


class Ground(msgspec.Struct):
    """Who can be booked or read, and for what."""

    professionals: list[str]
    service: str
    client: str = ""


def _claimed_business(token: str) -> str | None:
    """The business a token says it is of; whether that is true, the server's answers tell."""
    try:
        payload = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims["business"])
    except (IndexError, KeyError, TypeError, binascii.Error, msgspec.DecodeError):
        return None


async def run_remote(options: argparse.Namespace, bench: Bench) -> list[Row]:
    """What `--only` names, or all that can run on a server elsewhere; without a business, only what reads."""
    unknown = [name for name in options.only or () if name not in NAMES]
    if unknown:
        raise Refused(f"{unknown[0]} cannot run on a server elsewhere; {', '.join(NAMES)} can")
    wanted = list(dict.fromkeys(options.only or NAMES))
    target = Target(options.url, options.token)
    await target.open()
    try:
        if options.business is None:
            for name in wanted:
                if name in WRITES:
                    bench.skip(name, "all of it", "no --business was named to book in")
            ground = await _found_ground(target)
            return await _run_each(bench, target, ground, [n for n in wanted if n not in WRITES], reads_only=True)
        await target.unlock(options.business)
        return await _run_and_clean_up(bench, target, wanted)
    finally:
        await target.close()


async def _run_and_clean_up(bench: Bench, target: Target, wanted: Sequence[str]) -> list[Row]:
    made: list[str] = []
    ground = Ground(professionals=made, service="")
    try:
        await _make_ground(bench, target, ground)
        rows = await _run_each(bench, target, ground, wanted, reads_only=False)
    finally:
        cancelled = await _clean_up(bench, target, ground)
        left = f"{len(made)} professionals and a client called Bench, and {cancelled:,} cancelled bookings"
        bench.say(f"left behind: {left}")
    return [*rows, Row(scenario="remote", metric="professionals left behind", measured=len(made), note=left)]


async def _run_each(
    bench: Bench, target: Target, ground: Ground, wanted: Sequence[str], *, reads_only: bool
) -> list[Row]:
    runs: dict[str, Callable[[], Awaitable[list[Row]]]] = {
        "read-slots": lambda: _read(bench, target, ground, "read-slots"),
        "read-availability": lambda: _read(bench, target, ground, "read-availability"),
        "book-hot": lambda: _book(bench, target, ground, "book-hot", ground.professionals[:1]),
        "book-spread": lambda: _book(bench, target, ground, "book-spread", ground.professionals),
        "mixed": lambda: _mixed(bench, target, ground, reads_only=reads_only),
    }
    rows: list[Row] = []
    for name in wanted:
        try:
            rows += await runs[name]()
        except Refused as error:
            # One refused scenario must not cost the rows of the others.
            rows.append(refused_row(name, str(error)))
            bench.say(f"{name} refused: {error}")
    return rows


async def _found_ground(target: Target) -> Ground:
    """Professionals who are there already and all offer one service."""
    everybody = [item["id"] for item in await target.items("/api/v1/professionals", READ_FROM)]
    offered: dict[str, list[str]] = {}
    for professional in everybody:
        for service in await target.items(f"/api/v1/professionals/{professional}/services", PAGE):
            offered.setdefault(service["id"], []).append(professional)
    if not offered:
        raise Refused("no professional there offers a service, so there is nothing to read")
    service = max(offered, key=lambda id_: len(offered[id_]))
    return Ground(professionals=offered[service], service=service)


async def _make_ground(bench: Bench, target: Target, ground: Ground) -> None:
    """A service, its professionals and a client, all new; filled in step by step, so that all can be cleaned up."""
    terms = {"duration_minutes": MINUTES, "step_minutes": MINUTES, "horizon_days": 730, "confirmation": "instant"}
    service = await target.call("POST", "/api/v1/services", {"name": f"Bench {MINUTES} min", **terms})
    ground.service = str(service["id"])
    client = await target.call("POST", "/api/v1/clients", {"first_name": "Bench", "last_name": "Client"})
    ground.client = str(client["id"])
    weekly = [{"weekday": day, "start": "00:00", "end": "24:00"} for day in range(7)]

    async def one(number: int) -> None:
        named = {"display_name": f"Bench {number}", "time_zone": "UTC"}
        id_ = str((await target.call("POST", "/api/v1/professionals", named))["id"])
        ground.professionals.append(id_)
        await target.call("POST", f"/api/v1/professionals/{id_}/services", {"service_id": ground.service})
        await target.call("PUT", f"/api/v1/professionals/{id_}/schedule", {"time_zone": "UTC", "weekly": weekly})

    await at_once(one(number) for number in range(PROFESSIONALS_QUICK if bench.quick else PROFESSIONALS))


async def _read(bench: Bench, target: Target, ground: Ground, name: str) -> list[Row]:
    days = [datetime.now(UTC).date() + timedelta(days=ahead) for ahead in range(2, 2 + DAYS)]
    paths = [
        f"/api/v1/professionals/{id_}/slots?from={day}&to={day + timedelta(days=6)}&service_id={ground.service}"
        if name == "read-slots"
        else f"/api/v1/professionals/{id_}/availability?date={day}"
        for day in days
        for id_ in ground.professionals
    ]
    job = _job(bench, target, expect=200, cycle=[target.request("GET", path) for path in paths])
    closed = await _carry_out(name, job)
    opened = await _carry_out(name, msgspec.structs.replace(job, rate=SHARE * closed.rate))
    return [*_rate_rows(name, closed), *level_rows(name, f"at {SHARE * 100:.0f} %", opened)]


async def _book(bench: Bench, target: Target, ground: Ground, name: str, professionals: Sequence[str]) -> list[Row]:
    """A number of bookings and not of seconds: what is done elsewhere has to be undone there."""
    count = BOOKED_QUICK if bench.quick else BOOKED
    mark = "1970-01-01T00:00:00Z"
    heads, tail = [], ""
    for id_ in professionals:
        wish = {"professional_id": id_, "service_id": ground.service, "start": mark, "client_id": ground.client}
        head, tail = target.request("POST", "/api/v1/bookings", msgspec.json.encode(wish).decode()).split(mark)
        heads.append(head)
    each = max(1, count // len(professionals))
    plan = Bookings(heads=heads, tail=tail, first=midnight_in(FIRST_DAY[name]), step=STEP, count=each)
    outcome = await run_job(_job(bench, target, expect=201, bookings=plan, keep_ids=True, seconds=300.0, warmup=0.0))
    if outcome.errors or outcome.operations != each * len(professionals):
        raise Refused(f"{name}: {outcome.operations} answers, {outcome.errors}\n{outcome.sample_error}")
    await verify(target, name, professionals, integrity.Story(outcome.ids, []))
    return [
        *_rate_rows(name, outcome),
        Row(scenario=name, metric="bookings verified over REST", measured=len(outcome.ids)),
    ]


async def _mixed(bench: Bench, target: Target, ground: Ground, *, reads_only: bool) -> list[Row]:
    """The mix of `mixed`; a reader's share of it where nothing may be written."""
    story = bench.folder / "remote-mixed-story"
    site = Site(
        host=target.host,
        port=target.port,
        tls=target.tls,
        token=target.token,
        calendars=ground.professionals,
        service=ground.service,
        client=ground.client,
        first=midnight_in(2 if reads_only else FIRST_DAY["mixed"]),
        days=mixed.DAYS,
        opens=mixed.OPENS_HOUR * 3600,
        closes=mixed.CLOSES_HOUR * 3600,
        step=STEP,
        cap=0 if reads_only else mixed.STANDING_EACH * len(ground.professionals),
        story="" if reads_only else str(story),
        reads_only=reads_only,
    )
    generator = await Generator.start("bench.mixed_load")
    try:
        ceiling = await mixed.fill_and_find_ceiling(generator, site, quick=bench.quick, connections=bench.connections)
        rate = mixed.wanted_rate() or SHARE * ceiling.rate
        outcome = await mixed.ask(generator, MixedJob(seconds=bench.seconds, warmup=bench.warmup, rate=rate))
    finally:
        await generator.stop()
    rows = mixed.outcome_rows("mixed", outcome, ceiling, rate)
    if not reads_only:
        told = integrity.read_story(Path(site.story))
        await verify(target, "mixed", ground.professionals, told)
        rows.append(Row(scenario="mixed", metric="bookings verified over REST", measured=len(told.booked)))
    return rows


async def verify(target: Target, name: str, professionals: Sequence[str], story: integrity.Story) -> None:
    """Refuse the run unless each booking told is there as told, once, and no two that stand overlap."""
    read: dict[str, Booking] = {}
    for bookings in await at_once(_bookings_of(target, id_) for id_ in professionals):
        check_overlaps(name, bookings)
        read.update((booking.id, booking) for booking in bookings)
    check_told(name, read, story)


def check_overlaps(name: str, bookings: Sequence[Booking]) -> None:
    """Of one calendar's bookings, no two that stand may share a moment."""
    standing = sorted((b.start, b.end) for b in bookings if b.status in ("pending", "confirmed"))
    for (_, end), (start, _) in pairwise(standing):
        if start < end:
            raise Refused(f"{name}: two bookings overlap at {start}")


def check_told(name: str, read: dict[str, Booking], story: integrity.Story) -> None:
    """Every booking told is there, as told and told once."""
    if len(set(story.booked)) != len(story.booked):
        raise Refused(f"{name}: one booking id was acknowledged more than once")
    for ids, status in ((story.standing, "confirmed"), (story.cancelled, "cancelled")):
        wrong = [id_ for id_ in ids if id_ not in read or read[id_].status != status]
        if wrong:
            raise Refused(f"{name}: {len(wrong)} bookings that were told to be {status} are not, such as {wrong[0]}")


async def _bookings_of(target: Target, professional: str, query: str = "") -> list[Booking]:
    items = await target.items(f"/api/v1/bookings?professional_id={professional}{query}", most=10**9)
    return msgspec.convert(items, list[Booking])


async def _clean_up(bench: Bench, target: Target, ground: Ground) -> int:
    """Cancel what stands with the professionals made here, and take the service away; how many were cancelled.

    What fails is told and costs nothing else its cleaning up.
    """
    cancelled = 0

    async def attempt(work: Awaitable[None]) -> None:
        try:
            await work
        except Refused as error:
            bench.say(f"not cleaned up: {error}")

    async def cancel(booking: str) -> None:
        nonlocal cancelled
        await target.call("POST", f"/api/v1/bookings/{booking}/cancel", {"reason": "bench"})
        cancelled += 1

    async def cancel_all(professional: str) -> None:
        standing = await _bookings_of(target, professional, "&status=confirmed")
        await at_once(attempt(cancel(b.id)) for b in standing)

    for professional in ground.professionals:
        await attempt(cancel_all(professional))
    if ground.service:
        await attempt(target.call("DELETE", f"/api/v1/services/{ground.service}"))
    return cancelled


def _job(bench: Bench, target: Target, **what: object) -> Job:
    base = Job(host=target.host, port=target.port, tls=target.tls, expect=200, seconds=bench.seconds)
    base = msgspec.structs.replace(base, warmup=bench.warmup, connections=bench.connections)
    return msgspec.structs.replace(base, **what)


async def _carry_out(name: str, job: Job) -> Outcome:
    outcome = await run_job(job)
    accept(name, "remote", outcome)
    return outcome


def _rate_rows(name: str, outcome: Outcome) -> list[Row]:
    waits = {"p50 (closed loop)": (outcome.p50, "ms"), "p99 (closed loop)": (outcome.p99, "ms")}
    found = {"rate": (outcome.rate, "/s"), **waits}
    return [Row(scenario=name, metric=metric, measured=value, unit=unit) for metric, (value, unit) in found.items()]
