"""Webhooks: a follower that notes what is to be delivered, and the handler that delivers it.

The events of one calendar reach a target in their order: one that does not arrive holds up those behind it until it is
given up. Other targets, and other calendars of the same one, do not wait for it. While a target itself is in trouble,
one delivery at a time looks whether it is well again, and the rest waits without being tried.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

from standardwebhooks import Webhook

from actors.ports import Clock
from jobs import deliveries
from jobs.database import Database, Transaction
from jobs.deliveries import Outgoing, Tried
from jobs.job_queue import JobQueue
from jobs.outgoing import to_owners
from jobs.ports import NotPosted, Poster
from jobs.queue import Digest, Hopeless, Job, JournalEvent, Later, NewJob
from jobs.webhook_events import Announced, announced, booking_of, is_public, of_booking, promoted
from protocol import limits

Secret = Callable[[str, int], str]
"""The secret of a webhook's id and generation, as `whsec_…`."""

_PROBE_S: Final = 30.0
"""For how long one delivery that looks after a target in trouble keeps others from it, should its worker die."""
_LOOK_AGAIN_S: Final = 1.0
_JITTER: Final = 0.1
_SPREAD_S: Final = 5.0
_PATIENCE_S: Final = 0.5
_SECONDS_AT_FIRST: Final = 0.2
_PAUSE_S_MAX: Final = 600.0
_GONE: Final = 410


class WebhookFollower:
    """Notes the events that a business's webhooks want, and puts in a job for each."""

    name = "webhooks"

    async def digest(self, events: Sequence[JournalEvent], transaction: Transaction) -> Digest:
        wanted = [e for e in events if is_public(e)]
        if not wanted:
            return Digest()
        subscribed = await deliveries.subscriptions(transaction, (e.business_id for e in wanted))
        wanted = [e for e in wanted if e.business_id in subscribed]
        about = {id_ for e in wanted if (id_ := booking_of(e)) is not None}
        rows = await deliveries.bookings(transaction, subscribed, about)
        told: list[Announced] = []
        for event in wanted:
            row = rows.get(booking_of(event) or "")
            if row is None or not row.is_part:
                told.append(announced(event, row))
            if (other := promoted(event)) is not None:
                told.append(other)
        pairs = [(s, event) for event in told for s in subscribed[event.business_id] if s.wants(event)]
        return Digest(jobs=await deliveries.add(transaction, pairs))


class Announcements:
    """For what webhooks are told of and no journal holds."""

    def __init__(self, database: Database, queue: JobQueue, clock: Clock) -> None:
        self._database = database
        self._queue = queue
        self._clock = clock

    async def of_booking(
        self, kind: str, business_id: str, booking_id: str, occasion: str, more: Mapping[str, Any] | None = None
    ) -> None:
        """Tells of `kind`, one of `protocol.webhooks.EVENT_TYPES`. The same `occasion` is told once; `more` joins the
        booking in `data`.
        """
        async with self._database.transaction() as transaction:
            found = (await deliveries.subscriptions(transaction, [business_id])).get(business_id)
            if not found:
                return
            rows = await deliveries.bookings(transaction, [business_id], [booking_id])
            if booking_id not in rows:
                return
            now = self._clock.now_us()
            event = of_booking(kind, business_id, rows[booking_id], occasion, now, more or {})
            told = [(s, event) for s in found if s.wants(event)]
            await self._queue.put(await deliveries.add(transaction, told), transaction)


class Gate:
    """How many deliveries to one target are under way on this node, and when others may come."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(limits.webhook_under_way_max)
        self._seconds = _SECONDS_AT_FIRST
        self._turn = 0.0
        self.users = 0

    @asynccontextmanager
    async def entered(self) -> AsyncGenerator[None]:
        """Waits a moment for others to be done. Then raises `Later`, so that the worker is free for other targets."""
        now = asyncio.get_running_loop().time
        self.users += 1
        try:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self._free.acquire()
            except TimeoutError:
                raise Later("others to the same target are under way", self._pause_s(now()), tried=False) from None
            started = now()
            try:
                yield
            finally:
                self._free.release()
                self._seconds = (self._seconds + now() - started) / 2
        finally:
            self.users -= 1

    def _pause_s(self, now: float) -> float:
        """Until it is probably one's turn: each who asks has the next one, so that few come in vain."""
        self._turn = max(now, self._turn) + self._seconds / limits.webhook_under_way_max
        self._turn = min(self._turn, now + _PAUSE_S_MAX)
        return (self._turn - now) * random.uniform(1 - _JITTER, 1 + _JITTER)


