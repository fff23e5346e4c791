"""What brings an optional package is said in the words of the program that installed imagesmith."""

from __future__ import annotations

import pytest

from imagesmith.extras import how_to_get


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("/home/ann/.local/pipx/venvs/imagesmith", "pipx install --force 'imagesmith[explore]'"),
        ("/home/ann/.local/share/pipx/venvs/imagesmith", "pipx install --force 'imagesmith[explore]'"),
        ("/home/ann/.local/share/uv/tools/imagesmith", "uv tool install 'imagesmith[explore]'"),
        ("/home/ann/imagesmith", "pip install 'imagesmith[explore]'"),
    ],
)
def test_extra_is_installed_as_imagesmith_was(
    monkeypatch: pytest.MonkeyPatch, prefix: str, words: str
) -> None:
    monkeypatch.setattr("sys.prefix", prefix)
    assert how_to_get("explore") == words
