"""What happens to the process: killed, paused, told to end."""

import asyncio
import signal
import time

from tests.faults.conftest import LONG, Site


async def test_kill_loses_nothing_acknowledged(site: Site) -> None:
    """After SIGKILL under load and a restart, everything acknowledged is there, and keys give the same results."""
    await site.open()
    for _ in range(5 if LONG else 1):
        await site.some_more(40)
        site.server.kill()
        await site.start()
    await site.some_more()
    assert sum(r.silences for r in site.history.requests) > 0, "the kill must have met requests under way"
    await site.check(lost=True)


async def test_a_paused_server_goes_on(site: Site) -> None:
    """Three seconds of SIGSTOP under load lose nothing and change nobody's answer."""
    await site.open()
    assert site.server.process is not None
    site.server.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(3)
    site.server.process.send_signal(signal.SIGCONT)
    await site.some_more()
    await site.check()


async def test_drain_loses_nothing_acknowledged(site: Site) -> None:
    """SIGTERM under load ends with code 0 before the drain deadline, and the next server knows every booking."""
    await site.open(SLOTCAST_DRAIN_TIMEOUT_S="10")
    began = time.monotonic()
    assert await asyncio.to_thread(site.server.stop) == 0, site.server.logged()[-3000:]
    assert time.monotonic() - began < 10
    await site.start()
    await site.some_more()
    await site.check(lost=True)


async def test_drain_ends_in_time_without_its_database(site: Site) -> None:
    """A frozen database does not keep the process from ending before the drain deadline."""
    await site.open(proxied_database=True, SLOTCAST_DRAIN_TIMEOUT_S="4")
    assert site.proxy is not None
    site.proxy.freeze()
    await asyncio.sleep(0.3)
    began = time.monotonic()
    await asyncio.to_thread(site.server.stop)
    took = time.monotonic() - began
    site.proxy.heal()
    assert took < 4 + 1, f"it took {took:.1f} s"
    await site.start()
    await site.check(lost=True)
