"""A context, a store and the library in one hand: builds in this process, without RUN."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import imagesmith
from imagesmith.events import Event, EventSink, StepCached, StepStarted
from imagesmith.image.result import BuildResult
from imagesmith.interfaces import Place
from imagesmith.request import BuildRequest
from imagesmith.session import run_build
from imagesmith.settings import Settings
from imagesmith.store.store import Store
from imagesmith.worker.sandbox.world import World

#: The time (seconds) of every file of a context.
OLD_S = 1_000_000_000
#: Where no RUN is executed.
NOWHERE = World(Place(ids="own", mounts=False), "none", (("none", "no isolation was asked for"),))


class Kitchen:
    """Builds of one context folder into one store."""

    def __init__(self, folder: Path) -> None:
        self.context, self.root = folder / "context", folder / "store"
        self.context.mkdir()
        self.events: list[Event] = []

    def write(self, files: dict[str, str | bytes], mode: int = 0o644) -> None:
        """Write files of the context; a name that ends in a slash is a folder, a text `-> x` makes a link."""
        for name, content in files.items():
            path = self.context / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str) and content.startswith("-> "):
                path.symlink_to(content[3:])
                continue
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            path.chmod(mode)
        self.age()

    def age(self) -> None:
        """Give all files and folders one old time and usual modes of folders."""
        for path in sorted(self.context.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
            os.utime(path, (OLD_S, OLD_S), follow_symlinks=False)

    def build(self, text: str = "", /, **words: Any) -> BuildResult:
        """Build; with a text that is the Dockerfile."""
        if text:
            path = self.context.parent / "Dockerfile"
            path.write_text(text)
            words.setdefault("dockerfile", path)
        words.setdefault("context", self.context)
        self.events.clear()
        with patch("imagesmith.child.build_in_child", self._here):
            return imagesmith.build(root=self.root, isolation="none", events=self.events.append, **words)

    def _here(self, request: BuildRequest, _root: str, _isolation: str, events: EventSink) -> BuildResult:
        """Build in this process: a child for each of hundreds of builds takes minutes."""
        return run_build(request, Settings(root=self.root), NOWHERE, events)

    @property
    def numbers(self) -> list[int]:
        """Of the steps of the last build, as often as they were told."""
        told = [e for e in self.events if isinstance(e, StepStarted | StepCached)]
        return [e.step for e in told if not e.name.startswith(("[internal]", "exporting "))]

    @property
    def executed(self) -> list[str]:
        """The instructions that the last build executed."""
        names = [e.name for e in self.events if isinstance(e, StepStarted)]
        return [n.partition("] ")[2] for n in names if not n.startswith(("[internal]", "exporting "))]

    @property
    def cached(self) -> list[str]:
        """The instructions that the last build took from the cache."""
        return [e.name.partition("] ")[2] for e in self.events if isinstance(e, StepCached)]

    def layer(self, built: BuildResult, n: int = -1) -> tarfile.TarFile:
        """A layer of an image, opened."""
        layer = built.image.layers[n]
        with Store(self.root) as store:
            stored = store.layers.layer(layer.diff_id, layer.descriptor.digest)
            with stored.open_tar() as tar:
                return tarfile.open(fileobj=io.BytesIO(tar.read()))

    def names(self, built: BuildResult, n: int = -1) -> list[str]:
        """The names of a layer's entries."""
        return self.layer(built, n).getnames()


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    """An empty context and an empty store."""
    return Kitchen(tmp_path)


def tar_of(members: dict[str, bytes | str], **fields: Any) -> bytes:
    """A tar: bytes are files, `-> x` symbolic and `=> x` hard links, names that end in a slash folders."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.mode, info.mtime = 0o755 if name.endswith("/") else 0o644, OLD_S
            data = b""
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type = tarfile.SYMTYPE if content.startswith("->") else tarfile.LNKTYPE
                info.linkname = content[3:]
            else:
                data = content
            for field, value in fields.items():
                setattr(info, field, value)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()
