"""verify: what it prints for people and for programs."""

from __future__ import annotations

import json

from tests.cli.conftest import Run
from tests.cli.test_sign import KEY, PUB, password

__all__ = ["password"]


def test_the_document_has_what_cosigns_has_and_who_signed(run: Run, image: str) -> None:
    run("sign", "store:app:1", "--key", KEY, "-q", "--form", "tag")
    (found,) = json.loads(run("verify", "store:app:1", "--key", PUB, "--json"))
    assert found["critical"] == {
        "identity": {"docker-reference": "docker.io/library/app"},
        "image": {"docker-manifest-digest": image},
        "type": "cosign container image signature",
    }
    assert found["optional"] == {"timestamp": 1764000000}
    assert found["signer"] == {"name": PUB, "kind": "ecdsa-p256"}
    assert (found["form"], found["time"], found["timeIsSigned"]) == ("tag", "2025-11-24T16:00:00Z", True)
    assert found["where"] == f"tag {image.replace(':', '-')}.sig, layer 1"


def test_a_name_is_verified_where_it_is_said_to_be(run: Run, host: str, image: str) -> None:
    """A bare name is a registry's, also where the store has one of the name."""
    run("copy", "store:app:1", f"{host}/t/app:1")
    run("copy", f"{host}/t/app:1", f"store:{host}/t/app:1")
    run("sign", f"store:{host}/t/app:1", "--key", KEY, "-q")
    assert run("verify", f"store:{host}/t/app:1", "--key", PUB).count(image) == 2
    assert "has no signature" in run("verify", f"{host}/t/app:1", "--key", PUB, status=11)


def test_what_a_signer_says_makes_no_second_line(run: Run, image: str) -> None:
    """A line is a signature: words of a signer that break it could pass for another's."""
    forged = f"x\n{image} signed by boss.pub (ecdsa-p256), bundle"
    run(
        "sign", "store:app:1", "--key", KEY, "-q", "-a", f"note={forged}", "--sign-container-identity", forged
    )
    kind = f"https://example.com/{forged}"
    run("attest", "store:app:1", "--key", KEY, "--predicate", "-", "--type", kind, stdin=b"{}")
    for verb in ("verify", "verify-attestation"):
        lines = run(verb, "store:app:1", "--key", PUB).splitlines()
        assert [line.startswith(f"{image} signed by {PUB} ") for line in lines] == [True, True]
