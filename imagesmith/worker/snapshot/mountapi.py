"""Mount an overlay: by the new mount API, which takes any number of lower directories, else by mount(2).

Why: mount(2) takes one page of options, which some forty layers fill. The new calls (Linux 5.2; for lower
directories one by one 6.5) take each option by itself, so no character of a path is special either.
Spec: fsopen(2), fsconfig(2), fsmount(2), move_mount(2); their numbers are the same on every machine.
Trust: paths are the builder's own, in folders that no step reaches.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from imagesmith.worker.sandbox.kernel import mount

__all__ = ["MAX_LOWERS", "mount_nowhere", "mount_overlay", "try_changes"]

#: The kernel's own limit is 500 lower directories.
MAX_LOWERS = 480
_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 429, 430, 431, 432
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_CLOEXEC, _EMPTY_PATH, _HERE = 1, 4, -100
_PAGE = 4000


@cache
def _libc() -> Any:  # noqa: ANN401 - a ctypes library
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _call(what: str, number: int, *args: int | bytes | None) -> int:
    import ctypes

    full = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in args]
    result = int(_libc().syscall(ctypes.c_long(number), *full))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def mount_overlay(
    lowers: Sequence[Path], upper: Path, work: Path, target: Path, options: Sequence[str]
) -> None:
    """Mount; lowers top first, `options` as `name` or `name=value`.

    Raises:
        OSError: the kernel refuses.
    """
    try:
        _by_calls(lowers, upper, work, target, options)
    except OSError as e:
        if e.errno not in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
            raise
        _by_page(lowers, upper, work, target, options)


def try_changes(folder: Path) -> None:
    """Do what a step may do to a folder of a lower directory, in which there is an empty one, x.

    In a user namespace without `userxattr` a mount succeeds, and the removal of such a folder fails later.

    Raises:
        OSError: the kernel refuses.
    """
    (folder / "x").rmdir()
    folder.rmdir()
    folder.mkdir()


def mount_nowhere(kind: str) -> int:
    """Mount a file system of the kernel's that takes no options; a descriptor of its root, which has no name.

    Raises:
        OSError: the kernel refuses.
    """
    fs = _call(f"fsopen {kind}", _FSOPEN, kind.encode(), _CLOEXEC)
    try:
        _call(kind, _FSCONFIG, fs, _CREATE, None, None, 0)
        return _call("fsmount", _FSMOUNT, fs, _CLOEXEC, 0)
    finally:
        os.close(fs)


def _by_calls(lowers: Sequence[Path], upper: Path, work: Path, target: Path, options: Sequence[str]) -> None:
    fs = _call("fsopen overlay", _FSOPEN, b"overlay", _CLOEXEC)
    try:
        pairs = [("lowerdir+", os.fsencode(p)) for p in lowers]
        pairs += [("upperdir", os.fsencode(upper)), ("workdir", os.fsencode(work))]
        for option in options:
            name, equals, value = option.partition("=")
            if equals:
                pairs.append((name, value.encode()))
            else:
                _call(f"overlay option {name}", _FSCONFIG, fs, _SET_FLAG, name.encode(), None, 0)
        for name, raw in pairs:
            _call(f"overlay option {name}", _FSCONFIG, fs, _SET_STRING, name.encode(), raw, 0)
        _call("overlay", _FSCONFIG, fs, _CREATE, None, None, 0)
        made = _call("fsmount", _FSMOUNT, fs, _CLOEXEC, 0)
    finally:
        os.close(fs)
    try:
        _call(str(target), _MOVE_MOUNT, made, b"", _HERE, os.fsencode(target), _EMPTY_PATH)
    finally:
        os.close(made)


def _by_page(lowers: Sequence[Path], upper: Path, work: Path, target: Path, options: Sequence[str]) -> None:
    """mount(2), with short names of the lowers beside the target."""
    links = target.parent / "l"
    links.mkdir(exist_ok=True)
    names = []
    for n, lower in enumerate(lowers):
        link = links / f"{n:x}"
        link.unlink(missing_ok=True)
        link.symlink_to(lower)
        names.append(_escaped(link))
    data = f"lowerdir={':'.join(names)},upperdir={_escaped(upper)},workdir={_escaped(work)}"
    data = ",".join([data, *options])
    if len(os.fsencode(data)) > _PAGE:
        raise OSError(errno.E2BIG, f"{len(lowers)} layers need a kernel of version 6.5 or later", str(target))
    mount("overlay", str(target), "overlay", 0, data)


def _escaped(path: Path) -> str:
    text = str(path)
    for special in "\\:,":
        text = text.replace(special, f"\\{special}")
    return text
