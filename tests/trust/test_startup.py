"""A build that signs nothing imports nothing of `cryptography`, nor of what uses it; one that signs does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from imagesmith.trust.keys import generate
from tests.support import IMAGESMITH


@pytest.mark.parametrize("signs", [False, True])
def test_a_build_imports_keys_only_to_sign(tmp_path: Path, signs: bool) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    (tmp_path / "plain.key").write_bytes(generate("ecdsa-p256").pem)
    words = ["--sign", "plain.key"] if signs else []
    with Registry(tmp_path / "registry") as registry:
        name = f"{registry.host}/a:1"
        done = subprocess.run(
            [sys.executable, "-X", "importtime", *IMAGESMITH[1:], "build", "-t", name, "--push", *words, "."],
            cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "IMAGESMITH_ROOT": "store"},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    loaded = {line.rsplit("|", 1)[1].strip() for line in lines}
    assert ("cryptography" in loaded) == signs
    assert ("imagesmith.trust.keys" in loaded) == signs
