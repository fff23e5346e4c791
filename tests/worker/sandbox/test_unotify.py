"""Steps in a user namespace of one id: they see, and leave behind, the owners of a build by root."""

from __future__ import annotations

import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.worker.sandbox import seccomp
from imagesmith.worker.sandbox.seccomp import ALLOW, ARCHES, NOTIFY
from imagesmith.worker.sandbox.syscalls import Machine, numbers
from imagesmith.worker.sandbox.unotify import faked_filter
from imagesmith.worker.snapshot.ownership import XATTR
from tests.support import need_program
from tests.worker.sandbox.conftest import APPLETS, Bench, Driver
from tests.worker.sandbox.driver import NOBODY
from tests.worker.sandbox.test_seccomp import act

MORE = ("chown", "chmod", "cp", "su", "mkfifo", "dd", "sync", "printf", "readlink", "tar", "setpriv",
        "truncate")  # fmt: skip

#: The last ids of those that are lent.
LENT = (65_536, 70_000)

# --- the filter --------------------------------------------------------------------------------


def handed(machine: Machine, name: str, *arguments: int, held: tuple[int, int] | None = None) -> bool:
    program = faked_filter("aarch64" if machine == "aarch64" else "x86_64", held=held)
    answer = act(program, ARCHES[machine], numbers(machine)[name], *arguments)
    assert answer in (ALLOW, NOTIFY)
    return answer == NOTIFY


def test_calls_about_ids_and_owners_are_handed_over() -> None:
    assert all(handed("x86_64", name) for name in ("chown", "stat", "getuid", "execve"))
    assert all(handed("i386", name) for name in ("chown32", "setuid32", "mkdir"))
    assert all(handed("aarch64", name) for name in ("fchownat", "fstat", "setgroups"))


def test_calls_with_short_ids_and_old_structs_are_the_kernels() -> None:
    assert not any(handed("i386", name) for name in ("chown", "getuid", "stat", "fstat", "setgroups"))


def test_files_are_opened_by_the_kernel_unless_they_may_be_changed() -> None:
    assert not handed("x86_64", "openat", 3, 0, os.O_RDONLY | os.O_CLOEXEC)
    assert handed("x86_64", "openat", 3, 0, os.O_RDWR)
    assert handed("x86_64", "openat", 3, 0, os.O_RDONLY | os.O_CREAT)
    assert handed("x86_64", "open", 0, os.O_WRONLY | os.O_TMPFILE)
    assert not handed("x86_64", "read")


def test_only_the_order_to_keep_rights_is_handed_over_of_prctl() -> None:
    assert handed("x86_64", "prctl", 8, 1)
    assert not handed("x86_64", "prctl", 38, 1)


def test_only_the_question_for_the_peer_is_handed_over_of_socket_options() -> None:
    assert handed("x86_64", "getsockopt", 3, 1, 17)
    assert handed("i386", "getsockopt", 3, 1, 17)
    assert not handed("aarch64", "getsockopt", 3, 1, 4)


def test_with_lent_ids_only_devices_are_handed_over() -> None:
    assert handed("x86_64", "mknod", 0, 0o020666, 259, held=LENT)
    assert handed("aarch64", "mknodat", 3, 0, 0o060666, 259, held=LENT)
    assert not handed("x86_64", "mknod", 0, 0o010666, held=LENT)
    assert not handed("x86_64", "setuid", 70_000, held=LENT)


@pytest.mark.parametrize(("uid", "gid", "beyond"), [
    (0, 0, False), (-1, -1, False), (65_535, 69_999, False), (-1, 69_999, False), (65_535, -1, False),
    (65_536, 0, True), (0, 70_000, True), (-1, 70_000, True), (65_536, -1, True),
    (3_000_000, 2_500_000_000, True), (0xFFFFFFFE, -1, True), (-1, 0xFFFFFFFE, True),
])  # fmt: skip
def test_with_lent_ids_owners_beyond_them_are_handed_over(uid: int, gid: int, beyond: bool) -> None:
    owner = uid & 0xFFFFFFFF, gid & 0xFFFFFFFF
    for name in ("chown", "lchown", "fchown"):
        assert handed("x86_64", name, 0, *owner, held=LENT) is beyond
        assert handed("i386", f"{name}32", 0, *owner, held=LENT) is beyond
        assert handed("x86_64", name, 1 << 63, *(n | 0xABCD << 32 for n in owner), held=LENT) is beyond
    for machine in ("x86_64", "i386", "aarch64"):
        assert handed(machine, "fchownat", 3, 0, *owner, 0x100, held=LENT) is beyond


