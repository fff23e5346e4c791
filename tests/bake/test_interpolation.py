"""Variables in texts of compose files and of `.env`: every operator, nesting, escapes; hostile texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.dotenv import read_variables
from imagesmith.bake.interpolation import BadTemplate, interpolated
from imagesmith.bake.places import Source
from imagesmith.errors import DefinitionError

ENV = {"FOO": "first", "BAR": "", "DOLLAR": "${FOO}"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", "plain"),
        ("$FOO ${FOO}", "first first"),
        ("$$FOO $${FOO}", "$FOO ${FOO}"),
        ("$FOO-bar", "first-bar"),
        ("<$NONE${NONE}>", "<>"),
        ("${NONE:-d}${NONE-d}", "dd"),
        ("${BAR:-d}|${BAR-d}", "d|"),
        ("${FOO:-d}${FOO-d}", "firstfirst"),
        ("${FOO:+r}|${FOO+r}|${BAR:+r}|${BAR+r}|${NONE:+r}|${NONE+r}", "r|r||r||"),
        ("${FOO:?e}${FOO?e}${BAR?e}", "firstfirst"),
        ("${BAR:-/non:-alpha?x}", "/non:-alpha?x"),
        ("${NONE-$FOO}", "first"),
        ("${NONE-${FOO} ${FOO}}!", "first first!"),
        ("${NONE:-${NONE2:-${FOO}}}}", "first}"),
        ("${NONE-{}x}", "{x}"),
        ("${NONE:-a$$b}", "a$b"),
        ("$DOLLAR", "${FOO}"),
        ("${NONE-my?e}", "my?e"),
    ],
)
def test_text_is_expanded(text: str, wanted: str) -> None:
    assert interpolated(text, ENV) == wanted


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a $", "$"),
        ("$} b", "$}"),
        ("${", "${"),
        ("${}", "${}"),
        ("${ FOO}", "${ FOO}"),
        ("x ${FOO } y", "${FOO }"),
        ("${FOO!}", "${FOO!}"),
        ("$1", "$1"),
        ("${FOO:=x}", "${FOO:=x}"),
        ("${NONE-${FOO}", "${NONE-${FOO}"),
    ],
)
def test_text_that_is_no_template_is_refused_with_its_part(text: str, part: str) -> None:
    with pytest.raises(BadTemplate, match="invalid template") as e:
        interpolated(text, ENV)
    assert e.value.part == part


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${NONE:?it is needed}", "required variable NONE is missing a value: it is needed"),
        ("${BAR:?}", "required variable BAR is missing a value"),
        ("${NONE?because ${FOO}}", "required variable NONE is missing a value: because first"),
        ("${NONE?a-b}", "required variable NONE is missing a value: a-b"),
    ],
)
def test_required_variable_that_is_missing_is_told(text: str, said: str) -> None:
    with pytest.raises(BadTemplate) as e:
        interpolated(f"x {text}", ENV)
    assert (str(e.value), e.value.part) == (said, text)


def test_depth_and_growth_are_bounded() -> None:
    with pytest.raises(BadTemplate, match="50 deep"):
        interpolated("${N-" * 200 + "}" * 200, {})
    with pytest.raises(BadTemplate, match="4 MiB"):
        interpolated("$BIG" * 5000, {"BIG": "x" * 1000})
    with pytest.raises(BadTemplate, match="4 MiB"):
        interpolated("${N-" * 40 + "${A}" * 100_000 + "}" * 40, {})
    assert interpolated("${A}" * 100_000, {"A": "b"}) == "b" * 100_000


@given(st.text())
def test_doubled_dollars_give_the_text(text: str) -> None:
    assert interpolated(text.replace("$", "$$"), ENV) == text


@given(st.text(alphabet="$${}:-+?AB \n", max_size=40))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    fault = None
    try:
        interpolated(text, {"A": "1", "B": ""})
    except BadTemplate as e:
        fault = e
    assert fault is None or (fault.part in text and "\n" not in str(fault))


# --- files of variables ------------------------------------------------------------------------


def _read(text: str, env: dict[str, str] | None = None) -> dict[str, str]:
    return read_variables(Source(".env", text), env or {})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        ("A=1\n\n# no\n  B = two words  # a comment\n", {"A": "1", "B": "two words"}),
        ("A=x#y\nB=#\nC=", {"A": "x#y", "B": "", "C": ""}),
        ("export A=1\nexport\tB=2\nexported=3", {"A": "1", "B": "2", "exported": "3"}),
        ("A: yaml\nB:1", {"A": "yaml", "B": "1"}),
        ("A='$X \\n #' # c\nB=2", {"A": "$X \\n #", "B": "2"}),
        ('A="a\\nb\\t\\"q\\" \\$X $A2 c" # c\nB=2', {"A": 'a\nb\t"q" $X  c', "B": "2"}),
        ('A="two\nlines"\nB=2', {"A": "two\nlines", "B": "2"}),
        ("A=1\nB=${A}2\nC=${NONE:-d}", {"A": "1", "B": "12", "C": "d"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("\ufeffA=1", {"A": "1"}),
        ("a.b=1", {"a.b": "1"}),
    ],
)
def test_file_of_variables_is_read(text: str, wanted: dict[str, str]) -> None:
    assert _read(text) == wanted


def test_environment_goes_before_the_file() -> None:
    assert _read("A=1\nB=$A\nC\nD\n", {"A": "env", "C": "c"}) == {"A": "env", "B": "env", "C": "c"}


@pytest.mark.parametrize(
    ("text", "said", "place"),
    [
        ("A=1\nB-C=2", 'unexpected character "-" in variable name', (2, 1)),
        ("A B=2", "key cannot contain a space", (1, 0)),
        ("A=1\n=2", "a variable without a name", (2, 0)),
        ("A='x", "unterminated quoted value", (1, 2)),
        ("A=1\nB=${}", "invalid template", (2, 2)),
    ],
)
def test_file_that_is_wrong_is_refused_at_its_place(text: str, said: str, place: tuple[int, int]) -> None:
    with pytest.raises(DefinitionError, match="^" + said.replace("$", r"\$")) as e:
        _read(text)
    assert (e.value.file, e.value.line, e.value.column) == (".env", *place)


def test_values_do_not_grow_beyond_bounds() -> None:
    with pytest.raises(DefinitionError, match="4 MiB"):
        _read("A=0123456789\n" + "A=$A$A\n" * 40)
    with pytest.raises(DefinitionError, match="the values make more than 8 MiB"):
        _read(f"A={'x' * 100_000}\n" + "".join(f"B{n}=$A\n" for n in range(200)))


@given(st.text(alphabet=st.characters(exclude_characters="'\\\r", exclude_categories=("Cs",))))
def test_single_quotes_keep_a_value(value: str) -> None:
    assert _read(f"A='{value}'\nB=1") == {"A": value, "B": "1"}


@given(st.text(alphabet="AB=:'\"\\$#{} \n\texport-", max_size=40))
def test_any_file_is_read_or_refused(text: str) -> None:
    found, said = {}, ""
    try:
        found = _read(text)
    except DefinitionError as e:
        said = e.message
    assert "\n" not in said
    assert all("=" not in name for name in found)
