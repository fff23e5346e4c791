"""Filters: what the assembler writes, and Docker's profile, under a small interpreter and in the kernel."""

from __future__ import annotations

import errno
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagesmith.worker.sandbox import ociruntime, seccomp
from imagesmith.worker.sandbox.seccomp import ALLOW, ARCHES, NOTIFY, docker_filter
from imagesmith.worker.sandbox.syscalls import Machine, numbers
from tests.support import lacking

EPERM, ENOSYS = seccomp.refuse(errno.EPERM), seccomp.refuse(errno.ENOSYS)


def act(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """What a filter answers, as the kernel's interpreter would."""
    full = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=IIQ6Q", number, arch, 0, *full)
    code = list(struct.iter_unpack("=HBBI", program))
    at = loaded = 0
    while True:
        op, yes, no, k = code[at]
        at += 1
        if op == 0x20:
            loaded = struct.unpack_from("=I", data, k)[0]
        elif op == 0x54:
            loaded &= k
        elif op == 0x05:
            at += k
        elif op == 0x15:
            at += yes if loaded == k else no
        elif op == 0x35:
            at += yes if loaded >= k else no
        else:
            assert op == 0x06
            return int(k)


def docker(machine: Machine, name: str, *arguments: int) -> int:
    program = docker_filter("aarch64" if machine == "aarch64" else "x86_64")
    return act(program, ARCHES[machine], numbers(machine)[name], *arguments)


every_machine = pytest.mark.parametrize("machine", list(ARCHES))


# --- the table ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("machine", "header"), [("x86_64", "64"), ("i386", "32")])
def test_numbers_are_those_of_the_kernels_headers(machine: Machine, header: str) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("the headers are those of another machine")
    path = Path(f"/usr/include/x86_64-linux-gnu/asm/unistd_{header}.h")
    if not path.exists():
        lacking("the kernel's headers (linux-libc-dev) are not installed")
    found = {n: int(v) for n, v in re.findall(r"#define __NR_(\w+) (\d+)", path.read_text())}
    end = numbers(machine)["removexattrat"]
    assert {n: v for n, v in numbers(machine).items() if v <= max(found.values())} == {
        n: v for n, v in found.items() if v <= end
    }


@every_machine
def test_no_number_stands_for_two_calls(machine: Machine) -> None:
    known = numbers(machine)
    assert len(set(known.values())) == len(known) > 300


def test_new_calls_have_one_number_everywhere() -> None:
    assert {numbers(m)["openat2"] for m in ARCHES} == {437}
    assert [numbers(m)["chown"] for m in ARCHES if "chown" in numbers(m)] == [92, 182]
    assert numbers("aarch64")["fchownat"] == 54


# --- the assembler -----------------------------------------------------------------------------


def test_switch_answers_each_number_with_its_action() -> None:
    wanted = {0: ALLOW, 1: ALLOW, 5: NOTIFY, 6: EPERM, 9: ALLOW}
    program = seccomp.assemble([("x86_64", seccomp.switch(wanted, ENOSYS))], EPERM)
    for number in range(12):
        assert act(program, ARCHES["x86_64"], number) == wanted.get(number, ENOSYS)


def test_call_of_another_machine_gets_the_last_answer() -> None:
    program = seccomp.assemble([("x86_64", seccomp.result(ALLOW))], EPERM)
    assert act(program, ARCHES["i386"], 1) == EPERM


@pytest.mark.parametrize("size", [1, 254, 255, 256, 700])
def test_blocks_of_any_length_are_passed_over(size: int) -> None:
    block = seccomp.load(16) * (size - 1) + seccomp.result(NOTIFY)
    code = seccomp.equal(7, block) + seccomp.result(ALLOW)
    program = seccomp.assemble([("x86_64", code)], EPERM)
    assert act(program, ARCHES["x86_64"], 7) == NOTIFY
    assert act(program, ARCHES["x86_64"], 8) == ALLOW


def test_program_longer_than_the_kernel_takes_is_an_error() -> None:
    with pytest.raises(ValueError, match="instructions"):
        seccomp.assemble([("x86_64", seccomp.load(0) * 5000)], EPERM)


# --- the profile -------------------------------------------------------------------------------


@every_machine
@pytest.mark.parametrize(
    "name", ["read", "execve", "fchownat", "mknodat", "chroot", "setuid", "ptrace", "seccomp"]
)
def test_usual_calls_are_allowed(machine: Machine, name: str) -> None:
    assert docker(machine, name) == ALLOW


@every_machine
@pytest.mark.parametrize(
    "name",
    ["mount", "unshare", "setns", "bpf", "keyctl", "io_uring_setup", "reboot", "init_module", "userfaultfd",
     "clock_settime", "open_by_handle_at", "pivot_root", "move_mount", "swapon", "syslog", "quotactl"],
)  # fmt: skip
def test_what_could_harm_the_machine_is_refused(machine: Machine, name: str) -> None:
    assert docker(machine, name) == EPERM


@every_machine
def test_processes_may_be_made_but_no_namespaces(machine: Machine) -> None:
    assert docker(machine, "clone", 0x1200011) == ALLOW
    assert docker(machine, "clone", 0x10000011) == EPERM
    assert docker(machine, "clone3") == ENOSYS


@every_machine
def test_sockets_of_machines_and_of_the_kernels_ciphers_are_refused(machine: Machine) -> None:
    assert docker(machine, "socket", 2) == ALLOW
    assert docker(machine, "socket", 40) == docker(machine, "socket", 38) == EPERM


@every_machine
def test_personalities_are_those_without_danger(machine: Machine) -> None:
    assert docker(machine, "personality", 0xFFFFFFFF) == docker(machine, "personality", 8) == ALLOW
    assert docker(machine, "personality", 0x40000) == EPERM


@every_machine
def test_unknown_calls_are_missing_rather_than_forbidden(machine: Machine) -> None:
    program = docker_filter("aarch64" if machine == "aarch64" else "x86_64")
    assert act(program, ARCHES[machine], 9000) == ENOSYS


def test_x32_calls_are_missing() -> None:
    assert act(docker_filter("x86_64"), ARCHES["x86_64"], 0x40000000) == ENOSYS


def test_machine_that_is_not_known_has_no_filter() -> None:
    assert docker_filter("vax") == b""


# --- in the kernel -----------------------------------------------------------------------------

_CHILD = """
import ctypes, json, mmap, os, sys
from imagesmith.worker.sandbox import kernel, seccomp
libc = ctypes.CDLL(None, use_errno=True)
def call(*numbers):
    result = libc.syscall(*map(ctypes.c_long, numbers))
    return -ctypes.get_errno() if result < 0 else result
def int80(number, first=0):
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(b"\\x53\\xbb" + first.to_bytes(4, "little") + b"\\xb8" + number.to_bytes(4, "little")
               + b"\\xcd\\x80\\x5b\\xc3")
    at = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return ctypes.CFUNCTYPE(ctypes.c_int)(at)()
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
kernel.install_filter(seccomp.docker_filter())
print(json.dumps(%s))
"""


def in_kernel(expression: str) -> object:
    """An expression's value in a process under the profile."""
    done = subprocess.run([sys.executable, "-c", _CHILD % expression], capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(not docker_filter(), reason="the profile is not known for this machine")
def test_kernel_takes_the_profile_and_keeps_it() -> None:
    known = numbers(seccomp.machines()[0])
    asked = {"getppid": [], "unshare": [0], "clone3": [0, 0], "socket": [40, 1, 0], "personality": [1 << 32]}
    calls = ", ".join(f"{name!r}: call(*{[known[name], *args]})" for name, args in asked.items())
    assert in_kernel(f"{{{calls}, 'new': call(9000)}}") == {
        "getppid": os.getpid(), "unshare": -errno.EPERM, "clone3": -errno.ENOSYS, "socket": -errno.EPERM,
        "personality": 0, "new": -errno.ENOSYS,
    }  # fmt: skip


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="32-bit calls of x86-64")
def test_kernel_keeps_the_profile_for_32_bit_programs() -> None:
    known = numbers("i386")
    found = in_kernel(f"[int80({known['getppid']}), int80({known['unshare']}), int80(9000)]")
    if found == [-errno.ENOSYS] * 3:
        pytest.skip("the kernel takes no 32-bit calls")
    assert found == [os.getpid(), -errno.EPERM, -errno.ENOSYS]


# --- the same for a runtime --------------------------------------------------------------------


def by_rows(profile: dict[str, Any], name: str, argument: int) -> bool:
    """Whether a runtime's filter lets a call through: of its rows those count that the argument meets."""

    found = set()
    for row in profile["syscalls"]:
        if name not in row["names"]:
            continue
        (args,) = row["args"] or [{"op": "always", "value": 0}]
        value, op = args["value"], args["op"]
        meets = {
            "always": True,
            "SCMP_CMP_EQ": argument == value,
            "SCMP_CMP_LT": argument < value,
            "SCMP_CMP_GT": argument > value,
            "SCMP_CMP_MASKED_EQ": argument & value == args.get("valueTwo"),
        }
        if meets[op]:
            found.add(row["action"])
    assert len(found) <= 1, "two rows that say different things: a runtime takes either"
    return (found or {profile["defaultAction"]}) == {"SCMP_ACT_ALLOW"}


_ARGUMENTS = (
    0,
    1,
    2,
    8,
    37,
    38,
    39,
    40,
    41,
    0x11,
    0x20000,
    0x20008,
    0x40000,
    0x400000,
    0x10000000,
    0xFFFFFFFF,
)


def test_runtime_s_filter_lets_through_what_ours_does() -> None:
    machines = seccomp.machines()
    if not machines:
        pytest.skip("no list of this machine's calls")
    first, profile = machines[0], ociruntime._seccomp()
    for name in numbers(first):
        for argument in _ARGUMENTS:
            assert by_rows(profile, name, argument) == (docker(first, name, argument) == ALLOW), (
                name,
                argument,
            )
