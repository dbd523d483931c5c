"""The line of time in pieces, against a plain list."""

import random
from collections.abc import Callable

import pytest

from actors.calendar import line
from actors.calendar.state import Calendar, Reservation, claims_between, new_calendar
from protocol.times import MINUTE
from tests.core.states import claims_of

Claims = list[Reservation]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "PIECE_MAX", 4)


def claim(minute: int, before: int = 0, after: int = 0) -> Reservation:
    """Ten minutes, with buffers in minutes."""
    return Reservation(
        minute * MINUTE, 10 * MINUTE, before * MINUTE, after * MINUTE, f"at {minute}", "confirmed", "service"
    )


def touching(claims: Claims, low: int, high: int) -> Claims:
    return [c for c in sorted(claims, key=lambda c: c.start) if c.blocked_to > low and c.blocked_from < high]


def assert_well_kept(calendar: Calendar) -> None:
    pieces, starts = calendar.line.pieces, calendar.line.starts
    assert all(0 < len(piece) <= 4 for piece in pieces)
    assert (starts is None) == (len(pieces) <= 1)
    assert [*(starts or [])] == ([piece[0].start for piece in pieces] if starts is not None else [])


def fill(calendar: Calendar, rng: random.Random, count: int) -> Claims:
    claims = [claim(20 * i + rng.randrange(3), rng.randrange(4), rng.randrange(4)) for i in range(count)]
    rng.shuffle(claims)
    for c in claims:
        calendar.line.put(c)
    return claims


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("seed", range(5))
def test_what_was_put_on_is_found_and_what_was_taken_off_is_not(seed: int) -> None:
    rng, calendar = random.Random(seed), new_calendar("c", "UTC")
    claims = fill(calendar, rng, 120)
    while claims:
        assert claims_of(calendar) == sorted(claims, key=lambda c: c.start)
        assert_well_kept(calendar)
        for _ in range(20):
            low = rng.randrange(-50, 2500) * MINUTE + rng.choice((-1, 0, 1))
            high = low + rng.choice((1, MINUTE, 30 * MINUTE, 600 * MINUTE))
            assert claims_between(calendar, low, high) == touching(claims, low, high)
        for c in rng.sample(claims, min(7, len(claims))):
            claims.remove(c)
            calendar.line.take(c)
    assert calendar.line.pieces == []
    assert claims_between(calendar, 0, 1) == []


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("seed", range(5))
def test_a_line_that_was_full_and_empty_is_as_good_as_new(seed: int) -> None:
    rng, calendar = random.Random(seed), new_calendar("c", "UTC")
    claims: Claims = []
    for _ in range(3):
        claims += fill(calendar, rng, 40) if not claims else []
        while claims:
            c = claims.pop(rng.randrange(len(claims)))
            calendar.line.take(c)
            assert_well_kept(calendar)
            if rng.random() < 0.3:
                calendar.line.put(c)
                claims.append(c)
                assert_well_kept(calendar)
            assert claims_of(calendar) == sorted(claims, key=lambda c: c.start)


def moved(change: Callable[[Calendar], object], calendar: Calendar) -> int:
    """How many claims lie in the pieces that a change touched."""
    before = {id(piece): len(piece) for piece in calendar.line.pieces}
    change(calendar)
    return sum(len(piece) for piece in calendar.line.pieces if before.get(id(piece)) != len(piece))


def test_a_claim_among_a_hundred_thousand_moves_one_piece() -> None:
    calendar = new_calendar("c", "UTC")
    fill(calendar, random.Random(1), 100_000)
    extra = claim(20 * 50_000 + 13)
    extra.duration = MINUTE
    assert moved(lambda c: c.line.put(extra), calendar) <= line.PIECE_MAX + 1
    assert moved(lambda c: c.line.take(extra), calendar) <= line.PIECE_MAX + 1
