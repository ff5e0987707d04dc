"""Addresses: which are of this machine alone, and which count as one client's."""

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

NETWORK_BITS = 64  # of an IPv6 address: a client that has one address of the network has them all


def on_loopback(host: str) -> bool:
    """True if only this machine can reach a server that listens on `host`."""
    try:
        # AI_PASSIVE resolves for a server: `*` is then every address; without it, loopback.
        listed = socket.getaddrinfo(host, 0, flags=socket.AI_PASSIVE)
        found = {ip_address(address[0]) for *_, address in listed}
    except (OSError, UnicodeError, ValueError):  # no server can listen there
        return True
    return all(map(_is_loopback, found))


def _is_loopback(address: IPv4Address | IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def network_of(address: str | None) -> str:
    """The key by which connections are counted together: an IPv4 address, or an IPv6 network."""
    if address is None or ":" not in address:
        return address or ""
    whole = IPv6Address(address.partition("%")[0])
    if whole.ipv4_mapped is not None:
        return str(whole.ipv4_mapped)
    return str(ipaddress.IPv6Network((whole, NETWORK_BITS), strict=False))
