"""What was sent to people, what they want to be sent, and the pages that links in mails lead to."""

import base64
from typing import Any

from protocol import bodies
from protocol import messages as said
from protocol.errors import Refused, invalid
from protocol.ids import is_uuid
from server import audit
from server.edge import Call, Endpoint, Reply
from server.messaging import chat_secret, client_of_token
from server.page import PageQuery as LanguageQuery
from server.page import shown
from server.paging import PageQuery, decode_cursor, page
from server.permissions import Reach, reach
from server.webhooks import targets_of
from storage import messages


class MessagesQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    kind: said.MessageKind | None = None
    channel: said.Channel | None = None
    outcome: said.Outcome | None = None
    booking_id: bodies.Uuid | None = None
    client_id: bodies.Uuid | None = None


async def list_messages(call: Call[Any, MessagesQuery]) -> dict[str, Any]:
    """The newest first."""
    auth, q = call.node.auth, call.query
    f = messages.MessageFilter(
        kind=q.kind, channel=q.channel, outcome=q.outcome, booking_id=q.booking_id, client_id=q.client_id
    )
    position = decode_cursor(auth, "messages", q.cursor)
    after = position[0] if position else None
    items = await messages.list_messages(call.node.database, call.business_id, f, after, q.limit + 1)
    return page(auth, "messages", items, q.limit)


# What people want


def _client(call: Call[Any, Any], permission: str) -> str:
    """Any for who may, else the caller's own."""
    client_id = call.id("id")
    if reach(call.principal, permission) is not Reach.ANY and call.principal.client_id != client_id:
        raise Refused("not_found", "there is no such client")
    return client_id


async def read_preferences(call: Call[Any, Any]) -> said.Preferences:
    return await messages.preferences(call.node.database, call.business_id, _client(call, "clients.read"))


async def put_preferences(call: Call[said.PreferencesPut, Any]) -> said.Preferences:
    return await messages.set_preferences(call.tx, call.business_id, _client(call, "clients.write"), call.body)


async def unsubscribe(call: Call[Any, Any]) -> None:
    """One click, by a mail program or on the page: whoever has the link has the mail. Done again it changes nothing."""
    client_id = client_of_token(call.node.auth, call.params["link"])
    if client_id is None or not is_uuid(client_id) or not await messages.unsubscribe(call.node.database, client_id):
        raise Refused("not_found", "this link is not good, or nobody is reminded by it any more")


# When and where


async def read_reminders(call: Call[Any, Any]) -> said.Reminders:
    return await messages.reminders(call.node.database, call.business_id, call.id("id"))


async def put_reminders(call: Call[said.RemindersPut, Any]) -> said.Reminders:
    service_id, minutes = call.id("id"), call.body.minutes
    if len(set(minutes)) != len(minutes):
        raise invalid("minutes", "must not have the same number twice")
    before = await messages.reminders(call.tx, call.business_id, service_id)
    after = await messages.set_reminders(call.tx, call.business_id, service_id, minutes)
    await audit.record(call, "service.changed", "service", service_id, before=before, after=after)
    return after


async def read_chat_callback(call: Call[Any, Any]) -> said.ChatCallback:
    return _callback(call, await messages.chat_callback(call.node.database, call.business_id))


async def put_chat_callback(call: Call[said.ChatCallbackPut, Any]) -> said.ChatCallback:
    url = call.body.url
    if url is not None:
        targets_of(call.node.settings).check(url)
    await messages.set_chat_callback(call.tx, call.business_id, url)
    await audit.record(call, "chat_callback.changed", "business", call.business_id, after={"url": url})
    return _callback(call, url)


def _callback(call: Call[Any, Any], url: str | None) -> said.ChatCallback:
    secret = base64.b64encode(chat_secret(call.node.auth, call.business_id)).decode()
    return said.ChatCallback(url=url, secret=f"whsec_{secret}")


# Pages


async def manage_page(call: Call[Any, LanguageQuery]) -> Reply:
    return shown("manage", call.request, call.query)


async def unsubscribe_page(call: Call[Any, LanguageQuery]) -> Reply:
    return shown("unsubscribe", call.request, call.query)


def routes(node: Any) -> list[Endpoint]:
    v = "/api/v1"
    return [
        Endpoint(node, "GET", v + "/messages", list_messages, needs="messages.read", query=MessagesQuery,
                 summary="What was sent to people, the newest first", answer=list[said.Message], area="messages"),
        Endpoint(node, "GET", v + "/clients/{id}/preferences", read_preferences, needs="clients.read",
                 summary="How a client wants to be told", answer=said.Preferences, area="messages"),
        Endpoint(node, "PUT", v + "/clients/{id}/preferences", put_preferences, needs="clients.write", tx=True,
                 summary="Change how a client wants to be told", answer=said.Preferences, body=said.PreferencesPut,
                 area="messages"),
        Endpoint(node, "POST", v + "/unsubscribe/{link}", unsubscribe, needs=None, status=204, limit="register",
                 summary="No more reminders, by a link of one", area="messages", errors=("not_found",)),
        Endpoint(node, "GET", v + "/services/{id}/reminders", read_reminders, needs="catalogue.read",
                 summary="How long before a booking its client is reminded", answer=said.Reminders, area="messages"),
        Endpoint(node, "PUT", v + "/services/{id}/reminders", put_reminders, needs="catalogue.write", tx=True,
                 summary="Change when clients are reminded", answer=said.Reminders, body=said.RemindersPut,
                 area="messages"),
        Endpoint(node, "GET", v + "/chat-callback", read_chat_callback, needs="webhooks.manage",
                 summary="Where messages to chats are posted", answer=said.ChatCallback, area="messages"),
        Endpoint(node, "PUT", v + "/chat-callback", put_chat_callback, needs="webhooks.manage", tx=True,
                 summary="Let messages to chats be posted to a bot", answer=said.ChatCallback,
                 body=said.ChatCallbackPut, area="messages"),
        Endpoint(node, "GET", "/manage", manage_page, needs=None, query=LanguageQuery,
                 summary="The page on which guests change their booking", area="operations"),
        Endpoint(node, "GET", "/unsubscribe", unsubscribe_page, needs=None, query=LanguageQuery,
                 summary="The page on which reminders are stopped", area="operations"),
    ]  # fmt: skip
