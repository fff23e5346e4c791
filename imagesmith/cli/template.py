"""`--format` templates: the part of Go's text/template that people write for docker, skopeo and podman.

Known: `{{.A.B}}`, `{{json .A}}`, `{{index .A "key" 0}}`, `{{len .A}}`, `{{join .A ","}}`, `{{upper .A}}`,
`{{lower .A}}`, `{{println .A}}`, `{{range .A}}…{{else}}…{{end}}`, `{{if .A}}…{{end}}`, `(…).B` in any of
them, `-` to trim blanks.
Why records: a field that does not exist would print an empty line, which a script takes for an answer.
Trust: the template is the user's; the values come from registries and are printed as text only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import UsageError

__all__ = ["Record", "render"]

_TAG = re.compile(r"(\s*)\{\{-\s|\{\{")
_END = re.compile(r"\s-\}\}\s*|\}\}")
#: Parentheses in parentheses.
_DEPTH = 20
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|[()]|[^\s"`()]+')


class Record(dict[str, Any]):
    """An object whose fields are known: one that is not there is empty, and any other is a mistake.

    A plain dict is a map, as labels are: it has what it has. What `later` gives is looked up when it is asked
    for by name, and is no part of the whole.
    """

    def __init__(
        self,
        found: Mapping[str, Any],
        fields: Iterable[str],
        later: Mapping[str, Callable[[], Any]] | None = None,
    ) -> None:
        super().__init__(found)
        self.later = {name.lower(): cache(look) for name, look in (later or {}).items()}
        self.fields = frozenset((*found, *fields, *(later or ())))


def render(template: str, value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    """Fill a template in.

    Raises:
        UsageError: it is malformed, or uses what we do not know.
    """
    text = template.replace("\\n", "\n").replace("\\t", "\t")
    parts = list(_parts(text))
    out, at = _run(parts, 0, value)
    if at < len(parts):
        raise UsageError(f"template: unexpected {{{{{parts[at][1]}}}}}")
    return out


def _parts(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while True:
        start = _TAG.search(text, at)
        if start is None:
            yield "text", text[at:]
            return
        yield "text", text[at : start.start()]
        end = _END.search(text, start.end())
        if end is None:
            raise UsageError("template: {{ without }}")
        yield "tag", text[start.end() : end.start()].strip()
        at = end.end()


def _run(parts: list[tuple[str, str]], at: int, dot: Any) -> tuple[str, int]:  # noqa: ANN401
    """Render up to an `end` or `else` of an outer block; returns the text and where that stands."""
    out: list[str] = []
    while at < len(parts):
        kind, text = parts[at]
        if kind == "text":
            out.append(text)
            at += 1
            continue
        word, _, rest = text.partition(" ")
        if word in ("end", "else"):
            break
        if word in ("range", "if"):
            made, at = _block(parts, at, word, _value(rest, dot), dot)
            out.append(made)
            continue
        out.append(_text(_value(text, dot)))
        at += 1
    return "".join(out), at


def _block(parts: list[tuple[str, str]], at: int, word: str, value: Any, dot: Any) -> tuple[str, int]:  # noqa: ANN401
    body = at + 1
    items = _items(value) if word == "range" else []
    dots = items if word == "range" else ([dot] if value else [])
    _, middle = _run(parts, body, dots[0] if dots else None)
    texts = [_run(parts, body, item)[0] for item in dots]
    if middle < len(parts) and parts[middle][1] == "else":
        other, middle = _run(parts, middle + 1, dot if not dots else None)
        if not dots:
            texts = [other]
    if middle >= len(parts) or parts[middle][1] != "end":
        raise UsageError(f"template: {{{{{word}}}}} without {{{{end}}}}")
    return "".join(texts), middle + 1


def _value(text: str, dot: Any) -> Any:  # noqa: ANN401
    words = _words(text)
    if not words:
        raise UsageError("template: empty {{}}")
    if words[0] in _FUNCTIONS:
        return _FUNCTIONS[words[0]]([_operand(w, dot) for w in words[1:]])
    if len(words) > 1:
        raise UsageError(
            f"template: unknown function {words[0]!r}", hint=f"known are {', '.join(sorted(_FUNCTIONS))}"
        )
    return _operand(words[0], dot)


def _words(text: str) -> list[str]:
    """The words of an action; what is in parentheses is one, with the fields behind it."""
    out: list[str] = []
    depth, start, closed = 0, 0, -1
    for match in _WORD.finditer(text):
        word = match[0]
        if word == "(":
            start = start if depth else match.start()
            depth += 1
        elif word == ")":
            depth -= 1
            if not depth:
                closed = match.end()
                out.append(text[start:closed])
        elif not depth and word[0] == "." and match.start() == closed:
            out[-1] += word
        elif not depth:
            out.append(word)
        if depth < 0 or depth > _DEPTH:
            break
    if depth:
        raise UsageError(f"template: {text}: parentheses do not match, or are too deep")
    return out


def _operand(word: str, dot: Any) -> Any:  # noqa: ANN401
    if word[0] == "(":
        inner, _, word = word.rpartition(")")
        return _field(word, _value(inner[1:], dot)) if word else _value(inner[1:], dot)
    if word[0] in '"`':
        return _unquoted(word) if word[0] == '"' else word[1:-1]
    if _NUMBER.fullmatch(word):
        return int(word)
    if not word.startswith("."):
        raise UsageError(f"template: {word!r} is neither a field nor a value", hint="fields begin with a dot")
    return _field(word, dot)


def _field(word: str, dot: Any) -> Any:  # noqa: ANN401
    """What `.A.B` is of an object."""
    for name in filter(None, word.split(".")):
        if dot is None:
            return None
        if not isinstance(dot, dict):
            raise UsageError(f"template: {word}: there is no field {name} in a value that is no object")
        if isinstance(dot, Record) and name.lower() in dot.later:
            dot = dot.later[name.lower()]()
            continue
        found = next((k for k in dot if k.lower() == name.lower()), None)
        if found is None and isinstance(dot, Record):
            _check_field(name, word, dot.fields)
        dot = None if found is None else dot[found]
    return dot


def _check_field(name: str, word: str, fields: frozenset[str]) -> None:
    if name.lower() not in {f.lower() for f in fields}:
        near = suggest(name, sorted(fields))
        raise UsageError(
            f"template: {word}: there is no field {name}{near}", hint=f"there are {', '.join(sorted(fields))}"
        )


def _unquoted(word: str) -> str:
    try:
        return str(json.loads(word))
    except ValueError as e:
        raise UsageError(f"template: {word} is no text: {e}") from e


def _items(value: Any) -> list[Any]:  # noqa: ANN401
    """What a list or an object holds; nothing where it is missing."""
    if value is not None and not isinstance(value, dict | list):
        raise UsageError(f"template: {_text(value)[:50]!r} is neither a list nor an object")
    return list(value.values()) if isinstance(value, dict) else value or []


def _index(values: list[Any]) -> Any:  # noqa: ANN401
    value = values[0] if values else None
    for key in values[1:]:
        if isinstance(value, dict):
            value = value.get(str(key))
        elif isinstance(value, list) and isinstance(key, int) and -len(value) <= key < len(value):
            value = value[key]
        else:
            return None
    return value


def _one(values: list[Any]) -> Any:  # noqa: ANN401
    if len(values) != 1:
        raise UsageError("template: a function wants one value")
    return values[0]


_FUNCTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "json": lambda v: json.dumps(_one(v), ensure_ascii=False),
    "index": _index,
    "len": lambda v: len(v[0]) if isinstance(_one(v), str) else len(_items(v[0])),
    "join": lambda v: str(v[1] if len(v) > 1 else " ").join(_text(x) for x in _items(v[0] if v else None)),
    "upper": lambda v: _text(_one(v)).upper(),
    "lower": lambda v: _text(_one(v)).lower(),
    "println": lambda v: " ".join(_text(x) for x in v) + "\n",
    "print": lambda v: "".join(_text(x) for x in v),
}


def _text(value: Any) -> str:  # noqa: ANN401
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
