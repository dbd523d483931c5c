"""A mail server that keeps what it gets, and misbehaves for addresses that say so."""

import asyncio
import threading
import time
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

Judge = Callable[[str, int], str | None]
"""What is answered to an address at its n-th mail, from 1; `None` is to take it."""


def refuse_by_name(address: str, nth: int) -> str | None:
    """`refused…` never, `busy…` not at the first time; others always."""
    if address.startswith("refused"):
        return f"550 5.1.1 no such user {address}"
    if address.startswith("busy") and nth == 1:
        return "451 4.7.1 come back later"
    return None


class _AnyPort(Controller):
    """Port 0 is the system's choice; the library would look for itself at 0."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()


class Mailbox:
    def __init__(self, judge: Judge = refuse_by_name, **server: Any) -> None:
        self.mails: list[tuple[str, EmailMessage]] = []
        self.asked: dict[str, int] = {}
        self.taken = threading.Event()
        """Set when a mail has come for an address that begins with `slow`, whose answer waits for `go`."""
        self.go = threading.Event()
        self._judge = judge
        self._controller = _AnyPort(self, port=0, **{"hostname": "127.0.0.1", **server})

    def start(self) -> "Mailbox":
        self._controller.start()
        return self

    def stop(self) -> None:
        self.go.set()
        self._controller.stop()

    @property
    def port(self) -> int:
        return self._controller.port

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        nth = self.asked[address] = self.asked.get(address, 0) + 1
        answer = self._judge(address, nth)
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        mail = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        for to in envelope.rcpt_tos:
            self.mails.append((to, mail))  # type: ignore[arg-type]
        if any(to.startswith("slow") for to in envelope.rcpt_tos) and not self.go.is_set():
            self.taken.set()
            while not self.go.is_set():
                await asyncio.sleep(0.01)
        return "250 OK"

    def to(self, address: str) -> list[EmailMessage]:
        return [mail for to, mail in self.mails if to == address]

    async def wait(self, address: str, count: int = 1, timeout_s: float = 15.0) -> list[EmailMessage]:
        """The mails to an address, once there are so many."""
        deadline = time.monotonic() + timeout_s
        while len(found := self.to(address)) < count and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        assert len(found) >= count, [(to, m["Subject"]) for to, m in self.mails[-20:]]
        return found


def part(mail: EmailMessage, kind: str) -> str:
    """The text of its first part of that kind."""
    for found in mail.walk():
        if found.get_content_type() == kind:
            return found.get_content()  # type: ignore[attr-defined]
    raise AssertionError(f"no {kind} in {mail}")
