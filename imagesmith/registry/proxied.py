"""Connections through a proxy, of HTTP or SOCKS: httpx's, whose answers and errors become ours here.

Why httpx: tunnels, proxies that speak TLS, and SOCKS are its trade, and who has a proxy waits longer for that
than for the import. It is imported here and for unusual addresses only (address.py).
Trust: as answers.py; h11 reads the heads, and a drip is given up (patience.py).
Threads: any; httpx's client is shared.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from imagesmith.registry import answers
from imagesmith.registry.answers import Answer, Headers
from imagesmith.registry.patience import patient

if TYPE_CHECKING:
    import ssl

    import httpx

__all__ = ["Proxied"]


class Proxied:
    """Sends requests through a proxy; see answers.Sender."""

    def __init__(
        self, proxy: str, connections: int, timeout_s: float, context: ssl.SSLContext | None = None
    ) -> None:
        """Prepare, without a connection; as Wire, and `proxy` is its URL."""
        import httpx

        made = httpx.Client(
            verify=context or False,  # plain HTTP waits for no certificates
            trust_env=False,
            proxy=proxy,
            timeout=httpx.Timeout(timeout_s, connect=min(20.0, timeout_s), pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )
        self._client = patient(made)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Iterable[bytes] | None) -> Answer:
        """Send a request, and read the head of its answer; see answers.Sender."""
        with _translated():
            request = self._client.build_request(method, url, headers=headers, content=body)
            response = self._client.send(request, stream=True)
        lines = Headers(response.headers.raw)
        return Answer(response.status_code, lines, str(response.url), _Body(response))


class _Body:
    """The body of an answer."""

    def __init__(self, response: httpx.Response) -> None:
        self._response, self._pieces = response, response.iter_raw()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with _translated():
            piece = next(self._pieces, b"")
        if not piece:
            raise StopIteration
        return piece

    def close(self) -> None:
        self._response.close()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Errors of httpx as ours of the same name."""
    import httpx

    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as e:
        if isinstance(e, httpx.UnsupportedProtocol):
            raise answers.InvalidURL(str(e)) from e
        kind = getattr(answers, type(e).__name__, answers.Failure)
        raise kind(str(e)) from e
