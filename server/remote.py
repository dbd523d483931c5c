"""Where a request comes from, and under which name and scheme it was sent.

`X-Forwarded-…` count only where a proxy of ours has written them: the connection comes from a trusted network, and of
the hops on record the right-most that is no proxy of ours is the caller. Everything left of it is the caller's word.
"""

import logging
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

import msgspec
from aiohttp import web

log = logging.getLogger("slotcast.remote")

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

PROXIES: Final = web.RequestKey("trusted proxies", tuple[Network, ...])
"""The key under which a request knows the trusted networks; absent where there are none."""

_USER_AGENT_CHARS_MAX: Final = 200
_HOPS_MAX: Final = 20
_IPV6_NETWORK_BITS: Final = 64
_said: set[str] = set()


class Remote(msgspec.Struct, frozen=True):
    address: str | None
    user_agent: str | None


def networks(text: str) -> tuple[Network, ...]:
    """Networks and addresses, by commas. Raises `ValueError`."""
    return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


def remote_of(request: web.BaseRequest) -> Remote:
    """The caller's address, and what it calls itself: text that any database takes."""
    agent = request.headers.get("User-Agent")
    if agent is not None:
        agent = agent[:_USER_AGENT_CHARS_MAX].encode(errors="replace").decode()
    return Remote(address_of(request), agent)


def address_of(request: web.BaseRequest) -> str | None:
    proxies = request.get(PROXIES)
    if proxies is None:
        if request.remote is not None and "X-Forwarded-For" in request.headers:
            _say_once()
        return request.remote
    return _caller(request, proxies)[0]


def network_of(request: web.BaseRequest) -> str:
    """What requests of one caller without login are counted by: the address, or the network that one host has in
    IPv6.
    """
    address = address_of(request)
    found = _parsed(address) if address is not None else None
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, _IPV6_NETWORK_BITS), strict=False))
    return address or ""


def host_of(request: web.BaseRequest) -> str:
    """The host that was asked for, with its port."""
    return _forwarded(request, "X-Forwarded-Host") or request.host


def scheme_of(request: web.BaseRequest) -> str:
    """`http` or `https`."""
    scheme = _forwarded(request, "X-Forwarded-Proto")
    return scheme.lower() if scheme is not None and scheme.lower() in ("http", "https") else request.scheme


def _forwarded(request: web.BaseRequest, header: str) -> str | None:
    """What the proxy nearest to the caller wrote, as far as proxies add to the header and do not replace it."""
    proxies = request.get(PROXIES)
    if proxies is None:
        return None
    values = _values(request, header)
    if not values:
        return None
    hops = _caller(request, proxies)[1]
    return values[-min(hops, len(values))] if hops else None


def _caller(request: web.BaseRequest, proxies: Sequence[Network]) -> tuple[str | None, int]:
    """The caller's address, and how many proxies of ours the request came through."""
    last = request.remote
    address = _parsed(last) if last is not None else None
    hops = 0
    for value in reversed(_values(request, "X-Forwarded-For")[-_HOPS_MAX:]):
        if address is None or not any(address in network for network in proxies):
            break
        hops += 1
        before = _parsed(value)
        if before is None:
            break
        last, address = str(before), before
    else:
        # A proxy that says nothing of addresses may still tell host and scheme.
        hops = hops or int(address is not None and any(address in network for network in proxies))
    return last, hops


def _values(request: web.BaseRequest, header: str) -> list[str]:
    lines = request.headers.getall(header, ())
    return [value.strip() for line in lines for value in line.split(",") if value.strip()]


def _parsed(text: str) -> Address | None:
    """An address with or without port; IPv4 written as IPv6 is IPv4."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _say_once() -> None:
    """Behind a proxy that is not trusted everybody has its address, and one caller uses up the quota of all."""
    if not _said:
        _said.add("untrusted")
        log.warning("X-Forwarded-For was sent and is not believed; behind a proxy, set SLOTCAST_TRUSTED_PROXIES")
