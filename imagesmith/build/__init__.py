"""From a Dockerfile to an image: plan, execute, commit.

The package is also the function `imagesmith.build` of the library: a package and a function of one name in
one place are one object in Python, so the package can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """The package, called as the function of that name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - typed as library.build is
        """Build an image; see imagesmith.library.build."""
        from imagesmith.plugins import LIBRARY, load

        return load(LIBRARY).build(*args, **kwargs)


sys.modules[__name__].__class__ = _Package
