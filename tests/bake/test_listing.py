"""--print and --list are buildx's to the byte: its own tests say what it writes."""

from __future__ import annotations

import json

from imagesmith.bake.listing import go_json, print_document, target_list, variable_list
from imagesmith.bake.selection import Selection
from imagesmith.bake.target import Group, Target
from imagesmith.values import frozen


@frozen
class Shown:
    """A variable."""

    name: str
    type: str
    value: str | None
    description: str


_TYPED = [
    Shown("abc", "string", "bar", "This is abc"),
    Shown("def", "string", None, "simple type, no default"),
    Shown("ghi", "number", "99", "simple type w/ default"),
    Shown("yza", "", "true", "inferred bool"),
    Shown("jkl", "list of string", '["hello"]', "collection with quoted strings"),
    Shown("pqr", "tuple", '[99,"99",true]', ""),
    Shown("xyz", "", '{"foo":"bar"}', "inferred object"),
]


def test_table_of_typed_variables() -> None:
    assert variable_list(_TYPED, as_json=False) == (
        "VARIABLE\tTYPE\t\tVALUE\t\tDESCRIPTION\n"
        "abc\t\tstring\t\tbar\t\tThis is abc\n"
        "def\t\tstring\t\t<null>\t\tsimple type, no default\n"
        "ghi\t\tnumber\t\t99\t\tsimple type w/ default\n"
        'jkl\t\tlist of string\t["hello"]\tcollection with quoted strings\n'
        'pqr\t\ttuple\t\t[99,"99",true]\t\n'
        'xyz\t\t\t\t{"foo":"bar"}\tinferred object\n'
        "yza\t\t\t\ttrue\t\tinferred bool\n"
    )


def test_table_of_variables_without_types() -> None:
    given = [Shown("foo", "", "bar", "This is foo"), Shown("abc", "", None, ""), Shown("def", "", "", "")]
    assert variable_list(given, as_json=False) == (
        "VARIABLE\tTYPE\tVALUE\tDESCRIPTION\nabc\t\t\t<null>\t\ndef\t\t\t\t\nfoo\t\t\tbar\tThis is foo\n"
    )


def test_variables_as_json() -> None:
    found = json.loads(variable_list(_TYPED[:2], as_json=True))
    assert found[0] == {"name": "abc", "description": "This is abc", "type": "string", "value": "bar"}
    assert "value" not in found[1]
    assert variable_list([], as_json=True) == "null\n"


def test_targets_and_groups() -> None:
    groups = {
        "all": Group(name="all", targets=("web", "app")),
        "told": Group(name="told", targets=("app",), description="Told"),
        "none": Group(name="none", targets=()),
    }
    targets = {"foo": "This builds foo", "abc": "", "_base": "hidden"}
    assert target_list(targets, {}, as_json=False) == "TARGET\tDESCRIPTION\nabc\t\nfoo\tThis builds foo\n"
    assert target_list(targets, groups, as_json=False) == (
        "TARGET\tDESCRIPTION\nabc\t\nall\tapp, web\nfoo\tThis builds foo\nnone\t\ntold\tTold (app)\n"
    )
    assert json.loads(target_list(targets, groups, as_json=True)) == [
        {"name": "abc"}, {"name": "all", "group": True}, {"name": "foo", "description": "This builds foo"},
        {"name": "none", "group": True}, {"name": "told", "description": "Told", "group": True},
    ]  # fmt: skip
    assert target_list({"_x": ""}, {}, as_json=True) == "null\n"


def test_cells_are_what_they_are_shown_as() -> None:
    assert target_list({"a": "x\ty"}, {}, as_json=False, shown=str.upper).endswith("A\tX\tY\n")


def test_json_is_gos() -> None:
    assert go_json({"a": "<&>\u2028\x01é\n"}) == '{\n  "a": "\\u003c\\u0026\\u003e\\u2028\\u0001é\\n"\n}\n'


def test_the_document_of_print() -> None:
    selection = Selection(
        targets={
            "web": Target(name="web", attributes={"context": ".", "dockerfile": "Dockerfile"}),
            "app": Target(
                name="app",
                attributes={
                    "output": ({"type": "image", "push": "true"},), "tags": ("app:1",),
                    "args": {"V": "a<b"}, "dockerfile": "Dockerfile", "context": ".",
                },
            ),
        },
        groups={
            "default": Group(name="default", targets=("app", "web")),
            "a": Group(name="a", targets=("web",), description="d"),
        },
    )  # fmt: skip
    assert go_json(print_document(selection)) == _PRINTED


_PRINTED = """\
{
  "group": {
    "a": {
      "description": "d",
      "targets": [
        "web"
      ]
    },
    "default": {
      "targets": [
        "app",
        "web"
      ]
    }
  },
  "target": {
    "app": {
      "context": ".",
      "dockerfile": "Dockerfile",
      "args": {
        "V": "a\\u003cb"
      },
      "tags": [
        "app:1"
      ],
      "output": [
        {
          "push": "true",
          "type": "image"
        }
      ]
    },
    "web": {
      "context": ".",
      "dockerfile": "Dockerfile"
    }
  }
}
"""
