r"""Files of variables: the `.env` beside a definition, and the `env_file` of a compose service.

    [export] NAME=value # comment      NAME: value      NAME='as it is'      NAME="\n and $VARIABLES"
    NAME                               its value in the environment, if it has one

Spec: compose-go's dotenv (godotenv with variables); the words of its errors.
Trust: the file may come with a definition of others; its size is bounded by whoever reads it.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping
from typing import NoReturn

from imagesmith.bake.interpolation import BadTemplate, interpolated
from imagesmith.bake.places import Source, Span, fault

__all__ = ["read_variables"]

_SPACES = " \t\v\f\r\x85\xa0"
#: Characters that all values of a file may grow to.
_MOST_TEXT = 8 << 20
_EXPORT = re.compile(r"export[ \t]")
_KEY = re.compile(r"[\w. \t\v\f\r\x85\xa0]*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def read_variables(source: Source, env: Mapping[str, str]) -> dict[str, str]:
    """The variables of a file, in order; what `env` has goes before what the file says.

    Args:
        source: the file.
        env: the environment: values of names, and what values of the file may use.

    Raises:
        DefinitionError: it is no such file.
    """
    return _Reader(source, env).read()


class _Reader:
    def __init__(self, source: Source, env: Mapping[str, str]) -> None:
        self._source, self._text, self._env = source, source.text.removeprefix("\ufeff"), env
        self._shift = len(source.text) - len(self._text)
        self._found: dict[str, str] = {}
        self._made = 0
        self._known = ChainMap(dict(env), self._found)

    def read(self) -> dict[str, str]:
        at = 0
        while (at := self._start(at)) < len(self._text):
            at = self._statement(at)
        return self._found

    def _start(self, at: int) -> int:
        """The beginning of the next statement, or the end."""
        text = self._text
        while at < len(text):
            if text[at].isspace():
                at += 1
            elif text[at] == "#":
                at = self._end_of_line(at)
            else:
                break
        return at

    def _end_of_line(self, at: int) -> int:
        end = self._text.find("\n", at)
        return len(self._text) if end < 0 else end

    def _statement(self, begin: int) -> int:
        """Read one; the offset behind it."""
        text, start = self._text, begin
        if _EXPORT.match(text, begin):
            start += len("export")
            while start < len(text) and text[start] in _SPACES:
                start += 1
        found = _KEY.match(text, start)
        assert found is not None  # it matches nothing, too
        end, key = found.end(), found[0].strip(_SPACES)
        after = text[end] if end < len(text) else "\n"
        if after not in "=:\n":
            self._refuse(end, end + 1, f'unexpected character "{after}" in variable name')
        if not key:
            self._refuse(begin, end + 1, "a variable without a name")
        if any(c in _SPACES for c in key):
            self._refuse(start, end, "key cannot contain a space")
        if after == "\n":
            if key in self._env:
                self._found[key] = self._env[key]
            return end
        at = end + 1
        while at < len(text) and text[at] in _SPACES:
            at += 1
        value, at = self._value(at)
        self._found[key] = self._env.get(key, value)
        return at

    def _value(self, at: int) -> tuple[str, int]:
        """A value, and the offset behind it."""
        text = self._text
        quote = text[at : at + 1]
        if quote not in ("'", '"'):
            end = self._end_of_line(at)
            return self._expanded(_without_comment(text[at:end]).rstrip(), at, end), end
        end = at + 1
        while end < len(text) and text[end] != quote:
            end += 2 if text[end] == "\\" else 1
        if end >= len(text):
            self._refuse(at, self._end_of_line(at), "unterminated quoted value")
        inside = text[at + 1 : end]
        if quote == '"':
            inside = self._expanded(_ESCAPED.sub(_unescaped, inside), at, end + 1)
        return inside, end + 1

    def _expanded(self, value: str, start: int, end: int) -> str:
        try:
            value = interpolated(value, self._known)
        except BadTemplate as e:
            self._refuse(start, end, str(e))
        self._made += len(value)
        if self._made > _MOST_TEXT:
            self._refuse(start, end, f"the values make more than {_MOST_TEXT >> 20} MiB")
        return value

    def _refuse(self, start: int, end: int, message: str) -> NoReturn:
        raise fault(Span(self._source, start + self._shift, end + self._shift), message)


def _without_comment(value: str) -> str:
    """A value without its comment, which begins with a # at its start or behind a space."""
    found = re.search(r"(^|\s)#", value)
    return value[: found.start()] if found else value


def _unescaped(found: re.Match[str]) -> str:
    r"""What an escape stands for; `\$` is a dollar, which is doubled so that it stays one."""
    return {"n": "\n", "r": "\r", "t": "\t", "$": "$$"}.get(found[1], found[1])
