"""Settings of mail and text messages: wrong ones are told at the start, secrets are not shown."""

import pytest

from server import config
from server.config import ConfigError

GOOD = {
    "SLOTCAST_JWT_SECRET": "x" * 40,
    "SLOTCAST_SMTP_URL": "smtp://mailer:s3cret@mail.example.com:587",
    "SLOTCAST_MAIL_FROM": "no-reply@example.com",
    "SLOTCAST_PUBLIC_URL": "https://book.example.com",
    "SLOTCAST_SMS_URL": "twilio://AC1:s3cret@+15550100",
}


def test_what_is_shown_of_them() -> None:
    shown = str(config.redacted(config.load(None, GOOD)))
    assert "s3cret" not in shown
    assert "mail.example.com" in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMTP_URL", "http://mail.example.com"),
        ("SMTP_URL", "mail.example.com"),
        ("SMTP_URL", "smtp+plain://u:s3cret@mail.example.com"),
        ("SMTP_URL", "outbox:"),
        ("MAIL_FROM", ""),
        ("MAIL_FROM", "Salon <a@example.com>"),
        ("MAIL_FROM", "nobody"),
        ("MAIL_FROM", "a@example.com\r\nBcc: b@example.com"),
        ("PUBLIC_URL", ""),
        ("PUBLIC_URL", "book.example.com"),
        ("PUBLIC_URL", "javascript:alert(1)"),
        ("PUBLIC_URL", 'https://a"b'),
        ("PUBLIC_URL", "https://example.com/?a=b"),
        ("SMS_URL", "twilio://AC1@+15550100"),
        ("SMS_URL", "print:"),
    ],
)
def test_a_wrong_one_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"SLOTCAST_{name}") as told:
        config.load(None, GOOD | {f"SLOTCAST_{name}": value})
    assert "s3cret" not in str(told.value)