class WebhookSender:
    """The handler of jobs of kind `webhook`."""

    def __init__(self, database: Database, queue: JobQueue, poster: Poster, secret: Secret, clock: Clock) -> None:
        self._database = database
        self._queue = queue
        self._poster = poster
        self._secret = secret
        self._clock = clock
        self._gates: dict[str, Gate] = {}

    async def __call__(self, job: Job) -> None:
        webhook_id = job.payload["webhook_id"]
        gate = self._gates.setdefault(webhook_id, Gate())
        try:
            async with gate.entered():
                await self._deliver(job.payload["delivery_id"], job.payload["replay"])
        finally:
            if not gate.users:
                self._gates.pop(webhook_id, None)

    async def _deliver(self, delivery_id: str, replay: int) -> None:
        delivery = await deliveries.load(self._database, delivery_id)
        if delivery is None or delivery.replays != replay or delivery.state in ("delivered", "skipped"):
            return
        if delivery.deleted or (delivery.disabled and not delivery.is_test):
            await deliveries.skip(self._database, delivery.id)
            return
        await self._wait_for_health(delivery)
        await self._write_down(delivery, await self._send(delivery))

    async def _wait_for_health(self, delivery: Outgoing) -> None:
        if not delivery.failures or delivery.is_test:
            return
        wait = delivery.wait_s
        if wait <= 0:
            if await deliveries.may_try(self._database, delivery.webhook_id, _PROBE_S):
                return
            # Soon it is known how the target is: not for as long as the claim stands, which is for a worker that dies.
            wait = _LOOK_AGAIN_S
        raise Later("the target is in trouble", wait + random.uniform(0.0, _SPREAD_S), tried=False)

    async def _send(self, delivery: Outgoing) -> Tried:
        at = self._clock.now_us()
        started = perf_counter()
        try:
            posted = await self._poster.post(delivery.url, delivery.body.encode(), self._headers(delivery, at))
        except NotPosted as failed:
            return Tried(at=at, milliseconds=_ms(perf_counter() - started), error=failed.reason)
        return Tried(
            at=at,
            milliseconds=_ms(posted.seconds),
            status=posted.status,
            answer=posted.excerpt or None,
            retry_after_s=posted.retry_after_s,
        )

    def _headers(self, delivery: Outgoing, at: int) -> dict[str, str]:
        """Signed with the secret, and while it is new with the one before it as well."""
        moment = datetime.fromtimestamp(at // 1_000_000, UTC)
        generations = [delivery.generation, delivery.generation - 1] if delivery.overlaps else [delivery.generation]
        signatures = [
            Webhook(self._secret(delivery.webhook_id, generation)).sign(delivery.event_id, moment, delivery.body)
            for generation in generations
        ]
        return {
            "webhook-id": delivery.event_id,
            "webhook-timestamp": str(at // 1_000_000),
            "webhook-signature": " ".join(signatures),
        }

    async def _write_down(self, delivery: Outgoing, tried: Tried) -> None:
        """What became of it. Raises `Later` or `Hopeless` for what did not arrive."""
        if tried.arrived:
            await deliveries.note_arrival(self._database, delivery, tried)
            return
        if delivery.is_test:
            await deliveries.note(self._database, delivery, tried, "failed")
            return
        pause = _pause_s(delivery.tries, tried)
        gone = "the target has answered that it is gone for ever (410)" if tried.status == _GONE else None
        async with self._database.transaction() as transaction:
            now = await deliveries.note_failure(transaction, delivery.webhook_id, tried, gone)
            given_up = pause is None or (now is not None and now["disabled"])
            if given_up:
                await deliveries.note(transaction, delivery, tried, "failed")
            else:
                await deliveries.note(transaction, delivery, tried, "waiting", pause)
            if now is not None and now["disabled"]:
                await self._queue.put([_notice(delivery, now["disabled_why"], now["disabled_us"])], transaction)
        if pause is None:
            raise Hopeless(f"given up after {delivery.tries + 1} tries: {tried.told}")
        if not given_up:
            raise Later(tried.told, pause)


def _pause_s(tries: int, tried: Tried) -> float | None:
    """Until the next try, after `tries` before this one; `None` when there is none."""
    if tries >= len(limits.webhook_pauses_s):
        return None
    pause = limits.webhook_pauses_s[tries] * random.uniform(1 - _JITTER, 1 + _JITTER)
    return max(pause, tried.retry_after_s or 0.0)


def _notice(delivery: Outgoing, why: str, disabled_us: int) -> NewJob:
    """To the owners. The path of a URL may be a secret, so only its host is told."""
    host = urlsplit(delivery.url).hostname or ""
    key = f"{delivery.webhook_id}:{disabled_us}"
    return to_owners("webhook_disabled", delivery.business_id, key, {"url": host, "reason": why})


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
