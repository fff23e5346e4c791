"""What the sources of a build stand for, settled: `Dockerfile.lock`, and what it asks of a build.

    {
      "version": 1,
      "images": {
        "docker.io/library/debian:12": "sha256:…"
      },
      "repositories": {
        "https://github.com/o/r.git#main": "COMMIT"
      },
      "files": {
        "https://example.com/f.tar.gz": "sha256:…"
      }
    }

Images are named in full, with their tag; where one is an index, its digest stands for all platforms. A
repository is named by its address and ref, whichever folder of it is taken, a file by its URL, both without a
login.

Why: a tag, a branch and a URL mean something else tomorrow. A source that is pinned is as if the digest stood
in the Dockerfile: `debian:12@sha256:…`, `ADD --checksum`. One entry a line, sorted, in ASCII: the file is
made to be read in a diff. What a Dockerfile pins itself is not in it.
Trust: the lock comes with the context: it is read strictly, and lies in the folder of the Dockerfile, of
which no link leads out, neither to read nor to write.
Threads: who plans adds to it; `hint` may be called from any.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from imagesmith.context.git import is_commit
from imagesmith.context.logins import without_login
from imagesmith.errors import DockerfileError, InvalidDocument, InvalidReference, UsageError, cannot_write
from imagesmith.fs.atomic import put_whole
from imagesmith.fs.jail import Jail
from imagesmith.oci.codec import parse_object
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import ImageRef
from imagesmith.request import Pins
from imagesmith.values import frozen

__all__ = ["SUFFIX", "Pin", "Pinning", "Source", "parse_lock", "write_lock"]

#: What a lock is called: the Dockerfile's name and this.
SUFFIX = ".lock"
_VERSION = 1
_KINDS = ("images", "repositories", "files")
#: Sources that a lock may hold, and characters of a name.
_MOST, _LONGEST = 10_000, 8192


class Source(NamedTuple):
    """A source of a build: images, repositories or files; and its name in the lock."""

    kind: str
    name: str

    @property
    def shown(self) -> str:
        """What people call it."""
        return ImageRef.parse(self.name).familiar if self.kind == "images" else self.name.removesuffix("#")

    def is_called(self, word: str) -> bool:
        """True if that is what a word of a command line means."""
        if self.kind == "images":
            with contextlib.suppress(InvalidReference):
                return str(ImageRef.parse(word)) == self.name
        return without_login(word) in (self.name, self.shown)


@frozen
class Pin:
    """What became of one source: what the lock held, and what it is now; either may be empty.

    `is_used` is false for an entry that nothing asked for.
    """

    source: Source
    old: str
    new: str
    is_used: bool = True


def parse_lock(raw: bytes, what: str) -> dict[Source, str]:
    """Read a lock.

    Args:
        raw: the bytes, of bounded size.
        what: the file's name for messages.

    Raises:
        InvalidDocument: it is none, or of another version.
    """
    document = parse_object(raw, what)
    version = document.integer("version")
    if version != _VERSION:
        raise InvalidDocument(f"{what}: version {version} is not known", hint=f"{_VERSION} is")
    unknown = sorted(set(document.data) - {"version", *_KINDS})
    if unknown:
        raise InvalidDocument(f"{what}: {unknown[0][:100]!r} is not known", hint=f"{', '.join(_KINDS)} are")
    found = {Source(kind, k): v for kind in _KINDS for k, v in document.text_map(kind).items()}
    if len(found) > _MOST:
        raise InvalidDocument(f"{what}: has more than {_MOST} sources")
    for source, value in found.items():
        _check(source, value, what)
    return found


def _check(source: Source, value: str, what: str) -> None:
    kind, name = source
    if len(name) > _LONGEST:
        raise InvalidDocument(f"{what}: {kind} has a name of more than {_LONGEST} characters")
    try:
        if kind == "repositories":
            if not is_commit(value):
                raise InvalidDocument(f"{value[:100]!r} is no commit")
            return
        Digest.parse(value)
        if kind == "images" and str(ref := ImageRef.parse(name)) != name:
            raise InvalidDocument(f"an image is named in full, as {ref}")
    except (InvalidDocument, InvalidReference) as e:
        raise InvalidDocument(f"{what}: {kind}: {name[:200]}: {e.message}") from e


def write_lock(pins: Mapping[Source, str]) -> bytes:
    """The bytes of a lock."""
    document: dict[str, object] = {"version": _VERSION}
    for kind in _KINDS:
        document[kind] = {s.name: pins[s] for s in sorted(pins) if s.kind == kind}
    return json.dumps(document, indent=2).encode() + b"\n"


class Pinning:
    """The pins of one build: those of its lock, and those that whoever asks for the build has settled."""

    def __init__(self, given: Pins | None = None) -> None:
        """Begin with what was settled before; without a lock all other sources are free."""
        self.pins: dict[Source, str] = {}
        self._given: dict[Source, str] = {}
        if given is not None:
            for kind, rows in zip(_KINDS, (given.images, given.repositories, given.files), strict=True):
                self._given |= {Source(kind, name): str(value) for name, value in rows.items()}
        self._was: dict[Source, str] = {}
        self._asks: dict[Source, Callable[[], str]] = {}
        self._place: tuple[Path, str] | None = None
        self._is_new = self._adds = False
        self._moves: Callable[[Source], bool] = lambda _source: False
        self._moved: set[Source] = set()
        #: The name of the lock for messages; empty without one.
        self.lock = ""

    def use(self, place: tuple[Path, str], raw: bytes | None, *, adds: bool, writable: bool) -> None:
        """Require what a lock says.

        Args:
            place: the folder, and the lock's path in it.
            raw: its content; None if there is none yet.
            adds: what it does not hold is asked for, and added.
            writable: false where the context came from elsewhere, and goes with the build.

        Raises:
            InvalidDocument: it is none.
        """
        self.lock, self._is_new = posixpath.basename(place[1]), raw is None
        self._place, self._adds = place if writable else None, adds and writable
        if raw is not None:
            self._was = parse_lock(raw, self.lock)
            self.pins = dict(self._was)

    def move(self, wanted: Callable[[Source], bool]) -> None:
        """Ask anew for what these sources stand for, whatever the lock says.

        Raises:
            UsageError: the lock came with the context.
        """
        self._check_writable()
        self._moves = wanted

    def drop(self, wanted: Callable[[Source], bool]) -> None:
        """Take these sources out of the lock, as far as the build has not asked for them.

        Raises:
            UsageError: the lock came with the context.
        """
        self._check_writable()
        self.pins = {s: value for s, value in self.pins.items() if s in self._asks or not wanted(s)}

    def _check_writable(self) -> None:
        if not self._adds:
            raise UsageError(f"{self.lock} came with the context, and cannot be written there")

    def of(self, kind: str, name: str, ask: Callable[[], str]) -> str:
        """What a source is pinned to; empty where nothing is required of it.

        Args:
            kind: images, repositories or files.
            name: a reference in full, GitRef.pin or a URL.
            ask: finds out what it stands for now.

        Raises:
            DockerfileError: the lock must hold it, and does not.
            InvalidDocument: the lock cannot hold it.
            ImagesmithError: what `ask` raises.
        """
        source = Source(kind, without_login(name))
        given = self._given.get(source, "")
        if given or not self.lock:
            return given
        self._asks[source] = ask
        moves = self._adds and source not in self._moved and self._moves(source)
        if source in self.pins and not moves:
            return self.pins[source]
        if not self._adds:
            hint = "`imagesmith pin` adds it, and so does `build --pin`"
            if self._place is None:
                hint = f"{self.lock} came with the context: pin it where that is kept, or give --pin=false"
            raise DockerfileError(f"{source.shown} is not in {self.lock}", hint=hint)
        try:
            source.name.encode()
        except UnicodeEncodeError:
            raise DockerfileError("an address that is no text cannot be pinned") from None
        value = ask()
        _check(source, value, self.lock)  # or what is written could not be read
        self._moved.add(source)
        self.pins[source] = value
        return value

    def hint(self, kind: str, name: str) -> str:
        """What to do where a source is no longer what the lock says; see `of`."""
        source = Source(kind, without_login(name))
        if not self.lock or source not in self.pins or source in self._given:
            return ""
        return f"{self.lock} has this digest; `imagesmith pin --update --only {source.shown}` moves it"

    def all(self) -> Iterator[Pin]:
        """Each source, sorted: of the lock as it was, and of the build."""
        for source in sorted({*self.pins, *self._was}):
            yield Pin(
                source, self._was.get(source, ""), self.pins.get(source, ""), is_used=source in self._asks
            )

    def newest(self, source: Source) -> str:
        """What a source that the build has asked for stands for now."""
        return self.pins[source] if source in self._moved else self._asks[source]()

    def write(self) -> bool:
        """Put the lock beside the Dockerfile, if it is to have what it has not yet; true if that was so.

        Raises:
            ImagesmithError: it cannot be written.
        """
        if self._place is None or not self._adds or not (self._is_new or self.pins != self._was):
            return False
        folder, name = self._place
        try:
            with Jail(folder) as jail:
                at = jail.folder(posixpath.dirname(name))
                put_whole(Path(self.lock), write_lock(self.pins), below=at)
        except OSError as e:
            raise cannot_write(e, os.path.join(folder, name)) from e
        self._is_new = self._adds = False
        return True
