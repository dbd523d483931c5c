"""Proving an address by a code, and what that proof is good for."""

import asyncio
import re
from typing import Any

import asyncpg
import pytest

from protocol import limits
from tests.rest.helpers import NOBODY, problem
from tests.rest.people import PASSWORD, new_user, signed_in
from tests.support.server import Api, RunningServer


async def code_for(server: RunningServer, to: str, nth: int = 1) -> str:
    """The newest code that went to that address, once there are so many; `--demo` prints what would be sent."""
    async with asyncio.timeout(10):
        while len(found := re.findall(rf"to {re.escape(to)}: Your code\D*(\d+)", server.logged())) < nth:
            await asyncio.sleep(0.02)
    return found[-1]


async def begun(api: Api, **to: Any) -> Any:
    answer = await api.post("auth/verify", to)
    assert answer.status == 202, answer
    return answer.json


async def confirmed(api: Api, verification: Any, code: str) -> Any:
    return await api.post("auth/verify/confirm", {"verification_id": verification["verification_id"], "code": code})


@pytest.fixture
async def user(db: asyncpg.Connection) -> dict[str, Any]:
    return await new_user(db)


@pytest.mark.parametrize("kind", ["email", "phone"])
async def test_a_user_proves_their_address(api: Api, user: dict[str, Any], kind: str) -> None:
    """Signed in, by the code that was sent there; another address then has to be proved again."""
    caller, _ = await signed_in(api, user)
    assert (await caller.get("users/me")).json[f"{kind}_verified"] is False
    verification = await begun(caller, **{kind: user[kind]})
    assert verification["expires_in"] == limits.code_ttl_s
    answer = await confirmed(api.with_token(None), verification, await code_for(api.server, user[kind]))
    assert (answer.status, answer.json["kind"]) == (200, kind), answer
    assert answer.headers["Cache-Control"] == "no-store"
    me = (await caller.get("users/me")).json
    assert (me["email_verified"], me["phone_verified"]) == (kind == "email", kind == "phone")
    new = {"email": f"new-{user['email']}", "phone": "+49 40 7654321"}[kind]
    changed = await caller.request("PATCH", "users/me", {kind: new, "current_password": PASSWORD})
    assert changed.json[f"{kind}_verified"] is False


async def test_the_answer_tells_nothing_of_who_has_an_account(api: Api, user: dict[str, Any]) -> None:
    """A code is sent either way, and the same is said."""
    anyone = api.with_token(None)
    for to in (user["email"], "nobody-at-all@example.org"):
        answer = await anyone.post("auth/verify", {"email": to})
        assert (answer.status, set(answer.json)) == (202, {"verification_id", "expires_in"})
        done = await confirmed(anyone, answer.json, await code_for(api.server, to))
        assert (done.status, set(done.json)) == (200, {"kind", "proof_token", "expires_in"})


async def test_who_registers_with_anothers_address_has_it_not_verified_by_them(
    api: Api, user: dict[str, Any], db: asyncpg.Connection
) -> None:
    """A code asked for without login, or by somebody else, proves nothing for the account that claims the address."""
    other, _ = await signed_in(api, await new_user(db))
    for nth, caller in enumerate((api.with_token(None), other), 1):
        verification = await begun(caller, email=user["email"])
        answer = await confirmed(caller, verification, await code_for(api.server, user["email"], nth))
        assert answer.status == 200
    caller, _ = await signed_in(api, user)
    assert (await caller.get("users/me")).json["email_verified"] is False


async def test_a_code_is_good_once(api: Api) -> None:
    anyone = api.with_token(None)
    verification = await begun(anyone, email="once@example.org")
    code = await code_for(api.server, "once@example.org")
    answers = await asyncio.gather(*(confirmed(anyone, verification, code) for _ in range(4)))
    assert sorted(a.status for a in answers) == [200, 422, 422, 422]
    problem(await confirmed(anyone, verification, code), "validation_failed", "code")


async def test_five_tries_and_no_more(api: Api) -> None:
    """Then the right one is refused too, as is any code for an id that never was; another code still works."""
    anyone = api.with_token(None)
    verification, other = await begun(anyone, email="t1@example.org"), await begun(anyone, email="t2@example.org")
    right = await code_for(api.server, "t1@example.org")
    wrong = f"{(int(right) + 1) % 10**6:06}"
    said = {problem(await confirmed(anyone, verification, wrong), "validation_failed")["detail"] for _ in range(5)}
    said.add(problem(await confirmed(anyone, verification, right), "validation_failed")["detail"])
    said.add(problem(await confirmed(anyone, {"verification_id": NOBODY}, right), "validation_failed")["detail"])
    assert len(said) == 1
    assert (await confirmed(anyone, other, await code_for(api.server, "t2@example.org"))).status == 200


async def test_a_code_of_one_verification_is_none_of_another(api: Api) -> None:
    anyone = api.with_token(None)
    one, two = await begun(anyone, email="o@example.org"), await begun(anyone, email="p@example.org")
    if (code := await code_for(api.server, "o@example.org")) != await code_for(api.server, "p@example.org"):
        problem(await confirmed(anyone, two, code), "validation_failed", "code")
    assert (await confirmed(anyone, one, code)).status == 200


