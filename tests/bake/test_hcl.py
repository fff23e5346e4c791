"""HCL becomes a tree, or an error that points at what is wrong; nothing else, whatever the text."""

from __future__ import annotations

import contextlib
import logging
import unicodedata

import lark
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagesmith import grammars
from imagesmith.bake import hcl
from imagesmith.bake.nodes import Body, Call, ForMap, ForTuple, Literal, MapExpr, Splat, Template
from imagesmith.bake.pieces import CHARACTERS, Piece
from imagesmith.bake.places import Source
from imagesmith.bake.scanner import NESTING, WORDS
from imagesmith.errors import DefinitionError
from tests.bake.support import expr_of, marked, value_of

_FILE = """\
// what is built
variable "TAG" {
  default = "latest" # or what the environment says
}
group default { targets = ["app", "db",] }
/* a target
   of two lines */
target "app" {
  tags = [
    "app:${TAG}",

    "app:1"   // the last one
  ]
  dockerfile-inline = <<-EOT
    FROM scratch
      COPY . /
    EOT
  args = { A = 1, "B": 2
    (TAG) = 3
  }
}
target "größe-1" "two" {}
"""


def _parse(text: str) -> Body:
    return hcl.parse(Source("docker-bake.hcl", text))


def _fault(text: str) -> tuple[str, int, str]:
    with pytest.raises(DefinitionError) as caught:
        _parse(text)
    return caught.value.message, caught.value.line, marked(caught.value)


# --- what is read ---------------------------------------------------------------------------------


def test_a_file_is_blocks_with_labels_and_attributes() -> None:
    body = _parse(_FILE)
    assert [(b.type, [label.text for label in b.labels]) for b in body.blocks] == [
        ("variable", ["TAG"]), ("group", ["default"]), ("target", ["app"]), ("target", ["größe-1", "two"]),
    ]  # fmt: skip
    app = body.blocks[2].body
    assert list(app.attributes) == ["tags", "dockerfile-inline", "args"]
    inline = app.attributes["dockerfile-inline"].expr
    assert isinstance(inline, Literal)
    assert inline.value == "FROM scratch\n  COPY . /\n"
    assert not body.blocks[3].body.attributes


def test_everything_keeps_its_place() -> None:
    body = _parse(_FILE)
    app = body.blocks[2]
    assert (app.span.text, app.span.line, app.labels[0].span.text) == ("target", 8, '"app"')
    tags = app.body.attributes["tags"]
    assert (tags.span.text, tags.span.line) == ("tags", 9)
    assert tags.expr.span.text.startswith('[\n    "app:${TAG}",')
    assert app.body.span.text.startswith("target")
    assert body.span.text == _FILE


def test_blocks_stand_in_blocks() -> None:
    body = _parse("a {\n  b {\n    c = 1\n  }\n\n  d = 2\n}")
    outer = body.blocks[0].body
    assert [b.type for b in outer.blocks] == ["b"]
    assert list(outer.attributes) == ["d"]
    assert list(outer.blocks[0].body.attributes) == ["c"]


