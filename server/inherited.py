"""What a worker gets from the process that started it: sockets to accept on, and a line between the two."""

import asyncio
import contextlib
import socket
from typing import Final

BACKLOG: Final = 4096
STARTED: Final = b"s"
"""The worker accepts connections."""
READY: Final = b"r"
"""It can serve: what `/readyz` asks for is there."""


class Inherited:
    """`numbers` are file descriptors by commas: the line, then the listening sockets."""

    def __init__(self, numbers: str) -> None:
        line, *listening = (socket.socket(fileno=int(number)) for number in numbers.split(","))
        self._line = line
        self._line.setblocking(False)
        self.listening = listening

    def tell(self, word: bytes) -> None:
        # A parent that is gone is noticed below.
        with contextlib.suppress(OSError):
            self._line.send(word)

    async def parent_gone(self) -> None:
        """Returns when the parent has ended, however it did: it never says anything, so what comes is the end."""
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_recv(self._line, 1)