async def test_an_old_code_is_none(api: Api, db: asyncpg.Connection) -> None:
    anyone = api.with_token(None)
    verification = await begun(anyone, email="late@example.org")
    await db.execute(
        "UPDATE verification_codes SET expires_at = now() - interval '1 second' WHERE id = $1",
        verification["verification_id"],
    )
    answer = await confirmed(anyone, verification, await code_for(api.server, "late@example.org"))
    problem(answer, "validation_failed", "code")


async def test_neither_code_nor_proof_lies_in_the_database(api: Api, db: asyncpg.Connection) -> None:
    """A million codes are hashed in a second, so the hash needs the server's secret."""
    verification = await begun(api.with_token(None), email="kept@example.org")
    code = await code_for(api.server, "kept@example.org")
    row = await db.fetchrow("SELECT * FROM verification_codes WHERE id = $1", verification["verification_id"])
    assert len(row["code_hash"]) == 32
    assert code not in {str(v) for v in row.values()}


async def test_a_proof_verifies_the_address_of_a_new_user(api: Api) -> None:
    """And only the address it is about."""
    anyone = api.with_token(None)
    proofs = []
    for to in ("first@example.org", "second@example.org"):
        verification = await begun(anyone, email=to)
        proofs.append((await confirmed(anyone, verification, await code_for(api.server, to))).json["proof_token"])
    for n, (proof, expected) in enumerate(zip(proofs, (True, False), strict=True)):
        body = {"name": "A", "password": PASSWORD, "email": ["first@example.org", "third@example.org"][n],
                "proof_token": proof}  # fmt: skip
        access = await anyone.made("auth/register", body)
        me = (await api.with_token(access["access_token"]).get("users/me")).json
        assert me["email_verified"] is expected
    for bad in ("garbage", proofs[0][:-2], access["access_token"]):
        body = {"name": "A", "password": PASSWORD, "email": "fourth@example.org", "proof_token": bad}
        problem(await anyone.post("auth/register", body), "validation_failed", "proof_token")
    # A proof is no login.
    problem(await api.with_token(proofs[0]).get("users/me"), "unauthorized")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": "a@example.org", "phone": "+49301234567"}, "email"),
        ({"email": "no address"}, "email"),
        ({"email": "a@example.org\r\nBcc: b@example.org"}, "email"),
        ({"phone": "call me"}, "phone"),
        ({"phone": "030 1234567"}, "phone"),
        ({"email": "a@example.org", "user_id": NOBODY}, "user_id"),
    ],
)
async def test_a_code_is_not_sent_to_what_is_no_address(api: Api, body: Any, field: str) -> None:
    problem(await api.with_token(None).post("auth/verify", body), "validation_failed", field)


@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "abcdef", "\uff11\uff12\uff13\uff14\uff15\uff16", "12345\n", 123456, None]
)
async def test_a_code_has_six_digits(api: Api, code: Any) -> None:
    body = {"verification_id": NOBODY, "code": code}
    problem(await api.with_token(None).post("auth/verify/confirm", body), "validation_failed", "code")


async def test_a_token_that_is_no_good_is_told(api: Api) -> None:
    """Rather than sending a code that would verify nothing."""
    problem(await api.with_token("garbage").post("auth/verify", {"email": "a@example.org"}), "unauthorized")


async def test_however_it_is_spelt_it_is_one_address(api: Api, user: dict[str, Any]) -> None:
    """In capitals, with spaces and brackets; the code goes to the one spelling."""
    caller, _ = await signed_in(api, user)
    await begun(caller, email=user["email"].upper())
    assert await code_for(api.server, user["email"])
    number = user["phone"]
    await begun(caller, phone=f"{number[:3]} ({number[3:5]}) {number[5:8]}-{number[8:]}")
    assert await code_for(api.server, number)


# Devices


async def test_a_device_keeps_its_token(api: Api, db: asyncpg.Connection, user: dict[str, Any]) -> None:
    """It is opaque, told once, kept as a hash, and the same device as long as it is shown."""
    anyone = api.with_token(None)
    first = await anyone.made("auth/device-token", {})
    token = first["device_token"]
    assert (await anyone.made("auth/device-token", {}))["device_token"] != token
    caller, _ = await signed_in(api, user)
    again = await caller.post("auth/device-token", {"device_token": token})
    assert (again.status, again.json["device_token"]) == (200, token)
    rows = await db.fetch("SELECT * FROM device_tokens WHERE user_id = $1", user["id"])
    assert len(rows) == 1
    assert all(token.encode() not in str(v).encode() for v in rows[0].values())
    for bad in ("garbage", token[:-2] + "AA", token + "A", "é" * 50, "A" * len(token)):
        fresh = await anyone.post("auth/device-token", {"device_token": bad})
        assert (fresh.status, fresh.json["device_token"] != bad) == (201, True)
    problem(await anyone.post("auth/device-token", {"device_token": "x" * 201}), "validation_failed", "device_token")
