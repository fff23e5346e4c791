"""What a wheel has beside the package: man pages and completions, made by the program that they are of.

It needs hatchling and no more: without anything that is installed, the parsers of all commands can be asked.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SharedFiles(BuildHookInterface[Any]):
    """Puts them where pip installs them: below `share` of the environment."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files in a folder that goes with this process, and name them for the wheel."""
        del version
        self._folder = tempfile.TemporaryDirectory(prefix="imagesmith-wheel-")
        written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        sys.path.insert(0, self.root)
        try:
            from imagesmith.cli.manpages import shared_files

            for name, text in shared_files().items():
                path = Path(self._folder.name, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                path.chmod(0o644)
                build_data["shared_data"][str(path)] = f"share/{name}"
        finally:
            sys.path.remove(self.root)
            sys.dont_write_bytecode = written
