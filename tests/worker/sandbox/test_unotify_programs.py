"""Programs that a shell cannot be, in a namespace of one id: threads, access lists, sockets and races."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import textwrap
from pathlib import Path

import pytest

from imagesmith.interfaces import Place
from imagesmith.worker.sandbox.kernel import PR_SET_TIMERSLACK, USUAL_SLACK_NS
from imagesmith.worker.sandbox.world import World
from tests.worker.sandbox.conftest import Bench, Driver
from tests.worker.sandbox.test_unotify import bench, driver

__all__ = ["bench", "driver"]


def python(bench: Bench, text: str, **spec: object) -> list[str]:
    """What a program of the system's Python prints in a step."""
    program = os.path.realpath(sys.executable)
    if not program.startswith("/usr/"):
        pytest.skip("this interpreter is no part of the system")
    binds = [
        {"kind": "bind", "source": f, "target": f, "readonly": True}
        for f in ("/lib", "/lib64", "/usr")
        if os.path.isdir(f)
    ]
    done = bench.run(program, "-I", "-S", "-c", textwrap.dedent(text), mounts=binds, **spec)
    assert (done.status, done.error, done.err) == (0, "", "")
    return done.out.splitlines()


def test_change_of_ids_is_of_all_threads_and_files_are_theirs(bench: Bench) -> None:
    text = """
        import os, threading
        first, go = threading.Event(), threading.Event()
        def work():
            first.set(); go.wait()
            os.close(os.open("/tmp/f", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            st = os.stat("/tmp/f")
            print(os.getuid(), os.getgid(), st.st_uid, st.st_gid)
        t = threading.Thread(target=work)
        t.start(); first.wait()
        os.setgid(1000); os.setuid(1001)
        go.set(); t.join()
    """
    assert python(bench, text) == ["1001 1000 1001 1000"]


def test_attribute_with_the_owner_is_not_seen_copied_or_set(bench: Bench) -> None:
    """What copies a file with all its attributes, as cp -a, makes no file of its owner's."""
    text = """
        import errno, os
        open("/tmp/f", "w").close(); os.mkdir("/tmp/d")
        os.setxattr("/tmp/f", "user.kept", b"1")
        for path in "/tmp/f", "/tmp/d": os.chown(path, 7, 8)
        with open("/tmp/f") as f: print(os.listxattr(f.fileno()))
        print(os.listxattr("/tmp/d"), os.listxattr("/tmp/f", follow_symlinks=False))
        for change in os.removexattr, lambda *a: os.setxattr(*a, b"0:0:0644:file"):
            try:
                change("/tmp/f", "user.containers.override_stat")
            except OSError as e:
                print(errno.errorcode[e.errno])
        print(os.stat("/tmp/f").st_uid)
    """
    assert python(bench, text) == ["['user.kept']", "[] ['user.kept']", "ENOTSUP", "ENOTSUP", "7"]


@pytest.mark.parametrize(
    "change",
    [
        'os.chmod("/tmp/d", 0o2755)',
        'os.fchmod(os.open("/tmp/d", os.O_RDONLY), 0o2755)',
        'os.rename("/tmp/d", "/tmp/old"); os.rename("/tmp/marked", "/tmp/d")',
        'os.rename("/tmp/up", "/tmp/old"); os.symlink("/tmp/other", "/tmp/up")',
        'os.rmdir("/tmp/d"); os.symlink("/tmp/marked", "/tmp/d")',
        'os.rmdir("/tmp/d"); os.rename("/tmp/marked", "/tmp/d")',
    ],
)
def test_group_is_inherited_from_the_moment_a_folder_hands_it_on(bench: Bench, change: str) -> None:
    """What was seen of a folder counts no longer when its mode, or what has its name, may be another."""
    text = f"""
        import os
        for name in ("d", "marked", "up", "up/in", "other", "other/in"):
            os.mkdir("/tmp/" + name); os.chown("/tmp/" + name, 0, 42)
        for name in ("marked", "other/in"):
            os.chmod("/tmp/" + name, 0o2755)
        for name in ("d", "up/in"):
            open("/tmp/" + name + "/a", "w").close(); os.mkdir("/tmp/" + name + "/b")
            print(os.stat("/tmp/" + name + "/a").st_gid, os.stat("/tmp/" + name + "/b").st_gid)
            os.unlink("/tmp/" + name + "/a"); os.rmdir("/tmp/" + name + "/b")
            open("/tmp/" + name + "/a", "w").close(); os.unlink("/tmp/" + name + "/a")
        {change}
        name = "/tmp/up/in" if os.path.islink("/tmp/up") else "/tmp/d"
        open(name + "/a", "w").close(); os.mkdir(name + "/b")
        print(os.stat(name + "/a").st_gid, os.stat(name + "/b").st_gid)
    """
    assert python(bench, text) == ["0 0", "0 0", "42 42"]


