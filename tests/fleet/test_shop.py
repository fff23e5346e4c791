"""The shop's twelve images for two platforms, by many machines and by one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from imagesmith.embedded.registry import Registry
from tests.fleet.bakes import Bakery
from tests.foreign import foreign_busybox, need_qemu
from tests.support import IMAGESMITH, PROJECT, need_program

_DOCKERFILE = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /\nENV PATH=/bin\n"


def _busybox(folder: Path) -> Path:
    """A layout of busybox for both platforms."""
    programs = {"amd64": Path(need_program("busybox")).read_bytes(), "arm64": foreign_busybox()}
    names = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    for arch, program in programs.items():
        bin_ = folder / "context" / arch / "bin"
        bin_.mkdir(parents=True)
        (bin_ / "busybox").write_bytes(program)
        (bin_ / "busybox").chmod(0o755)
        for name in names:
            if name != "busybox":
                (bin_ / name).symlink_to("busybox")
    (folder / "context/Dockerfile").write_text(_DOCKERFILE)
    layout = folder / "layout"
    words = ["build", "--platform", "linux/amd64,linux/arm64", "-o", f"type=oci,tar=false,dest={layout}"]
    subprocess.run(
        [*IMAGESMITH, *words, "--root", str(folder / "store"), str(folder / "context")],
        check=True, capture_output=True, cwd=PROJECT,
    )  # fmt: skip
    return layout


def test_the_shop_has_the_digests_of_one_machine(tmp_path: Path) -> None:
    need_qemu()
    layout = _busybox(tmp_path / "busybox")
    with Registry(tmp_path / "registry") as registry:
        bakery = Bakery(tmp_path, registry.host)
        shutil.copytree(PROJECT / "fixtures/bake/shop", bakery.folder, dirs_exist_ok=True)
        bakery.given = {"REGISTRY": f"{registry.host}/shop", "BUSYBOX": f"oci-layout://{layout}"}
        done = bakery.bake()
        assert [verdict.told for verdict in done.outcome.failed] == []
        assert len(done.images) == 12
        found = {name: str(image.descriptor.digest) for name, image in done.images.items()}
        assert found == bakery.local()
        ran = [
            step for verdict in done.outcome.verdicts.values() for step in verdict.steps if "] RUN " in step
        ]
        for part, platforms in (
            ("shop/release", 2),
            ("sort requirements", 2),
            ("tool built", 2),
            ("*.css", 1),
        ):
            assert len([step for step in ran if part in step]) == platforms, (part, ran)
        units = {unit.name: set(unit.definition["target"]) for unit in done.units}
        assert units["service-api dependencies linux/arm64"] == {"service-api", "base"}
        assert units["service-api linux/arm64"] == {"service-api", "base", "assets", "tools"}
