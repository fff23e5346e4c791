"""Every error imagesmith raises on purpose, with its exit status.

    ImagesmithError (1)
      UsageError (2)          InvalidReference
      DockerfileError (3)     carries file, line, the line itself and a caret
      DefinitionError (3)     the same for a bake or compose file
      StepFailed (4)          the user's own command failed; `status` is its exit status
      ContextError (5)        MissingSource
      IntegrityError (6)      DigestMismatch InvalidDocument (NotAnImage) UnsafeArchive LimitExceeded
      RegistryError (7)       NotFound Unauthorized Denied RateLimited NetworkFault Unsupported
      StoreError (8)          LockTimeout; any disk that is full, read-only or broken
      SandboxError (9)        SandboxUnavailable
      Different (10)          `reproduce` and `diff` found a difference, `pin --check` one of a lock,
                              `explore --ci` a limit that is broken
      Untrusted (11)          a signature is missing or not good, or a policy refuses an image
      Cancelled (130)

A message says what, where and what to do, in one line, lower case, without a full stop. `hint` is one more
line for the terminal. Foreign exceptions are turned into these where they enter, with `from`.
"""

from __future__ import annotations

import errno
import os
from typing import ClassVar, Self

__all__ = [
    "Cancelled",
    "ContextError",
    "DefinitionError",
    "Denied",
    "Different",
    "DigestMismatch",
    "DockerfileError",
    "ImagesmithError",
    "IntegrityError",
    "InvalidDocument",
    "InvalidReference",
    "LimitExceeded",
    "LockTimeout",
    "MissingSource",
    "NetworkFault",
    "NotAnImage",
    "NotFound",
    "RateLimited",
    "RegistryError",
    "SandboxError",
    "SandboxUnavailable",
    "StepFailed",
    "StoreError",
    "Unauthorized",
    "UnsafeArchive",
    "Unsupported",
    "Untrusted",
    "UsageError",
    "blame",
    "cannot_write",
    "disk_fault",
    "reason_of",
]

#: What a disk says that is full, over a quota, read-only or broken.
_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO))
#: What the machine says where no file can be: a folder is missing, or is a file, or a file is one.
_NOWHERE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.EISDIR))


