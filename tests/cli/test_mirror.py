"""mirror: a list of images, several at the same time, each after what it needs."""

from __future__ import annotations

import threading
from pathlib import Path

from imagesmith.embedded.registry import Registry
from imagesmith.store.store import Store
from tests.cli.conftest import Run
from tests.registry.faultproxy import Before, FaultProxy
from tests.registry.images import make_image


def test_mirror_goes_through_its_list_and_counts_what_failed(run: Run, host: str, image: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    lines = f"# a list\n{host}/t/app:1\n\n{host}/t/app:1 {host}/x/y:2  # with a target\n"
    assert run("mirror", "-", "--to", f"{host}/mirror", stdin=lines.encode()).split() == [
        image, f"{host}/mirror/t/app:1", image, f"{host}/x/y:2",
    ]  # fmt: skip
    said = run(
        "mirror", "-", "--to", f"{host}/m", stdin=f"{host}/t/no:1\n{host}/t/app:1\n".encode(), status=7
    )
    assert "1 of 2 images were not mirrored" in said
    assert run("tags", f"{host}/m/t/app") == "1\n"
    assert "-:1: " in run("mirror", "-", stdin=b"a b c\n", status=2)
    assert "cannot read /no/list: No such file" in run("mirror", "/no/list", status=2)


def test_mirror_copies_images_at_the_same_time_and_a_line_after_those_it_needs(
    run: Run, tmp_path: Path
) -> None:
    """Three slow copies of which none ends before all have begun; what one writes another reads."""
    together = threading.Barrier(3, timeout=20)
    with Registry(tmp_path / "registry") as registry, FaultProxy(registry.host) as proxy:
        names = []
        with Store(tmp_path / "store") as store:
            for n in range(3):
                make_image(store, f"app:{n}", layers=({f"{n}": b"x"},))
                names.append(f"{proxy.host}/t/app:{n}")
        for n, name in enumerate(names):
            run("push", f"app:{n}", name)
            proxy.on("GET", f"/t/app/manifests/{n}$", Before(together.wait))
        chain = [f"{name} {name.replace('/t/', '/x/')}" for name in names]
        chain += [f"{name.replace('/t/', '/x/')} oci:layout:{n}" for n, name in enumerate(names)]
        out = run("mirror", "-", stdin="\n".join(chain).encode()).split()
        assert out[1::2] == [line.split()[1] for line in chain]
        assert not proxy.unused
        assert run("tags", "oci:layout") == "0\n1\n2\n"
        assert "no number from 1 to 64" in run("mirror", "-j", "0", "-", status=2)
