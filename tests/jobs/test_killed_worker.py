"""A worker that is killed between doing a job and saying so."""

import subprocess
import sys
from pathlib import Path

import pytest

from jobs.queue import NewJob
from tests.jobs.workshop import Hand, Workshop
from tests.support.server import ROOT, eventually


@pytest.mark.faults
async def test_what_a_killed_worker_did_is_done_again_under_the_same_id(shop: Workshop, tmp_path: Path) -> None:
    """Each twice at most, none not at all, and of a lane still one after the other."""
    done = tmp_path / "done"
    done.touch()
    await shop.put(
        *(NewJob(kind="k", payload=n) for n in range(3)), *(NewJob(kind="k", payload=n, lane="l") for n in (3, 4))
    )
    process = subprocess.Popen([sys.executable, "-m", "tests.jobs.dying", shop.dsn, str(done)], cwd=ROOT)

    async def begun() -> bool:
        return len(done.read_text().split()) == 4

    try:
        assert await eventually(begun, 30)
    finally:
        process.kill()
        process.wait(10)
    killed = done.read_text().split()
    hand = Hand()
    async with shop.working({"k": hand}, lease_s=0.5):
        assert await shop.all_ended()
    again = {j.id: j.attempt for j in hand.seen}
    assert len(hand.seen) == len(again) == 5
    assert {i for i, attempt in again.items() if attempt == 2} == set(killed)
    assert [j.payload for j in hand.seen if j.payload in (3, 4)] == [3, 4]
    assert await shop.states() == {"done": 5}
