"""What is told to people who ask for it leaves through a `Messenger`."""

from collections.abc import Mapping
from typing import Protocol


class Messenger(Protocol):
    async def send(self, kind: str, to: str, fields: Mapping[str, str]) -> None:
        """Sees to it that the message is sent. `to` is an e-mail address or a number in E.164; `kind` chooses the text,
        `fields` fill it in. Returns without waiting for anything outside, and takes as long whoever it is for.
        """
        ...