@pytest.mark.parametrize(
    "text", ["", "\n", "# only this", "/* a */ // b\n", "\ufeffa = 1", "a = 1\r\nb = 2\r\n"]
)
def test_files_of_nearly_nothing_are_files(text: str) -> None:
    assert not _parse(text).blocks


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<<EOT\na\n  b\nEOT", "a\n  b\n"),
        ("<<-EOT\n    a\n      b\n    EOT", "a\n  b\n"),
        ("<<-EOT\n    a\n\n      b\n    EOT", "a\n\n  b\n"),
        ("<<-EOT\n\ta\n\t\tb\nEOT", "a\n\tb\n"),
        ("<<EOT\nEOT", ""),
        ('<<EOT\na \\n $${x} %%{x} "q" 100% $5\n  EOT', 'a \\n ${x} %{x} "q" 100% $5\n'),
        ("<<-EOT\n    a ${1} b\n   c\n    EOT", " a 1 b\nc\n"),
        ("<<-EOT\n    ${1}\n      b\n    EOT", "1\n  b\n"),
        ("<<-EOT\n    a\n  EOT x\n  EOT", "  a\nEOT x\n"),
        ("<<EOT\n%{ for x in [1, 2] ~}\ns ${x}\n%{ endfor ~}\nEOT", "s 1\ns 2\n"),
        ("<<EOT\n${~ 1 ~}\n\n b\nEOT", "1\n b\n"),
    ],
)
def test_here_documents(text: str, value: str) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize("text", ["[<<A\nx\nA\n, 1]", "[\n  <<A\nx\nA\n]", "{ a = <<A\nx\nA\n  b = 1 }"])
def test_a_here_document_is_a_value_like_others(text: str) -> None:
    assert expr_of(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"\n\t\r\"\\ \u00e9 \U0001F600"', '\n\t\r"\\ é \U0001f600'),
        ('"$${a} %%{b} $ % $$ 100%"', "${a} %{b} $ % $$ 100%"),
        (r'"a\u0301"', "\u00e1"),
        ('"a ${~ "b" ~} c"', "abc"),
        ('"%{if true ~}  x  %{~ else}y%{endif}"', "x"),
        ('"a${"b${"c"}"}"', "abc"),
        ('"${\n"x"\n}"', "x"),
        ('""', ""),
    ],
)
def test_strings(text: str, value: str) -> None:
    assert value_of(text) == value


def test_a_string_of_a_single_template_is_that_template() -> None:
    assert isinstance(expr_of('"${x}"'), Template)
    assert value_of('"${1}"') == 1
    assert value_of('"${[1]}"') == (1,)
    assert value_of('"${1}x"') == "1x"


def test_newlines_end_attributes_but_within_brackets() -> None:
    assert value_of("(\n1\n+\n2\n)") == 3
    assert value_of("[\n1\n,\n2\n,\n]") == (1, 2)
    assert value_of("max(\n1,\n2,\n)") == 2
    assert value_of("{\n a = 1\n\n b = 2,\n c = 3 }") == {"a": 1, "b": 2, "c": 3}
    assert value_of("{\n for x in [1] :\n x => x\n if true }") == {"1": 1}
    assert value_of("[\n for x in [1] :\n x\n if true ]") == (1,)
    assert value_of("1 /* a\n */ + 2") == 3


def test_names_are_words_of_the_language_only_where_they_can_be() -> None:
    assert list(_parse("for = 1\nin = 2\nif = 3\nnull = 4\n").attributes) == ["for", "in", "if", "null"]
    assert value_of("[for in in [1] : in]") == (1,)
    assert value_of("{true = 1, null = 2, if = 3}") == {"true": 1, "null": 2, "if": 3}
    assert value_of("[for if, in in [5] : if + in]") == (5,)
    assert value_of("a-b", **{"a-b": "x"}) == "x"


def test_keys_of_maps() -> None:
    found = expr_of('{a = 1, "b": 2, (c) = 3, 4 = 5}')
    assert isinstance(found, MapExpr)
    assert [type(key) for key, _ in found.items] == [Literal, Literal, Template, Literal]


def test_splats_take_what_is_behind_them() -> None:
    full, short = expr_of("a[*].b[0].c"), expr_of("a.*.b[0].c")
    assert isinstance(full, Splat)
    assert full.each.span.text.endswith(".b[0].c")
    assert not isinstance(short, Splat)
    assert short.span.text == "a.*.b[0].c"


