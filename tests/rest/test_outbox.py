"""The demo's outbox: mails as they would have been sent, to be looked at."""

import re
import uuid
from pathlib import Path

import pytest

from tests.rest.helpers import NOBODY, problem
from tests.support.server import Api, Place, RunningServer, eventually


async def test_a_mail_of_the_demo_is_seen_in_the_outbox(place: Place) -> None:
    """In the list, as its headers and text, and as the HTML a mail program shows: without scripts."""
    anyone, name = place.api.with_token(None), f"<b>{uuid.uuid4().hex}"
    guest = {"name": name, "email": f"{uuid.uuid4().hex}@example.org"}
    booked = await place.api.made("bookings", place.booking(place.at(9), guest=guest))

    async def listed() -> str:
        text = (await anyone.get("/outbox")).body.decode()
        found = re.search(rf'{guest["email"]}.*?href="(/outbox/[0-9a-f-]+)"', text, re.DOTALL)
        return found[1] if found else ""

    path = await eventually(listed)
    assert path
    one = await anyone.get(path)
    assert one.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert booked["code"].encode() in one.body
    assert b"BEGIN:VCALENDAR" in one.body
    html = await anyone.get(f"{path}/html")
    assert "script" not in html.headers["Content-Security-Policy"]
    assert "sandbox" in html.headers["Content-Security-Policy"]
    for answer in (one, html):
        assert b"<b>" not in answer.body
        assert answer.headers["Cache-Control"] == "no-store"


async def test_who_waited_is_told_what_is_kept_for_them(place: Place) -> None:
    """By the hold that the waitlist has placed; and who booked an offering is told its title."""
    anyone, email = place.api.with_token(None), f"{uuid.uuid4().hex}@example.org"
    title = uuid.uuid4().hex
    offering = {
        "professional_id": place.professional_id, "type": "single", "title": title, "start_date": place.day,
        "end_date": place.day, "start_time": "10:00", "end_time": "10:30", "duration_minutes": 30,
    }  # fmt: skip
    made = await place.api.made("offerings", offering)
    code = {"offering_code": made["code"]}
    booked = await anyone.made("bookings", {**code, "start": place.at(10), "guest": {"name": "Bo", "email": email}})
    waiting = {**code, "from": place.at(10), "to": place.at(10, 30), "guest": {"name": "Ann", "email": email}}
    await anyone.made("waitlist", waiting)
    assert (await place.api.post(f"bookings/{booked['id']}/reject")).status == 200

    async def mails() -> list[str]:
        text = (await anyone.get("/outbox")).body.decode()
        return re.findall(rf'{email}.*?href="(/outbox/[0-9a-f-]+)"', text, re.DOTALL)

    async def all_three() -> bool:
        return len(await mails()) == 3

    assert await eventually(all_three), await mails()
    bodies = [(await anyone.get(path)).body.decode() for path in await mails()]
    assert all(title in body for body in bodies)
    assert len([body for body in bodies if "Ann" in body]) == 1


@pytest.mark.parametrize("name", [NOBODY, "..%2f..%2fjwt-secret", "demo-password", "x" * 36, "-" * 36, "%00" * 36])
async def test_a_mail_that_is_none_is_not_found(api: Api, name: str) -> None:
    for path in (f"/outbox/{name}", f"/outbox/{name}/html"):
        problem(await api.with_token(None).get(path), "not_found")


async def test_a_server_that_mails_has_no_outbox(fresh_server: RunningServer, tmp_path: Path, api: Api) -> None:
    """Nor does one without mail: nobody is asked who they are there."""
    fresh_server.environment |= {
        "SLOTCAST_SMTP_URL": "smtp+plain://127.0.0.1:1",
        "SLOTCAST_MAIL_FROM": "a@example.com",
        "SLOTCAST_PUBLIC_URL": "https://example.com",
    }
    fresh_server.start()
    there = Api(fresh_server, api.session, None)
    problem(await there.get("/outbox"), "not_found")
    assert "outbox" not in fresh_server.logged()