# --- steps -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    """One process in a namespace of one id."""
    if not seccomp.machines():
        pytest.skip("the calls of this machine are not known")
    found = Driver("single")
    if "unavailable" in found.about:
        pytest.skip(found.about["unavailable"])
    yield found
    found.close()


@pytest.fixture
def bench(driver: Driver) -> Iterator[Bench]:
    """A root with busybox that belongs to the namespace's only id."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        for name in ("bin", "etc", "tmp", "home"):
            (root / name).mkdir(parents=True)
        shutil.copy(need_program("busybox"), root / "bin" / "busybox")
        for name in {*APPLETS, *MORE}:
            (root / "bin" / name).symlink_to("busybox")
        (root / "tmp").chmod(0o1777)
        (root / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\njoe:x:7:8::/home:/bin/sh\n")
        (root / "etc" / "group").write_text("root:x:0:\njoes:x:8:\nmore:x:9:joe\n")
        if os.geteuid() == 0:
            for path in (Path(folder), root, *root.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        yield Bench(driver, root)


def kept(bench: Bench, path: str) -> str:
    return os.getxattr(bench.root / path, XATTR).decode()


def out(bench: Bench, text: str, **spec: object) -> list[str]:
    done = bench.sh(text, **spec)
    assert (done.status, done.error, done.err) == (0, "", "")
    return done.out.splitlines()


def test_owner_is_kept_and_seen(bench: Bench) -> None:
    assert out(bench, "cd /home; touch f; mkdir d; chown 7:8 f d; chown :9 d; stat -c %u:%g f d") == [
        "7:8",
        "7:9",
    ]
    assert kept(bench, "home/f").startswith("7:8:")
    assert kept(bench, "home/d").startswith("7:9:")


def test_owner_of_a_link_is_its_own(bench: Bench) -> None:
    text = "cd /home; touch f; ln -s f l; chown -h 7:8 l; stat -c %u f l; chown 9 l; stat -Lc %u l"
    assert out(bench, text) == ["0", "7", "9"]


def test_owner_follows_renames_and_hard_links(bench: Bench) -> None:
    assert out(bench, "cd /home; touch f; chown 7 f; ln f g; mv f h; stat -c %u g h") == ["7", "7"]


def test_change_of_owner_clears_set_id_bits(bench: Bench) -> None:
    assert out(bench, "cd /home; touch f; chmod 6755 f; chown 7 f; stat -c %a f") == ["755"]


def test_what_is_not_there_cannot_be_given_away(bench: Bench) -> None:
    done = bench.sh("chown 7 /nowhere")
    assert done.status == 1
    assert "No such file" in done.err


def test_copies_keep_owners_that_the_copier_sees(bench: Bench) -> None:
    text = "cd /home; touch f; chown 7:8 f; cp -a f g; tar -cf t f; rm f; tar -xf t; stat -c %u:%g f g"
    assert out(bench, text) == ["7:8", "7:8"]


def test_pipes_and_devices_of_the_machine_can_be_given_away(bench: Bench) -> None:
    assert out(bench, "chown 7 /dev/stdout /dev/null /proc/self/fd/1") == []


def test_device_is_made_for_root_and_only_for_root(bench: Bench) -> None:
    assert out(bench, "mknod -m 640 /home/n c 1 3; mkfifo /home/p") == []
    assert kept(bench, "home/n") == "0:0:0640:char-1-3"
    assert bench.sh("mknod /tmp/n c 1 3", uid=7, gid=8).status == 1
    assert not (bench.root / "tmp" / "n").exists()


def test_user_of_the_step_is_who_it_asked_for(bench: Bench) -> None:
    assert out(bench, "id -u; id -g; id -G", uid=7, gid=8, groups=[8, 9]) == ["7", "8", "8 9"]


def test_files_belong_to_the_user_that_makes_them(bench: Bench) -> None:
    text = "cd /tmp; umask 027; touch f; echo x > g; mkdir -p d/e; ln -s f l; mkfifo p; "
    text += "stat -c '%u:%g %a' f g d/e l p"
    assert out(bench, text, uid=7, gid=8) == ["7:8 640", "7:8 640", "7:8 750", "7:8 777", "7:8 640"]


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("touch /etc/x", "Permission denied"),
        ("mkdir /etc/x", "Permission denied"),
        ("ln -s x /etc/x", "Permission denied"),
        ("echo x >> /etc/passwd", "Permission denied"),
        ("dd if=/dev/null of=/etc/passwd conv=notrunc", "Permission denied"),
        ("rm -f /etc/passwd", "Permission denied"),
        ("mv /etc/passwd /tmp/x", "Permission denied"),
        ("mv /tmp/mine /etc/passwd", "Permission denied"),
        ("ln /tmp/mine /etc/x", "Permission denied"),
        ("chmod 777 /etc/passwd", "Operation not permitted"),
        ("touch /etc/passwd", "Permission denied"),
        ("touch -d 2001-01-01 /etc/passwd", "not permitted"),
        ("truncate -s 0 /etc/passwd", "Permission denied"),
        ("rm -f /tmp/root", "Operation not permitted"),
        ("mkdir /etc", "File exists"),
    ],
)
def test_user_cannot_change_what_is_not_theirs(bench: Bench, act: str, reason: str) -> None:
    before = (bench.root / "etc" / "passwd").read_text()
    done = bench.sh(f"touch /tmp/root; su joe -c 'touch /tmp/mine; {act}'")
    assert done.status != 0
    assert reason in done.err
    assert sorted(os.listdir(bench.root / "etc")) == ["group", "passwd"]
    assert (bench.root / "etc" / "passwd").read_text() == before


def test_user_can_change_what_is_theirs(bench: Bench) -> None:
    text = "cd /home; mkdir j t; chown 7 j; chown :9 t; chmod 775 t; touch j/root; su joe -c '"
    text += "cd j; mkdir -p d/e; touch d/f; chmod 600 d/f; mv d/f g; ln g h; rm -r d h; mkdir -p /tmp; "
    text += "echo > g; rm -f root; touch ../t/x; echo x > /dev/null; echo x > /dev/stdout; stat -c %u:%a g'"
    assert out(bench, text) == ["x", "7:600"]
    assert os.listdir(bench.root / "home" / "j") == ["g"]


def test_files_that_are_there_keep_their_owner_when_opened(bench: Bench) -> None:
    assert out(bench, "cd /tmp; touch f; chmod 666 f; su joe -c 'echo x >> f; : > f'; stat -c %u f") == ["0"]


def test_group_of_a_set_gid_folder_is_inherited(bench: Bench) -> None:
    text = "cd /home; mkdir d; chown :9 d; chmod 2775 d; touch d/f; mkdir d/e; stat -c '%g %a' d/f d/e"
    assert out(bench, text) == ["9 644", "9 2755"]


def test_user_is_changed_for_a_command_and_its_children(bench: Bench) -> None:
    text = "su joe -c 'id -u; (id -G); sh -c \"touch /tmp/f\" & wait'; id -u; stat -c %u:%g /tmp/f"
    assert out(bench, text) == ["7", "8 9", "0", "7:8"]


def test_daemon_whose_parent_has_ended_keeps_its_user(bench: Bench) -> None:
    text = "su joe -c '(until [ -e /tmp/go ]; do sleep 0.01; done; id -u > /tmp/x; mv /tmp/x /tmp/done) &'; "
    text += "touch /tmp/go; while ! [ -e /tmp/done ]; do sleep 0.01; done; cat /tmp/done"
    assert out(bench, text) == ["7"]


def test_ordinary_user_cannot_give_files_away_or_become_root(bench: Bench) -> None:
    done = bench.sh(
        "touch /tmp/f; chown 9 /tmp/f; chgrp 9 /tmp/f; setpriv --reuid 0 id; touch /home/x", uid=7, gid=8
    )
    assert "chown: /tmp/f: Operation not permitted" in done.err
    assert "setpriv" in done.err or "setresuid" in done.err


#: Programs of x86-64 that exit with the number of their effective user, or group.
GETEUID, GETEGID = (bytes.fromhex(f"b8{call:02x}0000000f0589c7b83c0000000f05") for call in (107, 108))


def put_program(bench: Bench, name: str, code: bytes) -> None:
    rest = (2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", *rest)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 136, 136, 4096)
    program = bench.root / "home" / name
    program.write_bytes(head + segment + code)
    program.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(program, NOBODY, NOBODY)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="has a program of x86-64")
def test_set_gid_program_has_the_group(bench: Bench) -> None:
    put_program(bench, "egid", GETEGID)
    run = "su joe -c /home/egid; echo $?;"
    text = f"{run} chown :5 /home/egid; chmod g+s /home/egid; {run} chmod g-x /home/egid; {run}"
    assert out(bench, text) == ["8", "5", "8"]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="has a program of x86-64")
def test_set_uid_program_makes_its_owner(bench: Bench) -> None:
    put_program(bench, "euid", GETEUID)
    run = "su joe -c /home/euid; echo $?;"
    text = f"{run} chmod u+s /home/euid; {run} chown 5 /home/euid; {run} chmod u+s /home/euid; {run}"
    assert out(bench, text) == ["7", "0", "7", "5"]


def test_step_behind_another_root_is_followed_there(bench: Bench) -> None:
    text = "mkdir -p /home/r/bin /home/r/tmp; cp /bin/busybox /home/r/bin/sh; cd /home/r; "
    text += "chroot /home/r /bin/sh -c 'busybox=1; echo > /tmp/f; :'; cp -a /bin/busybox bin/chown; "
    text += "chroot /home/r /bin/chown 7:8 /tmp/f; stat -c %u:%g /home/r/tmp/f"
    assert out(bench, text) == ["7:8"]


def test_no_path_leads_out_of_the_root(bench: Bench) -> None:
    """The supervisor's own root is the machine's; a link that is followed there would be a way out."""
    outside = bench.root.parent / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    text = f"ln -s {outside} /home/out; cd /home; umask 0; for at in /home/out /proc/self/root/home/out "
    text += (
        "/proc/thread-self/root/home/out /proc/self/cwd/out out ../home/out; do mkdir $at/d; echo > $at/f; "
    )
    text += "ln -s x $at/l; mknod $at/n c 1 3; chown 7 $at; done; :"
    bench.sh(text)
    bench.sh(text, uid=7, gid=8)
    assert os.listdir(outside) == []
    assert XATTR not in os.listxattr(outside)


def test_file_opened_by_a_user_is_closed_or_kept_at_exec_as_asked(bench: Bench) -> None:
    assert out(bench, "exec 5> /tmp/f; echo x >&5; sh -c 'echo y >&5'; cat /tmp/f", uid=7, gid=8) == [
        "x",
        "y",
    ]


@pytest.mark.parametrize(("call", "flags"), [("openat", 0x80000041), ("openat", 0xF00000041), ("openat2", 0)])
def test_flags_that_are_none_do_not_end_the_supervisor(bench: Bench, call: str, flags: int) -> None:
    python = os.path.realpath(sys.executable)
    if not python.startswith("/usr/"):
        pytest.skip("this interpreter is no part of the system")
    number = numbers(seccomp.machines()[0])[call]
    text = f"""
