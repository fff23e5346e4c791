"""A bake file as teams have them, built for two platforms in one solve, on the command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.foreign import PLATFORM, foreign_busybox, need_qemu
from tests.support import IMAGESMITH, PROJECT, need_program

SHOP = PROJECT / "fixtures" / "bake" / "shop"
SERVICES = ("api", "billing", "cron", "mailer", "migrate", "search", "web", "worker")
TARGETS = {"base", "tools", "assets", "docs", *(f"service-{name}" for name in SERVICES)}
BASE = """FROM scratch
ARG TARGETARCH
COPY busybox-$TARGETARCH /bin/busybox
COPY passwd /etc/passwd
COPY tmp /tmp
RUN ["/bin/busybox", "--install", "-s", "/bin"]
"""


def run(*words: str | Path, cwd: Path = SHOP, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*IMAGESMITH, *map(str, words)], cwd=cwd, capture_output=True, text=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "PYTHONPATH": str(PROJECT), **env},
    )  # fmt: skip


def make_busybox(folder: Path, platforms: str) -> Path:
    """A layout with an image of busybox for some platforms."""
    (folder / "tmp").mkdir(parents=True)
    shutil.copy(need_program("busybox"), folder / "busybox-amd64")
    (folder / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    if PLATFORM in platforms:
        (folder / "busybox-arm64").write_bytes(foreign_busybox())
        (folder / "busybox-arm64").chmod(0o755)
    (folder / "Dockerfile").write_text(BASE)
    done = run(
        "build", "--root", folder / "store", "--platform", platforms, "-t", "busybox:1",
        "-o", f"type=oci,dest={folder / 'layout'},tar=false", ".", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "layout"


class Shop:
    """Bakes of the shop with one busybox."""

    def __init__(self, folder: Path, layout: Path, platforms: str) -> None:
        self._folder, self._layout, self._platforms = folder, layout, platforms

    def bake(self, store: str, *words: str | Path) -> tuple[dict[str, Any], str]:
        """The metadata and the log."""
        meta = self._folder / f"{store}.json"
        done = run(
            "bake", "--root", self._folder / store, "--progress", "plain", "--metadata-file", meta,
            "--allow", f"fs.read={self._layout}", *words,
            BUSYBOX=f"oci-layout://{self._layout}", PLATFORMS=self._platforms,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(meta.read_text()), done.stderr


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    platforms = f"linux/amd64,{PLATFORM}"
    need_qemu()
    return Shop(tmp_path, make_busybox(tmp_path / "busybox", platforms), platforms)


def executed(log: str) -> list[str]:
    """The RUN steps that were executed, by their names."""
    names = dict(re.findall(r"^#(\d+) (\[.*?\] RUN .*)$", log, re.MULTILINE))
    cached = set(re.findall(r"^#(\d+) CACHED$", log, re.MULTILINE))
    return [name for number, name in names.items() if number not in cached]


@pytest.mark.slow
def test_targets_and_platforms_in_one_solve(shop: Shop) -> None:
    rewritten = "--set=*.output=type=image,rewrite-timestamp=true"
    told, log = shop.bake("store", rewritten)
    assert set(told) == TARGETS
    digests = {name: found["containerimage.digest"] for name, found in told.items()}
    runs = executed(log)
    assert len(runs) == len(set(runs))
    shared = [name for name in runs if "sort requirements" in name]
    assert len(shared) == 2  # of eight services, once a platform
    assert sum("SERVICE" in name for name in runs) == 16
    assert sum("all.css" in name for name in runs) == 1  # on the machine's own platform, for both

    told, log = shop.bake("store", rewritten)
    assert {name: found["containerimage.digest"] for name, found in told.items()} == digests
    assert executed(log) == []

    for target in ("service-web", "docs"):  # in a store of its own, with what it needs
        told, _ = shop.bake(f"store-{target}", rewritten, target)
        assert told[target]["containerimage.digest"] == digests[target]


@pytest.mark.slow
@pytest.mark.everyone
def test_a_failure_names_its_dockerfile_and_others_are_finished(tmp_path: Path) -> None:
    layout = make_busybox(tmp_path / "busybox", "linux/amd64")
    (tmp_path / "docker-bake.hcl").write_text(
        'group "default" {\n  targets = ["good", "bad", "after"]\n}\n'
        'target "good" {\n  dockerfile-inline = "FROM b\\nRUN echo good > /good\\n"\n'
        f'  contexts = {{ b = "oci-layout://{layout}" }}\n  tags = ["x/good:1"]\n}}\n'
        'target "bad" {\n  inherits = ["good"]\n  tags = ["x/bad:1"]\n'
        '  dockerfile-inline = "FROM b\\nRUN echo first\\nRUN echo last words; exit 3\\n"\n}\n'
        'target "after" {\n  dockerfile-inline = "FROM up\\nRUN true\\n"\n'
        '  contexts = { up = "target:bad" }\n}\n'
    )
    words = ("bake", "--root", tmp_path / "store", "--progress", "plain")
    done = run(*words, "--keep-going", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "   3 | >>> RUN echo last words; exit 3" in done.stderr
    assert " > [bad 3/3] RUN echo last words; exit 3:" in done.stderr
    assert "good: x/good:1 sha256:" in done.stderr
    assert done.stderr.count("error: ") == 1
    images = run("images", "--root", tmp_path / "store").stdout
    assert "x/good" in images
    assert "x/bad" not in images
    assert run(*words, cwd=tmp_path).returncode == 4


@pytest.mark.slow
def test_secret_that_one_target_lacks_is_no_failure_of_another(tmp_path: Path) -> None:
    layout = make_busybox(tmp_path / "busybox", "linux/amd64")
    (tmp_path / "value").write_text("sesame")
    (tmp_path / "docker-bake.hcl").write_text(
        'group "default" {\n  targets = ["without", "with"]\n}\n'
        'target "without" {\n  dockerfile-inline = "FROM b\\nRUN --mount=type=secret,id=s,required=true '
        'wc -c < /run/secrets/s > /size\\n"\n'
        f'  contexts = {{ b = "oci-layout://{layout}" }}\n}}\n'
        'target "with" {\n  inherits = ["without"]\n  secret = ["id=s,src=value"]\n'
        '  output = ["type=local,dest=out"]\n}\n'
    )
    done = run("bake", "--root", tmp_path / "store", "--progress", "plain", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "size").read_text() == "6\n"
    assert len(executed(done.stderr)) == 1


def test_what_the_file_says_wrongly_is_shown_with_a_caret(tmp_path: Path) -> None:
    (tmp_path / "docker-bake.hcl").write_text('target "default" {\n  tagz = ["a"]\n}\n')
    done = run("bake", "--root", tmp_path / "store", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr == (
        "docker-bake.hcl:2\n--------------------\n"
        '   1 |     target "default" {\n   2 | >>>   tagz = ["a"]\n     |       ^^^^\n   3 |     }\n'
        "--------------------\n"
        'error: unsupported argument: a target has no "tagz" (did you mean tags?)\n'
    )


def test_services_of_a_compose_file_are_targets(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        "services:\n  web:\n    image: x/web:${TAG:-1}\n    build:\n      dockerfile_inline: |\n"
        "        FROM scratch\n        COPY f /\n"
        "  db:\n    image: postgres\n"
    )
    (tmp_path / "f").write_text("f")
    done = run("bake", "--root", tmp_path / "store", "--metadata-file", "meta.json", cwd=tmp_path, TAG="7")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "meta.json").read_text())["web"]["image.name"] == "docker.io/x/web:7"
