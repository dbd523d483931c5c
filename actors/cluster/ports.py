"""What a node needs to be one of several, and the types that pass between them.

`storage` implements `Directory` and `Bus` on Redis and in memory; one contract suite runs on both.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec


class Member(msgspec.Struct, frozen=True):
    """A node as others see it: `id` is new for each process, `name` is what operators call it.

    `started_at` is in microseconds, `lag_ms` how late the node's event loop was of late.
    """

    id: str
    name: str
    weight: float = 1.0
    draining: bool = False
    address: str = ""
    version: str = ""
    started_at: int = 0
    lag_ms: float = 0.0


class Lease(msgspec.Struct, frozen=True):
    """Who owns a shard. `heir` is to have it next: while the owner lives, nobody else may claim it.

    A record without `node` is of a shard that was released for its `heir`.
    """

    node: str
    epoch: int
    heir: str = ""


class Sight(msgspec.Struct, frozen=True):
    """What the directory showed at one moment: the `members` that are alive, and every lease, also of the dead.

    `incarnation` changes when the directory has lost its memory. `drains` are ids of members asked to leave.
    """

    members: Mapping[str, Member]
    leases: Mapping[int, Lease]
    incarnation: str
    drains: frozenset[str] = frozenset()


class Directory(Protocol):
    """Every call ends within `limits.directory_timeout_s`, with `Refused(unavailable)` when there was no answer."""

    async def beat(self, me: Member, owned: Mapping[int, int]) -> Sight:
        """Renews the heartbeat, and puts the shards (shard → epoch) on record where that is missing or older."""
        ...

    async def look(self) -> Sight: ...

    async def claim(self, node: str, shards: Sequence[int]) -> dict[int, Lease]:
        """Those granted, now on record for `node`: nobody had them, who had them is gone, or `node` is the heir."""
        ...

    async def hand_over(self, node: str, heirs: Mapping[int, str]) -> None:
        """Announces who gets shards of `node` next; an empty heir withdraws it."""
        ...

    async def release(self, node: str, shards: Collection[int]) -> None:
        """Gives up shards of `node`. For a moment only their heir may claim them."""
        ...

    async def leave(self, node: str) -> None:
        """Forgets the member and all that is on record for it."""
        ...

    async def request_drain(self, member: str) -> bool:
        """Asks a member, by id or name, to hand over everything and stop; whether there is such a member."""
        ...

    def on_notice(self, callback: Callable[[], None]) -> None:
        """`callback` runs soon after somebody claimed, released or left. Best effort: beats find out anyway."""
        ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Shards(Protocol):
    """The shards of this node: the journal and what is in memory of their calendars."""

    async def take(self, shards: Sequence[int]) -> dict[int, int]:
        """Advances the epochs, and decides for them from now on: shard → epoch. Raises `Refused(unavailable)`."""
        ...

    async def release(self, shards: Collection[int]) -> None:
        """Decides nothing more for them, waits for the fate of what was decided, and forgets their calendars."""
        ...

    async def verify(self) -> set[int]:
        """Those that others have taken in the meantime; they are forgotten. Raises `Refused(unavailable)`."""
        ...

    @property
    def owned(self) -> Mapping[int, int]:
        """Shard → epoch."""
        ...


class Bus(Protocol):
    """Messages between members: each at most once, and in order from one to another. Sending never waits."""

    lost: int
    """Messages of which nobody knows whether they were delivered."""

    @property
    def connected(self) -> bool: ...

    async def start(
        self,
        node: str,
        receive: Callable[[str, bytes], None],
        undelivered: Callable[[str, Sequence[bytes]], None],
    ) -> None:
        """`receive(sender, message)`. `undelivered(receiver, messages)` were certainly not delivered to anybody."""
        ...

    def send(self, node: str, message: bytes) -> None:
        """Leaves with whatever else this turn of the loop has for the receiver; bounded, beyond it `undelivered`."""
        ...

    async def stop(self) -> None: ...
