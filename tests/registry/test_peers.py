"""skopeo, buildah and umoci with the embedded registry."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry.conftest import PASSWORD, USER, Served, serve_embedded
from tests.support import need_program

pytestmark = pytest.mark.slow


def run(*words: str | Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(w) for w in words],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with the image `one`, made by umoci."""
    umoci, folder = need_program("umoci"), tmp_path_factory.mktemp("layout")
    layout, payload = folder / "oci", folder / "payload"
    payload.write_bytes(os.urandom(200_000))
    run(umoci, "init", "--layout", layout)
    run(umoci, "new", "--image", f"{layout}:one")
    run(umoci, "insert", "--rootless", "--image", f"{layout}:one", payload, "/payload")
    return layout


def raw(reference: str, *flags: str) -> str:
    return run(need_program("skopeo"), "inspect", "--raw", *flags, reference)


def test_skopeo_pushes_and_pulls_the_same_bytes(
    embedded_registry: Served, layout: Path, tmp_path: Path
) -> None:
    skopeo, there = need_program("skopeo"), f"docker://{embedded_registry.host}/peers/skopeo:one"
    run(skopeo, "copy", "--dest-tls-verify=false", f"oci:{layout}:one", there)
    assert raw(there, "--tls-verify=false") == raw(f"oci:{layout}:one")
    run(skopeo, "copy", "--src-tls-verify=false", there, f"oci:{tmp_path / 'back'}:one")
    assert raw(f"oci:{tmp_path / 'back'}:one") == raw(f"oci:{layout}:one")
    listed = run(skopeo, "list-tags", "--tls-verify=false", f"docker://{embedded_registry.host}/peers/skopeo")
    assert json.loads(listed)["Tags"] == ["one"]


def test_umoci_unpacks_what_came_back(embedded_registry: Served, layout: Path, tmp_path: Path) -> None:
    skopeo, there = need_program("skopeo"), f"docker://{embedded_registry.host}/peers/umoci:one"
    run(skopeo, "copy", "--dest-tls-verify=false", f"oci:{layout}:one", there)
    run(skopeo, "copy", "--src-tls-verify=false", there, f"oci:{tmp_path / 'back'}:one")
    run(need_program("umoci"), "unpack", "--rootless", "--image", f"{tmp_path / 'back'}:one", tmp_path / "b")
    assert (tmp_path / "b/rootfs/payload").read_bytes() == (layout.parent / "payload").read_bytes()


def test_skopeo_in_dockers_format_and_deletes(embedded_registry: Served, layout: Path) -> None:
    skopeo, there = need_program("skopeo"), f"docker://{embedded_registry.host}/peers/v2s2:one"
    run(skopeo, "copy", "--format=v2s2", "--dest-tls-verify=false", f"oci:{layout}:one", there)
    kind = json.loads(raw(there, "--tls-verify=false"))["mediaType"]
    assert kind == "application/vnd.docker.distribution.manifest.v2+json"
    run(skopeo, "delete", "--tls-verify=false", there)
    done = subprocess.run([skopeo, "inspect", "--tls-verify=false", there], capture_output=True, text=True)
    assert "manifest unknown" in done.stderr


def test_buildah_pulls_and_pushes(embedded_registry: Served, layout: Path, tmp_path: Path) -> None:
    buildah, skopeo = need_program("buildah"), need_program("skopeo")
    there = f"{embedded_registry.host}/peers/buildah"
    run(skopeo, "copy", "--dest-tls-verify=false", f"oci:{layout}:one", f"docker://{there}:one")
    store = ("--root", tmp_path / "store", "--runroot", tmp_path / "run", "--storage-driver", "vfs")
    if os.geteuid() != 0:
        pytest.skip("buildah's store needs root, or a namespace of its own")
    run(buildah, *store, "pull", "--tls-verify=false", f"{there}:one")
    run(buildah, *store, "push", "--tls-verify=false", f"{there}:one", f"docker://{there}:two")
    config = json.loads(raw(f"docker://{there}:two", "--tls-verify=false"))["config"]["digest"]
    assert config == json.loads(raw(f"oci:{layout}:one"))["config"]["digest"]


@pytest.fixture(params=["basic", "bearer"])
def guarded(
    request: pytest.FixtureRequest, tmp_path: Path, registry_htpasswd: Path, registry_certificate: Path
) -> Iterator[Served]:
    flags = ["--htpasswd", str(registry_htpasswd), "--auth", str(request.param)]
    flags += ["--tls-cert", str(registry_certificate / "cert.pem")]
    flags += ["--tls-key", str(registry_certificate / "key.pem")]
    with serve_embedded(tmp_path / "guarded", *flags) as served:
        yield served


def test_skopeo_logs_in_over_tls(
    guarded: Served, registry_certificate: Path, layout: Path, tmp_path: Path
) -> None:
    skopeo, there = need_program("skopeo"), f"docker://{guarded.host}/peers/guarded:one"
    certs = tmp_path / "certs"
    certs.mkdir()
    (certs / "ca.crt").write_bytes((registry_certificate / "cert.pem").read_bytes())
    words = ("--dest-cert-dir", certs, "--dest-creds", f"{USER}:{PASSWORD}")
    run(skopeo, "copy", *words, f"oci:{layout}:one", there)
    words = ("--src-cert-dir", certs, "--src-creds", f"{USER}:{PASSWORD}")
    run(skopeo, "copy", *words, there, f"oci:{tmp_path / 'back'}:one")
    assert raw(f"oci:{tmp_path / 'back'}:one") == raw(f"oci:{layout}:one")
    done = subprocess.run(
        [skopeo, "inspect", "--cert-dir", certs, "--creds", f"{USER}:wrong", there],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "unauthorized" in done.stderr.lower() or "authentication required" in done.stderr.lower()


def test_skopeo_pulls_through_a_cache(
    docker_registry: Served, layout: Path, tmp_path: Path, registry_htpasswd: Path
) -> None:
    skopeo, name = need_program("skopeo"), "peers/cached"
    behind = f"docker://{docker_registry.host}/{name}:one"
    run(skopeo, "copy", "--dest-tls-verify=false", f"oci:{layout}:one", behind)
    with serve_embedded(tmp_path / "cache", "--proxy", f"http://{docker_registry.host}") as cache:
        there = f"docker://{cache.host}/{name}:one"
        run(skopeo, "copy", "--src-tls-verify=false", there, f"oci:{tmp_path / 'back'}:one")
        assert raw(f"oci:{tmp_path / 'back'}:one") == raw(f"oci:{layout}:one")
    blobs = {path.name for path in (tmp_path / "cache/blobs/sha256").iterdir()}
    document = json.loads(raw(f"oci:{layout}:one"))
    wanted = {d["digest"].partition(":")[2] for d in (document["config"], *document["layers"])}
    assert wanted <= blobs
