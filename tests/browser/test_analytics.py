"""The page of analytics in a real browser, by keyboard."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.conftest import Open
from tests.rest.helpers import acting, new_business
from tests.rest.people import PASSWORD, join, new_user
from tests.support.server import Api, Place, new_place

pytestmark = [pytest.mark.browser, pytest.mark.parity("B12"), pytest.mark.asyncio(loop_scope="package")]

NAME = "<img src=x onerror=document.title='owned'>"


class Salon:
    def __init__(self, place: Place, owner: dict[str, Any]) -> None:
        self.place = place
        self.owner = owner

    async def sign_in(self, page: Page) -> None:
        await page.get_by_label("E-mail").fill(self.owner["email"])
        await page.get_by_label("Password").fill(PASSWORD)
        await page.keyboard.press("Enter")
        await expect(page.locator("#report")).to_be_visible()


@pytest_asyncio.fixture(loop_scope="package")
async def salon(api: Api, db: asyncpg.Connection) -> Salon:
    """A business of its own: today one booking that took place and one that was cancelled, three days ago another."""
    business_id = await new_business(api.server.dsn)
    place = await new_place(acting(api, business_id, "owner"))
    await db.execute(
        "UPDATE professionals SET created_at = now() - interval '10 days', display_name = $2 WHERE id = $1",
        uuid.UUID(place.professional_id), NAME,
    )  # fmt: skip
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    for days, hour, status in ((0, 0, "completed"), (0, 1, "cancelled"), (3, 0, "no_show")):
        start = noon - timedelta(days=days, hours=hour)
        await db.execute(
            """INSERT INTO bookings (id, business_id, calendar_id, service_id, code, status, start_at, end_at, blocked,
                session_id, capacity, attendees, created_at, updated_at)
            VALUES ($1::uuid, $2, $3, $4, $5, $6, $7, $8, tstzrange($7, $8), $1, 1, 1, $7, $7)""",
            uuid.uuid4(), business_id, place.professional_id, place.service_id, f"BK-{uuid.uuid4().hex[:12]}", status,
            start, start + timedelta(hours=1),
        )  # fmt: skip
    owner = await new_user(db)
    await join(db, business_id, owner, "owner")
    return Salon(place, owner)


async def card(page: Page, name: str, text: str) -> None:
    box = page.locator(".total div", has=page.locator("dt", has_text=name))
    await expect(box.locator("dd")).to_contain_text(text)


async def test_an_owner_sees_the_last_weeks(open_page: Open, salon: Salon) -> None:
    page = await open_page("/analytics")
    await salon.sign_in(page)
    await card(page, "Bookings", "3")
    await card(page, "Cancelled", "33%")
    await card(page, "No-shows", "33%")
    await card(page, "Open time used", "2 of 264 h")
    await expect(page.locator("#services tbody tr")).to_have_count(1)
    await expect(page.locator("#professionals tbody th")).to_have_text(NAME)
    assert "owned" not in await page.title()
    await expect(page.locator(".chart rect.stood")).to_have_count(1)
    await expect(page.locator(".chart rect.missed")).to_have_count(1)
    await expect(page.locator(".chart rect.fell")).to_have_count(1)


async def test_days_are_read_by_arrow_keys(open_page: Open, salon: Salon) -> None:
    """The first day with bookings is told first, then whichever the keys come to."""
    page = await open_page("/analytics")
    await salon.sign_in(page)
    chart = page.get_by_role("slider")
    await chart.focus()
    await expect(page.locator(".said")).to_contain_text("1 booking, 1 no-show")
    for _ in range(3):
        await page.keyboard.press("ArrowRight")
    await expect(page.locator(".said")).to_contain_text("2 bookings, 1 cancelled")
    await expect(chart).to_have_attribute("aria-valuenow", "30")
    told = await page.locator(".said").inner_text()
    await expect(chart).to_have_attribute("aria-valuetext", told)
    await page.keyboard.press("ArrowRight")
    await expect(chart).to_have_attribute("aria-valuenow", "30")
    await page.keyboard.press("Home")
    await expect(page.locator(".said")).to_contain_text("0 bookings")


async def test_another_period_and_a_filter(open_page: Open, salon: Salon) -> None:
    page = await open_page("/analytics")
    await salon.sign_in(page)
    await expect(page.get_by_role("button", name="Last 30 days")).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Last 7 days")).to_have_attribute("aria-pressed", "true")
    await expect(page.get_by_role("slider")).to_have_attribute("aria-valuemax", "7")
    await page.get_by_role("button", name="Next 30 days").click()
    await expect(page.get_by_role("slider")).to_have_attribute("aria-valuemax", "30")
    await card(page, "Bookings", "2")
    await page.get_by_label("From", exact=True).fill((datetime.now(UTC) - timedelta(5)).strftime("%Y-%m-%d"))
    await page.locator("select[name=service_id]").select_option("Consultation")
    await page.get_by_role("button", name="Show").click()
    await card(page, "Bookings", "3")
    await card(page, "Open time used", "–")


@pytest.mark.parametrize("width", [360, 768])
async def test_nothing_scrolls_sideways_on_a_small_screen(open_page: Open, salon: Salon, width: int) -> None:
    page = await open_page("/analytics", width, 740)
    await salon.sign_in(page)
    await card(page, "Bookings", "3")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
