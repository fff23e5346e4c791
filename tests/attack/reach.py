"""What a step behind a chroot tries, run inside it by an interpreter that the test put into its root.

    reach.py reach PID...            harm processes that are not its own; says which ways broke through
    reach.py give NAME               pass the root folder to who listens at an abstract socket
    reach.py take NAME CANARY        be who listens, and read the machine's file from there
    reach.py proc CANARY PID...      read or change what /proc shows of others, or leads to; likewise
    reach.py pty NUMBER              use a terminal of its own, and one of another
    reach.py own                     what a step may do to its own processes, and has to be able to

Imports the standard library only, and little of it: tests/attack/rooted.py copies what is imported here.
"""

import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
import sys
import threading
import time

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW = {"pidfd_send_signal": 424, "pidfd_open": 434, "pidfd_getfd": 438}
_CALLS = {
    "x86_64": {"tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "ptrace": 101,
               "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "prlimit64": 302},
    "aarch64": {"tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "ptrace": 117,
                "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "prlimit64": 261},
}  # fmt: skip
_ATTACH, _SEIZE, _DETACH = 16, 0x4206, 17
_PATIENCE_S = 2.0
_PR_SET_DUMPABLE = 4


def call(name: str, *args: "int | bytes | ctypes.Array[ctypes.c_char]") -> int:
    """A raw system call; an errno is raised."""
    number = (_NEW | _CALLS[os.uname().machine])[name]
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = int(_LIBC.syscall(ctypes.c_long(number), *words))
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def _memory(name: str, pid: int) -> None:
    """Read or write a little; a wrong address is no refusal."""
    ours = ctypes.create_string_buffer(8)
    here = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(ours), 8))
    there = ctypes.create_string_buffer(struct.pack("=QQ", 0x1000, 8))
    try:
        call(name, pid, ctypes.addressof(here), 1, ctypes.addressof(there), 1, 0)
    except OSError as e:
        if e.errno != errno.EFAULT:
            raise


def _queue(name: str, pid: int) -> None:
    info = ctypes.create_string_buffer(struct.pack("=iii", signal.SIGKILL, 0, -1), 128)
    threads = (pid, pid) if name == "rt_tgsigqueueinfo" else (pid,)
    call(name, *threads, signal.SIGKILL, ctypes.addressof(info))


def _pidfd(name: str, pid: int) -> None:
    fd = call("pidfd_open", pid, 0)
    call(name, fd, signal.SIGKILL if name == "pidfd_send_signal" else 0, 0, 0)


def _attach(request: int, pid: int) -> None:
    call("ptrace", request, pid, 0, 0)
    os.waitpid(pid, 0x40000000)


def _limit(pid: int) -> None:
    none = ctypes.create_string_buffer(struct.pack("=QQ", 0, 0))
    call("prlimit64", pid, 7, ctypes.addressof(none), 0)


def _owner(pid: int) -> None:
    """Have the kernel send the signal, as that of a file."""
    a, b = socket.socketpair()
    fcntl.fcntl(a, fcntl.F_SETOWN, pid)
    fcntl.fcntl(a, 10, int(signal.SIGKILL))  # F_SETSIG
    fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    b.send(b"x")
    time.sleep(0.05)
    raise OSError(0, "whether it came is seen outside")


def reach(pids: "list[int]") -> None:
    """Try everything on each process."""
    ways = {
        "kill": lambda p: os.kill(p, signal.SIGKILL),
        "killpg": lambda p: os.kill(-p, signal.SIGKILL),
        "tkill": lambda p: call("tkill", p, signal.SIGKILL),
        "tgkill": lambda p: call("tgkill", p, p, signal.SIGKILL),
        "owner": _owner,
        "limit": _limit,
        "kcmp": lambda p: call("kcmp", p, os.getpid(), 1, 0, 0),
        "attach": lambda p: _attach(_ATTACH, p),
        "seize": lambda p: call("ptrace", _SEIZE, p, 0, 0),
    }
    ways |= {n: lambda p, n=n: _queue(n, p) for n in ("rt_sigqueueinfo", "rt_tgsigqueueinfo")}
    ways |= {n: lambda p, n=n: _memory(n, p) for n in ("process_vm_readv", "process_vm_writev")}
    ways |= {n: lambda p, n=n: _pidfd(n, p) for n in ("pidfd_send_signal", "pidfd_getfd")}
    for pid in pids:
        for name, way in ways.items():
            try:
                way(pid)
                print("BROKE", name, pid)
            except OSError as e:
                print("held", name, pid, e.errno)


