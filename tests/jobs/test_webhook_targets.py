"""Targets that fail, hang, are gone or ask for patience: each is tried as it should be, and holds up nobody else."""

import asyncio
from collections import Counter
from typing import Any

import orjson
import pytest
from aiohttp import web

from protocol import limits
from protocol.ids import new_id
from tests.jobs.hooks import Hooks, booked
from tests.jobs.targets import Target, serving
from tests.support.server import eventually


async def test_an_event_that_does_not_arrive_holds_up_its_calendar_alone(
    hooks: Hooks, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows in the same calendar waits; another calendar's events reach the same target."""
    monkeypatch.setattr(limits, "webhook_pauses_s", (60.0,))
    business, stuck, free = await hooks.business(), new_id(), new_id()
    bad = new_id()

    def answer(request: Any) -> web.Response:
        about = orjson.loads(target.received[-1].body)["data"]["booking"]["id"]
        return web.Response(status=400 if about == bad else 200)

    target.answer = answer
    hook = await hooks.hook(business, target.url)
    await hooks.happen(business, stuck, booked(bad), booked(new_id()))
    await hooks.happen(business, free, booked(new_id()), booked(new_id()))
    async with hooks.sending():
        assert await eventually(lambda: hooks.count(hook, "delivered", 2))
        assert await eventually(lambda: hooks.shop.jobs("reason IS NOT NULL"))
    found = Counter(orjson.loads(r.body)["data"]["professional_id"] for r in target.received)
    assert found == {stuck: 1, free: 2}


async def test_what_is_given_up_is_told_and_lets_others_pass(
    hooks: Hooks, target: Target, hurried_webhooks: None
) -> None:
    bad = new_id()

    def answer(_: Any) -> web.Response:
        about = orjson.loads(target.received[-1].body)["data"]["booking"]["id"]
        return web.Response(status=422 if about == bad else 200, text="I do not like it")

    target.answer = answer
    business, calendar = await hooks.business(), new_id()
    hook = await hooks.hook(business, target.url)
    await hooks.happen(business, calendar, booked(bad), booked(new_id()))
    async with hooks.sending():
        assert await hooks.shop.all_ended()
    assert await hooks.states(hook) == ["failed", "delivered"]
    (dead,) = await hooks.shop.jobs("state = 'dead'")
    assert dead["reason"] == "given up after 3 tries: the target answered 422"
    first = (await hooks.rows(hook))[0]
    assert (first["tries"], first["answer"], first["next_try_at"]) == (3, "I do not like it", None)


async def test_a_target_in_trouble_is_left_alone(hooks: Hooks, target: Target) -> None:
    """However many calendars have something for it: few requests, and no try is used up by waiting."""
    target.answer = lambda _: web.Response(status=500)
    business = await hooks.business()
    hook = await hooks.hook(business, target.url)
    for _ in range(40):
        await hooks.happen(business, new_id(), booked(new_id()))
    async with hooks.sending(slots=16):
        # Each job has been looked at and put off.
        assert await eventually(
            lambda: hooks.shop.db.fetchval("SELECT count(*) = 40 FROM jobs WHERE reason IS NOT NULL")
        )
    assert len(target.received) <= limits.webhook_under_way_max
    rows = await hooks.rows(hook)
    assert sum(r["tries"] for r in rows) == len(target.received)
    assert await hooks.shop.db.fetchval("SELECT count(*) FROM jobs WHERE attempts > 0") == len(target.received)


async def test_a_target_that_is_well_again_gets_everything(
    hooks: Hooks, target: Target, hurried_webhooks: None
) -> None:
    calls = 0

    def answer(_: Any) -> web.Response:
        nonlocal calls
        calls += 1
        return web.Response(status=500 if calls <= 2 else 200)

    target.answer = answer
    business = await hooks.business()
    hook = await hooks.hook(business, target.url)
    for _ in range(10):
        await hooks.happen(business, new_id(), booked(new_id()))
    async with hooks.sending():
        assert await hooks.shop.all_ended()
    assert await hooks.states(hook) == ["delivered"] * 10
    assert await hooks.health(hook) == (0, None, None)


async def test_who_looks_whether_a_target_is_well_again_keeps_others_for_no_longer_than_that(
    hooks: Hooks, target: Target, hurried_webhooks: None
) -> None:
    """They come again as soon as it may be known; not when the one who looked could be taken for dead."""
    is_well = asyncio.Event()

    async def in_the_end(_: Any) -> web.Response:
        await is_well.wait()
        return web.Response()

    target.answer = in_the_end
    business = await hooks.business()
    hook = await hooks.hook(business, target.url)
    await hooks.set(hook, "failures = 3, failing_since = now(), try_after = now()")
    for _ in range(5):
        await hooks.happen(business, new_id(), booked(new_id()))
    put_off = "SELECT coalesce(max(run_at - updated_at), '0') FROM jobs WHERE reason = 'the target is in trouble'"
    async with hooks.sending():
        assert await eventually(lambda: hooks.shop.db.fetchval(
            "SELECT count(*) = 4 FROM jobs WHERE reason = 'the target is in trouble'"))  # fmt: skip
        assert (await hooks.shop.db.fetchval(put_off)).total_seconds() < 2
        assert len(target.received) == 1
        is_well.set()
        assert await hooks.shop.all_ended()
    assert await hooks.states(hook) == ["delivered"] * 5
    assert await hooks.health(hook) == (0, None, None)


async def test_targets_that_hang_hold_up_nobody_else(hooks: Hooks, target: Target) -> None:
    """Neither another webhook of the business nor another business, with few workers."""
    async with serving(Target()) as dead:

        async def hang(_: Any) -> web.Response:
            await asyncio.sleep(60)
            return web.Response()

        dead.answer = hang
        business, other = await hooks.business(), await hooks.business()
        await hooks.hook(business, dead.url)
        well = [await hooks.hook(business, target.url), await hooks.hook(other, target.url)]
        for _ in range(20):
            await hooks.happen(business, new_id(), booked(new_id()))
            await hooks.happen(other, new_id(), booked(new_id()))
        async with hooks.sending(slots=4, timeout_s=0.3):
            for hook in well:
                assert await eventually(lambda hook=hook: hooks.count(hook, "delivered", 20), 20)
        assert len(dead.received) <= 2 * limits.webhook_under_way_max


async def test_who_waits_too_long_for_a_slow_target_comes_back_in_turn(
    hooks: Hooks, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers are free for others meanwhile; the pauses grow with the line, and no try is used up."""
    monkeypatch.setattr("jobs.webhooks._PATIENCE_S", 0.02)
    may_answer = asyncio.Event()

    async def in_the_end(_: Any) -> web.Response:
        await may_answer.wait()
        return web.Response()

    target.answer = in_the_end
    business = await hooks.business()
    hook = await hooks.hook(business, target.url)
    for _ in range(12):
        await hooks.happen(business, new_id(), booked(new_id()))
    pauses = "SELECT extract(epoch FROM run_at - updated_at)::float8 FROM jobs WHERE reason LIKE 'others%' ORDER BY 1"
    async with hooks.sending(slots=32):

        async def all_put_off() -> list[Any]:
            rows = await hooks.shop.db.fetch(pauses)
            return rows if len(rows) >= 8 else []

        put_off = [r[0] for r in await eventually(all_put_off)]

        async def full() -> bool:
            return len(target.received) >= limits.webhook_under_way_max

        assert await eventually(full)
        assert len(target.received) == limits.webhook_under_way_max
        assert put_off[-1] > 3 * put_off[0]
        may_answer.set()
        assert await hooks.shop.all_ended()
    assert await hooks.states(hook) == ["delivered"] * 12
    assert {r["attempts"] for r in await hooks.shop.jobs()} == {1}


async def test_410_disables_and_tells_the_owners(hooks: Hooks, target: Target) -> None:
    """Once; what else was waiting is skipped."""
    target.answer = lambda _: web.Response(status=410)
    business = await hooks.business()
    hook = await hooks.hook(business, f"{target.url}/secret-path")
    for _ in range(3):
        await hooks.happen(business, new_id(), booked(new_id()), booked(new_id()))
    async with hooks.sending(slots=1):
        assert await hooks.shop.all_ended()
    assert sorted(await hooks.states(hook)) == ["failed"] + ["skipped"] * 5
    assert len(target.received) == 1
    (notice,) = hooks.notices
    assert (notice["about"], notice["message"], notice["fields"]["url"]) == (
        "business",
        "webhook_disabled",
        "127.0.0.1",
    )
    assert "410" in notice["fields"]["reason"]
    assert (await hooks.row(hook))["disabled_why"] == notice["fields"]["reason"]


async def test_days_of_failure_disable_and_tell_the_owners(hooks: Hooks, target: Target) -> None:
    target.answer = lambda _: web.Response(status=500)
    business = await hooks.business()
    hook = await hooks.hook(business, target.url)
    await hooks.set(hook, "failing_since = now() - interval '4 days 23 hours'")
    await hooks.happen(business, new_id(), booked(new_id()))
    async with hooks.sending():
        assert await eventually(lambda: hooks.shop.jobs("reason IS NOT NULL"))
        assert (await hooks.row(hook))["disabled_at"] is None
        await hooks.set(hook, "failing_since = now() - interval '5 days 1 hour', try_after = NULL")
        await hooks.shop.db.execute("UPDATE jobs SET run_at = now()")
        assert await hooks.shop.all_ended()
    assert (await hooks.row(hook))["disabled_why"] == "it has failed for too long"
    await hooks.happen(business, new_id(), booked(new_id()))
    assert await hooks.states(hook) == ["failed", "skipped"], "what was missed can be sent again"
    assert await hooks.shop.jobs("state IN ('waiting', 'behind')") == []
    assert len(hooks.notices) == 1


async def test_a_target_in_a_private_network_gets_nothing(
    hooks: Hooks, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says why."""
    monkeypatch.setattr(limits, "webhook_pauses_s", ())
    business = await hooks.business()
    hook = await hooks.hook(business, target.url)
    await hooks.happen(business, new_id(), booked(new_id()))
    async with hooks.sending(private=""):
        assert await hooks.shop.all_ended()
    (row,) = await hooks.rows(hook)
    assert (row["state"], target.received) == ("failed", [])
    assert orjson.loads(row["last_tries"])[0]["error"] == "is an address in a private network"


async def test_a_target_says_when_to_come_again(hooks: Hooks, target: Target) -> None:
    target.answer = lambda _: web.Response(status=429, headers={"Retry-After": "3600"})
    business = await hooks.business()
    hook = await hooks.hook(business, target.url)
    await hooks.happen(business, new_id(), booked(new_id()))
    async with hooks.sending():
        assert await eventually(lambda: hooks.shop.jobs("reason IS NOT NULL"))
    wait = "SELECT extract(epoch FROM {} - now()) FROM {} WHERE {}"
    assert await hooks.shop.db.fetchval(wait.format("run_at", "jobs", "true")) > 3500
    assert await hooks.shop.db.fetchval(wait.format("try_after", "webhooks", "id = $1"), hook) > 3500
    assert (
        await hooks.shop.db.fetchval(wait.format("next_try_at", "webhook_deliveries", "webhook_id = $1"), hook) > 3500
    )
