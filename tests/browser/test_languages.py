"""The demo page in each language: nothing on it is left in another one."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Open

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

_LATIN = re.compile(r"[A-Za-z]{2,}")
# Names: of the product, of the demo's people and things, of formats and zones, and of the languages themselves.
_NAMES = {
    "Slotcast", "API", "JavaScript", "openapi", "json", "Europe", "Berlin", "English", "Haircut", "Ada", "Sommer",
    "Demo", "Salon", "BK",
}  # fmt: skip
_LIVE = {"ru": "на связи", "kk": "байланыста", "en": "live"}
_BOOK = {"ru": "Записаться", "kk": "Жазылу", "en": "Book"}


async def _foreign(text: str) -> set[str]:
    return {word for word in _LATIN.findall(re.sub(r"BK-\w+", "", text)) if word not in _NAMES}


@pytest.mark.parity("C12")
@pytest.mark.parametrize("language", ["ru", "kk"])
async def test_a_visitor_books_and_cancels_without_a_word_of_english(open_page: Open, language: str) -> None:
    page = await open_page(f"/?lang={language}")
    assert await page.locator("html").get_attribute("lang") == language
    pane = page.locator(".pane").first
    await expect(pane.locator(".link-state")).to_have_text(_LIVE[language])
    await pane.locator(".strip button:not(.none)").last.click()
    await pane.locator('.slots button[data-kind="open"]').first.click()
    await expect(pane.locator("form")).to_be_visible()
    assert await _foreign(await page.locator("body").inner_text()) == set()
    await pane.locator("input[name=name]").fill("Айгүл")
    await pane.get_by_role("button", name=_BOOK[language], exact=True).click()
    card = pane.locator(".bookings li").first
    await expect(card).to_contain_text("BK-")
    assert await _foreign(await page.locator("body").inner_text()) == set()
    labels = await page.locator("[aria-label]").evaluate_all("found => found.map((e) => e.ariaLabel).join(' ')")
    assert await _foreign(labels) == set()
    await card.get_by_role("button").click()
    await expect(card.get_by_role("button")).to_have_count(0)
    assert await _foreign(await page.locator("body").inner_text()) == set()


async def test_a_refusal_is_told_in_the_language_of_the_page(open_page: Open) -> None:
    page = await open_page("/?lang=ru")
    pane = page.locator(".pane").first
    await expect(pane.locator(".link-state")).to_have_text(_LIVE["ru"])
    await pane.locator(".strip button:not(.none)").last.click()
    for at in range(4):
        await pane.locator('.slots button[data-kind="open"]').nth(at).click()
        await expect(pane.locator("form")).to_be_visible()
        await expect(pane.locator('.slots button[data-kind="mine"]')).to_have_count(1)
    await pane.locator("button.release").click()
    await expect(pane.locator("form")).to_be_hidden()
    assert await _foreign(await page.locator("body").inner_text()) == set()


async def test_the_language_can_be_changed_on_the_page(open_page: Open) -> None:
    page = await open_page("/")
    assert await page.locator("html").get_attribute("lang") == "en"
    await page.get_by_role("link", name="Қазақша").click()
    await expect(page.locator("html")).to_have_attribute("lang", "kk")
    current = page.locator("[aria-current]")
    assert await current.inner_text() == "Қазақша"
    await expect(page.locator(".link-state").first).to_have_text(_LIVE["kk"])
