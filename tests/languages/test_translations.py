"""An English sentence is found again among the templates and said in another language."""

import re
from pathlib import Path

import msgspec
import pytest
from email_validator import EmailNotValidError, validate_email

from jobs.catalogues import catalogue
from protocol import bodies, businesses, limits, people, schedules
from protocol.errors import KINDS, Refused, invalid, not_valid, problem
from protocol.languages import Language
from server.translations import FORMS, Tongue, teller, tongue
from tests.languages.catalogues import TRANSLATED, kept

_HOLE = re.compile(r"\{(\d)\}")


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_template_is_found_by_what_it_makes(language: Language) -> None:
    """None stands in the way of another."""
    for message in kept("problems", language):
        if not message.id:
            continue
        english = message.id[0] if isinstance(message.id, tuple) else message.id
        said = tongue(language).text(_HOLE.sub("5", english))
        forms = message.string if isinstance(message.string, tuple) else (message.string,)
        assert said in {_HOLE.sub("5", form) for form in forms}, english


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_title_is_told(language: Language) -> None:
    for code, kind in KINDS.items():
        told = teller(language)(Refused(code), "id")
        assert told["title"] != kind.title
        assert told["detail"] == told["title"]
        assert (told["code"], told["status"], told["request_id"]) == (code, kind.status, "id")


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "1 дня"), (2, "2 дней"), (5, "5 дней"), (21, "21 дня"), (1000, "1\xa0000 дней")],
)
def test_a_count_bends_the_word_after_it(count: int, said: str) -> None:
    assert tongue("ru").text(f"at most {count} days") == f"не более {said}"


def test_kazakh_counts_without_bending() -> None:
    assert [tongue("kk").text(f"at most {count} days") for count in (1, 7)] == [
        "1 күннен аспауы керек",
        "7 күннен аспауы керек",
    ]


def test_a_field_keeps_its_name() -> None:
    told = teller("ru")(invalid("guest.name", "must not be empty"), "id")
    assert told["detail"] == "guest.name: не должно быть пустым"
    assert told["errors"] == [{"field": "guest.name", "message": "не должно быть пустым"}]


def test_programs_read_the_same() -> None:
    refused = Refused("slot_unavailable", "2026-11-23T12:00:00Z is booked", extra={"alternatives": []})
    english, russian = problem(refused, "id"), teller("ru")(refused, "id")
    assert russian["detail"] == "на 2026-11-23T12:00:00Z уже есть запись"
    assert {k: v for k, v in english.items() if k not in ("title", "detail")} == {
        k: v for k, v in russian.items() if k not in ("title", "detail")
    }


def test_what_fits_no_template_stays_as_it_is() -> None:
    assert tongue("ru").text("nobody has ever said this") == "nobody has ever said this"


@pytest.mark.parametrize("filled", ["{0}", "{1}{9}", "\\1", "a\nb", "%s", "Иван"])
def test_what_is_filled_in_is_not_read(filled: str) -> None:
    assert tongue("ru").text(f"{filled!r} is no message") == f"сообщения {filled!r} нет"


def test_a_text_without_end_is_not_searched() -> None:
    text = "x is " * limits.translated_chars_max
    assert tongue("ru").text(text) == text


def test_a_broken_catalogue_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "ru" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "problems.po").write_text('msgid "a"\nmsgstr[')
    with pytest.raises(ValueError, match="problems"):
        catalogue(tmp_path, "problems", "ru")
    with pytest.raises(OSError, match="pages"):
        catalogue(tmp_path, "pages", "ru")


def test_forms_stand_in_the_order_of_the_files() -> None:
    for language in TRANSLATED:
        assert kept("problems", language).num_plurals == len(FORMS[language])
        assert isinstance(tongue(language), Tongue)


# What libraries say


_NOT_JSON = (
    b"{", b"[1,]", b'{"a":1,}', b"{a:1}", b'{"a" 1}', b"tru", b'"\\q"', b"1 2", b"01", b'["\\ud800\\u0041"]', b"[1 2]",
    b'{"a":"\xff"}', b'{"a":"b', b'{"a":"\\u00zz"}', b'{"a":1 "b":2}', b"-",
)  # fmt: skip
_NOT_VALID = (
    (bodies.ClientCreate, b"[]"),
    (bodies.ClientCreate, b"{}"),
    (bodies.ClientCreate, b'{"first_name":1}'),
    (bodies.ClientCreate, b'{"first_name":null}'),
    (bodies.ClientCreate, b'{"first_name":""}'),
    (bodies.ClientCreate, b'{"first_name":"a","x":1}'),
    (bodies.ClientCreate, b'{"first_name":"%s"}' % (b"a" * 300)),
    (bodies.ClientCreate, b'{"first_name":"a\\u0000"}'),
    (bodies.ClientCreate, b'{"first_name":"a","chat_id":1e400}'),
    (bodies.ClientCreate, b'{"first_name":"a","chat_id":1.5}'),
    (bodies.ClientCreate, b'{"first_name":"a","chat_id":99999999999999999999}'),
    (bodies.BookingCreate, b'{"professional_id":"x"}'),
    (bodies.ServiceTokenCreate, b'{"name":"a","role":"king"}'),
    (bodies.ServiceTokenCreate, b'{"name":"a","ttl_days":0}'),
    (bodies.ServiceTokenCreate, b'{"name":"a","ttl_days":99999}'),
    (bodies.ServiceTokenCreate, b'{"name":"a","scopes":[]}'),
    (people.Register, b'{"name":"a","password":"b"}'),
    (people.Register, b'{"name":"a","password":"12345678","locale":"de"}'),
    (schedules.TimeOffCreate, b'{"start":"2026"}'),
    (schedules.TimeOffCreate, b'{"start":"2026-01-01T00:00:00"}'),
    (businesses.BusinessPatch, b'{"languages":[%s"en"]}' % (b'"en",' * 30)),
)


@pytest.mark.parametrize("body", _NOT_JSON)
def test_what_is_said_of_broken_json_is_translated(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)) as caught:
        msgspec.json.decode(body)
    assert tongue("ru").text(str(caught.value)) != str(caught.value)


@pytest.mark.parametrize(("kind", "body"), _NOT_VALID)
def test_what_is_said_of_a_wrong_value_is_translated(kind: type, body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=kind)
    refused = not_valid(str(caught.value))
    for language in TRANSLATED:
        told = teller(language)(refused, "id")
        assert told["errors"][0]["message"] != refused.errors[0].message
        assert told["errors"][0]["field"] == refused.errors[0].field


@pytest.mark.parametrize(
    "address",
    [
        "a@b", "a@-b.de", "a..b@c.de", ".a@c.de", "a@c..de", "a@c.d-", "a(b@c.de", "a@b_c.de", "x" * 70 + "@c.de",
        "a@localhost", "a@[127.0.0.1]", '"a b"@c.de', "a@b.test", "a\u200b@c.de", "@c.de", "a@" + "b" * 70 + ".de",
        "a@xn--a.de", "<a@c.de",
    ],
)  # fmt: skip
def test_what_is_said_of_an_address_is_translated(address: str) -> None:
    with pytest.raises(EmailNotValidError) as caught:
        validate_email(address, check_deliverability=False, strict=True)
    for language in TRANSLATED:
        assert tongue(language).text(str(caught.value)) != str(caught.value)
