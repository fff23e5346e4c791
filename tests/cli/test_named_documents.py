"""What is wrong with a document is told with its place and its digest, whichever verb reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagesmith.oci.digest import Digest, digest_bytes
from tests.cli.conftest import Run

MANIFEST, CONFIG = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
PLATFORM = {"os": "linux", "architecture": "amd64"}


class Bad:
    """A layout whose image has one document that is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def put(self, raw: bytes, media_type: str) -> dict[str, object]:
        """A blob; returns its descriptor."""
        digest = digest_bytes(raw)
        (self.folder / "blobs/sha256" / digest.hex).write_bytes(raw)
        return {"mediaType": media_type, "digest": str(digest), "size": len(raw)}

    def name(self, entry: dict[str, object]) -> None:
        """Make it the image."""
        table = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        (self.folder / "index.json").write_text(json.dumps(table))


def damaged(folder: Path, what: str) -> Digest:
    """A layout with a damaged `config`, `manifest` or `child` of an index; returns the digest of that."""
    bad = Bad(folder)
    broken = bad.put(b"{", CONFIG if what == "config" else MANIFEST)
    entry = broken
    if what == "config":
        layers = [bad.put(b"layer", "application/vnd.oci.image.layer.v1.tar")]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": broken, "layers": layers}
        entry = bad.put(json.dumps(manifest).encode(), MANIFEST)
    elif what == "child":
        children = [{**broken, "platform": PLATFORM}]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
        entry = bad.put(json.dumps(index).encode(), INDEX)
    bad.name(entry)
    return Digest.parse(str(broken["digest"]))


READERS = {
    "manifest": (
        "copy oci:bad oci:out", "copy --all oci:bad oci-archive:out", "save -o out.tar oci:bad",
        "push oci:bad r.example/a", "inspect oci:bad", "manifest get --platform linux/amd64 oci:bad",
        "referrers oci:bad", "validate oci:bad", "mutate oci:bad -l a=b -t oci:out", "diff oci:bad oci:bad",
        "flatten oci:bad -t oci:out", "append f.tar -b oci:bad -t oci:out", "index create oci:out oci:bad",
        "index add oci:bad oci:bad", "rebase oci:bad --old-base oci:bad --new-base oci:bad -t oci:out",
        "sbom oci:bad", "reproduce oci:bad context",
    ),
    "child": (
        "copy oci:bad oci:out", "copy --platform linux/amd64 oci:bad oci:out", "save -o out.tar oci:bad",
        "inspect --platform linux/amd64 oci:bad", "validate oci:bad", "mutate oci:bad -l a=b -t oci:out",
        "sbom --platform linux/amd64 oci:bad", "index create oci:out oci:bad",
    ),
    "config": (
        "inspect oci:bad", "copy --platform linux/amd64 oci:bad oci:out", "validate oci:bad",
        "index create oci:out oci:bad", "sbom oci:bad", "flatten oci:bad -t oci:out",
        "referrers --platform linux/amd64 oci:listed",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("what", "line"), [(what, line) for what, lines in READERS.items() for line in lines]
)
def test_the_place_and_the_digest_are_told(
    what: str, line: str, run: Run, tmp_path: Path, context: Path
) -> None:
    del context
    digest = damaged(tmp_path / "bad", what)
    (tmp_path / "f.tar").write_bytes(bytes(1024))
    if what == "config":  # an entry without a platform, of which the config is asked
        listed = Bad(tmp_path / "listed")
        for blob in (tmp_path / "bad/blobs/sha256").iterdir():
            listed.put(blob.read_bytes(), "")
        entries = json.loads((tmp_path / "bad/index.json").read_bytes())["manifests"]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        listed.name(listed.put(json.dumps(index).encode(), INDEX))
    error = next(m for m in run(*line.split(), status=6).splitlines() if m.startswith("error: "))
    place = "listed" if "oci:listed" in line else "bad"
    kind = "image config" if what == "config" else "manifest"
    assert f"{place}: {kind} {digest}: not valid JSON" in error
    assert error.count(str(digest)) == 1


def test_the_store_is_named_for_what_is_wrong_in_it(run: Run, tmp_path: Path, image: str) -> None:
    del image
    raw = b'{"schemaVersion": 2, "layers": {}, "config": {}}'
    path = tmp_path / "store/blobs/sha256" / digest_bytes(raw).hex
    path.write_bytes(raw)
    table = json.loads((tmp_path / "store/index.json").read_bytes())
    table["manifests"][0] |= {"digest": str(digest_bytes(raw)), "size": len(raw)}
    (tmp_path / "store/index.json").write_text(json.dumps(table))
    said = run("prune", status=6)
    assert f"error: the store {tmp_path}/store: manifest {digest_bytes(raw)}: config: size must be" in said
