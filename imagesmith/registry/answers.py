"""What a request comes back with: an answer whose body is still to be read, or an error that says what broke.

Why of our own: with these, a direct connection needs neither httpx nor what it stands on, whose imports cost
more than all requests of a build that finds everything in its cache. The errors have httpx's names, as
messages show them; proxied.py turns its errors into these.
Trust: names and values of headers are the other side's; here they are only kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

__all__ = [
    "Answer",
    "ConnectError",
    "ConnectTimeout",
    "Failure",
    "Headers",
    "InvalidURL",
    "LocalProtocolError",
    "ProxyError",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "Sender",
    "Timeout",
    "WriteError",
    "WriteTimeout",
]


class Failure(Exception):
    """A request without an answer, or an answer without its end."""


class Timeout(Failure):
    """Nothing came, or went, for too long."""


class ConnectTimeout(Timeout):
    """Nobody took the connection in time."""


class ReadTimeout(Timeout):
    """Too little came for too long."""


class WriteTimeout(Timeout):
    """What is sent is not taken."""


class ConnectError(Failure):
    """No connection: no such name, nobody there, no TLS, a certificate that is not believed."""


class ReadError(Failure):
    """The connection broke while an answer was read."""


class WriteError(Failure):
    """The connection broke while a request was sent."""


class RemoteProtocolError(Failure):
    """The other side speaks no HTTP, or ended before its answer did."""


class LocalProtocolError(Failure):
    """What was to be sent is no request: a header with a line end, a body of another length than was said."""


class ProxyError(Failure):
    """The proxy does not let through; begins with its status."""


class InvalidURL(Failure):
    """No address of HTTP."""


class Headers(Mapping[str, str]):
    """Headers of an answer, by names in any case; a value of several lines is joined with commas."""

    def __init__(self, lines: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in lines:
            self._values.setdefault(_text(name).lower(), []).append(_text(value))

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._values[name.lower()])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get_list(self, name: str) -> list[str]:
        """The values of each line of that name."""
        return list(self._values.get(name.lower(), ()))


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class Answer:
    """An answer; whoever got it reads its body once, or not at all, and closes it."""

    def __init__(self, status_code: int, headers: Headers, url: str, body: Iterator[bytes]) -> None:
        self.status_code, self.headers, self.url = status_code, headers, url
        self._body = body

    @property
    def is_success(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status_code < 300

    def iter_raw(self) -> Iterator[bytes]:
        """The body as it comes, in pieces that are not empty.

        Raises:
            Failure: the connection broke, stands still, or ended before the body did.
        """
        return self._body

    def close(self) -> None:
        """Give the connection back, or up, if there is more to come."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


class Sender(Protocol):
    """What sends requests: connections of ours (wire.py), or a proxy's (proxied.py)."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Iterable[bytes] | None) -> Answer:
        """Send a request, and read the head of its answer.

        Raises:
            Failure: there is none.
        """

    def close(self) -> None:
        """Close the connections."""
