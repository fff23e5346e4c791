from __future__ import annotations

import pytest

from imagesmith.registry.proxies import Proxies

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
