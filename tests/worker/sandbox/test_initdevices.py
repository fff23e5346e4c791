"""Device nodes: the harmless ones can be used anywhere, the machine's are refused however they came."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.support import need_root
from tests.worker.sandbox.conftest import Bench, Driver, make_bench

HARMLESS = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}


def of_root(kind: str, drivers: dict[str, Driver], base: Path, folder: Path) -> Bench:
    """A sandbox of the machine's root."""
    need_root()
    bench = make_bench(kind, drivers, base, folder)
    if bench.ids != "root":
        pytest.skip("needs the machine's root")
    return bench


@pytest.fixture(params=["native", "oci"])
def root_bench(
    request: pytest.FixtureRequest, drivers: dict[str, Driver], base: Path, tmp_path: Path
) -> Bench:
    """The sandboxes of root that may hold steps from devices."""
    return of_root(request.param, drivers, base, tmp_path / "root")


@pytest.fixture(params=["native", "native-nogroups", "oci"])
def any_bench(
    request: pytest.FixtureRequest, drivers: dict[str, Driver], base: Path, tmp_path: Path
) -> Bench:
    """Those, and one on a machine that has no cgroups."""
    return of_root(request.param, drivers, base, tmp_path / "root")


def dangerous() -> list[tuple[str, int, int]]:
    """Nodes that lead out: the disks, memory, the kernel's log, terminals, loop devices, fuse.

    runc lets 10:200 (tun) be opened as well; without CAP_NET_ADMIN nothing can be done with it.
    """
    disks = {os.stat(folder).st_dev for folder in ("/", "/tmp")}
    found = {("b", os.major(disk), os.minor(disk)) for disk in disks}
    for line in Path("/proc/partitions").read_text().splitlines()[2:]:
        major, minor, *_ = map(int, line.split()[:2])
        found.add(("b", major, minor))
    chars = [(1, 1), (1, 2), (1, 4), (1, 11), (4, 0), (5, 1), (10, 229), (10, 232), (10, 237)]
    return sorted(found | {("c", *numbers) for numbers in chars})


def make_nodes(folder: Path) -> list[str]:
    """Nodes of all of them, as a layer or a context brings them along; their names."""
    folder.mkdir(exist_ok=True)
    names = []
    for kind, major, minor in dangerous():
        name = f"{kind}{major}-{minor}"
        os.mknod(
            folder / name, (stat.S_IFBLK if kind == "b" else stat.S_IFCHR) | 0o666, os.makedev(major, minor)
        )
        (folder / name).chmod(0o666)
        names.append(name)
    return names


def opened(text: str) -> list[str]:
    """Lines of a step that tell that something was opened."""
    return [line for line in text.splitlines() if line.startswith("opened")]


_TRY = (
    "for n in {}/*; do (: < $n) 2>/dev/null && echo opened $n; (: >> $n) 2>/dev/null && echo opened $n; done;"
    "echo end"
)


def test_harmless_nodes_are_used_like_any(root_bench: Bench) -> None:
    lines = "; ".join(f"mknod -m 666 /d/{n} c {a} {b}" for n, (a, b) in HARMLESS.items())
    done = root_bench.sh(
        f"mkdir /d; {lines}; echo gone > /d/null && cat /d/null && head -c 4 /d/zero | wc -c;"
        "head -c 3 /d/urandom | wc -c; head -c 2 /d/random | wc -c; echo x > /d/full || echo full;"
        "ls -l /d | wc -l"
    )
    assert (done.status, done.out.split()) == (0, ["4", "3", "2", "full", "7"])


def test_every_node_may_be_made_and_lands_in_the_layer(root_bench: Bench) -> None:
    assert (
        root_bench.sh("mknod /disk b 254 0; mknod /mem c 1 1; mknod /dev/own c 1 3; echo x > /dev/own").status
        == 0
    )
    disk, mem = (root_bench.root / "disk").stat(), (root_bench.root / "mem").stat()
    assert (stat.S_ISBLK(disk.st_mode), disk.st_rdev) == (True, os.makedev(254, 0))
    assert (stat.S_ISCHR(mem.st_mode), mem.st_rdev) == (True, os.makedev(1, 1))