def _read(path: str, flags: int = os.O_RDONLY) -> bytes:
    fd = os.open(path, flags | os.O_NONBLOCK)
    try:
        return os.read(fd, 1 << 16)
    finally:
        os.close(fd)


def _up(folder: str, canary: str) -> bytes:
    """Open a folder of /proc, and go up from its descriptor to the machine's files."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for path in (canary, "/proc/1/environ"):
        for ups in range(1, 12):
            try:
                return os.read(os.open("../" * ups + path[1:], os.O_RDONLY, dir_fd=fd), 100)
            except OSError:
                continue
    raise OSError(errno.ENOENT, folder)


def _twice(path: str, first: int) -> bytes:
    """Open it for reading, or as a reference, and by that descriptor's name for writing."""
    fd = os.open(path, first)
    again = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
    if os.fstat(again).st_dev != os.lstat("/proc/self").st_dev:
        raise OSError(0, "a copy")
    return path.encode()


def _swapped(canary: str, pid: str) -> bytes:
    """Change a path while it is looked at, from one's own to another's."""
    ours, theirs = b"/proc/self/environ\0", f"/proc/{pid}/environ\0".encode()
    path, ends = ctypes.create_string_buffer(64), time.monotonic() + 0.5

    def swap() -> None:
        while time.monotonic() < ends:
            ctypes.memmove(path, theirs, len(theirs))
            ctypes.memmove(path, ours, len(ours))

    swapper = threading.Thread(target=swap)
    swapper.start()
    found = b""
    while time.monotonic() < ends:
        fd = _LIBC.open(path, os.O_RDONLY)
        if fd >= 0:
            data = os.read(fd, 1 << 16)
            found = data if b"CANARY=" in data else found
            os.close(fd)
    swapper.join()
    if not found:
        raise OSError(errno.ENOENT, canary)
    return found


def proc(canary: str, pids: "list[str]") -> None:
    """Each way has to fail; what it returns is what was read or opened."""
    names = ("environ", "cmdline", "maps", "mem", "status", "stat", "fd/0", "fd/1", "exe", "cwd", "root",
             f"root{canary}", f"cwd{canary}", "task", "ns/mnt", "mountinfo", "oom_score_adj")  # fmt: skip
    ways = {}
    for pid in pids:
        for at in (f"/proc/{pid}", f"//proc//{pid}", f"/proc/self/../{pid}", f"/proc/./{pid}/.",
                   f"/proc/{pid}/task/{pid}", f"/proc/self/task/{pid}", f"/proc/self/root/proc/{pid}",
                   f"/proc/self/fd/../../{pid}", f"/dev/fd/../../{pid}"):  # fmt: skip
            for name in names:
                ways[f"read {at}/{name}"] = lambda p=f"{at}/{name}": _read(p)
                ways[f"refer {at}/{name}"] = lambda p=f"{at}/{name}": _read(p, os.O_PATH) or p
                ways[f"link {at}/{name}"] = lambda p=f"{at}/{name}": os.readlink(p)
                ways[f"look {at}/{name}"] = lambda p=f"{at}/{name}": os.stat(p)
            ways[f"list {at}"] = lambda p=at: os.listdir(p)
        ways[f"write {pid}"] = lambda p=pid: os.open(f"/proc/{p}/oom_score_adj", os.O_WRONLY)
        ways[f"swap {pid}"] = lambda p=pid: _swapped(canary, p)
    for folder in ("/proc", "/proc/self", "/proc/self/fd", "/dev/fd", "/proc/self/task", "/proc/self/cwd",
                   "/proc/self/root", "/proc/sys/kernel", "/proc/self/net"):  # fmt: skip
        ways[f"up {folder}"] = lambda f=folder: _up(f, canary)
    for path in ("/proc/sys/kernel/pid_max", "/proc/sys/kernel/core_pattern", "/proc/self/environ",
                 "/proc/cpuinfo", "/proc/self/limits"):  # fmt: skip
        ways[f"write {path}"] = lambda p=path: os.open(p, os.O_WRONLY)
        ways[f"again {path}"] = lambda p=path: _twice(p, os.O_RDONLY)
        ways[f"refer and write {path}"] = lambda p=path: _twice(p, os.O_PATH)
        ways[f"mode {path}"] = lambda p=path: os.chmod(p, 0o777) or p
    for path in ("/proc/self/mem", "/proc/kcore", "/proc/kmsg", "/proc/sysrq-trigger", "/proc/1/environ",
                 "/proc/self/ns/mnt", "/proc/keys", "/proc/self/map_files",
                 f"/proc/self/root{canary}"):  # fmt: skip
        ways[f"read {path}"] = lambda p=path: _read(p)
    for name, way in ways.items():
        try:
            print("BROKE", name, repr(way())[:200])
        except OSError as e:
            print("held", name, e.errno)


