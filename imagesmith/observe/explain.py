"""Why a step was executed: the first thing that differs from an earlier build of the same instruction.

Order: what is below the step (base image, the step before), the instruction itself (words, variables, flags),
then its files, each named with what changed. An earlier step is chosen that differs least.

Why after the fact: nothing is kept for this but the parts of keys, which the cache has anyway, and a note of
the base image. Files are compared with the index of the layer that the earlier build made, and only when
somebody asks.
Trust: files of earlier layers are read by the store's own door; what is told may hold words of others, which
the command line cleans.
Threads: see Watcher.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from imagesmith.errors import ImagesmithError
from imagesmith.events import EventSink, Message
from imagesmith.fs.entry import Entry
from imagesmith.oci.codec import Object
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.ops.image import ImageOp
from imagesmith.solve.key import base_of
from imagesmith.solve.result import BuiltLayer
from imagesmith.solve.step import Step
from imagesmith.solve.stepcache import STORE, StepCache
from imagesmith.solve.watching import Solved, Watcher
from imagesmith.store.cachedb import StepRecord
from imagesmith.store.store import Store

__all__ = ["Explainer", "file_changes"]

_MOST_FILES = 10
_MOST_TEXT = 120

#: How the fields of an instruction are called.
_FIELDS = {
    "argv": "the command",
    "cwd": "the working directory",
    "user": "the user",
    "mounts": "the mounts",
    "network": "--network",
    "security": "--security",
    "hostname": "the host name",
    "hosts": "the names of --add-host",
    "ulimits": "--ulimit",
    "platform": "the platform",
    "dest": "the destination",
    "paths": "the sources",
    "chown": "--chown",
    "chmod": "--chmod",
    "link": "--link",
    "parents": "--parents",
    "excludes": "--exclude",
    "unpack": "--unpack",
    "time": "SOURCE_DATE_EPOCH",
    "path": "the folder",
}


class Explainer(Watcher):
    """Tells for each step whether it was found, and if not, why."""

    def __init__(self, store: Store, cache: StepCache, build_args: Iterable[str], events: EventSink) -> None:
        self._store, self._cache, self._events = store, cache, events
        self._build_args = frozenset(build_args)
        self._executed: set[Step] = set()
        self._own: set[str] = set()  # the keys of what this build made, which is no earlier one
        self._rivals: dict[int, StepRecord] = {}

    def _say(self, step: int, text: str) -> None:
        self._events(Message(step=step, text=text))

    def solved(self, solved: Solved) -> None:
        """See Watcher."""
        if not solved.hit:
            self._own.update(record.key for record in solved.records)
            return
        where = "this store" if solved.hit == STORE else solved.hit
        age = _age(time.time() - (solved.layer.created_ns or 0) / 1e9)
        what = self._uncounted(solved) or "nothing changed"
        self._say(solved.number, f"hit: {what}; from {where}, made {age} ago")

    def _uncounted(self, solved: Solved) -> str:
        """What is written otherwise than in the build that made a layer, and does not count."""
        notes = (self._cache.note(record.key) for record in solved.records)
        was = _instruction(next((note["name"] for note in notes if note.get("name")), ""))
        now = _instruction(solved.step.name)
        if not was or was == now:
            return ""
        words = itertools.zip_longest(was.split(" "), now.split(" "), fillvalue="nothing")
        old, new = next(pair for pair in words if pair[0] != pair[1])
        left_out = solved.step.op.uncounted()
        why = f" ({left_out} are not in the key)" if left_out else ""
        return f"nothing that counts changed, {_cut(old)} -> {_cut(new)}{why}"

    def missed(
        self,
        number: int,
        step: Step,
        parts: Mapping[str, object],
        below: BuiltLayer | None,
        listing: Callable[[], Mapping[str, Mapping[str, str]]],
    ) -> None:
        """See Watcher."""
        self._executed.add(step)
        if step.no_cache:
            self._say(number, "miss: --no-cache asks for it")
            return
        like = [record for record in self._cache.like(base_of(parts)) if record.key not in self._own]
        if not like:
            self._say(number, f"miss: {self._instruction_changed(parts)}")
            return
        old = max(like, key=lambda r: (_likeness(r.parts, parts), r.created_ns))
        reason = self._reason(step, parts, old, below)
        if reason:
            self._say(number, f"miss: {reason}")
        elif step.op.learns and old.parts.get("inputs") != parts.get("inputs"):
            self._rivals[number] = old
        elif old.parts.get("inputs") != parts.get("inputs"):
            self._tell(number, self._mounted(old, listing()) or [_inputs(step, old.parts, parts)])
        else:
            self._say(number, "miss: its layer is no longer in the store")

    def copies(self, number: int, entries: Iterable[Entry]) -> None:
        """See Watcher: now it is known what is copied."""
        old = self._rivals.pop(number, None)
        if old is None:
            return
        changes = self._compare(old, entries)
        if not changes:
            self._say(number, f"miss: the files changed ({_first_inputs(old.parts)} before)")
            return
        self._tell(number, changes)

    def _tell(self, number: int, changes: Sequence[str]) -> None:
        """Some lines of a list of changes."""
        shown = changes[:_MOST_FILES]
        self._say(number, f"miss: {shown[0]}")
        for line in shown[1:]:
            self._say(number, f"      {line}")
        if len(changes) > len(shown):
            self._say(number, f"      and {len(changes) - len(shown)} more files")

    def _mounted(self, old: StepRecord, listing: Mapping[str, Mapping[str, str]]) -> list[str]:
        """The changed files of a RUN's bind mounts; nothing where the earlier build kept no list."""
        try:
            before = json.loads(self._cache.note(old.key).get("files", "{}"))
        except ValueError:
            return []
        out = []
        for source, files in listing.items():
            was = before.get(source) if isinstance(before, dict) else None
            if not isinstance(was, dict):
                continue
            out += [
                f"/{path} of --mount changed: {was[path]} -> {now}"
                for path, now in files.items()
                if path in was and was[path] != now
            ]
            out += [f"/{path} of --mount was added" for path in files if path not in was]
            out += [f"/{path} of --mount was removed" for path in was if path not in files]
        return out

    # --- reasons -------------------------------------------------------------------------------

    def _reason(
        self, step: Step, new: Mapping[str, object], old: StepRecord, below: BuiltLayer | None
    ) -> str:
        """The first difference that is not in the files."""
        if old.parts.get("format") != new.get("format"):
            return "another version of imagesmith made the earlier layer"
        if old.parts.get("below") != new.get("below"):
            return self._below_changed(step, old, below)
        reason = self._op_changed(old.parts.get("op"), new.get("op"))
        if reason:
            return reason
        if "clamp" in new and old.parts.get("clamp") != new.get("clamp"):
            return (
                f"the time that files are clamped to changed: {_change(old.parts.get('clamp'), new['clamp'])}"
            )
        return ""

    def _below_changed(self, step: Step, old: StepRecord, below: BuiltLayer | None) -> str:
        note = self._cache.note(old.key)
        before = step.parent
        if before is not None and isinstance(before.op, ImageOp):
            image = before.op
            if not note.get("digest"):
                return f"the base is {image.name} now, before it was none"
            if note["image"] != image.name:
                return f"the base image changed: {note['image']} -> {image.name}"
            return f"the base image {image.name} changed: {note['digest']} -> {image.named}"
        if before is None:
            return (
                f"the base image {note['image']} is gone" if note.get("image") else "what it works on changed"
            )
        if before in self._executed:
            return f"the step before it was executed anew: {before.name}"
        was = note.get("below", "")
        if was and _instruction(was) != _instruction(before.name):
            return (
                f"another step is before it: {_cut(_instruction(was))} -> {_cut(_instruction(before.name))}"
            )
        chain = f"{below.diff_id}" if below is not None else "nothing"
        return f"the step before it has another layer than then ({chain}): {before.name}"

    def _op_changed(self, old: object, new: object) -> str:
        if not isinstance(old, Mapping) or not isinstance(new, Mapping):
            return ""
        for key, value in new.items():
            if old.get(key) == value:
                continue
            if key == "env":
                return self._env_changed(_texts(old.get("env")), _texts(value))
            return f"{_FIELDS.get(key, key)} changed: {_change(old.get(key), value)}"
        return ""

    def _env_changed(self, old: list[str], new: list[str]) -> str:
        before = dict(t.partition("=")[::2] for t in old)
        now = dict(t.partition("=")[::2] for t in new)
        for name, value in now.items():
            if name not in before:
                return f"{self._variable(name)} was added: {_cut(repr(value))}"
            if before[name] != value:
                return f"{self._variable(name)} changed: {_change(before[name], value)}"
        for name, value in before.items():
            if name not in now:
                return f"{self._variable(name)} is gone: {_cut(repr(value))} before"
        return "the order of the variables changed"

    def _variable(self, name: str) -> str:
        return f"build argument {name}" if name in self._build_args else f"variable {name}"

    def _instruction_changed(self, parts: Mapping[str, object]) -> str:
        """No earlier build has the instruction: look for another one at the same place."""
        op = parts.get("op")
        if isinstance(op, Mapping) and parts.get("below"):
            there = [
                r
                for r in self._store.cache.all_steps()
                if r.parts.get("below") == parts["below"]
                and isinstance(was := r.parts.get("op"), Mapping)
                and was.get("kind") == op.get("kind")
            ]
            if there:
                old = max(there, key=lambda r: r.created_ns)
                return f"the instruction changed; {self._op_changed(old.parts['op'], op)}"
        return "no earlier build has this instruction here"

    # --- files ---------------------------------------------------------------------------------

    def _compare(self, old: StepRecord, entries: Iterable[Entry]) -> list[str]:
        """What changed against the layer of an earlier build; nothing where it is not here any more."""
        if not old.layer:
            return []
        d = Descriptor.from_json(Object(dict(old.layer), "cache record"))
        diff_id = Digest.parse(old.diff_id)
        layer = self._store.layers.layer(diff_id, d.digest)
        if not ((layer.folder / "index").exists() or self._store.blobs.has(d.digest)):
            return []
        with contextlib.suppress(ImagesmithError):
            return file_changes(layer.entries(), entries)
        return []


