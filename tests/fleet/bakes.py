"""Bakes by many machines in tests: a folder with a definition, a registry, and processes as machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from imagesmith.bake.definition import define
from imagesmith.bake.files import Folder, read_definition
from imagesmith.bake.listing import print_document
from imagesmith.bake.overrides import overrides_of
from imagesmith.bake.selection import prepared, select
from imagesmith.bake.variables import Given
from imagesmith.cli import bake as verb
from imagesmith.cli.baking import requests_of
from imagesmith.cli.calls import plan_of
from imagesmith.cli.parser import Parser
from imagesmith.fleet.client import Client, Done
from imagesmith.fleet.running import How
from imagesmith.fleet.units import Unit
from imagesmith.request import BuildRequest
from imagesmith.settings import Access, Settings
from imagesmith.store.store import Store
from imagesmith.transports.transfer import Session
from tests.fleet.processes import Processes
from tests.support import IMAGESMITH, PROJECT

__all__ = ["EPOCH", "Bakery", "base_layout"]

EPOCH = "1700000000"
_REWRITTEN = "*.output=type=image,push=true,rewrite-timestamp=true"


class Bakery:
    """A folder of a user with a bake file, and a registry; `bake` goes by machines, `local` by this one."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder, self.host = folder / "project", host
        self.engine = Processes(folder / "machines")
        self.told: list[str] = []
        self._store = folder / "client"
        self._local = folder / "local"
        #: Values of the bake file's variables.
        self.given = {"HOST": host}
        self.folder.mkdir(exist_ok=True)

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    @contextmanager
    def client(self, *names: str, **how: object) -> Iterator[tuple[Client, list[BuildRequest], list[Unit]]]:
        """A client with the units of some targets."""
        parser = Parser(prog="imagesmith bake")
        verb.configure(parser)
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            with patch.dict(os.environ, {"SOURCE_DATE_EPOCH": EPOCH}):
                args = parser.parse_args(["--insecure", *names])
                given = self.given
                bodies = read_definition([], local=Folder("."), remote=None, env={}, given=given, stdin=bytes)
                definition = define(bodies, Given(vars=given))
                overrides = overrides_of([_REWRITTEN], list(definition.targets), {})
                selection = prepared(select(definition, names, overrides), os.environ)
                requests = requests_of(selection, args)
            settings = Settings(root=self._store)
            with (
                Store(self._store) as store,
                Session(store, access=Access(insecure=True)) as session,
            ):
                told = How(poll_s=0.05, tell=self.told.append, **how)  # type: ignore[arg-type]
                client = Client(f"{self.host}/fleet", session, store, told)
                document = json.loads(json.dumps(print_document(selection)))
                units = client.units(document, requests, lambda r, links: plan_of(r, settings, links), EPOCH)
                yield client, requests, units
        finally:
            os.chdir(before)

    def bake(self, *names: str, **how: object) -> Done:
        """Bake by many machines."""
        with self.client(*names, **how) as (client, requests, units):
            return client.run(requests, units, self.engine)

    def local(self, *names: str) -> dict[str, str]:
        """Bake on this machine; the digests by target."""
        out = self._local.with_suffix(".json")
        done = subprocess.run(
            [*IMAGESMITH, "bake", "--insecure", "--set", _REWRITTEN, "--metadata-file", str(out),
             "--allow", "fs=/",
             *(word for name, value in self.given.items() for word in ("--var", f"{name}={value}")), *names],
            cwd=self.folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            env={**os.environ, "IMAGESMITH_ROOT": str(self._local), "SOURCE_DATE_EPOCH": EPOCH,
                 "PYTHONPATH": str(PROJECT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = json.loads(out.read_text())
        return {
            name: row["containerimage.digest"] for name, row in found.items()
            if name != "buildx.build.warnings" and "containerimage.digest" in row
        }  # fmt: skip


def base_layout(folder: Path) -> Path:
    """An image of this machine's busybox, as a layout."""
    program = PROJECT / "fixtures" / "demo" / "base.py"
    subprocess.run([sys.executable, str(program), str(folder)], check=True, capture_output=True)
    return folder


def main(folder: str, host: str, text: str) -> None:
    """Bake in a process that is killed when it is told a line."""

    def tell(line: str) -> None:
        if line == text:
            os.kill(os.getpid(), signal.SIGKILL)

    bakery = Bakery(Path(folder), host)
    with bakery.client() as (client, requests, units):
        client._how = How(poll_s=0.05, tell=tell)
        client.run(requests, units, bakery.engine)


if __name__ == "__main__":
    main(*sys.argv[1:])