class ImagesmithError(Exception):
    """The base of all errors that are answers, not faults of the program.

    An error that belongs to an instruction carries its place: `file` is the Dockerfile's name as the user
    gave it; `first` and `last` are line numbers from 1, 0 where none is known; `source` is the whole text,
    for showing the lines around; `step` is what the step is called that it belongs to, where a Dockerfile is
    built for several platforms. Whoever raises it may say which `word` of the instruction is wrong, as it is
    written there, and which `part` of the word; dockerfile/places.py finds it, and then the caret goes under
    the characters from `column` up to `end` of line `line`. `column` is -1 where the whole is meant.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.file, self.first, self.last, self.source = "", 0, 0, ""
        self.word, self.part, self.which = "", (0, 0), 0
        self.line, self.column, self.end = 0, -1, -1
        self.step = ""

    def about(self, word: str, start: int = 0, end: int | None = None, *, which: int = 0) -> Self:
        """Say which word is wrong, if that is not known yet, and return the error itself.

        Args:
            word: a word of the instruction as it is written, its flags and keyword included.
            start, end: the part of it that is wrong.
            which: of several such words the first (0) or the last (-1).
        """
        if not self.word and self.column < 0:
            self.word, self.part, self.which = word, (start, len(word) if end is None else end), which
        return self

    def located(self, file: str, first: int, last: int, source: str) -> Self:
        """Fill in the place where it is not known yet, and return the error itself."""
        if not self.first:
            self.first, self.last = first, last
        self.file = self.file or file
        self.source = self.source or source
        return self

    def also(self, text: str) -> Self:
        """Add to what the message says, and return the error itself."""
        self.args = (f"{self.message}{text}", *self.args[1:])
        return self

    def of(self, name: str) -> Self:
        """Put the name of what was read before what the message says, and return the error itself."""
        self.args = (f"{name}: {self.message}", *self.args[1:])
        return self

    @property
    def message(self) -> str:
        """The one line that tells what went wrong."""
        return str(self.args[0])


class UsageError(ImagesmithError):
    """A command line or an argument of the library that cannot be honoured."""

    code, exit_code = "usage", 2


class InvalidReference(UsageError):
    """Text that is no image reference or platform; `reason` tells why, without the text."""

    code = "invalid-reference"

    def __init__(self, message: str, *, hint: str = "", reason: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason or message


class DockerfileError(ImagesmithError):
    """A Dockerfile that cannot be parsed, expanded or planned."""

    code, exit_code = "dockerfile", 3

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        file: str = "",
        first: int = 0,
        last: int = 0,
        source: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.file, self.first, self.last, self.source = file, first, last, source


class DefinitionError(ImagesmithError):
    """A bake or compose file that cannot be read, evaluated or honoured."""

    code, exit_code = "definition", 3


class StepFailed(ImagesmithError):
    """A RUN step's own command failed; `status` is its exit status, `output` its last lines."""

    code, exit_code = "step-failed", 4

    def __init__(self, message: str, *, status: int = 1, output: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status, self.output = status, output


class ContextError(ImagesmithError):
    """The build context, or a file in it, cannot be used."""

    code, exit_code = "context", 5


class MissingSource(ContextError):
    """A source of COPY, ADD or a mount does not exist."""

    code = "missing-source"


class IntegrityError(ImagesmithError):
    """Content that is not what its name or its format promises."""

    code, exit_code = "integrity", 6


class DigestMismatch(IntegrityError):
    """Bytes whose digest or size is not the descriptor's."""

    code = "digest-mismatch"


class InvalidDocument(IntegrityError):
    """A JSON document that breaks its specification; the message names the path within it."""

    code = "invalid-document"


class NotAnImage(InvalidDocument):
    """A manifest that is an artifact's: without an image config, or with layers of no file system."""

    code = "not-an-image"


class UnsafeArchive(IntegrityError):
    """A tar that tries to leave its root or breaks the format."""

    code = "unsafe-archive"


class LimitExceeded(IntegrityError):
    """Input larger, deeper or longer than its limit."""

    code = "limit-exceeded"


class RegistryError(ImagesmithError):
    """A registry refused, failed or answered nonsense; `status` is the HTTP status, 0 where none came."""

    code, exit_code = "registry", 7

    def __init__(self, message: str, *, status: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class NotFound(RegistryError):
    """The registry, store or layout has no such manifest, blob or repository."""

    code = "not-found"


class Unauthorized(RegistryError):
    """Credentials are missing or wrong."""

    code = "unauthorized"


class Denied(RegistryError):
    """The credentials do not allow it."""

    code = "denied"


class RateLimited(RegistryError):
    """The registry asks to slow down, also after the retries."""

    code = "rate-limited"


class NetworkFault(RegistryError):
    """No connection, or one that broke more often than it is retried."""

    code = "network"


class Unsupported(RegistryError):
    """The registry, or this program, does not do that."""

    code = "unsupported"


class StoreError(ImagesmithError):
    """The local store cannot be read or written."""

    code, exit_code = "store", 8


class LockTimeout(StoreError):
    """Another process holds the store for longer than we wait."""

    code = "lock-timeout"


class SandboxError(ImagesmithError):
    """A RUN step could not be set up; the step's own failure is StepFailed."""

    code, exit_code = "sandbox", 9


class SandboxUnavailable(SandboxError):
    """This machine lacks what the wanted isolation needs."""

    code = "sandbox-unavailable"


class Different(ImagesmithError):
    """Two images that were to be equal are not, or a lock and what its sources are."""

    code, exit_code = "different", 10


class Untrusted(ImagesmithError):
    """Nobody who is trusted vouches for what was asked: a signature is missing or not good."""

    code, exit_code = "untrusted", 11


class Cancelled(ImagesmithError):
    """The user asked to stop."""

    code, exit_code = "cancelled", 130


def disk_fault(error: OSError, doing: str, at: str | os.PathLike[str]) -> StoreError | None:
    """The store's error for a disk that is full, read-only or broken; None for any other fault.

    Args:
        error: what the machine said.
        doing: what it kept from being done, after "cannot".
        at: where that was, if the error names no path of its own.
    """
    if error.errno not in _DISK:
        return None
    where = error.filename if isinstance(error.filename, str | bytes) else os.fspath(at)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StoreError(
        f"cannot {doing}: {os.fsdecode(where)}: {(error.strerror or '').lower()}",
        hint="free space there; `imagesmith prune` deletes what nothing in the store needs" if full else "",
    )


def reason_of(error: Exception) -> str:
    """What an error of Python's says to people: the machine's word without number and path, or its text."""
    return ((error.strerror or "") if isinstance(error, OSError) else "").lower() or str(error)


def cannot_write(error: OSError | StoreError, path: str | os.PathLike[str]) -> ImagesmithError:
    """The error for a file or folder of the user's that cannot be written: whose fault it is decides.

    Args:
        error: what the machine said, or a store within that folder.
        path: as the user named it.
    """
    said = f"cannot write {os.fspath(path)}"
    if isinstance(error, StoreError):
        return StoreError(f"{said}: {error.message}", hint="free space there" if error.hint else "")
    reason = reason_of(error)
    if error.errno in _NOWHERE:
        return UsageError(f"{said}: {reason}")
    if error.errno in _DISK:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return StoreError(f"{said}: {reason}", hint="free space there" if full else "")
    return ContextError(f"{said}: {reason}")


class blame:
    """A `with` within which an error that says nothing else is about a word, from `start` on."""

    __slots__ = ("_start", "_word")

    def __init__(self, word: str, start: int = 0) -> None:
        self._word, self._start = word, start

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, error: object, __: object) -> None:
        """Mark what was raised."""
        if isinstance(error, ImagesmithError) and not error.first:
            error.about(self._word, self._start)
