"""verify-attestation: what is said of an image is found by its type, and printed as cosign prints it."""

from __future__ import annotations

import base64
import json

from tests.cli.conftest import Run
from tests.cli.test_attest import predicate
from tests.cli.test_sign import KEY, PUB, password

__all__ = ["password", "predicate"]

SBOM = "https://spdx.dev/Document"


def test_what_is_said_is_found_by_its_type(run: Run, host: str, index: str) -> None:
    run("copy", "--all", "store:multi:1", f"{host}/t/multi:1")
    name, at = f"{host}/t/multi:1", f"{host}/t/multi@{index}"
    words = ("attest", "--key", KEY, "--predicate", "p.json", "--type")
    assert "is a tag" in run(*words, "spdxjson", name, status=2)
    assert run(*words, "spdxjson", at) == f"{index} bundle, tag\n"
    assert run(*words, "https://example.com/review", at, "--form", "bundle") == f"{index} bundle\n"
    assert run(*words, "spdxjson", at) == f"{index} bundle (was there), tag (was there)\n"
    verify = ("verify-attestation", "--key", PUB, name)
    said = run(*verify)
    assert said.count(f"{index} signed by {PUB} (ecdsa-p256), ") == 3
    assert said.count(f"says {SBOM}\n") == 2
    lines = run(*verify, "--type", "spdxjson", "-o", "json").splitlines()
    for line in lines:
        found = json.loads(line)
        statement = json.loads(base64.b64decode(found["payload"]))
        assert (found["payloadType"], len(found["signatures"])) == ("application/vnd.in-toto+json", 1)
        assert statement["predicate"] == {"name": "it"}
        assert statement["subject"] == [{"name": f"{host}/t/multi", "digest": {"sha256": index[7:]}}]
    assert len(lines) == 2
    assert "no attestation of" in run(*verify, "--type", "vuln", status=11)
    assert "has no signature" in run("verify", "--key", PUB, name, status=11)
    assert "has no attestation" in run(*verify, "--platform", "linux/arm64", status=11)
