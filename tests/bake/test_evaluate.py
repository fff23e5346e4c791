"""Expressions have the values that HCL gives them (Terraform agreed on those here), or an error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.evaluate import Budget, evaluate
from imagesmith.bake.values import SetValue, Value
from imagesmith.errors import DefinitionError
from tests.bake.support import Names, expr_of, n, refused, value_of

_APP: dict[str, Value] = {"name": "app", "tags": ("a", "b")}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3 - 4 % 3", n(6)), ("(1 + 2) * 3", n(9)), ("10 / 4", n("2.5")), ("0.1 + 0.2", n("0.3")),
        ("-7 % 3", n(-1)), ("7 % -3", n(1)), ("7.5 % 2", n("1.5")), ("--1", n(1)), ("1 - -1", n(2)),
        ('"5" + 1', n(6)), ('-"5"', n(-5)), ("1e3", n(1000)), ('"${1e3}"', n(1000)), ('"x${1e3}"', "x1000"),
        ('"x${1.50}"', "x1.5"), ('"x${1 / 3}"', "x0." + "3" * 155), ('"x${-0}"', "x0"),
        ("99999999999999999999999999999999999999999999 + 1", n("1" + "0" * 44)),
        ("1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3", True), ('"10" > 9', True), ("!true == false", True),
        ("true || false && false", True), ("1 + 2 == 3 && 4 > 3 || false", True), ("!!true", True),
        ('true && "true"', True), ('true && "1"', True), ('!"false"', True),
        ("true ? false ? 1 : 2 : 3", n(2)), ("1 == 1 ? 2 : 3", n(2)),
    ],
)  # fmt: skip
def test_operators(text: str, value: Value) -> None:
    found = value_of(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('1 == "1"', False), ("1 == 1.0", True), ("true == 1", False), ("null == null", True),
        ("null == 1", False),
        ('"a" == null', False), ("[1] == [1]", True), ('[1] == ["1"]', False),
        ("{a=1, b=2} == {b=2, a=1}", True),
        ("[] == {}", False), ("[[1]] == [[1]]", True), ("[null] == [null]", True), ("{a=null} == {}", False),
    ],
)  # fmt: skip
def test_what_is_equal_is_of_one_kind(text: str, same: bool) -> None:
    assert value_of(text) is same
    assert value_of(text.replace("==", "!=")) is not same


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("false && missing", False), ("missing && false", False), ("true || missing", True),
        ("missing || true", True),
        ("true || 1 / 0 == 1", True), ("missing || missing || true", True),
        ("missing && 1 == 2 && true", False),
    ],
)  # fmt: skip
def test_a_side_that_decides_hides_the_other_ones_mistake(text: str, value: bool) -> None:
    assert value_of(text) is value


@pytest.mark.parametrize(
    "text", ["true && missing", "missing && true", "false || missing", "missing || false"]
)
def test_a_side_that_does_not_decide_hides_nothing(text: str) -> None:
    assert refused(text) == ("there is no variable missing", "missing")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('true ? 1 : "a"', "1"), ('false ? 1 : "a"', "a"), ('true ? true : "a"', "true"),
        ("true ? null : 1", None),
        ("false ? null : 1", n(1)), ('true ? [1] : ["a", "b"]', ("1",)), ('true ? [] : ["a"]', ()),
        ('true ? [1, true] : ["a", false]', ("1", True)), ('true ? {a = 1} : {b = "x"}', {"a": "1"}),
        ('true ? {a = 1, b = true} : {a = "x", b = false}', {"a": "1", "b": True}),
        ("true ? {} : {a = 1}", {}),
        ("true ? [[1]] : [[]]", ((n(1),),)), ("true ? [null] : [1, 2]", (None,)), ('"true" ? 1 : 2', n(1)),
        ("true ? 1 : missing", n(1)), ("false ? 1 / 0 : 1", n(1)),
    ],
)  # fmt: skip
def test_both_results_of_a_condition_become_one_type(text: str, value: Value) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    "text", ["true ? 1 : true", "true ? [] : {}", "true ? [1, true] : []", "true ? 1 : [1]"]
)
def test_results_without_a_common_type_are_refused(text: str) -> None:
    message, under = refused(text)
    assert message.startswith("the results of ? : need one type, these are ")
    assert under == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("app.name", "app"), ('app["name"]', "app"), ("app.tags[1]", "b"), ("app.tags.1", "b"),
        ('[1, 2]["0"]', n(1)),
        ('{"1" = "v"}[1]', "v"), ("apps[0].tags[0]", "a"), ("app.tags[*]", ("a", "b")),
        ("apps[*].name", ("app", "app")), ("apps[*].tags[0]", ("a", "a")), ("apps.*.tags[0]", ("a", "b")),
        ("apps[*].tags[*]", (("a", "b"), ("a", "b"))), ("app[*].name", ("app",)), ("app.*.name", ("app",)),
        ("null[*]", ()), ("null[*].name", ()), ("[null][*]", (None,)), ('"x"[*]', ("x",)),
        ("set[*]", ("p", "q")),
    ],
)  # fmt: skip
def test_traversals_and_splats(text: str, value: Value) -> None:
    assert value_of(text, app=_APP, apps=(_APP, _APP), set=SetValue(("p", "q"))) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[for v in tags: max(1, 2)]", (n(2), n(2))), ('[for i, v in tags: "${i}${v}" if i > 0]', ("1b",)),
        ("[for k, v in {b = 1, a = 2}: k]", ("a", "b")), ("[for v in {b = 1, a = 2}: v]", (n(2), n(1))),
        ("[for k, v in set: k == v]", (True, True)), ('[for v in tags: v if "true"]', ("a", "b")),
        ("{for i, v in tags: v => i}", {"a": n(0), "b": n(1)}), ("{for v in [1]: v => v}", {"1": n(1)}),
        ("{for v in [2, 1, 2]: v => v...}", {"1": (n(1),), "2": (n(2), n(2))}),
        ("[for v in tags: [for w in [v]: \"${v}${w}\"]]", (("aa",), ("bb",))), ("[for v in []: v]", ()),
        ("[for tags in tags: tags]", ("a", "b")),
        ('"%{for v in tags}<${v}>%{endfor}"', "<a><b>"), ('"%{for i, v in tags}${i}${v}%{endfor}"', "0a1b"),
        ('"%{for k, v in {a = "b"}}${k}${v}%{endfor}"', "ab"), ('"%{if true}${5}%{endif}"', "5"),
        ('"%{if false}x%{endif}"', ""), ('"%{if "true"}x%{else}y%{endif}z"', "xz"),
    ],
)  # fmt: skip
def test_for_and_directives(text: str, value: Value) -> None:
    assert value_of(text, tags=("a", "b"), set=SetValue(("p", "q"))) == value


def test_maps_are_in_the_order_of_their_keys() -> None:
    for text in ("{b = 1, a = 2}", '{for v in ["b", "a"]: v => 1}', '{for v in ["b", "a"]: v => 1...}'):
        found = value_of(text)
        assert isinstance(found, dict)
        assert list(found) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("try(missing, 1 / 0, 3)", n(3)), ("try(app.none, app.name)", "app"), ("can(app.name)", True),
        ("can(app.none)", False), ('convert("1", number)', n(1)), ('convert([1], list(string))', ("1",)),
        ("convert(null, string)", None), ("max([1, 5, 3]...)", n(5)), ("max(1, [2, 3]...)", n(3)),
    ],
)  # fmt: skip
def test_calls(text: str, value: Value) -> None:
    assert value_of(text, app=_APP) == value


@pytest.mark.parametrize(
    ("text", "message", "under"),
    [
        ("missing", "there is no variable missing", "missing"),
        ("maxx(1)", "there is no function maxx (did you mean max?)", "maxx"),
        ("tru(1)", "there is no function tru (did you mean try?)", "tru"),
        ("app.nam", "there is no nam in this map (did you mean name?)", "app.nam"),
        ('app["x y"]', "there is no x y in this map", 'app["x y"]'),
        ("null.a", "a null has no attribute a", "null.a"),
        ("app.tags.a", "a list has no attribute a", "app.tags.a"),
        ("app.tags[2]", "there is no element 2: the list has 2 elements", "2"),
        ("[1][5]", "there is no element 5: the list has 1 element", "5"),
        ("[1][-1]", "an index is a whole number from 0, not -1", "-1"),
        ("[1][0.5]", "an index is a whole number from 0, not 0.5", "0.5"),
        ("[1][null]", "null is no index", "null"),
        ('[1]["a"]', "unsuitable as an index: a number is needed, not a string", '"a"'),
        ("app[[1]]", "unsuitable as a key: a string is needed, not a list", "[1]"),
        ('"a"[0]', "a string has no indexes", '"a"[0]'),
        ('"a" + 1', "unsuitable for +: a number is needed, not a string", '"a"'),
        ("1 + null", "unsuitable for +: it is null", "null"),
        ("1 < true", "unsuitable for <: a number is needed, not a bool", "true"),
        ("!1", "unsuitable for !: a bool is needed, not a number", "1"),
        ("true && 1", "unsuitable for &&: a bool is needed, not a number", "1"),
        ("false && null", "unsuitable for &&: it is null", "null"),
        ("1 / 0", "division by zero", "0"),
        ("1 % 0", "division by zero", "0"),
        ("1e9999 * 10", "the result is too large a number", "1e9999 * 10"),
        ('"x${[1]}"', "this cannot stand in a string: a string is needed, not a list", "[1]"),
        ('"x${null}"', "this cannot stand in a string: it is null", "null"),
        ("null ? 1 : 2", "a condition is true or false: it is null", "null"),
        ("[for v in null: v]", "for goes over a list, set or map, not a null", "null"),
        ('[for v in "a": v]', "for goes over a list, set or map, not a string", '"a"'),
        ("[for v in [1]: v if null]", "a condition is true or false: it is null", "null"),
        ("{for v in [1, 1]: v => v}", "two elements have the key 1", "v"),
        ("{for v in [null]: v => 1}", "a key is a string: it is null", "v"),
        ("{(null) = 1}", "a key is a string: it is null", "(null)"),
        ("max(1...)", "... needs a list, not a number", "1"),
        ('max(1, "a")', 'max: numbers: a number is needed, not a string', '"a"'),
        ("try()", "try takes an expression, or several", "try()"),
        ("can(1, 2)", "can takes one expression", "can(1, 2)"),
        ("convert(1)", "convert takes a value and a type", "convert(1)"),
        ('convert("a", number)', "convert: a number is needed, not a string", '"a"'),
        ("try(missing, 1 / 0)", "try: no expression has a value; the last: division by zero",
        "try(missing, 1 / 0)"),
    ],
)  # fmt: skip
def test_mistakes_are_said_and_shown(text: str, message: str, under: str) -> None:
    assert refused(text, app=_APP) == (message, under)


class _Lazy(Mapping[str, Value]):
    """A map that works out what it is asked for, and fails for anything else."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Value:
        self.asked.append(name)
        return name.upper()

    def __contains__(self, name: object) -> bool:
        return name in ("a", "b")

    def __iter__(self) -> Iterator[str]:
        return iter(("a", "b"))

    def __len__(self) -> int:
        return 2


