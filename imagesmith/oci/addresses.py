"""Where a secret may go, and where a redirect may lead: by scheme, and by what a host name stands for.

Why: a registry tells its client where tokens are had and where blobs lie. One that is hostile names the
client's own network: a metadata service, a printer, a registry behind the firewall. Names are not looked up:
behind a proxy that is not ours to do, and a name of a private network is for its owner to give.
Trust: host names come from answers, in any spelling that a resolver takes for an address.
"""

from __future__ import annotations

import ipaddress
import socket
import urllib.parse

__all__ = ["is_private", "same_trust"]


def is_private(host: str) -> bool:
    """True if a host is an address of this machine or of a private network, however it is written.

    `localhost` and all below it, IPv4 as inet_aton(3) reads it (`127.1`, `0x7f000001`, `2130706433`), IPv6,
    and IPv4 inside IPv6.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name in ("localhost", "localhost.localdomain", "ip6-localhost") or name.endswith(".localhost"):
        return True
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(name))
        except (OSError, UnicodeEncodeError):
            return False
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inside is None and address in _TRANSLATED:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            address = inside
    return not address.is_global or address.is_multicast


#: IPv4 as it is reached through NAT64.
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


def same_trust(base: str, target: str) -> bool:
    """True if an answer of `base` may lead to `target`: neither out of https nor into a private network."""
    home, there = urllib.parse.urlsplit(base), urllib.parse.urlsplit(target)
    if there.scheme not in ("https", "http") or (home.scheme == "https" and there.scheme != "https"):
        return False
    if not there.hostname or there.hostname == home.hostname:
        return bool(there.hostname)
    return is_private(home.hostname or "") or not is_private(there.hostname)
