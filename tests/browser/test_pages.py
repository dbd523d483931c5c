"""The demo page and the API page in a real browser."""

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Open
from tests.support.server import Api

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]


class Visitor:
    """One pane of the demo page."""

    def __init__(self, page: Page, name: str) -> None:
        self.root = page.get_by_label(name, exact=True)

    def slot(self, start: str) -> Locator:
        return self.root.locator(f'.slots button[data-start="{start}"]')

    async def sees(self, start: str, kind: str) -> None:
        await expect(self.slot(start)).to_have_attribute("data-kind", kind)

    async def open_starts(self) -> list[str]:
        first = self.root.locator('.slots button[data-kind="open"]')
        await expect(first.first).to_be_visible()
        return [str(await b.get_attribute("data-start")) for b in await first.all()]

    async def last_day(self) -> None:
        """Shows the last day of the strip that has open slots: none of them passes while the test looks."""
        await self.root.locator(".strip button:not(.none)").last.click()


async def _both(page: Page) -> tuple[Visitor, Visitor, str]:
    """Two visitors on the same day, and an open start of it."""
    a, b = Visitor(page, "Visitor A"), Visitor(page, "Visitor B")
    for visitor in (a, b):
        await expect(visitor.root.locator(".link-state")).to_have_text("live")
        await visitor.open_starts()
        await visitor.last_day()
    starts = await a.open_starts()
    assert starts == await b.open_starts()
    return a, b, starts[len(starts) // 2]


async def test_what_one_visitor_does_the_other_sees(open_page: Open, api: Api) -> None:
    page = await open_page("/")
    a, b, start = await _both(page)
    await a.slot(start).click()
    await a.sees(start, "mine")
    await b.sees(start, "held")
    await expect(b.slot(start)).to_have_attribute("aria-disabled", "true")
    await expect(b.slot(start)).to_contain_text("held")
    await a.root.locator("input[name=name]").fill("Anna Example")
    await a.root.locator("button.primary").click()
    await a.sees(start, "yours")
    await b.sees(start, "booked")
    card = a.root.locator(".bookings li").first
    await expect(card).to_contain_text("is booked")
    code = (await card.locator(".code").inner_text()).strip()
    booking = await api.get(f"bookings/{code}")
    assert (booking.json["start"], booking.json["status"]) == (start, "confirmed")
    await card.get_by_role("button", name="Cancel booking").click()
    await b.sees(start, "open")
    await a.sees(start, "open")
    assert (await api.get(f"bookings/{code}")).json["status"] == "cancelled"


async def test_a_hold_can_be_given_back(open_page: Open) -> None:
    page = await open_page("/")
    a, b, start = await _both(page)
    await b.slot(start).click()
    await a.sees(start, "held")
    await b.root.locator("button.release").click()
    await a.sees(start, "open")
    await b.sees(start, "open")
    await expect(b.root.locator("form")).to_be_hidden()


async def test_what_is_booked_elsewhere_shows_up_and_a_name_is_needed(open_page: Open, api: Api) -> None:
    page = await open_page("/")
    a, b, start = await _both(page)
    config = (await api.get("/demo.json")).json
    body = {"professional_id": config["professional"]["id"], "service_id": config["service"]["id"], "start": start}
    booking = await api.made("bookings", {**body, "guest": {"name": "By REST"}})
    for visitor in (a, b):
        await visitor.sees(start, "booked")
    assert (await api.post(f"bookings/{booking['id']}/cancel")).status == 200
    for visitor in (a, b):
        await visitor.sees(start, "open")
    await a.slot(start).click()
    await a.root.locator("button.primary").click()
    await a.sees(start, "mine")
    await expect(a.root.locator("input[name=name]")).to_be_focused()
    await a.root.locator("button.release").click()
    await b.sees(start, "open")


async def test_names_are_shown_as_text(open_page: Open) -> None:
    page = await open_page("/")
    a, b, start = await _both(page)
    await a.slot(start).click()
    await a.root.locator("input[name=name]").fill("<img src=x onerror=document.title='owned'>")
    await a.root.locator("button.primary").click()
    await b.sees(start, "booked")
    assert "owned" not in await page.title()
    await a.root.get_by_role("button", name="Cancel booking").click()
    await b.sees(start, "open")


@pytest.mark.parametrize("width", [360, 768])
async def test_nothing_scrolls_sideways_on_a_small_screen(open_page: Open, width: int) -> None:
    page = await open_page("/", width, 740)
    a, _, start = await _both(page)
    await a.slot(start).click()
    await a.sees(start, "mine")
    wide = await page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    beyond = await page.evaluate(
        "w => [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > w + 1"
        " && !e.closest('.strip')).map(e => e.outerHTML.slice(0, 80))",
        width,
    )
    assert beyond == []
    await a.root.locator("button.release").click()
    await a.sees(start, "open")


async def test_the_api_page_lists_the_operations(open_page: Open, api: Api) -> None:
    page = await open_page("/docs")
    # A page of a hundred operations takes a while to be laid out on a busy machine.
    await expect(page.locator(".opblock").first).to_be_visible(timeout=20_000)
    document = (await api.get("/openapi.json")).json
    operations = [
        m for path in document["paths"].values() for m in path if m in ("get", "post", "put", "patch", "delete")
    ]
    await expect(page.locator(".opblock")).to_have_count(len(operations))
    await expect(page.locator('.opblock-summary-path[data-path="/api/v1/bookings"]').first).to_be_visible()
