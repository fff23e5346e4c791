"""A status line and headers that drip are given up; what is slow to begin, or slow to be read, is not."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from imagesmith.registry import patience
from imagesmith.registry.patience import patient

_WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def dripping(data: bytes, pause_s: float, first_s: float = 0.0) -> Iterator[str]:
    """The address of a server that sends a byte at a time to whoever asks."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    conn, _ = server.accept()
                    with conn, contextlib.suppress(OSError):
                        conn.recv(65536)
                        time.sleep(first_s)
                        for at in range(len(data)):
                            conn.sendall(data[at : at + 1])
                            time.sleep(pause_s)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nA: "], ids=["status", "header"])
def test_head_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch, begin: bytes) -> None:
    monkeypatch.setattr(patience, "_SPAN_S", 0.3)
    given_up = pytest.raises(httpx.ReadTimeout, match="bytes a minute")
    with dripping(begin + b"x" * 10_000, 0.01) as url, patient(httpx.Client(timeout=5)) as client, given_up:
        client.get(url)


def test_what_comes_late_but_whole_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with dripping(_WHOLE, 0.001) as url, patient(httpx.Client(timeout=5)) as client:
        assert client.get(url).text == "ok"
    monkeypatch.setattr(patience, "_SPAN_S", 0.3)
    monkeypatch.setattr(patience, "_LEAST_BYTES", 1)
    with dripping(_WHOLE, 0, first_s=0.5) as url, patient(httpx.Client(timeout=5)) as client:
        assert client.get(url).text == "ok"
