"""Steps that begin at the same time in one helper: none is taken for another, none is waited for in vain."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Smith
from tests.support import IMAGESMITH

pytestmark = [pytest.mark.slow, pytest.mark.everyone]

STAGES = range(8)


@pytest.mark.parametrize("_again", range(3))
def test_stages_whose_steps_begin_and_end_together_are_built(
    smith: Smith, tmp_path: Path, _again: int
) -> None:
    """Some end early: the numbers of their descriptors go to what begins then."""
    stages = "".join(
        f"FROM base AS s{n}\nRUN sleep 0.{n % 3} && touch /a{n}\nRUN touch /b{n}\nRUN touch /c{n}\n"
        for n in STAGES
    )
    copies = "".join(f"COPY --from=s{n} /c{n} /\n" for n in STAGES)
    (tmp_path / "Dockerfile").write_text(f"{stages}FROM base\n{copies}")
    base = f"base=oci-layout://{smith.base}"
    done = subprocess.run(
        [*IMAGESMITH, "build", "--no-cache", "--build-context", base, str(tmp_path)],
        capture_output=True, text=True, timeout=60,
        env={**os.environ, "IMAGESMITH_ROOT": str(smith.folder / "store")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
