"""A program of random file calls by changing users, run inside a step: python -I -S -c ... SEED ROUNDS.

It prints what each call answered, and at the end what every file is. Nothing in it depends on an answer, so
two runs of a seed make the same calls. Only what changes files, and what is told of them, is called: files
are not opened for reading and folders not listed but by root. Root does not write: in a user namespace that
clears set-id bits. No set-gid bit is without the right to execute: under root writing by others clears it.
"""

import ctypes
import errno
import os
import random
import socket
import stat
import struct
import sys

WHO = [(0, 0, []), (7, 8, [9]), (7, 8, []), (20, 8, []), (20, 21, [9, 8]), (30, 9, [])]
NAMES = ["a", "b", "c", "e", "f"]
FOLDERS = ["/w", "/w/p", "/w/q", "/w/t", "/w/g", "/w/p/x", "/w/t/y", "/w/s", "/w/g/z", "/w/closed/in"]
MODES = [0o777, 0o755, 0o750, 0o700, 0o1777, 0o2775, 0o2755, 0o770, 0o644, 0o600, 0o4755, 0o6711, 0o0]
PROGRAMS = ["/w/p/a", "/w/t/b", "/w/q/c", "/w/prog", "/w/t/prog", "/w/q/prog"]
_libc = ctypes.CDLL(None, use_errno=True)
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276}[os.uname().machine]


def path(r):
    name = r.choice(FOLDERS) + "/" + r.choice(NAMES)
    kind = r.random()
    if kind < 0.06:
        return r.choice(FOLDERS)
    if kind < 0.1:
        return name + r.choice(["/", "/.", "/..", "/" + r.choice(NAMES)])
    if kind < 0.14:
        return r.choice(FOLDERS) + "/../" + r.choice(["p/", "t/", "./g//"]) + r.choice(NAMES)
    if kind < 0.17:
        return name[3:]
    if kind < 0.2:
        return r.choice(NAMES)
    return name


def target(r):
    others = ["../p/a", "/w/t/b", "../q", "loop", ".", "/w/closed/in/a", "/nowhere/x", "a/", ""]
    return r.choice([*NAMES, *others])


def opened(r, uid):
    truncate = os.O_TRUNC if uid else 0
    flags = r.choice([os.O_WRONLY, os.O_RDWR, os.O_WRONLY | truncate, os.O_RDWR | os.O_APPEND])
    for extra in (os.O_CREAT, os.O_CREAT, os.O_EXCL, os.O_NOFOLLOW):
        flags |= extra if r.random() < 0.5 else 0
    return flags | os.O_NONBLOCK


def rename2(old, new, flags):
    if _libc.syscall(_RENAMEAT2, -100, os.fsencode(old), -100, os.fsencode(new), flags) < 0:
        raise OSError(ctypes.get_errno(), "")


def bind(name):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(name)


def with_file(name, flags, mode, then):
    fd = os.open(name, flags, mode)
    try:
        return then(fd)
    finally:
        os.close(fd)


