"""Idempotency keys of writes outside calendars: kept in the same transaction as the write."""

import msgspec
import orjson

from actors.ports import IdempotencyKey
from protocol.errors import Refused
from storage.postgres import Transaction


class StoredReply(msgspec.Struct):
    status: int
    body: bytes
    headers: dict[str, str]


class Keys:
    async def claim(self, tx: Transaction, key: IdempotencyKey, business_id: str | None) -> StoredReply | None:
        """`None` for the first request with this key; the stored reply for the same one again.

        Raises `Refused(idempotency_mismatch)` for another request under the same key.
        """
        if await tx.value("claim_key", key.scope, key.key, business_id, key.fingerprint):
            return None
        row = await tx.row("stored_reply", key.scope, key.key)
        if row is None or row["status"] is None or row["fingerprint"] != key.fingerprint:
            raise Refused("idempotency_mismatch")
        return StoredReply(row["status"], row["body"], orjson.loads(row["headers"]))

    async def keep(
        self, tx: Transaction, key: IdempotencyKey, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        await tx.value("keep_reply", key.scope, key.key, status, body, orjson.dumps(headers).decode())
