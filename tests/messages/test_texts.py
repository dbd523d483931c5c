"""Texts and templates: all whole, in every language; a broken one keeps the server from starting."""

import shutil
from pathlib import Path

import jinja2
import pytest
from babel.support import NullTranslations

from jobs import texts
from jobs.texts import FOLDER, SAMPLES, Texts
from protocol.languages import LANGUAGES, Language
from protocol.messages import MessageKind
from server import messaging

MOMENT = 1_793_620_800_000_000  # 2026-11-02T12:00:00Z


def _spaced(text: str) -> str:
    """With the spaces that do not break made ordinary ones."""
    return " ".join(text.split())


def test_every_kind_has_a_text_and_every_text_a_kind() -> None:
    assert messaging.texts().kinds == set(MessageKind.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", sorted(MessageKind.__args__))  # type: ignore[attr-defined]
def test_each_says_something_of_its_own(kind: str, language: Language) -> None:
    """And no hole of a template is left to be seen."""
    said = messaging.texts().render(kind, language, SAMPLES[0])
    english = messaging.texts().render(kind, "en", SAMPLES[0])
    for text in (said.subject, said.text, said.html, said.short):
        assert text.strip()
        assert "%(" not in text
        assert "{{" not in text
    assert "\n" not in said.subject + said.short
    if language != "en":
        assert said.subject != english.subject
        assert said.short != english.short
    assert f'<html lang="{language}">' in said.html


@pytest.mark.parametrize(
    "broken",
    [
        "{% extends layout %}{% block subject %}",
        "{% extends layout %}{% block subject %}{{ nobody_knows }}{% endblock %}{% block short %}x{% endblock %}",
        "{% extends layout %}{% block short %}x{% endblock %}",
        "{% extends layout %}{% block subject %} {% endblock %}{% block short %}x{% endblock %}",
        "{% extends 'missing.txt' %}",
        "{% extends layout %}{% block subject %}{{ 1 / 0 }}{% endblock %}{% block short %}x{% endblock %}",
    ],
)
def test_a_broken_template_is_found_at_the_start(tmp_path: Path, broken: str) -> None:
    folder = tmp_path / "templates"
    shutil.copytree(FOLDER, folder)
    spoken = {language: NullTranslations() for language in LANGUAGES}
    Texts(spoken, folder)
    (folder / "reminder.j2").write_text(broken)
    with pytest.raises((jinja2.TemplateError, KeyError, ValueError, ZeroDivisionError)):
        Texts(spoken, folder)


def test_a_translation_that_cannot_be_filled_in_is_found_at_the_start() -> None:
    class Wrong(NullTranslations):
        def ugettext(self, message: str) -> str:
            return message.replace("%(service)s", "%(servce)s")

    with pytest.raises((KeyError, jinja2.TemplateError)):
        Texts({language: Wrong() for language in LANGUAGES})


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "Monday, 2 November 2026, 17:00 (GMT+05:00)"),
        ("ru", "понедельник, 2 ноября 2026 г., 17:00 (GMT+05:00)"),  # noqa: RUF001
        ("kk", "2026 ж. 2 қараша, дүйсенбі, 17:00 (GMT+05:00)"),
    ],
)
def test_times_are_those_of_the_place_in_the_readers_words(language: Language, expected: str) -> None:
    assert _spaced(texts.when(MOMENT, "Asia/Almaty", language)) == expected


def test_the_offset_tells_summer_from_winter() -> None:
    """The hour that comes twice is not the same hour."""
    first, second = 1_792_891_800_000_000, 1_792_895_400_000_000  # 2026-10-25, 01:30 and 02:30 in UTC
    said = [texts.when(us - 3_600_000_000, "Europe/Berlin", "en") for us in (first, second)]
    assert said[0].endswith("02:30 (GMT+02:00)")
    assert said[1].endswith("02:30 (GMT+01:00)")


@pytest.mark.parametrize(
    ("minor", "currency", "language", "expected"),
    [
        (3500, "EUR", "en", "€35.00"),
        (350050, "KZT", "kk", "3 500,50 ₸"),
        (500, "JPY", "en", "JP¥500"),
        (1234, "KWD", "en", "KWD1.234"),
        (5, "QQQ", "ru", "0,05 QQQ"),
        (None, "EUR", "en", ""),
        (5, None, "en", ""),
        (0, "EUR", "ru", "0,00 €"),
    ],
)
def test_prices(minor: int | None, currency: str | None, language: Language, expected: str) -> None:
    """In the currency's own smallest unit."""
    said = texts.price(minor, currency, language)
    assert _spaced(said) == expected


@pytest.mark.parametrize(("minutes", "form"), [(1, "минуту"), (3, "минуты"), (10, "минут"), (21, "минуту")])
def test_counted_things_are_bent_as_the_language_bends_them(minutes: int, form: str) -> None:
    said = messaging.texts().render("verification_code", "ru", {"code": "123456", "minutes": minutes})
    assert f"{minutes} {form}." in said.text
