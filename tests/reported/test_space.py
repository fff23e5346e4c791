"""Small and full disks: large files lie in the store only, and what ends a build names its place."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.reported.conftest import Builder, only
from tests.support import need_program
from tests.web import web

pytestmark = [pytest.mark.slow, only("root", "chroot")]

#: The program's exit status for a step, and for a store or a disk that takes no more.
STEP, STORE = 4, 8


def _on_small(place: Path, size: str, options: str = "") -> tuple[str, ...]:
    """What is put before a command: it sees a small file system at `place`, which ends with it."""
    place.mkdir(exist_ok=True)
    mount = f'mount -t tmpfs -o size={size}{options} none "$0" && exec "$@"'
    return (need_program("unshare"), "-m", "sh", "-c", mount, str(place))


def _archive(builder: Builder) -> Path:
    """A context with an archive of 20 MB that does not compress."""
    folder = builder.take("add-spool-tmpdir")
    (builder.folder / "big").write_bytes(os.urandom(20_000_000))
    subprocess.run(["tar", "-C", builder.folder, "-czf", folder / "t.tgz", "big"], check=True)
    return folder


def test_archives_are_unpacked_without_a_temporary_folder(builder: Builder) -> None:
    folder, small = _archive(builder), builder.folder / "small"
    words = builder.words(folder)
    builder.run(*words, before=_on_small(small, "5m"), TMPDIR=str(small))


def test_contexts_that_are_streams_need_no_temporary_folder(builder: Builder) -> None:
    folder, small = _archive(builder), builder.folder / "small"
    stream = subprocess.run(["tar", "-C", folder, "-cf", "-", "."], check=True, capture_output=True).stdout
    words = builder.words("-f", "stream.Dockerfile", "-")
    builder.run(*words, before=_on_small(small, "5m"), TMPDIR=str(small), stdin=stream)


def test_downloads_need_no_temporary_folder(builder: Builder) -> None:
    folder, small = _archive(builder), builder.folder / "small"
    with web() as here:
        here.files["t.tgz"] = (folder / "t.tgz").read_bytes()
        words = builder.words(
            "-f", folder / "url.Dockerfile", "--build-arg", f"URL={here.url('t.tgz')}", folder
        )
        builder.run(*words, before=_on_small(small, "5m"), TMPDIR=str(small))


#: A step of a build whose store has 12 MB, and the words that its failure is told in.
FULL = {
    "copy": "FROM scratch\nCOPY big /big\n",
    "add an archive": "FROM scratch\nADD t.tgz /\n",
    "pull": "FROM machine\nRUN true\n",
    "commit": "FROM busybox\nRUN head -c 6000000 /dev/urandom > /big\n",
}


@pytest.mark.parametrize("what", FULL)
def test_full_store_is_told_with_place_and_status(builder: Builder, what: str) -> None:
    folder, small = _archive(builder), builder.folder / "small"
    (folder / "big").write_bytes(os.urandom(30_000_000))
    (folder / "Dockerfile").write_text(FULL[what])
    size = "8m" if what == "pull" else "12m"
    done = builder.run(
        *builder.words(folder), status=STORE, before=_on_small(small, size), store=small / "store"
    )
    error = next(line for line in done.said.splitlines() if "error:" in line.lower())
    assert "no space left" in done.said.lower()
    assert str(small) in error


def test_step_that_fills_the_disk_fails_as_a_step(builder: Builder) -> None:
    folder, small = _archive(builder), builder.folder / "small"
    (folder / "Dockerfile").write_text("FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=30\n")
    done = builder.run(
        *builder.words(folder), status=STEP, before=_on_small(small, "12m"), store=small / "store"
    )
    assert "no space left" in done.said.lower()


@pytest.mark.parametrize(
    "output", ["type=oci,dest={}/x.tar", "type=local,dest={}/d", "type=tar,dest={}/x.tar"]
)
def test_full_disk_of_an_output_is_told_with_its_place(builder: Builder, output: str) -> None:
    folder, small = _archive(builder), builder.folder / "small"
    (folder / "big").write_bytes(os.urandom(3_000_000))
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY big /big\n")
    done = builder.run(
        *builder.words("-o", output.format(small), folder), status=STORE, before=_on_small(small, "1m")
    )
    assert "no space left" in done.said.lower()
    assert str(small) in done.said


def test_result_file_that_cannot_be_written_is_told_with_its_place(builder: Builder) -> None:
    folder = _archive(builder)
    done = builder.build("--iidfile", "/nonexistent/x", folder, status=None)
    assert done.status != 0
    assert "/nonexistent/x" in done.said


def test_store_that_cannot_be_written_is_told_with_its_place(builder: Builder) -> None:
    folder, small = builder.take("add-spool-tmpdir"), builder.folder / "small"
    (folder / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    done = builder.run(
        *builder.words(folder), status=STORE, before=_on_small(small, "1m", ",ro"), store=small / "store"
    )
    assert str(small) in done.said
