"""What differs between two images: configs, files, sizes.

Why: digests say that images differ, not how. Files of a layer that both share are equal without being read.
Trust: both images are others': files are compared through the doors of the trees that they are from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from imagesmith.fs.entry import Content, Entry
from imagesmith.fs.view import View
from imagesmith.image.contents import Contents
from imagesmith.oci.config import config_object
from imagesmith.store.layers import LayerContent
from imagesmith.values import frozen

__all__ = ["Comparison", "Difference", "compare_configs", "compare_files", "compare_images"]

_KIND = {"f": "file", "d": "directory", "l": "link", "c": "device", "b": "device", "p": "fifo", "h": "file"}


@frozen
class Difference:
    """One difference: `sign` is + (only in the second), - (only in the first) or ~ (in both)."""

    sign: str
    where: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.sign} {self.where}" + (f"  {self.detail}" if self.detail else "")


@frozen(kw_only=True)
class Comparison:
    """What differs between two images; None for what was not compared.

    sizes   of all layers of each (bytes, compressed as they are)
    layers  how many each has
    """

    config: list[Difference] | None
    files: list[Difference] | None
    sizes: tuple[int, int]
    layers: tuple[int, int]

    def __bool__(self) -> bool:
        """True if configs or files differ."""
        return bool(self.config or self.files)

    def __repr__(self) -> str:
        counts = ((name, getattr(self, name)) for name in ("config", "files"))
        told = ", ".join(f"{name} {len(found)}" for name, found in counts if found is not None)
        return f"Comparison({told or f'sizes {self.sizes}'})"


def compare_images(
    a: Contents, b: Contents, *, config: bool = True, files: bool = True, times: bool = False
) -> Comparison:
    """What differs between two images.

    Args:
        a, b: the images; with `files`, and their files.
        config, files: what is compared.
        times: modification times of files count as well.
    """
    return Comparison(
        config=compare_configs(a.config, b.config) if config else None,
        files=compare_files(a.files, b.files, times=times) if files else None,
        sizes=(_layers_size(a), _layers_size(b)),
        layers=(len(a.manifest.layers), len(b.manifest.layers)),
    )


def _layers_size(one: Contents) -> int:
    return sum(d.size for d in one.manifest.layers)


def compare_configs(a: bytes, b: bytes) -> list[Difference]:
    """The values that differ, by their place in the document."""
    first, second = (dict(_values(config_object(raw).data, "")) for raw in (a, b))
    out = []
    for key in sorted({*first, *second}):
        if key not in second:
            out.append(Difference("-", key, first[key]))
        elif key not in first:
            out.append(Difference("+", key, second[key]))
        elif first[key] != second[key]:
            out.append(Difference("~", key, f"{first[key]} -> {second[key]}"))
    return out


def _values(value: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _values(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for n, item in enumerate(value):
            yield from _values(item, f"{path}[{n}]")
    else:
        yield path, json.dumps(value, ensure_ascii=False)


def compare_files(a: View, b: View, *, times: bool = False) -> list[Difference]:
    """The paths that differ, sorted; with `times`, modification times count as well."""
    first = {e.path: e for e in a.walk()}
    second = {e.path: e for e in b.walk()}
    out = []
    for path in sorted({*first, *second}):
        old, new = first.get(path), second.get(path)
        if new is None:
            out.append(Difference("-", f"/{path}", _KIND.get(old.kind, "") if old else ""))
        elif old is None:
            size = f"{new.size} bytes" if new.kind in "fh" else ""
            out.append(Difference("+", f"/{path}", " ".join(filter(None, (_KIND.get(new.kind, ""), size)))))
        else:
            detail = _changes(old, new, times)
            if detail:
                out.append(Difference("~", f"/{path}", detail))
    return out


def _changes(old: Entry, new: Entry, times: bool) -> str:
    kinds = _KIND.get(old.kind, old.kind), _KIND.get(new.kind, new.kind)
    if kinds[0] != kinds[1]:
        return f"{kinds[0]} -> {kinds[1]}"
    out = []
    if old.mode != new.mode:
        out.append(f"mode {old.mode:04o} -> {new.mode:04o}")
    if (old.uid, old.gid) != (new.uid, new.gid):
        out.append(f"owner {old.uid}:{old.gid} -> {new.uid}:{new.gid}")
    if old.kind == "l" and old.link != new.link:
        out.append(f"link {old.link} -> {new.link}")
    if old.rdev != new.rdev:
        out.append(f"device {old.rdev[0]}:{old.rdev[1]} -> {new.rdev[0]}:{new.rdev[1]}")
    if old.size != new.size:
        out.append(f"size {old.size} -> {new.size}")
    elif old.kind in "fh" and old.size and not _same_content(old, new):
        out.append("content")
    if (old.capability or b"") != (new.capability or b""):
        out.append("capability")
    if times and old.mtime_ns != new.mtime_ns:
        out.append("time")
    return ", ".join(out)


def _same_content(old: Entry, new: Entry) -> bool:
    """True if two files of one size hold the same; those of one layer at one place are not read."""
    a, b = old.content, new.content
    if _place(a) is not None and _place(a) == _place(b):
        return True
    return a is not None and b is not None and _digest(a, old.size) == _digest(b, new.size)


def _place(content: Content | None) -> tuple[object, int] | None:
    return (content.layer.diff_id, content.offset) if isinstance(content, LayerContent) else None


def _digest(content: Content, size: int) -> str:
    seen, left = hashlib.sha256(), size
    with content.open() as f:
        while left > 0 and (data := f.read(min(left, 1 << 20))):
            seen.update(data)
            left -= len(data)
    return seen.hexdigest()