def test_a_map_may_work_out_only_what_is_asked_for() -> None:
    lazy = _Lazy()
    assert value_of("true ? target.b : target.none", target=lazy) == "B"
    assert lazy.asked == ["b"]
    assert refused("target.c", target=lazy) == ("there is no c in this map (did you mean a?)", "target.c")
    assert value_of("[for k, v in target: v]", target=lazy) == ("A", "B")


# --- limits ---------------------------------------------------------------------------------------


def _doubled(times: int) -> Value:
    value: Value = ("x",)
    for _ in range(times):
        value = (value, value)
    return value


@pytest.mark.parametrize(
    "text", ["v", "v == w", "true ? v : w", "equal(v, v)", "[v]", "convert(v, any)", "try(v == w, 1)"]
)
def test_values_that_share_parts_are_weighed_by_all_they_hold(text: str) -> None:
    message, _ = refused(text, v=_doubled(60), w=_doubled(60))
    assert message == "this value is too large"


def test_texts_are_limited() -> None:
    text = "x" * (4 << 20)
    assert refused('"${v}${v}"', v=text)[0] == "this text has 8388608 characters, more than 4194304"
    message, _ = refused('[for v in many: "${t}a"][0]', t=text[1:], many=(None,) * 100)
    assert message == "the texts of this file become too long"


