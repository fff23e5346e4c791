"""Filters of steps behind a chroot, under the small interpreter of test_seccomp.py; attacks are elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import os

import pytest

from imagesmith.errors import Cancelled
from imagesmith.interfaces import Place
from imagesmith.worker.sandbox import seccomp
from imagesmith.worker.sandbox.chroot_filter import calls_filter
from imagesmith.worker.sandbox.native import NativeSandbox
from imagesmith.worker.sandbox.seccomp import ALLOW, ARCHES, NOTIFY, docker_filter
from imagesmith.worker.sandbox.signals import chroot_filter
from imagesmith.worker.sandbox.syscalls import Machine, numbers
from tests.worker.sandbox.test_seccomp import ENOSYS, EPERM, act

every_machine = pytest.mark.parametrize("machine", seccomp.machines())
MASK = (1 << 64) - 1


def asked(program: bytes, machine: Machine, name: str, *arguments: int) -> int:
    """What a filter answers to a call."""
    return act(program, ARCHES[machine], numbers(machine)[name], *(a & MASK for a in arguments))


@every_machine
@pytest.mark.parametrize("scoped", [True, False])
def test_all_else_is_docker_s_profile(machine: Machine, scoped: bool) -> None:
    special = {"prlimit64", "pidfd_send_signal", "process_vm_readv", "process_vm_writev", "ptrace"}
    ours, docker = chroot_filter(scoped=scoped), docker_filter()
    for name in numbers(machine).keys() - special:
        assert asked(ours, machine, name) == asked(docker, machine, name), name
        assert asked(ours, machine, name, 3, 5, 7) == asked(docker, machine, name, 3, 5, 7), name


@every_machine
@pytest.mark.parametrize("scoped", [True, False])
def test_limits_are_one_s_own(machine: Machine, scoped: bool) -> None:
    program = chroot_filter(scoped=scoped)
    assert asked(program, machine, "prlimit64", 0) == ALLOW
    assert asked(program, machine, "prlimit64", 1) == asked(program, machine, "prlimit64", -1) == EPERM


@every_machine
@pytest.mark.parametrize(
    ("name", "arguments", "unscoped", "scoped"),
    [
        ("ptrace", (16, 1), EPERM, ALLOW), ("ptrace", (0x4206, 1), EPERM, ALLOW),
        ("ptrace", (0, 0), ALLOW, ALLOW), ("ptrace", (7, 1), ALLOW, ALLOW),
        ("process_vm_readv", (1,), EPERM, ALLOW), ("process_vm_writev", (1,), EPERM, ALLOW),
        ("pidfd_send_signal", (3, 9), ENOSYS, ALLOW), ("kcmp", (1, 2), EPERM, EPERM),
        ("pidfd_getfd", (3, 0), EPERM, EPERM), ("fcntl", (3, 15), EPERM, ALLOW),
        ("fcntl", (3, 1), ALLOW, ALLOW), ("ioctl", (3, 0x8901), EPERM, ALLOW),
        ("ioctl", (3, 0x8902), EPERM, ALLOW), ("ioctl", (3, 0x5401), ALLOW, ALLOW),
    ],
)  # fmt: skip
def test_what_reaches_others_is_refused_where_no_scope_holds_it(
    machine: Machine, name: str, arguments: tuple[int, ...], unscoped: int, scoped: int
) -> None:
    assert asked(chroot_filter(scoped=False), machine, name, *arguments) == unscoped
    assert asked(chroot_filter(scoped=True), machine, name, *arguments) == scoped


@every_machine
@pytest.mark.parametrize("scoped", [True, False])
def test_signals_are_handed_over_where_no_scope_holds_them(machine: Machine, scoped: bool) -> None:
    program, given = calls_filter(scoped=scoped), ALLOW if scoped else NOTIFY
    for name in ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"):
        assert asked(program, machine, name, 1, 2) == given, name
    for name in {"fcntl", "fcntl64"} & numbers(machine).keys():
        assert asked(program, machine, name, 0, 8, -1) == given
        assert asked(program, machine, name, 0, 1, -1) == ALLOW


def test_one_step_at_a_time_waits_for_the_lock() -> None:
    """Also for a builder with another store: what is locked is the root directory that both see."""
    sandbox = NativeSandbox(Place(ids="root", mounts=False), way="chroot")
    fd = os.open("/", os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with contextlib.ExitStack() as held, pytest.raises(Cancelled):
            sandbox._alone(held, lambda: True)
    finally:
        os.close(fd)
    with contextlib.ExitStack() as held:
        assert sandbox._alone(held, lambda: True) >= 0
