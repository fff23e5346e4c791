"""hosts.toml: which file speaks of a registry, whom it names in which order, and what in it is a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.errors import UsageError
from imagesmith.registry.endpoint import Endpoint, default_endpoint
from imagesmith.registry.hoststoml import load
from tests.registry.conftest import hosts

TOML = """
server = "https://up.example"
[host."http://cache.example:5000"]
capabilities = ["pull", "resolve"]
[host."https://blobs.example/some/path"]
capabilities = ["pull"]
skip_verify = true
ca = "ca.pem"
client = [["c.pem", "k.pem"]]
dial_timeout = "3s"
[host."https://blobs.example/some/path".header]
x-key = ["a", "b"]
[host."https://whole.example/api"]
capabilities = ["push"]
override_path = true
"""


def test_hosts_toml_is_read_in_its_order(tmp_path: Path) -> None:
    h = hosts(tmp_path, toml={"reg.example": TOML})
    cache, blobs, up = h.readers("reg.example", "a")
    assert (cache.host, cache.schemes, cache.use, cache.namespace) == (
        "cache.example:5000",
        ("http",),
        "all",
        "reg.example",
    )
    assert (blobs.prefix, blobs.use, blobs.verify, blobs.timeout_s) == (
        "/some/path/v2",
        "digest-only",
        False,
        3.0,
    )
    assert blobs.ca == (str(tmp_path / "hosts/reg.example/ca.pem"),)
    assert blobs.client_cert[1] == str(tmp_path / "hosts/reg.example/k.pem")
    assert blobs.headers == {"x-key": "a, b"}
    assert up.host == "up.example"
    assert (h.writer("reg.example", "a").host, h.writer("reg.example", "a").prefix) == (
        "whole.example",
        "/api",
    )


def test_port_and_default_have_folders_of_their_own(tmp_path: Path) -> None:
    one, other = 'server = "https://one.example"', 'server = "https://other.example"'
    h = hosts(tmp_path, toml={"reg.example_5000_": one, "_default": other})
    assert h.writer("reg.example:5000", "a").host == "one.example"
    assert h.writer("any.example", "a").host == "other.example"


@pytest.mark.parametrize(
    "text",
    [
        "[host",
        "host = 1",
        "[host.'ftp://x']",
        "[host.'https://x']\ncapabilities=['x']",
        "[host.'http://[x']",
        "[host.'http://x:port']",
        "server = '[x'",
    ],
)
def test_malformed_hosts_toml_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"hosts\.toml"):
        hosts(tmp_path, toml={"reg.example": text}).readers("reg.example", "a")


def test_only_what_another_follows_is_a_mirror(tmp_path: Path) -> None:
    """Where there is none to be asked next, or content is written, a restart is waited for."""
    text = 'server = "https://own.example"\n[host."https://m.example"]\ncapabilities = ["pull", "push"]\n'
    found = hosts(tmp_path, toml={"reg.example": text})
    readers = found.readers("reg.example", "a")
    assert [(e.host, e.mirror) for e in readers] == [("m.example", True), ("own.example", False)]
    writer = found.writer("reg.example", "a")
    assert (writer.host, writer.mirror, writer.namespace) == ("m.example", False, "reg.example")


def loaded(tmp_path: Path, text: str, upstream: Endpoint | None = None) -> tuple[list[Endpoint], Endpoint]:
    """Who is read and who is written, by a file for reg.example."""
    (tmp_path / "reg.example").mkdir(exist_ok=True)
    (tmp_path / "reg.example/hosts.toml").write_text(text)
    found = load([tmp_path], "reg.example", upstream or default_endpoint("reg.example"))
    assert found is not None
    return found


def host(tmp_path: Path, text: str, url: str = "https://m.example") -> Endpoint:
    """The one host of a file."""
    return loaded(tmp_path, f"[host.'{url}']\n{text}")[0][0]


def test_registry_that_no_file_speaks_of_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "reg.example").mkdir()
    assert load([tmp_path, tmp_path / "nowhere"], "reg.example", default_endpoint("reg.example")) is None


def test_first_folder_with_a_file_decides_and_in_it_the_narrowest_name(tmp_path: Path) -> None:
    for name in ("a/_default", "b/r.io_5000_", "b/r.io:5000", "b/_default", "c/r.io:5000"):
        (tmp_path / name).mkdir(parents=True)
        where = name.replace("/", "-").replace(":", "-").replace("_", "-")
        (tmp_path / name / "hosts.toml").write_text(f"server = 'https://{where}.example'")

    def server(*folders: str) -> str:
        found = load([tmp_path / f for f in folders], "r.io:5000", default_endpoint("r.io:5000"))
        assert found is not None
        return found[1].host

    assert server("a", "b") == "a--default.example"
    assert server("b", "a") == "b-r.io-5000-.example"
    assert server("c", "a") == "c-r.io-5000.example"


def test_empty_file_leaves_the_registry_as_it_is(tmp_path: Path) -> None:
    own = default_endpoint("reg.example")
    assert loaded(tmp_path, "") == ([own], own)


def test_host_may_do_everything_where_nothing_is_said(tmp_path: Path) -> None:
    readers, writer = loaded(tmp_path, "[host.'https://m.example']\n[host.'https://n.example']\n")
    assert [(e.host, e.use) for e in readers] == [
        ("m.example", "all"),
        ("n.example", "all"),
        ("reg.example", "all"),
    ]
    assert writer.host == "m.example"


def test_host_is_read_and_written_as_far_as_it_is_able(tmp_path: Path) -> None:
    readers, writer = loaded(
        tmp_path,
        "[host.'https://a.example']\ncapabilities=['resolve']\n"
        "[host.'https://b.example']\ncapabilities=[]\n"
        "[host.'https://c.example']\ncapabilities=['pull']\n",
    )
    assert [(e.host, e.use) for e in readers] == [("c.example", "digest-only"), ("reg.example", "all")]
    assert writer.host == "reg.example"


@pytest.mark.parametrize(
    ("url", "text", "where"),
    [
        ("m.example", "", ("https", "m.example", "/v2")),
        ("http://m.example:80", "", ("http", "m.example:80", "/v2")),
        ("https://m.example/", "", ("https", "m.example", "/v2")),
        ("https://m.example/v2", "", ("https", "m.example", "/v2")),
        ("https://m.example/a/v2/", "", ("https", "m.example", "/a/v2")),
        ("https://m.example/a", "override_path = true", ("https", "m.example", "/a")),
        ("https://m.example/a", "override_path = 'yes'", ("https", "m.example", "/a/v2")),
    ],
)
def test_address_of_a_host_is_scheme_host_and_path(
    tmp_path: Path, url: str, text: str, where: tuple[str, str, str]
) -> None:
    found = host(tmp_path, text, url)
    assert (*found.schemes, found.host, found.prefix) == where


@pytest.mark.parametrize(
    ("url", "is_mirror"),
    [("https://reg.example", False), ("https://up.example", False), ("https://reg.example:5000", True)],
)
def test_registry_itself_is_no_mirror_and_is_not_told_of_another(
    tmp_path: Path, url: str, is_mirror: bool
) -> None:
    upstream = Endpoint(host="up.example", registry="reg.example")
    found = loaded(tmp_path, f"[host.'{url}']", upstream)[0][0]
    assert (found.mirror, found.namespace) == (is_mirror, "reg.example" if is_mirror else "")


def test_server_has_the_settings_beside_its_name(tmp_path: Path) -> None:
    text = "server = 'http://s.example'\nskip_verify = true\ndial_timeout = '2s'\n"
    text += "ca = 'c.pem'\n[header]\nx = 'y'\n"
    [own], writer = loaded(tmp_path, text)
    assert own == writer
    assert (own.host, own.schemes, own.verify, own.timeout_s) == ("s.example", ("http",), False, 2.0)
    assert (own.ca, own.headers) == ((str(tmp_path / "reg.example/c.pem"),), {"x": "y"})


def test_what_need_not_be_verified_upstream_need_not_be_at_hosts(tmp_path: Path) -> None:
    text = "[host.'https://m.example']\nskip_verify = false\n"
    assert [e.verify for e in loaded(tmp_path, text)[0]] == [True, True]
    lax = Endpoint(host="reg.example", verify=False)
    assert [e.verify for e in loaded(tmp_path, text, lax)[0]] == [False, False]


@pytest.mark.parametrize(
    ("text", "ca"), [("ca = 'a'", ["a"]), ("ca = ['a', '/b/c']", ["a", "/b/c"]), ("ca = []", []), ("", [])]
)
def test_authorities_are_files_beside_the_file(tmp_path: Path, text: str, ca: list[str]) -> None:
    assert host(tmp_path, text).ca == tuple(str(tmp_path / "reg.example" / name) for name in ca)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("client = 'both'", ("both", "both")),
        ("client = ['both', 'other']", ("both", "both")),
        ("client = [['c', 'k'], ['d', 'l']]", ("c", "k")),
        ("client = [['both']]", ("both", "both")),
        ("client = [[]]", None),
        ("client = []", None),
        ("", None),
    ],
)
def test_first_client_certificate_counts_and_may_hold_its_key(
    tmp_path: Path, text: str, pair: tuple[str, str] | None
) -> None:
    folder = tmp_path / "reg.example"
    want = ("", "") if pair is None else (str(folder / pair[0]), str(folder / pair[1]))
    assert host(tmp_path, text).client_cert == want


@pytest.mark.parametrize(
    ("text", "seconds"), [("'250ms'", 0.25), ("'1.5s'", 1.5), ("'2m'", 120.0), ("'0s'", 0.0)]
)
def test_timeout_is_a_duration(tmp_path: Path, text: str, seconds: float) -> None:
    assert host(tmp_path, f"dial_timeout = {text}").timeout_s == seconds


def test_proxy_is_a_text_and_an_empty_one_is_none_at_all(tmp_path: Path) -> None:
    found = [host(tmp_path, text).proxy for text in ("proxy = 'http://p:1'", "proxy = ''", "proxy = 5", "")]
    assert found == ["http://p:1", "", None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server = 5", "server must be a string"),
        ("host.'https://x' = 5", "must be a table"),
        ("[host.'']", "is no address of a host"),
        ("[host.'https://x:0']", "is no address of a host"),
        ("[host.'https:///path']", "is no address of a host"),
        ("[host.'https://x']\ncapabilities = 'pull'", "capabilities are of pull, resolve, push"),
        ("[host.'https://x']\nca = 5", "ca and client name files"),
        ("[host.'https://x']\nclient = [[5]]", "ca and client name files"),
        ("[host.'https://x']\nheader = 5", "header must be a table"),
        ("[host.'https://x']\ndial_timeout = 5", "'?5'? is no duration"),
        ("[host.'https://x']\ndial_timeout = '1h'", "'1h' is no duration"),
    ],
)
def test_mistake_is_told_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        loaded(tmp_path, text)
    assert str(tmp_path / "reg.example/hosts.toml") in caught.value.message
