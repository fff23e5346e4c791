"""Whether an image is what its provenance makes, as a yes or a no."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from imagesmith.cli.common import add_session_flags
from imagesmith.cli.flags import add_platform
from imagesmith.cli.rebuilding import rebuilt_alike
from imagesmith.errors import Different, UsageError
from imagesmith.oci.names import host_platform
from tests.attested import attest, buildkit_predicate
from tests.gitserver import git_server
from tests.kitchen import Kitchen
from tests.web import git, repository

pytestmark = pytest.mark.slow


@pytest.fixture
def args(kitchen: Kitchen) -> argparse.Namespace:
    """What a verb with the usual flags is given; no RUN is executed in this process."""
    parser = argparse.ArgumentParser()
    add_platform(parser)
    add_session_flags(parser)
    found = parser.parse_args(["--root", str(kitchen.root)])
    found.isolation, found.output, found.json = "none", "text", True
    return found


def test_yes_in_a_line_and_no_as_an_error(kitchen: Kitchen, args: argparse.Namespace, tmp_path: Path) -> None:
    with git_server(tmp_path / "srv") as server:
        path, url = server.root / "r", server.url("r")
        first = repository(path, {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "one"})
        (path / "f").write_text("two")
        git(path, "commit", "-qam", "two")
        layout = tmp_path / "layout"
        kitchen.build(
            context=f"{url}#{first}", build_args={"SOURCE_DATE_EPOCH": "1100000000"},
            outputs=[f"type=oci,tar=false,dest={layout},rewrite-timestamp=true"],
        )  # fmt: skip
        attest(layout, buildkit_predicate("v1", url, first))
        (line,) = rebuilt_alike(str(layout), args)
        assert line == f"{layout} {host_platform()}: equal: it is what its provenance makes"
        attest(layout, buildkit_predicate("v1", url, git(path, "rev-parse", "main")))
        with pytest.raises(Different, match="1 of 1 layers differ"):
            rebuilt_alike(str(layout), args)


def test_no_provenance_is_no_yes(kitchen: Kitchen, args: argparse.Namespace, tmp_path: Path) -> None:
    kitchen.build("FROM scratch\nLABEL a=b\n", outputs=[f"type=oci,tar=false,dest={tmp_path}/layout"])
    with pytest.raises(UsageError, match="it has no provenance"):
        rebuilt_alike(f"{tmp_path}/layout", args)
