"""The cache key of a step: a digest over all that its result depends on, and nothing else.

A key is made of the parts below, as one JSON object, hashed. The parts are kept beside the record, so that
a miss can be explained by the first part that differs from an earlier build's.

    below     chain id of the layers that the step works on; empty for an op that looks into none: COPY --link
    op        the instruction: words after expansion, environment, user, mounts, flags
    inputs    for each source in order: digest of the files that are taken, or of the whole chain
    format    version of layers and keys; another one misses everything

Why the chain id: a step depends on the files below it, not on how they came about. A base image under
another name or label, or a rebuilt stage with the same layers, therefore still hits.
Why a general function: the instruction's part is made of all fields of its op. One that does not count says
so, and why, where it is declared (`uncounted`); one that counts in another form says in which (`counted_as`).
Besides, times of files, secrets' values and contents of cache mounts do not count; all as in BuildKit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.solve.plain import kind_of, plain
from imagesmith.solve.step import Op, Step
from imagesmith.values import field_names, frozen, note_of, record

__all__ = ["FORMAT", "StepKeys", "base_of", "counted_as", "key_of", "op_part", "parts_of", "uncounted"]

#: Raise it when the bytes of layers or the meaning of a part change.
FORMAT = 3


@frozen
class _Counted:
    """How a field counts: under which name, and in which form."""

    name: str
    form: Callable[[Any], object]


@frozen
class _Uncounted:
    """Why a field does not count."""

    why: str


def counted_as(name: str = "", form: Callable[[Any], object] = plain) -> object:
    """The note on a field that is in the key under another name, or in another form than its own."""
    return _Counted(name, form)


def uncounted(why: str) -> object:
    """The note on a field that is not in the key, with the reason."""
    return _Uncounted(why)


def op_part(op: Op) -> dict[str, object]:
    """What of an op is in the key: all its fields, but for those that say otherwise."""
    out: dict[str, object] = {"kind": kind_of(type(op))}
    for name in field_names(op):
        note, value = note_of(op, name), getattr(op, name)
        if isinstance(note, _Counted):
            out[note.name or name] = note.form(value)
        elif not isinstance(note, _Uncounted):
            out[name] = plain(value)
    return out


def parts_of(op: Op, below: Digest | None, inputs: Sequence[str]) -> dict[str, object]:
    """The parts of the key of an operation on the layers of a chain id, whose inputs have these digests."""
    return {
        "format": FORMAT,
        "below": "" if op.apart or below is None else str(below),
        "op": op_part(op),
        "inputs": list(inputs),
    }


def key_of(parts: Mapping[str, object]) -> str:
    """The key: a digest of the parts."""
    return digest_bytes(dumps(parts, sort_keys=True)).hex


def base_of(parts: Mapping[str, object]) -> str:
    """What a step has in common with its earlier builds: its instruction without what may vary."""
    op = parts["op"]
    assert isinstance(op, dict)
    stable = {k: op[k] for k in ("kind", "argv", "dest", "paths", "path") if k in op}
    return digest_bytes(dumps({"op": stable}, sort_keys=True)).hex


@record
class StepKeys:
    """What a step is looked up by; `short` names the layers of its sources instead of their files."""

    step: Step
    base: str
    parts: dict[str, object] | None = None
    short: dict[str, object] | None = None

    @property
    def short_base(self) -> str:
        """The base of short keys, which are not to be taken for the others."""
        return f"{self.base}+"
