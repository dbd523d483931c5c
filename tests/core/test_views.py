"""Views: what one subscriber does is not felt by others."""

from actors.broadcast import Broadcast, Sink
from actors.calendar.state import HOURLY, new_calendar
from actors.views import View, ViewKey
from protocol import limits
from protocol.frames import Frame
from protocol.times import DAY

NOON = 1_795_262_400_000_000


class Good(Sink):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def deliver(self, view: Broadcast, frame: Frame) -> None:
        self.frames.append(frame)

    def rehomed(self, old: Broadcast, new: Broadcast) -> None:
        raise AssertionError("nobody moves here")


class Broken(Good):
    def deliver(self, view: Broadcast, frame: Frame) -> None:
        raise RuntimeError("the handler is closed")


class Direct(Good):
    """Takes bytes, until its connection goes."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.direct = self
        self.fails = self.closing = self.aborted = False

    def write(self, data: bytes) -> None:
        if self.fails:
            raise RuntimeError("the handler is closed")
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.aborted = True


def a_view() -> Broadcast:
    return View(ViewKey("c", "", NOON, NOON + DAY, "UTC"), HOURLY, new_calendar("c", "UTC"), NOON)


def test_what_goes_past_a_subscriber_is_looked_at_now_and_then() -> None:
    view, direct = a_view(), Direct()
    view.join(direct)
    frame = Frame(b"x" * 1_000)
    before_a_look = limits.unlooked_bytes // len(frame.ws)
    for _ in range(2 * before_a_look + 2):
        view.show(frame)
    assert len(direct.written) == 2 * before_a_look
    assert direct.frames == [frame, frame]


def test_a_connection_that_fails_is_cut_unless_it_is_going_already() -> None:
    view, going, failing, good = a_view(), Direct(), Direct(), Direct()
    for direct in (going, failing, good):
        view.join(direct)
    going.fails = going.closing = failing.fails = True
    view.show(Frame(b"{}"))
    assert (going.aborted, failing.aborted, good.aborted) == (False, True, False)
    assert len(good.written) == 1


def test_who_comes_and_goes_and_changes_is_known_at_the_next_frame() -> None:
    view, one, two = a_view(), Direct(), Direct()
    view.join(one)
    view.show(Frame(b"1"))
    view.join(two)
    view.show(Frame(b"2"))
    one.direct = None  # type: ignore[assignment]
    view.regroup()
    view.show(Frame(b"3"))
    view.leave(two)
    view.show(Frame(b"4"))
    assert [d[-1:] for d in one.written] == [b"1", b"2"]
    assert [f.payload for f in one.frames] == [b"3", b"4"]
    assert [d[-1:] for d in two.written] == [b"2", b"3"]


def test_a_subscriber_that_fails_is_dropped_and_the_others_are_told() -> None:
    """The journal's writer stands above `publish`: an exception there would end it."""
    calendar = new_calendar("c", "UTC")
    view = View(ViewKey("c", "", NOON, NOON + DAY, "UTC"), HOURLY, calendar, NOON)
    good, broken = Good(), Broken()
    view.subscribers.update({good, broken})
    start = view.starts[0]
    assert view.publish({start: ("booked", 0, HOURLY.duration, 0)}, 1)
    assert view.publish({start: ("open", 1, HOURLY.duration, 0)}, 2)
    assert len(good.frames) == 2
    assert view.subscribers == {good}
