"""A context that changes while a RUN works: the image holds one state of it, that of the beginning."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Smith
from tests.support import IMAGESMITH

pytestmark = pytest.mark.slow

FILE = """
FROM base AS a
RUN echo started; n=0; while test $n -lt 25 && sleep 0.1; do n=$((n+1)); done; : > /stop
FROM base
COPY f /f1
COPY --from=a /stop /p
COPY g /g
COPY . /all
RUN --mount=type=bind,target=/m cp /m/f /f2
"""


def test_one_state_of_a_context_in_one_image(smith: Smith, tmp_path: Path) -> None:
    context, out = tmp_path / "context", tmp_path / "out"
    context.mkdir()
    for name in ("f", "g", "h"):
        (context / name).write_text("one")
    (context / "Dockerfile").write_text(FILE)
    process = subprocess.Popen(
        [*IMAGESMITH, "build", "--no-cache", "--progress", "plain", "--build-context",
         f"base=oci-layout://{smith.base}", "-o", f"type=local,dest={out}", str(context)],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "IMAGESMITH_ROOT": str(smith.folder / "live")},
    )  # fmt: skip
    assert process.stderr is not None
    said = ""
    while "started\n" not in said.replace("echo started", ""):
        line = process.stderr.readline()
        assert line, said
        said += line
    time.sleep(1)  # of the two and a half that the step takes
    for name in ("f", "g"):
        (context / name).write_text("two and more")
    (context / "h").unlink()
    (context / "new").write_text("new")
    said += process.stderr.read()
    assert process.wait() == 0, said
    found = {
        str(p.relative_to(out)): p.read_text()
        for p in (out / "f1", out / "f2", out / "g", *out.glob("all/[fgh]"))
    }
    assert found == dict.fromkeys(["f1", "f2", "g", "all/f", "all/g", "all/h"], "one")
    assert not (out / "all/new").exists()
