"""Views: what one subscriber does is not felt by others."""

from actors.calendar.state import HOURLY, new_calendar
from actors.views import View, ViewKey
from protocol.frames import Frame
from protocol.times import DAY

NOON = 1_795_262_400_000_000


class Good:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def deliver(self, view: View, frame: Frame) -> None:
        self.frames.append(frame)


class Broken(Good):
    def deliver(self, view: View, frame: Frame) -> None:
        raise RuntimeError("the handler is closed")


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
