"""--no-attestations: an index without what it says of its images, or the image itself."""

from __future__ import annotations

import json
from pathlib import Path

from imagesmith.oci.model import Index, Manifest
from tests.cli.conftest import Run


def _raw(run: Run, name: str) -> bytes:
    return run("inspect", "--raw", name).encode()


def test_an_index_without_attestations_keeps_its_images(run: Run, host: str, context: Path) -> None:
    words = ("--platform", "linux/amd64,linux/arm64", "--provenance", "mode=min")
    run("build", "-q", "-t", "a:1", *words, str(context))
    run("push", "-q", "a:1", f"{host}/t/a:1")
    there = Index.parse(_raw(run, f"{host}/t/a:1"))
    images = [m for m in there.manifests if not m.is_attestation]
    assert (len(there.manifests), len(images)) == (4, 2)
    made = run("copy", "--no-attestations", f"{host}/t/a:1", f"{host}/t/bare:1")
    assert list(Index.parse(_raw(run, f"{host}/t/bare:1")).manifests) == images
    assert run("push", "--no-attestations", "a:1", f"{host}/t/pushed:1") == made
    assert run("pull", "--all", "--no-attestations", f"{host}/t/a:1") == made
    run("validate", f"store:{host}/t/a:1")
    line = f"{host}/t/a:1 {host}/t/mirrored:1\n".encode()
    assert run("mirror", "--no-attestations", "-", stdin=line).split()[0] == made.strip()
    assert run("copy", "--no-attestations", f"{host}/t/bare:1", f"{host}/t/bare:2") == made
    one = run("copy", "--no-attestations", "--platform", "linux/arm64", f"{host}/t/a:1", "oci:arm")
    assert one.strip() == str(images[1].digest)


def test_an_index_of_one_image_becomes_that_image(run: Run, host: str, context: Path) -> None:
    run("build", "-q", "-t", "a:1", "--provenance", "mode=min", str(context))
    run("push", "-q", "a:1", f"{host}/t/a:1")
    [image, _] = Index.parse(_raw(run, f"{host}/t/a:1")).manifests
    made = run("copy", "--no-attestations", f"{host}/t/a:1", f"{host}/t/bare:1")
    assert made.strip() == str(image.digest)
    assert Manifest.parse(_raw(run, f"{host}/t/bare:1")).digest == image.digest
    assert run("pull", "--no-attestations", f"{host}/t/a:1") == made
    run("save", "--format", "oci", "--no-attestations", "-o", "a.tar", "a:1")
    assert run("digest", "oci-archive:a.tar") == made
    said = run("copy", "--preserve-digests", "--no-attestations", f"{host}/t/a:1", "oci:kept")
    assert said == made  # the image's own is kept
    assert json.loads(run("inspect", "-f", "{{json .Provenance}}", "oci:kept")) in (None, {})


def test_digests_are_kept_or_the_copy_fails(run: Run, host: str, index: str) -> None:
    run("push", "-q", "multi:1", f"{host}/t/m:1")
    assert run("copy", "--preserve-digests", f"{host}/t/m:1", f"{host}/t/m:2") == f"{index}\n"
    flags = ("--preserve-digests", "-f", "v2s2")
    assert "would become another manifest" in run("copy", *flags, f"{host}/t/m:1", "oci:no", status=7)
