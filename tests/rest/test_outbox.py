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
