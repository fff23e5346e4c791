"""Where things are and how large they may be: one frozen value, made once from the environment.

Why: no module below reads the environment for itself, so that a build depends only on what it was given.
"""

from __future__ import annotations

import os
from pathlib import Path

from imagesmith.values import frozen

__all__ = ["Settings"]


@frozen(kw_only=True)
class Settings:
    """Paths, sizes of pools, and the switches that the environment gives.

    root       the store's folder
    workers    threads that compress and hash
    transfers  blobs moved at the same time
    ci         True where `CI` is set: tags of base images are resolved anew on every build
    """

    root: Path
    workers: int = 2
    transfers: int = 4
    ci: bool = False

    @classmethod
    def load(cls, root: str = "") -> Settings:
        """The settings of this process: `root` wins over IMAGESMITH_ROOT over the XDG data folder."""
        env = os.environ
        chosen = root or env.get("IMAGESMITH_ROOT", "")
        if not chosen:
            data = env.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
            chosen = str(Path(data) / "imagesmith")
        workers = max(1, min(8, len(os.sched_getaffinity(0))))
        return cls(root=Path(chosen).absolute(), workers=workers, ci=bool(env.get("CI")))
