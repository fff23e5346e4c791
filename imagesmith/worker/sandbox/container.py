"""Whether this process is in a container, which keeps in what a chroot does not.

Why: behind a chroot a step is kept from the machine by the container around it, or by nothing. So `auto`
takes a chroot only where something shows that there is a container; `doctor` tells what it was.
Each fact is one that a runtime sets up, not one that lies on a disk alone: file systems of images are booted
as machines, and entered by chroot, with all the marker files that they have.

    mountinfo   a runtime mounts /etc/hosts and its like from a folder of the container's or the pod's
    cgroup      the process is in a group that is named after a container, a pod or LXC
    pid 1       says `container=` in its environment, as podman, LXC and nspawn have it
    markers     /.dockerenv, /run/.containerenv, /run/systemd/container, the variables of a pod: where the
                process is in a pid namespace of its own, too

What is not recognised is a machine: there `--isolation chroot` has to be said.
Spec: systemd's detect_container for pid 1 and the markers; pid_namespaces(7).
Trust: root of the machine, or of the container, made all that is looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["container"]

#: The number that the kernel gives the first pid namespace (PROC_PID_INIT_INO).
_FIRST = "pid:[4026531836]"
_MARKERS = (".dockerenv", "run/.containerenv", "run/systemd/container")
#: What a runtime mounts from the container's own folder on the machine.
_MOUNTED = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log", "/run/.containerenv")
_ID = r"[0-9a-f]{64}"
_SOURCE = re.compile(rf"{_ID}|/pods/[0-9a-f-]{{32,}}/")
_GROUP = re.compile(rf"(?:^|[/:.-]){_ID}(?:\.scope)?(?:/|$)|/kubepods|/lxc[./]")


def container(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> str:
    """What shows that this process is in a container, in a few words; '' if nothing does."""
    proc = root / "proc"
    for line in _lines(proc / "self/mountinfo"):
        fields = line.split(" ")
        if len(fields) > 4 and fields[4] in _MOUNTED and _SOURCE.search(fields[3]):
            return f"a runtime has mounted {fields[4]}"
    for line in _lines(proc / "self/cgroup"):
        group = line.split(":", 2)[-1]
        if _GROUP.search(group):
            return f"its cgroup is {group}"
    for word in _text(proc / "1/environ").split("\0"):
        name, _, value = word.partition("=")
        if name == "container" and value:
            return f"pid 1 says container={value}"
    try:
        if os.readlink(proc / "self/ns/pid") == _FIRST:
            return ""
    except OSError:
        return ""
    found = next((f"/{name}" for name in _MARKERS if (root / name).exists()), "")
    if found:
        return f"{found} is there"
    return "it has the variables of a pod" if environ.get("KUBERNETES_SERVICE_HOST") else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # no /proc, or a process that may not be looked at
        return ""


def _lines(path: Path) -> list[str]:
    return _text(path).splitlines()
