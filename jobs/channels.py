"""The ways by which messages leave. Each sends one message to one address, in less time than a job has."""

from typing import Literal, Protocol

Channel = Literal["email", "sms", "chat"]


class Undeliverable(Exception):
    """Refused for good by the other side: another try would end the same. `reason` is what it said."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Mail(Protocol):
    """`sender` is an address alone; the name beside it is the business's."""

    sender: str

    async def send(self, mail: bytes, to: str) -> None:
        """`mail` is as `jobs.mail` makes it. Raises `Undeliverable`, or `Later` for what may go better another time."""
        ...


class TextMessages(Protocol):
    async def send(self, to: str, text: str) -> None:
        """`to` is in E.164. Raises as `Mail.send` does."""
        ...