def pty(number: str) -> None:
    """Make a terminal, open its other end by its name, lose it; then try that of another.

    As a program that has changed its ids: others cannot look at what it holds.
    """
    master, slave = os.openpty()
    name = os.ttyname(slave)
    _LIBC.prctl(_PR_SET_DUMPABLE, 0)
    again = os.open(name, os.O_RDWR | os.O_NOCTTY)
    os.write(again, b"through")
    print("terminal", os.read(master, 100), os.fstat(again).st_rdev == os.stat(name).st_rdev)
    for fd in (master, slave, again):
        os.close(fd)
    for path in (name, f"/dev/pts/{number}"):
        for way in (lambda p: os.open(p, os.O_RDWR | os.O_NOCTTY), os.stat):
            try:
                print("BROKE", path, way(path))
            except OSError as e:
                print("held", path, e.errno)


def give(name: str) -> None:
    """Pass the root folder on."""
    end = time.monotonic() + _PATIENCE_S
    root = os.open("/", os.O_RDONLY)
    while time.monotonic() < end:
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect("\0" + name)
                socket.send_fds(s, [b"x"], [root])
                print("gave")
                return
            except OSError as e:
                reason = e.errno
        time.sleep(0.05)
    print("found nobody", reason)


def take(name: str, canary: str) -> None:
    """Take another's root folder, and go up from there."""
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("\0" + name)
        s.listen()
        s.settimeout(_PATIENCE_S)
        try:
            peer, _ = s.accept()
            peer.settimeout(_PATIENCE_S)
            _, fds, _, _ = socket.recv_fds(peer, 1, 1)
        except OSError:
            print("nobody came")
            return
    os.fchdir(fds[0])
    for _ in range(40):
        os.chdir("..")
    print("took", os.path.exists(canary.lstrip("/")), os.listdir("."))


def own() -> None:
    """Signals of all kinds to children, their groups and itself; a tracer and its child."""
    for way in (os.kill, lambda p, n: os.kill(-p, n), lambda p, n: call("tgkill", p, p, n)):
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.setsid()
            os.write(write, b"x")
            time.sleep(100)
        os.read(read, 1)
        way(pid, signal.SIGTERM)
        print("ended by", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    signal.signal(signal.SIGUSR1, lambda *_: print("signalled itself"))
    signal.raise_signal(signal.SIGUSR1)
    os.killpg(0, 0)
    fcntl.fcntl(socket.socketpair()[0], fcntl.F_SETOWN, os.getpid())
    pid = os.fork()
    if not pid:
        call("ptrace", 0, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(7)
    os.waitpid(pid, 0)
    call("ptrace", 7, pid, 0, 0)  # PTRACE_CONT
    print("traced", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    {"reach": lambda: reach([int(w) for w in words]), "give": lambda: give(*words),
     "take": lambda: take(*words), "own": own,
     "pty": lambda: pty(*words), "proc": lambda: proc(words[0], words[1:])}[what]()  # fmt: skip
