"""RUN --mount: its keys, their defaults and its mistakes.

Why in two steps: `from` decides which stages a build needs, so it is read as written before anything is
expanded; all else is expanded and checked when the stage is worked out.
Spec: BuildKit's instructions/commands_runmount.go.
Trust: text of a Dockerfile.
"""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Callable

from imagesmith.dockerfile.suggest import suggest
from imagesmith.dockerfile.values import parse_bool
from imagesmith.errors import DockerfileError, blame
from imagesmith.values import record

__all__ = ["Mount", "mount_from", "parse_mount"]

_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_KEYS = (
    "type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode", "uid", "gid",
    "src", "dst", "destination", "ro", "rw", "readwrite", "env",
)  # fmt: skip
_SIZE = re.compile(r"(\d{1,20}(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)


@record(eq=True)
class Mount:
    """A --mount. `mode`, `uid` and `gid` are None where they are not given; `size` is in bytes."""

    type: str = "bind"
    target: str = ""
    source: str = ""
    from_: str = ""
    readonly: bool = False
    id: str = ""
    sharing: str = ""
    required: bool = False
    size: int = 0
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    env: str | None = None


def _fields(value: str) -> list[str]:
    try:
        return next(csv.reader([value], strict=True), [])
    except csv.Error as e:
        raise DockerfileError(f"failed to parse csv mounts: {e}").about(value) from e


def mount_from(value: str) -> str:
    """The `from` of a mount as written, or ''.

    Raises:
        DockerfileError: it holds a variable, which is known only later.
    """
    name = ""
    for field in _fields(value):
        key, equals, text = field.partition("=")
        if equals and key.strip().lower() == "from":
            if "$" in text[:-1]:
                told = DockerfileError(
                    "'from' doesn't support variable expansion, define alias stage instead"
                )
                raise told.about(field, len(field) - len(text))
            name = text
    return name


def parse_mount(value: str, expand: Callable[[str], str], cwd: str = "/") -> Mount:
    """Read a --mount, its values expanded; `cwd` is where its target starts from.

    Raises:
        DockerfileError: in BuildKit's words.
    """
    m = Mount()
    state = _State(m, cwd)
    for field in _fields(value):
        key, equals, text = field.partition("=")
        key = key.lower()
        state.field = field
        with blame(field, len(field) - len(text) if equals else 0):
            if equals:
                state.set(key, text if key == "from" else expand(text), field)
            else:
                state.switch(key, field)
    with blame(value):
        return state.finish()


class _State:
    """A mount while its fields are read: some are checked against the type that is known so far."""

    def __init__(self, mount: Mount, cwd: str) -> None:
        self.m, self.cwd = mount, cwd
        self.auto_ro = True
        self.field = self.target = ""

    def switch(self, key: str, field: str) -> None:
        """A key without a value."""
        if key in ("readonly", "ro"):
            self.m.readonly, self.auto_ro = True, False
        elif key in ("readwrite", "rw"):
            self.m.readonly, self.auto_ro = False, False
        elif key == "required":
            if self.m.type not in ("secret", "ssh"):
                raise self._unexpected(key)
            self.m.required = True
        else:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")

    def set(self, key: str, text: str, field: str) -> None:
        """A key with its value."""
        m = self.m
        match key:
            case "type":
                m.type = text.lower()
                if m.type not in _TYPES:
                    raise DockerfileError(f'unsupported mount type "{text}"{suggest(text, _TYPES)}')
            case "from":
                m.from_ = text
            case "source" | "src":
                m.source = text
            case "target" | "dst" | "destination":
                m.target, self.target = text, field
            case "readonly" | "ro":
                m.readonly, self.auto_ro = self._bool(key, text), False
            case "readwrite" | "rw":
                m.readonly, self.auto_ro = not self._bool(key, text), False
            case "required":
                if m.type not in ("secret", "ssh"):
                    raise self._unexpected(key)
                m.required = self._bool(key, text)
            case "size":
                if m.type != "tmpfs":
                    raise self._unexpected(key)
                m.size = self._size(key, text)
            case "id":
                m.id = text
            case "sharing":
                m.sharing = text.lower()
                if m.sharing not in ("shared", "private", "locked"):
                    options = ("shared", "private", "locked")
                    raise DockerfileError(f'unsupported sharing value "{text}"{suggest(text, options)}')
            case "mode":
                m.mode = self._number(key, text, 8)
            case "uid":
                m.uid = self._number(key, text, 10)
            case "gid":
                m.gid = self._number(key, text, 10)
            case "env":
                m.env = text
            case _:
                told = DockerfileError(f"unexpected key '{key}' in '{field}'{suggest(key, _KEYS)}")
                raise told.about(field, 0, len(key))

    def _unexpected(self, key: str) -> DockerfileError:
        told = DockerfileError(f"unexpected key '{key}' for mount type '{self.m.type}'")
        return told.about(self.field, 0, len(key))

    def _bool(self, key: str, text: str) -> bool:
        try:
            return parse_bool(text)
        except ValueError:
            raise DockerfileError(f"invalid value for {key}: {text}") from None

    def _number(self, key: str, text: str, base: int) -> int:
        try:
            if not re.fullmatch(r"[0-9]{1,20}", text) or int(text, base) >= 1 << 32:
                raise ValueError
            return int(text, base)
        except ValueError:
            raise DockerfileError(f"invalid value {text} for {key}") from None

    def _size(self, key: str, text: str) -> int:
        match = _SIZE.fullmatch(text)
        if match is None:
            raise DockerfileError(f"invalid value for {key}: {text}")
        return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))

    def finish(self) -> Mount:
        """Check what can be checked only when all fields are known, and fill in the defaults."""
        m = self.m
        for key in ("mode", "uid", "gid"):
            if m.type in ("bind", "tmpfs") and getattr(m, key) is not None:
                raise DockerfileError(f'{key} not allowed for "{m.type}" type mounts')
        if m.sharing and m.type != "cache":
            if m.type == "secret":
                raise DockerfileError("secret mount should not define sharing")
            raise DockerfileError(f"invalid cache sharing set for {m.type} mount")
        if m.type == "secret":
            self._secret()
        elif m.type == "ssh":
            if m.source:
                raise DockerfileError("ssh does not support source")
            m.id = m.id or "default"
        elif posixpath.normpath(posixpath.join("/", self.cwd, m.target)) in ("/", "//"):
            raise DockerfileError('invalid mount target "/"').about(self.target)
        if m.type == "bind" and self.auto_ro:
            m.readonly = True
        if m.type == "cache":
            m.sharing = m.sharing or "shared"
            m.id = m.id or posixpath.normpath(m.target)
        return m

    def _secret(self) -> None:
        m = self.m
        if m.from_:
            raise DockerfileError("secret mount should not have a from")
        if m.source and m.id:
            raise DockerfileError("both source and id can't be set")
        m.id = m.id or m.source
        if not m.id:
            if not m.target:
                raise DockerfileError("invalid secret mount. one of source, target required")
            m.id = posixpath.basename(m.target)
