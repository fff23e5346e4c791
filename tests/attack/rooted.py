"""An interpreter for a root that has nothing: the system's, with what one program imports and needs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.support import need_program

__all__ = ["put_python"]

_LIST = "import runpy, sys; sys.argv[1:] = ['']; runpy.run_path({!r}); import encodings.idna; "
_LIST += "print(*[m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)], sep='\\n')"


def put_python(folder: Path, program: Path) -> str:
    """Lay an interpreter that can run a program, and the program, below a folder; returns the command."""
    python = Path(need_program("python3" if not Path("/usr/bin/python3").exists() else "/usr/bin/python3"))
    python = python.resolve()
    told = subprocess.run(
        [python, "-I", "-S", "-c", _LIST.format(str(program))], capture_output=True, text=True, check=True
    )
    modules = [Path(line) for line in told.stdout.splitlines() if line != str(program)]
    files = [python, *modules]
    for path in (python, *(m for m in modules if m.suffix == ".so")):
        said = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        files += [Path(name) for name in re.findall(r"(/\S+) \(0x", said)]
    for path in dict.fromkeys(files):
        at = folder / str(path).lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, at)
    shutil.copy(program, folder / program.name)
    return f"{python} -I -S /{program.name}"
