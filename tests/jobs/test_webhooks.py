"""Deliveries: each reaches its target signed, in order and at least once, or is given up in the end; no target holds up
what goes to others.
"""

import orjson
import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from jobs import deliveries
from jobs.webhooks import Announcements, WebhookFollower
from protocol import events as ev
from protocol.ids import new_id
from tests.jobs.hooks import Hooks, booked, secret
from tests.jobs.targets import Target


def ids(target: Target) -> list[str]:
    return [r.headers["webhook-id"] for r in target.received]


def types(target: Target) -> list[str]:
    return [orjson.loads(r.body)["type"] for r in target.received]


async def test_events_arrive_signed_and_in_their_order(hooks: Hooks, target: Target) -> None:
    """With what Standard Webhooks asks for; another secret's signature is not good."""
    business, calendar = await hooks.business(), new_id()
    hook = await hooks.hook(business, target.url)
    booking = new_id()
    story = [booked(booking), ev.Confirmed(booking), ev.Cancelled(booking, "client")]
    await hooks.happen(business, calendar, *story)
    async with hooks.sending():
        assert await hooks.shop.all_ended()
    assert types(target) == ["booking.created", "booking.confirmed", "booking.cancelled"]
    for received in target.received:
        said = Webhook(secret(hook, 1)).verify(received.body, received.headers)
        assert said["data"]["booking"]["id"] == booking
        with pytest.raises(WebhookVerificationError):
            Webhook(secret(hook, 2)).verify(received.body, received.headers)
    assert len(set(ids(target))) == 3
    assert await hooks.states(hook) == ["delivered"] * 3


async def test_an_event_that_is_read_twice_is_sent_once(hooks: Hooks, target: Target) -> None:
    business, calendar = await hooks.business(), new_id()
    await hooks.hook(business, target.url)
    for _ in range(2):
        await hooks.happen(business, calendar, booked(new_id()), first_version=1)
    async with hooks.sending():
        assert await hooks.shop.all_ended()
    assert len(target.received) == 1


async def test_each_webhook_gets_what_it_wants(hooks: Hooks, target: Target) -> None:
    """Not what it did not ask for, what others' businesses do, what was before it, or anything while it is disabled."""
    business, other = await hooks.business(), await hooks.business()
    wants = await hooks.hook(business, target.url, ["booking.cancelled", "hold.expired"])
    every = await hooks.hook(business, target.url)
    off = await hooks.hook(business, target.url, disabled=True)
    gone = await hooks.hook(business, target.url, deleted=True)
    late = await hooks.hook(business, target.url, created_in_s=60)
    foreign = await hooks.hook(other, target.url)
    await hooks.happen(business, new_id(), booked(new_id()), ev.Cancelled(new_id(), "owner"), ev.Amended(new_id()))
    async with hooks.sending():
        assert await hooks.shop.all_ended()
    assert await hooks.types(wants) == ["booking.cancelled"]
    assert await hooks.types(every) == ["booking.created", "booking.cancelled"]
    for hook in (off, gone, late, foreign):
        assert await hooks.types(hook) == []


async def test_without_webhooks_nothing_is_written(hooks: Hooks) -> None:
    await hooks.happen(await hooks.business(), new_id(), *(booked(new_id()) for _ in range(5)))
    assert await hooks.shop.jobs() == []


async def test_a_delivery_is_the_same_with_every_try(hooks: Hooks, target: Target, hurried_webhooks: None) -> None:
    """The id and the body; signature and time are the try's own."""
    answers = iter([500, 302, 200])
    target.answer = lambda _: web.Response(status=next(answers), headers={"Location": "/elsewhere"})
    business = await hooks.business()
    hook = await hooks.hook(business, target.url)
    await hooks.happen(business, new_id(), booked(new_id()))
    async with hooks.sending():
        assert await hooks.shop.all_ended()
    assert {(r.path, r.headers["webhook-id"], r.body) for r in target.received} == {
        ("/hook", target.received[0].headers["webhook-id"], target.received[0].body)
    }
    (row,) = await hooks.rows(hook)
    assert (row["state"], row["tries"], row["answer"]) == ("delivered", 3, None)
    assert [t["status"] for t in orjson.loads(row["last_tries"])] == [500, 302, 200]
    assert await hooks.health(hook) == (0, None, None)


