"""cat: bytes of files as they are, and harmless on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from imagesmith.store.store import Store
from tests.cli.conftest import Run
from tests.registry.images import make_image
from tests.support import IMAGESMITH

HOSTILE = b"\x1b]0;title\x07line\r\n\tt\xc3\xa4b\xff\x00" + bytes(range(256)) * 9


@pytest.fixture
def files(tmp_path: Path, run: Run) -> str:
    del run
    with Store(tmp_path / "store") as store:
        make_image(store, "files:1", layers=({"a": b"one", "d/": b""}, {"b": b"", "bad": HOSTILE}))
    return "files:1"


def test_bytes_are_written_as_they_are(run: Run, files: str) -> None:
    assert run("cat", files, "/a") == "one"
    assert run("cat", files, "a", "b", "/d/../a") == "oneone"
    assert os.fsencode(run("cat", files, "bad")) == HOSTILE


def test_registry_and_archive(run: Run, files: str, host: str) -> None:
    run("push", files, f"{host}/files:1", "--insecure")
    run("copy", f"store:{files}", "oci-archive:a.tar:1")
    assert run("cat", "--insecure", f"docker://{host}/files:1", "a") == "one"
    assert run("cat", "oci-archive:a.tar", "a") == "one"


def test_refusals(run: Run, files: str) -> None:
    assert "/d is a folder, not a file" in run("cat", files, "d", status=2)
    assert "no /c" in run("cat", files, "c", status=7)


def test_terminal_is_sent_no_commands(files: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, "IMAGESMITH_ROOT": str(tmp_path / "store")}
    with subprocess.Popen([*IMAGESMITH, "cat", files, "bad"], stdout=theirs, env=env) as process:
        os.close(theirs)
        got = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            got += piece
        assert process.wait(60) == 0
    os.close(ours)
    text = got.decode().replace("\r\n", "\n")
    assert text.startswith("\\x1b]0;title\\x07line\\x0d\n\ttäb\\xff\\x00")
    assert all(c.isprintable() or c in "\n\t" for c in text)
