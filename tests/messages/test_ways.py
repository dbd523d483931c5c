"""By which way somebody is told: what they prefer, what there is, and what takes over when one fails for good."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook

from jobs.channels import Undeliverable
from jobs.facts import Business, Person
from jobs.outgoing import to_owners
from jobs.ports import Posted
from jobs.queue import Later
from jobs.texts import Rendered
from jobs.ways import Message, Ways
from protocol.times import format_us, to_us
from server.auth import Auth
from server.messaging import SignedLinks
from server.node import SystemClock
from server.twilio_texts import TwilioTexts
from tests.messages.mailbox import Mailbox, part
from tests.messages.test_mails import guest, listed
from tests.rest.helpers import problem
from tests.rest.people import new_user, signed_in
from tests.support.server import Api, Place, RunningServer, eventually

PHONE = "+4930901820"


async def client(place: Place, **of: Any) -> str:
    return (await place.api.made("clients", {"first_name": "Cleo", **of}))["id"]


async def told(api: Api, booking_id: str, count: int = 1, **query: Any) -> list[tuple[str | None, str]]:
    """Channel and outcome of each message about a booking, the oldest first, once there are so many."""

    async def there() -> list[Any]:
        found = await listed(api, booking_id=booking_id, **query)
        return found if len(found) >= count else []

    return [(m["channel"], m["outcome"]) for m in reversed(await eventually(there))]


async def printed(server: RunningServer, to: str) -> str:
    """The newest text message to a number."""
    async with asyncio.timeout(10):
        while not (found := re.findall(rf"text to {re.escape(to)}: (.*)", server.logged())):
            await asyncio.sleep(0.02)
    return found[-1]


async def test_who_has_no_mail_address_gets_a_text_message(place: Place, server: RunningServer) -> None:
    phone = "+493090182001"
    client_id = await client(place, phone_number=phone)
    booked = await place.api.made("bookings", place.booking(place.at(9), client_id=client_id))
    assert await told(place.api, booked["id"]) == [("sms", "sent")]
    said = await printed(server, phone)
    assert booked["code"] in said
    assert said.startswith("Demo Salon: your booking is confirmed. Consultation,")


async def test_a_preference_comes_first(place: Place, mailbox: Mailbox, address: str) -> None:
    client_id = await client(place, phone_number="+493090182002", email=address)
    wish = {"reminders": True, "channel": "sms"}
    assert (await place.api.request("PUT", f"clients/{client_id}/preferences", wish)).status == 200
    booked = await place.api.made("bookings", place.booking(place.at(9), client_id=client_id))
    assert await told(place.api, booked["id"]) == [("sms", "sent")]
    assert mailbox.to(address) == []


async def test_what_is_refused_for_good_goes_another_way(place: Place, address: str, db: asyncpg.Connection) -> None:
    """And is on record; nothing is left among the jobs to look after."""
    client_id = await client(place, phone_number="+493090182003", email=f"refused-{address}")
    booked = await place.api.made("bookings", place.booking(place.at(9), client_id=client_id))
    assert sorted(await told(place.api, booked["id"], 2)) == [("email", "refused"), ("sms", "sent")]
    (refused,) = await listed(place.api, booking_id=booked["id"], outcome="refused")
    assert "550" in refused["error"]
    only = await place.api.made("bookings", place.booking(place.at(10), guest=guest(f"refused-only-{address}")))
    assert await told(place.api, only["id"]) == [("email", "refused")]
    lanes = [f"booking:{b['id']}" for b in (booked, only)]
    assert await db.fetchval("SELECT count(*) FROM jobs WHERE lane = ANY ($1) AND state = 'dead'", lanes) == 0


async def test_what_is_refused_for_now_is_tried_again(
    place: Place, mailbox: Mailbox, address: str, db: asyncpg.Connection
) -> None:
    """Under the same id; meanwhile the record says why it waits."""
    busy = f"busy-{address}"
    booked = await place.api.made("bookings", place.booking(place.at(9), guest=guest(busy)))
    assert await told(place.api, booked["id"], outcome="failed") == [("email", "failed")]
    (failed,) = await listed(place.api, booking_id=booked["id"])
    assert "451" in failed["error"]
    assert busy not in failed["error"]
    await db.execute("UPDATE jobs SET run_at = now() WHERE lane = $1", f"booking:{booked['id']}")
    (mail,) = await mailbox.wait(busy)
    assert await told(place.api, booked["id"], outcome="sent") == [("email", "sent")]
    (sent,) = await listed(place.api, booking_id=booked["id"])
    assert (sent["id"], sent["tries"], sent["error"]) == (failed["id"], 2, None)
    assert mail["Message-ID"].startswith(f"<{failed['id']}@")


# A bot


class Bot:
    url: str

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], str]] = []
        self.answers: list[int] = []
        """Statuses, first to last; then it is well."""


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    """Keeps what is posted to it."""
    app, bot = web.Application(), Bot()

    async def take(request: web.Request) -> web.Response:
        bot.posts.append((dict(request.headers), await request.text()))
        return web.Response(status=bot.answers.pop(0) if bot.answers else 204)

    app.router.add_post("/chat", take)
    server = TestServer(app)
    await server.start_server()
    bot.url = str(server.make_url("/chat"))
    yield bot
    await server.close()


async def test_a_chat_is_told_through_the_business_s_bot(place: Place, bot: Bot, db: asyncpg.Connection) -> None:
    """Signed. A bot that is away for a moment is asked again, one that is gone is not."""
    put = await place.api.request("PUT", "chat-callback", {"url": bot.url})
    assert put.status == 200, put
    try:
        client_id = await client(place, chat_id=-(2**60))
        bot.answers = [503]
        booked = await place.api.made("bookings", place.booking(place.at(9), client_id=client_id))
        assert await told(place.api, booked["id"], outcome="failed") == [("chat", "failed")]
        await db.execute("UPDATE jobs SET run_at = now() WHERE lane = $1", f"booking:{booked['id']}")
        assert await told(place.api, booked["id"], outcome="sent") == [("chat", "sent")]
        (first, _), (headers, body) = bot.posts
        assert first["webhook-id"] == headers["webhook-id"]
        said = Webhook(put.json["secret"]).verify(body, headers)
        assert (said["chat_id"], said["type"], said["language"]) == (-(2**60), "confirmation", "en")
        assert said["booking"] == {"id": booked["id"], "code": booked["code"], "start": booked["start"],
                                   "end": booked["end"]}  # fmt: skip
        assert booked["code"] in said["text"]
        bot.answers = [410]
        booked = await place.api.made("bookings", place.booking(place.at(10), client_id=client_id))
        assert await told(place.api, booked["id"]) == [("chat", "refused")]
    finally:
        assert (await place.api.request("PUT", "chat-callback", {"url": None})).json["url"] is None


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://169.254.169.254/latest", "http://[::ffff:10.0.0.1]/", "x", "http://h:22/", 5]
)
async def test_a_bot_is_not_where_it_may_not_be(api: Api, url: Any) -> None:
    problem(await api.request("PUT", "chat-callback", {"url": url}), "validation_failed", "url")


class Hanging:
    """As `jobs.ports.Poster`: nobody answers until `go`."""

    def __init__(self) -> None:
        self.posts = 0
        self.go = asyncio.Event()

    async def post(self, url: str, body: bytes, headers: Any) -> Posted:
        self.posts += 1
        await self.go.wait()
        return Posted(204, "", 0.0)


async def test_a_bot_that_hangs_has_few_workers_at_a_time() -> None:
    """The others are put off without having been tried, so that mails go on meanwhile."""
    poster = Hanging()
    business = Business(id="n", name="N", slug="n", locale="en", chat_callback_url="https://bot.example.com/")
    ways = Ways(None, None, poster, SignedLinks(Auth("x" * 40), "https://x.example"), SystemClock())
    message = Message(kind="confirmation", business=business, language="en", said=Rendered("s", "t", "h", "short"))

    async def send() -> str:
        (way,) = ways.to(Person(name="c", chat_id=1), business)
        try:
            await way.send("id", message)
        except Later as later:
            return "tried" if later.tried else "put off"
        return "sent"

    tasks = [asyncio.create_task(send()) for _ in range(20)]
    await asyncio.sleep(0)
    poster.go.set()
    outcomes = Counter(await asyncio.gather(*tasks))
    assert outcomes == {"sent": 4, "put off": 16}
    assert await send() == "sent"


# Codes


async def test_a_code_goes_by_mail_in_the_users_language_and_lies_nowhere(
    api: Api, mailbox: Mailbox, db: asyncpg.Connection
) -> None:
    user = await new_user(db)
    await db.execute("UPDATE users SET locale = 'ru' WHERE id = $1", user["id"])
    asked = await api.with_token(None).post("auth/verify", {"email": user["email"]})
    assert asked.status == 202
    (mail,) = await mailbox.wait(user["email"])
    code = re.search(r"\d{6}", mail["Subject"])
    assert code is not None
    assert mail["Subject"].startswith("Ваш код")
    assert "действует 10 минут" in part(mail, "text/plain")
    answer = await api.with_token(None).post(
        "auth/verify/confirm", {"verification_id": asked.json["verification_id"], "code": code[0]}
    )
    assert answer.status == 200
    for table in ("jobs", "messages", "verification_codes"):
        for row in await db.fetch(f"SELECT * FROM {table}"):
            assert code[0] not in "".join(str(v) for k, v in row.items() if not k.endswith(("id", "at")))


async def test_a_code_waits_behind_no_other_message(
    api: Api, place: Place, mailbox: Mailbox, address: str, db: asyncpg.Connection
) -> None:
    """Forty mails to a server that takes its time, and one code, which is there before any of them."""
    slow = f"slow-{address}"
    client_id = await client(place, email=slow)
    booked = await place.api.made("bookings", place.booking(place.at(9), client_id=client_id))
    mailbox.go.clear()
    payload = {"about": "booking", "message": "confirmation", "booking_id": booked["id"]}
    try:
        await db.execute(
            "INSERT INTO jobs (id, kind, payload, business_id, state, run_at, attempts_max) SELECT gen_random_uuid(),"
            " 'message', $1::jsonb, (SELECT business_id FROM clients WHERE id = $2), 'waiting', now(), 1"
            " FROM generate_series(1, 40)", json.dumps(payload), client_id,
        )  # fmt: skip
        await mailbox.wait(slow, 8)
        await api.with_token(None).post("auth/verify", {"email": address})
        await mailbox.wait(address)
        assert await listed(api, booking_id=booked["id"]) == []
    finally:
        mailbox.go.set()
    assert len(await told(api, booked["id"], 41)) == 41


# Owners


async def test_owners_hear_that_their_business_is_approved(
    api: Api, mailbox: Mailbox, address: str, db: asyncpg.Connection
) -> None:
    """In the owner's language; approved again after a refusal it is told again."""
    owner = {"name": "Ада", "email": address, "password": "long enough", "locale": "ru"}
    body = {"slug": f"x-{address[:20]}", "name": "Салон", "time_zone": "Asia/Almaty", "owner": owner}
    made = await api.with_token(None).made("businesses", body)
    admin, _ = await signed_in(api, await new_user(db, super_admin=True))
    path = f"admin/businesses/{made['business']['id']}"
    assert (await admin.post(f"{path}/approve", {"trial_days": 7})).status == 200
    (mail,) = await mailbox.wait(address)
    assert mail["Subject"] == "Салон: регистрация одобрена"


