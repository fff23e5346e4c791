from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.errors import Denied, UsageError
from imagesmith.registry.endpoint import Endpoint
from imagesmith.registry.hosts import Hosts
from imagesmith.values import field_names, replace


def hosts(tmp_path: Path, conf: str = "", toml: dict[str, str] | None = None, **more: bool) -> Hosts:
    file = tmp_path / "registries.conf"
    file.write_text(conf)
    for name, text in (toml or {}).items():
        (tmp_path / "hosts" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "hosts" / name / "hosts.toml").write_text(text)
    return Hosts({}, tmp_path, registries_conf=str(file), hosts_dir=str(tmp_path / "hosts"), **more)


def places(endpoints: list[Endpoint]) -> list[str]:
    return [e.host for e in endpoints]


def test_docker_hub_is_elsewhere_than_its_name(tmp_path: Path) -> None:
    assert hosts(tmp_path).writer("docker.io", "library/a").host == "registry-1.docker.io"


def test_what_is_insecure_by_name_is_so_alone(tmp_path: Path) -> None:
    found = hosts(tmp_path, insecure=frozenset({"r.io:5000"}))
    assert found.writer("r.io:5000", "a").schemes == ("https", "http")
    assert not found.writer("r.io:5000", "a").verify
    for other in ("r.io", "r.io:5001", "other.io"):
        assert (found.writer(other, "a").schemes, found.writer(other, "a").verify) == (("https",), True)


@pytest.mark.parametrize(
    ("registry", "insecure", "schemes"),
    [
        ("reg.example", False, ("https",)),
        ("reg.example", True, ("https", "http")),
        ("127.0.0.1:5000", False, ("http", "https")),
        ("localhost", False, ("http", "https")),
        ("127.example.com", False, ("https",)),
    ],
)
def test_plain_http_is_for_loopback_and_the_insecure(
    tmp_path: Path, registry: str, insecure: bool, schemes: tuple[str, ...]
) -> None:
    assert hosts(tmp_path, insecure=insecure).writer(registry, "a").schemes == schemes


CONF = """
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "mirror.example/hub"
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"
insecure = true

[[registry]]
prefix = "old.example/team"
location = "new.example/moved"

[[registry]]
prefix = "bad.example"
location = "bad.example"
blocked = true

[[registry]]
prefix = "bad.example/good"
location = "bad.example/good"

[[registry]]
prefix = "*.wild.example"
location = "wild.example/x"
"""


def test_mirrors_are_read_before_the_registry_and_not_written(tmp_path: Path) -> None:
    h = hosts(tmp_path, CONF)
    readers = list(h.readers("docker.io", "library/a"))
    assert places(readers) == ["mirror.example", "digests.example", "registry-1.docker.io"]
    assert [r.use for r in readers] == ["all", "digest-only", "all"]
    assert readers[0].rewrite == ("docker.io", "mirror.example/hub")
    assert readers[1].schemes == ("https", "http")
    assert h.writer("docker.io", "library/a").host == "registry-1.docker.io"


def test_location_replaces_the_prefix(tmp_path: Path) -> None:
    h = hosts(tmp_path, CONF)
    assert h.writer("old.example", "team/app").rewrite == ("old.example/team", "new.example/moved")
    assert h.writer("old.example", "teamwork/app").host == "old.example"
    assert h.writer("a.wild.example", "app").rewrite == ("a.wild.example", "wild.example/x")


def test_blocked_registry_is_refused_but_for_longer_prefixes(tmp_path: Path) -> None:
    h = hosts(tmp_path, CONF)
    with pytest.raises(Denied, match="blocked"):
        h.readers("bad.example", "app")
    assert places(list(h.readers("bad.example", "good/app"))) == ["bad.example"]


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ("[[registry]]\nprefix='a.example'", "location is unset"),
        ("[[registry]]\nlocation='https://a.example'", "URI schemes"),
        ("[registries.search]\nregistries=['a']\n[[registry]]\nlocation='a'", "mixing"),
        ("[[registry]]\nlocation='a'\nblocked='yes'", "blocked must be"),
        (
            "[[registry]]\nlocation='a'\n[[registry.mirror]]\nlocation='b'\npull-from-mirror='x'",
            "pull-from-mirror",
        ),
        ("[[registry", "registries.conf"),
    ],
)
def test_malformed_configuration_is_named(tmp_path: Path, conf: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        hosts(tmp_path, conf).readers("a", "b")


def test_later_files_of_the_folder_beside_win(tmp_path: Path) -> None:
    folder = tmp_path / "registries.conf.d"
    folder.mkdir()
    (folder / "1.conf").write_text("[[registry]]\nlocation='a.example'\nblocked=true")
    (folder / "2.conf").write_text("[[registry]]\nlocation='a.example'")
    assert places(list(hosts(tmp_path).readers("a.example", "x"))) == ["a.example"]


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


def test_certificates_of_certs_d_are_found_and_ask_for_https(tmp_path: Path) -> None:
    folder = tmp_path / ".config/containers/certs.d/127.0.0.1:5000"
    folder.mkdir(parents=True)
    for name in ("ca.crt", "client.cert", "client.key"):
        (folder / name).touch()
    found = hosts(tmp_path).writer("127.0.0.1:5000", "a")
    assert found.ca == (str(folder / "ca.crt"),)
    assert found.client_cert == (str(folder / "client.cert"), str(folder / "client.key"))
    assert found.schemes == ("https", "http")


@pytest.mark.parametrize("name", ["client.cert", "client.key"])
def test_half_a_client_certificate_is_an_error(tmp_path: Path, name: str) -> None:
    folder = tmp_path / ".config/docker/certs.d/reg.example"
    folder.mkdir(parents=True)
    (folder / name).touch()
    with pytest.raises(UsageError, match="beside it"):
        hosts(tmp_path).writer("reg.example", "a")


@pytest.mark.parametrize(
    "change",
    [
        {"host": "other.example"},
        {"schemes": ("http",)},
        {"prefix": "/mirror/v2"},
        {"registry": "other.example"},
        {"rewrite": ("a", "b")},
        {"verify": False},
        {"ca": ("ca.crt",)},
        {"client_cert": ("a.cert", "a.key")},
        {"headers": {"X-Key": "other"}},
        {"mirror": True},
        {"namespace": "docker.io"},
        {"use": "digest-only"},
        {"timeout_s": 3.0},
        {"proxy": "http://p:1"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_endpoints_that_differ_share_no_connection(change: dict[str, object]) -> None:
    one = Endpoint(host="mirror.example", headers={"X-Key": "mine", "A": "b"})
    assert replace(one, **change).key != one.key
    assert replace(one, headers={"A": "b", "X-Key": "mine"}).key == one.key
    assert set(change) <= set(field_names(one))


def test_every_setting_of_an_endpoint_tells_it_apart() -> None:
    assert len(Endpoint(host="mirror.example").key) == len(field_names(Endpoint(host="mirror.example")))


def test_only_what_another_follows_is_a_mirror(tmp_path: Path) -> None:
    """Where there is none to be asked next, or content is written, a restart is waited for."""
    text = 'server = "https://own.example"\n[host."https://m.example"]\ncapabilities = ["pull", "push"]\n'
    found = hosts(tmp_path, toml={"reg.example": text})
    readers = found.readers("reg.example", "a")
    assert [(e.host, e.mirror) for e in readers] == [("m.example", True), ("own.example", False)]
    writer = found.writer("reg.example", "a")
    assert (writer.host, writer.mirror, writer.namespace) == ("m.example", False, "reg.example")
