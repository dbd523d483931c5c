"""Verifying addresses, and telling devices apart. Without login, or with one."""

import hashlib
from typing import Any

from protocol import limits
from protocol import people as said
from protocol.errors import invalid
from protocol.ids import is_uuid, new_id
from server import identity
from server.edge import Call, Endpoint, Reply
from server.offered import is_device_token, new_device_token
from server.remote import remote_of
from storage import verification


async def send_code(call: Call[said.Verify, Any]) -> said.Verification:
    node, b = call.node, call.body
    if (b.email is None) == (b.phone is None):
        raise invalid("email", "give exactly one of email and phone")
    business = await node.sessions.business(b.business)
    if b.email is not None:
        kind, target = "email", identity.email(b.email)
    else:
        kind, target = "phone", identity.phone(b.phone or "", business.region if business else None)
    user_id = _user(call)
    await node.throttle.spend("target", target)
    code_id = await node.verification.begin("email" if kind == "email" else "phone", target, user_id)
    return said.Verification(verification_id=code_id, expires_in=limits.code_ttl_s)


async def confirm_code(call: Call[said.VerifyConfirm, Any]) -> said.Verified:
    proof = await call.node.verification.confirm(call.body.verification_id.lower(), call.body.code)
    return said.Verified(kind=proof.kind, proof_token=proof.token, expires_in=limits.proof_ttl_s)


def _user(call: Call[Any, Any]) -> str | None:
    """Who is signed in, if anybody."""
    if call.login is None:
        return None
    return call.login.subject if is_uuid(call.login.subject) and call.login.role != "service" else None


async def device_token(call: Call[said.DeviceTokenAsk, Any]) -> Reply:
    """A device that shows its token keeps it."""
    node, given, user_id, remote = call.node, call.body.device_token, _user(call), remote_of(call.request)
    if (
        given is not None
        and is_device_token(node.auth, given)
        and await verification.see_device(
            node.database, hashlib.sha256(given.encode()).digest(), user_id, remote.address, remote.user_agent
        )
    ):
        return Reply(said.DeviceToken(device_token=given), 200)
    device_id = new_id()
    token = new_device_token(node.auth, device_id.replace("-", ""))
    hashed = hashlib.sha256(token.encode()).digest()
    await verification.add_device(node.database, device_id, hashed, user_id, remote.address, remote.user_agent)
    return Reply(said.DeviceToken(device_token=token), 201)


def routes(node: Any) -> list[Endpoint]:
    a = "/api/v1/auth"
    return [
        Endpoint(node, "POST", a + "/verify", send_code, needs=None, guests=True, status=202, limit="codes",
                 summary="Send a code to an e-mail address or telephone number", answer=said.Verification,
                 body=said.Verify, area="auth"),
        Endpoint(node, "POST", a + "/verify/confirm", confirm_code, needs=None, limit="codes",
                 summary="Prove an address by its code", answer=said.Verified, body=said.VerifyConfirm, area="auth"),
        Endpoint(node, "POST", a + "/device-token", device_token, needs=None, guests=True, status=201,
                 limit="register", summary="A token that tells this device from others", answer=said.DeviceToken,
                 body=said.DeviceTokenAsk, area="auth"),
    ]  # fmt: skip
