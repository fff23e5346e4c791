"""Reading packages out of an image's files: what a reader is, what it may ask, and the walk over all paths.

A reader is a module of this room with two functions:

    def wants(path: str) -> bool                              asked once for each regular file of the image
    def read(path: str, image: Files) -> Iterator[Package]    asked for the files that it wants

one more if that is cheaper where nothing but names and versions is asked for:

    def brief(path: str, image: Files) -> Iterator[Package]

and `UNOWNED = True` if it is asked last, and not for files that packages of the distribution own.

Paths are as in fs.entry: relative to the image's root, without leading slash. `READERS` names the modules;
they are imported when the first SBOM is made.

Why: files are read through the view of the layers, where they lie in the stored tar: nothing is extracted.
What a file says costs a warning and never the SBOM: a reader raises what it likes, and what it gave until
then stays.
Trust: everything is hostile. Reads are bounded, links are followed within the image only, texts are cut
(`package.checked`), packages are counted.
Threads: one for each `Files`.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol

from imagesmith.errors import ImagesmithError, LimitExceeded, MissingSource, StoreError
from imagesmith.fs.entry import Entry
from imagesmith.fs.limits import shown
from imagesmith.fs.tree import Tree
from imagesmith.sbom.package import Package, checked
from imagesmith.sbom.parts import Part
from imagesmith.values import replace

__all__ = [
    "MOST_PACKAGES",
    "MOST_WARNINGS",
    "READERS",
    "Files",
    "Reader",
    "identities",
    "packages_in",
    "readers",
    "told",
]

#: The modules that read packages.
READERS: dict[str, str] = {
    "dpkg": "imagesmith.sbom.dpkg",
    "apk": "imagesmith.sbom.apk",
    "rpm": "imagesmith.sbom.rpm",
    "alpm": "imagesmith.sbom.alpm",
    "portage": "imagesmith.sbom.portage",
    "python": "imagesmith.sbom.python",
    "npm": "imagesmith.sbom.npm",
    "java": "imagesmith.sbom.java",
    "executables": "imagesmith.sbom.executables",  # Go's and Rust's
    "gems": "imagesmith.sbom.gems",
    "composer": "imagesmith.sbom.composer",
    "pecl": "imagesmith.sbom.pecl",
    "wordpress": "imagesmith.sbom.wordpress",
    "cran": "imagesmith.sbom.cran",
    "conda": "imagesmith.sbom.conda",
    "luarocks": "imagesmith.sbom.luarocks",
    "dotnet": "imagesmith.sbom.dotnet",
    "jvm": "imagesmith.sbom.jvm",
    "programs": "imagesmith.sbom.programs",
}

#: Packages of one image; warnings that are told of it, and of one file in it.
MOST_PACKAGES, MOST_WARNINGS, _OF_ONE_FILE = 200_000, 100, 5
#: What the readers of an image may read into memory, one after the other; paths that packages own together.
_ALL_BYTES, _ALL_FILES = 4 << 30, 2_000_000
_RELEASE_BYTES = 1 << 16


class Reader(Protocol):
    """A module that reads packages of one kind; see above."""

    def wants(self, path: str, /) -> bool:
        """True if the reader is to be asked about a file; told by its path alone."""

    def read(self, path: str, image: Files, /) -> Iterator[Package]:
        """The packages that a file tells of."""


class Files:
    """The files of an image, for readers; every path is followed through links, within the image.

    A reader raises what it meets: `ImagesmithError` of these functions, ValueError, struct.error, anything.
    """

    def __init__(
        self, tree: Tree, folder: Path | None = None, warn: Callable[[str], object] = lambda _: None
    ) -> None:
        """Look at the files of a tree.

        Args:
            tree: the view of an image's layers, or a context.
            folder: of the store, where what must be a file on the disk is put for a while.
            warn: is told what cannot be read.
        """
        self.tree = tree
        self._folder, self._warn, self._told, self._left = folder, warn, 0, _ALL_BYTES
        self._about = ("", 0)
        self._release: Mapping[str, str] | None = None

    def stat(self, path: str) -> Entry | None:
        """What is at a path: its kind, mode and size (bytes); None if there is nothing."""
        try:
            return self.tree.get(self.tree.resolve(path))
        except ImagesmithError:  # links in circles
            return None

    def real(self, path: str) -> str:
        """Where a path leads; itself if its links lead in circles."""
        try:
            return self.tree.resolve(path)
        except ImagesmithError:
            return path

    def exists(self, path: str) -> bool:
        """True if there is something at a path."""
        return self.stat(path) is not None

    def list(self, folder: str) -> list[str]:
        """The names in a folder, sorted; empty if it is none."""
        try:
            return self.tree.children(self.tree.resolve(folder))
        except ImagesmithError:
            return []

    def read(self, path: str, limit_bytes: int) -> bytes:
        """The whole of a regular file.

        Raises:
            MissingSource: there is none.
            LimitExceeded: it is larger than the limit, or too much was read of the image already.
        """
        e = self._file(path)
        if e.size > limit_bytes:
            raise LimitExceeded(f"{shown(path)}: a file of {e.size} bytes, more than {limit_bytes}")
        self.spend(path, e.size)
        if e.content is None:
            return b""
        with e.content.open() as f:
            parts, left = [], e.size
            while left > 0 and (data := f.read(left)):
                parts.append(data)
                left -= len(data)
        return b"".join(parts)

    @property
    def left(self) -> int:
        """How much may still be read into memory of the image's files, bytes."""
        return max(0, self._left)

    def spend(self, path: str, count: int) -> None:
        """Count bytes that are read into memory, or unpacked, for the file at a path.

        Raises:
            LimitExceeded: too much was read of the image.
        """
        self._left -= count
        if self._left < 0:
            raise LimitExceeded(
                f"{shown(path)}: more than {_ALL_BYTES} bytes of the image are read for packages"
            )

    def open(self, path: str) -> BinaryIO:
        """A regular file, open at its first byte and seekable; it ends where the file ends.

        Raises:
            MissingSource: there is none.
        """
        e = self._file(path)
        if e.content is None:
            return io.BytesIO()
        inner = e.content.open()
        return io.BufferedReader(Part(inner, inner.tell(), e.size, owns=True), 1 << 14)

    @contextlib.contextmanager
    def on_disk(self, *paths: str, limit_bytes: int) -> Iterator[Path]:
        """Copies of files below their last names, in a folder of the store that is deleted afterwards.

        Raises:
            MissingSource, LimitExceeded: see `read`.
        """
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=self._folder, prefix="tmp") as at:
                for path in paths:
                    size = self._file(path).size
                    if size > limit_bytes:
                        raise LimitExceeded(f"{shown(path)}: a file of {size} bytes, more than {limit_bytes}")
                    with self.open(path) as f, Path(at, path.rpartition("/")[2]).open("xb") as out:
                        shutil.copyfileobj(f, out, 1 << 20)
                yield Path(at)
        except OSError as e:
            raise StoreError(f"cannot copy {shown(paths[0])} out of the image: {e.strerror}") from e

    def _file(self, path: str) -> Entry:
        e = self.tree.get(self.tree.resolve(path))
        if e is None or e.kind != "f":
            raise MissingSource(f"{shown(path)}: no such file in the image")
        return e

    @property
    def release(self) -> Mapping[str, str]:
        """The fields of the image's os-release, read once; empty if it has none."""
        if self._release is None:
            found: Mapping[str, str] = {}
            for path in ("etc/os-release", "usr/lib/os-release"):
                with contextlib.suppress(ImagesmithError):
                    found = _fields(self.read(path, _RELEASE_BYTES))
                    break
            self._release = found
        return self._release

    def warn(self, path: str, text: str) -> None:
        """Tell what of a file cannot be read; one line, lower case. Only the first of many are told.

        A file that has much to tell of leaves room for others: what an archive holds must not hide that the
        list of the system's packages is damaged.
        """
        of_it = self._about[1] + 1 if self._about[0] == path else 1
        self._about = path, of_it
        if of_it > _OF_ONE_FILE:
            return
        text = f"/{path}: {text}" if of_it < _OF_ONE_FILE else f"/{path}: more of it cannot be read"
        self._told += 1
        if self._told <= MOST_WARNINGS:
            self._warn("".join(c if c.isprintable() else "?" for c in text[:1000]))
        if self._told == MOST_WARNINGS:
            self._warn("more of the image's packages cannot be read; nothing is told of these")