def test_calls_and_for() -> None:
    call = expr_of("f(1, [2]...)")
    assert isinstance(call, Call)
    assert (call.name, call.name_span.text, len(call.args), call.spread) == ("f", "f", 2, True)
    each = expr_of("[for k, v in a: k if v]")
    assert isinstance(each, ForTuple)
    assert (each.key, each.value, each.condition is None) == ("k", "v", False)
    made = expr_of("{for v in a: v => 1...}")
    assert isinstance(made, ForMap)
    assert (made.key, made.value, made.grouped, made.condition) == ("", "v", True, None)


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message", "line", "under"),
    [
        ('target "a" {\n  x = 1\n', "this { is not closed: its } is missing", 1, "{"),
        ('target "a" {\n  x = [1, 2\n}\n', "this [ is not closed: its ] is missing", 2, "["),
        ("x = (1\ny = 2\n", "this ( is not closed: its ) is missing", 1, "("),
        ("}\n", "this } closes nothing", 1, "}"),
        ('x = "abc\ny = "d"\n', 'this string is not closed: its " is missing', 1, '"'),
        ('x = "a${b"\n', 'this string is not closed: its " is missing', 1, '"'),
        ("x = <<EOT\na\n", "this here-document is not ended: a line EOT is missing", 1, "<<EOT"),
        ("x = 1 /* a\n", "this comment is not closed: its */ is missing", 1, "/*"),
        ("x = 1\n\nx = 2\n", "x is set already, in line 1", 3, "x"),
        ("target a {\n b = 1\n b = 2\n}", "b is set already, in line 2", 3, "b"),
        ("x = 1 y = 2\n", "y stands where a new line is needed", 1, "y"),
        ("x = \n", "the end of the line stands where a value is needed", 1, ""),
        ("x = 1 +\n", "the end of the line stands where a value is needed", 1, ""),
        ("x 1\n", "1 stands where x needs = or {", 1, "1"),
        ('target "a"\n', "the end of the line stands where { or a name is needed", 1, ""),
        ('target "a${b}" {}\n', "the label of a block holds no template", 1, "${"),
        ('target "a" { x = 1\n}\n', "the end of the line stands where } is needed", 1, ""),
        ('target "a" { x = 1, y = 2 }\n', ", stands where } is needed", 1, ","),
        ('"x" = 1\n', "a string stands where a name is needed", 1, '"'),
        ("x = [1 2]\n", "2 stands where a comma or ] is needed", 1, "2"),
        ("x = [1,,2]\n", ", stands where a value is needed", 1, ","),
        ("x = f(1 2)\n", "2 stands where a comma or ) is needed", 1, "2"),
        ("x = {a = 1 b = 2}\n", "b stands where a comma, a new line or } is needed", 1, "b"),
        ("x = {a 1}\n", "1 stands where = or : is needed", 1, "1"),
        ("x = {a.b = 1}\n", "a name with a dot is no key", 1, "a.b"),
        ("x = [for a b]\n", "b stands where in or a comma is needed", 1, "b"),
        ("x = a ? b\n", "the end of the line stands where : is needed", 1, ""),
        ('x = "%{if a}b"\n', "the end of the string stands where %{endif} is needed", 1, '"'),
        ('x = "%{for a in b}c"\n', "the end of the string stands where %{endfor} is needed", 1, '"'),
        ('x = "%{foo}"\n', "%{ is followed by if, else, endif, for or endfor", 1, "%{"),
        ('x = "${a b}"\n', "b stands where } is needed", 1, "b"),
        ('x = "a\\q"\n', "\\q is no escape sequence", 1, "\\q"),
        ('x = "\\ud800"\n', "\\ud800 is no escape sequence", 1, "\\ud800"),
        ("x = 'a'\n", "' is no quote here: strings are in \"", 1, "'"),
        ("x = \u201ca\u201d\n", '\u201c is no quote here: strings are in "', 1, "\u201c"),
        ("x = a & b\n", "& has no meaning here", 1, "&"),
        ("x = a\u00a0\n", "U+00A0 has no meaning here", 1, "\u00a0"),
        ("x = a.0.1\n", "0.1 is no index behind a dot", 1, "0.1"),
        ("x = a.*.*\n", "there is no .* within another one", 1, ".*"),
        ("x = << EOT\n", "<< is followed by a name that ends its line, as in <<EOT", 1, "<<"),
        ("x = 1e99999\n", "this number is too large", 1, "1e99999"),
    ],
)
def test_what_is_wrong_is_said_and_shown(text: str, message: str, line: int, under: str) -> None:
    assert _fault(text) == (message, line, under)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 5000, "x = " + "(" * 5000 + "1" + ")" * 5000, "x = " + "{a=" * 5000,
        "x = " + '"${' * 5000, "a {\n" * 5000, "x = " + "!" * 5000 + "a", "x = " + "-" * 5000 + "1",
        "x = 1" + " + 1" * 5000, "x = " + "a ? b : " * 5000 + "c", "x = a" + ".b" * 5000,
        "x = a" + "[*]" * 5000, "x = a" + "[0]" * 5000,
        'x = "' + "%{if a}" * 5000 + "%{endif}" * 5000 + '"',
        'x = "' + "%{for a in b}" * 5000 + "%{endfor}" * 5000 + '"',
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_depth_is_limited(text: str) -> None:
    with pytest.raises(DefinitionError, match=r"nested deeper than (100|200) levels$"):
        _parse(text)


