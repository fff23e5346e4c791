"""sign and verify: what is signed, by which name, what does not count, and how that is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from imagesmith.cli.main import main
from imagesmith.oci.model import Index
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store
from tests.cli.conftest import Run
from tests.support import PROJECT

VECTORS = PROJECT / "fixtures" / "trust"
KEY, PUB = str(VECTORS / "cosign.key"), str(VECTORS / "cosign.pub")


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "pw")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1764000000")


def children(tmp_path: Path, name: str) -> list[str]:
    with Store(tmp_path / "store") as store:
        found = store.find(ImageRef.parse(name))
        assert found is not None
        return [str(d.digest) for d in Index.parse(store.blobs.read(found.digest)).manifests]


def test_an_image_is_signed_by_its_digest_and_verified(run: Run, host: str, image: str) -> None:
    run("copy", "store:app:1", f"{host}/t/app:1")
    said = run("sign", f"{host}/t/app:1", "--key", KEY, status=2)
    assert f"error: {host}/t/app:1 is a tag, which others may move" in said
    assert f"hint: now that is {host}/t/app@{image}; --tag signs" in said
    assert "has no signature" in run("verify", "--key", PUB, f"{host}/t/app:1", status=11)
    assert run("sign", f"{host}/t/app@{image}", "--key", KEY, "-a", "team=x") == f"{image} bundle, tag\n"
    assert run("verify", "--key", PUB, f"{host}/t/app:1", "-a", "team=x") == (
        f"{image} signed by {PUB} (ecdsa-p256), bundle dated 2025-11-24T16:00:00Z team=x\n"
        f"{image} signed by {PUB} (ecdsa-p256), tag of 2025-11-24T16:00:00Z as {host}/t/app team=x\n"
    )
    again = run("sign", f"{host}/t/app:1", "--tag", "-q", "--key", KEY, "--form", "bundle", "-a", "team=x")
    assert again == f"{image}\n"
    said = json.loads(run("sign", f"{host}/t/app:1", "--tag", "--json", "--key", KEY, "--form", "tag"))
    assert [(m["digest"], m["form"], m["new"]) for m in said] == [(image, "tag", True)]
    found = json.loads(run("verify", "--key", PUB, f"{host}/t/app:1", "--output", "json"))
    assert [f["critical"]["identity"]["docker-reference"] for f in found] == [
        "",
        f"{host}/t/app",
        f"{host}/t/app:1",
    ]
    assert {f["critical"]["image"]["docker-manifest-digest"] for f in found} == {image}
    assert (found[0]["optional"], found[0]["timeIsSigned"]) == ({"team": "x"}, False)


@pytest.mark.parametrize(
    "flags", [[], ["--recursive"], ["-r"], ["--recursive=true"], ["--no-recursive"], ["--recursive=false"]]
)
def test_of_an_index_the_images_are_signed_too_unless_it_is_told(
    run: Run, host: str, index: str, tmp_path: Path, flags: list[str]
) -> None:
    run("copy", "--all", "store:multi:1", f"{host}/t/multi:1")
    said = run("sign", f"{host}/t/multi@{index}", "--key", KEY, *flags).splitlines()
    alone = "no" in flags[-1:][0] if flags and "no-" in flags[0] else flags == ["--recursive=false"]
    assert [line.split()[0] for line in said] == ([] if alone else children(tmp_path, "multi:1")) + [index]
    assert run("verify", "--key", PUB, f"{host}/t/multi:1").startswith(index)
    one = ("verify", "--key", PUB, f"{host}/t/multi:1", "--platform", "linux/arm64")
    if alone:
        assert "has no signature" in run(*one, status=11)
    else:
        assert run(*one).startswith(children(tmp_path, "multi:1")[1])


def test_keys_that_did_not_sign_are_told_from_those_that_did(
    run: Run, image: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for name in ("a", "b"):
        run("key", "generate", "--plain", name)
    run("sign", "store:app:1", "--key", "a.key", "-q")
    said = run("verify", "--key", "b.pub", "store:app:1", status=11)
    assert said.count("does not count: ") == 2
    assert "signed by another key, whose hint is" in said
    assert "error: docker.io/library/app:1: no signature of" in said
    assert run("verify", "--key", "b.pub", "--key", "a.pub", "store:app:1").count("signed by a.pub") == 2
    run("sign", "store:app:1", "--key", "b.key", "-q")
    capfdbinary.readouterr()
    assert main(["verify", "--key", "b.pub", "store:app:1"]) == 0
    sys.stdout.flush()
    out, err = capfdbinary.readouterr()
    assert (out.count(b"signed by b.pub"), err.count(b"does not count: ")) == (2, 2)


def test_signatures_may_be_in_another_repository(
    run: Run, host: str, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("copy", "store:app:1", f"{host}/t/app:1")
    monkeypatch.setenv("COSIGN_REPOSITORY", f"{host}/signatures")
    run("sign", f"{host}/t/app@{image}", "--key", KEY, "-q")
    assert run("verify", "--key", PUB, f"{host}/t/app:1").count(image) == 2
    assert run("tags", f"{host}/signatures") == f"{image.replace(':', '-')}.sig\n"
    monkeypatch.delenv("COSIGN_REPOSITORY")
    assert "has no signature" in run("verify", "--key", PUB, f"{host}/t/app:1", status=11)
    monkeypatch.setenv("COSIGN_REPOSITORY", "a//b")
    assert "COSIGN_REPOSITORY: " in run("verify", "--key", PUB, f"{host}/t/app:1", status=2)


def test_a_copy_takes_signatures_along_to_a_layout_and_on(run: Run, host: str, image: str) -> None:
    run("copy", "store:app:1", "oci:layout:example.com/app:1")
    run("sign", "oci:layout:example.com/app:1", "--key", KEY, "-q")
    run("copy", "--referrers", "oci:layout:example.com/app:1", f"{host}/t/app:1")
    said = run("verify", "--key", PUB, f"{host}/t/app:1")
    assert said.count(image) == 2
    assert "as example.com/app" in said
    run("copy", "--referrers", f"{host}/t/app:1", "oci-archive:a.tar:app:1")
    assert run("verify", "--key", PUB, "oci-archive:a.tar:app:1").count(image) == 2


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (
            ["sign", "store:app:1"],
            2,
            "--key is missing: signing without a key (Fulcio, Rekor) is not done here",
        ),
        (["sign", "store:app:1", "--key", PUB], 2, "a public key, where a private one is needed"),
        (["sign", "store:app:1", "--key", "none"], 2, "cannot read none"),
        (["sign", "store:app:1", "--key", KEY, "--identity-token", "x"], 2, "instead: --key FILE"),
        (["sign", "store:app:1", "--key", KEY, "--tlog-upload"], 2, "no log and no service is asked"),
        (["sign", "store:app:1", "--key", KEY, "-a", "creator=me"], 2, "has a meaning of its own"),
        (["sign", "store:app:1", "--key", KEY, "-a", "creator"], 2, "expected KEY=VALUE"),
        (["sign", "oci:layout", "--key", KEY], 2, "the image has no name to be signed by"),
        (["sign", "oci:layout:1.0", "--key", KEY], 2, "the image has no name to be signed by"),
        (["sign", "oci-archive:a.tar:app:1", "--key", KEY], 2, "oci-archive: things stand beside images"),
        (["verify", "store:app:1"], 2, "--key is missing: whose signature counts must be said"),
        (["verify", "store:app:1", "--key", KEY], 2, "a private key, where a public one is needed"),
        (
            ["verify", "store:app:1", "--key", PUB, "--check-claims=false"],
            2,
            "a signature of another image is",
        ),
        (["verify", "store:none:1", "--key", PUB], 7, "no image named none:1 in the store"),
    ],
)
def test_what_cannot_be_done_is_told(run: Run, image: str, words: list[str], status: int, says: str) -> None:
    run("copy", "store:app:1", "oci:layout")
    run("copy", "store:app:1", "oci:layout:1.0")
    run("copy", "store:app:1", "oci-archive:a.tar:app:1")
    assert says in run(*words, status=status)


def test_cosigns_words_for_no_log_are_taken(run: Run, image: str) -> None:
    flags = ["--tlog-upload=false", "--use-signing-config=false", "--yes"]
    assert run("sign", "store:app:1", "--key", KEY, *flags) == f"{image} bundle, tag\n"
    flags = ["--insecure-ignore-tlog", "--private-infrastructure=true", "--check-claims"]
    assert run("verify", "store:app:1", "--key", PUB, *flags).count(image) == 2
