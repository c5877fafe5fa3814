"""Addresses: where a node can be dialled, as people write them and as the protocol carries them."""

from dataclasses import dataclass
from ipaddress import IPv6Address

from faramesh_mesh.records.status import MAX_ADDRESS

DEFAULT_PORT = 7420
"""The one port of a node: gossip, enrolment and control share it and are told apart by ALPN."""


MAX_LABEL = 63
"""Characters between two dots of a name (RFC 1035): a resolver does not even ask for others."""


class AddressError(ValueError):
    """The text is not an address. The message says what was expected."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host (name, IPv4 or IPv6 without brackets) and a TCP port. `str()` is the form that the protocol carries."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """Read `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address. Raises `AddressError`.

    Port 0 is accepted: for a listener it means any free port. Nothing is resolved.
    """
    trimmed = text.strip()
    if not trimmed or len(trimmed.encode()) > MAX_ADDRESS:
        raise AddressError(f"an address has 1 to {MAX_ADDRESS} bytes, for example m1:{DEFAULT_PORT}")
    if trimmed.startswith("["):
        host, closed, rest = trimmed[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise AddressError(f"{text!r}: write an IPv6 address as [2001:db8::1]:{DEFAULT_PORT}")
        return Address(_v6(host, text), _port(rest[1:], text) if rest else default_port)
    if trimmed.count(":") > 1:
        return Address(_v6(trimmed, text), default_port)
    host, colon, port = trimmed.partition(":")
    if not host or not host.isprintable() or any(mark in host for mark in " /@[]"):
        raise AddressError(f"{text!r}: expected host:port, for example m1:{DEFAULT_PORT}")
    if not all(0 < len(label) <= MAX_LABEL for label in host.removesuffix(".").split(".")):
        raise AddressError(f"{text!r}: expected 1 to {MAX_LABEL} characters between the dots of a name")
    return Address(host.lower(), _port(port, text) if colon else default_port)


def _v6(host: str, text: str) -> str:
    address, mark, zone = host.partition("%")
    try:
        canonical = IPv6Address(address).compressed
    except ValueError:
        raise AddressError(f"{text!r}: not an IPv6 address") from None
    return canonical + mark + zone


def _port(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 5 or int(digits) > 65_535:
        raise AddressError(f"{text!r}: the port is a number from 0 to 65535")
    return int(digits)
