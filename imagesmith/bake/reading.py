"""Files of definitions as text: opened once, bounded, and where others wrote them, below one folder.

Why: a compose file names others (`extends`, `include`, `env_file`), and whoever wrote it may be a stranger;
then those lie in what the stranger gave, or are refused.
Trust: paths and contents are hostile: no folder, device or socket is read, nothing larger than a limit, and
links are followed to see where they end.
"""

from __future__ import annotations

import os
import stat

from imagesmith.bake.places import Source
from imagesmith.errors import DefinitionError, reason_of

__all__ = ["MOST_BYTES", "Folder", "decoded"]

#: No definition is larger: buildx's limit.
MOST_BYTES = 2 << 20


class Folder:
    """A folder that definitions are read from; with `closed` nothing outside of it is."""

    def __init__(self, path: str, *, closed: bool = False) -> None:
        self.path, self.closed = os.path.abspath(path), closed

    def find(self, name: str) -> str:
        """The path of a file, whose links stay inside where the folder is closed.

        Raises:
            DefinitionError: it leads out.
        """
        path = os.path.join(self.path, name)
        if self.closed:
            real, root = os.path.realpath(path), os.path.realpath(self.path)
            if os.path.isabs(name) or os.path.commonpath([real, root]) != root:
                raise DefinitionError(f"{name}: outside of what the definition came with")
        return path

    def exists(self, name: str) -> bool:
        """True where there is a file, or a pipe."""
        try:
            return not os.path.isdir(path := self.find(name)) and os.path.exists(path)
        except DefinitionError:
            return False

    def read(self, name: str) -> Source:
        """A file's text.

        Raises:
            DefinitionError: there is none, it is no file, too large, or not UTF-8.
        """
        path = self.find(name)
        try:
            with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | self._waiting()), "rb") as f:
                mode = os.fstat(f.fileno()).st_mode
                if not stat.S_ISREG(mode) and (self.closed or not stat.S_ISFIFO(mode)):
                    raise DefinitionError(f"{name}: not a file")
                data = f.read(MOST_BYTES + 1)
        except (OSError, ValueError) as e:
            raise DefinitionError(f"{name}: {reason_of(e)}") from e
        return decoded(name, data)

    def _waiting(self) -> int:
        """The user's own pipe, `-f <(...)`, is waited for; nobody else's is."""
        return os.O_NONBLOCK if self.closed else 0


def decoded(name: str, data: bytes) -> Source:
    """Bytes as the text of a definition.

    Raises:
        DefinitionError: they are too many, or not UTF-8.
    """
    if len(data) > MOST_BYTES:
        raise DefinitionError(f"{name}: larger than {MOST_BYTES >> 20} MiB, which no definition is")
    try:
        return Source(name, data.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as e:
        raise DefinitionError(f"{name}: not UTF-8, at byte {e.start}") from e
