"""Run imagesmith where nothing can be imported but the standard library, what it depends on, and itself.

    python3 -S -P tests/bench/alone.py build .

Why: its libraries import what they find (h2, rich, trio), and a venv for tests has what no user has. So the
counts are those of an installation that has nothing else in it; see counts.py. Names of modules that are
looked for go into the file that ALONE_IMPORTS names, a line each: threads mix what `-X importtime` says.
"""

from __future__ import annotations

import os
import sys

#: What `pip install imagesmith` installs, as it is imported.
DEPENDENCIES = (
    "anyio", "certifi", "cffi", "cryptography", "deflate", "h11", "httpcore", "httpx", "idna", "lark",
    "pycparser", "sniffio", "typing_extensions", "yaml", "zstandard", "_cffi_backend", "_yaml",
)  # fmt: skip


class Nothing:
    """A finder that has nobody else asked for what is not there."""

    known = sys.stdlib_module_names.union(DEPENDENCIES, ("imagesmith",))

    def __init__(self) -> None:
        path = os.environ.get("ALONE_IMPORTS")
        self._log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if path else -1

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """See importlib.abc.MetaPathFinder.

        Raises:
            ModuleNotFoundError: the module is somebody else's.
        """
        if self._log >= 0:
            os.write(self._log, f"{name}\n".encode())
        if path is None and name.partition(".")[0] not in self.known:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if __name__ == "__main__":
    sys.meta_path.insert(0, Nothing())  # type: ignore[arg-type]  # it finds, and no more is asked of it
    from imagesmith.cli.main import run

    sys.argv[0] = "imagesmith"
    run()
