"""What the generator of a day knows of its site: what stands there, what to do next, and the request for it."""

import random
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import IO

import msgspec

from bench.load import request_text
from bench.mixed_job import Kind, Site

# Of a hundred operations. Releases and the cancellations that keep the cap come on top of them.
MIX: dict[Kind, int] = {"slots": 60, "availability": 30, "hold": 6, "book": 3, "cancel": 1}
# One write in so many aims at a time that is booked already: people want the same popular hour.
COMPETITION_EVERY = 20
ZIPF_EXPONENT = 1.0
WEEK_DAYS = 7
HOLD_TTL_S = 120
SHORT_HOLD_TTL_S = (3, 15)
HOLD_MARGIN_S = 30.0

Place = tuple[int, int]
"""A calendar and one of its starts, as indexes."""


class Operation:
    """One request to be: when it was due, and what its answer means to the memory of the site."""

    __slots__ = ("due", "id", "kind", "marked", "place", "then")

    def __init__(self, kind: Kind, due: float, place: Place = (0, 0), id_: str = "") -> None:
        self.kind: Kind = kind
        self.due = due
        self.place = place
        self.id = id_
        self.marked = False
        self.then = ""


class Memory:
    """What the generator knows of the site: the bookings it has made that stand, and the holds it may use."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.random = random.Random(1)
        self.per_day = (site.closes - site.opens) // site.step
        self._popularity = list(accumulate(1 / rank**ZIPF_EXPONENT for rank in range(1, len(site.calendars) + 1)))
        self._calendars = range(len(site.calendars))
        self._kinds: list[Kind] = [kind for kind in MIX if not site.reads_only or kind in ("slots", "availability")]
        self._weights = list(accumulate(MIX[kind] for kind in self._kinds))
        self.standing: deque[tuple[str, Place]] = deque()
        self.taken: set[Place] = set()
        self.holds: deque[tuple[str, Place, float]] = deque()
        # Open as long as this process lives.
        self._story: IO[str] | None = Path(site.story).open("a") if site.story else None  # noqa: SIM115

    def kind(self) -> Kind:
        return self.random.choices(self._kinds, cum_weights=self._weights)[0]

    def calendar(self) -> int:
        return self.random.choices(self._calendars, cum_weights=self._popularity)[0]

    def day(self, most: int) -> str:
        """A date at most so many days after the first."""
        first = datetime.fromtimestamp(self.site.first, UTC)
        return f"{first + timedelta(days=self.random.randrange(max(1, most))):%Y-%m-%d}"

    def start(self, place: Place) -> str:
        day, turn = divmod(place[1], self.per_day)
        seconds = self.site.first + day * 86_400 + self.site.opens + turn * self.site.step
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def aim(self, operation: Operation) -> None:
        """A start that looks open, as a visitor sees it, or now and then one that somebody has."""
        if self.standing and self.random.randrange(COMPETITION_EVERY) == 0:
            operation.place = self.standing[-1 - self.random.randrange(min(50, len(self.standing)))][1]
            return
        for _ in range(20):
            operation.place = (self.calendar(), self.random.randrange(self.site.days * self.per_day))
            if operation.place not in self.taken:
                break
        else:
            return
        self.taken.add(operation.place)
        operation.marked = True

    def usable_hold(self, now: float) -> tuple[str, Place] | None:
        """The oldest hold that lasts long enough to be booked in peace; those that do not are forgotten."""
        while self.holds:
            id_, place, ends = self.holds.popleft()
            if ends - now > HOLD_MARGIN_S:
                return id_, place
            self.taken.discard(place)
        return None

    def booked(self, id_: str, place: Place) -> None:
        self.taken.add(place)
        self.standing.append((id_, place))
        self._tell("b", id_)

    def cancelled(self, id_: str, place: Place) -> None:
        self.taken.discard(place)
        self._tell("c", id_)

    def _tell(self, what: str, id_: str) -> None:
        if self._story is not None:
            self._story.write(f"{what} {id_}\n")

    def flush(self) -> None:
        if self._story is not None:
            self._story.flush()


class Requests:
    """What operations are as bytes; only now is it settled which booking or start one is about."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        site = memory.site
        self._get = request_text("GET", "@", site.port, site.token, host=site.host)
        self._post = request_text("POST", "@", site.port, site.token, "@", host=site.host)
        self._delete = self._get.replace("GET", "DELETE", 1)

    def of(self, operation: Operation) -> bytes:
        memory = self._memory
        match operation.kind:
            case "slots":
                return self._read("slots")
            case "availability":
                return self._read("availability")
            case "hold":
                memory.aim(operation)
                operation.then = memory.random.choice(("book", "release", "expire"))
                ttl = HOLD_TTL_S if operation.then != "expire" else memory.random.randint(*SHORT_HOLD_TTL_S)
                return self._write("/api/v1/holds", self._wish(operation) | {"ttl_seconds": ttl})
            case "book":
                return self._book(operation)
            case "cancel" if memory.standing:
                operation.id, operation.place = memory.standing.popleft()
                return self._write(f"/api/v1/bookings/{operation.id}/cancel", {})
            case "release":
                return self._delete.replace("@", f"/api/v1/holds/{operation.id}").encode()
            case _:  # nothing to cancel yet
                operation.kind = "slots"
                return self._read("slots")

    def _read(self, what: str) -> bytes:
        memory = self._memory
        calendar, site = memory.site.calendars[memory.calendar()], memory.site
        if what == "availability":
            query = f"date={memory.day(site.days)}"
        else:
            first = memory.day(site.days - WEEK_DAYS)
            last = datetime.fromisoformat(first) + timedelta(days=WEEK_DAYS - 1)
            query = f"from={first}&to={last:%Y-%m-%d}&service_id={site.service}"
        return self._get.replace("@", f"/api/v1/professionals/{calendar}/{what}?{query}").encode()

    def _book(self, operation: Operation) -> bytes:
        memory = self._memory
        hold = memory.usable_hold(time.perf_counter())
        if hold is None:
            memory.aim(operation)
            return self._write("/api/v1/bookings", self._wish(operation) | {"client_id": memory.site.client})
        operation.kind, (id_, operation.place) = "book held", hold
        body = self._wish(operation) | {"client_id": memory.site.client, "hold_id": id_}
        return self._write("/api/v1/bookings", body)

    def _wish(self, operation: Operation) -> dict[str, object]:
        site = self._memory.site
        return {
            "professional_id": site.calendars[operation.place[0]],
            "service_id": site.service,
            "start": self._memory.start(operation.place),
        }

    def _write(self, path: str, body: dict[str, object]) -> bytes:
        text = msgspec.json.encode(body).decode()
        head, _ = self._post.replace("@", path, 1).split("\r\n\r\n")
        return f"{head.replace('Content-Length: 1', f'Content-Length: {len(text)}')}\r\n\r\n{text}".encode()
