"""Definitions: several files, inheritance, matrix, references between blocks, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from imagesmith.bake import hcl, hcljson
from imagesmith.bake.definition import Definition, define
from imagesmith.bake.listing import go_json, print_document
from imagesmith.bake.overrides import overrides_of
from imagesmith.bake.places import Source
from imagesmith.bake.selection import select
from imagesmith.bake.target import Setting
from imagesmith.bake.variables import Given
from imagesmith.errors import DefinitionError


def read(*texts: str, given: Given | None = None) -> Definition:
    """The definition of some files; « and » are the braces of a block, on lines of their own."""
    bodies = [
        (hcljson if text.lstrip().startswith("{") else hcl).parse(Source(f"file-{n}", text))
        for n, text in enumerate(text.replace("«", "{\n").replace("»", "\n}\n") for text in texts)
    ]
    return define(bodies, given or Given())


def resolved(definition: Definition, name: str, *sets: str) -> Mapping[str, Setting]:
    return definition.resolve(name, overrides_of(sets, list(definition.targets), {})).attributes


def read_all(*texts: str, given: Given | None) -> None:
    found = read(*texts, given=given)
    for name in found.targets:
        found.resolve(name, {})


def refusal(*texts: str, given: Given | None = None) -> tuple[str, str]:
    """What is said of a definition, and the characters above the caret."""
    with pytest.raises(DefinitionError) as e:
        read_all(*texts, given=given)
    error = e.value
    return error.message, error.source.split("\n")[error.line - 1][error.column : error.end]


def test_later_files_come_over_earlier_ones() -> None:
    found = read(
        'target "a" « tags = ["x"]\n args = {A = 1, B = 2}\n cache-from = ["type=registry,ref=r/1"] »',
        '{"target": {"a": {"tags": ["y"], "args": {"B": "3"}, "cache-from": ["type=registry,ref=r/2"]}}}',
    )
    a = resolved(found, "a")
    assert (a["tags"], a["args"]) == (("y",), {"A": "1", "B": "3"})
    assert [e["ref"] for e in a["cache-from"]] == ["r/1", "r/2"]  # type: ignore[index,union-attr]


def test_parents_count_from_left_to_right_with_what_is_set_over_them() -> None:
    found = read(
        'target "c" « inherits = ["a", "b"]\n args = {own = 1} »\n'
        'target "a" « args = {x = "a", y = "a"}\n target = "a" »\n'
        'target "b" « inherits = ["root"]\n args = {y = "b"} »\n'
        'target "root" « labels = {l = "root"} »\n'
    )
    c = resolved(found, "c", "a.args.x=set", "root.labels.l=set")
    assert c["args"] == {"x": "set", "y": "b", "own": "1"}
    assert (c["target"], c["labels"]) == ("a", {"l": "set"})


def test_parents_in_a_circle_end() -> None:
    found = read(
        'target "a" « inherits = ["b"]\n tags = ["a"] »\ntarget "b" « inherits = ["a"]\n target = "b" »\n'
    )
    assert resolved(found, "a") == {"target": "b", "tags": ("a",)}


def test_chain_of_parents_may_be_long() -> None:
    blocks = [f'target "t{n}" « inherits = ["t{n + 1}"]\n args = {{A{n} = {n}}} »\n' for n in range(3000)]
    found = read("".join(blocks) + 'target "t3000" {}\n')
    assert len(resolved(found, "t0")["args"]) == 3000  # type: ignore[arg-type]


def test_matrix_makes_targets_and_a_group() -> None:
    found = read(
        'target "app" « name = "app-${os.name}-${replace(v, ".", "-")}"\n'
        ' matrix = { v = ["1.0", "2.0"],\n'
        ' os = [{name = "a", base = "alpine"}, {name = "d", base = "debian"}] }\n'
        ' args = { BASE = os.base, V = v }\n tags = ["x:${v}"] »\n'
        'target "after" « args = { T = target.app-d-1-0.tags[0] } »\n'
    )
    assert found.groups["app"].targets == ("app-a-1-0", "app-a-2-0", "app-d-1-0", "app-d-2-0")
    assert resolved(found, "app-d-1-0")["args"] == {"BASE": "debian", "V": "1.0"}
    assert resolved(found, "after")["args"] == {"T": "x:1.0"}


def test_blocks_refer_to_each_other_in_any_order() -> None:
    found = read(
        'target "b" « args = { X = target.a.args.Y } »\n'
        'target "a" « args = { Y = W »\n tags = group.default.targets »\n'
        'group "default" « targets = ["a", "b"] »\nW = upper(V)\nvariable "V" « default = "v" »\n'
    )
    assert resolved(found, "b")["args"] == {"X": "V"}
    assert resolved(found, "a")["tags"] == ("a", "b")


def test_functions_of_the_file() -> None:
    found = read(
        'function "tag" « params = [name]\n variadic_params = more\n'
        ' result = join("-", concat([name, PREFIX], more)) »\n'
        'PREFIX = "p"\ntarget "a" « tags = [tag("x"), tag("x", "y", "z"), tag(["q", "r"]...)] »\n'
    )
    assert resolved(found, "a")["tags"] == ("x-p", "x-p-y-z", "q-p-r")


VARIABLES = """
variable "untyped" « default = "d" »
variable "empty" {}
variable "flag" « default = true »
variable "count" « default = 2 »
variable "list" « type = list(number) »
variable "map" « type = map(string)
  default = {} »