def file_changes(old: Iterable[Entry], new: Iterable[Entry]) -> list[str]:
    """What differs between two layers, a line a file: content first, then what came and went."""
    before = {e.path: e for e in old}
    changed, added = [], []
    now = set()
    for e in new:
        now.add(e.path)
        was = before.get(e.path)
        if was is None:
            added.append(f"/{e.path} was added")
        elif reason := _difference(was, e):
            changed.append(f"/{e.path}: {reason}")
    removed = [f"/{path} was removed" for path in before if path not in now]
    return changed + added + removed


def _difference(old: Entry, new: Entry) -> str:
    """What of a file changed that counts for the cache; times do not."""
    if _kind(old) != _kind(new):
        return f"its kind changed: {_KINDS[old.kind]} -> {_KINDS[new.kind]}"
    if old.kind in "fh" and old.size != new.size:
        return f"its content changed: {old.size} -> {new.size} bytes"
    if old.kind == "f" and (a := _digest(old)) != (b := _digest(new)):
        return f"its content changed: sha256:{a[:12]} -> sha256:{b[:12]}"
    if old.kind in "lh" and old.link != new.link:
        return f"it points elsewhere: {old.link} -> {new.link}"
    if old.mode != new.mode:
        return f"its mode changed: {old.mode:04o} -> {new.mode:04o}"
    if (old.uid, old.gid) != (new.uid, new.gid):
        return f"its owner changed: {old.uid}:{old.gid} -> {new.uid}:{new.gid}"
    if old.capability != new.capability:
        return "its capabilities changed"
    return ""