def test_nodes_that_a_layer_brings_are_refused(any_bench: Bench) -> None:
    assert make_nodes(any_bench.root / "nodes")
    for who in (0, 7):
        done = any_bench.sh(_TRY.format("/nodes"), uid=who, gid=who)
        assert (done.out, done.status) == ("end\n", 0)


def test_nodes_that_a_step_makes_are_refused(any_bench: Bench) -> None:
    made = "; ".join(
        f"mknod -m 666 {at}/{kind}{a}-{b} {kind} {a} {b}"
        for at in ("/n", "/dev/n", "/dev/shm/n", "/tmp/n")
        for kind, a, b in dangerous()
    )
    done = any_bench.sh(
        f"mkdir /n /dev/n /dev/shm/n /tmp/n; {made}; "
        + "; ".join(_TRY.format(at) for at in ("/n", "/dev/n", "/dev/shm/n", "/tmp/n"))
    )
    assert (opened(done.out), done.out.count("end\n")) == ([], 4)


def test_nodes_in_mounts_are_refused(any_bench: Bench, tmp_path: Path) -> None:
    assert make_nodes(tmp_path / "cache")
    mounts = [
        {"kind": "bind", "source": str(tmp_path / "cache"), "target": "/cache"},
        {"kind": "tmpfs", "target": "/mem"},
    ]
    more = "; ".join(f"mknod -m 666 /mem/{k}{a}-{b} {k} {a} {b}" for k, a, b in dangerous())
    done = any_bench.sh(f"{more}; {_TRY.format('/cache')}; {_TRY.format('/mem')}", mounts=mounts)
    assert (opened(done.out), done.out.count("end\n")) == ([], 2)


def test_step_cannot_leave_what_holds_it(any_bench: Bench) -> None:
    make_nodes(any_bench.root / "nodes")
    enter = "find /sys/fs/cgroup -name cgroup.procs -maxdepth 3 | while read f; do echo 0 > $f; done"
    tries = ("mount -t cgroup2 none /tmp", "mount -t proc none /tmp", "unshare -U true", "unshare -m true")
    attack = "; ".join(f"({text}) 2>/dev/null && echo opened {n}" for n, text in enumerate(tries))
    done = any_bench.sh(f"({enter}) 2>/dev/null; {attack}; {_TRY.format('/nodes')}")
    assert (opened(done.out), done.out.count("end\n")) == ([], 1)


def test_step_with_limits_is_held_too(root_bench: Bench) -> None:
    make_nodes(root_bench.root / "nodes")
    done = root_bench.sh(_TRY.format("/nodes"), limits={"memory_bytes": 1 << 28, "quota_us": 50_000})
    if "cgroup for the step cannot be made" in done.error:
        pytest.skip(done.error)
    assert (opened(done.out), done.out) == ([], "end\n")


def test_without_cgroups_no_node_is_opened(drivers: dict[str, Driver], base: Path, tmp_path: Path) -> None:
    need_root()
    bench = make_bench("native-nogroups", drivers, base, tmp_path / "root")
    done = bench.sh("mknod -m 666 /null c 1 3; echo x > /null; echo x > /dev/null && echo usual")
    assert "Permission denied" in done.err
    assert done.out == "usual\n"


def test_insecure_step_has_all_devices(drivers: dict[str, Driver], base: Path, tmp_path: Path) -> None:
    need_root()
    bench = make_bench("native", drivers, base, tmp_path / "root")
    if not os.access("/dev/kmsg", os.R_OK):
        pytest.skip("this machine has no /dev/kmsg")
    assert bench.sh("mknod /k c 1 11; (: < /k) && echo opened", insecure=True).out == "opened\n"


def test_groups_are_gone_with_the_builder(base: Path, tmp_path: Path) -> None:
    need_root()
    drivers: dict[str, Driver] = {}
    bench = make_bench("native", drivers, base, tmp_path / "root")
    seen = bench.sh("cat /proc/self/cgroup").out
    bench.driver.close()
    name = next((line.rpartition("/")[2] for line in seen.splitlines() if line.endswith("-devices")), "")
    if not name:
        pytest.skip("no cgroup v2 here")
    assert not [
        p for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") for p in Path(top).glob(f"**/{name}")
    ]
