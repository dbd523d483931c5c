"""A batch that is split while the database goes away."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

from actors.calendar.commands import Sweep
from actors.ports import Caller, Entry, Outcome, Work
from protocol.ids import new_id
from storage.batch import Fence
from storage.meter import NullMeter
from storage.writer import Writer


class Listener:
    """Remembers whose entries are said to be unsettled."""

    def __init__(self) -> None:
        self.waiting: set[str] = set()

    def unsettled(self, entries: Sequence[Entry]) -> None:
        self.waiting |= {e.work.calendar_id for e in entries}


async def test_who_was_split_off_is_told_as_well(monkeypatch: Any) -> None:
    """The first statement is refused, the second never answered: callers of every group have deadlines to keep."""
    writer = Writer("", NullMeter(), "writer", {})
    listener = Listener()
    answers = iter([asyncpg.UniqueViolationError("refused"), ConnectionResetError("cut")])
    away = asyncio.Event()

    async def connect() -> None:
        pass

    async def write(batch: Any, arguments: Any) -> Any:
        raise next(answers)

    async def come_back(entries: Sequence[Entry], before: Any) -> bool:
        await away.wait()
        return True

    monkeypatch.setattr(writer, "_connect", connect)
    monkeypatch.setattr(writer, "_write", write)
    monkeypatch.setattr(writer, "_come_back", come_back)
    await writer.start(listener)  # type: ignore[arg-type]
    writer.open(0, Fence(1, 0))
    loop = asyncio.get_running_loop()
    for name in ("A", "B", "C"):
        work = Work(name, Sweep(), Caller("b", "test", new_id()), loop.create_future(), loop.time() + 10)
        writer.append(Entry(work, 0, (), 1, Outcome(0, 0), None))
    try:
        async with asyncio.timeout(5):
            while listener.waiting != {"A", "B", "C"}:
                await asyncio.sleep(0.05)
        assert next(answers, None) is None
    finally:
        await writer.stop()
