from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.errors import UsageError
from imagesmith.registry.endpoint import Endpoint
from imagesmith.values import field_names, replace
from tests.registry.conftest import hosts


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


def test_certificates_of_certs_d_are_found_and_ask_for_https(tmp_path: Path) -> None:
    folder = tmp_path / ".config/containers/certs.d/127.0.0.1:5000"
    folder.mkdir(parents=True)
    for name in ("ca.crt", "client.cert", "client.key"):
        (folder / name).touch()
    found = hosts(tmp_path).writer("127.0.0.1:5000", "a")
    assert found.ca == (str(folder / "ca.crt"),)
    assert found.client_cert == (str(folder / "client.cert"), str(folder / "client.key"))
    assert found.schemes == ("https", "http")


def test_files_of_a_registry_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path] = []
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: [looked.append(path), iterdir(path)][1])
    found = hosts(tmp_path)
    for repository in ("a", "b"):
        found.readers("reg.example", repository)
        found.writer("reg.example", repository)
    assert looked
    assert len(looked) == len(set(looked))


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
