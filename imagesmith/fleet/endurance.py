"""Going on when a registry is away for a while.

Why beside the retries of a request (registry/transport.py): those are for a hiccup. A bake of many machines
lasts long, and what a registry's restart would throw away is the work of all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from imagesmith.errors import ImagesmithError, NetworkFault, RateLimited, RegistryError

__all__ = ["ENDURED_S", "endure", "is_passing"]

T = TypeVar("T")
#: How long a registry may be away before that ends a bake, in seconds.
ENDURED_S = 120.0
_FIRST_S, _MOST_S = 0.5, 8.0


def is_passing(error: ImagesmithError) -> bool:
    """True for a failure that may be gone when the same is tried again."""
    if isinstance(error, NetworkFault | RateLimited):
        return True
    return isinstance(error, RegistryError) and error.status >= 500


def endure(
    what: Callable[[], T],
    *,
    for_s: float = ENDURED_S,
    tell: Callable[[str], object] = lambda _text: None,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """Do something, and again while a registry is away, for at most so many seconds.

    Raises:
        ImagesmithError: what was done fails for another reason, or still.
    """
    ends, pause = time.monotonic() + for_s, _FIRST_S
    while True:
        try:
            return what()
        except ImagesmithError as e:
            if not is_passing(e) or time.monotonic() + pause > ends:
                raise
            tell(f"trying again in {pause:g} s: {e.message}")
        sleep(pause)
        pause = min(2 * pause, _MOST_S)