def test_what_is_nested_a_little_less_is_read() -> None:
    assert _parse("x = " + "[" * (NESTING - 1) + "]" * (NESTING - 1) + "\n")


def test_the_number_of_words_is_limited() -> None:
    with pytest.raises(DefinitionError, match="no more than 100000 words"):
        _parse("x = [" + "1," * (WORDS // 2) + "]\n")


def test_size_is_limited() -> None:
    with pytest.raises(DefinitionError, match=r"^docker-bake.hcl is too large for a bake file: 1048577"):
        _parse(" " * (CHARACTERS + 1))


def test_an_expression_and_a_template_stand_by_themselves() -> None:
    piece = Piece(Source("f", '"list(string)"'), "list(\nstring)", 1)
    assert isinstance(hcl.expression(piece), Call)
    with pytest.raises(DefinitionError, match="a stands where"):
        hcl.template(Piece(Source("f", "${1 a}"), "${1 a}"))


# --- the table ------------------------------------------------------------------------------------


def test_the_kept_table_is_of_this_grammar() -> None:
    version, code = grammars.kept("hcl")["made"]
    if version == lark.__version__:  # another Lark makes its own, in each process
        assert code == grammars.code_of(grammars.text_of("hcl")), (
            "write it anew: python -m imagesmith.bake.hcl"
        )
    assert hcl.table_text().startswith('{"made":')


def test_the_grammar_has_one_reading(caplog: pytest.LogCaptureFixture) -> None:
    """Lark chooses silently where a word can go on with one rule or end another."""
    with caplog.at_level(logging.DEBUG, logger=lark.logger.name):
        grammars.made('start: a "x"?\na: "y" "x"?\n', lexer="basic", debug=True)
        assert "Shift/Reduce conflict" in caplog.text
        caplog.clear()
        grammars.made(grammars.code_of(grammars.text_of("hcl")), debug=True, **hcl._OPTIONS)
        assert "conflict" not in caplog.text


# --- whatever the text ----------------------------------------------------------------------------

_PIECES = st.sampled_from(
    [
        "target", '"a"', "{", "}", "[", "]", "(", ")", "=", "=>", ",", ".", "...", ":", "?", "*", "-",
        "!", "&&",
        "==", "for", "in", "if", "x", "1", "1.5", "null", "${", "%{", "~}", "%{if", "%{else}", "%{endif}",
        "%{for",
        "%{endfor}", "$${", '"', "<<E\n", "<<-E\n", "\nE\n", "\n", " ", "#", "/*", "*/", "\\", "é",
        "\x00", "\r",
        "\ud800", "~",
    ]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=40).map("".join))
def test_any_text_of_pieces_of_the_language_is_read_or_refused(text: str) -> None:
    for whole in (text, f"x = {text}\n", f'x = "{text}"\n', f"x = <<-E\n{text}\nE\n"):
        with contextlib.suppress(DefinitionError):
            _parse(whole)


@given(st.text(max_size=200))
@example("·")  # it stands in names, and begins none
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(DefinitionError):
        _parse(text)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_a_string_that_is_escaped_is_itself(text: str) -> None:
    escaped = "".join(f"\\U{ord(c):08x}" for c in text)
    assert value_of(f'"{escaped}"') == unicodedata.normalize("NFC", text)


@given(
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\x0b\x0c\x1c\x1d\x1e\x85"),
        max_size=50,
    )
)
def test_a_line_of_a_here_document_is_itself(line: str) -> None:
    written = line.replace("${", "$${").replace("%{", "%%{")
    if line.strip() != "E" and not line.endswith(("$", "%")):
        assert value_of(f"<<E\n{written}\nE") == unicodedata.normalize("NFC", line) + "\n"
