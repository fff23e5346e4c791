"""attest: what is said of an image is signed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from imagesmith.trust.finding import SIGN
from tests.cli.conftest import Run
from tests.cli.test_sign import KEY, PUB, password

__all__ = ["password"]


@pytest.fixture(autouse=True)
def predicate(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"name": "it"}')


def test_of_a_platform_is_said_what_is_meant_for_it(run: Run, index: str) -> None:
    words = ("attest", "--key", KEY, "--predicate", "-", "--platform", "linux/arm64", "store:multi:1")
    made = run(*words, "--type", "custom", stdin=b"any words").split()[0]
    assert made != index
    verify = ("verify-attestation", "--key", PUB, "store:multi:1")
    (line, _) = run(*verify, "--platform", "linux/arm64", "--json").splitlines()
    statement = json.loads(base64.b64decode(json.loads(line)["payload"]))
    assert statement["predicate"] == {"Data": "any words", "Timestamp": "2025-11-24T16:00:00Z"}
    assert "has no attestation" in run(*verify, status=11)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--predicate", "none.json", "--type", "vuln"], 2, "cannot read none.json"),
        (["--predicate", "list.json", "--type", "vuln"], 6, "list.json: must be a JSON object"),
        (["--predicate", "p.json", "--type", "none"], 2, "--type none: no predicate type"),
        (["--predicate", "bytes", "--type", "custom"], 6, "bytes: not UTF-8"),
        (["--predicate", "p.json", "--type", SIGN], 2, "is what signatures say: `imagesmith sign`"),
        (["--type", "vuln"], 2, "required: --predicate"),
    ],
)
def test_what_cannot_be_said_is_told(
    run: Run, image: str, tmp_path: Path, words: list[str], status: int, says: str
) -> None:
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert says in run("attest", "store:app:1", "--key", KEY, *words, status=status)
