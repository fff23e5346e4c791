"""build --squash: one layer of all that a build adds, with the history that docker's has."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.ops.conftest import BASE, command
from tests.support import PROJECT, need_program

pytestmark = pytest.mark.slow

_TEXT = """FROM app-base
ENV A=b
RUN rm -r /d/e && mv /d/b /moved && echo big > /big
RUN rm /big && echo l > /one && ln /one /two && chmod 700 /keep && rm -r /swap && ln -s keep /swap
COPY --chmod=755 busybox /bin/
CMD ["sh"]
"""
_BELOW = (
    "RUN mkdir -p /d/e /swap/x && echo 1 > /d/e/a && echo 2 > /d/b && echo keep > /keep && ln /keep /twice\n"
)


def build(store: Path, context: Path, text: str, *flags: str) -> str:
    (context / "Dockerfile").write_text(text)
    (context / ".dockerignore").write_text("Dockerfile\n")
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1000000000"}
    words = command(store, context, *flags)
    done = subprocess.run(words, capture_output=True, text=True, cwd=PROJECT, env=env)
    if "RUN cannot be executed here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stderr


class Image:
    """An archive of an image that is alone in it, as anybody reads it."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as tar:
            self.blobs = {
                m.name.rpartition("/")[2]: f.read() for m in tar if m.isreg() and (f := tar.extractfile(m))
            }
        root = json.loads(self.blobs["index.json"])["manifests"][0]["digest"]
        self.digest, self.index = root, self.json(root)
        first = self.index["manifests"][0]["digest"] if "manifests" in self.index else root
        self.manifest = self.json(first)
        self.config = self.json(self.manifest["config"]["digest"])

    def json(self, digest: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.blobs[digest.removeprefix("sha256:")])
        return found

    def layer(self, n: int) -> dict[str, tarfile.TarInfo]:
        raw = self.blobs[self.manifest["layers"][n]["digest"].removeprefix("sha256:")]
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            return {m.name.rstrip("/"): m for m in tar}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A context with a static busybox."""
    folder = tmp_path_factory.mktemp("context")
    (folder / "busybox").write_bytes(Path(need_program("busybox")).read_bytes())
    (folder / "busybox").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def out(store: Path, context: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of the base, of an image on it, and of that one squashed, from one store."""
    tmp_path = tmp_path_factory.mktemp("out")
    kept = ("-t", "app-base", "-o", f"type=oci,dest={tmp_path}/base", "-o", "type=image")
    build(store, context, BASE + _BELOW, *kept)
    build(store, context, _TEXT, "-t", "app", "-o", f"type=oci,dest={tmp_path}/plain")
    both = ("-o", f"type=oci,dest={tmp_path}/squashed", "-o", f"type=tar,dest={tmp_path}/files")
    build(store, context, _TEXT, "-t", "app", "--squash", *both)
    return tmp_path


def test_what_is_added_is_one_layer_on_the_base(out: Path) -> None:
    base, plain, squashed = (Image(out / name) for name in ("base", "plain", "squashed"))
    assert len(plain.manifest["layers"]) == len(base.manifest["layers"]) + 3
    assert squashed.manifest["layers"][:-1] == base.manifest["layers"]
    assert {*squashed.layer(-1)} == {  # neither /big nor what is as it was
        "d", "d/.wh.b", "d/.wh.e", "moved", "one", "two", "keep", "swap",
    }  # fmt: skip
    layer = squashed.layer(-1)
    assert (layer["two"].linkname, layer["keep"].mode, layer["swap"].linkname) == ("one", 0o700, "keep")


