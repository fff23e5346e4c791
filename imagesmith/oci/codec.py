"""JSON documents: typed reading of hostile ones, and writing in the bytes that Go's encoder makes.

Why: BuildKit, containerd and Docker are written in Go; an image has the same ID from us only if its config
is written with their escapes. Reading is strict where a wrong type would be dangerous and names the path.
Trust: every document may come from a registry. Size is capped by who fetched it, depth here; numbers that
JSON has not are refused, and half a character becomes the replacement character, as in Go: what is read can
be written. A key that stands twice means what it means to Go: all tools are shown the same image; where
it is decided whom to trust, such a document is refused (`exact`).
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from imagesmith.errors import InvalidDocument

__all__ = ["Object", "dumps", "parse_json", "parse_object"]

_ESCAPE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
_HALF = "[\ud800-\udfff]"
#: Lists and objects one in the other; whoever goes through a document may call itself for each.
_MOST_DEPTH = 200
_INT64 = 1 << 63
#: The letters of base64 that paths and addresses cannot hold, and those that stand for them there.
_URL_SAFE = str.maketrans("-_", "+/")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return "\\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"


def dumps(value: object, *, indent: int | None = None, sort_keys: bool = False) -> bytes:
    """Write JSON as Go's encoding/json does: compact, or indented; `<`, `>` and `&` escaped; UTF-8."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(value, ensure_ascii=False, separators=separators, indent=indent, sort_keys=sort_keys)
    return _ESCAPE.sub(_escape, text).encode()


def _as_go(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of a key that stands twice the last value counts, but objects are put together."""
    out = dict(pairs)
    if len(out) != len(pairs):
        out = {}
        for key, value in pairs:
            _put(out, key, value)
    return out


def _put(out: dict[str, Any], key: str, value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    before = out.get(key)
    if isinstance(before, dict) and isinstance(value, dict):
        for k, v in value.items():
            _put(before, k, v)
    elif value is not None or isinstance(before, dict | list) or before is None:  # null leaves a plain value
        out[key] = value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidDocument(f"the number {text[:100]} is out of range")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object each of whose keys stands once."""
    out = dict(pairs)
    if len(out) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InvalidDocument(f"{twice[:100]!r} stands twice in an object")
    return out


def _loads(text: str, exact: bool = False) -> Any:  # noqa: ANN401 - the one untyped door
    hook = _once if exact else _as_go
    return json.loads(text, object_pairs_hook=hook, parse_float=_finite, parse_constant=_finite)


def _check_depth(value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    level, depth = [value], 0
    while level := [
        child
        for node in level
        if isinstance(node, dict | list)
        for child in (node.values() if isinstance(node, dict) else node)
        if isinstance(child, dict | list)
    ]:
        depth += 1
        if depth >= _MOST_DEPTH:
            raise RecursionError


def parse_json(raw: bytes, what: str, *, exact: bool = False) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Read a JSON value.

    Args:
        raw: the bytes, of bounded size.
        what: the document's name for messages, e.g. `manifest sha256:…`.
        exact: refuse what readers may take for different things: a key that stands twice in an object, and
            bytes that are no UTF-8. For documents that decide whom to trust.

    Raises:
        InvalidDocument: no JSON, too deep, or a number that is none.
    """
    try:
        text = raw.decode("utf-8", "strict" if exact else "replace")
        value = _loads(text, exact)
        _check_depth(value)
        if "\\u" in text and re.search(_HALF, whole := json.dumps(value, ensure_ascii=False)):
            return _loads(re.sub(_HALF, "\ufffd", whole))
    except RecursionError as e:
        raise InvalidDocument(f"{what}: nested too deeply") from e
    except (ValueError, InvalidDocument) as e:
        raise InvalidDocument(f"{what}: not valid JSON: {e}") from e
    return value


def parse_object(raw: bytes, what: str, *, exact: bool = False) -> Object:
    """Read a JSON object; see `parse_json`.

    Raises:
        InvalidDocument: it is none.
    """
    value = parse_json(raw, what, exact=exact)
    if not isinstance(value, dict):
        raise InvalidDocument(f"{what}: must be a JSON object")
    return Object(value, what)


class Object:
    """A JSON object with typed getters; `path` is named in every error.

    null counts as absent, and as the empty string among strings, as in Go.
    """

    __slots__ = ("data", "path")

    def __init__(self, data: dict[str, Any], path: str) -> None:
        self.data, self.path = data, path

    def _typed(self, key: str, kind: type, name: str) -> Any:  # noqa: ANN401 - the one untyped door
        value = self.data.get(key)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is int)):
            raise InvalidDocument(f"{self.path}: {key} must be {name}")
        return value

    def text(self, key: str, default: str = "") -> str:
        """A string, or the default."""
        value = self._typed(key, str, "a string")
        return default if value is None else str(value)

    def need_text(self, key: str) -> str:
        """A string that must be there and not be empty."""
        value = self.text(key)
        if not value:
            raise InvalidDocument(f"{self.path}: {key} is missing")
        return value

    def data_of(self, key: str) -> bytes:
        """The bytes of a string in base64, of either alphabet; empty where absent."""
        text = self.text(key)
        try:
            return base64.b64decode(text.translate(_URL_SAFE), validate=True)
        except ValueError as e:  # binascii.Error is one
            raise InvalidDocument(f"{self.path}: {key} is no base64") from e

    def only(self, *keys: str) -> None:
        """Refuse every key but these."""
        for key in self.data:
            if key not in keys:
                raise InvalidDocument(f"{self.path}: unknown key {key[:100]!r}")

    def integer(self, key: str, default: int = 0) -> int:
        """A whole number of 64 bits, or the default."""
        value = self._typed(key, int, "a whole number")
        if value is not None and not -_INT64 <= value < _INT64:
            raise InvalidDocument(f"{self.path}: {key} is too large")
        return default if value is None else int(value)

    def boolean(self, key: str) -> bool:
        """A boolean; False where absent."""
        return bool(self._typed(key, bool, "true or false"))

    def obj(self, key: str) -> Object | None:
        """An object, or None."""
        value = self._typed(key, dict, "an object")
        return None if value is None else Object(value, f"{self.path}: {key}")

    def need_obj(self, key: str) -> Object:
        """An object that must be there."""
        value = self.obj(key)
        if value is None:
            raise InvalidDocument(f"{self.path}: {key} is missing")
        return value

    def objects(self, key: str) -> list[Object]:
        """A list of objects; empty where absent."""
        value = self._typed(key, list, "a list") or []
        out = []
        for n, item in enumerate(value):
            if not isinstance(item, dict):
                raise InvalidDocument(f"{self.path}: {key}[{n}] must be an object")
            out.append(Object(item, f"{self.path}: {key}[{n}]"))
        return out

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of strings; None where absent."""
        value = self._typed(key, list, "a list")
        if value is None:
            return None
        for n, item in enumerate(value):
            if item is not None and not isinstance(item, str):
                raise InvalidDocument(f"{self.path}: {key}[{n}] must be a string")
        return tuple(item or "" for item in value)

    def text_map(self, key: str) -> dict[str, str]:
        """An object of strings; empty where absent."""
        value: Mapping[str, Any] = self._typed(key, dict, "an object") or {}
        for k, v in value.items():
            if v is not None and not isinstance(v, str):
                raise InvalidDocument(f"{self.path}: {key}[{k[:100]!r}] must be a string")
        return {k: v or "" for k, v in value.items()}

    def key_set(self, key: str) -> tuple[str, ...]:
        """The keys of an object used as a set (ExposedPorts, Volumes); empty where absent."""
        return tuple(self._typed(key, dict, "an object") or ())
