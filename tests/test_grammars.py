"""A table that is kept beside a grammar is used only where it was made of the same."""

from __future__ import annotations

from typing import Any

import lark
import pytest
from lark import Lark

from imagesmith import grammars

_CODE = 'start: "a"+\n'


def test_the_kept_table_is_used_only_where_it_was_made_of_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    same = [lark.__version__, _CODE]
    for made, loaded in ((same, 1), (["0.0", _CODE], 0), ([lark.__version__, "other"], 0), (None, 0)):
        used: list[object] = []

        def kept(name: str, made: object = made) -> dict[str, Any]:
            return {"made": made} if made else {}

        def load(table: object, used: list[object] = used) -> None:
            used.append(table)

        monkeypatch.setattr(grammars, "kept", kept)
        monkeypatch.setattr(Lark, "load", load)
        grammars.parser("dockerfile", _CODE, lexer="contextual")
        assert len(used) == loaded


@pytest.mark.parametrize("name", ["dockerfile", "hcl"])
def test_comments_of_a_grammar_are_for_readers(name: str) -> None:
    text = grammars.text_of(name)
    assert text.startswith("//")
    assert not any(line.lstrip().startswith("//") for line in grammars.code_of(text).splitlines())


def test_a_grammar_that_is_missing_is_a_broken_installation() -> None:
    with pytest.raises(grammars.ImagesmithError, match=r"grammar/none\.lark is missing; install it again"):
        grammars.text_of("none")
