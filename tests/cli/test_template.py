from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.cli.template import Record, render
from imagesmith.errors import UsageError

VALUE = {
    "Name": "n",
    "Config": {"Env": ["A=b", "C=d"], "Labels": {"k": "v"}},
    "N": 3,
    "Yes": True,
    "None": None,
    "Empty": [],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "n"),
        ("{{ .name }}", "n"),
        ("{{.Config.Labels.k}}", "v"),
        ("{{json .Config.Env}}", '["A=b", "C=d"]'),
        ('{{index .Config.Labels "k"}} {{index .Config.Env 1}}', "v C=d"),
        ('{{(index .Config "Labels").k}} {{len (index .Config "Env")}} {{(.Name)}}', "v 2 n"),
        ('{{range (index (index . "Config") "Env")}}{{.}};{{end}}', "A=b;C=d;"),
        ("{{len .Config.Env}}", "2"),
        ('{{join .Config.Env ","}}', "A=b,C=d"),
        ("{{range .Config.Env}}<{{.}}>{{end}}", "<A=b><C=d>"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{if .Yes}}y{{else}}n{{end}}{{if .None}}y{{else}}n{{end}}", "yn"),
        ("{{upper .Name}}", "N"),
        ("a  {{- .N -}}  b", "a3b"),
        ("{{.Missing}}{{.Config.Missing.Deeper}}", ""),
        ("{{.Yes}}\\n", "true\n"),
        ("{{range .Config.Env}}{{if .}}{{println .}}{{end}}{{end}}", "A=b\nC=d\n"),
    ],
)
def test_template_is_filled_in(template: str, text: str) -> None:
    assert render(template, VALUE) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{", "{{}}", "{{.A", "{{end}}", "{{range .N2}}", "{{foo .Name}}", "{{.Name.x}}", "{{name}}",
        "{{len .N}}", "{{range .N}}{{end}}",
        '{{join .Name ","}}', r'{{index .Config "\q"}}', "{{---5}}", "{{²}}",
    ],
)  # fmt: skip
def test_malformed_template_is_refused(template: str) -> None:
    with pytest.raises(UsageError):
        render(template, VALUE)


def test_field_that_a_record_cannot_have_is_refused() -> None:
    value = Record({"Digest": "d", "Labels": {"a": "b"}}, ("Variant",))
    assert render("{{.Digest}}{{.Variant}}{{.Labels.none}}{{if .variant}}x{{end}}", value) == "d"
    assert render("{{json .}}", value) == '{"Digest": "d", "Labels": {"a": "b"}}'
    with pytest.raises(UsageError, match=r"there is no field Digset \(did you mean Digest\?\)") as e:
        render("{{.Digset}}", value)
    assert e.value.hint == "there are Digest, Labels, Variant"


WORDS = [
    "{{", "}}", "{{-", "-}}", "range", "if", "else", "end", "json", "index", "len", "join", "upper", "print",
    ".", ".Name", ".N", ".Config.Env", ".Empty", "0", "-1", "--", '"k"', '"\\', "`", " ", "²",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
def test_any_template_is_filled_in_or_refused(template: str) -> None:
    try:
        render(template, VALUE)
    except UsageError:
        return


@pytest.mark.parametrize(
    "template", ["{{(.Name}}", "{{.Name)}}", "{{" + "(" * 30 + ".Name" + ")" * 30 + "}}"]
)
def test_parentheses_match(template: str) -> None:
    with pytest.raises(UsageError, match="parentheses"):
        render(template, VALUE)


def test_what_is_looked_up_later_is_looked_up_once_and_by_name_only() -> None:
    asked: list[int] = []
    record = Record({"A": 1}, (), {"Later": lambda: {"n": asked.append(1) or len(asked)}})
    assert render("{{.A}} {{json .}}", record) == '1 {"A": 1}'
    assert not asked
    assert render("{{.Later.n}} {{.later.n}}", record) == "1 1"
