"""The world of the library's examples and programs: a registry with images, a store, and files beside them.

Their texts say `registry.example`, which stands for the registry that runs; everything else is as they say.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imagesmith
from imagesmith.embedded.registry import Registry
from imagesmith.trust.keys import KINDS, generate
from tests.registry.conftest import free_port

__all__ = ["HOST", "Template", "world"]

HOST = "registry.example"
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
BAKE = """\
variable "VERSION" { default = "1" }
target "app" {
  context = "app"
  tags = ["registry.example/team/app:baked"]
  args = { VERSION = VERSION }
}
"""


class Template:
    """A folder that is copied for each example; made once."""

    def __init__(self, folder: Path, base: Path) -> None:
        """Build the images, and fill the registry; `base` is a layout with a shell."""
        self.folder, self.port = folder, free_port()
        self.host = f"127.0.0.1:{self.port}"
        store = folder / "store"
        for name, version, greeting in (("app", "1", "hello\n"), ("newer", "1.1", "goodbye\n")):
            (folder / name / "etc").mkdir(parents=True)
            (folder / name / "etc/greeting").write_text(greeting)
            text = f"FROM scratch\nCOPY etc/greeting /etc/greeting\nLABEL version={version}\n"
            (folder / name / "Dockerfile").write_text(text)
        (folder / "docker-bake.hcl").write_text(BAKE.replace(HOST, self.host))
        (folder / "notes.txt").write_text("notes\n")
        with tarfile.open(folder / "more.tar", "w") as tar:
            info = tarfile.TarInfo("more")
            info.size = 5
            tar.addfile(info, io.BytesIO(b"more\n"))
        for name in ("team", "other"):
            key = generate(KINDS[0])
            (folder / f"{name}.key").write_bytes(key.pem)
            (folder / f"{name}.pub").write_bytes(key.public.pem)
        with Registry(folder / "registry", port=self.port):
            for context, tags in (("app", ("team/app:1", "team/app:old")), ("newer", ("team/app:1.1",))):
                names = [f"{self.host}/{tag}" for tag in tags]
                imagesmith.build(
                    folder / context, tags=names, build_args=EPOCH, root=store, isolation="none",
                    outputs=["type=image,push=true,rewrite-timestamp=true"],
                )  # fmt: skip
            imagesmith.build(folder / "app", tags=["other:1"], build_args=EPOCH, root=store)
            imagesmith.copy(f"oci:{base}", f"{self.host}/team/base:1", root=store)
            imagesmith.attach(
                f"{self.host}/team/app:1", folder / "notes.txt", artifact_type="text/x-notes", root=store
            )
            imagesmith.save(f"{self.host}/team/app:1", output=folder / "saved.tar", root=store)
            for name in ("team/app:1", "team/app:old", "team/app:1.1"):
                imagesmith.rmi(f"{self.host}/{name}", root=store)


@contextmanager
def world(template: Template, folder: Path) -> Iterator[Path]:
    """A copy of the template that is the working folder, with its registry running."""
    shutil.copytree(template.folder, folder, symlinks=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        with Registry(folder / "registry", port=template.port):
            yield folder
    finally:
        os.chdir(before)
