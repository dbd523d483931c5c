"""A server that mails to a mailbox of the tests, with a bot to tell, and no text messages but printed ones."""

import uuid
from collections.abc import AsyncIterator, Iterator

import aiohttp
import asyncpg
import pytest

from tests.conftest import business_of
from tests.messages.mailbox import Mailbox
from tests.rest.helpers import acting, new_business
from tests.support.postgres import TestPostgres
from tests.support.server import Api, Place, RunningServer, new_place, token_for

PUBLIC_URL = "https://book.example.com"
SENDER = "no-reply@mail.example.com"


@pytest.fixture(scope="session")
def mailbox() -> Iterator[Mailbox]:
    found = Mailbox().start()
    yield found
    found.stop()


def mailing(mailbox: Mailbox) -> dict[str, str]:
    """Settings with which a server mails there."""
    return {
        "SLOTCAST_SMTP_URL": f"smtp+plain://127.0.0.1:{mailbox.port}",
        "SLOTCAST_MAIL_FROM": SENDER,
        "SLOTCAST_PUBLIC_URL": PUBLIC_URL,
        # What a killed worker had in hand is soon somebody else's.
        "SLOTCAST_JOB_LEASE_S": "1",
    }


@pytest.fixture(scope="session")
def server(
    postgres: TestPostgres, mailbox: Mailbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    more = {"SLOTCAST_WEBHOOK_INSECURE": "true", "SLOTCAST_WEBHOOK_ALLOW_PRIVATE": "127.0.0.0/8"}
    directory = tmp_path_factory.mktemp("messages")
    running = RunningServer(postgres.new_database_sync(), directory, **mailing(mailbox), **more).start()
    yield running
    assert running.stop() == 0, running.logged()[-4000:]


@pytest.fixture
async def api(server: RunningServer, http: aiohttp.ClientSession) -> Api:
    return Api(server, http, token_for(await business_of(server.dsn)))


@pytest.fixture
async def place(api: Api) -> Place:
    return await new_place(api)


@pytest.fixture
async def db(server: RunningServer) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.dsn)
    yield connection
    await connection.close()


@pytest.fixture
def address() -> str:
    """Nobody else's."""
    return f"{uuid.uuid4().hex}@example.org"


@pytest.fixture
async def as_client(api: Api, place: Place, server: RunningServer) -> Api:
    """The client of `place`, with a login of their own."""
    return acting(api, await business_of(server.dsn), "client", subject="its-client", client_id=place.client_id)


@pytest.fixture
async def stranger(server: RunningServer, api: Api) -> Api:
    """The owner of another business."""
    return acting(api, await new_business(server.dsn), "owner")


@pytest.fixture
async def business_id(server: RunningServer) -> str:
    """The business of `api` and `place`."""
    return await business_of(server.dsn)
