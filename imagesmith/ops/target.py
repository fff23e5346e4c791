"""Where COPY and ADD put things: a destination in a draft, and what --chown and --chmod ask of it."""

from __future__ import annotations

from pathlib import Path

from imagesmith.dockerfile.values import Chmod
from imagesmith.fs.draft import Draft
from imagesmith.values import frozen

__all__ = ["Target"]


@frozen(kw_only=True, eq=False)
class Target:
    """A destination; `owner` and `chmod` are None where nobody asks for them, `work` is room on the disk."""

    draft: Draft
    dest: str
    owner: tuple[int, int] | None
    chmod: Chmod | None
    work: Path

    def make_dirs(self, path: str, *, mode: int | None = None) -> None:
        """Make a folder and those above it that are missing, as the copier makes them."""
        uid, gid = self.owner or (0, 0)
        usual = 0o755 if self.chmod is None or self.chmod.octal is None else self.chmod.octal & 0o777
        self.draft.make_dirs(path, mode=usual if mode is None else mode, uid=uid, gid=gid)
