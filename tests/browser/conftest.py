"""The system's Chromium, a page that may talk to the server alone, and what it complains about."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Route, async_playwright

from tests.conftest import business_of
from tests.support.server import Api, Place, RunningServer, new_place, token_for

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

Open = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(_NAMES)} is installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="package")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """On the browser's loop."""
    async with aiohttp.ClientSession() as session:
        yield session


# As everywhere, but on the browser's loop.


@pytest_asyncio.fixture(loop_scope="package")
async def api(server: RunningServer, http: aiohttp.ClientSession) -> Api:
    return Api(server, http, token_for(await business_of(server.dsn)))


@pytest_asyncio.fixture(loop_scope="package")
async def place(api: Api) -> Place:
    return await new_place(api)


@pytest_asyncio.fixture(loop_scope="package")
async def db(server: RunningServer) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.dsn)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(loop_scope="package")
async def open_page(browser: Browser, server: RunningServer) -> AsyncIterator[Open]:
    """Opens a page of the server. At the end nothing was said on the console and nobody else was asked."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []
    own = urlsplit(server.url).netloc

    async def guard(route: Route) -> None:
        url = route.request.url
        if urlsplit(url).netloc == own or url.startswith(("data:", "blob:")):
            await route.continue_()
        else:
            complaints.append(f"asked another host: {url}")
            await route.abort()

    async def open_page(path: str, width: int = 1280, height: int = 900) -> Page:
        context = await browser.new_context(viewport={"width": width, "height": height})
        await context.route("**/*", guard)
        page = await context.new_page()
        contexts.append(context)
        page.set_default_timeout(10_000)
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.on("response", lambda r: complaints.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        await page.goto(server.url + path)
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert complaints == []
