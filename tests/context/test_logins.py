"""Addresses without logins."""

from __future__ import annotations

import pytest

from imagesmith.context.logins import without_login


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://user:secret@example.com/a.git#main", "https://example.com/a.git#main"),
        ("https://token@example.com/a", "https://example.com/a"),
        ("HTTP://t@example.com/a", "HTTP://example.com/a"),
        ("ssh://git@example.com/a", "ssh://git@example.com/a"),
        ("ssh://alice@example.com/a", "ssh://example.com/a"),
        ("ssh://git:pw@example.com/a", "ssh://example.com/a"),
        ("git@example.com:a/b.git", "git@example.com:a/b.git"),
        ("curl ftp://u:p@h/x https://u:p@i/y", "curl ftp://h/x https://i/y"),
        ("https://example.com/a@b:c", "https://example.com/a@b:c"),
        ("a@b", "a@b"),
    ],
)
def test_logins_are_left_out_of_addresses(text: str, told: str) -> None:
    assert without_login(text) == told