_KINDS = {
    "f": "file", "h": "file", "d": "folder", "l": "link", "c": "device", "b": "device", "p": "pipe",
    "w": "deletion", "o": "opaque folder",
}  # fmt: skip


def _kind(e: Entry) -> str:
    return "f" if e.kind == "h" else e.kind


def _digest(e: Entry) -> str:
    if e.digest or e.content is None or not e.size:
        return e.digest or hashlib.sha256().hexdigest()
    seen, left = hashlib.sha256(), e.size
    with e.content.open() as f:
        while left and (data := f.read(min(left, 1 << 20))):
            seen.update(data)
            left -= len(data)
    e.digest = seen.hexdigest()
    return e.digest


def _likeness(old: Mapping[str, object], new: Mapping[str, object]) -> tuple[int, int]:
    """How many parts are equal, what is below counting most; then how few fields and variables differ."""
    equal = sum(
        weight for key, weight in (("below", 4), ("op", 2), ("inputs", 1)) if old.get(key) == new.get(key)
    )
    a, b = old.get("op"), new.get("op")
    if not isinstance(a, Mapping) or not isinstance(b, Mapping):
        return equal, 0
    fields = sum(a.get(key) != b[key] for key in b)
    variables = len(set(_texts(a.get("env"))) ^ set(_texts(b.get("env"))))
    return equal, -fields - variables


def _inputs(step: Step, old: Mapping[str, object], new: Mapping[str, object]) -> str:
    """Which mount's files changed."""
    before, now = _texts(old.get("inputs")), _texts(new.get("inputs"))
    for name, a, b in zip(step.op.input_names(), before, now, strict=False):
        if a != b:
            return f"files of {name} changed: {_change(a[:12], b[:12])}"
    return f"its files changed: {_change(before, now)}"


def _first_inputs(parts: Mapping[str, object]) -> str:
    return ", ".join(t[:12] for t in _texts(parts.get("inputs"))) or "none"


def _instruction(name: str) -> str:
    """A step's name without its place in the stage."""
    return name.partition("] ")[2] or name


def _texts(value: object) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list | tuple) else []


def _change(old: object, new: object) -> str:
    return f"{_cut(_shown(old))} -> {_cut(_shown(new))}"


def _shown(value: object) -> str:
    if isinstance(value, list | tuple) and value and all(isinstance(v, str) for v in value):
        return repr(value[-1] if len(value) == 3 and value[1] == "-c" else " ".join(value))
    return repr(value)


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 1]}…"


def _age(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{max(0, int(seconds))} s"
