"""What one turn of the loop says to a socket: in order, in few writes, and never so much that it is cut for it."""

import asyncio
from types import SimpleNamespace
from typing import Any

from actors.views import View
from protocol import limits, live
from protocol.frames import Frame
from protocol.session import Session
from server.live.socket import LiveSocket
from server.live.viewing import Visitor


class Pipe:
    """A transport whose peer reads nothing."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.aborted = False

    def is_closing(self) -> bool:
        return self.aborted

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.writes))

    def abort(self) -> None:
        self.aborted = True


def socket_on(pipe: Pipe) -> LiveSocket:
    counter = SimpleNamespace(inc=lambda: None)
    metrics = SimpleNamespace(slow_sockets=SimpleNamespace(labels=lambda _: counter))
    node: Any = SimpleNamespace(metrics=metrics, live=SimpleNamespace(behind=set()))
    anything: Any = pipe
    return LiveSocket(node, anything, anything, Visitor("v", None, False), Session("v", 0.0, public=True))


def view() -> View:
    found: Any = object()
    return found


async def test_what_is_said_in_one_turn_leaves_in_one_write_and_in_order() -> None:
    pipe = Pipe()
    socket = socket_on(pipe)
    socket.say(live.Reply(id="1", ok=True))
    socket.deliver(view(), Frame(b'{"n":2}'))
    socket.say(live.Reply(id="3", ok=True))
    assert pipe.writes == []
    await asyncio.sleep(0)
    (whole,) = pipe.writes
    assert whole.index(b'"1"') < whole.index(b'"n":2') < whole.index(b'"3"')


async def test_frames_go_past_the_socket_only_while_nothing_waits() -> None:
    pipe = Pipe()
    socket = socket_on(pipe)
    assert socket.direct is pipe
    socket.say(live.Reply(id="1", ok=True))
    assert socket.direct is None, "a frame would overtake the reply"
    await asyncio.sleep(0)
    assert socket.direct is pipe
    socket.deliver(view(), Frame(b"x" * (limits.socket_behind_bytes + 1)))
    assert socket.direct is None, "who is behind is told the newest, and only that"
    socket.say(live.Reply(id="2", ok=True))
    await asyncio.sleep(0)
    assert socket.direct is None
    pipe.writes.clear()
    assert socket.catch_up(0.0)
    assert socket.direct is pipe


async def test_a_socket_with_many_views_is_looked_at_each_time() -> None:
    """Each view counts for itself what it writes without looking."""
    socket = socket_on(Pipe())
    views = [SimpleNamespace(regroup=lambda: None)] * limits.direct_views_max
    socket._views = tuple(("1", v) for v in views)  # type: ignore[misc]
    socket._regroup()
    assert socket.direct is not None
    socket._views = tuple(("1", v) for v in [*views, views[0]])  # type: ignore[misc]
    socket._regroup()
    assert socket.direct is None


async def test_many_snapshots_after_one_reply_put_it_behind_and_do_not_cut_it() -> None:
    """As when somebody subscribes to a service of thirty professionals: what is too much is missed, and told later."""
    pipe = Pipe()
    socket = socket_on(pipe)
    big = Frame(b"x" * 130_000)
    for number in range(30):
        socket.say(live.Reply(id=str(number), ok=True))
        socket.deliver(view(), big)
    await asyncio.sleep(0)
    assert not pipe.aborted
    assert socket.behind_since is not None
    assert pipe.get_write_buffer_size() < limits.socket_cut_bytes
    assert b"".join(pipe.writes).count(b'"ok":true') == 30, "replies are never left out"


async def test_no_write_is_larger_than_a_socket_may_be_behind() -> None:
    pipe = Pipe()
    socket = socket_on(pipe)
    for number in range(50):
        socket.say(live.Reply(id="y" * 60 + str(number), ok=True, result={"text": "z" * 4_000}))
    await asyncio.sleep(0)
    assert max(map(len, pipe.writes)) <= limits.socket_behind_bytes
    assert 1 < len(pipe.writes) < 10
