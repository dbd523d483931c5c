"""The live session without I/O: message in, action out; time comes by `tick`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.live import Close, Reply
from protocol.session import Action, Do, End, Login, Say, Session, Unwatch, Watch

ID = "0198c0de-0000-7000-8000-000000000000"
WHEN = '"from":"2026-12-01","to":"2026-12-02"'
SUBSCRIBE = f'{{"type":"subscribe","id":"s1","professional_id":"{ID}",{WHEN}}}'
HOLD = f'{{"type":"hold","id":"h","professional_id":"{ID}","service_id":"{ID}","start":"2026-12-01T10:00:00Z"}}'
BOOK = HOLD.replace('"hold","id":"h"', '"book","id":"b"')


def session(*, public: bool = True, now_s: float = 0.0) -> Session:
    return Session("conn-1", now_s, public=public)


def problem(action: Action) -> dict[str, Any]:
    assert isinstance(action, Say), action
    assert isinstance(action.message, Reply)
    assert not action.message.ok
    return action.message.problem


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"type":"ping","id":"p"}', Say),
        ('{"type":"auth","id":"a","token":"t"}', Login),
        (SUBSCRIBE, Watch),
        (SUBSCRIBE.replace("professional_id", "service_id"), Watch),
        (HOLD, Do),
        (BOOK, Do),
        (f'{{"type":"release","id":"r","hold_id":"{ID}"}}', Do),
        ('{"type":"confirm","id":"c","booking_id":"BK-1"}', Do),
        ('{"type":"cancel","id":"c","booking_id":"BK-1","manage_token":"t"}', Do),
        ('{"type":"reschedule","id":"c","booking_id":"BK-1","start":"2026-12-01T10:00:00Z"}', Do),
    ],
)
def test_each_message_becomes_its_action(text: str, kind: type[Action]) -> None:
    assert type(session().receive(text)) is kind
    assert type(session().receive(text.encode())) is kind


def test_ping_is_answered_with_its_id() -> None:
    assert session(public=False).receive('{"type":"ping","id":"p7"}') == Say(Reply(id="p7", ok=True))


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("", "malformed_body", None),
        ("{", "malformed_body", None),
        ('{"type":"ping","id":"x"', "malformed_body", None),
        ('{"type":"ping","id":"x"} {}', "malformed_body", None),
        ('{"type":"ping","id":"\\ud800"}', "malformed_body", None),
        ("null", "validation_failed", ""),
        ("[]", "validation_failed", ""),
        ('"ping"', "validation_failed", ""),
        ('{"id":"x"}', "validation_failed", "type"),
        ('{"type":"ping"}', "validation_failed", "id"),
        ('{"type":"ping","id":""}', "validation_failed", "id"),
        ('{"type":"ping","id":7}', "validation_failed", "id"),
        ('{"type":"ping","id":"' + "x" * 65 + '"}', "validation_failed", "id"),
        ('{"type":"ping","id":"x","extra":1}', "validation_failed", "extra"),
        ('{"type":7,"id":"x"}', "validation_failed", "type"),
        ('{"type":"sing","id":"x"}', "unknown_message", None),
        ('{"type":"snapshot","id":"x"}', "unknown_message", None),
        (SUBSCRIBE.replace(ID, "not-a-uuid"), "validation_failed", "professional_id"),
        (SUBSCRIBE.replace('"id":"s1"', '"id":"s1","since":-1'), "validation_failed", "since"),
        (HOLD.replace("10:00:00Z", "10:00:00"), "validation_failed", "start"),
        (HOLD.replace('"id":"h"', '"id":"h","ttl_seconds":0'), "validation_failed", "ttl_seconds"),
        (BOOK.replace('"id":"b"', '"id":"b","guest":{"name":""}'), "validation_failed", "guest.name"),
        (BOOK.replace('"id":"b"', f'"id":"b","idempotency_key":"{"k" * 129}"'), "validation_failed", "idempotency_key"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_field(text: str, code: str, field: str | None) -> None:
    body = problem(session().receive(text))
    assert body["code"] == code
    assert body["request_id"] == "conn-1"
    assert [e["field"] for e in body.get("errors", [])] == ([] if field is None else [field])


def test_a_refusal_repeats_the_id_where_it_can_be_read() -> None:
    assert session().receive('{"type":"sing","id":"x9"}').message.id == "x9"  # type: ignore[union-attr]
    assert session().receive('{"type":"ping","id":"x9","extra":1}').message.id == "x9"  # type: ignore[union-attr]
    assert session().receive('{"type":"sing","id":"' + "x" * 900 + '"}').message.id == "x" * 64  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 8_000,
        "[" * 4_000 + "]" * 4_000,
        '{"type":"ping","id":"x","extra":' + "[" * 4_000 + "]" * 4_000 + "}",
        '{"type":"sing","id":"x","extra":' + "[" * 4_000 + "]" * 4_000 + "}",
        '{"type":"sing","extra":' + '{"a":' * 1_600 + "1" + "}" * 1_600 + ',"id":"x"}',
    ],
)
def test_deep_nesting_is_refused(text: str) -> None:
    assert problem(session().receive(text))["code"] in ("malformed_body", "validation_failed", "unknown_message")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
)
_fields = st.sampled_from(["type", "id", "token", "from", "to", "start", "since", "professional_id", "guest", "x"])
_kinds = st.sampled_from(["auth", "subscribe", "unsubscribe", "hold", "book", "cancel", "ping", "snapshot", ""])


@given(st.dictionaries(_fields, _json, max_size=6), _kinds, st.booleans())
def test_no_object_breaks_it(fields: dict[str, Any], kind: str, typed: bool) -> None:
    import msgspec

    text = msgspec.json.encode({**fields, **({"type": kind} if typed else {})})
    action = session().receive(text)
    if isinstance(action, Say):
        msgspec.json.encode(action.message)


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    assert isinstance(session().receive(data), Say | End)


# Who may act


def test_before_login_only_ping_and_auth_are_heard() -> None:
    s = session(public=False)
    for text in (SUBSCRIBE, HOLD, BOOK, '{"type":"unsubscribe","id":"u","subscription":"s1"}'):
        assert problem(s.receive(text))["code"] == "unauthorized"
    assert isinstance(s.receive('{"type":"auth","id":"a","token":"t"}'), Login)
    s.logged_in(100.0)
    assert isinstance(s.receive(SUBSCRIBE), Watch)


def test_without_login_in_time_it_ends() -> None:
    s = session(public=False, now_s=1_000.0)
    assert s.tick(1_000.0 + limits.login_timeout_s - 0.001) is None
    end = s.tick(1_000.0 + limits.login_timeout_s)
    assert end is not None
    assert end.code is Close.LOGIN_TIMEOUT == 4100


def test_the_limit_for_the_login_is_the_one_in_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "login_timeout_s", 0.5)
    s = session(public=False)
    assert s.tick(0.4) is None
    assert s.tick(0.5) is not None


def test_a_public_session_never_needs_a_login() -> None:
    assert session(public=True).tick(10**9) is None


def test_it_ends_with_its_token() -> None:
    s = session(public=False)
    s.logged_in(60.0)
    assert s.tick(59.9) is None
    end = s.tick(60.0)
    assert end is not None
    assert end.code is Close.TOKEN_EXPIRED == 4001


def test_a_new_token_prolongs_it() -> None:
    s = session(public=True)
    s.logged_in(60.0)
    s.logged_in(120.0)
    assert s.tick(100.0) is None
    assert s.tick(120.0) is not None


# Subscriptions


def test_a_subscription_needs_something_to_watch() -> None:
    body = problem(session().receive(f'{{"type":"subscribe","id":"s",{WHEN}}}'))
    assert body["code"] == "validation_failed"


def test_an_id_is_a_subscription_only_once_at_a_time() -> None:
    s = session()
    assert isinstance(s.receive(SUBSCRIBE), Watch)
    assert problem(s.receive(SUBSCRIBE))["code"] == "conflict"
    s.not_watching("s1")
    assert isinstance(s.receive(SUBSCRIBE), Watch)


def test_unsubscribe_names_a_subscription() -> None:
    s = session()
    assert problem(s.receive('{"type":"unsubscribe","id":"u","subscription":"s1"}'))["code"] == "not_subscribed"
    s.receive(SUBSCRIBE)
    assert s.receive('{"type":"unsubscribe","id":"u","subscription":"s1"}') == Unwatch("u", "s1")


@pytest.mark.parametrize("login", [True, False])
def test_subscriptions_are_bounded_and_freed(login: bool) -> None:
    """Of a visitor to fewer."""
    s = session()
    if login:
        s.logged_in(1e12)
    for i in range(limits.subscriptions_per_socket_max if login else limits.subscriptions_per_visitor_max):
        assert isinstance(s.receive(SUBSCRIBE.replace("s1", f"s{i}")), Watch)
    for _ in range(1_000):
        assert problem(s.receive(SUBSCRIBE.replace("s1", "over")))["code"] == "too_many_subscriptions"
    s.not_watching("s5")
    assert isinstance(s.receive(SUBSCRIBE.replace("s1", "over")), Watch)


# Strikes


def test_twenty_senseless_messages_are_answered_and_the_next_ends_it() -> None:
    s = session()
    for _ in range(20):
        problem(s.receive("nonsense"))
    end = s.receive("nonsense")
    assert isinstance(end, End)
    assert end.code is Close.PROTOCOL_ERROR == 4103


def test_refusals_that_make_sense_are_no_strikes() -> None:
    s = session(public=False)
    for _ in range(100):
        problem(s.receive(SUBSCRIBE))
    s.logged_in(100.0)
    for _ in range(100):
        problem(s.receive('{"type":"unsubscribe","id":"u","subscription":"none"}'))
    assert isinstance(s.receive(SUBSCRIBE), Watch)
