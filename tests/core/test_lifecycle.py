"""Every status against every command: the whole table, written out."""

import pytest

from actors.calendar import commands as cmd
from actors.calendar.apply import apply
from actors.calendar.decide import Refusal, decide
from actors.calendar.lifecycle import ACTIVE_STATUSES, FINAL_STATUSES
from actors.calendar.state import Calendar, Service, new_calendar
from protocol import events as ev
from protocol import limits
from protocol.times import DAY, HOUR, MINUTE
from tests.core.states import at

NOW = at("2026-06-01T08:00:00+00:00")
START = at("2026-06-01T10:00:00+00:00")
AFTER = START + MINUTE
OVER = START + HOUR

ENDING: dict[str, cmd.Command | None] = {
    "held": None,
    "pending": None,
    "confirmed": None,
    "completed": cmd.Complete("x"),
    "cancelled": cmd.Cancel("x", "client"),
    "rejected": cmd.Reject("x"),
    "no_show": cmd.MarkNoShow("x"),
}
COMMANDS: dict[str, cmd.Command] = {
    "confirm": cmd.Confirm("x"),
    "cancel": cmd.Cancel("x", "client"),
    "reject": cmd.Reject("x"),
    "complete": cmd.Complete("x"),
    "no_show": cmd.MarkNoShow("x"),
    "reschedule": cmd.Reschedule("x", START + 2 * HOUR),
    "amend": cmd.Amend("x"),
    "release": cmd.Release("x"),
    "book": cmd.Book("y", "BK-1", "s", START, hold_id="x"),
}
ENDED = "invalid_transition"
# Per status, what each command answers before the start, after it, and from the end on while no sweep has come. A class
# is an event, a text is a refusal; two cells stand for three of which the last are the same.
Cell = tuple[type[ev.Event] | str, ...]
GONE: dict[str, Cell] = {
    **dict.fromkeys(("confirm", "cancel", "reject", "complete", "no_show", "reschedule", "amend"), (ENDED, ENDED)),
    "release": ("hold_gone", "hold_gone"),
    "book": ("hold_gone", "hold_gone"),
}
TABLE: dict[str, dict[str, Cell]] = {
    "held": {**GONE, "release": (ev.HoldReleased, ev.HoldReleased), "book": (ev.Booked, "hold_gone")},
    "pending": {
        **GONE,
        "confirm": (ev.Confirmed, ENDED),
        "cancel": (ev.Cancelled, ENDED),
        "reject": (ev.Rejected, ENDED),
        "reschedule": (ev.Rescheduled, ENDED),
        "amend": (ev.Amended, ev.Amended),
    },
    "confirmed": {
        **GONE,
        "cancel": (ev.Cancelled, ev.Cancelled, ENDED),
        "reject": (ev.Rejected, ev.Rejected, ENDED),
        "complete": ("not_yet", ev.Completed),
        "no_show": ("not_yet", ev.NoShow),
        "reschedule": (ev.Rescheduled, ENDED),
        "amend": (ev.Amended, ev.Amended),
    },
    "completed": {**GONE, "no_show": ("not_yet", ev.NoShow)},
    "cancelled": GONE,
    "rejected": GONE,
    "no_show": GONE,
}


def calendar_with(status: str) -> Calendar:
    """A calendar whose reservation `x` is in that status (or has ended in it)."""
    calendar = new_calendar("calendar", "UTC")
    calendar.services = {"s": Service("s", "b", HOUR, HOUR, approval=status == "pending")}
    if status == "held":
        commands: list[cmd.Command] = [cmd.Hold("x", "s", START, "ann", HOUR)]
    else:
        commands = [cmd.Book("x", "BK-1", "s", START)]
    ending = ENDING[status]
    if ending is not None:
        commands.append(ending)
    for command in commands:
        decision = decide(calendar, command, AFTER if command is ending else NOW)
        assert isinstance(decision, list)
        for event in decision:
            apply(calendar, event)
    return calendar


@pytest.mark.parametrize("moment", range(3), ids=["before", "after", "over"])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("status", TABLE)
def test_each_command_on_each_status(status: str, command: str, moment: int) -> None:
    """What is not in the table does not happen, and what is refused is refused with the right code."""
    calendar = calendar_with(status)
    cells = TABLE[status][command]
    expected = cells[min(moment, len(cells) - 1)]
    decision = decide(calendar, COMMANDS[command], (NOW, AFTER, OVER)[moment])
    if isinstance(expected, str):
        assert isinstance(decision, Refusal)
        assert decision.code == expected
        return
    assert isinstance(decision, list)
    assert [type(e) for e in decision] == [expected]
    apply(calendar, decision[0])
    left = calendar.reservations.get("x")
    ends = expected in (ev.Cancelled, ev.Rejected, ev.Completed, ev.NoShow, ev.HoldReleased)
    assert (left is None) == ends
    if left is not None:
        assert left.version == 2


@pytest.mark.parametrize("command", ["confirm", "cancel", "reject", "reschedule", "amend"])
def test_an_old_version_is_refused(command: str) -> None:
    """`if_version` of another version changes nothing, the present one is accepted."""
    calendar = calendar_with("pending")
    asked = COMMANDS[command]
    fields = {f: getattr(asked, f) for f in asked.__struct_fields__}
    old = type(asked)(**{**fields, "if_version": 7})
    decision = decide(calendar, old, NOW)
    assert isinstance(decision, Refusal)
    assert decision.code == "version_mismatch"
    assert isinstance(decide(calendar, type(asked)(**{**fields, "if_version": 1}), NOW), list)


def test_the_table_knows_every_status() -> None:
    """A new status needs a row here. `expired` is reached by no command."""
    assert {*TABLE, "expired"} == {*ACTIVE_STATUSES, *FINAL_STATUSES}


def test_a_no_show_is_told_within_days() -> None:
    """However long the calendar happens to remember it."""
    calendar = calendar_with("completed")
    late = START + limits.done_days * DAY
    assert isinstance(decide(calendar, cmd.MarkNoShow("x"), late - 1), list)
    refused = decide(calendar, cmd.MarkNoShow("x"), late)
    assert isinstance(refused, Refusal)
    assert refused.code == ENDED


@pytest.mark.parametrize("notice", [0, HOUR])
def test_who_is_bound_cancels_until_the_notice(notice: int) -> None:
    """Without a notice that is until the start."""
    calendar = calendar_with("confirmed")
    cancel = cmd.Cancel("x", "client", notice=notice)
    assert isinstance(decide(calendar, cancel, START - notice), list)
    refused = decide(calendar, cancel, START - notice + 1)
    assert isinstance(refused, Refusal)
    assert refused.code == "too_late_to_cancel"
