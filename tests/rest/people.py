"""People for the REST tests: users, their memberships, and signing in."""

import uuid
from typing import Any

import asyncpg

from server.passwords import hash_password
from tests.support.server import Answer, Api

PASSWORD = "correct horse battery"
_HASH = hash_password(PASSWORD)


async def new_user(db: asyncpg.Connection, **columns: Any) -> dict[str, Any]:
    """A user of no business, known by e-mail, username and phone, with `PASSWORD`."""
    found = {
        "id": str(uuid.uuid4()), "email": f"{uuid.uuid4().hex}@example.org", "username": uuid.uuid4().hex,
        "phone": f"+4930{10**8 + uuid.uuid4().int % 10**8}", "name": "A user", "password_hash": _HASH, **columns,
    }  # fmt: skip
    names = ", ".join(found)
    places = ", ".join(f"${n}" for n in range(1, len(found) + 1))
    await db.execute(f"INSERT INTO users ({names}) VALUES ({places})", *found.values())
    return found


async def join(db: asyncpg.Connection, business_id: str, user: dict[str, Any], role: str, **columns: Any) -> str:
    """Makes the user a member; the membership's id."""
    row = {"id": str(uuid.uuid4()), "business_id": business_id, "user_id": user["id"], "role": role, **columns}
    places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    await db.execute(f"INSERT INTO memberships ({', '.join(row)}) VALUES ({places})", *row.values())
    return row["id"]


async def sign_in(api: Api, user: dict[str, Any], **more: Any) -> Answer:
    return await api.with_token(None).post("auth/login", {"email": user["email"], "password": PASSWORD, **more})


async def signed_in(api: Api, user: dict[str, Any], **more: Any) -> tuple[Api, Any]:
    """The API as that user has it, and what signing in answered."""
    answer = await sign_in(api, user, **more)
    assert answer.status == 200, answer
    return api.with_token(answer.json["access_token"]), answer.json


async def refreshed(api: Api, refresh_token: str) -> Answer:
    return await api.with_token(None).post("auth/refresh", {"refresh_token": refresh_token})


async def member(api: Api, db: asyncpg.Connection, business_id: str, role: str, **columns: Any) -> tuple[Api, str, str]:
    """The API as a new member of the business has it, with the ids of the user and of the membership."""
    user = await new_user(db)
    membership = await join(db, business_id, user, role, **columns)
    return (await signed_in(api, user, business=business_id))[0], user["id"], membership


async def super_admin(api: Api, db: asyncpg.Connection) -> Api:
    return (await signed_in(api, await new_user(db, super_admin=True)))[0]


async def audited(api: Api, **query: Any) -> list[Any]:
    """The newest entries of the audit log."""
    answer = await api.get("audit", **query)
    assert answer.status == 200, answer
    return answer.json["items"]
