"""Functions of strings: their case, parts, edges, and what they are split into and joined of.

Spec: cty's stdlib: string.go, string_replace.go, bytes.go; buildx's basename, dirname, sanitize. A character
is a grapheme cluster for `strlen`, `substr` and `reverse`; a code point has at most one of the other case, as
in Go. Strings take the place of cty's byte buffers, which no bake file can make.
"""

from __future__ import annotations

import posixpath
import re
from decimal import Decimal

from imagesmith.bake.functions.calling import (
    CallError,
    Function,
    Parameter,
    bounded,
    costing,
    integer,
    string,
    strings,
)
from imagesmith.bake.functions.graphemes import clusters
from imagesmith.bake.values import Value

__all__ = ["FUNCTIONS"]

#: White space as Unicode and Go have it; Python's own strip takes U+001C to U+001F as well.
_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_LINE_ENDS = re.compile(r"[\r\n]+\Z")
_UNNAMEABLE = re.compile(r"[^a-zA-Z0-9_-]")


def _upper(text: str) -> Value:
    return text.upper() if text.isascii() else "".join(map(_upper_of, text))


def _upper_of(char: str) -> str:
    for changed in (char.upper(), char.title()):
        if len(changed) == 1:
            return changed
    return char


def _lower(text: str) -> Value:
    return text.lower() if text.isascii() else "".join(c.lower()[0] for c in text)


def _title(text: str) -> Value:
    out, inside = [], False
    for char in text:
        changed = char.title() if not inside else char
        out.append(changed if len(changed) == 1 else char)
        inside = char.isalnum() or char == "_" or not (char.isascii() or char in _SPACES)
    return "".join(out)


def _substr(text: str, offset: Decimal, length: Decimal) -> Value:
    parts = clusters(text)
    start = max(int(offset) + len(parts), 0) if offset < 0 else int(offset)
    return "".join(parts[start:] if length < 0 else parts[start : start + int(length)])


def _join(separator: str, *lists: tuple[str, ...]) -> Value:
    if not lists:
        raise CallError("at least one list is needed")
    parts = [part for some in lists for part in some]
    bounded(characters=sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def _split(separator: str, text: str) -> Value:
    bounded(items=(text.count(separator) if separator else len(text)) or 1)
    return tuple(text.split(separator) if separator else text)


def _replace(text: str, old: str, new: str) -> Value:
    bounded(characters=len(text) + text.count(old) * max(len(new) - len(old), 0))
    return text.replace(old, new)


def _indent(spaces: Decimal, text: str) -> Value:
    if spaces < 0:
        raise CallError("spaces: a number below zero", 0)
    lines = text.count("\n")
    bounded(characters=len(text) + lines * int(spaces))
    return text.replace("\n", "\n" + " " * int(spaces)) if lines else text


def _dirname(path: str) -> Value:
    folder = path[: path.rfind("/") + 1]
    return "/" + posixpath.normpath(folder).lstrip("/") if folder[:1] == "/" else posixpath.normpath(folder)


def _basename(path: str) -> Value:
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


def _bytesslice(text: str, offset: Decimal, length: Decimal) -> Value:
    data = text.encode(errors="surrogatepass")
    if offset < 0 or length < 0:
        raise CallError("offset and length may not be below zero", 1 if offset < 0 else 2)
    if offset + length > len(data):
        raise CallError(f"offset {offset} and length {length} reach beyond {len(data)} bytes", 1)
    try:
        return data[int(offset) : int(offset + length)].decode()
    except UnicodeDecodeError as e:
        raise CallError("the bytes cut a character in two", 1) from e


def _byteslen(text: str) -> Value:
    return Decimal(len(text.encode(errors="surrogatepass")))


_STR = Parameter("str", string)
_SPAN = (Parameter("offset", integer), Parameter("length", integer))
#: Clusters of characters are found one by one.
_SLOW = costing(0, each=3)
_REPLACED = (_STR, Parameter("substr", string), Parameter("replace", string))

FUNCTIONS = (
    Function("upper", _upper, (_STR,)),
    Function("lower", _lower, (_STR,)),
    Function("title", _title, (_STR,)),
    Function("strlen", lambda text: Decimal(len(clusters(text))), (_STR,), cost=_SLOW),
    Function("substr", _substr, (_STR, *_SPAN), cost=_SLOW),
    Function("reverse", lambda text: "".join(reversed(clusters(text))), (_STR,), cost=_SLOW),
    Function("byteslen", _byteslen, (Parameter("buf", string),)),
    Function("bytesslice", _bytesslice, (Parameter("buf", string), *_SPAN)),
    Function("join", _join, (Parameter("separator", string),), Parameter("lists", strings)),
    Function("split", _split, (Parameter("separator", string), _STR)),
    Function("replace", _replace, _REPLACED),
    Function("chomp", lambda text: _LINE_ENDS.sub("", text), (_STR,)),
    Function("indent", _indent, (Parameter("spaces", integer), _STR)),
    Function("trim", lambda text, cut: text.strip(cut) if cut else text, (_STR, Parameter("cutset", string))),
    Function("trimspace", lambda text: text.strip(_SPACES), (_STR,)),
    Function("trimprefix", str.removeprefix, (_STR, Parameter("prefix", string))),
    Function("trimsuffix", str.removesuffix, (_STR, Parameter("suffix", string))),
    Function("sanitize", lambda name: _UNNAMEABLE.sub("_", name), (Parameter("name", string),)),
    Function("basename", _basename, (Parameter("path", string),)),
    Function("dirname", _dirname, (Parameter("path", string),)),
)
