"""Access tokens signed with key pairs: what is published, how keys change, and what tricks do not work."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from server import keys
from server.auth import Auth
from server.keyring import AUDIENCE, ISSUER, TYPE, KeyRing
from server.keys import KeyFiles, read_keys
from server.principal import Principal
from tests.conftest import business_of
from tests.rest.helpers import NOBODY, problem
from tests.support.server import SECRET, Api, RunningServer, token_for


def private_pem(key: Any) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()
ED_NEXT = ed25519.Ed25519PrivateKey.generate()


def kid_of(key: Any) -> str:
    return keys.thumbprint(key.public_key())


def token(key: Any, algorithm: str, kid: Any, **claims: Any) -> str:
    """A token as the server would issue it; a claim that is `None` is left out."""
    now = int(time.time())
    whole = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "forged", "jti": "forged", "iat": now, "exp": now + 600,
        "business": NOBODY, "role": "owner", **claims,
    }  # fmt: skip
    headers = {"typ": TYPE, "kid": kid, **claims.pop("headers", {})}
    whole.pop("headers", None)
    return jwt.encode({k: v for k, v in whole.items() if v is not None}, key, algorithm, headers=headers)


def by_hand(header: dict[str, Any], payload: dict[str, Any], secret: bytes) -> str:
    """A token with an HMAC that no library would make with such a key."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    signed = f"{part(json.dumps(header).encode())}.{part(json.dumps(payload).encode())}"
    return f"{signed}.{part(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Keys by date: an RSA key of before, of which the private half is gone, and an Ed25519 key that signs."""
    found = tmp_path / "keys"
    found.mkdir()
    (found / "2026-10.pem").write_bytes(public_pem(RSA))
    (found / "2026-11.pem").write_bytes(private_pem(ED))
    return found


@pytest.fixture
async def keyed(fresh_server: RunningServer, http: aiohttp.ClientSession, directory: Path) -> Api:
    """A server that signs with key pairs; without login."""
    fresh_server.environment["SLOTCAST_JWT_KEYS"] = str(directory)
    fresh_server.start()
    return Api(fresh_server, http, None)


async def test_without_key_pairs_nothing_is_published(api: Api) -> None:
    answer = await api.with_token(None).get("/.well-known/jwks.json")
    assert (answer.status, answer.json) == (200, {"keys": []})


async def test_others_can_verify_what_the_server_signs(keyed: Api) -> None:
    """With the published keys alone, found by `kid`; private parts are not among them."""
    published = (await keyed.get("/.well-known/jwks.json")).json["keys"]
    assert [k["alg"] for k in published] == ["EdDSA", "RS256"]
    assert not any(k.keys() & {"d", "p", "q", "dp", "dq", "qi", "k"} for k in published)
    password = (keyed.server.directory / "demo-password").read_text().strip()
    access = (await keyed.post("auth/login", {"email": "owner@demo.example", "password": password})).json
    issued = access["access_token"]
    header = jwt.get_unverified_header(issued)
    assert (header["alg"], header["typ"], header["kid"]) == ("EdDSA", TYPE, kid_of(ED))
    key = next(jwt.PyJWK(k) for k in published if k["kid"] == header["kid"])
    claims = jwt.decode(issued, key.key, ["EdDSA"], audience=AUDIENCE, issuer=ISSUER)
    assert claims["role"] == "owner"
    assert (await keyed.with_token(issued).get("clients")).status == 200
    # A key that only verifies is as good, for tokens of before.
    business = await business_of(keyed.server.dsn)
    assert (await keyed.with_token(token(RSA, "RS256", kid_of(RSA), business=business)).get("clients")).status == 200