def _fields(raw: bytes) -> dict[str, str]:
    """The rows of os-release."""
    text = raw.decode("utf-8", "replace")
    rows = re.findall(r"""(?m)^\s*([A-Z0-9_]+)=("[^"\n]*"|'[^'\n]*'|[^\s"']*)""", text)
    return {key: value.strip("\"'") for key, value in rows}


def readers() -> list[Reader]:
    """The modules of READERS."""
    return [import_module(name) for name in READERS.values()]


def packages_in(image: Files) -> list[Package]:
    """All packages of an image, sorted by purl and path, each telling file's once."""
    found: dict[tuple[str, str], Package] = {}
    known = [(reader.wants, reader, getattr(reader, "UNOWNED", False)) for reader in readers()]
    later: list[tuple[str, Reader]] = []
    files = _ALL_FILES
    for e in image.tree.walk():
        if e.kind != "f":
            continue
        for wants, reader, waits in known:
            if not wants(e.path):
                continue
            if waits:
                later.append((e.path, reader))
                continue
            for package in told(reader, e.path, image):
                files -= len(package.files)
                one = package if files >= 0 or not package.files else replace(package, files=())
                found.setdefault((one.purl, one.path), one)
        _counted(found)
    owned = _owned({path for path, _ in later}, found.values(), image)
    for path, reader in later:
        if path not in owned:
            found.update(((one.purl, one.path), one) for one in told(reader, path, image))
            _counted(found)
    return [found[key] for key in sorted(found)]


