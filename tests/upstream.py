"""What Dockerfiles name, as it moves: a tag of a registry, a file of a server, a branch of a repository."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagesmith
from imagesmith.embedded.registry import Registry
from imagesmith.oci.model import Index
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store
from tests.gitserver import GitServer, git_server
from tests.registry.images import make_image
from tests.web import Web, git, repository, web

_ARCHITECTURES = ("amd64", "arm64")


class Upstream:
    """A registry, a server of files and one of repositories, whose contents move."""

    def __init__(self, folder: Path, registry: Registry, files: Web, repositories: GitServer) -> None:
        self.registry, self.files, self.repositories = registry, files, repositories
        self._folder, self._count = folder, itertools.count()
        repository(repositories.root / "r", {"r": "0"})

    @property
    def image(self) -> str:
        """The base image, an index for two platforms."""
        return f"{self.registry.host}/base:1"

    def move(self) -> None:
        """Give each name something else."""
        n = str(next(self._count))
        root = self._folder / f"store-{n}"
        with Store(root) as store:
            both = [make_image(store, layers=({f"{a}-{n}": b""},), architecture=a) for a in _ARCHITECTURES]
            index = Index.build(both)
            store.blobs.put(index.raw)
            store.name(ImageRef.parse("base:1"), index.descriptor())
        imagesmith.copy("store:base:1", f"docker://{self.image}", root=root)
        self.files.files["f"] = f"file {n}".encode()
        (self.repositories.root / "r/r").write_text(n)
        git(self.repositories.root / "r", "commit", "-q", "--allow-empty", "-a", "-m", n)

    @property
    def dockerfile(self) -> str:
        """A Dockerfile that takes all that moves, each in each way."""
        return (
            f"FROM {self.image} AS a\nFROM {self.image}\nCOPY --from={self.image} / /copied/\n"
            f"ADD {self.files.url('f')} /f\nADD {self.repositories.url('r')}#main /r\nCOPY . /context\n"
        )


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    folder = tmp_path / "upstream"
    with (
        Registry(folder / "registry") as registry,
        web() as files,
        git_server(folder / "git") as repositories,
    ):
        here = Upstream(folder, registry, files, repositories)
        here.move()
        yield here
