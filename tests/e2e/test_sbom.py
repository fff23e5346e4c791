"""The SBOM of a Debian image is what dpkg-query says in it, and names the step that brought each package.

It takes minutes and the network, so it runs in CI, and where IMAGESMITH_DEBIAN is set (to 1, or to a base
made before).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.debian import make_context
from tests.support import IMAGESMITH, in_ci, need_root

pytestmark = pytest.mark.slow

DOCKERFILE = """
FROM scratch
ADD base.tar /
COPY apt/ /etc/apt/apt.conf.d/
RUN apt-get update -qq
RUN apt-get install -y -qq --no-install-recommends cron
RUN apt-get install -y -qq --no-install-recommends libcap2-bin && apt-get purge -y -qq cron
"""


def test_sbom_of_a_debian_image(tmp_path: Path) -> None:
    wanted = os.environ.get("IMAGESMITH_DEBIAN", "")
    if not (wanted or in_ci()):
        pytest.skip("takes minutes: set IMAGESMITH_DEBIAN=1")
    need_root()
    make_context(tmp_path, wanted if wanted.startswith("/") else "")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)

    def run(*words: str) -> str:
        command = [*IMAGESMITH, words[0], "--root", str(tmp_path / "store"), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("build", "-q", "-t", "deb:1", str(tmp_path))
    form = "${db:Status-Status} ${Package} ${Version} ${Architecture}\\n"
    rows = [line.split() for line in run("run", "deb:1", "dpkg-query", "-W", "-f", form).splitlines()]
    packages = json.loads(run("sbom", "deb:1"))["packages"][1:]
    assert sorted(map(_row, packages)) == sorted(row[1:] for row in rows if row[0] != "config-files")
    said = Counter(p["annotations"][0]["comment"].splitlines()[1] for p in packages)
    first, *others = sorted(said, key=lambda step: -said[step])
    assert first == "createdBy: ADD base.tar / # buildkit"
    assert [others[n].split("recommends ")[1].split()[0] for n in (0, 1)] == ["cron", "libcap2-bin"]


def _row(package: dict[str, Any]) -> list[str]:
    purl = package["externalRefs"][0]["referenceLocator"]
    return [package["name"], package["versionInfo"], purl.split("arch=")[1].partition("&")[0]]
