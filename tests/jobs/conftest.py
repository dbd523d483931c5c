"""Tests of jobs share one migrated database, one after the other."""

from collections.abc import AsyncIterator

import pytest

from protocol import limits
from tests.jobs.hooks import Hooks
from tests.jobs.targets import Target, serving
from tests.jobs.workshop import Workshop
from tests.support.postgres import TestPostgres


@pytest.fixture(scope="session")
def jobs_dsn(postgres: TestPostgres) -> str:
    return postgres.new_database_sync()


@pytest.fixture(autouse=True)
def alert_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes due is looked for more often: these tests have short pauses."""
    monkeypatch.setattr("jobs.worker._LOOK_EVERY_S", 0.05)
    monkeypatch.setattr("jobs.worker._AWAY_S", 0.1)
    monkeypatch.setattr("jobs.followers._LOOK_EVERY_S", 0.1)
    monkeypatch.setattr("jobs.followers._AWAY_S", 0.1)


@pytest.fixture
async def shop(jobs_dsn: str) -> AsyncIterator[Workshop]:
    async with Workshop.open(jobs_dsn) as found:
        yield found


@pytest.fixture
def hooks(shop: Workshop) -> Hooks:
    return Hooks(shop)


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with serving(Target()) as running:
        yield running


@pytest.fixture
def hurried_webhooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tries more, at once, and no long rests."""
    monkeypatch.setattr(limits, "webhook_pauses_s", (0.01, 0.01))
    monkeypatch.setattr(limits, "webhook_rest_s", 0.01)
    monkeypatch.setattr(limits, "webhook_rest_max_s", 0.05)
    monkeypatch.setattr("jobs.webhooks._SPREAD_S", 0.01)
    monkeypatch.setattr("jobs.webhooks._LOOK_AGAIN_S", 0.05)
