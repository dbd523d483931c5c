"""Following views of other nodes, where messages and moves cross each other."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from actors.broadcast import Broadcast, Sink, ViewKey
from actors.calendar import commands as cmd
from actors.cluster import messages as m
from actors.cluster.host import Host
from actors.cluster.ports import Member
from actors.cluster.post import Post, Unanswered
from actors.cluster.relays import Relays
from actors.cluster.replica import Replica
from actors.ports import Caller, Work
from protocol import limits
from protocol.errors import Refused
from protocol.frames import Frame
from protocol.live import Delta, SlotView, Snapshot, encode_server

KEY = ViewKey("calendar", "", 0, 1, "UTC")
ME, A, B = Member("me", "me"), Member("a", "a"), Member("b", "b")


def slot(hour: int, state: str = "open") -> SlotView:
    return SlotView(f"2026-06-01T{hour:02}:00:00Z", f"2026-06-01T{hour:02}:30:00Z", state, 1)  # type: ignore[arg-type]


def snapshot(version: int, *slots: SlotView) -> bytes:
    return encode_server(Snapshot(view=Replica.id_of(KEY), version=version, time_zone="UTC", slots=list(slots)))


def state(number: int, version: int, *slots: SlotView) -> m.State:
    return m.State(Replica.id_of(KEY), number, version, snapshot(version, *slots))


class Here(Broadcast):
    """A view of this node."""

    def __init__(self, version: int, *slots: SlotView) -> None:
        super().__init__(KEY, version)
        self.shown = list(slots)

    def slots(self) -> list[SlotView]:
        return self.shown


class Watcher(Sink):
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def deliver(self, view: Broadcast, frame: Frame) -> None:
        self.frames.append(frame.payload)

    def rehomed(self, old: Broadcast, new: Broadcast) -> None:
        new.join(self)


class Stubborn(Watcher):
    def rehomed(self, old: Broadcast, new: Broadcast) -> None:
        raise RuntimeError("it will not go")


class House:
    """The relays of a node, whose places and post do what the test says."""

    def __init__(self) -> None:
        self.owner: Member | None = A
        self.here: list[Broadcast] = []
        self.asked: list[str] = []
        self.sent: list[tuple[str, m.AnyMessage]] = []
        self.answer: Callable[[str], Awaitable[None]] = self.nothing
        self.tasks: set[asyncio.Task[Any]] = set()
        self.relays = Relays(ME.id, self, self, self.spawn)  # type: ignore[arg-type] - as far as it goes

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        return task

    async def nothing(self, node: str) -> None:
        raise Unanswered

    def owner_of(self, calendar_id: str) -> Member | None:
        return self.owner

    async def watch_here(self, key: ViewKey, business_id: str) -> Broadcast:
        await asyncio.sleep(0)
        return self.here.pop(0)

    async def request(self, node: str, make: Callable[[int], m.AnyMessage], deadline: float) -> m.Reply:
        self.asked.append(node)
        await self.answer(node)
        return m.Reply(1)

    def send(self, node: str, message: m.AnyMessage) -> None:
        self.sent.append((node, message))

    async def watch(self) -> Replica:
        view = await self.relays.watch(KEY, "business", asyncio.get_running_loop().time() + 1.0)
        assert isinstance(view, Replica)
        return view


@pytest.fixture
async def house() -> Any:
    made = House()
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0.002)


async def test_what_an_owner_says_that_has_just_lost_the_calendar_does_not_settle_it(house: House) -> None:
    async def late(node: str) -> None:
        house.relays.state(node, state(0, 1 if node == "a" else 2, slot(9)))
        house.owner = B

    house.answer = late
    replica = await house.watch()
    assert house.asked == ["a", "b"]
    assert (replica.owner, replica.version, replica.fed) == ("b", 2, True)


async def test_a_view_of_this_node_that_is_gone_again_is_no_home(house: House) -> None:
    gone, home = Here(1, slot(9)), Here(1, slot(9))
    gone.gone = True
    house.here, house.owner = [gone, home], ME
    view = Here(1, slot(9))
    watcher = Watcher()
    view.join(watcher)
    house.relays.adopt(view)
    await settle()
    assert home.subscribers == {watcher}
    assert watcher.frames == [], "nothing has changed for it"


async def test_a_watcher_that_cannot_be_moved_keeps_nobody_else_back(house: House) -> None:
    house.here, house.owner = [home := Here(2, slot(9, "booked"))], ME
    view, good = Here(1, slot(9)), Watcher()
    view.subscribers |= {Stubborn(), good}
    house.relays.adopt(view)
    await settle()
    assert home.subscribers == {good}
    assert [b'"delta"' in f for f in good.frames] == [True]


async def test_who_comes_to_a_replica_from_a_newer_view_gets_a_snapshot(house: House) -> None:
    """What the replica tells next is the difference to what itself has shown, not to what they have seen."""

    async def now(node: str) -> None:
        house.relays.state(node, state(0, 3, slot(9)))

    house.answer = now
    replica = await house.watch()
    watcher, view = Watcher(), Here(2, slot(9, "booked"))
    view.join(watcher)
    house.relays.adopt(view)
    await settle()
    assert watcher in replica.subscribers
    assert watcher.frames == [snapshot(3, slot(9))]


async def test_a_replica_that_is_refused_is_gone_for_who_has_not_joined_yet(house: House) -> None:
    async def now(node: str) -> None:
        house.relays.state(node, state(0, 1, slot(9)))

    async def refused(node: str) -> None:
        raise Refused("service_not_offered")

    house.answer = now
    replica = await house.watch()
    house.answer = refused
    house.relays.gone("a", m.Gone([replica.id]))
    await settle()
    assert len(house.relays) == 0
    assert replica.gone


async def test_a_frame_that_cannot_be_read_is_missing(house: House) -> None:
    async def now(node: str) -> None:
        house.relays.state(node, state(0, 1, slot(9)))

    house.answer = now
    replica = await house.watch()
    with pytest.raises(ValueError, match="truncated"):
        house.relays.told("a", m.Told(replica.id, 1, 2, b"{"))
    later = Delta(view=replica.id, from_version=2, version=3, changes=[slot(9, "booked")])
    house.relays.told("a", m.Told(replica.id, 2, 3, encode_server(later)))
    assert house.sent == [("a", m.Missed(replica.id))]


# What others are told


class Desk:
    def __init__(self, view: Broadcast) -> None:
        self.view = view
        self.works: list[Work] = []

    def ask(self, work: Work) -> None:
        self.works.append(work)

    async def watch(self, key: ViewKey, business_id: str) -> Broadcast:
        return self.view


async def told(house: House, view: Broadcast, *messages: m.AnyMessage) -> list[m.AnyMessage]:
    host = Host(Desk(view), house, house.spawn)  # type: ignore[arg-type] - as far as it goes
    for message in messages:
        host.received("a", message)
        await settle()
        view.gone = True
    return [message for _, message in house.sent]


async def test_a_view_that_is_gone_already_is_not_told(house: House) -> None:
    view = Here(1)
    view.gone = True
    assert await told(house, view, m.Watch(7, KEY, "business", 1.0)) == [m.Reply(7, problem=m.Problem("moved"))]


async def test_who_keeps_a_view_that_is_gone_is_told_so(house: House) -> None:
    view = Here(1)
    said = await told(house, view, m.Watch(7, KEY, "business", 1.0), m.Keep({view.id: 0}))
    assert said[-1] == m.Gone([view.id])


@pytest.mark.parametrize("left_s", [float("nan"), float("inf"), 1e9, -1.0])
async def test_nothing_waits_for_ever_whatever_the_asker_says(house: House, left_s: float) -> None:
    desk = Desk(Here(1))
    host = Host(desk, house, house.spawn)  # type: ignore[arg-type] - as far as it goes
    host.received("a", m.Ask(7, "calendar", cmd.Release("hold"), Caller("business", "test", "request"), left_s))
    [work] = desk.works
    assert work.deadline <= asyncio.get_running_loop().time() + limits.request_deadline_s


# Messages of another version


class Bus:
    connected = True
    lost = 0

    def __init__(self) -> None:
        self.sent: list[tuple[str, m.AnyMessage]] = []

    async def start(self, node: str, receive: Callable[[str, bytes], None], undelivered: Any) -> None:
        self.receive = receive

    def send(self, node: str, message: bytes) -> None:
        self.sent.append((node, m.decode(message)))


async def post_on(bus: Bus) -> Post:
    post = Post("me", bus, lambda sender, message: None, lambda node: None)  # type: ignore[arg-type] - as far as it goes
    await post.start()
    return post


def raw(**fields: Any) -> bytes:
    return m.encode(fields)  # type: ignore[arg-type] - a dict is encoded as a struct is


async def test_a_request_that_cannot_be_read_is_refused_at_once() -> None:
    bus = Bus()
    await post_on(bus)
    for message in (raw(m="later", id=4), raw(m="ask", id=5), raw(m="reply", id=6), raw(m="later"), b"\xc1"):
        bus.receive("a", message)
    assert [(n, s.id, s.problem.code) for n, s in bus.sent if isinstance(s, m.Reply) and s.problem] == [
        ("a", 4, "unavailable"),
        ("a", 5, "unavailable"),
    ]


async def test_an_answer_that_cannot_be_read_is_not_waited_for() -> None:
    bus = Bus()
    post = await post_on(bus)
    asked = asyncio.ensure_future(post.request("a", lambda i: m.Watch(i, KEY, "b", 1.0), 1e9))
    await asyncio.sleep(0)
    bus.receive("b", raw(m="reply", id=1, outcome=7))
    await asyncio.sleep(0)
    assert not asked.done(), "only who was asked can end it"
    bus.receive("a", raw(m="reply", id=1, outcome=7))
    with pytest.raises(Unanswered):
        await asked
    assert post.waiting == 0


def test_a_code_that_is_not_known_here_is_a_refusal_all_the_same() -> None:
    refused = m.refused_of(m.Problem("too_wet"))
    assert refused.kind.status == 503
    assert "too_wet" in refused.detail
