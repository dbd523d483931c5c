"""Verifying addresses, and telling devices apart. Without login, or with one."""

import base64
import binascii
import hashlib
import hmac
from typing import Any, Final

from protocol import limits
from protocol import people as said
from protocol.errors import invalid
from protocol.ids import is_uuid, new_id
from server import identity
from server.auth import Auth
from server.edge import Call, Endpoint, Reply
from server.remote import remote_of
from storage import verification

_DEVICE_BYTES: Final = 32 + 32


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
        and _is_ours(node.auth, given)
        and await verification.see_device(
            node.database, hashlib.sha256(given.encode()).digest(), user_id, remote.address, remote.user_agent
        )
    ):
        return Reply(said.DeviceToken(device_token=given), 200)
    device_id = new_id()
    token = _device_token(node.auth, device_id.replace("-", ""))
    hashed = hashlib.sha256(token.encode()).digest()
    await verification.add_device(node.database, device_id, hashed, user_id, remote.address, remote.user_agent)
    return Reply(said.DeviceToken(device_token=token), 201)


def _device_token(auth: Auth, name: str) -> str:
    return base64.urlsafe_b64encode(name.encode() + auth.derive(b"device:" + name.encode())).decode().rstrip("=")


def _is_ours(auth: Auth, token: str) -> bool:
    """Whether this server has made it; the table is not asked about anything else."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) == _DEVICE_BYTES and hmac.compare_digest(raw[32:], auth.derive(b"device:" + raw[:32]))


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
