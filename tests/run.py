"""Run all tests on a machine that has only Python: `python3 tests/run.py [pytest's arguments]`.

What the tests need is installed into `.venv` beside the checkout; the current environment stays as it is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fixtures" / "demo"))
import bootstrap


def main() -> None:
    """Install what is missing, then become pytest."""
    extras = ("test", "docs", "peers") if os.environ.get("CI") else ("test",)
    python = str(bootstrap.environment(*extras))
    words = [python, "-m", "pytest", *(sys.argv[1:] or ["--numprocesses=auto"])]
    os.chdir(bootstrap.PROJECT)
    bootstrap.say(*words)
    os.execv(python, words)


if __name__ == "__main__":
    main()