def test_group_is_inherited_also_while_others_make_files_there(bench: Bench) -> None:
    """What others see of a folder before a change of it is done is not remembered."""
    text = """
        import os, threading
        os.mkdir("/tmp/d"); os.chown("/tmp/d", 0, 42)
        done, found = threading.Event(), []
        def make(name):
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            group = os.stat(name).st_gid
            os.unlink(name)
            return group
        def work(name):
            while not done.is_set(): make(name)
        threads = [threading.Thread(target=work, args=(f"/tmp/d/{n}",)) for n in range(3)]
        for t in threads: t.start()
        for _ in range(200):
            os.chmod("/tmp/d", 0o2755); found.append(make("/tmp/d/a"))
            os.chmod("/tmp/d", 0o755); make("/tmp/d/a")
        done.set()
        for t in threads: t.join()
        print(set(found))
    """
    assert python(bench, text) == ["{42}"]


def test_owner_of_what_is_in_no_layer_may_be_changed(bench: Bench) -> None:
    text = """
        import os, select
        for fd in (select.epoll().fileno(), os.pipe()[0], os.eventfd(0), os.memfd_create("m")):
            os.fchown(fd, 7, 8)
        print("done")
    """
    assert python(bench, text) == ["done"]


def test_ids_of_one_thread_are_its_own(bench: Bench) -> None:
    """What the call itself does, without the libc that repeats it for each thread."""
    text = """
        import ctypes, os, threading
        number = {"x86_64": 105, "aarch64": 146}[os.uname().machine]
        def work():
            ctypes.CDLL(None).syscall(number, 1001)
            os.mkdir("/tmp/thread")
        t = threading.Thread(target=work)
        t.start(); t.join()
        os.mkdir("/tmp/main")
        print(os.stat("/tmp/thread").st_uid, os.stat("/tmp/main").st_uid)
    """
    assert python(bench, text) == ["1001 0"]


def test_slack_of_who_builds_is_not_taken_for_ids(bench: Bench) -> None:
    text = """
        import os
        if not os.fork():
            os.setuid(7)
            os._exit(0)
        os.wait(); os.mkdir("/tmp/d")
        print(os.stat("/tmp/d").st_uid, os.getuid())
    """
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_TIMERSLACK, USUAL_SLACK_NS + 1)
    try:
        driver = Driver("single")
    finally:
        libc.prctl(PR_SET_TIMERSLACK, USUAL_SLACK_NS)
    with contextlib.closing(driver):
        assert python(Bench(driver, bench.root), text) == ["0 0"]


def test_registers_that_are_no_arguments_are_not_looked_at(bench: Bench) -> None:
    text = """
        import ctypes, os
        os.setresgid(8, 8, 8); os.setresuid(7, 7, 7)
        for n in {"x86_64": (113, 114), "aarch64": (145, 143)}[os.uname().machine]:
            ids = os.getresuid() if n in (113, 145) else os.getresgid()
            print(ctypes.CDLL(None).syscall(n, ids[0], ids[1], 12345))
    """
    assert python(bench, text) == ["0", "0"]


def test_access_list_with_ids_is_refused_and_a_mode_is_not(bench: Bench) -> None:
    text = """
        import os, struct
        open("/tmp/f", "w").close()
        def acl(*lines):
            return struct.pack("=I", 2) + b"".join(struct.pack("=HHI", *line) for line in lines)
        none = 0xffffffff
        mode = (1, 6, none), (4, 4, none), (32, 0, none)
        os.setxattr("/tmp/f", "system.posix_acl_access", acl(*mode))
        print(oct(os.stat("/tmp/f").st_mode))
        try:
            more = mode[0], (2, 4, 1000), mode[1], (16, 4, none), mode[2]
            os.setxattr("/tmp/f", "system.posix_acl_access", acl(*more))
        except OSError as e:
            print(os.strerror(e.errno))
    """
    assert python(bench, text) == ["0o100640", "Operation not supported"]


def test_attributes_are_changed_by_who_may(bench: Bench) -> None:
    text = """
        import errno, os, struct
        os.mkdir("/tmp/d", 0o1777); os.chmod("/tmp/d", 0o1777)
        for name, mode in (("/tmp/own", 0o2755), ("/tmp/shared", 0o666)):
            open(name, "w").close()
            if name == "/tmp/own":
                os.chown(name, 7, 9)
            os.chmod(name, mode)
        none = 0xffffffff
        acl = struct.pack("=I", 2) + b"".join(struct.pack("=HHI", t, 7, none) for t in (1, 4, 32))
        capability = struct.pack("<5I", 0x2000001, 1024, 0, 0, 0)
        os.setresgid(8, 8, 8); os.setresuid(7, 7, 7)
        fd = os.open("/tmp/shared", os.O_WRONLY)
        def told(call, *args):
            try:
                call(*args)
            except OSError as e:
                return errno.errorcode[e.errno]
            return "ok"
        for path in ("/tmp/own", "/tmp/shared", "/etc", "/tmp/d", fd):
            print(told(os.setxattr, path, "user.x", b"y"),
                  told(os.setxattr, path, "system.posix_acl_access", acl),
                  told(os.setxattr, path, "security.capability", capability),
                  told(os.removexattr, path, "user.x"))
        print(oct(os.stat("/tmp/own").st_mode))
        os.mkdir("/tmp/closed"); os.symlink("../closed", "/tmp/closed/link"); os.access("/tmp/closed/x", 0)
        closed = struct.pack("=I", 2) + b"".join(struct.pack("=HHI", t, 6, none) for t in (1, 4, 32))
        os.setxattr("/tmp/closed/link", "system.posix_acl_access", closed)
        print(told(os.stat, "/tmp/closed/x"))
    """
    assert python(bench, text) == [
        "ok ok EPERM ok",  # and the set-gid mark of a group that is not its owner's is gone
        "ok EPERM EPERM ok",
        "EACCES EPERM EPERM EACCES",
        "EPERM EPERM EPERM EPERM",
        "ok EPERM EPERM ok",
        "0o100777",
        "EACCES",
    ]


