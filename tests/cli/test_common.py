"""What the verbs print with: words of others never reach the terminal as commands."""

from __future__ import annotations

import json

import pytest

from imagesmith.cli.common import print_json, print_json_list, say, table

HOSTILE = "a\x1b[2Jb\x1b]0;title\x07c\x9b31md\x08e\x7ff\u202eg\u2066h"


def unprintable(text: str) -> set[str]:
    return {c for c in text if not c.isprintable() and c not in "\n\t"}


@pytest.mark.parametrize("show", [say, lambda text: table([text], [[text]]), print_json])
def test_no_control_character_is_printed(show: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(show)
    show(HOSTILE)
    assert unprintable(capsys.readouterr().out) == set()


def test_json_still_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": HOSTILE, "ä": "☃"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": HOSTILE, "ä": "☃"}
    assert "☃" in out


@pytest.mark.parametrize("values", [[], [HOSTILE], [{"a": [1, {"b": "c\nd"}]}, {}, []]])
def test_list_that_is_not_held_is_the_same_document(
    values: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    print_json(values)
    held = capsys.readouterr().out
    print_json_list(iter(values))
    assert capsys.readouterr().out == held
