"""Where secrets may go and answers may lead."""

from __future__ import annotations

import pytest

from imagesmith.oci.addresses import is_private, same_trust

PRIVATE = [
    *("localhost", "LOCALHOST.", "x.localhost", "127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433"),
    *(
        "017700000001",
        "10.0.0.1",
        "172.16.3.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "0",
    ),
    *("255.255.255.255", "224.0.0.1", "[::1]", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:7f00:1", "2002:7f00:1::", "64:ff9b::7f00:1"),
]
PUBLIC = ["example.org", "8.8.8.8", "134744072", "2001:4860:4860::8888", "localhost.example", "", "ä"]


@pytest.mark.parametrize("host", PRIVATE)
def test_private_however_it_is_written(host: str) -> None:
    assert is_private(host)


@pytest.mark.parametrize("host", PUBLIC)
def test_anything_else_is_not(host: str) -> None:
    assert not is_private(host)


@pytest.mark.parametrize(
    ("base", "target", "good"),
    [
        ("https://reg.example/x", "https://cdn.example/y", True),
        ("http://reg.example/x", "https://cdn.example/y", True),
        ("https://reg.example/x", "http://reg.example/y", False),
        ("https://reg.example/x", "https://169.254.169.254/latest", False),
        ("http://reg.example/x", "http://localhost/y", False),
        ("http://127.0.0.1:5000/x", "http://127.0.0.1:9000/y", True),
        ("http://10.1.1.1/x", "http://10.1.1.2/y", True),
        ("https://reg.example/x", "file:///etc/passwd", False),
        ("https://reg.example/x", "https:///y", False),
    ],
)
def test_where_a_redirect_may_lead(base: str, target: str, good: bool) -> None:
    assert same_trust(base, target) == good
