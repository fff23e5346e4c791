"""images: what has a name in the store, also where one of them is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagesmith.cli.main import main
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.mediatype import OCI_CONFIG, OCI_MANIFEST
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store
from tests.cli.conftest import Run


def test_size_of_an_index_is_that_of_its_images(run: Run, host: str, index: str) -> None:
    with Store(Path("store")) as store:
        size, sizes = 0, []
        for m in Index.parse(store.blobs.read(Digest.parse(index))).manifests:
            manifest = Manifest.parse(store.blobs.read(m.digest))
            sizes.append(manifest.config.size + sum(d.size for d in manifest.layers))
            size += sizes[-1]
    (row,) = json.loads(run("images", "--json"))
    assert (row["size"], row["platform"]) == (size, "linux/amd64,linux/arm64")
    run("push", "multi:1", f"{host}/t/multi:1")
    run("pull", "--platform", "linux/arm64", "--root", "s2", f"{host}/t/multi:1")
    (row,) = json.loads(run("images", "--json", "--root", "s2"))
    assert (row["size"], row["platform"]) == (sizes[1], "linux/arm64")


@pytest.mark.parametrize("config", [b"[]", b"nope", b'{"rootfs":[1]}', b'{"history":[1]}'])
def test_an_image_with_a_bad_config_is_told_and_hides_no_other(
    run: Run, image: str, tmp_path: Path, config: bytes
) -> None:
    with Store(tmp_path / "store") as store:
        d = Descriptor(media_type=OCI_CONFIG, digest=store.blobs.put(config), size=len(config))
        bad = Manifest.build(d, [])
        store.blobs.put(bad.raw)
        store.name(ImageRef.parse("bad:1"), bad.descriptor())
    assert "image config" in run("inspect", "bad:1", status=6)
    assert [line.split()[0] for line in run("images").splitlines()] == ["NAME", "app:1", "bad:1"]


@pytest.mark.parametrize(
    ("raw", "problem"),
    [(None, "is not in the store"), (b"[]", "must be a JSON object"), (b"{}", "neither an image")],
)
def test_an_image_without_a_manifest_is_told_and_hides_no_other(
    run: Run, image: str, capfdbinary: pytest.CaptureFixture[bytes], raw: bytes | None, problem: str
) -> None:
    with Store(Path("store")) as store:
        digest = digest_bytes(b"absent") if raw is None else store.blobs.put(raw)
        store.name(ImageRef.parse("bad:1"), Descriptor(media_type=OCI_MANIFEST, digest=digest, size=9))
    assert main(["images"]) == 0
    out, err = (stream.decode() for stream in capfdbinary.readouterr())
    assert [line.split()[0] for line in out.splitlines()] == ["NAME", "app:1", "bad:1"]
    assert err.startswith("warning: bad:1: ")
    assert problem in err


def test_table_json_and_digests_tell_the_same(run: Run, image: str) -> None:
    (row,) = json.loads(run("images", "--json"))
    assert (row["name"], row["digest"], row["platform"]) == ("app:1", image, "linux/amd64")
    assert run("images").splitlines()[1].split() == [
        "app:1",
        image[:19],
        "linux/amd64",
        f"{row['size']}",
        "B",
    ]
    assert run("images", "-q") == f"{image}\n"


def test_size_has_the_statements_in_it(run: Run, context: Path) -> None:
    def size(*words: str) -> int:
        run("build", "-q", "-t", "a:1", *words, str(context))
        (row,) = json.loads(run("images", "--json"))
        assert row["platform"].startswith("linux/")
        return int(row["size"])

    assert size("--provenance", "mode=max") > size("--provenance", "mode=min") > size() + 500
