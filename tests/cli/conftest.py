"""What the tests of the verbs share: a command line in this process, a registry, images, a context."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagesmith.cli.main import main
from imagesmith.embedded.registry import Registry
from imagesmith.store.store import Store
from tests.kitchen import kitchen
from tests.registry.conftest import serve_docker
from tests.registry.images import make_image, make_index

__all__ = ["Run", "kitchen"]

Run = Callable[..., str]


@pytest.fixture(params=["embedded", pytest.param("docker", marks=pytest.mark.slow)])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A registry that nobody else uses: ours, or Debian's docker-registry."""
    if request.param == "docker":
        with serve_docker(tmp_path / "docker") as served:
            yield served.host
    else:
        with Registry(tmp_path / "registry") as registry:
            yield registry.host


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run a command line in this process; returns what it printed, and fails on another exit status.

    That is its standard output, or its standard error where it is to fail.
    """
    monkeypatch.setenv("IMAGESMITH_ROOT", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str, status: int = 0, stdin: bytes = b"") -> str:
        capfdbinary.readouterr()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            found = main(words)
        except SystemExit as e:
            found = int(e.code or 0)
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        assert found == status, err.decode()
        return (out if status == 0 else err).decode(errors="surrogateescape")

    return run


@pytest.fixture
def image(tmp_path: Path) -> str:
    with Store(tmp_path / "store") as store:
        return str(make_image(store, "app:1").digest)


@pytest.fixture
def index(tmp_path: Path) -> str:
    with Store(tmp_path / "store") as store:
        return str(make_index(store, "multi:1").digest)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A context with a Dockerfile."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY f /f\n")
    (folder / "f").write_text("text")
    return folder
