"""Addresses that businesses choose and this server sends to: which of them it may reach.

Names are judged by what they resolve to, and judged again when the connection is made (`http_poster.py`).
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from yarl import URL

from protocol.errors import invalid
from server.remote import Address, Network

URL_CHARS_MAX: Final = 2_000
_PORTS_OF_OTHERS: Final = frozenset({22, 23, 25, 53, 110, 143, 389, 445, 465, 587, 993, 995, 3306, 5432, 6379, 11211})
"""Services that might take a line of a request for a command of theirs."""

# Written out, because what `ipaddress` calls global differs between releases of Python.
_NOT_PUBLIC_4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        # A cloud answers its own machines there, and nobody else.
        "168.63.129.16/32",
    )
)  # fmt: skip
_PUBLIC_6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})


class Targets:
    """`insecure` allows `http:`; networks in `private` are reached although they are nobody else's business."""

    def __init__(self, *, insecure: bool = False, private: Sequence[Network] = ()) -> None:
        self._schemes = ("https", "http") if insecure else ("https",)
        self._private = tuple(private)

    def check(self, text: str, field: str = "url") -> URL:
        """Raises `Refused(validation_failed)` for what can be no target, whatever its name may resolve to."""
        if len(text) > URL_CHARS_MAX or any(c <= " " or c == "\x7f" for c in text):
            raise invalid(field, f"must be a URL of at most {URL_CHARS_MAX} characters, without spaces")
        try:
            url = URL(text)
            host, port = url.host, url.port
            url.raw_path_qs.encode("ascii")
        except (ValueError, UnicodeError):
            raise invalid(field, "is not a URL") from None
        if url.scheme not in self._schemes:
            raise invalid(field, f"must begin with {' or '.join(s + '://' for s in self._schemes)}")
        if not host:
            raise invalid(field, "names no host")
        if url.raw_user is not None or url.raw_password is not None:
            raise invalid(field, "must not hold a user or password")
        if not port or port in _PORTS_OF_OTHERS:
            raise invalid(field, "names a port that is not one of a web server")
        try:
            address = ip_address(host)
        except ValueError:
            return url
        if not self.may_reach(address):
            raise invalid(field, "is an address in a private network")
        return url

    def may_reach(self, address: Address) -> bool:
        if isinstance(address, IPv6Address) and address in _MAPPED:
            address = _last_32_bits(address)
        if any(address in network for network in self._private):
            return True
        return _is_public(address)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return _is_public(_last_32_bits(address))
    if address not in _PUBLIC_6 or any(address in network for network in _NOT_PUBLIC_6):
        return False
    # A tunnel leads to the address that stands in the last 32 bits.
    return (int(address) >> 32) & 0xFFFF_FFFF not in _ISATAP or _is_public(_last_32_bits(address))


def _last_32_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)
