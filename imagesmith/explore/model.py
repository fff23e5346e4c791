"""What each layer of an image changed, what it weighs, and what of that nobody sees in the end.

    model = explore(files)
    for layer in model.layers: print(layer.number, layer.size, layer.added, layer.wasted)
    for node in children(model, 2, ""): ...                    # explore/tree.py

Why one pass a layer: a layer's entries are gone through once, against the view of what lies below, and each
folder's difference is summed up on the way. So the size of a folder after any layer is a sum of differences,
and memory is what folders and hidden files take, not files (layers of many files are on disk, fs/table.py).
Wasted are the bytes of files that a later layer overwrites or removes: they are pulled and stored, and no
container sees them. `efficiency` is the rest as a share of all, 1.0 without waste.
Spec: OCI image-spec 1.1, layer.md; names of the measures are those that users of dive know.
Trust: names, histories and labels are the image's: they are not cleaned here.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal

from imagesmith.explore.files import ImageFiles
from imagesmith.explore.instructions import Instruction
from imagesmith.fs.entry import Content, Entry
from imagesmith.fs.layerindex import LayerIndex, parent_of
from imagesmith.fs.view import View
from imagesmith.oci.config import config_object
from imagesmith.values import frozen

__all__ = ["Exploration", "LayerFacts", "Wasted", "changed", "explore", "own_bytes"]

#: So many paths of wasted files are kept, the largest.
_MOST_WASTED = 2_000

Fate = Literal["overwritten", "removed"]


@frozen(kw_only=True)
class LayerFacts:
    """One layer.

    number       1 for the lowest
    digest       of the blob, diff_id of the tar in it
    size         bytes of the blob, as it is pulled and stored
    unpacked     bytes of the files in it
    files        entries, deletions not among them
    added, modified, removed   how many paths it changed; of folders those alone whose own metadata it changed
    grown        by how many bytes the files that the image shows became more; may be negative
    wasted       bytes of files in it that nobody sees in the end
    created_by   as the image's history has it; created is when
    instruction  the lines of a Dockerfile, where a provenance tells them
    """

    number: int
    digest: str
    diff_id: str
    media_type: str
    size: int
    unpacked: int
    files: int
    added: int
    modified: int
    removed: int
    grown: int
    wasted: int
    created_by: str = ""
    created: str = ""
    instruction: Instruction | None = None

    @property
    def made_by(self) -> str:
        """The instruction in one line: the Dockerfile's if it is known, else the history's without frills."""
        if self.instruction is not None:
            return " ".join(self.instruction.text.split())
        text = self.created_by.removesuffix(" # buildkit")
        for shell, word in (("/bin/sh -c #(nop) ", ""), ("RUN /bin/sh -c ", "RUN "), ("/bin/sh -c ", "RUN ")):
            if text.startswith(shell):
                return f"{word}{text.removeprefix(shell).strip()}"
        return text


@frozen(kw_only=True)
class Wasted:
    """A path below which bytes lie that nobody sees.

    path    absolute
    size    bytes, of all hidden copies together
    copies  how many
    layers  the layers that hold them, the lowest first
    by      the layer that hid the last one
    fate    what that did
    """

    path: str
    size: int
    copies: int
    layers: tuple[int, ...]
    by: int
    fate: Fate


@frozen(kw_only=True)
class Exploration:
    """An image that was looked through.

    size        bytes of its layers as they are pulled
    unpacked    bytes of all files in the layers; shown: of those that the image shows
    wasted      the difference; user_wasted and user_unpacked: of the layers above the lowest
    efficiency  1 - wasted / unpacked
    hidden      paths of wasted files, the largest first, `more_hidden` further ones left out
    config      the image's config, as it is stored
    deltas      of each layer by how many bytes each folder grew, by path; those of 0 are left out
    files       the image
    """

    name: str
    digest: str
    platform: str
    size: int
    unpacked: int
    shown: int
    wasted: int
    user_unpacked: int
    user_wasted: int
    efficiency: float
    layers: tuple[LayerFacts, ...]
    hidden: tuple[Wasted, ...]
    more_hidden: int
    config: dict[str, Any]
    deltas: tuple[dict[str, int], ...]
    files: ImageFiles


def own_bytes(e: Entry | None) -> int:
    """The bytes that an entry brings: those of a file under its first name."""
    return e.size if e is not None and e.kind == "f" and not e.link else 0


def changed(before: Entry, now: Entry) -> bool:
    """Whether a layer that has a path changed it: a file always, for it is stored again."""
    if before.kind != now.kind or now.kind == "f":
        return True
    fields = ("mode", "uid", "gid", "capability", "link", "rdev")
    return any(getattr(before, f) != getattr(now, f) for f in fields)


class _Layer:
    """A layer being gone through."""

    def __init__(self, number: int, index: LayerIndex, below: View, now: View) -> None:
        self.number, self.index, self.below, self.now = number, index, below, now
        self.deltas: dict[str, int] = {}
        self.unpacked = self.files = self.added = self.modified = self.removed = 0

    def read(self) -> None:
        """Count what the layer changed."""
        replaced: set[str] = set()
        for e in self.index.entries.values():
            self.files += 1
            size = e.size if e.kind == "f" else 0
            self.unpacked += size
            before = self.below.get(e.path)
            if before is None:
                self.added += bool(e.path)
            elif changed(before, _shown(e)):
                self.modified += 1
            self._grow(e.path, size - own_bytes(before))
            if before is not None and before.kind == "d" and e.kind != "d":
                replaced.add(e.path)
        for path in self.index.implied:
            before = self.below.get(path)
            if before is None:
                self.added += 1
            elif before.kind != "d":  # its place is taken
                self.modified += 1
                self._grow(path, -own_bytes(before))
        taken: set[str] = set()
        for path in sorted({*self.index.whiteouts, *self.index.opaques, *replaced}):
            if not any(above in taken for above in (path, *_above(path))):
                taken.add(path)
                self._take(path)

    def _take(self, path: str) -> None:
        """Count what was at a path and below it, and is there no more."""
        old = self.below.get(path)
        for e in itertools.chain(() if old is None else (old,), self.below.walk(path)):
            if self.now.get(e.path) is None:
                self.removed += 1
                self._grow(e.path, -own_bytes(e))

    def _grow(self, path: str, count: int) -> None:
        while count and path:
            path = parent_of(path)
            self.deltas[path] = self.deltas.get(path, 0) + count


def _above(path: str) -> Iterator[str]:
    """The folders that a path is in."""
    while path:
        path = parent_of(path)
        yield path


def _shown(e: Entry) -> Entry:
    """A further name of a file counts as a file."""
    return Entry(e.path, "f", e.mode) if e.kind == "h" else e


class _Waste:
    """What is hidden in the end."""

    def __init__(self, view: View) -> None:
        self._view, self._count = view, len(view.layers)
        self._by_path: dict[str, tuple[int, int, tuple[int, ...]]] = {}
        self._shown: set[Content] = set()
        self._implied = {path for index in view.layers for path in index.implied}
        for n, index in enumerate(view.layers, 1):
            for path in index.further:
                if view.deciding(path) == self._count + 1 - n:
                    e = view.get(path)
                    if e is not None and e.content is not None:
                        self._shown.add(e.content)

    def of(self, number: int, index: LayerIndex) -> int:
        """The bytes of a layer that are hidden; their paths are noted."""
        wasted, mine = 0, self._count + 1 - number
        for e in index.entries.values():
            if e.kind != "f" or not e.size or self._shows(e.path, mine):
                continue
            if self._shown and e.content in self._shown:
                continue
            wasted += e.size
            size, copies, layers = self._by_path.get(e.path, (0, 0, ()))
            self._by_path[e.path] = (size + e.size, copies + 1, (*layers, number))
        return wasted

    def _shows(self, path: str, layer: int) -> bool:
        """True if what is at a path is from a layer, by its number from the top."""
        if self._view.deciding(path) != layer:
            return False
        if path not in self._implied:
            return True
        e = self._view.get(path)  # a folder may have taken its place
        return e is not None and e.kind == "f"

    def largest(self) -> list[Wasted]:
        """The paths that waste most."""
        rows = heapq.nlargest(_MOST_WASTED, self._by_path.items(), key=lambda row: (row[1][0], row[0]))
        return [self._wasted(path, *found) for path, found in rows]

    def more(self) -> int:
        """How many others there are."""
        return max(0, len(self._by_path) - _MOST_WASTED)

    def _wasted(self, path: str, size: int, copies: int, layers: tuple[int, ...]) -> Wasted:
        indexes = self._view.layers
        for n in range(layers[-1] + 1, self._count + 1):
            e = indexes[n - 1].entries.get(path)
            if e is not None or path in indexes[n - 1].implied:
                return Wasted(
                    path=f"/{path}", size=size, copies=copies, layers=layers, by=n, fate="overwritten"
                )
            if indexes[n - 1].hides_below(path):
                return Wasted(path=f"/{path}", size=size, copies=copies, layers=layers, by=n, fate="removed")
        last = layers[-1]  # another name of the same layer took its place
        return Wasted(path=f"/{path}", size=size, copies=copies, layers=layers, by=last, fate="overwritten")


def explore(
    files: ImageFiles,
    instructions: dict[str, Instruction] | None = None,
    progress: Callable[[int], None] = lambda _number: None,
) -> Exploration:
    """Look through all layers of an image.

    Args:
        files: the image; see files.open_files.
        instructions: what is known of Dockerfile lines, by digest of layers; see instructions.py.
        progress: is told the number of each layer that is begun.

    Raises:
        DigestMismatch, UnsafeArchive, LimitExceeded: a layer is damaged or hostile.
        RegistryError: it could not be fetched.
    """
    view, read = files.view, []
    for number, index in enumerate(files.indexes, 1):
        progress(number)
        layer = _Layer(number, index, view.lowest(number - 1), view.lowest(number))
        layer.read()
        read.append(layer)
    waste = _Waste(view)
    wasted = [waste.of(layer.number, layer.index) for layer in read]
    facts = tuple(_facts(files, read, wasted, instructions or {}))
    unpacked, lost = sum(f.unpacked for f in facts), sum(wasted)
    return Exploration(
        name=files.source.name,
        digest=str(files.manifest.digest),
        platform=str(files.config.platform),
        size=sum(f.size for f in facts),
        unpacked=unpacked,
        shown=unpacked - lost,
        wasted=lost,
        user_unpacked=sum(f.unpacked for f in facts[1:]),
        user_wasted=sum(f.wasted for f in facts[1:]),
        efficiency=(unpacked - lost) / unpacked if unpacked else 1.0,
        layers=facts,
        hidden=tuple(waste.largest()),
        more_hidden=waste.more(),
        config=config_object(files.source.document(files.manifest.config)).data,
        deltas=tuple({path: n for path, n in layer.deltas.items() if n} for layer in read),
        files=files,
    )


def _facts(
    files: ImageFiles, read: list[_Layer], wasted: list[int], instructions: dict[str, Instruction]
) -> Iterator[LayerFacts]:
    made = [h for h in files.config.history if not h.empty_layer]
    known = len(made) == len(read)
    for layer, lost, (diff_id, d) in zip(read, wasted, files.layers, strict=True):
        history = made[layer.number - 1] if known else None
        yield LayerFacts(
            number=layer.number,
            digest=str(d.digest),
            diff_id=str(diff_id),
            media_type=d.media_type,
            size=d.size,
            unpacked=layer.unpacked,
            files=layer.files,
            added=layer.added,
            modified=layer.modified,
            removed=layer.removed,
            grown=layer.deltas.get("", 0),
            wasted=lost,
            created_by=history.created_by if history else "",
            created=(history.created or "") if history else "",
            instruction=instructions.get(str(d.digest)),
        )
