"""reproduce: what is told of an image that is equal, and of one that is not; in processes of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from imagesmith.oci.names import host_platform
from tests.attested import attest, buildkit_predicate
from tests.support import IMAGESMITH


@pytest.fixture
def folder(tmp_path: Path, context: Path) -> Path:
    """The folder of the context, with its image as a layout beside it."""
    output = "type=oci,tar=false,dest=layout,rewrite-timestamp=true"
    done = smith(
        tmp_path, "build", "-q", "--build-arg", "SOURCE_DATE_EPOCH=1100000000", "-o", output, "context"
    )
    assert done.returncode == 0, done.stderr
    return tmp_path


def smith(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process, which may enter namespaces."""
    command = [*IMAGESMITH, *words, "--root", str(folder / "store")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_equal_image_is_told_in_a_line(folder: Path) -> None:
    done = smith(folder, "reproduce", "-q", "layout", "context")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("layout: equal: image ID sha256:")
    assert done.stdout.endswith(", 1 layers\n")


def test_differences_are_told_and_in_json(folder: Path) -> None:
    (folder / "context/f").write_text("as it is now")
    done = smith(folder, "reproduce", "-q", "layout", "context")
    assert done.returncode == 10
    assert "layer 1 (COPY f /f" in done.stdout
    assert "error: layout: 1 of 1 layers" in done.stderr
    told = json.loads(smith(folder, "reproduce", "-q", "--json", "oci:layout", "context").stdout)
    assert not told["equal"]


def test_image_that_is_not_there_is_an_error(folder: Path) -> None:
    done = smith(folder, "reproduce", "-q", "oci:none", "context")
    assert done.returncode == 7
    assert done.stdout == ""


# --- without a context -------------------------------------------------------------------------


def test_image_without_provenance_needs_a_context(folder: Path) -> None:
    done = smith(folder, "reproduce", "layout")
    assert done.returncode == 2
    assert "error: layout: it has no provenance, so nothing tells what it was built from" in done.stderr
    assert "hint: imagesmith reproduce layout CONTEXT builds it from there" in done.stderr


@pytest.fixture
def attested(folder: Path) -> Path:
    """The same image, built of a named target with an argument, and attested."""
    (folder / "context/Dockerfile").write_text("FROM scratch AS one\nARG V\nCOPY f /$V\nFROM scratch\n")
    output = "type=oci,tar=false,dest=attested,rewrite-timestamp=true,attestation-inline=true"
    done = smith(
        folder, "build", "-q", "--provenance", "mode=max", "--target", "one", "--build-arg", "V=x",
        "--build-arg", "SOURCE_DATE_EPOCH=1100000000", "-o", output, "context",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_local_context_is_asked_for_and_takes_the_rest_from_the_provenance(attested: Path) -> None:
    done = smith(attested, "reproduce", "attested")
    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        "attested cannot be built again without the build context, a folder of the machine that built it "
        "(CONTEXT)" in done.stderr
    )
    assert "#1" not in done.stderr
    done = smith(attested, "reproduce", "--progress", "quiet", "attested", "context")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("attested: equal: ")
    assert "attested linux/" in done.stderr
    assert ": target one\n" in done.stderr
    assert smith(attested, "reproduce", "-q", "attested", "context", "--build-arg", "V=y").returncode == 10


def _predicate(**changes: object) -> dict[str, object]:
    predicate = buildkit_predicate("v0.2", "http://127.0.0.1:9/r.git", "1" * 40)
    assert isinstance(predicate, dict)
    source = predicate["invocation"]["configSource"]
    source |= {k: v for k, v in changes.items() if k in ("uri", "entryPoint")}
    return predicate | {k: v for k, v in changes.items() if k not in source}


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"uri": "file:///etc"}, 6, "its source 'file:///etc' is neither a repository nor an address"),
        ({"uri": "/etc"}, 6, "its source '/etc' is neither"),
        ({"entryPoint": "../../etc/passwd"}, 6, "its Dockerfile '../../etc/passwd' is no path in its source"),
        ({"entryPoint": "-"}, 6, "its Dockerfile '-' is no path in its source"),
        ({"buildType": "https://example.com/make@v1"}, 2, "is of a build that is not known here"),
        ({"invocation": 7}, 6, "provenance: invocation must be an object"),
        ({"materials": [{}] * 10_001}, 6, "provenance: 10001 sources, more than 10000"),
    ],
)
def test_hostile_provenance_is_refused_in_a_line_and_nothing_is_built(
    folder: Path, changes: dict[str, object], status: int, words: str
) -> None:
    attest(folder / "layout", _predicate(**changes), "v0.2")
    done = smith(folder, "reproduce", "layout")
    assert (done.returncode, done.stdout) == (status, "")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert words in line
    assert "#1" not in done.stderr


def test_source_that_is_gone_is_told(folder: Path) -> None:
    attest(folder / "layout", _predicate(), "v0.2")
    done = smith(folder, "reproduce", "layout")
    assert done.returncode == 5
    assert "git fetch failed for http://127.0.0.1:9/r.git" in done.stderr
    assert f"layout {host_platform()}: source http://127.0.0.1:9/r.git#main, commit 1111" in done.stderr


def test_file_of_the_working_folder_is_no_dockerfile_of_a_hostile_provenance(folder: Path) -> None:
    """A path in the source is one of the context that is given, and of nothing above it."""
    (folder / "outside").write_text("FROM scratch\n")
    (folder / "context/link").symlink_to(folder / "outside")
    attest(folder / "layout", _predicate(entryPoint="link"), "v0.2")
    done = smith(folder, "reproduce", "layout", "context")
    assert done.returncode == 5
    assert "failed to read dockerfile" in done.stderr
