"""Requests that name an offering by its code: what they mean, and who makes them, as far as that counts."""

import base64
import binascii
import hashlib
import hmac
import time
from typing import Final

import msgspec

from actors.ports import Guest
from protocol import bodies
from protocol.errors import Refused, invalid
from protocol.times import bounded_us
from server.auth import Auth
from server.lineups import Wanted
from storage import records, verification
from storage.calendars import terms_of_offering
from storage.postgres import Database

_KNOWN_MAX: Final = 20_000
_TTL_S: Final = 5.0
_DEVICE_BYTES: Final = 64


class Offered(msgspec.Struct, frozen=True):
    """`start` is that of a party, which has only one. `places` are those of a slot."""

    id: str
    business_id: str
    professional_id: str
    guarded: bool
    places: int
    start: int | None


class Meant(msgspec.Struct, frozen=True):
    """What is to be booked, in whose calendar, and when."""

    professional_id: str
    service_id: str
    start: int
    offered: Offered | None = None
    meeting: Wanted | None = None
    """What is to be found first, where more is taken than one calendar that is named; that is empty then."""


class Offerings:
    """By code, remembered for some seconds: the calendar itself knows when one has changed or gone."""

    def __init__(self, database: Database, auth: Auth) -> None:
        self._database = database
        self._auth = auth
        self._known: dict[str, tuple[float, Offered]] = {}

    async def of_code(self, code: str) -> Offered:
        """Raises `Refused(not_found)`."""
        until, found = self._known.get(code, (0.0, None))
        now = time.monotonic()
        if found is None or until < now:
            found = await self._read(code)
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[code] = (now + _TTL_S, found)
        return found

    async def _read(self, code: str) -> Offered:
        row = await self._database.row("offering_terms_by_code", code.upper())
        if row is None:
            raise Refused("not_found", "there is no such offering")
        terms = terms_of_offering(row)
        hours = terms.own_hours
        start = hours.span[0] if row["type"] == "party" else None  # type: ignore[union-attr] - a party's is one span
        return Offered(
            row["id"], row["business_id"], row["professional_id"], terms.guard != "none", terms.capacity, start
        )

    async def meant(self, code: str, body: bodies.BookingCreate | bodies.HoldCreate, business_id: str) -> Meant:
        """What is asked for by that code. Raises `Refused(not_found)` also for another business's."""
        offered = await self.named(code, business_id, body.professional_id, body.service_id)
        start = bounded_us("start", body.start) if body.start is not None else offered.start
        if start is None:
            raise invalid("start", "say which slot of the offering")
        return Meant(offered.professional_id, offered.id, start, offered)

    async def named(self, code: str, business_id: str, professional_id: str | None, service_id: str | None) -> Offered:
        """The business's offering of that code. Raises `Refused` also where what is named beside it is not its own."""
        offered = await self.of_code(code)
        if offered.business_id != business_id:
            raise Refused("not_found", "there is no such offering")
        for field, given, own in (
            ("professional_id", professional_id, offered.professional_id),
            ("service_id", service_id, offered.id),
        ):
            if given not in (None, own):
                raise invalid(field, "is not that of the offering; leave it out")
        return offered

    async def marks(
        self, offered: Offered | None, client_id: str | None, guest: Guest | None, device_token: str | None
    ) -> tuple[str, ...]:
        """By what the calendar knows people and devices again. Raises `Refused(identity_required)` for a device
        token that this server has not given out.
        """
        if offered is None or not offered.guarded:
            return ()
        found: list[str] = []
        if guest is not None:
            emails, phones = [guest.email_normal], [guest.phone_normal]
        elif client_id is not None:
            emails, phones = await records.contacts_of_client(self._database, offered.business_id, client_id)
            found.append(self._mark("e:", offered.id, client_id))
        else:
            emails, phones = [], []
        found += [self._mark("e:", offered.id, e) for e in emails if e]
        found += [self._mark("p:", offered.id, p) for p in phones if p]
        if device_token is not None:
            found.append(self._mark("d:", offered.id, await self._device(device_token)))
        return tuple(dict.fromkeys(found))

    def _mark(self, kind: str, offering_id: str, text: str) -> str:
        """Of this offering alone, so that nobody can be followed from one to another."""
        return kind + self._auth.derive(f"mark:{offering_id}:{kind}{text}".encode())[:12].hex()

    async def _device(self, token: str) -> str:
        hashed = hashlib.sha256(token.encode()).digest()
        if not is_device_token(self._auth, token) or not await verification.see_device(
            self._database, hashed, None, None, None
        ):
            raise Refused("identity_required", "the device token is not one that this server has given out")
        return hashed.hex()


def new_device_token(auth: Auth, name: str) -> str:
    """`name` has 32 letters or digits."""
    return base64.urlsafe_b64encode(name.encode() + auth.derive(b"device:" + name.encode())).decode().rstrip("=")


def is_device_token(auth: Auth, token: str) -> bool:
    """Whether this server has made it; the table is not asked about anything else."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) == _DEVICE_BYTES and hmac.compare_digest(raw[32:], auth.derive(b"device:" + raw[:32]))
