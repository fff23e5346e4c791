"""A URL as a request needs it: whom to connect to, and what to ask there.

Why two ways: addresses of registries are plain, and are read here; all others (names beyond ASCII, users and
passwords, characters to quote, dots to resolve) are read by httpx, which then is worth its import.
Trust: redirects and Location give addresses; nothing with blanks or line ends gets into a request.
"""

from __future__ import annotations

import re

from imagesmith.registry.answers import InvalidURL
from imagesmith.values import frozen

__all__ = ["Address", "address_of"]

_PLAIN = re.compile(
    r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([1-9]\d{0,4}))?"
    r"(/[A-Za-z0-9_.~!$&()*+,;=:@/%-]*(?:\?[A-Za-z0-9_.~!$&()*+,;=:@/%?-]*)?)"
)
_PORTS = {"http": 80, "https": 443}
_MOST_PORT = 65535


@frozen
class Address:
    """Where and what: `netloc` is for the Host header, `login` for Authorization, if the URL has one."""

    https: bool
    host: str
    port: int
    netloc: str
    target: str
    login: str = ""


def address_of(url: str) -> Address:
    """Read a URL.

    Raises:
        InvalidURL: it is none, or not of HTTP.
    """
    match = _PLAIN.fullmatch(url)
    if match is None or "/." in match[4]:
        return _unusual(url)
    scheme, host, port, target = match.groups()
    number = int(port) if port else _PORTS[scheme]
    if number > _MOST_PORT:
        raise InvalidURL(f"there is no port {number}")
    netloc = host if number == _PORTS[scheme] else f"{host}:{number}"
    return Address(scheme == "https", host.strip("[]"), number, netloc, target)


def _unusual(url: str) -> Address:
    import base64

    import httpx

    try:
        read = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as e:
        raise InvalidURL(str(e)) from e
    if read.scheme not in _PORTS:
        raise InvalidURL("its scheme is neither http nor https")
    number = _PORTS[read.scheme] if read.port is None else read.port
    if not read.raw_host or not 0 < number <= _MOST_PORT:
        raise InvalidURL("it names no host, or no port that there is")
    pair = f"{read.username}:{read.password}".encode()
    login = f"Basic {base64.b64encode(pair).decode()}" if read.username or read.password else ""
    host, netloc, target = (raw.decode("ascii") for raw in (read.raw_host, read.netloc, read.raw_path))
    return Address(read.scheme == "https", host, number, netloc, target, login)
