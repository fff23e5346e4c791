"""Addresses are read as httpx reads them, also those that need no httpx."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.registry.address import Address, address_of
from imagesmith.registry.answers import InvalidURL

_DIGEST = "sha256:" + "0" * 64
PLAIN = {
    "http://127.0.0.1:5000/v2/": Address(False, "127.0.0.1", 5000, "127.0.0.1:5000", "/v2/"),
    f"https://a.example/v2/b/c/blobs/{_DIGEST}": Address(
        True, "a.example", 443, "a.example", f"/v2/b/c/blobs/{_DIGEST}"
    ),
    "https://a.example:443/x?a=b%2Fc&d=~": Address(True, "a.example", 443, "a.example", "/x?a=b%2Fc&d=~"),
    "http://[::1]:80/x?": Address(False, "::1", 80, "[::1]", "/x?"),
    "http://a.example/100%/%zz": Address(False, "a.example", 80, "a.example", "/100%/%zz"),
}
UNUSUAL = {
    "https://a.example": Address(True, "a.example", 443, "a.example", "/"),
    "https://A.example/a/../b/./c": Address(True, "a.example", 443, "a.example", "/b/c"),
    "http://u:p%40@a.example:81/x": Address(False, "a.example", 81, "a.example:81", "/x", "Basic dTpwQA=="),
    "http://é.example/é ü?ö#x": Address(
        False, "xn--9ca.example", 80, "xn--9ca.example", "/%C3%A9%20%C3%BC?%C3%B6"
    ),
}


@pytest.mark.parametrize(("url", "address"), [*PLAIN.items(), *UNUSUAL.items()])
def test_addresses_are_read(url: str, address: Address) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://a/",
        "http://",
        "http:///x",
        "http://a:99999/",
        "http://a:x/",
        "http://[::1/",
        "http://a/\n",
        "http://a:0/",
        "http://\udcff/",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidURL):
        address_of(url)


def test_plain_addresses_are_read_without_httpx() -> None:
    code = """if 1:
        import sys
        from imagesmith.registry.address import address_of
        for url in sys.argv[1:]:
            address_of(url)
        assert "httpx" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code, *PLAIN], check=True)


_parts = st.text("ab01.-_~:/?%&=+@[]é #'\"\\^|{}`<>\t", max_size=30)


@given(
    st.sampled_from(["http", "https"]), st.sampled_from(["a.b", "a-1.b:5000", "[::1]:1", "A.b:443"]), _parts
)
def test_addresses_are_read_as_httpx_does(scheme: str, netloc: str, rest: str) -> None:
    url = f"{scheme}://{netloc}/{rest}"
    try:
        theirs = httpx.URL(url)
    except httpx.InvalidURL:
        theirs = None
    try:
        ours = address_of(url)
    except InvalidURL:
        assert theirs is None
        return
    assert theirs is not None
    port = theirs.port or {"http": 80, "https": 443}[scheme]
    assert (ours.host, ours.port, ours.netloc, ours.target) == (
        theirs.raw_host.decode(), port, theirs.netloc.decode(), theirs.raw_path.decode()
    )  # fmt: skip