def test_sockets_belong_to_who_binds_them(bench: Bench) -> None:
    text = """
        import os, socket
        os.mkdir("/tmp/d"); os.chown("/tmp/d", 7, 9); os.chmod("/tmp/d", 0o2770)
        if not os.fork():
            os.setresgid(8, 8, 8); os.setresuid(7, 7, 7)
            for name in ("/tmp/d/s", "/tmp/t", "/etc/u"):
                try:
                    socket.socket(socket.AF_UNIX).bind(name)
                except PermissionError:
                    print("refused", flush=True)
            os._exit(0)
        os.wait()
        socket.socket(socket.AF_UNIX).bind("/tmp/root")
        print([(os.stat(n).st_uid, os.stat(n).st_gid) for n in ("/tmp/d/s", "/tmp/t", "/tmp/root")])
    """
    assert python(bench, text) == ["refused", "[(7, 9), (7, 8), (0, 0)]"]


def test_slash_at_the_end_of_a_name_that_is_taken_is_refused_as_by_the_kernel(bench: Bench) -> None:
    """An exchange is told that it is no folder before anything about rights; a socket, that it is there."""
    text = """
        import ctypes, errno, os, socket
        number = {"x86_64": 316, "aarch64": 276}[os.uname().machine]
        libc = ctypes.CDLL(None, use_errno=True)
        open("/etc/f", "w").close()
        os.setresgid(8, 8, 8); os.setresuid(7, 7, 7)
        open("/tmp/g", "w").close(); os.symlink("no/thing", "/tmp/l")
        libc.syscall(number, -100, b"/etc/f", -100, b"/tmp/g/", 2)
        print(errno.errorcode[ctypes.get_errno()])
        try:
            socket.socket(socket.AF_UNIX).bind("/tmp/l/")
        except OSError as e:
            print(errno.errorcode[e.errno])
    """
    assert python(bench, text) == ["ENOTDIR", "EADDRINUSE"]


@pytest.mark.parametrize("make", ["mkdir", "open", "symlink", "mkfifo"])
def test_what_is_made_in_a_folder_just_made_belongs_to_its_maker(bench: Bench, make: str) -> None:
    """The folder appears while the call is looked at: whoever saw that it is missing must say so."""
    text = f"""
        import os, threading
        os.setresgid(8, 8, 8); os.setresuid(7, 7, 7)
        def new(path):
            if {make!r} == "open":
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL))
            elif {make!r} == "symlink":
                os.symlink("x", path)
            else:
                os.{make if make.startswith("mk") else "mkdir"}(path)
        def inside(path):
            while True:
                try:
                    return new(path)
                except FileNotFoundError:
                    pass
        for i in range(150):
            t = threading.Thread(target=inside, args=(f"/tmp/r{{i}}/x",))
            t.start(); os.mkdir(f"/tmp/r{{i}}"); t.join()
        print({{(s.st_uid, s.st_gid) for i in range(150) for s in [os.lstat(f"/tmp/r{{i}}/x")]}})
    """
    assert python(bench, text) == ["{(7, 8)}"]


def test_what_the_user_may_do_is_told_by_the_real_ids(bench: Bench) -> None:
    text = """
        import os
        os.mkdir("/tmp/closed", 0o700); open("/tmp/closed/f", "w").close()
        os.setresgid(8, 8, 0); os.setresuid(7, 0, 0)
        print(os.access("/etc", os.W_OK), os.access("/etc", os.W_OK, effective_ids=True))
        print(os.access("/tmp/closed/f", os.F_OK), os.access("/etc/passwd", os.R_OK))
        print(os.access("/dev/null", os.W_OK), os.access("/proc/self/fd/1", os.W_OK))
    """
    assert python(bench, text) == ["False True", "False True", "True True"]


def test_what_is_refused_here_and_not_to_root_is_told(bench: Bench) -> None:
    text = """
        import socket
        try:
            socket.socket().bind(("127.0.0.1", 843))
        except PermissionError:
            print("refused")
    """
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    assert python(bench, text) == (["refused"] if first > 843 else [])
    told = World(Place(ids="single", mounts=True), "native").weaker
    assert any("ports below 1024" in what and "access lists" in what for what in told)
