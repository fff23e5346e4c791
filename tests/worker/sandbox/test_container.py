"""What shows that a process is in a container, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.worker.sandbox.container import container

pytestmark = pytest.mark.everyone

_ID = "9385263cbc5fda06f875dc626b46570ca47625fb210c5a99f85e776847724883"
_POD = "0f8fad5b-d9cb-469f-a165-70867728950e"
_PLAIN = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n22 27 0:21 / /proc rw - proc proc rw\n"


class Machine:
    """The files of a machine that are looked at."""

    def __init__(self, root: Path) -> None:
        self.root, self.environ = root, dict[str, str]()
        self.write("proc/self/mountinfo", _PLAIN)
        self.write("proc/self/cgroup", "0::/\n")
        self.write("proc/1/environ", "HOME=/\0TERM=linux\0")
        self.pids("4026531836")

    def write(self, path: str, text: str) -> None:
        """A file."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def pids(self, number: str) -> None:
        """The pid namespace."""
        link = self.root / "proc/self/ns/pid"
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(f"pid:[{number}]")

    def mount(self, source: str, target: str) -> None:
        """One more mount."""
        self.write("proc/self/mountinfo", f"{_PLAIN}30 27 254:0 {source} {target} rw - ext4 /dev/vda rw\n")

    def found(self) -> str:
        """What shows that it is a container."""
        return container(self.root, self.environ)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """An ordinary machine."""
    return Machine(tmp_path)


def test_machine_is_none(machine: Machine) -> None:
    assert machine.found() == ""


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (f"/var/lib/docker/containers/{_ID}/hostname", "/etc/hostname"),
        (f"/run/containers/storage/overlay-containers/{_ID}/userdata/.containerenv", "/run/.containerenv"),
        (f"/containerd/io.containerd.grpc.v1.cri/sandboxes/{_ID}/resolv.conf", "/etc/resolv.conf"),
        (f"/var/lib/kubelet/pods/{_POD}/etc-hosts", "/etc/hosts"),
        (f"/kubelet/pods/{_POD}/containers/build/1a2b3c4d", "/dev/termination-log"),
    ],
)
def test_files_that_a_runtime_mounts_show_it(machine: Machine, source: str, target: str) -> None:
    machine.mount(source, target)
    assert machine.found() == f"a runtime has mounted {target}"


@pytest.mark.parametrize(
    "group",
    [
        f"/docker/{_ID}", f"/system.slice/docker-{_ID}.scope", f"/machine.slice/libpod-{_ID}.scope",
        f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{_ID}.scope", f"/ecs/task/{_ID}",
        "/kubepods/besteffort/pod1", "/lxc/build", "/lxc.payload.build/user.slice",
    ],
)  # fmt: skip
def test_group_of_a_container_shows_it(machine: Machine, group: str) -> None:
    machine.write("proc/self/cgroup", f"3:cpu:/\n0::{group}\n")
    assert machine.found() == f"its cgroup is {group}"


def test_first_process_may_say_it(machine: Machine) -> None:
    machine.write("proc/1/environ", "HOME=/\0container=lxc\0")
    assert machine.found() == "pid 1 says container=lxc"


@pytest.mark.parametrize("marker", [".dockerenv", "run/.containerenv", "run/systemd/container"])
def test_marker_shows_it_in_a_pid_namespace_only(machine: Machine, marker: str) -> None:
    """An image's file system that is booted, or entered by chroot, has it as well."""
    machine.write(marker, "")
    assert machine.found() == ""
    machine.pids("4026532184")
    assert machine.found() == f"/{marker} is there"


def test_pod_without_any_of_that(machine: Machine) -> None:
    machine.environ["KUBERNETES_SERVICE_HOST"] = "10.0.0.1"
    assert machine.found() == ""
    machine.pids("4026532184")
    assert machine.found() == "it has the variables of a pod"


def test_pid_namespace_of_its_own_is_no_container(machine: Machine) -> None:
    machine.pids("4026532184")
    assert machine.found() == ""


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("proc/self/cgroup", "0::/system.slice/docker.service\n"),
        ("proc/self/cgroup", "0::/system.slice/containerd.service\n"),
        ("proc/self/cgroup", "0::/system.slice/kubelet.service\n"),
        ("proc/self/cgroup", "0::/user.slice/user-1000.slice/session-1.scope\n"),
        ("proc/1/environ", "container=\0"),
        ("proc/1/environ", "MY_container=docker\0"),
    ],
)
def test_what_only_looks_like_it_is_none(machine: Machine, path: str, text: str) -> None:
    machine.write(path, text)
    assert machine.found() == ""


@pytest.mark.parametrize(
    ("source", "target"),
    [("/etc/resolv.conf", "/etc/resolv.conf"), (f"/docker/{_ID}/x", "/srv/x"), ("/pods/x", "/etc/hosts")],
)
def test_mount_of_a_chroot_s_keeper_is_none(machine: Machine, source: str, target: str) -> None:
    machine.mount(source, target)
    assert machine.found() == ""


def test_without_proc_nothing_shows_it(tmp_path: Path) -> None:
    (tmp_path / ".dockerenv").touch()
    assert container(tmp_path, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) == ""