def _counted(found: Mapping[tuple[str, str], Package]) -> None:
    if len(found) > MOST_PACKAGES:
        raise LimitExceeded(f"the image has more than {MOST_PACKAGES} packages")


def _owned(paths: set[str], packages: Iterable[Package], image: Files) -> set[str]:
    """Those paths that packages of the distribution own, which may name them through links of folders."""
    names = {path[path.rfind("/") + 1 :] for path in paths}
    out: set[str] = set()
    for package in packages if paths else ():
        for path in package.files if package.of_distribution else ():
            if path in paths:
                out.add(path)
            elif path[path.rfind("/") + 1 :] in names:
                out.add(image.real(path))
    return out & paths


def told(reader: Reader, path: str, image: Files) -> Iterator[Package]:
    """What a reader makes of a file; whatever goes wrong is a warning."""
    return _told(reader.read, path, image)


def _told(read: Callable[[str, Files], Iterator[Package]], path: str, image: Files) -> Iterator[Package]:
    try:
        for n, package in enumerate(read(path, image)):
            whole = checked(package)
            if whole is None:
                image.warn(path, "a package without a usable name is left out")
            elif n < MOST_PACKAGES:
                yield whole
            else:
                raise LimitExceeded(f"more than {MOST_PACKAGES} packages")
    except StoreError:
        raise
    except Exception as e:  # a reader meets every kind of damage
        image.warn(path, f"cannot be read as a list of packages: {_said(e, path)}")


def _said(e: Exception, path: str) -> str:
    """What went wrong, without the name of the file that the warning begins with."""
    if isinstance(e, RecursionError):
        return "nested too deeply"
    if isinstance(e, ImagesmithError):
        return e.message.removeprefix(f"{shown(path)}: ")
    return str(e) if isinstance(e, ValueError) else f"{type(e).__name__}: {e}"


def identities(path: str, image: Files) -> set[tuple[str, str, str, str, str]]:
    """Of the packages that a file tells of, what makes each the same in another state of the file."""
    out: set[tuple[str, str, str, str, str]] = set()
    for reader in readers():
        if reader.wants(path):
            read = getattr(reader, "brief", reader.read)
            out.update(package.identity for package in _told(read, path, image))
    return out
