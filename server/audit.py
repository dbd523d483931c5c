"""The audit log: who did what as an administrator, from where; written with the act itself or not at all. What a
calendar decides is in its journal first, and told here right after.
"""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.ports import Outcome
from protocol.derived_ids import id_at
from protocol.ids import new_id
from server.remote import Remote, remote_of
from storage.people import Queries
from storage.records import AuditRow, add_audit

if TYPE_CHECKING:
    from server.desk import Asker
    from server.edge import Call

_NEVER: Final = ("password", "secret", "token", "hash", "seed", "code")
"""Parts of names of fields that no log may hold."""
_DULL: Final = frozenset({"updated_at"})
_encode: Final = msgspec.json.Encoder().encode


async def record(
    call: "Call[Any, Any]",
    action: str,
    what: str,
    what_id: str | None,
    *,
    before: Any = None,
    after: Any = None,
    business_id: str | None = None,
    by: str | None = None,
    tx: Queries | None = None,
) -> None:
    """As part of the call's transaction, or of `tx`. `before` and `after` are structs or dicts: with both, only what
    differs is kept.

    `business_id` is the caller's own unless given.
    """
    old, new = _plain(before), _plain(after)
    if old is not None and new is not None:
        changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        old, new = ({n: side[n] for n in changed if n in side} for side in (old, new))
    remote = remote_of(call.request)
    row = AuditRow(
        id=new_id(),
        business_id=(call.business_id if business_id is None else business_id) or None,
        by=by or call.principal.label,
        action=action,
        what=what,
        what_id=what_id,
        before=_json(old),
        after=_json(new),
        address=remote.address,
        user_agent=remote.user_agent,
        request_id=call.request_id,
    )
    await add_audit(call.tx if tx is None else tx, row)


async def tell(
    database: Queries, asker: "Asker", action: str, what: str, what_id: str, after: Any, outcome: Outcome
) -> None:
    """What a calendar has decided and written already; told again of the same outcome, it stands there once."""
    remote = remote_of(asker.request) if asker.request is not None else Remote(None, None)
    row = AuditRow(
        id=id_at(outcome.at, action, what_id, outcome.version),
        business_id=asker.principal.business_id,
        by=asker.principal.label,
        action=action,
        what=what,
        what_id=what_id,
        before=None,
        after=_json(_plain(after)),
        address=remote.address,
        user_agent=remote.user_agent,
        request_id=asker.request_id,
    )
    await add_audit(database, row)


def masked(contact: str | None) -> str | None:
    """An e-mail or telephone number so that it is known again by whoever knows it, and by nobody else."""
    if contact is None:
        return None
    name, at, domain = contact.partition("@")
    return f"{name[:1]}…@{domain}" if at else f"{contact[:3]}…{contact[-2:]}"


def _plain(side: Any) -> dict[str, Any] | None:
    if side is None:
        return None
    fields: dict[str, Any] = side if isinstance(side, dict) else msgspec.structs.asdict(side)
    return {n: v for n, v in fields.items() if n not in _DULL and not any(part in n.lower() for part in _NEVER)}


def _json(side: dict[str, Any] | None) -> str | None:
    return _encode(side).decode() if side is not None else None
