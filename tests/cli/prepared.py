"""Small worlds for command lines: a folder with a store in it, and registries beside it."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from imagesmith.embedded.registry import Registry
from tests.registry.conftest import free_port, make_certificate, make_htpasswd
from tests.support import IMAGESMITH

__all__ = ["World", "make_world"]


@dataclass
class World:
    """A folder in which commands run, and the registries beside it."""

    folder: Path
    #: What is put in the place of a text, as `{open}`, in a command line.
    names: dict[str, str] = field(default_factory=dict)
    #: Of the environment of every command.
    variables: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file of the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def filled(self, text: str) -> str:
        """A text with the names in it."""
        for name, value in self.names.items():
            text = text.replace(name, value)
        return text

    def run(
        self, line: str, *, env: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell in the folder, where `imagesmith` is the one that is tested."""
        done = subprocess.run(
            ["/bin/sh", "-c", self.filled(line)],
            cwd=self.folder, input=stdin, capture_output=True, env=self.env(env or {}), timeout=120,
        )  # fmt: skip
        return subprocess.CompletedProcess(line, done.returncode, done.stdout.decode(), done.stderr.decode())

    def env(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment of a command."""
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("BUILD", "DOCKER", "GITHUB", "CI"))}
        return {
            **keep,
            "PATH": f"{self.folder}/.bin:{os.environ.get('PATH', '')}",
            "HOME": f"{self.folder}/.home",
            "IMAGESMITH_ROOT": f"{self.folder}/.store",
            **self.variables,
            **{k: self.filled(v) for k, v in more.items()},
        }

    def install(self) -> None:
        """Put `imagesmith` on the path of this world's commands."""
        program = self.write(".bin/imagesmith", f'#!/bin/sh\nexec {shlex.join(IMAGESMITH)} "$@"\n')
        program.chmod(0o755)
        (self.folder / ".home").mkdir(exist_ok=True)


@contextmanager
def make_world(folder: Path) -> Iterator[World]:
    """Images in a store, a layout and archives, three registries, a context; the registries run meanwhile."""
    world = World(folder)
    folder.mkdir()
    world.install()
    world.write("Dockerfile", 'FROM scratch AS files\nCOPY greeting /\nFROM files\nCMD ["/app"]\n')
    world.write("greeting", "hello\n")
    certificates = make_certificate(folder / "tls")
    with ExitStack() as stack:
        for name, options in (
            ("open", {}),
            ("closed", {"htpasswd": make_htpasswd(folder / "htpasswd")}),
            ("tls", {"tls": (certificates / "cert.pem", certificates / "key.pem")}),
        ):
            registry = Registry(folder / ".registries" / name, **options)
            world.names[f"{{{name}}}"] = stack.enter_context(registry).host
        world.names["{down}"] = f"127.0.0.1:{free_port()}"
        for line in (
            "imagesmith build -q -t app:1 .",
            "imagesmith push -q app:1 {open}/team/app:1",
            "imagesmith build -q --target files -t other:1 .",
            "imagesmith save -o app.tar app:1",
            "imagesmith copy store:app:1 oci:layout:1",
        ):
            done = world.run(line)
            assert done.returncode == 0, done.stderr
        yield world
