"""Opening the store for those who only look: they go on where it cannot be used.

Why: to look at a registry needs no store; a read-only home or another user's folder is no reason to refuse.
Trust: the folder is claimed by the store itself.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from imagesmith.errors import LockTimeout, StoreError
from imagesmith.store.store import Store

__all__ = ["open_store"]


@contextlib.contextmanager
def open_store(root: Path, *, spare: Callable[[str], object] | None = None) -> Iterator[Store]:
    """The store; with `spare` an empty one for the while, where that cannot be used.

    Args:
        root: the store's folder.
        spare: is told why the store cannot be used.

    Raises:
        StoreError: it cannot be used, and there is no `spare`.
        LockTimeout: a prune holds it.
    """
    try:
        store = Store(root)
    except LockTimeout:
        raise
    except StoreError as e:
        if spare is None:
            raise
        spare(f"{e.message}; going on without it")
        with tempfile.TemporaryDirectory(prefix="imagesmith-") as folder, Store(Path(folder)) as store:
            yield store
        return
    with store:
        yield store
