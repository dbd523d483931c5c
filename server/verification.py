"""Proving that an address is one's own: a code goes there and comes back.

Who asks learns nothing of who has an account. A code marks an address as verified only for the user who was signed in
when asking: whoever registers with somebody else's address must not have it verified by its owner. Anybody gets a proof
for it, signed and short-lived.
"""

import hmac
import secrets
from typing import Final, NamedTuple

from jobs.messenger import Messenger
from protocol import limits
from protocol.errors import Refused, invalid
from protocol.ids import new_id
from server.auth import Auth
from storage import verification
from storage.postgres import Database, Transaction
from storage.verification import Kind

_PROOF: Final = "proof+jwt"
_DIGITS: Final = 6


class Proof(NamedTuple):
    kind: Kind
    target: str
    token: str


class Verification:
    def __init__(self, database: Database, auth: Auth, messenger: Messenger) -> None:
        self._database = database
        self._auth = auth
        self._messenger = messenger

    async def begin(self, kind: Kind, target: str, user_id: str | None) -> str:
        """Sends a code; the id under which it can be confirmed. `target` is in its one spelling."""
        code_id, code = new_id(), f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}}"
        hashed = self._hash(code_id, code)
        await verification.add_code(self._database, code_id, kind, target, hashed, user_id, limits.code_ttl_s)
        await self._messenger.send("verification_code", target, {"code": code})
        return code_id

    async def confirm(self, code_id: str, code: str) -> Proof:
        """Raises `Refused(validation_failed)`, the same for a wrong code, an old one and one that never was."""
        # In a transaction of its own: a wrong try stays counted.
        found = await verification.try_code(self._database, code_id, limits.code_tries_max)
        if found is None or not hmac.compare_digest(found.code_hash, self._hash(code_id, code)):
            raise invalid("code", "is not right, was used or has expired")
        async with self._database.transaction() as tx:
            if not await verification.use_code(tx, code_id):
                raise invalid("code", "is not right, was used or has expired")
            if found.user_id is not None:
                await verification.mark_verified(tx, found.user_id, found.kind, found.target)
        claims = {"kind": found.kind, "target": found.target}
        return Proof(found.kind, found.target, self._auth.sign_claims(_PROOF, claims, limits.proof_ttl_s))

    async def mark(self, tx: Transaction, user_id: str, proof_token: str) -> None:
        """Marks the address that the proof is about, if it is the user's. Raises `Refused(validation_failed)`."""
        try:
            claims = self._auth.verify_claims(_PROOF, proof_token)
        except Refused:
            raise invalid("proof_token", "is not good, or has expired") from None
        await verification.mark_verified(tx, user_id, claims["kind"], claims["target"])

    def _hash(self, code_id: str, code: str) -> bytes:
        # Under the server's secret: a million codes are tried in no time by whoever has the table alone.
        return self._auth.derive(f"code:{code_id}:{code}".encode())
