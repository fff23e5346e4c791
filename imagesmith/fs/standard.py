"""Standard output as a file that a whole archive goes to.

Why: what it is redirected to may be full, which is told like any other disk that is.
Threads: one.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import BinaryIO

from imagesmith.errors import cannot_write

__all__ = ["standard_output"]


@contextlib.contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Standard output, flushed at the end.

    Raises:
        ImagesmithError: what it goes to cannot be written.
        BrokenPipeError: whoever read it went away.
    """
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as e:
        raise cannot_write(e, "to standard output") from e