def run(name):
    """What a program prints: id, if nobody has changed it."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(write, 1)
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        try:
            os.execv(name, ["id"])
        except OSError as e:
            os.write(write, errno.errorcode[e.errno].encode())
        os._exit(9)
    os.close(write)
    with open(read, "rb") as f:
        said = f.read().decode().strip()
    return f"{said} {os.waitpid(pid, 0)[1]}"


def marks(r, mode):
    """Names of attributes and their values; an access list says no more than a mode does."""
    lines = [(1, mode >> 6 & 7), (4, mode >> 3 & 7), (32, mode & 7)]
    acl = struct.pack("=I", 2) + b"".join(struct.pack("=HHI", *line, 0xFFFFFFFF) for line in lines)
    capability = struct.pack("<IIIII", 0x2000001, 1 << 10, 0, 0, 0)
    return r.choice(
        [
            ("user.x", b"y"),
            ("user.x", b"y"),
            ("system.posix_acl_access", acl),
            ("security.capability", capability),
            ("trusted.x", b"y"),
        ]
    )


def told(st):
    return f"{st.st_mode:o} {st.st_uid}:{st.st_gid} {st.st_nlink}"


def call(r, me):
    """One call, as its name and what does it."""
    p, q, mode, nofollow = path(r), path(r), r.choice(MODES), r.random() < 0.5
    uid, gid = r.choice([-1, 0, 7, 20, 30]), r.choice([-1, 0, 8, 9, 21])
    flags, text, kind = opened(r, me), target(r), r.choice([0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK])
    when = r.choice([None, (5, 5), (7, 10**9)])
    fd = r.choice(
        [
            ("fchmod", lambda fd: os.fchmod(fd, mode)),
            ("fchown", lambda fd: os.fchown(fd, uid, gid)),
            ("fstat", lambda fd: told(os.fstat(fd))),
            ("futimens", lambda fd: os.utime(fd, when)),
        ]
    )
    size = r.randrange(100)
    mark, value = marks(r, mode)
    program = r.choice([*PROGRAMS, *PROGRAMS, p, q])
    how = r.randrange(8)
    same = {"follow_symlinks": not nofollow}
    calls = [
        (4, f"open {p} {flags:o} {mode:o}", lambda: with_file(p, flags, mode, lambda fd: told(os.fstat(fd)))),
        (2, f"{fd[0]} {p} {flags:o} {mode:o} {when} {uid} {gid}", lambda: with_file(p, flags, mode, fd[1])),
        (
            1,
            f"tmpfile {p} {mode:o}",
            lambda: with_file(p, os.O_TMPFILE | os.O_RDWR, mode, lambda fd: told(os.fstat(fd))),
        ),
        (4, f"mkdir {p} {mode:o}", lambda: os.mkdir(p, mode)),
        (2, f"mknod {p} {mode:o} {kind:o}", lambda: os.mknod(p, mode | kind)),
        (1, f"mknod {p} c 1 3", lambda: me and os.mknod(p, mode | stat.S_IFCHR, os.makedev(1, 3))),
        (3, f"symlink {text} {p}", lambda: os.symlink(text, p)),
        (2, f"link {p} {q} {nofollow}", lambda: os.link(p, q, **same)),
        (3, f"rename {p} {q}", lambda: os.rename(p, q)),
        (1, f"renameat2 {p} {q} {1 + nofollow}", lambda: rename2(p, q, 1 + nofollow)),
        (2, f"unlink {p}", lambda: os.unlink(p)),
        (1, f"rmdir {p}", lambda: os.rmdir(p)),
        (3, f"chmod {p} {mode:o}", lambda: os.chmod(p, mode)),
        (3, f"chown {p} {uid} {gid} {nofollow}", lambda: os.chown(p, uid, gid, **same)),
        (2, f"utime {p} {when} {nofollow}", lambda: os.utime(p, when, **same)),
        (1, f"truncate {p} {size}", lambda: me and os.truncate(p, size)),
        (3, f"access {p} {how} {nofollow}", lambda: os.access(p, how, effective_ids=nofollow)),
        (3, f"stat {p} {nofollow}", lambda: told(os.stat(p, **same))),
        (1, f"bind {p}", lambda: bind(p)),
        (3, f"run {program}", lambda: run(program)),
        (2, f"setxattr {p} {mark} {mode:o} {nofollow}", lambda: os.setxattr(p, mark, value, **same)),
        (1, f"removexattr {p} {mark} {nofollow}", lambda: os.removexattr(p, mark, **same)),
    ]
    _, name, do = r.choices(calls, [weight for weight, _, _ in calls])[0]
    return name, do


def answer(do):
    try:
        return str(do())
    except OSError as e:
        if (
            e.errno == errno.ENXIO
        ):  # a socket: in a folder like /tmp some kernels have this for others, or root
            return "EACCES"
        return errno.errorcode.get(e.errno, str(e.errno))


def begin(r):
    for folder in ("p", "q", "t", "g", "closed", "closed/in", "p/x", "t/y", "g/z"):
        os.mkdir("/w/" + folder)
    os.chmod("/w", 0o1777)
    os.chmod("/w/t", 0o1777)
    with open("/usr/bin/id", "rb") as f:
        program = f.read()
    for name in PROGRAMS:
        with open(name, "wb") as f:
            f.write(program)
        os.chown(name, r.choice([0, 7, 20]), r.choice([0, 8, 9, 21]))
        os.chmod(name, r.choice([0o755, 0o4755, 0o2755, 0o6711, 0o2750, 0o4710, 0o700]))
    os.symlink("q", "/w/s")
    os.symlink("loop", "/w/p/loop")
    for folder in ("p", "q", "g", "p/x", "t/y", "g/z", "closed"):
        os.chown("/w/" + folder, r.choice([0, 7, 20]), r.choice([0, 8, 9]))
        os.chmod("/w/" + folder, r.choice([0o755, 0o777, 0o775, 0o2775, 0o3777, 0o711, 0o700, 0o750]))


def session(r):
    """Some calls by one user, in a process of its own."""
    uid, gid, groups = r.choice(WHO)
    mask, todo = r.choice([0o22, 0o2, 0o67, 0]), [call(r, uid) for _ in range(r.randrange(1, 25))]
    sys.stdout.flush()
    if pid := os.fork():
        os.waitpid(pid, 0)
        return
    os.chdir("/w")
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.umask(mask)
    for name, do in todo:
        print(f"{uid}:{gid} {groups} {mask:o} {name}: {answer(do)}")
    sys.stdout.flush()
    os._exit(0)


def main():
    r = random.Random(int(sys.argv[1]))
    os.umask(0o22)
    os.mkdir("/w")
    begin(r)
    for _ in range(int(sys.argv[2])):
        session(r)
    for top, folders, files in os.walk("/w"):
        for name in sorted([*folders, *files]):
            at = f"{top}/{name}"
            st = os.lstat(at)
            link = os.readlink(at) if stat.S_ISLNK(st.st_mode) else ""
            print(at, told(st) if not stat.S_ISDIR(st.st_mode) else told(st).rsplit(" ", 1)[0], link)


main()
