"""Functions between strings and other forms of them: JSON, CSV, base64, URLs, hashes, UUIDs.

Spec: cty's stdlib: json.go, csv.go; go-cty-funcs: encoding, crypto, uuid. JSON is written as Go does: without
spaces, names sorted, `<`, `>` and `&` as escapes.
Trust: a document is bounded as every string is; depth as well.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import quote_plus

from imagesmith.bake.functions.calling import CallError, Function, Parameter, anything, bounded, string
from imagesmith.bake.values import ARITHMETIC, SetValue, Value, text_of

__all__ = ["FUNCTIONS", "json_of"]

_MOST_DEPTH = 100
_ESCAPED = {c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_ESCAPES = str.maketrans(_ESCAPED)
_SURROGATE = re.compile("[\ud800-\udfff]")
_UUID = re.compile(
    r"(?:urn:uuid:)?\{?([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32})\}?"
)
#: The namespaces of RFC 4122, appendix C; they differ in one digit.
_NAMESPACES = {
    word: f"6ba7b81{n}9dad11d180b400c04fd430c8"
    for word, n in (("dns", 0), ("url", 1), ("oid", 2), ("x500", 4))
}


def json_of(value: Value) -> str:
    """A value as JSON, in one line; a set as a list."""
    parts: list[str] = []
    _write_json(value, parts)
    return "".join(parts)


def _write_json(value: Value, parts: list[str]) -> None:
    if value is None:
        parts.append("null")
    elif isinstance(value, str):
        parts.append(json.dumps(value, ensure_ascii=False).translate(_ESCAPES))
    elif isinstance(value, tuple | SetValue):
        parts.append("[")
        for n, item in enumerate(value):
            parts.append("," if n else "")
            _write_json(item, parts)
        parts.append("]")
    elif isinstance(value, Mapping):
        parts.append("{")
        for n, name in enumerate(sorted(value)):
            parts.append("," if n else "")
            _write_json(name, parts)
            parts.append(":")
            _write_json(value[name], parts)
        parts.append("}")
    else:
        parts.append(text_of(value))


def _jsondecode(text: str) -> Value:
    try:
        found = json.loads(
            text,
            parse_int=ARITHMETIC.create_decimal,
            parse_float=ARITHMETIC.create_decimal,
            parse_constant=_no_json,
        )
    except json.JSONDecodeError as e:
        raise CallError(f"str: no JSON: {e.msg[:1].lower()}{e.msg[1:]} at line {e.lineno}", 0) from e
    return _value_of(found, 0)


def _no_json(word: str) -> Value:
    raise CallError(f"str: no JSON: {word}", 0)


def _value_of(found: object, depth: int) -> Value:
    if depth > _MOST_DEPTH:
        raise CallError(f"str: nested more than {_MOST_DEPTH} deep", 0)
    if isinstance(found, dict):
        return {_whole(name): _value_of(found[name], depth + 1) for name in sorted(found)}
    if isinstance(found, list):
        return tuple(_value_of(item, depth + 1) for item in found)
    assert found is None or isinstance(found, str | bool | Decimal)
    return _whole(found) if isinstance(found, str) else found


def _whole(text: str) -> str:
    """A string whose halves of characters are replaced, as Go replaces them."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _csvdecode(text: str) -> Value:
    rows = _rows(text.replace("\r\n", "\n"))
    if not rows:
        raise CallError("str: the line with the names of the columns is missing", 0)
    (_, names), *others = rows
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CallError(f"str: two columns are called {twice!r:.80}", 0)
    for line, row in others:
        if len(row) != len(names):
            raise CallError(f"str: line {line} has {len(row)} fields, not {len(names)}", 0)
    bounded(items=len(others) * len(names))
    order = sorted(range(len(names)), key=names.__getitem__)
    return tuple({names[n]: row[n] for n in order} for _, row in others)


_FIELD = re.compile(r'"((?:[^"]|"")*)"(?=[,\n]|\Z)|([^",\n]*)(?=[,\n]|\Z)')


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """The rows of a CSV text that are not empty, each with the number of its line."""
    rows: list[tuple[int, list[str]]] = []
    at, line = 0, 1
    while at < len(text):
        if text[at] == "\n":
            at, line = at + 1, line + 1
            continue
        row: list[str] = []
        rows.append((line, row))
        while True:
            found = _FIELD.match(text, at)
            if found is None:
                raise CallError(f"str: a quote in line {line} that opens or closes no field", 0)
            row.append(found[2] if found[1] is None else found[1].replace('""', '"'))
            line += found[0].count("\n")
            at = found.end() + 1
            if text[at - 1 : at] != ",":
                line += 1
                break
    return rows


def _base64encode(text: str) -> Value:
    return base64.b64encode(text.encode(errors="replace")).decode()


def _base64decode(text: str) -> Value:
    try:
        return base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True).decode()
    except UnicodeDecodeError as e:
        raise CallError("str: what is encoded is no text in UTF-8", 0) from e
    except ValueError as e:
        raise CallError("str: no base64", 0) from e


def _hashed(name: str) -> Function:
    def digest(text: str) -> Value:
        return hashlib.new(name, text.encode(errors="replace"), usedforsecurity=False).hexdigest()

    return Function(name, digest, (Parameter("str", string),))


def _uuidv4() -> Value:
    return _uuid(os.urandom(16), 4)


def _uuidv5(namespace: str, name: str) -> Value:
    found = _UUID.fullmatch(namespace)
    within = _NAMESPACES.get(namespace) or (found[1].replace("-", "") if found else "")
    if not within:
        raise CallError(f"namespace: {namespace!r:.80} is neither dns, url, oid, x500 nor a UUID", 0)
    hashed = hashlib.sha1(bytes.fromhex(within) + name.encode(errors="replace"), usedforsecurity=False)
    return _uuid(hashed.digest()[:16], 5)


def _uuid(data: bytes, version: int) -> str:
    number = int.from_bytes(data, "big")
    number = number & ~(0xF << 76 | 0x3 << 62) | version << 76 | 0x2 << 62
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


_STR = (Parameter("str", string),)

FUNCTIONS = (
    Function("jsonencode", json_of, (Parameter("val", anything, null=True),)),
    Function("jsondecode", _jsondecode, _STR),
    Function("csvdecode", _csvdecode, _STR),
    Function("base64encode", _base64encode, _STR),
    Function("base64decode", _base64decode, _STR),
    Function("urlencode", lambda text: quote_plus(text, errors="replace"), _STR),
    *map(_hashed, ("md5", "sha1", "sha256", "sha512")),
    Function("uuidv4", _uuidv4),
    Function("uuidv5", _uuidv5, (Parameter("namespace", string), Parameter("name", string))),
)
