"""Identifiers that follow from what they name, so that deciding stays pure and every node says the same."""

import hashlib


def session_id(calendar_id: str, service_id: str, start_us: int, version: int) -> str:
    """The id of a shared session: a UUIDv8 (RFC 9562, section 5.8)."""
    return _uuid(f"{calendar_id}{service_id}{start_us}.{version}")


def view_id(*parts: object) -> str:
    """The public name of a view."""
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=9).hexdigest()


def id_at(us: int, *parts: object) -> str:
    """A UUIDv7 of that instant."""
    h = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=10).hexdigest()
    ms = f"{us // 1000:012x}"
    return f"{ms[:8]}-{ms[8:]}-7{h[:3]}-{'89ab'[int(h[3], 16) & 3]}{h[4:7]}-{h[7:19]}"


def event_id(*parts: object) -> str:
    """What receivers know an event by, however often it reaches them: a UUIDv8 as well."""
    return _uuid("\0".join(map(str, ("event", *parts))))


def _uuid(text: str) -> str:
    h = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{h[:8]}-{h[8:12]}-8{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"
