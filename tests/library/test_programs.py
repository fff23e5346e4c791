"""Programs of at most thirty lines that do what people write programs for; what they say is what they do."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagesmith
from tests.registry.conftest import serve_embedded
from tests.registry.faultproxy import FaultProxy
from tests.support import PROJECT

PROGRAMS = PROJECT / "fixtures/programs"
NAMES = ("build_three", "copy_tags", "edit_labels", "read_file")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    """A registry with nothing in it."""
    with serve_embedded(tmp_path / "registry") as served:
        yield served.host


def run(name: str, *words: str, root: Path, status: int = 0) -> subprocess.CompletedProcess[bytes]:
    """Run a program."""
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / f"{name}.py"), *words],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "IMAGESMITH_ROOT": str(root)},
        capture_output=True, cwd=root.parent, timeout=120,
    )  # fmt: skip
    assert done.returncode == status, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return done


def pushed(folder: Path, ref: str, files: dict[str, bytes], **words: object) -> imagesmith.BuildResult:
    """An image in a registry with a layer for each file."""
    context = folder / "context"
    context.mkdir(exist_ok=True)
    lines = ["FROM scratch"]
    for name, data in files.items():
        (context / name).write_bytes(data)
        lines.append(f"COPY {name} /{name}")
    (context / "Dockerfile").write_text("\n".join(lines) + "\n")
    return imagesmith.build(context, tags=[ref], root=folder / "store", isolation="none", **words)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_program_is_short_and_says_what_it_does(name: str) -> None:
    text = (PROGRAMS / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 30
    assert (ast.get_docstring(ast.parse(text)) or "").count(f"{name}.py") == 2
    assert sorted(path.stem for path in PROGRAMS.glob("*.py")) == list(NAMES)


def test_tags_that_match_are_copied(host: str, tmp_path: Path) -> None:
    for tag in ("1.0", "1.1", "2.0"):
        pushed(tmp_path, f"{host}/team/app:{tag}", {"a": tag.encode()}, push=True)
    out = run("copy_tags", f"{host}/team/app", f"{host}/mirror/app", "1.*", root=tmp_path / "own").stdout
    assert [line.split()[0] for line in out.splitlines()] == [b"1.0", b"1.1"]
    assert imagesmith.tags(f"{host}/mirror/app", root=tmp_path / "own") == ["1.0", "1.1"]
    assert imagesmith.digest(f"{host}/mirror/app:1.1") == imagesmith.digest(f"{host}/team/app:1.1")


def test_labels_are_edited_and_no_layer_moves(host: str, tmp_path: Path) -> None:
    built = pushed(
        tmp_path,
        f"{host}/team/app:1",
        {"a": os.urandom(1 << 20)},
        push=True,
        labels={"old": "1", "team": "a"},
    )
    with FaultProxy(host) as proxy:
        ref = f"{proxy.host}/team/app"
        out = run("edit_labels", f"{ref}:1", f"{ref}:2", "team=b", "old=", root=tmp_path / "own").stdout
        assert proxy.sent() + proxy.got() < 100_000
    assert out.splitlines()[:2] == [b"old: 1 -> -", b"team: a -> b"]
    found = imagesmith.inspect(f"{host}/team/app:2")
    assert found.labels == {"team": "b"}
    assert [d.digest for d in found.layers] == [d.digest for d in built.image.manifest.layers]


@pytest.mark.parametrize("compression", ["estargz", "gzip"])
def test_file_is_read_and_the_image_is_not_pulled(host: str, tmp_path: Path, compression: str) -> None:
    """Of eStargz some chunks of a layer; else the top layer that has it, and none of those below."""
    files = {"large": os.urandom(4 << 20), "small": b"found\n"}
    if compression == "estargz":  # in one layer
        (tmp_path / "context").mkdir()
        for name, data in files.items():
            (tmp_path / "context" / name).write_bytes(data)
        (tmp_path / "context/Dockerfile").write_text("FROM scratch\nCOPY large small /\n")
        output = f"type=image,push=true,name={host}/team/app:1,compression=estargz,oci-mediatypes=true"
        imagesmith.build(tmp_path / "context", root=tmp_path / "store", isolation="none", outputs=[output])
    else:
        pushed(tmp_path, f"{host}/team/app:1", files, push=True)
    with FaultProxy(host) as proxy:
        done = run("read_file", f"{proxy.host}/team/app:1", "/small", root=tmp_path / "own")
        assert done.stdout == b"found\n"
        assert 0 < proxy.got() < 100_000
        run("read_file", f"{proxy.host}/team/app:1", "/missing", root=tmp_path / "own", status=1)


def test_three_are_built_in_three_threads(tmp_path: Path, base_image: Path) -> None:
    imagesmith.copy(f"oci:{base_image}", "store:base:1", root=tmp_path / "store")
    for name in ("api", "web", "worker"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(f"FROM base:1\nRUN echo {name} > /{name}\n")
    done = run("build_three", "api", "web", "worker", root=tmp_path / "store")
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == [b"api:1", b"web:1", b"worker:1"]
    assert all(f"{name}: [2/2] RUN echo {name}".encode() in done.stderr for name in ("api", "web", "worker"))
    found = imagesmith.read("web:1", "/web", root=tmp_path / "store")
    assert found == b"web\n"
