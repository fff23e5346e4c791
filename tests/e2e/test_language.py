"""Corners of the Dockerfile language that other builders' users run into: small builds, whole results.

What is expected is what BuildKit makes of the same files. Most cases run nothing: archives bring what a RUN
would have made, so that they pass wherever the program starts.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.e2e.conftest import Smith
from tests.support import PROJECT, module_at

pytestmark = pytest.mark.slow


def _image_facts() -> ModuleType:
    return module_at(PROJECT / "fixtures" / "conformance" / "image_facts.py")


def tar(*members: tuple[str, str, str]) -> bytes:
    """An archive of (name, type, content or target), types as `find -type` has them, `h` a hard link."""
    types = {
        "f": tarfile.REGTYPE,
        "d": tarfile.DIRTYPE,
        "l": tarfile.SYMTYPE,
        "h": tarfile.LNKTYPE,
        "p": tarfile.FIFOTYPE,
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, kind, what in members:
            m = tarfile.TarInfo(name)
            m.type, m.mode = types[kind], 0o755 if kind == "d" else 0o644
            data = what.encode() if kind == "f" else b""
            m.size, m.linkname = len(data), what if kind in "lh" else ""
            t.addfile(m, io.BytesIO(data))
    return out.getvalue()


class Made:
    """The image that a Dockerfile makes: its files as image_facts tells them, its history and config."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.files: dict[str, str] = facts["files"]
        self.history: list[str] = [row[0] for row in facts["history"]]
        self.config: dict[str, Any] = facts["config"]

    def owner(self, path: str) -> str:
        return self.files[path].split()[2]

    def kind(self, path: str) -> str:
        return self.files[path][0]


def made(smith: Smith, folder: Path, dockerfile: str, *flags: str, **files: str | bytes) -> Made:
    """Build with `files` as the context (`__` in a name is a dot) and look into the image."""
    context = folder / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(dockerfile)
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (context / name.replace("__", ".")).write_bytes(data)
    out = folder / "image.tar"
    smith.build("-o", f"type=oci,dest={out}", *flags, str(context))
    return Made(_image_facts().facts(out))


# --- owners ------------------------------------------------------------------------------------


def test_chown_with_nothing_behind_the_colon_is_group_0(smith: Smith, tmp_path: Path) -> None:
    passwd = "root:x:0:0::/root:/bin/sh\nx:x:21:22::/:/bin/sh\n"
    image = made(
        smith, tmp_path,
        "FROM scratch\nCOPY passwd /etc/passwd\nCOPY --chown=x passwd /user\nCOPY --chown=x: passwd /both\n"
        "COPY --chown=5: passwd /number\nCOPY --chown=: passwd /none\n",
        passwd=passwd,
    )  # fmt: skip
    assert [image.owner(n) for n in ("user", "both", "number", "none")] == ["21:22", "21:0", "5:0", "0:0"]


def test_chown_with_a_number_beyond_31_bits_is_a_name_that_nobody_has(smith: Smith, tmp_path: Path) -> None:
    image = made(
        smith, tmp_path, "FROM scratch\nCOPY --chown=3000000000 f /f\nCOPY --chown=+5 f /g\n", f="F"
    )  # fmt: skip
    assert (image.owner("f"), image.owner("g")) == ("0:0", "5:5")


# --- links -------------------------------------------------------------------------------------


def test_copy_to_a_link_that_leads_nowhere_makes_the_folder_behind_it(smith: Smith, tmp_path: Path) -> None:
    image = made(
        smith, tmp_path, "FROM scratch\nADD t.tar /\nCOPY f /dangling\n",
        t__tar=tar(("dangling", "l", "/new/x")), f="F",
    )  # fmt: skip
    assert (image.kind("new"), image.kind("new/x"), image.kind("dangling")) == ("d", "f", "l")


def test_an_archive_that_replaces_one_name_of_a_file_leaves_the_other(smith: Smith, tmp_path: Path) -> None:
    image = made(
        smith, tmp_path, "FROM scratch\nADD a.tar b.tar /x/\n",
        a__tar=tar(("a", "f", "old"), ("b", "h", "a"), ("c", "h", "a")), b__tar=tar(("a", "f", "newer")),
    )  # fmt: skip
    assert image.files["x/a"].split()[3] == "5"
    assert image.files["x/b"].split()[3] == "3"
    assert image.files["x/c"].endswith("=x/b")


def test_a_hard_link_to_a_file_of_a_lower_layer_is_a_file_of_its_own(smith: Smith, tmp_path: Path) -> None:
    image = made(
        smith, tmp_path, "FROM scratch\nCOPY f /f\nADD t.tar /\n", f="FF", t__tar=tar(("g", "h", "f"))
    )  # fmt: skip
    assert image.files["g"] == image.files["f"]


def test_second_names_of_symbolic_links_and_fifos_stay_what_they_are(smith: Smith, tmp_path: Path) -> None:
    image = made(
        smith, tmp_path,
        "FROM scratch AS a\nADD t.tar /d/\nFROM scratch\nCOPY --from=a /d /e\nADD t.tar /d/\n",
        t__tar=tar(("l", "l", "to"), ("m", "h", "l"), ("p", "p", ""), ("q", "h", "p")),
    )  # fmt: skip
    for folder in ("d", "e"):
        assert [image.kind(f"{folder}/{name}") for name in "lmpq"] == ["l", "l", "p", "p"]
        assert image.files[f"{folder}/m"].split()[3] == "to"


# --- layers ------------------------------------------------------------------------------------


def test_a_layer_may_come_again(smith: Smith, tmp_path: Path) -> None:
    image = made(
        smith, tmp_path,
        "FROM base\nCOPY f /x\nCOPY g /x\nCOPY f /x\nCOPY none* /\nCOPY none* /\nRUN cat /x >/got\n",
        f="F", g="GG",
    )  # fmt: skip
    assert image.files["got"] == image.files["x"]


# --- mounts ------------------------------------------------------------------------------------


def test_a_mount_may_cover_the_working_folder(smith: Smith, tmp_path: Path) -> None:
    image = made(
        smith, tmp_path,
        "FROM base\nWORKDIR /src\nRUN --mount=target=. cp f /a\nRUN --mount=type=bind cp f /b\n",
        f="F",
    )  # fmt: skip
    assert image.files["a"] == image.files["b"]