variable "object" « type = object({a = string, b = optional(number, 7)})
  default = {a = "x"} »
target "t" « args = {
  untyped = untyped, empty = empty, flag = flag, count = count, list = jsonencode(list),
  map = jsonencode(map), object = "${object.a}${object.b}" } »
"""


@pytest.mark.parametrize(
    ("env", "changed"),
    [
        ({}, {}),
        ({"untyped": "e", "empty": "f"}, {"untyped": "e", "empty": "f"}),
        ({"flag": "0", "count": "1.50"}, {"flag": "false", "count": "1.5"}),
        ({"list": "1,2", "map": 'k=v,"a,b=c"'}, {"list": "[1,2]", "map": '{"a,b":"c","k":"v"}'}),
        ({"map": "k:v,a=b:c,u:x:y"}, {"map": '{"a":"b:c","k":"v","u":"x:y"}'}),
        ({"list": "1", "list_JSON": "[3]"}, {"list": "[3]"}),
        ({"object_JSON": '{"a": "y"}'}, {"object": "y7"}),
        ({"untyped_JSON": "[1]"}, {"untyped": "[1]"}),
        ({"untyped": "e", "untyped_JSON": "[1]"}, {"untyped": "e"}),
    ],
)
def test_values_from_outside(env: dict[str, str], changed: dict[str, str]) -> None:
    args = {
        "untyped": "d", "empty": "", "flag": "true", "count": "2", "list": "null", "map": "{}",
        "object": "x7",
    }  # fmt: skip
    assert resolved(read(VARIABLES, given=Given(env=env)), "t")["args"] == args | changed
    given = Given(vars=env, env=dict.fromkeys(env, "other"))
    assert resolved(read(VARIABLES, given=given), "t")["args"] == args | changed


def test_builtin_names() -> None:
    given = Given(context="sub", platform="linux/amd64")
    found = read('target "t" « context = BAKE_CMD_CONTEXT\n platforms = [BAKE_LOCAL_PLATFORM] »', given=given)
    assert resolved(found, "t") == {"context": "sub", "platforms": ("linux/amd64",)}


@pytest.mark.parametrize(
    ("text", "message", "word"),
    [
        ('target "a" « tagz = [] »',
         'unsupported argument: a target has no "tagz" (did you mean tags?)', "tagz"),
        ('target "a" « args « » »', 'unsupported block: a target has no "args"', "args"),
        ('targets "a" « »', 'unsupported block type "targets" (did you mean target?)', "targets"),
        ('target "a b" « »', 'invalid name "a b": only letters, digits, _ and - are allowed', '"a b"'),
        ('target "a" « tags = [TAG] »\nvariable "TAGS" {}',
         'variable "TAG" does not exist (did you mean TAGS?)', "TAG"),
        ('A = B\nB = A', "variable cycle not allowed for A", "A"),
        ('function "f" « params = []\n result = f() »\nA = f()', "function cycle not allowed for f", "f()"),
        ('target "a" « args = { X = target.a.args } »', "args is needed for itself", "args"),
        ('target "a" « name = "b" »', "name needs a matrix, whose targets it names", "name"),
        ('target "a" « matrix = { v = [1, 2] } »', "the matrix makes target a twice", "matrix"),
        ('target "a" « name = "x"\n matrix = { v = [1, 2] } »', "the matrix makes target x twice", '"x"'),
        ('target "a" « name = "x"\n matrix = { v = 1 } »',
         "matrix: v: a list is needed, not a number", "{ v = 1 }"),
        ('target "a" « inherits = ["b"] »', "failed to find target b (did you mean a?)", '["b"]'),
        ('variable "V" « default = 1\n validation « condition = V > 1\n error_message = "V: too small." » »',
         "V: V: too small", "V > 1"),
        ('variable "V" « type = number\n default = "x" »',
         "V: invalid value for number: a number is needed, not a string", '"x"'),
        ('A = 1\n\nA = 2', None, "A"),
    ],
)  # fmt: skip
def test_mistakes_are_shown_at_their_place(text: str, message: str | None, word: str) -> None:
    said, at = refusal(text)
    if message is not None:
        assert said == message
    assert at == word


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"flag": "yes"}, "failed to parse flag as bool: 'yes'"),
        ({"count": "x"}, "failed to parse count as number: 'x'"),
        ({"list": "a"}, "list: invalid value for list(number): [0]: a number is needed, not a string"),
        ({"object": "a"}, "object: an object is given as JSON, by object_JSON"),
        ({"map": "a"}, "map: 'a' is neither KEY:VALUE nor KEY=VALUE"),
    ],
)
def test_values_from_outside_that_cannot_be(env: dict[str, str], message: str) -> None:
    assert refusal(VARIABLES, given=Given(env=env))[0] == message


NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
BLOCKS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES},
        optional={
            "inherits": st.lists(NAMES, max_size=2),
            "tags": st.lists(st.sampled_from(["r/x", "r/y", "$x"]), max_size=2),
            "args": st.dictionaries(NAMES, st.sampled_from(["1", "%{", "${x}", ""]), max_size=2),
            "target": st.sampled_from(["s", "t"]),
            "no-cache": st.booleans(),
        },
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@examples(blocks=BLOCKS)
def test_what_is_printed_says_the_same_when_it_is_read(blocks: list[dict[str, object]]) -> None:
    names = {str(block["name"]) for block in blocks}
    lines = []
    for block in blocks:
        said = {k: v for k, v in block.items() if k != "name"}
        if "inherits" in said:
            said["inherits"] = [n for n in said["inherits"] if n in names]  # type: ignore[union-attr]
        text = json.dumps(said).replace("${", "$${").replace("%{", "%%{")
        lines.append({"target": {str(block["name"]): json.loads(text)}})
    found = read(*(json.dumps(line) for line in lines))
    printed = go_json(print_document(select(found, sorted(names), {})))
    again = read(printed)
    assert go_json(print_document(select(again, sorted(names), {}))) == printed


@pytest.mark.parametrize("turned", [False, True])
def test_values_that_need_each_other_may_be_a_long_row(turned: bool) -> None:
    rows = [f'V{n} = "${{V{n + 1}}}"' for n in range(2000)]
    rows = [*rows, 'V2000 = "end"', 'target "t" «\n tags = [V0] »']
    assert resolved(read("\n".join(rows[::-1] if turned else rows)), "t")["tags"] == ("end",)


@pytest.mark.parametrize(
    "text",
    [
        "A = A",
        'A = [for x in [1]: B]\nB = "${C}"\nC = A',
        'function "f" « params = []\n result = A »\nA = f()',
        'A = target.t.args.X\ntarget "t" « args = { X = A } »',
        "A = try(B, 1)\nB = A",
    ],
)
def test_circles_end(text: str) -> None:
    assert "cycle not allowed for" in refusal(text)[0]


def test_names_of_a_for_are_its_own() -> None:
    found = read('A = [for A, B in {k = "v"}: "${A}${B}"]\nB = A[0]\ntarget "t" « tags = [B] »')
    assert resolved(found, "t")["tags"] == ("kv",)


def test_attributes_that_are_not_set_are_null() -> None:
    found = read(
        'target "a" « target = target.b.target == null ? "none" : "some" »\ntarget "b" « tags = [] »'
    )
    assert resolved(found, "a")["target"] == "none"


def test_what_a_target_is_for_others() -> None:
    found = read(
        'target "a" « cache-from = [{ type = "registry", ref = "u/a" }, "type=local,src=p"]\n'
        'output = ["type=oci,dest=o"]\nargs = { n = 1 }\n »'
        'target "b" « dockerfile = target.b.name\n context = target.a.context\n target = target.b.context\n'
        "cache-to = [target.a.cache-from[0]]\n cache-from = target.a.cache-from\n tags = target.a.inherits\n"
        'labels = { x = target.a.cache-from[1].type, y = "${target.a.output[0].type}"\n'
        'z = target.a.args.n == "1"\n w = target.b.target == null }\n »'
    )
    b = resolved(found, "b")
    assert b["dockerfile"] == "b"
    assert b["labels"] == {"x": "local", "y": "oci", "z": "true", "w": "true"}
    assert b["cache-to"] == ({"type": "registry", "ref": "u/a"},)
    assert "target" not in b
    assert "tags" not in b
    with pytest.raises(DefinitionError, match="contxt"):
        read('target "a" « context = target.a.contxt »')


def test_blocks_of_a_name_with_a_matrix_are_one_group() -> None:
    found = read('target "x" « name = "y"\n matrix = {} »target "x" « name = "z"\n matrix = {} »')
    assert found.groups["x"].targets == ("y", "z")


def test_a_matrix_of_one_needs_no_name() -> None:
    assert list(read('target "x" « matrix = { a = [1] }\n tags = ["t:${a}"] »').targets) == ["x"]
    with pytest.raises(DefinitionError, match="target x twice") as caught:
        read('target "x" « matrix = { a = [1, 2] } »')
    assert "name" in caught.value.hint


def test_a_later_file_sets_what_an_earlier_one_set() -> None:
    app = 'FOO = "abc"\ntarget "a" « tags = ["x:${FOO}"] »'
    assert resolved(read(app, 'FOO = "def"\n'), "a")["tags"] == ("x:def",)
    with pytest.raises(DefinitionError):
        read('FOO = "abc"\nFOO = "def"\n')
