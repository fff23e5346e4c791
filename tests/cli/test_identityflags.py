"""verify with trusted roots and certificates: who signed is told, and what is wrong with the flags."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store
from imagesmith.trust.bundle import BUNDLE
from imagesmith.trust.notation import NOTATION
from tests.cli.conftest import Run
from tests.support import PROJECT
from tests.trust.conftest import statement
from tests.trust.issuers import ISSUER, NOW_S, SIGNER, YEAR, text_of, world
from tests.trust.test_notation import Notary, between, leaf, root

REF = "oci:layout:app:1"
PUB = str(PROJECT / "fixtures" / "trust" / "cosign.pub")
WHO = ["--certificate-identity", SIGNER, "--certificate-oidc-issuer", ISSUER]
ROOT = ["--trusted-root", "root.json"]
NOTARY = ["--notation-root", "notary.pem"]


@pytest.fixture
def signed(run: Run, image: str, tmp_path: Path) -> str:
    """An image with a signature without a key, an attestation, and one of Notation's; the roots are files."""
    with Store(tmp_path / "store") as store:
        d = store.find(ImageRef.parse("app:1"))
        assert d is not None
    run("copy", "store:app:1", REF)
    attested = {"predicateType": "https://slsa.dev/provenance/v1", "predicate": {}}
    for changes in ({}, attested):
        w = replace(world(), payload=statement(d, **changes))
        (tmp_path / "bundle").write_text(json.dumps(w.bundle(stamped=True)))
        run("attach", "--artifact-type", BUNDLE, REF, f"bundle:{BUNDLE}")
    (tmp_path / "root.json").write_text(json.dumps(world().trusted_root()))
    long: dict[str, Any] = {"end_s": NOW_S + 50 * YEAR}
    top = root(**long)
    middle = between(top, **long)
    target = {"mediaType": d.media_type, "digest": str(d.digest), "size": d.size}
    (tmp_path / "jws").write_bytes(Notary([leaf(middle, **long), middle, top], target=target).envelope())
    run("attach", "--artifact-type", NOTATION, REF, "jws:application/jose+json")
    (tmp_path / "notary.pem").write_bytes(top.pem)
    return image


def test_who_signed_without_a_key_is_told(run: Run, signed: str) -> None:
    said = run("verify", REF, *ROOT, *WHO)
    assert said == f"{signed} signed by {SIGNER} ({ISSUER}), bundle of {text_of(NOW_S)}\n"
    (found,) = json.loads(run("verify", REF, *ROOT, *WHO, "--json"))
    assert found["signer"] == {"name": SIGNER, "kind": ISSUER}
    assert (found["time"], found["timeIsSigned"]) == (text_of(NOW_S), True)
    said = run("verify-attestation", REF, *ROOT, *WHO, "--type", "https://slsa.dev/provenance/v1")
    assert said.endswith(" says https://slsa.dev/provenance/v1\n")


def test_who_signed_with_notation_is_told(run: Run, signed: str) -> None:
    subject = "CN=build,O=example\\, Inc.,ST=WA,C=US"
    said = run("verify", REF, *NOTARY)
    assert said == f"{signed} signed by {subject} (notation), notation of {text_of(NOW_S - 3600)}\n"
    identity = ["--notation-identity", "CN=nobody", "--notation-identity", "C=US, O=example\\, Inc."]
    assert run("verify", REF, *NOTARY, *identity) == said
    assert run("verify", REF, *NOTARY, *ROOT, *WHO).count(signed) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--key", PUB], "signed without a key: give --trusted-root"),
        (["--key", PUB], "signed by Notation: give --notation-root"),
        (
            [*ROOT, *WHO[:2], "--certificate-oidc-issuer-regexp", "^http://"],
            f"the signer is known to {ISSUER}, not to /",
        ),
        (
            [*ROOT, "--certificate-identity-regexp", "nobody", *WHO[2:]],
            f"signed by {SIGNER}, not by /nobody/",
        ),
        ([*NOTARY, "--notation-identity", "CN=nobody"], "whose identity is not trusted"),
    ],
)
def test_who_does_not_count_is_told(run: Run, signed: str, words: list[str], says: str) -> None:
    assert says in run("verify", REF, *words, status=11)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ([], 2, "hint: or --trusted-root for signatures without a key, or --notation-root for Notation's"),
        (
            ROOT,
            2,
            "who signed must be said: --certificate-identity or --certificate-identity-r",
        ),
        (WHO, 2, "--key is missing: whose signature counts must be said"),
        (
            ["--key", PUB, *WHO],
            2,
            "--trusted-root is missing: who issues certificates to signers",
        ),
        ([*ROOT, *WHO, "--certificate-identity-regexp", "x"], 2, "exclude each other"),
        ([*ROOT, "--certificate-identity-regexp", "(", *WHO[2:]], 2, "not a regular expression"),
        (["--trusted-root", "none", *WHO], 2, "cannot read none"),
        (["--trusted-root", PUB, *WHO], 6, "cosign.pub: not valid JSON"),
        (["--notation-root", PUB], 6, "cosign.pub: not a file of 1 to 100 certificates in PEM"),
        (
            ["--key", PUB, "--notation-identity", "CN=a"],
            2,
            "--notation-root is missing: whose certificates",
        ),
        ([*NOTARY, "--notation-identity", "nobody"], 2, "not a trusted identity: 'nobody'"),
    ],
)
def test_what_is_wrong_with_the_flags_is_told(
    run: Run, signed: str, words: list[str], status: int, says: str
) -> None:
    assert says in run("verify", REF, *words, status=status)
