"""skopeo and buildah read from registries what we pushed, and we read what they pushed, to the byte."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.credentials.dockerconfig import Credentials
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.store.store import Store
from imagesmith.transports.copier import Choice
from imagesmith.transports.transfer import Session
from tests.registry.conftest import PASSWORD, USER, Served
from tests.registry.images import make_image, make_index
from tests.support import need_program

AMD = Platform("linux", "amd64")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


@pytest.fixture(params=["embedded_registry", "docker_registry"])
def registry(request: pytest.FixtureRequest) -> Served:
    served: Served = request.getfixturevalue(request.param)
    return served


def skopeo(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        [need_program("skopeo"), "--insecure-policy", *words], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("family", ["", "docker"])
def test_skopeo_reads_what_we_pushed(registry: Served, store: Store, tmp_path: Path, family: str) -> None:
    ref, d = ImageRef.parse(f"{registry.host}/peers/{family or 'oci'}:1"), make_image(store)
    with Session(store) as session:
        session.push(ref, d)
        if family == "docker":
            d = session.copy(session.repository(ref), session.repository(ref), Choice(family="docker"))
    skopeo("copy", "--src-tls-verify=false", f"docker://{ref}", "dir:out", cwd=tmp_path)
    assert (tmp_path / "out/manifest.json").read_bytes() != b""
    for blob in store.manifest(d, AMD).layers if not family else ():
        assert (tmp_path / "out" / blob.digest.hex).read_bytes() == store.blobs.read(blob.digest)
    said = skopeo("inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{ref}", cwd=tmp_path)
    assert said.strip() == str(d.digest)


@pytest.mark.slow
def test_skopeo_copies_our_index_whole_and_we_read_it_back(
    registry: Served, store: Store, tmp_path: Path
) -> None:
    ref, d = ImageRef.parse(f"{registry.host}/peers/index:1"), make_index(store)
    back = ref.with_tag("back")
    with Session(store) as session:
        session.push(ref, d)
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    skopeo("copy", "--all", *plain, f"docker://{ref}", f"docker://{back}", cwd=tmp_path)
    with Store(tmp_path / "other") as other, Session(other) as session:
        assert session.pull(back).digest == d.digest
        assert set(other.blobs.digests()) == set(store.blobs.digests())


@pytest.mark.slow
def test_password_of_podmans_login_is_ours_too(
    docker_registry_htpasswd: Served, store: Store, tmp_path: Path
) -> None:
    host = docker_registry_htpasswd.host
    auth = tmp_path / "auth.json"
    words = ["login", "--tls-verify=false", "--authfile", str(auth), "-u", USER, "--password-stdin", host]
    subprocess.run(
        [need_program("skopeo"), *words], input=PASSWORD, text=True, check=True, capture_output=True
    )
    with Session(store, credentials=Credentials({"REGISTRY_AUTH_FILE": str(auth)}, tmp_path)) as session:
        session.push(ImageRef.parse(f"{host}/a/b:1"), make_image(store))


@pytest.mark.slow
def test_buildah_pulls_what_we_pushed(registry: Served, store: Store, tmp_path: Path) -> None:
    buildah = need_program("buildah")
    if os.geteuid() != 0:
        pytest.skip("buildah's store needs root or subordinate ids")
    ref, d = ImageRef.parse(f"{registry.host}/peers/buildah:1"), make_image(store)
    with Session(store) as session:
        session.push(ref, d)
    policy = tmp_path / "policy.json"
    policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
    where = ["--root", str(tmp_path / "b"), "--runroot", str(tmp_path / "r"), "--storage-driver", "vfs"]
    words = ["pull", "--tls-verify=false", "--signature-policy", str(policy), str(ref)]
    done = subprocess.run([buildah, *where, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == store.manifest(d, AMD).config.digest.hex
