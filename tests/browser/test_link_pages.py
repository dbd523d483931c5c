"""The pages that links in mails lead to, in a real browser."""

import pytest
from playwright.async_api import expect

from server.auth import Auth
from server.messaging import unsubscribe_token
from tests.browser.conftest import Open
from tests.support.server import SECRET, Place

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]


async def test_a_guest_cancels_by_the_link_of_their_mail(open_page: Open, place: Place) -> None:
    """Not by the first click; with the keyboard alone."""
    booked = await place.api.made("bookings", place.booking(place.at(9), guest={"name": "Grace"}))
    page = await open_page(f"/manage#{booked['code']}.{booked['manage_token']}", width=375)
    await expect(page.locator("#state")).to_have_text("confirmed")
    await expect(page.locator("#code")).to_have_text(booked["code"])
    await page.locator("#cancel").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#no")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#cancel")).to_be_focused()
    assert (await place.api.get(f"bookings/{booked['id']}")).json["status"] == "confirmed"
    await page.keyboard.press("Enter")
    await page.locator("#yes").click()
    await expect(page.locator("#state")).to_have_text("cancelled")
    await expect(page.locator("#notice")).to_have_text("The booking is cancelled.")
    await expect(page.locator("#cancel")).to_be_hidden()
    assert (await place.api.get(f"bookings/{booked['id']}")).json["cancelled_by"] == "guest"
    assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth")


async def test_half_a_link_says_so(open_page: Open) -> None:
    page = await open_page("/manage#BK-2345")
    await expect(page.locator("#notice")).to_contain_text("not whole")


async def test_reminders_are_stopped_on_a_page_in_ones_language(open_page: Open, place: Place) -> None:
    """Opening it changes nothing yet."""
    token = unsubscribe_token(Auth(SECRET), place.client_id)
    page = await open_page(f"/unsubscribe?lang=kk#{token}")
    assert await page.locator("html").get_attribute("lang") == "kk"
    path = f"clients/{place.client_id}/preferences"
    assert (await place.api.get(path)).json["reminders"] is True
    await page.get_by_role("button").click()
    await expect(page.locator("#notice")).to_have_text("Дайын: енді еске салынбайды.")
    assert (await place.api.get(path)).json["reminders"] is False