@pytest.mark.parametrize(
    ("ends_in", "told_days", "subject"),
    [("1 day", 1, "The trial of {} ends on "), ("-1 hour", 0, "The trial of {} has ended"), ("9 days", 1, None)],
)
async def test_owners_hear_of_the_end_of_their_trial(
    api: Api, mailbox: Mailbox, address: str, db: asyncpg.Connection, ends_in: str, told_days: int, subject: str | None
) -> None:
    """Unless it has been given another end since that was put into the queue."""
    owner = {"name": "Ada", "email": address, "password": "long enough"}
    body = {"slug": f"x-{address[:20]}", "name": "Salon", "time_zone": "UTC", "owner": owner}
    business_id = (await api.with_token(None).made("businesses", body))["business"]["id"]
    ends = await db.fetchval(
        "UPDATE businesses SET trial_ends_at = date_trunc('second', now()) + $2::text::interval WHERE id = $1"
        " RETURNING trial_ends_at", business_id, ends_in,
    )  # fmt: skip
    if subject is None:
        ends = ends.replace(year=ends.year - 1)
    fields = {"days": str(told_days), "ends_at": format_us(to_us(ends))}
    job = to_owners("trial_ending", business_id, business_id, fields)
    await db.execute(
        "INSERT INTO jobs (id, kind, payload, business_id, state, run_at, attempts_max, key)"
        " VALUES (gen_random_uuid(), 'message', $1::jsonb, $2, 'waiting', now(), 1, $3)",
        json.dumps(job.payload), business_id, job.key,
    )  # fmt: skip

    async def done() -> bool:
        return await db.fetchval("SELECT state = 'done' FROM jobs WHERE key = $1", job.key)

    assert await eventually(done)
    if subject is None:
        assert mailbox.to(address) == []
    else:
        (mail,) = mailbox.to(address)
        assert mail["Subject"].startswith(subject.format("Salon"))


