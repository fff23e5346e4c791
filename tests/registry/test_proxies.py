"""Which proxy a URL goes through, and what is said of one that does not let it through."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from imagesmith.context.http import fetch_url
from imagesmith.errors import ContextError, UsageError
from imagesmith.registry.endpoint import Endpoint
from imagesmith.registry.faults import Fault
from imagesmith.registry.proxies import Proxies
from imagesmith.registry.transport import Transport
from imagesmith.store.store import Store
from tests.registry.conftest import free_port
from tests.registry.scripted import Scripted
from tests.support import IMAGESMITH

ENV = {
    "HTTPS_PROXY": "http://p:1",
    "http_proxy": "q:2",
    "NO_PROXY": "in.example, .below.example,10.0.0.0/8,at.example:8443",
}


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://reg.example/v2/", "http://p:1"),
        ("http://reg.example/v2/", "http://q:2"),
        ("http://127.0.0.1:5000/v2/", None),
        ("http://localhost:5000/v2/", None),
        ("http://[::1]:5000/v2/", None),
        ("https://in.example/", None),
        ("https://a.in.example/", None),
        ("https://notin.example/", "http://p:1"),
        ("https://below.example/", "http://p:1"),
        ("https://a.below.example/", None),
        ("https://10.1.2.3/", None),
        ("https://11.1.2.3/", "http://p:1"),
        ("https://at.example:8443/", None),
        ("https://at.example/", "http://p:1"),
    ],
)
def test_proxy_of_a_url_is_as_go_says(url: str, proxy: str | None) -> None:
    assert Proxies(ENV).proxy_for(url) == proxy


def test_without_variables_nothing_goes_through_a_proxy() -> None:
    assert Proxies({}).proxy_for("https://reg.example/") is None


def test_star_excepts_everything() -> None:
    assert Proxies({"ALL_PROXY": "http://p:1", "NO_PROXY": "*"}).proxy_for("https://reg.example/") is None


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("url", ["https://reg.example/", "http://reg.example/"])
def test_all_proxy_is_for_what_has_none_of_its_own(name: str, url: str) -> None:
    assert Proxies({name: "http://all:1"}).proxy_for(url) == "http://all:1"
    own = Proxies({name: "http://all:1", "HTTPS_PROXY": "http://own:1"})
    assert own.proxy_for(url) == ("http://own:1" if url.startswith("https:") else "http://all:1")
    assert Proxies({name: "http://all:1", "NO_PROXY": "reg.example"}).proxy_for(url) is None


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("http://", "no usable address"),
        ("http://p:port", "no usable address"),
        ("http://p:0", "no usable address"),
        ("http://[::1", "no usable address"),
        ("http://p :1", "no usable address"),
        ("http://p:1\n", "no usable address"),
        (":3128", "no usable address"),
        ("ftp://p:1", "ftp is not supported"),
        ("socks4://p:1", "socks4 is not supported"),
        ("http//p:1", "no usable address"),
    ],
)
def test_proxy_that_is_none_is_told_without_its_password(proxy: str, said: str) -> None:
    with_user = proxy.replace("://", "://user:secret@")
    for text in (proxy, with_user):
        with pytest.raises(UsageError, match=said) as caught:
            Proxies({"HTTPS_PROXY": text}).proxy_for("https://reg.example/")
        assert "secret" not in caught.value.message
        assert "HTTPS_PROXY" in caught.value.hint
        assert Proxies({"HTTPS_PROXY": text}).proxy_for("https://127.0.0.1:5000/") is None


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_socks_is_an_extra(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="SOCKS") as caught:
        Proxies({"ALL_PROXY": f"{scheme}://p:1080"}).proxy_for("https://reg.example/")
    assert "imagesmith[socks]" in caught.value.hint
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    found = Proxies({"ALL_PROXY": f"{scheme}://p:1080"}).proxy_for("https://reg.example/")
    assert found == f"{scheme}://p:1080"


# --- what proxies do -----------------------------------------------------------------------------


def ask(url: str, proxy: str) -> tuple[Fault, list[float]]:
    """What comes of a request through a proxy that does not let it through."""
    waits: list[float] = []
    host = url.partition("://")[2]
    endpoint = Endpoint(host=host, schemes=(url.partition(":")[0],))
    with closing(Transport(endpoint, proxy=lambda _: proxy, wait=waits.append)) as transport:
        with pytest.raises(Fault) as caught:
            transport.send("GET", f"{transport.base()}/")
        return caught.value, waits


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_dead_proxy_is_named(scheme: str) -> None:
    at = f"127.0.0.1:{free_port()}"
    fault, waits = ask(f"{scheme}://reg.example", f"http://user:secret@{at}")
    assert f"cannot connect to the proxy http://{at}: connection refused" in fault.message
    assert "HTTPS_PROXY" in fault.hint
    assert "secret" not in fault.message
    assert len(waits) == 4


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_that_wants_a_password_is_named_at_once(scheme: str) -> None:
    with proxying(b"407 Proxy Authentication Required") as at:
        fault, waits = ask(f"{scheme}://reg.example", f"http://user:secret@{at}")
    assert f"the proxy http://{at} wants a user and password" in fault.message
    assert "407" in fault.message
    assert "secret" not in fault.message
    assert waits == []


@pytest.mark.parametrize(("status", "waited"), [(b"403 Forbidden", 0), (b"503 Service Unavailable", 4)])
def test_proxy_that_refuses_is_named_with_its_reason(status: bytes, waited: int) -> None:
    with proxying(status) as at:
        fault, waits = ask("https://reg.example", f"http://{at}")
    assert f"the proxy http://{at} does not let through: status {status.decode()}" in fault.message
    assert len(waits) == waited


def test_malformed_proxy_ends_a_command_in_one_line(tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ALL_PROXY": "socks4://p:1"}
    done = subprocess.run([*IMAGESMITH, "tags", "reg.example/a"], env=env, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[0].startswith("error: the proxy 'socks4://p:1': socks4 is not")


def test_files_of_add_go_through_the_same_proxies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = f"127.0.0.1:{free_port()}"
    with Store(tmp_path / "store") as store:
        monkeypatch.setenv("ALL_PROXY", f"http://u:secret@{dead}")
        said = f"failed to load https://files.example/a: cannot connect to the proxy http://{dead}"
        with pytest.raises(ContextError, match=said) as caught:
            fetch_url("https://files.example/a", store)
        assert "secret" not in caught.value.message
        monkeypatch.setenv("ALL_PROXY", "socks4://p:1")
        with pytest.raises(UsageError, match="socks4 is not supported"):
            fetch_url("http://files.example/a", store)
        with Scripted(lambda _: (200, {}, b"data")) as server:  # loopback needs none
            assert fetch_url(f"http://{server.host}/a", store).size == 4


@contextmanager
def proxying(status: bytes) -> Iterator[str]:
    """A proxy that answers everything with a status."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    conn, _ = server.accept()
                    with conn, suppress(OSError):
                        conn.recv(65536)
                        conn.sendall(
                            b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        )

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)  # or the thread would wait on, and answer who comes later
        thread.join()
