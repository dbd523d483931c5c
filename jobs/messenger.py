"""What is told to people by mail or text message leaves through a `Messenger`."""

import logging
import sys
from collections.abc import Mapping
from typing import Protocol

log = logging.getLogger("slotcast.messenger")


class Messenger(Protocol):
    async def send(self, kind: str, to: str, fields: Mapping[str, str]) -> None:
        """Sees to it that the message is sent. `to` is an e-mail address or a number in E.164; `kind` chooses the text,
        `fields` fill it in. Returns without waiting for anything outside, and takes as long whoever it is for.
        """
        ...


class ConsoleMessenger:
    """For demonstrations: prints what would be sent. Otherwise only says that nothing is."""

    def __init__(self, *, prints: bool) -> None:
        self._prints = prints

    async def send(self, kind: str, to: str, fields: Mapping[str, str]) -> None:
        if not self._prints:
            # Neither address nor code belongs into a log.
            log.warning("a message was not sent, because no mail or text messages are set up: %s", kind)
            return
        told = "  ".join(f"{name}={value}" for name, value in fields.items())
        sys.stdout.write(f"  message    {kind} to {to}  {told}\n")
        sys.stdout.flush()
