"""Passwords and keys, by themselves."""

import asyncio
import threading
import unicodedata
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocol import limits
from protocol.errors import Refused
from server import identity, passwords
from server.keyring import AUDIENCE, ISSUER, TYPE, Key, KeyRing
from server.passwords import Passwords, hash_password


async def test_nobodys_password_is_checked_as_long_as_anybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a hash there is one to check all the same, and the answer is no even for its own password."""
    found = Passwords()
    checked = []
    monkeypatch.setattr(passwords, "_matches", lambda h, p: checked.append(h) or True)
    assert await found.matches(None, "nobody has this password") is False
    assert len(checked) == 1
    assert checked[0].startswith("$argon2id$")
    found.close()


async def test_hashing_is_bounded_and_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most two threads hash; as many as may wait do, the next is told when to come again, and the loop goes on."""
    found, release, at_once, most = Passwords(), threading.Event(), 0, 0
    lock = threading.Lock()

    def slowly(_hash: str, _password: str) -> bool:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        release.wait(30)
        with lock:
            at_once -= 1
        return True

    monkeypatch.setattr(passwords, "_matches", slowly)
    waiting = [asyncio.create_task(found.matches("x", "y")) for _ in range(limits.passwords_waiting_max)]
    await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        await found.matches("x", "y")
    assert (refused.value.code, refused.value.retry_after_s) == ("overloaded", limits.passwords_retry_after_s)
    release.set()
    assert all(await asyncio.gather(*waiting))
    assert most <= 2
    assert await found.matches("x", "y")
    found.close()


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not been hashed in time is refused, and what waited is not hashed for nobody."""
    found, release = Passwords(), threading.Event()
    begun = []
    monkeypatch.setattr(passwords, "_matches", lambda h, p: begun.append(p) or release.wait(30))
    monkeypatch.setattr(limits, "passwords_wait_s", 0.05)
    waiting = [asyncio.create_task(found.matches("x", str(n))) for n in range(10)]
    refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert {r.code for r in refused if isinstance(r, Refused)} == {"overloaded"}
    assert len(refused) == 10
    release.set()
    monkeypatch.setattr(limits, "passwords_wait_s", 30)
    assert await found.matches("x", "last")
    assert len(begun) <= 3, "two threads at most had begun, and the last one"
    found.close()


def test_one_password_however_it_was_composed() -> None:
    """Keyboards write the same letters in different ways."""
    stored = hash_password(unicodedata.normalize("NFD", "Grüße aus Zürich"))
    assert passwords._matches(stored, unicodedata.normalize("NFC", "Grüße aus Zürich"))
    assert not passwords._matches(stored, "Grusse aus Zurich")
    assert not passwords._matches(stored, "\ud800")
    assert not passwords._matches("no hash", "x")
    with pytest.raises(Refused):
        hash_password("\ud800" * 8)


# Keys


def ed25519(name: str) -> Key:
    private = Ed25519PrivateKey.generate()
    return Key(name, "EdDSA", private.public_key(), private)


CLAIMS = {"sub": "somebody", "jti": "1", "exp": 4_000_000_000, "role": "owner"}


def test_a_ring_signs_with_its_first_key_and_verifies_with_all() -> None:
    """So keys can be changed without anybody's token becoming bad."""
    old, new = ed25519("old"), ed25519("new")
    before = KeyRing([old]).sign(CLAIMS)
    ring = KeyRing([new, Key(old.id, old.algorithm, old.verifies)])
    assert ring.verify(before)["sub"] == "somebody"
    assert jwt.get_unverified_header(ring.sign(CLAIMS))["kid"] == "new"
    with pytest.raises(Refused):
        KeyRing([new]).verify(before)


def test_a_key_is_good_for_its_own_algorithm_only() -> None:
    """The public key is no secret: a token signed with it as if it were one is refused, under every header."""
    key, shared = ed25519("pair"), KeyRing.of_secret("x" * 40)
    ring = KeyRing([key, *shared._keys.values()])
    public = key.verifies.public_bytes(Encoding.Raw, PublicFormat.Raw)
    whole = {**CLAIMS, "iss": ISSUER, "aud": AUDIENCE, "iat": 1}
    ids: list[Any] = ["pair", *shared._keys, "other", "", None, 7, ["pair"], {"a": 1}, "../pair"]
    for kid in ids:
        for algorithm in ("HS256", "none"):
            header: dict[str, Any] = {"typ": TYPE, "kid": kid} if kid is not None else {"typ": TYPE}
            try:
                token = jwt.encode(whole, public if algorithm != "none" else None, algorithm, headers=header)
            except (TypeError, jwt.PyJWTError):
                # The library itself refuses to write such a header.
                continue
            with pytest.raises(Refused):
                ring.verify(token)
    assert ring.verify(ring.sign(CLAIMS))
    assert ring.verify(shared.sign(CLAIMS))


# Spellings


@pytest.mark.parametrize(
    ("text", "region", "found"),
    [
        ("+49 (0)30 1234567", None, "+49301234567"),
        ("030 1234567", "DE", "+49301234567"),
        ("0049-30-1234567", "DE", "+49301234567"),
        ("8 701 123 45 67", "KZ", "+77011234567"),
        ("+7 (701) 123-45-67", "DE", "+77011234567"),
        ("(202) 555-0100", "US", "+12025550100"),
    ],
)
def test_a_number_has_one_spelling(text: str, region: str | None, found: str) -> None:
    assert identity.phone(text, region) == found
    assert identity.phone(found) == found


@pytest.mark.parametrize(
    "text", ["A@Example.ORG", "a@bücher.example", "Δ@example.org", "a+b.c@x-y.example", "ß@example.org"]
)
def test_an_address_has_one_spelling(text: str) -> None:
    """Spelling it again changes nothing."""
    once = identity.email(text)
    assert identity.email(once) == once == once.lower()
    assert once.rpartition("@")[2].isascii()