async def test_no_trick_makes_a_token(keyed: Api) -> None:
    """Neither with a public key as a secret, nor with another algorithm, nor by a `kid` that points elsewhere."""
    business = await business_of(keyed.server.dsn)
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "jti": "x", "iat": now, "exp": now + 600, "role": "owner",
              "business": business}  # fmt: skip
    ed, rsa_kid = kid_of(ED), kid_of(RSA)
    jwk = next(k for k in (await keyed.get("/.well-known/jwks.json")).json["keys"] if k["kid"] == rsa_kid)
    raw = ED.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    stranger = ed25519.Ed25519PrivateKey.generate()
    head = {"alg": "HS256", "typ": TYPE}
    tricks = {
        "RSA public PEM as secret": by_hand(head | {"kid": rsa_kid}, claims, public_pem(RSA)),
        "RSA public PEM without newline": by_hand(head | {"kid": rsa_kid}, claims, public_pem(RSA).strip()),
        "JWK as secret": by_hand(head | {"kid": rsa_kid}, claims, json.dumps(jwk).encode()),
        "Ed25519 public bytes as secret": by_hand(head | {"kid": ed}, claims, raw),
        "the server's secret": token_for(business),
        "the server's secret under a key's name": by_hand(head | {"kid": ed}, claims, SECRET.encode()),
        "empty secret": by_hand(head | {"kid": ed}, claims, b""),
        "none": by_hand({"alg": "none", "typ": TYPE, "kid": ed}, claims, b"").rsplit(".", 1)[0] + ".",
        "None": by_hand({"alg": "None", "typ": TYPE, "kid": ed}, claims, b"").rsplit(".", 1)[0] + ".",
        "RS256 under the other key's name": token(RSA, "RS256", ed, business=business),
        "EdDSA under the other key's name": token(ED, "EdDSA", rsa_kid, business=business),
        "PS256": token(RSA, "PS256", rsa_kid, business=business),
        "RS512": token(RSA, "RS512", rsa_kid, business=business),
        "a stranger's key": token(stranger, "EdDSA", ed, business=business),
        "a key in the header": token(
            stranger, "EdDSA", kid_of(stranger), business=business,
            headers={"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, "jku": "http://evil.example/k", "x5u": "x"},
        ),
        "no kid": by_hand({"alg": "EdDSA", "typ": TYPE}, claims, raw),
    }  # fmt: skip
    for kid in ("../../../dev/null", "/proc/self/environ", "' OR 1=1 --", "", " ", "\x00", "HS256", "x" * 2000):
        tricks[f"kid {kid[:20]!r}"] = by_hand(head | {"kid": kid}, claims, b"")
    for kid in ([ed], {"a": ed}, 7, None, True, 1e999):
        tricks[f"kid {kid!r}"] = by_hand(head | {"kid": kid}, claims, b"")
    for name, trick in tricks.items():
        answer = await keyed.with_token(trick).get("clients")
        assert answer.status == 401, name
        assert len(problem(answer, "unauthorized")["detail"]) < 100
    assert (await keyed.with_token(token(ED, "EdDSA", ed, business=business)).get("clients")).status == 200


BAD_CLAIMS: list[dict[str, Any]] = [
    {"iss": None}, {"iss": "somebody"}, {"aud": None}, {"aud": "another"}, {"exp": None}, {"exp": 1}, {"exp": "soon"},
    {"exp": {"a": 1}}, {"nbf": 99999999999}, {"iat": None}, {"iat": 99999999999}, {"jti": None}, {"sub": None},
    {"sub": 7}, {"role": None}, {"role": "root"}, {"role": "public"}, {"business": None}, {"business": ["x"]},
    {"business": "x" * 200}, {"scope": ["clients.read"]}, {"locations": "all"}, {"grants": "tokens.manage"},
    {"headers": {"typ": "JWT"}}, {"headers": {"typ": None}}, {"headers": {"typ": "ticket+jwt"}},
    {"headers": {"crit": ["b64"], "b64": False}}, {"pad": "x" * 3_500},
]  # fmt: skip


async def test_a_claim_that_is_missing_or_wrong_makes_no_login(keyed: Api) -> None:
    """However well the token is signed."""
    business = await business_of(keyed.server.dsn)
    for claims in BAD_CLAIMS:
        forged = token(ED, "EdDSA", kid_of(ED), **{"business": business, **claims})
        answer = await keyed.with_token(forged).get("clients")
        assert answer.status == 401, claims
        problem(answer, "unauthorized")


def test_another_servers_token_is_none() -> None:
    """Each has keys of its own."""
    one, two = Auth(SECRET, KeyRing(read_keys_of(ED))), Auth(SECRET, KeyRing(read_keys_of(ED_NEXT)))
    issued = one.issue(Principal("x", NOBODY, "owner", time.time() + 60))
    assert one.verify(issued).subject == "x"
    with pytest.raises(Exception, match="unauthorized"):
        two.verify(issued)


def read_keys_of(key: Any) -> Any:
    return [keys.Key(kid_of(key), "EdDSA", key.public_key(), key)]


# Changing keys while the server runs


async def test_a_new_key_verifies_at_once_and_signs_two_looks_later(directory: Path) -> None:
    """So that every node knows it before it meets a token of it; a key that is gone is good no more."""
    auth = Auth(SECRET, KeyRing(read_keys(str(directory))))
    files = KeyFiles(str(directory), auth)
    person = Principal("x", NOBODY, "owner", time.time() + 60)
    old = auth.issue(person)
    (directory / "2026-12.pem").write_bytes(private_pem(ED_NEXT))
    for _ in range(2):
        await files.look()
        assert signer(auth.issue(person)) == kid_of(ED)
        assert auth.verify(token(ED_NEXT, "EdDSA", kid_of(ED_NEXT))).role == "owner"
    await files.look()
    fresh = auth.issue(person)
    assert signer(fresh) == kid_of(ED_NEXT)
    assert auth.verify(old).subject == auth.verify(fresh).subject == "x"
    assert auth.verify(token(RSA, "RS256", kid_of(RSA))).role == "owner"
    (directory / "2026-11.pem").unlink()
    await files.look()
    assert auth.verify(fresh).subject == "x"
    with pytest.raises(Exception, match="unauthorized"):
        # It was remembered as good; now it is not.
        auth.verify(old)


async def test_files_that_are_wrong_change_nothing(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake while changing keys signs nobody out."""
    auth = Auth(SECRET, KeyRing(read_keys(str(directory))))
    files = KeyFiles(str(directory), auth)
    issued = auth.issue(Principal("x", NOBODY, "owner", time.time() + 60))
    (directory / "2026-12.pem").write_text("half a ke")
    await files.look()
    assert "stay as they are" in caplog.text
    (directory / "2026-12.pem").unlink()
    (directory / "2026-11.pem").rename(directory / "elsewhere")
    await files.look()
    assert auth.verify(issued).subject == "x"


def signer(issued: str) -> str:
    return jwt.get_unverified_header(issued)["kid"]


def test_of_listed_files_the_first_private_key_signs(tmp_path: Path) -> None:
    one, two, three = tmp_path / "a.pem", tmp_path / "b.pem", tmp_path / "c.pem"
    one.write_bytes(public_pem(ED))
    two.write_bytes(private_pem(RSA))
    three.write_bytes(private_pem(ED_NEXT))
    assert [k.id for k in read_keys(f"{one}, {two},{three}")] == [kid_of(k) for k in (RSA, ED_NEXT, ED)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no key"),
        (private_pem(ec.generate_private_key(ec.SECP256R1())), "only Ed25519 and RSA"),
        (private_pem(rsa.generate_private_key(65537, 1024)), "2048 bits"),
        (public_pem(ED), "no private key"),
        (b"x" * 40_000, "is no key"),
    ],
)
def test_a_file_that_cannot_sign_is_an_error(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(ValueError, match=says):
        read_keys(str(tmp_path))
    with pytest.raises(ValueError, match=says):
        read_keys(str(tmp_path / "key.pem"))


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no private key"):
        read_keys(str(tmp_path))
