"""What would make RUN possible here, or better: one line, in the words of where this process is.

Why apart from world.py: who is refused something wants to know what to write, and where. A pod has a
securityContext, Docker and Podman have flags, a machine has settings. What is so already is never advised.
Trust: root of the machine, or of the container, made all that is looked at.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence

from imagesmith.worker.sandbox.container import container
from imagesmith.worker.sandbox.kernel import permitted
from imagesmith.worker.sandbox.subids import LENDING, MAPPING, find_program, lent_range

__all__ = ["for_ids", "for_memory", "for_run", "whose_limit"]

_SETFCAP = 1 << 31
#: Settings of the kernel that keep users from namespaces: the file, what it then holds, and the remedy.
_SETTINGS = (
    ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ("user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
)
#: What is advised, by the kind of container: of a pod the fields of its securityContext, else flags of `run`.
_ADVICE = {
    "pod": {
        "user": "runAsUser: 1000", "seccomp": "seccompProfile: {type: Unconfined}",
        "apparmor": "appArmorProfile: {type: Unconfined}", "selinux": "seLinuxOptions: {type: spc_t}",
        "all": "privileged: true",
    },
    "podman": {
        "user": "--user 1000", "seccomp": "--security-opt seccomp=unconfined",
        "apparmor": "--security-opt apparmor=unconfined", "selinux": "--security-opt label=disable",
        "all": "--privileged",
    },
}  # fmt: skip
_ADVICE["docker"] = _ADVICE["podman"]
#: What brings newuidmap, by the program that installs.
_INSTALLS = {"apt": "apt install uidmap", "dnf": "dnf install shadow-utils"}
#: Where a process's label of a security module is read.
_LABELS = ("/proc/self/attr/apparmor/current", "/proc/self/attr/current")
#: What gives a step more memory, by the same.
_MEMORY = {
    "pod": "a larger resources.limits.memory of the container",
    "podman": "a larger --memory of the container",
    "docker": "a larger --memory of the container",
    "": "a larger limit of the job, service or cgroup",
}


def for_run(refused: Sequence[tuple[str, str]]) -> str:
    """What would give this process a way, or a better way, to execute RUN; see World.refused."""
    setting = _setting()
    if setting:
        return f"as root of the machine: sysctl -w {setting}"
    kind, root = _kind(), os.geteuid() == 0
    if not kind:
        if root:
            return "where all that is built is trusted with the machine: --isolation chroot"
        return "let users make user namespaces, or build as root"
    wanted = [_lacking(refused)]
    if root and not permitted() & _SETFCAP:  # nobody without it may map the id of root, not root itself
        made = not any(way == "subid" and "(unshare:" in reason for way, reason in refused)
        wanted = ["user", *([] if made else wanted)]
    said = [_ADVICE[kind][word] for word in wanted]
    if kind == "pod":
        return f"in the container's securityContext: {', '.join(said)}"
    also = "" if root else "as root, or "
    return f"run the container {also}with {' '.join(said)}"


def whose_limit() -> str:
    """Whose limits of memory the process is under, in words."""
    return {"pod": "this pod", "": "this process's cgroup"}.get(_kind(), "this container")


def for_memory(told: str) -> str:
    """What would help a step that was killed for want of memory, by what quotas.OutOfMemory told."""
    more = "a machine with more memory"
    if " of the step " in told:
        more = "a larger --memory, or limit of its --cgroup-parent"
    elif " MiB of " in told:
        more = _MEMORY[_kind()]
    return f"it needs {more}, or to do less at once (make -j with a smaller number)"


def for_ids(user: int) -> str:
    """What would give the user with the id more than that one."""
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        return "build as a user that /etc/passwd has, to whom /etc/subuid and /etc/subgid lend ids"
    lend = f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
    there = all(lent_range(path, name, user) for path in LENDING)
    installed = all(map(find_program, MAPPING))
    get = next((words for name, words in _INSTALLS.items() if find_program(name)), "")
    steps = [*([] if installed else [get]), *([] if there else [lend])]
    if installed or get:
        return f"as root: {' && '.join(steps)}" if steps else ""
    return ", and ".join(["as root: install newuidmap (package uidmap or shadow-utils)", *steps[1:]])


def _lacking(refused: Sequence[tuple[str, str]]) -> str:
    """What keeps this process from namespaces: a filter, a profile, or something else."""
    denied = any("permission denied" in reason for _, reason in refused)  # a filter says: not permitted
    module = _module()
    if denied and module:
        return module
    if _status("Seccomp") not in ("", "0"):
        return "seccomp"
    return module or "all"


def _kind() -> str:
    """What kind of container this is; '' for none."""
    found = container()
    if not found:
        return ""
    if os.environ.get("KUBERNETES_SERVICE_HOST") or "kubepods" in found:
        return "pod"
    return "podman" if "containerenv" in found or "podman" in found else "docker"


def _setting() -> str:
    for path, bad, setting in _SETTINGS:
        try:
            with open(f"/proc/sys/{path}", encoding="ascii") as f:
                if f.read().strip() == bad:
                    return setting
        except OSError:
            continue
    return ""


def _module() -> str:
    """The security module that holds this process: apparmor, selinux or ''."""
    for path in _LABELS:
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                name = f.read().strip("\0\n ")
        except OSError:
            continue
        if name.count(":") >= 3:  # user:role:type:level
            return "" if name.split(":")[2] in ("unconfined_t", "spc_t") else "selinux"
        return "apparmor" if name and not name.startswith("unconfined") else ""
    return ""


def _status(name: str) -> str:
    """A field of /proc/self/status."""
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as f:
            return next((line.split(":", 1)[1].strip() for line in f if line.startswith(f"{name}:")), "")
    except OSError:
        return ""
