"""Who is given an image: Docker by its socket, Podman, containerd and kind by their own commands.

Why before anything is built: that nobody is there is told at once. And a builder moves into namespaces of its
own (worker/sandbox/world.py), where a command like `podman load` would find another machine: so it is started
before that, as a shell that waits for one line and then becomes the command. Nothing comes of it otherwise.
Spec: `docker load`, `podman load`, `nerdctl load`, `ctr images import`, `kind load image-archive`.
Trust: these programs and sockets are the user's own; what they say is shown shortened.
Threads: `prepare` is for the thread that starts; a loader belongs to the output that uses it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from imagesmith.errors import ImagesmithError, RegistryError, UsageError, reason_of
from imagesmith.registry.dockerapi import Daemon, daemon_of
from imagesmith.request import Output

__all__ = ["Loader", "loader_of", "prepare"]

#: Waits for a line, and becomes the command; the line is a last argument if it is not empty.
_GATE = 'IFS= read -r word || exit 0; exec "$@" ${word:+"$word"}'
_SHOWN_CHARS = 500
_NONE = "write an archive with -o type=docker,dest=FILE, and load that where it is wanted"


class Loader(Protocol):
    """Takes one archive."""

    name: str

    def taking(self, folder: Path) -> contextlib.AbstractContextManager[BinaryIO]:
        """A stream for the archive, which is loaded at the end of the `with`; files go to the folder."""


class _ByApi:
    """A Docker daemon that is spoken to."""

    def __init__(self, daemon: Daemon) -> None:
        self.name, self._daemon = "docker", daemon

    @contextlib.contextmanager
    def taking(self, _folder: Path) -> Iterator[BinaryIO]:
        """See Loader."""
        with self._daemon.loading() as stream:
            yield cast(BinaryIO, stream)


class _ByCommand:
    """A command that reads the archive from its standard input, or from a file if `file` says so."""

    def __init__(self, name: str, words: Sequence[str], *, file: bool = False) -> None:
        self.name, self._words, self._file = name, words, file
        self._said = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GATE, "sh", *words],
                stdin=subprocess.PIPE, stdout=self._said, stderr=self._said,
            )  # fmt: skip
        except OSError as e:
            raise ImagesmithError(f"{words[0]} cannot be started: {reason_of(e)}") from e

    @contextlib.contextmanager
    def taking(self, folder: Path) -> Iterator[BinaryIO]:
        """See Loader."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            if self._file:
                with tempfile.NamedTemporaryFile(dir=folder, suffix=".tar") as archive:
                    yield cast(BinaryIO, archive)
                    archive.flush()
                    stdin.write(os.fsencode(archive.name) + b"\n")
                    self._end()
            else:
                stdin.write(b"\n")
                yield cast(BinaryIO, stdin)
                self._end()
        except BrokenPipeError as e:
            self._end()
            raise RegistryError(f"`{' '.join(self._words)}` ended before it had read the image") from e
        finally:
            self._process.kill()
            self._process.wait()
            with contextlib.suppress(OSError):
                stdin.close()

    def _end(self) -> None:
        """Wait for what becomes of it.

        Raises:
            RegistryError: the command failed; with the last line that it said.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        status = self._process.wait()
        if status:
            self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - (1 << 16)))
            lines = self._said.read().decode(errors="replace").strip().splitlines()
            why = f": {lines[-1][:_SHOWN_CHARS]}" if lines else ""
            raise RegistryError(f"`{' '.join(self._words)}` ended with status {status}{why}")


_ready: dict[tuple[str, str], list[Loader]] = {}


def prepare(outputs: Iterable[Output]) -> None:
    """Find who takes the images that are to be loaded, before the process enters its namespaces.

    Raises:
        ImagesmithError: nobody is there, or who was named is not.
    """
    for output in outputs:
        if output.loads:
            _ready.setdefault(_key(output), []).append(_found(*_key(output)))


def loader_of(output: Output) -> Loader:
    """Who takes the image of an output; see `prepare`, which may have found it."""
    there = _ready.get(_key(output))
    return there.pop(0) if there else _found(*_key(output))


def _key(output: Output) -> tuple[str, str]:
    return output.options.get("load", ""), output.options.get("context", "")


def _found(target: str, context: str) -> Loader:
    kind, _, place = target.partition(":")
    if kind == "docker" or (context and not kind):
        return _docker(context)
    if kind == "podman":
        return _ByCommand(kind, [_program("podman"), "load"])
    if kind == "containerd":
        return _containerd(place)
    if kind == "kind":
        return _ByCommand(
            kind, [_program("kind"), "load", "image-archive", "--name", place or "kind"], file=True
        )
    return _any()


def _any() -> Loader:
    """The first that is there."""
    try:
        return _docker("")
    except ImagesmithError as e:
        reasons = [e.message]
    if shutil.which("podman"):
        return _found("podman", "")
    reasons.append("there is no podman")
    try:
        return _containerd("")
    except ImagesmithError as e:
        reasons.append(e.message)
    raise UsageError(f"the image cannot be loaded: {'; '.join(reasons)}", hint=_NONE)


def _docker(context: str) -> Loader:
    daemon = daemon_of(context)
    if daemon.host.startswith("ssh://"):
        return _ByCommand("docker", [_program("docker"), "--host", daemon.host, "load"])
    try:
        daemon.check()
    except ImagesmithError as e:
        e.hint = e.hint or _NONE
        raise
    return _ByApi(daemon)


def _containerd(namespace: str) -> Loader:
    address = os.environ.get("CONTAINERD_ADDRESS", "/run/containerd/containerd.sock")
    namespace = namespace or os.environ.get("CONTAINERD_NAMESPACE", "default")
    path = address.removeprefix("unix://")
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
    except OSError as e:
        raise UsageError(f"no containerd answers at {path}: {reason_of(e)}", hint=_NONE) from e
    if found := shutil.which("nerdctl"):
        return _ByCommand("containerd", [found, "--address", address, "--namespace", namespace, "load"])
    words = [_program("ctr"), "--address", path, "--namespace", namespace, "images", "import", "-"]
    return _ByCommand("containerd", words)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise UsageError(f"{name} is not installed, which loads the image", hint=_NONE)
    return found
