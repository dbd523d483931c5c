"""`python -m bench compare`: real changes are found, noise is not."""

import random
from pathlib import Path

import pytest

from bench import compare
from bench.compare import changes, is_worse
from bench.report import Row, goal_row, refused_row, skipped_row, write_json


def row(values: list[float], metric: str = "slotcast rate", unit: str = "/s") -> Row:
    middle = sorted(values)[len(values) // 2]
    return Row(scenario="book-hot", metric=metric, measured=middle, unit=unit, values=values)


@pytest.mark.parametrize(
    ("old", "new", "unit", "found"),
    [
        ([1000, 1010, 1020], [1300, 1310, 1290], "/s", ["better by 29%"]),
        ([1300, 1310, 1290], [1000, 1010, 1020], "/s", ["worse by 22%"]),
        ([4.0, 4.1, 4.2], [5.0, 5.2, 5.1], "ms", ["worse by 24%"]),
        ([16.0, 16.1, 16.2], [12.0, 12.1, 12.2], "KB", ["better by 25%"]),
        ([2.0, 2.1, 2.05], [2.5, 2.6, 2.55], "x", ["better by 24%"]),
        # Medians far apart, but each run saw what the other did.
        ([1000, 1400, 1500], [1450, 900, 950], "/s", []),
        # Ranges apart, but by less than anyone should care about.
        ([1000, 1001, 1002], [1030, 1031, 1032], "/s", []),
        # Measured once, it has to differ by a factor.
        ([10.0], [13.0], "ms", []),
        ([10.0], [16.0], "ms", ["worse by 60% (measured once)"]),
    ],
)
def test_a_change_counts_beyond_the_noise_only(old: list[float], new: list[float], unit: str, found: list[str]) -> None:
    seen = changes([row(old, unit=unit)], [row(new, unit=unit)])
    assert [change.verdict for change in seen] == found
    assert any(is_worse(change) for change in seen) == any(what.startswith("worse") for what in found)


def test_noise_of_the_same_machine_is_nearly_never_a_change() -> None:
    source, told = random.Random(5), 0
    for _ in range(500):
        # A spread of 2 %: three repetitions differ, the thing measured does not.
        old, new = ([source.gauss(1000, 20) for _ in range(3)] for _ in range(2))
        told += bool(changes([row(old)], [row(new)]))
    assert told <= 5
    assert changes([row([1000.0] * 3)], [row([1000.0] * 3)]) == []


def test_a_goal_newly_met_or_missed_is_told_even_within_the_noise() -> None:
    def goal(measured: float) -> Row:
        return goal_row("book-hot", "rate vs rowlock", measured, 15.0, values=[14.0, measured, 16.0])

    (met,) = changes([goal(14.9)], [goal(15.1)])
    (missed,) = changes([goal(15.1)], [goal(14.9)])
    assert met.verdict == "goal met now"
    assert missed.verdict == "goal missed now"
    assert is_worse(missed)
    assert not is_worse(met)


def test_rows_of_one_run_only_are_told() -> None:
    old, new = [row([1.0], "gone"), row([1.0], "stays")], [row([1.0], "stays"), row([1.0], "came")]
    new.append(skipped_row("book-hot", "ws", "no node"))
    seen = {(change.metric, change.verdict) for change in changes(old, new)}
    assert seen == {("gone", "only in old"), ("came", "only in new"), ("skipped: ws", "only in new")}


def test_a_whole_scenario_is_one_line() -> None:
    ran, refused = [row([1.0], "a"), row([2.0], "b")], [refused_row("book-hot", "lost one\nand more")]
    (lost,) = changes(ran, refused)
    (found,) = changes(refused, ran)
    (left_out,) = changes(ran, [])
    assert (lost.old, lost.new, lost.verdict) == ("2 rows", "lost one", "refused now")
    assert (found.old, found.new, found.verdict) == ("lost one", "2 rows", "no longer refused")
    assert (left_out.new, left_out.verdict) == ("", "only in old")
    assert is_worse(lost)
    assert not is_worse(found)
    # Refused in both, or refused anew without ever having had rows.
    assert changes(refused, refused) == []
    (anew,) = changes([], refused)
    assert anew.verdict == "refused now"


def test_the_machine_is_shown_and_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def write(name: str, cores: float) -> str:
        path = tmp_path / name
        write_json(path, [Row(scenario="machine", metric="cores", measured=cores), row([1.0, 1.0])])
        return str(path)

    assert compare.main([write("a.json", 2.0), write("b.json", 64.0), "--fail"]) == 0
    assert "cores: 2 -> 64" in (told := capsys.readouterr().out)
    assert "nothing changed beyond the noise" in told


def test_fail_is_for_what_got_worse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow, fast = tmp_path / "slow.json", tmp_path / "fast.json"
    write_json(slow, [row([100.0, 101.0])])
    write_json(fast, [row([200.0, 201.0])])
    assert compare.main([str(slow), str(fast), "--fail"]) == 0
    assert compare.main([str(fast), str(slow)]) == 0
    assert compare.main([str(fast), str(slow), "--fail"]) == 1
    assert "worse by 50%" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"{", b'{"rows": []}', b"[]", b'[{"scenario": 1}]', b"\xff\xfe", b'["a"]'])
def test_a_bad_file_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    bad, good = tmp_path / "bad.json", tmp_path / "good.json"
    bad.write_bytes(content)
    write_json(good, [row([1.0])])
    assert compare.main([str(bad), str(good)]) == 2
    assert compare.main([str(good), str(tmp_path / "none.json")]) == 2
    assert compare.main([str(good), str(tmp_path)]) == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert "bad.json" in first
    assert "none.json: No such file" in second
    assert "Is a directory" in third
