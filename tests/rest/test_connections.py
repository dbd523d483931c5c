"""How connections end at the front: idle ones, busy ones, and those whose handler fails."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from server import front
from server.answer import Answer
from server.front import Front
from server.router import Found

ASK = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(handle: Handle, *, keep_alive_s: float = 60.0) -> AsyncIterator[tuple[Front, int]]:
    tasks: set[asyncio.Task[None]] = set()

    def spawn(work: Any, name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    def find(_method: str, _path: str) -> Found:
        return lambda request, _: handle(request), {}, False

    def answer(request: web.BaseRequest, found: Found | None) -> Awaitable[web.StreamResponse]:
        handler, parameters, _ = found or find(request.method, request.path)
        return handler(request, parameters)

    served = Front(find, answer, spawn, keep_alive_s, {})
    listener = await asyncio.get_running_loop().create_server(served, "127.0.0.1", 0)
    try:
        yield served, listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        served.pre_shutdown()
        await served.shutdown(1.0)
        async with asyncio.timeout(5):
            while tasks or served.plain:
                await asyncio.sleep(0.01)


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection ends, by whatever way it ends."""
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionResetError:
        return b""


async def somebody_busy(served: Front) -> None:
    async with asyncio.timeout(5):
        while not any(c.busy for c in served.plain):
            await asyncio.sleep(0.01)


async def at_once(_: web.BaseRequest) -> Answer:
    return Answer(b"{}")


async def test_a_connection_without_requests_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_SWEEP_S", 0.02)
    async with listening(at_once, keep_alive_s=0.1) as (served, port):
        silent, _ = await asyncio.open_connection("127.0.0.1", port)
        spoke, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK)
        assert (await spoke.readuntil(b"{}")).startswith(b"HTTP/1.1 200")
        assert await asyncio.wait_for(silent.read(), 5) == b""
        assert await asyncio.wait_for(spoke.read(), 5) == b""
        assert not served.connections


async def test_a_connection_that_is_used_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one whose answer takes longer than an idle connection would be kept."""
    monkeypatch.setattr(front, "_SWEEP_S", 0.02)

    async def slowly(_: web.BaseRequest) -> Answer:
        await asyncio.sleep(0.3)
        return Answer(b"{}")

    async with listening(slowly, keep_alive_s=0.1) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(ASK)
            assert (await reader.readuntil(b"{}")).startswith(b"HTTP/1.1 200")


async def test_whoever_waits_at_the_end_is_answered_and_told() -> None:
    going = asyncio.Event()

    async def when_told(_: web.BaseRequest) -> Answer:
        await going.wait()
        return Answer(b"{}")

    async with listening(when_told) as (served, port):
        idle, _ = await asyncio.open_connection("127.0.0.1", port)
        busy, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK)
        await somebody_busy(served)
        served.pre_shutdown()
        assert await asyncio.wait_for(idle.read(), 5) == b""
        ending = asyncio.create_task(served.shutdown(5.0))
        await asyncio.sleep(0.05)
        assert not ending.done()
        going.set()
        answer = await asyncio.wait_for(busy.read(), 5)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"\r\nConnection: close\r\n" in answer
        await asyncio.wait_for(ending, 5)


async def test_whoever_takes_too_long_at_the_end_is_cut() -> None:
    async def never(_: web.BaseRequest) -> Answer:
        await asyncio.sleep(3)
        return Answer(b"{}")

    async with listening(never) as (served, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK)
        await somebody_busy(served)
        served.pre_shutdown()
        await asyncio.wait_for(served.shutdown(0.1), 2)
        assert await rest(reader) == b"", "no answer"


async def test_a_handler_that_fails_costs_its_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A bug is answered as one; whoever is cancelled from elsewhere cannot answer, but nobody is left waiting."""

    async def fails(request: web.BaseRequest) -> Answer:
        if request.path == "/bug":
            raise RuntimeError("a bug")
        if request.path == "/cancelled":
            raise asyncio.CancelledError
        return Answer(b"{}")

    async with listening(fails) as (_, port):
        good, good_writer = await asyncio.open_connection("127.0.0.1", port)
        answers = {}
        for path in (b"/bug", b"/cancelled"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ASK.replace(b"/ ", path + b" "))
            answers[path] = await rest(reader)
        assert answers[b"/bug"].startswith(b"HTTP/1.1 500")
        assert b"\r\nConnection: close\r\n" in answers[b"/bug"]
        assert b"internal_error" in answers[b"/bug"]
        assert "GET /bug failed" in caplog.text
        assert answers[b"/cancelled"] == b""
        good_writer.write(ASK)
        assert (await good.readuntil(b"{}")).startswith(b"HTTP/1.1 200")


def tasks_here() -> int:
    return sum(task.get_name() == "connection" for task in asyncio.all_tasks())


async def test_whoever_goes_while_the_answer_waits_leaves_nothing_behind() -> None:
    async def much(_: web.BaseRequest) -> Answer:
        return Answer(b"x" * 8_000_000)

    async with listening(much) as (served, port):
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            writer.write(ASK)
            await somebody_busy(served)
            writer.transport.abort()
        async with asyncio.timeout(5):
            while served.plain or tasks_here():
                await asyncio.sleep(0.01)


async def test_whoever_takes_nothing_is_cut_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_SWEEP_S", 0.02)

    async def much(_: web.BaseRequest) -> Answer:
        return Answer(b"x" * 8_000_000)

    async with listening(much, keep_alive_s=0.1) as (served, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(ASK)
        await somebody_busy(served)
        async with asyncio.timeout(5):
            while served.plain or tasks_here():
                await asyncio.sleep(0.01)
        writer.transport.abort()


@pytest.mark.parametrize("ways", ["closed", "given to the framework"])
async def test_a_connection_that_was_used_is_no_circle(ways: str) -> None:
    """What only a full collection finds may stay for hours in a process that is told to collect rarely."""
    async with listening(at_once) as (served, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK)
        await reader.readuntil(b"{}")
        (connection,) = served.plain
        gone = weakref.ref(connection)
        del connection
        gc.collect()
        gc.disable()
        try:
            if ways == "closed":
                writer.close()
            else:
                writer.write(ASK + ASK)
                await reader.readuntil(b"{}")
            async with asyncio.timeout(5):
                while gone() is not None:
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()
            writer.close()


async def test_an_idle_connection_keeps_nothing_of_its_last_answer() -> None:
    seen: list[weakref.ref[Answer]] = []

    async def answer(_: web.BaseRequest) -> Answer:
        seen.append(weakref.ref(made := Answer(b"{}")))
        return made

    async with listening(answer) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK)
        await reader.readuntil(b"{}")
        async with asyncio.timeout(5):
            while seen[0]() is not None:
                await asyncio.sleep(0.01)


async def test_whoever_leaves_before_the_answer_leaves_nothing_behind() -> None:
    ended = asyncio.Event()

    async def slowly(_: web.BaseRequest) -> Answer:
        await asyncio.sleep(0.1)
        ended.set()
        return Answer(b"{}")

    async with listening(slowly) as (served, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK)
        await somebody_busy(served)
        writer.transport.abort()
        # What was begun is carried out: a booking does not come undone because nobody waits for it.
        await asyncio.wait_for(ended.wait(), 5)
        await asyncio.sleep(0.05)
        assert not served.connections