async def test_a_business_that_was_removed_is_told_nothing_more(hooks: Hooks, target: Target) -> None:
    """Neither of what comes nor of what was waiting."""
    business = await hooks.business()
    hook = await hooks.hook(business, target.url)
    await hooks.happen(business, new_id(), booked(new_id()))
    await hooks.shop.db.execute("UPDATE businesses SET deleted_at = now() WHERE id = $1", business)
    await hooks.happen(business, new_id(), booked(new_id()))
    async with hooks.sending():
        assert await hooks.shop.all_ended()
    assert await hooks.states(hook) == ["skipped"]
    assert target.received == []


async def test_while_a_secret_is_new_both_sign(hooks: Hooks, target: Target) -> None:
    """Receivers change over when they like; afterwards only the new one is good."""
    business = await hooks.business()
    hook = await hooks.hook(business, target.url)
    good: list[set[int]] = []
    for sql in ("generation = 2, overlaps_until = now() + interval '1 hour'", "overlaps_until = now()"):
        await hooks.set(hook, sql)
        await hooks.happen(business, new_id(), booked(new_id()))
        async with hooks.sending():
            assert await hooks.shop.all_ended()
        good.append(set())
        for generation in (1, 2, 3):
            try:
                Webhook(secret(hook, generation)).verify(target.received[-1].body, target.received[-1].headers)
            except WebhookVerificationError:
                continue
            good[-1].add(generation)
    assert good == [{1, 2}, {2}]


async def test_what_no_journal_holds_is_announced_once(hooks: Hooks, target: Target) -> None:
    """A reminder, say: to who wants it, about a booking that is there."""
    business, calendar, booking = await hooks.business(), new_id(), new_id()
    await hooks.hook(business, target.url, ["booking.reminder"])
    await hooks.hook(business, target.url, ["booking.created"])
    await hooks.booking(business, calendar, booking)
    announcements = Announcements(hooks.shop.database, hooks.shop.queue, hooks.clock)
    for _ in range(2):
        await announcements.of_booking("booking.reminder", business, booking, f"{booking}:120", {"minutes": 120})
    await announcements.of_booking("booking.reminder", business, new_id(), "of nobody")
    async with hooks.sending():
        assert await hooks.shop.all_ended()
    (said,) = [orjson.loads(r.body) for r in target.received]
    assert (said["type"], said["data"]["minutes"]) == ("booking.reminder", 120)
    assert (said["data"]["booking"]["id"], said["data"]["professional_id"]) == (booking, calendar)


async def test_a_job_that_comes_again_sends_nothing_again(hooks: Hooks, target: Target) -> None:
    """One whose end could not be written down, or that an operator tries once more."""
    business = await hooks.business()
    await hooks.hook(business, target.url)
    await hooks.happen(business, new_id(), booked(new_id()))
    (job,) = await hooks.shop.jobs()
    async with hooks.sending() as sender:
        assert await hooks.shop.all_ended()
        await sender(hooks.as_job(job))
        await sender(hooks.as_job(job, delivery_id=new_id()))
    assert len(target.received) == 1


async def test_old_deliveries_are_forgotten(hooks: Hooks, target: Target) -> None:
    """After thirty days, by whoever owns the first shard."""
    business = await hooks.business()
    hook = await hooks.hook(business, target.url)
    await hooks.happen(business, new_id(), booked(new_id()), booked(new_id()))
    await hooks.shop.db.execute(
        "UPDATE webhook_deliveries SET created_at = now() - interval '31 days' WHERE id = (SELECT min(id::text)::uuid"
        " FROM webhook_deliveries WHERE webhook_id = $1)",
        hook,
    )
    old = deliveries.OldDeliveries(hooks.shop.database)
    assert not await old.once([3])
    assert len(await hooks.rows(hook)) == 2
    assert not await old.once([0, 3])
    assert len(await hooks.rows(hook)) == 1


def test_the_follower_has_a_name_that_stays() -> None:
    """Its cursors stand under it."""
    assert WebhookFollower().name == "webhooks"