# Twilio


class Wire:
    """As the HTTP client of Twilio's library."""

    is_async = True

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.asked: list[Any] = []
        self._status = status
        self._body = body

    async def request(self, method: str, url: str, **more: Any) -> Any:
        from twilio.http.response import Response

        self.asked.append((method, url, more["data"], more["auth"]))
        return Response(self._status, json.dumps(self._body), {})


async def test_twilio_gets_number_and_text() -> None:
    wire = Wire(201, {"sid": "SM1", "status": "queued"})
    await TwilioTexts("twilio://AC123:to%3Aken@+15550100", wire).send(PHONE, "Grüße")
    ((method, url, data, auth),) = wire.asked
    assert (method, url) == ("POST", "https://api.twilio.com/2010-04-01/Accounts/AC123/Messages.json")
    assert (data["To"], data["From"], data["Body"]) == (PHONE, "+15550100", "Grüße")
    assert auth == ("AC123", "to:ken")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, 21211, Undeliverable),
        (400, 21610, Undeliverable),
        (401, 20003, Later),
        (429, 20429, Later),
        (500, 0, Later),
    ],
)
async def test_what_twilio_answers(status: int, code: int, expected: type[Exception]) -> None:
    wire = Wire(status, {"code": code, "message": f"no {PHONE}", "status": status})
    with pytest.raises(expected) as refused:
        await TwilioTexts("twilio://AC123:token@+15550100", wire).send(PHONE, "x")
    assert PHONE not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["twilio://", "twilio://AC1@+1", "twilio://:t@+1", "twilio://AC1:t@", "http://a:b@c", "x"]
)
def test_no_url_of_twilio(url: str) -> None:
    with pytest.raises(ValueError, match="twilio://"):
        TwilioTexts(url)