def test_depth_of_values_is_limited() -> None:
    value: Value = ()
    for _ in range(200):
        value = (value,)
    assert refused("v", v=value)[0] == "this value is deeper than 100 levels"


def test_steps_are_limited_and_try_does_not_go_on() -> None:
    many = "[for a in v: [for b in v: [for c in v: c]]]"
    for text in (many, f"try({many}, 1)", f"can({many})", f"true ? 1 : {many}", f"true || {many}"):
        with pytest.raises(DefinitionError, match="this takes too many steps to work out"):
            value_of(text, Budget(steps=10_000), v=(n(1),) * 100)


def test_a_budget_is_shared_by_what_is_worked_out_for_each_other() -> None:
    budget = Budget()

    class Endless(Names):
        def value(self, name: str, span: object) -> Value:
            return evaluate(expr_of("x"), self, budget)

    with pytest.raises(DefinitionError, match="more than 40 values are needed for each other"):
        evaluate(expr_of("try(x, 1)"), Endless(), budget)


def test_without_a_shared_budget_there_is_still_an_end() -> None:
    class Endless(Names):
        def value(self, name: str, span: object) -> Value:
            return evaluate(expr_of("x"), self)

    with pytest.raises(DefinitionError, match="this goes too deep"):
        evaluate(expr_of("x"), Endless())