import ctypes, struct
how, long = ctypes.create_string_buffer(struct.pack("=QQQ", 1 << 40 | 0x41, 0o644, 0)), ctypes.c_long
rest = (how, long(24)) if {number} == 437 else (long({flags}), long(0o644))
print(ctypes.CDLL(None).syscall(long({number}), long(-100), b"/tmp/made", *rest) >= 0)
"""
    binds = [{"kind": "bind", "source": f, "target": f, "readonly": True} for f in ("/lib", "/lib64", "/usr")]
    mounts = [m for m in binds if os.path.isdir(str(m["source"]))]
    done = bench.run(python, "-I", "-c", text, uid=7, gid=8, mounts=mounts)
    assert (done.status, done.out, done.error) == (0, f"{call == 'openat'}\n", "")


def test_end_of_the_supervisor_ends_the_step(bench: Bench) -> None:
    helper = _children(bench.driver.process.pid)[0]
    before = set(_children(helper))
    bench.driver.send(
        bench.root, {"argv": ["/bin/sh", "-c", "echo up; sleep 60"], "env": [["PATH", "/bin"]], "tell": True}
    )
    assert bench.driver.read() == {"seen": True}
    started = sorted(set(_children(helper)) - before)
    assert len(started) == 2
    os.kill(started[0], 9)  # it is forked before the step
    while "seen" in (done := bench.driver.read()):
        pass
    assert done["status"] is None
    assert done["code"] != "not-started"
    assert "has ended early" in done["error"]


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
