from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import imagesmith
from imagesmith.errors import ContextError, DockerfileError, ImagesmithError, MissingSource, NotFound
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases, ResolvedImage
from tests.kitchen import Kitchen
from tests.support import IMAGESMITH, PROJECT

FILE = 'FROM scratch\nCOPY a /b\nENV K=v\nCMD ["/b"]\n'


def test_image_has_the_files_and_the_config_of_its_instructions(kitchen: Kitchen) -> None:
    kitchen.write({"a": "text"})
    built = kitchen.build(FILE)
    assert kitchen.names(built) == ["b"]
    runtime = built.image.config.runtime
    assert (runtime.env[-1], runtime.cmd) == ("K=v", ("/b",))
    assert built.image.config.history[0].created_by == "COPY a /b # buildkit"


def test_image_is_named_in_the_store(kitchen: Kitchen) -> None:
    kitchen.write({"a": "text"})
    built = kitchen.build(FILE, tags=["r.example/n:1", "r.example/n:2"])
    with Store(kitchen.root) as store:
        assert {(str(ref), d.digest) for ref, d in store.images()} == {
            ("r.example/n:1", built.digest),
            ("r.example/n:2", built.digest),
        }


def test_metadata_is_what_buildx_writes(kitchen: Kitchen) -> None:
    kitchen.write({"a": "text"})
    built = kitchen.build(FILE, tags=["n:1"])
    document = json.loads(built.metadata())
    assert list(document) == [
        "containerimage.config.digest", "containerimage.descriptor", "containerimage.digest", "image.name",
    ]  # fmt: skip
    assert document["image.name"] == "docker.io/library/n:1"
    assert document["containerimage.descriptor"]["digest"] == str(built.digest)


def test_missing_source_is_told_with_its_line(kitchen: Kitchen) -> None:
    with pytest.raises(MissingSource, match='"/a": not found') as caught:
        kitchen.build("FROM scratch\n\nCOPY a /b\n")
    assert (caught.value.first, caught.value.source.split("\n")[2]) == (3, "COPY a /b")


def test_missing_context_is_told_in_buildx_words(kitchen: Kitchen) -> None:
    with pytest.raises(ContextError, match=r'^unable to prepare context: path "/no/where" not found$'):
        kitchen.build(FILE, context="/no/where")


def test_missing_dockerfile_is_told_in_buildkits_words(kitchen: Kitchen) -> None:
    with pytest.raises(ContextError, match=r"^failed to read dockerfile: open Dockerfile: no such file"):
        kitchen.build()


def test_a_bad_last_line_is_told_before_anything_is_executed(kitchen: Kitchen) -> None:
    kitchen.write({"a": "text"})
    with pytest.raises(DockerfileError, match="invalid containerPort: x"):
        kitchen.build("FROM scratch\nCOPY a /b\nEXPOSE x\n")
    assert kitchen.executed == []


def test_a_stage_that_the_target_does_not_need_is_not_built(kitchen: Kitchen) -> None:
    kitchen.write({"a": "text"})
    kitchen.build("FROM scratch AS one\nCOPY missing /\nFROM scratch\nCOPY a /\n")
    assert kitchen.executed == ["COPY a /"]


def test_package_is_the_library_and_the_function() -> None:
    assert callable(imagesmith.build)
    assert imagesmith.BuildRequest is imagesmith.request.BuildRequest
    assert {"build", "push", "pull", "copy"} <= set(dir(imagesmith))
    with pytest.raises(AttributeError, match="no attribute 'bild'"):
        imagesmith.bild  # noqa: B018


def _digest_elsewhere(folder: Path, umask: int, zone: str, cpus: set[int], user: int | None) -> str:
    """The manifest's digest of one and the same context, laid and built in another place by another user."""
    mask = os.umask(umask)
    try:
        kitchen = Kitchen(folder)
        kitchen.write({"d/a": "one", "d/b": "-> a", "big": b"0123456789" * 300_000, "t/x": "tool"})
        (kitchen.context / "t/x").chmod(0o4755)
        os.link(kitchen.context / "d/a", kitchen.context / "d/c")
    finally:
        os.umask(mask)
    (kitchen.context / "Dockerfile").write_text(
        "FROM scratch AS s\nWORKDIR /w\nCOPY --chown=5:6 d d\nFROM scratch\nCOPY --from=s / /\n"
        "ADD t/x big /o/\nCOPY <<E /e\nhere\nE\nLABEL a=b\n"
    )
    for path in (kitchen.context, *kitchen.context.rglob("*")):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    kitchen.root.mkdir()
    if user is not None:
        os.chown(kitchen.root, user, user)
        for path in (folder, *folder.parents):
            if path != Path("/") and path.stat().st_uid == os.geteuid():
                path.chmod(path.stat().st_mode | 0o055)
    who = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    done = subprocess.run(
        [*IMAGESMITH, "build", "--root", str(kitchen.root), "--progress", "quiet", "-t", "x:1",
         "-o", "type=image,rewrite-timestamp=true", "--metadata-file", str(kitchen.root / "meta"),
         str(kitchen.context)],
        cwd=folder, umask=umask, capture_output=True, text=True, check=False, **who,
        env={**os.environ, "TZ": zone, "SOURCE_DATE_EPOCH": "1234567890", "PYTHONPATH": str(PROJECT)},
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return str(json.loads((kitchen.root / "meta").read_text())["containerimage.digest"])


@pytest.mark.slow
def test_digest_depends_on_no_folder_user_umask_zone_or_cpu(tmp_path: Path) -> None:
    all_cpus = os.sched_getaffinity(0)
    first = tmp_path / "one"
    second = tmp_path / "another" / "place"
    first.mkdir()
    second.mkdir(parents=True)
    other = 65534 if os.geteuid() == 0 and _readable(Path(sys.executable)) else None
    assert _digest_elsewhere(first, 0o022, "UTC", all_cpus, None) == _digest_elsewhere(
        second, 0o077 if other is None else 0o027, "Asia/Tokyo", {min(all_cpus)}, other
    )


def _readable(path: Path) -> bool:
    """Whether any user can reach a program and the project."""
    return all(p.stat().st_mode & 0o005 == 0o005 for q in (path.resolve(), PROJECT) for p in (q, *q.parents))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("FROM scratch AS builder\nCOPY f /f\nFROM scratch\nCOPY --from=buidler /f /g\n", "builder"),
        ("FROM scratch AS base\nCOPY f /f\nFROM bas\nCOPY f /g\n", "base"),
        ("FROM scratch AS deps\nCOPY f /f\nFROM scratch\nRUN --mount=from=dep,target=/d x\n", "deps"),
        ("FROM scratch AS deps\nCOPY f /f\nFROM scratch\nCOPY --from=nginx /f /g\n", ""),
    ],
)
def test_image_that_is_not_found_may_be_a_stage_that_is_misspelt(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch, text: str, meant: str
) -> None:
    def find(self: Bases, name: str, platform: object) -> ResolvedImage:
        raise NotFound(f"{name}: not found")

    monkeypatch.setattr(Bases, "find", find)
    kitchen.write({"f": "x"})
    with pytest.raises(ImagesmithError) as caught:
        kitchen.build(text)
    assert caught.value.message.endswith(f": not found (did you mean {meant}?)" if meant else ": not found")
