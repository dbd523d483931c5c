"""Mail servers as they are: with and without TLS, refusing, hanging, gone."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult

from jobs import smtp
from jobs.channels import Undeliverable
from jobs.queue import Later
from jobs.smtp import Smtp
from tests.messages.mailbox import Mailbox

SENDER = "no-reply@mail.example.com"


def mail() -> bytes:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"], made["Message-ID"] = SENDER, "a@example.org", "x", "<1@example.com>"
    made.set_content("Grüße")
    return made.as_bytes(policy.SMTP)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, made = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, made


def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1], certificate[0])
    return context


def trusting(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate[1]))


def started(**server: Any) -> Iterator[Mailbox]:
    found = Mailbox(**server).start()
    yield found
    found.stop()


def _authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"slotcast", b"p@ss:word"), handled=False)


@pytest.fixture(scope="module")
def starttls(certificate: tuple[Path, Path]) -> Iterator[Mailbox]:
    yield from started(
        tls_context=server_tls(certificate), require_starttls=True, auth_required=True, authenticator=_authenticate
    )


@pytest.fixture(scope="module")
def plain() -> Iterator[Mailbox]:
    yield from started()


async def test_over_starttls_with_a_password(starttls: Mailbox, certificate: tuple[Path, Path]) -> None:
    """The password is as in a URL, with its signs escaped."""
    way = Smtp(f"smtp://slotcast:p%40ss%3Aword@localhost:{starttls.port}", SENDER, trusting(certificate))
    await way.send(mail(), "tls@example.org")
    (got,) = starttls.to("tls@example.org")
    assert got.get_content().strip() == "Grüße"


async def test_no_line_ends_the_mail_before_its_end(plain: Mailbox) -> None:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = SENDER, "dots@example.org", "x"
    made.set_content(".\n..\nMAIL FROM:<x@example.org>\n.\n")
    await Smtp(f"smtp+plain://127.0.0.1:{plain.port}", SENDER).send(made.as_bytes(policy.SMTP), "dots@example.org")
    (got,) = plain.to("dots@example.org")
    assert got.get_content().splitlines() == [".", "..", "MAIL FROM:<x@example.org>", "."]


async def test_a_wrong_password_may_be_put_right(starttls: Mailbox, certificate: tuple[Path, Path]) -> None:
    """It is no fault of the mail, so that waits."""
    way = Smtp(f"smtp://slotcast:wrong@localhost:{starttls.port}", SENDER, trusting(certificate))
    with pytest.raises(Later, match="535"):
        await way.send(mail(), "b@example.org")


async def test_a_certificate_nobody_vouches_for_is_none(starttls: Mailbox) -> None:
    way = Smtp(f"smtp://slotcast:x@localhost:{starttls.port}", SENDER)
    with pytest.raises(Later):
        await way.send(mail(), "untrusted@example.org")
    assert starttls.to("untrusted@example.org") == []


async def test_nothing_goes_in_the_clear_unless_that_was_said(plain: Mailbox) -> None:
    """A server that offers no TLS, or somebody in between who takes the offer out, gets neither mail nor password."""
    with pytest.raises(Later):
        await Smtp(f"smtp://u:p@localhost:{plain.port}", SENDER).send(mail(), "clear@example.org")
    assert plain.to("clear@example.org") == []
    await Smtp(f"smtp+plain://localhost:{plain.port}", SENDER).send(mail(), "clear@example.org")
    assert len(plain.to("clear@example.org")) == 1


async def test_over_tls_from_the_first_byte(certificate: tuple[Path, Path]) -> None:
    for box in started(ssl_context=server_tls(certificate), hostname="localhost"):
        way = Smtp(f"smtps://localhost:{box.port}", SENDER, trusting(certificate))
        await way.send(mail(), "first@example.org")
        assert len(box.to("first@example.org")) == 1


async def test_what_an_answer_means(plain: Mailbox) -> None:
    """From 500 on it is for good, below it is for now; what is kept does not name the address."""
    way = Smtp(f"smtp+plain://127.0.0.1:{plain.port}", SENDER)
    with pytest.raises(Undeliverable) as refused:
        await way.send(mail(), "refused-x@example.org")
    assert "550" in refused.value.reason
    assert "example.org" not in refused.value.reason
    with pytest.raises(Later, match="451"):
        await way.send(mail(), "busy-x@example.org")
    await way.send(mail(), "busy-x@example.org")


async def test_a_server_that_is_gone_or_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs a bounded time."""
    monkeypatch.setattr(smtp, "_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Later, match="in time"):
            await Smtp(f"smtp+plain://127.0.0.1:{port}", SENDER).send(mail(), "a@example.org")
    with pytest.raises(Later):
        await Smtp(f"smtp+plain://127.0.0.1:{port}", SENDER).send(mail(), "a@example.org")


async def test_one_that_speaks_nonsense() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Later):
            await Smtp(f"smtp+plain://127.0.0.1:{port}", SENDER).send(mail(), "a@example.org")


async def test_an_answer_in_another_encoding_is_an_answer() -> None:
    """What is kept of it can be written down."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = {b"EHLO": b"250 mail", b"MAIL": b"250 OK", b"RCPT": "550 Почтовый ящик\0 не найден".encode("koi8-r")}
        writer.write(b"220 mail\r\n")
        while line := await reader.readline():
            writer.write(said.get(line[:4].upper(), b"250 OK") + b"\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Undeliverable) as refused:
            await Smtp(f"smtp+plain://127.0.0.1:{port}", SENDER).send(mail(), "a@example.org")
    assert refused.value.reason.startswith("550")
    assert refused.value.reason.encode().isascii()
    assert "\0" not in refused.value.reason


@pytest.mark.parametrize(
    "url",
    ["", "mail.example.com", "http://x", "smtp://", "smtp://:25", "smtp://h:no", "smtp://h/path", "smtp://h?tls=no",
     "smtp+plain://user:password@h", "file:///etc/passwd", "outbox:", "smtp://h:99999"],
)  # fmt: skip
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what is said differs
        Smtp(url, SENDER)
