"""registry serve and gc: which flags go together, and what gc deletes."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from tests.cli.conftest import Run


def test_what_no_manifest_needs_is_deleted(run: Run, image: str) -> None:
    with Registry(Path("images")) as registry:
        run("push", "app:1", f"{registry.host}/t/app:1")
        run("blob", "put", f"{registry.host}/t/app", stdin=b"stray")
    assert run("registry", "gc", "--dir", "images") == "deleted 0 manifests and 1 blobs, 5 bytes\n"
    assert run("registry", "gc", "--dir", "images", "--untagged").startswith(
        "deleted 0 manifests and 0 blobs"
    )
    with Registry(Path("images")) as registry:
        assert run("validate", f"{registry.host}/t/app:1").startswith("valid: 1 manifests, 2 blobs")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "--addr", "5000"], "--addr 5000: must be HOST:PORT"),
        (["serve", "--addr", "h:70000"], "--addr h:70000: must be HOST:PORT"),
        (["serve", "--tls-cert", "c"], "--tls-cert and --tls-key go together"),
        (["serve", "--auth", "bearer"], "need the users of --htpasswd"),
        (["serve", "--anonymous-pull"], "need the users of --htpasswd"),
        (["serve", "--proxy-user", "me"], "belong to --proxy"),
        (
            ["serve", "--proxy", "http://127.0.0.1:1", "--proxy-user", "me"],
            "IMAGESMITH_PROXY_PASSWORD is not set",
        ),
        (["gc", "--dir", "none"], "none is not the folder of a registry"),
        ([], "required"),
    ],
)
def test_flags_that_do_not_go_together_are_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.delenv("IMAGESMITH_PROXY_PASSWORD", raising=False)
    assert said in run("registry", *words, status=2)