def test_the_deepest_tree_that_is_read_is_worked_out() -> None:
    for text in ("(" * 98 + "1" + ")" * 98, "[" * 98 + "]" * 98, "!" * 190 + "true", "1" + " + 1" * 190,
                 "true ? 1 : " * 190 + "1",
                 "m" + ".a" * 99, "[for a in " * 90 + "[1]" + ": a]" * 90):  # fmt: skip
        tree: Value = {}
        for _ in range(99):
            tree = {"a": tree}
        with contextlib.suppress(DefinitionError):
            value_of(text, m=tree)


# --- whatever the text ----------------------------------------------------------------------------

_PIECES = st.sampled_from(
    [
        "1", '"a"', "null", "true", "v", "app", "[", "]", "{", "}", "(", ")", " ", ".", "[*]", ".*",
        "[0]", ".name", ",",
        "=", " = ", "=>", "...", "?", ":", "+", "-", "*", "/", "%", "!", "&&", "||", "==", "<",
        "for x in ", "x", " if ",
        '"${', '}"', '"%{if ', '%{endif}"', "try(", "can(", "max(", "join(", "convert(", "list(string)",
    ]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=25).map("".join))
def test_any_expression_has_a_value_or_is_refused(text: str) -> None:
    with contextlib.suppress(DefinitionError):
        value_of(text, v=(n(1), "a", None), app=_APP)


_EXPRESSIONS = st.recursive(
    st.sampled_from(["1", "0", '"a"', '"1"', "true", "null", "[]", "{}", "v", "app", "-1", "app.tags"]),
    lambda inner: st.one_of(
        st.builds(
            "({} {} {})".format,
            inner,
            st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "&&", "||"]),
            inner,
        ),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{{a = {}, b = {}}}".format, inner, inner),
        st.builds("[for x in {}: {}]".format, inner, inner),
        st.builds("{{for x in {}: x => {}...}}".format, inner, inner),
        st.builds('"x${{{}}}%{{if {}}}y%{{endif}}"'.format, inner, inner),
        st.builds("{}{}".format, inner, st.sampled_from(["[*]", ".a", "[0]", ".*.a", '["a"]'])),
        st.builds("try({}, {})".format, inner, inner),
    ),
    max_leaves=12,
)


@given(_EXPRESSIONS)
def test_any_tree_has_a_value_or_is_refused_and_always_the_same(text: str) -> None:
    def outcome() -> object:
        try:
            return value_of(text, v=(n(1), "a", None), app=_APP)
        except DefinitionError as e:
            return e.message, e.line, e.column, e.end

    assert outcome() == outcome()


@pytest.mark.parametrize(
    "text",
    [
        'length([for i in range(1024): csvdecode("a,b,c\\n${line}")])',
        "[for i in range(1000): bcrypt(\"x\", 15)]",
        '[for i in range(1000): can(rsadecrypt("eA==", "no key"))]',
        '[for i in range(1024): length(regexall("(a*)*b|(.*.*.*.*)c", long))]',
        '[for i in range(1024): regex_replace(long, "(a*)*b|(.*.*.*.*)c", "")]',
        "[for i in range(1024): strlen(long)]", "[for i in range(1024): reverse(long)]",
        "[for i in range(1024): list == list]", "[for i in range(1024): sort(list)]",
        "[for i in range(1024): range(1024)]", "[for i in range(1024): upper(line)]",
    ],
)  # fmt: skip
def test_work_of_functions_counts(text: str) -> None:
    """Each would take minutes: a million steps of a file are some seconds."""
    names: dict[str, Value] = {
        "line": "1,2,3\n" * 5000, "long": "a" * 2000, "list": tuple(map(str, range(20_000)))
    }  # fmt: skip
    with pytest.raises(DefinitionError, match="too many steps"):
        evaluate(expr_of(text), Names(names), Budget(steps=300_000))


def test_patterns_and_hashes_of_many_targets_are_no_work() -> None:
    text = '[for i in range(500): regex_replace("feature/some-branch-${i}", "[^a-zA-Z0-9_.-]+", "-")]'
    assert value_of(f"length({text})") == n(500)
    assert value_of('length([for i in range(500): regex("^v?([0-9]+)[.]([0-9]+)$", "v1.${i}")])') == n(500)
    assert value_of('length([for i in range(500): md5(sha256("${i}"))])') == n(500)
