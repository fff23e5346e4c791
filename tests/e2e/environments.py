"""A table of where RUN is executed: what `doctor` says in each place, and what a build does there.

By hand, as root, with the users and peers that CI has. Docker is asked where a daemon is reached
(DOCKER_HOST):

    python -m tests.e2e.environments [PART OF A NAME]

A place is right if doctor and the build agree, and if what was built is what root builds on the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from imagesmith.worker.sandbox.ociruntime import _seccomp
from tests.e2e.conftest import as_user, make_base, ordinary_user
from tests.e2e.test_containers import (
    CRIO,
    IN_A_POD,
    LENT,
    WHO,
    command,
    empty_root,
    podman,
    refusing_mounts,
    seen,
)
from tests.e2e.test_same_everywhere import EPOCH
from tests.support import IMAGESMITH

#: What Docker and Podman give a container, as they name it.
_CAPABILITIES = [
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
]  # fmt: skip
_IMAGE = "imagesmith-environments"
#: A shell's words that put a file system with some options where the store will be.
_MOUNTED = 'mount -t tmpfs -o {} tmpfs /mnt && export IMAGESMITH_ROOT=/mnt/store && exec "$@"'


def main() -> None:
    """Print the table; the status is 1 if a place is not right."""
    part = " ".join(sys.argv[1:])
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="imagesmith-", dir="/tmp") as place:
        Path(place).chmod(0o755)
        base = make_base(Path(place) / "base")
        subprocess.run(["chmod", "-R", "a+rX", place], check=True)
        status, _, reference = _tried([], base)
        assert status == 0, reference
        for name, before in chain(_machine(), _podman(base), _pods(base), _rootless(base), _docker(base)):
            if part in name:
                wrong += not _row(name, before, base, reference)
    sys.exit(wrong > 0)


def _row(name: str, before: list[str], base: Path, reference: str) -> bool:
    """Print a place's line; True if it is right."""
    doctor = subprocess.run(
        [*before, *IMAGESMITH, "doctor"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    said = next((row[14:] for row in doctor.stdout.splitlines() if row.startswith("RUN")), doctor.stderr)
    status, message, made = _tried(before, base)
    right = (doctor.returncode == 0) == (status == 0) and (status != 0 or made == reference)
    became = message if status else "the same" if made == reference else "DIFFERS"
    mark = " " if right else "!"
    print(f"{mark} {name:44} doctor {doctor.returncode} {said[:60]:60} build {status} {became[:160]}")
    sys.stdout.flush()
    return right


def _tried(before: list[str], base: Path) -> tuple[int, str, str]:
    """A build's status, its error, and the digest of what was built."""
    done = subprocess.run(
        [*before, *command(base), "--no-cache"], capture_output=True, text=True, stdin=subprocess.DEVNULL,
        cwd="/", env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
    )  # fmt: skip
    Path("/tmp/image.tar").unlink(missing_ok=True)
    lines = done.stderr.strip().splitlines() or [""]
    error = [line for line in lines if line.startswith(("error:", "hint:"))]
    return done.returncode, " ".join(error) or lines[-1], lines[-1]


def _machine() -> Iterator[tuple[str, list[str]]]:
    """Users of the machine, root that lacks things, and odd file systems."""
    users = {f"a user with {'lent ids' if lent else 'one id'}": ordinary_user(lent) for lent in (True, False)}
    yield "root", []
    for name, user in users.items():
        yield name, [*as_user(user), "env", f"HOME={Path('~' + user).expanduser()}"]
    setpriv = shutil.which("setpriv") or "setpriv"
    yield "root with no mknod", [setpriv, "--bounding-set", "-mknod", "--inh-caps", "-mknod"]
    yield "root with no capability", [setpriv, "--bounding-set", "-all", "--inh-caps", "-all"]
    yield "root with no new privileges", [setpriv, "--no-new-privs"]
    for options in ("noexec", "nodev", "nosuid,nodev,noexec"):
        mounted = ["unshare", "--mount", "sh", "-c", _MOUNTED.format(options), "sh"]
        yield f"root, a store on {options}", mounted
        for name, user in users.items():
            open_to_all = ["unshare", "--mount", "sh", "-c", _MOUNTED.format(f"{options},mode=1777"), "sh"]
            yield f"{name}, a store on {options}", [*open_to_all, *as_user(user), "env", "HOME=/nonexistent"]


def _podman(base: Path) -> Iterator[tuple[str, list[str]]]:
    """Podman's default container; each has a root of its own, in which it writes."""
    without = {f"root without {name}": ["--cap-drop", name] for name in _CAPABILITIES}
    for who, flags in {**WHO, "root with nothing": ["--cap-drop", "all"], **without}.items():
        with empty_root() as root:
            yield f"podman, {who}", podman(root, [base], flags)


def _pods(base: Path) -> Iterator[tuple[str, list[str]]]:
    """Kubernetes' pods as Podman imitates them: "rt" is seccomp RuntimeDefault, "unc" Unconfined.

    Those with hostUsers: false have a user namespace of their own.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        profile = Path(place) / "seccomp.json"
        profile.write_text(json.dumps(_seccomp()))
        filters = {"rt": f"seccomp={profile}", "unc": "seccomp=unconfined"}
        rt, unc = (["--security-opt", word] for word in filters.values())
        usual, user = ["--cap-add", "MKNOD,AUDIT_WRITE,NET_RAW"], ["--user", "1000"]
        nothing = ["--cap-drop", "all", "--security-opt", "no-new-privileges"]
        admin, refusing = ["--cap-add", "SYS_ADMIN"], refusing_mounts(Path(place))
        places = {
            "root": usual, "root, unc": [*usual, *unc], "root, rt": [*usual, *rt],
            "root, rt, without MKNOD": [*rt, "--cap-drop", "MKNOD"],
            "root on a read-only root": [*usual, "--read-only", "--tmpfs", "/tmp:mode=1777"],
            "1000": user, "1000, nothing, unc": [*user, *nothing, *unc],
            "1000, rt": [*user, *rt], "restricted": [*user, *nothing, *rt],
            "hostUsers: false, root, unc": [*LENT, *usual, *unc],
            "hostUsers: false, root, rt": [*LENT, *usual, *rt],
            "hostUsers: false, 1000, unc": [*LENT, *user, *unc],
            "hostUsers: false, SYS_ADMIN, rt": [*LENT, *admin, *rt],
            "SYS_ADMIN, unc": [*admin, *unc], "privileged": ["--privileged"],
            "root, nothing, unc": ["--cap-drop", "all", *unc],
            "root, nothing, rt": ["--cap-drop", "all", *rt],
            "root as CRI-O has it, unc": [*CRIO, *unc], "root as CRI-O has it, rt": [*CRIO, *rt],
            "root, mounts refused by EACCES": refusing, "1000, mounts refused by EACCES": [*user, *refusing],
        }  # fmt: skip
        for who, flags in places.items():
            with empty_root() as root:
                if LENT[0] in flags:
                    subprocess.run(["chown", "-R", "-h", "100000:100000", root], check=True)
                yield f"pod, {who}", podman(root, [base], [*flags, *IN_A_POD])


def _rootless(base: Path) -> Iterator[tuple[str, list[str]]]:
    """The same of a user with lent ids, who needs no root for it."""
    user = ordinary_user(lent=True)
    for who, flags in WHO.items():
        if "1000620000" in "".join(flags):  # above the ids that are lent
            continue
        with (
            empty_root() as root,
            tempfile.TemporaryDirectory(
                dir="/tmp", ignore_cleanup_errors=True
            ) as place,  # Podman stays in it
        ):
            for folder in (place, root, *(p for p in root.iterdir() if not p.is_symlink())):
                shutil.chown(folder, user, user)
            own = ["env", f"XDG_RUNTIME_DIR={place}", f"HOME={Path(f'~{user}').expanduser()}"]
            more = ["--ulimit", "nproc=1000:1000", "--passwd=false"]
            if "--read-only" in flags:  # runc cannot fill a tmpfs there
                more.append("--read-only-tmpfs=false")
                flags = [f"{flag},notmpcopyup" if flag.startswith("/tmp:") else flag for flag in flags]
            yield f"podman of a user, {who}", [*as_user(user), *own, *podman(root, [base], [*flags, *more])]


def _docker(base: Path) -> Iterator[tuple[str, list[str]]]:
    """Docker's default container as it is, with each capability dropped in turn, and as others."""
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        print("  docker: no daemon is reached")
        return
    with (
        empty_root() as root,
        subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar,
    ):
        subprocess.run(["docker", "import", "-", _IMAGE], stdin=tar.stdout, check=True, capture_output=True)
    before = ["docker", "run", "--rm", "--network", "none", *seen([base])]
    yield "docker, root", [*before, _IMAGE]
    for name in _CAPABILITIES:
        yield f"docker, root without {name}", [*before, "--cap-drop", name, _IMAGE]
    for who, flags in [("root with nothing", ["--cap-drop", "all"]), *list(WHO.items())[1:]]:
        yield f"docker, {who}", [*before, *flags, _IMAGE]
    unconfined = ["--security-opt", "seccomp=unconfined"]
    for who, flags in WHO.items():
        yield f"docker unconfined, {who}", [*before, *unconfined, *flags, _IMAGE]


if __name__ == "__main__":
    main()
