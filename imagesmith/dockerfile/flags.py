"""The flags of instructions: which there are, and reading them.

Spec: BuildKit's frontend/dockerfile/instructions/bflag.go, whose messages these are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import DockerfileError
from imagesmith.values import field, record

__all__ = ["ADD_FLAGS", "COPY_FLAGS", "RUN_FLAGS", "Flags", "bad_value", "read_flags"]

#: The flags of instructions that become ops: a text, a switch, or a text that may be given again. One that no
#: node names goes to the op's field of that name, expanded.
RUN_FLAGS: dict[str, type] = {"mount": list, "network": str, "security": str, "device": list}
COPY_FLAGS: dict[str, type] = {
    "from": str, "chown": str, "chmod": str, "link": bool, "parents": bool, "exclude": list,
}  # fmt: skip
ADD_FLAGS: dict[str, type] = {
    "chown": str, "chmod": str, "link": bool, "exclude": list, "checksum": str, "keep-git-dir": bool,
    "unpack": bool,
}  # fmt: skip
#: Those that nodes name.
_NAMED = frozenset(RUN_FLAGS) | frozenset(COPY_FLAGS) | frozenset(ADD_FLAGS)


@record
class Flags:
    """The flags of one line, held against those that its instruction knows."""

    values: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A string flag; empty where it is absent."""
        return self.values.get(name, "")

    def boolean(self, name: str) -> bool | None:
        """A boolean flag; None where it is absent."""
        return None if name not in self.values else self.values[name] == "true"

    def others(self, known: Mapping[str, type]) -> dict[str, object]:
        """The flags that no node names, by the name of an op's field."""
        out: dict[str, object] = {}
        for name in known.keys() - _NAMED:
            if name in self.lists:
                out[name.replace("-", "_")] = tuple(self.lists[name])
            elif name in self.values:
                out[name.replace("-", "_")] = self.boolean(name) if known[name] is bool else self.values[name]
        return out


def read_flags(words: Sequence[str], known: Mapping[str, type]) -> Flags:
    """The flags of a line.

    Raises:
        DockerfileError: one that is not known, stands twice, or has a value that it cannot have.
    """
    out = Flags()
    for word in words:
        name, equals, value = word[2:].partition("=")
        if name not in known:
            raise DockerfileError(f"unknown flag: --{name}{suggest(name, known)}").about(f"--{name}")
        kind = known[name]
        if kind is list:
            if not equals:
                raise DockerfileError(f"missing a value on flag: --{name}").about(word)
            out.lists.setdefault(name, []).append(value)
            continue
        if name in out.values:
            raise DockerfileError(f"duplicate flag specified: --{name}").about(word, which=-1)
        if kind is bool:
            if equals and not value:
                raise DockerfileError(f"missing a value on flag: --{name}").about(word)
            low = value.lower() if equals else "true"
            if low not in ("true", "false"):
                raise bad_value(f"expecting boolean value for flag --{name}, not: {value}", name, value)
            out.values[name] = low
            continue
        if not equals:
            raise DockerfileError(f"missing a value on flag: --{name}").about(word)
        out.values[name] = value
    return out


def bad_value(message: str, flag: str, value: str) -> DockerfileError:
    """A mistake in the value of a flag."""
    word = f"--{flag}={value}"
    return DockerfileError(message).about(word, len(word) - len(value))