def test_its_files_are_those_of_the_image_that_is_not(out: Path) -> None:
    seen: list[dict[str, tuple[int, int, str]]] = []
    for name in ("plain", "squashed"):
        image, files = Image(out / name), dict[str, tuple[int, int, str]]()
        for n in range(len(image.manifest["layers"])):
            for path, m in image.layer(n).items():
                folder, _, last = path.rpartition("/")
                gone = f"{folder}/{last[4:]}".lstrip("/") if last.startswith(".wh.") else path
                kept_dir = m.isdir() and path in files
                if not kept_dir:
                    files = {p: v for p, v in files.items() if p != gone and not p.startswith(f"{gone}/")}
                if gone == path:
                    files[path] = m.mode, m.size if not m.islnk() else -1, m.linkname if m.issym() else ""
        seen.append(files)
    sizes = [{path: value[::2] for path, value in files.items()} for files in seen]
    assert sizes[0] == sizes[1]


def test_history_is_dockers(out: Path) -> None:
    base, plain, squashed = (Image(out / name) for name in ("base", "plain", "squashed"))
    history = squashed.config["history"]
    below = len(base.config["history"])
    assert history[:below] == base.config["history"]
    assert [h["created_by"] for h in history[below:-1]] == [
        h["created_by"] for h in plain.config["history"][below:]
    ]
    assert all(h["empty_layer"] for h in history[below:-1])
    before = plain.manifest["config"]["digest"]
    assert history[-1]["comment"].startswith(f"merge {before} to sha256:")
    assert history[-1]["created"] == squashed.config["created"] == "2001-09-09T01:46:40Z"
    assert "empty_layer" not in history[-1]
    assert len(squashed.config["rootfs"]["diff_ids"]) == len(squashed.manifest["layers"])
    assert squashed.config["config"] == plain.config["config"]


def test_it_is_the_same_beside_other_outputs(context: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    build(store, context, BASE + _BELOW, "-t", "app-base", "-o", "type=image")
    text = _TEXT.replace("/bin/\n", "/keep\n")
    one = ("--squash", "-t", "app", "-o", f"type=oci,rewrite-timestamp=true,dest={tmp_path}/one")
    digests = set()
    for first in ("false", "true"):
        both = ("-o", f"type=oci,rewrite-timestamp={first},dest={tmp_path}/{first}")
        for cached in ((), ("--no-cache",)):
            build(store, context, text, *both, *one, *cached)
            digests.add(Image(tmp_path / "one").digest)
    assert len(digests) == 1


def test_attestations_and_caches_go_along(out: Path, store: Path, context: Path) -> None:
    flags = ("--squash", "--provenance=mode=max", "--sbom=true", "--cache-to=type=inline", "-t", "app")
    said = build(store, context, _TEXT, *flags, "-o", f"type=oci,dest={out}/more")
    assert "an image that is squashed holds no inline cache" in said
    more = Image(out / "more")
    assert more.manifest == Image(out / "squashed").manifest
    statements = [json.loads(raw) for raw in more.blobs.values() if b'"predicateType"' in raw[:300]]
    [provenance] = [s["predicate"] for s in statements if "slsa.dev" in s["predicateType"]]
    assert provenance["buildDefinition"]["externalParameters"]["request"]["args"]["squash"] == "true"
    layers = provenance["runDetails"]["metadata"]["imagesmith_metadata"]["layers"]
    told = [d["digest"] for found in layers.values() for d in found]
    assert sorted(told) == sorted(d["digest"] for d in more.manifest["layers"])


def test_what_adds_nothing_stays_as_it_is(out: Path, store: Path, context: Path, tmp_path: Path) -> None:
    flags = ("--squash", "-t", "none", "-o", f"type=oci,dest={tmp_path}/n")
    build(store, context, "FROM app-base\nENV X=y\n", *flags)
    assert Image(tmp_path / "n").manifest["layers"] == Image(out / "base").manifest["layers"]
    build(store, context, BASE + _BELOW, "--squash", "-t", "all", "-o", f"type=oci,dest={tmp_path}/a")
    alone = Image(tmp_path / "a")
    assert len(alone.manifest["layers"]) == 1
    assert alone.config["history"][-1]["comment"].startswith("create new from sha256:")
