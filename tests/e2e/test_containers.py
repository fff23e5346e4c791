"""Builds in real containers of Podman's default kind give what the machine gives, whoever builds there.

A container's root is made of the machine's /usr and of the checkout, both read-only, so that no image is
needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagesmith.worker.sandbox.ociruntime import _seccomp
from tests.e2e.conftest import DEMO
from tests.e2e.test_same_everywhere import EPOCH, digest
from tests.support import IMAGESMITH, PROJECT, need_program, need_root

pytestmark = pytest.mark.slow

#: Who builds: podman's flags.
WHO = {
    "root": [],
    "a user": ["--user", "1000:1000"],
    "an id that has no name and no home": ["--user", "4242:4242", "--env", "HOME="],
    "an id of the group of root, at home in /": ["--user", "1000620000:0", "--env", "HOME=/"],
    "a user with no capability to gain": [
        "--user", "1000:1000", "--cap-drop", "all", "--security-opt", "no-new-privileges",
    ],
    "a user on a read-only root": ["--user", "1000:1000", "--read-only", "--tmpfs", "/tmp:mode=1777"],
    "root that may map users and no groups": ["--cap-drop", "SETGID"],
    "root on a read-only root": ["--read-only", "--tmpfs", "/tmp:mode=1777"],
}  # fmt: skip


@contextmanager
def empty_root() -> Iterator[Path]:
    """A folder to be a container's root."""
    with tempfile.TemporaryDirectory(prefix="imagesmith-root-", dir="/tmp") as place:
        folder = Path(place)
        folder.chmod(0o755)
        for name in ("bin", "sbin", "lib", "lib64"):
            if Path("/", name).is_symlink():
                (folder / name).symlink_to(os.readlink(f"/{name}"))
        for name in ("etc", "usr", "var", "root", "home", "run", "proc", "sys", "dev"):
            (folder / name).mkdir()
        (folder / "tmp").mkdir()
        (folder / "tmp").chmod(0o1777)
        (folder / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        yield folder


@pytest.fixture
def root() -> Iterator[Path]:
    need_root()
    need_program("podman")
    with empty_root() as folder:
        yield folder


def seen(shown: list[Path]) -> list[str]:
    """The flags by which a container sees the machine's programs, the checkout and more."""
    paths = dict.fromkeys(["/usr", str(PROJECT), sys.prefix, sys.base_prefix, *map(str, shown)])
    volumes = [word for path in paths for word in ("--volume", f"{path}:{path}:ro")]
    return [
        *volumes,
        "--workdir",
        "/",
        "--env",
        f"SOURCE_DATE_EPOCH={EPOCH}",
        "--env",
        f"PYTHONPATH={PROJECT}",
    ]


def podman(root: Path, shown: list[Path], flags: list[str]) -> list[str]:
    """What is put before a command to run it in a container of Podman's default kind."""
    runtime = need_program("runc")  # crun refuses machines with both kinds of cgroups
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]  # the defaults may be above ours
    return [
        need_program("podman"), "run", "--rm", "--runtime", runtime, *limits, "--network", "none",
        *seen(shown), *flags, "--rootfs", str(root),
    ]  # fmt: skip


def contained(root: Path, shown: list[Path], flags: list[str], words: list[str]) -> tuple[int, str]:
    """The status and the last words of a command in such a container."""
    done = subprocess.run(
        [*podman(root, shown, flags), *words], capture_output=True, text=True, stdin=subprocess.DEVNULL,
        cwd=root,  # conmon leaves a file there where memory ran out
    )  # fmt: skip
    return done.returncode, done.stderr


def command(base: Path) -> list[str]:
    """The build of the demo's app, whose result is a file in /tmp."""
    return [
        *IMAGESMITH, "build", "--build-context", f"base=oci-layout://{base}", "-o",
        "type=oci,dest=/tmp/image.tar,rewrite-timestamp=true", str(DEMO / "app"),
    ]  # fmt: skip


@pytest.mark.parametrize("who", WHO)
def test_a_container_makes_what_the_machine_makes(
    root: Path, base_image: Path, tmp_path: Path, who: str
) -> None:
    status, said = contained(root, [base_image], WHO[who], command(base_image))
    assert status == 0, said
    assert contained(root, [], WHO[who], [*IMAGESMITH, "doctor"])[0] == 0
    assert said.strip().splitlines()[-1] == digest(DEMO / "app", base_image, tmp_path)


#: Pods, as Podman imitates them: its flags.
LENT = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"]
IN_A_POD = ["--env", "KUBERNETES_SERVICE_HOST=10.0.0.1"]
CRIO = [
    "--cap-drop", "all",
    "--cap-add", "CHOWN,DAC_OVERRIDE,FSETID,FOWNER,SETGID,SETUID,SETPCAP,NET_BIND_SERVICE,KILL",
]  # fmt: skip


def refusing_mounts(folder: Path) -> list[str]:
    """The flags of a container that refuses mounts as AppArmor does: by EACCES."""
    calls = {"names": ["mount", "move_mount", "mount_setattr", "fsmount"], "action": "SCMP_ACT_ERRNO"}
    profile = folder / "eacces.json"
    profile.write_text(
        json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**calls, "errnoRet": 13}]})
    )
    return ["--security-opt", f"seccomp={profile}"]


@pytest.fixture
def docker(tmp_path: Path) -> list[str]:
    """The flags that make a container of Docker's default kind: its filter and its capabilities."""
    profile = tmp_path / "seccomp.json"
    profile.write_text(json.dumps(_seccomp()))
    return ["--security-opt", f"seccomp={profile}", "--cap-add", "AUDIT_WRITE,MKNOD,NET_RAW"]


@pytest.mark.parametrize("dropped", ["", "SETPCAP", "KILL", "SETFCAP", "NET_BIND_SERVICE,FSETID"])
def test_a_container_of_docker_s_takes_what_there_is(
    root: Path, base_image: Path, tmp_path: Path, docker: list[str], dropped: str
) -> None:
    flags = [*docker, *(["--cap-drop", dropped] if dropped else [])]
    status, said = contained(root, [base_image], flags, command(base_image))
    assert status == 0, said
    assert "WARN: RUN is kept apart by a chroot only" in said
    for name in {"KILL", "SETFCAP", "NET_BIND_SERVICE", "FSETID"} & set(dropped.split(",")):
        assert f"CAP_{name}" in said
    assert said.strip().splitlines()[-1] == digest(DEMO / "app", base_image, tmp_path)


def test_a_user_in_a_container_of_docker_s_is_told_what_to_ask_for(
    root: Path, base_image: Path, docker: list[str]
) -> None:
    flags = [*docker, "--user", "1000:1000"]
    status, said = contained(root, [base_image], flags, command(base_image))
    assert status == 9, said
    assert "hint: run the container as root, or with --security-opt seccomp=unconfined" in said


def test_root_that_can_gain_nothing_is_told_to_be_someone_else(root: Path, base_image: Path) -> None:
    status, said = contained(root, [base_image], ["--cap-drop", "all"], command(base_image))
    assert status == 9, said
    assert "error: RUN cannot be executed here: " in said
    assert "hint: run the container with --user 1000" in said
    pod = ["--cap-drop", "all", "--env", "KUBERNETES_SERVICE_HOST=10.0.0.1"]
    assert "securityContext: runAsUser: 1000" in contained(root, [base_image], pod, command(base_image))[1]


def test_root_with_the_capabilities_of_cri_o_is_told_to_be_someone_else(root: Path, base_image: Path) -> None:
    flags = [*CRIO, "--security-opt", "seccomp=unconfined", *IN_A_POD]
    status, said = contained(root, [base_image], flags, command(base_image))
    assert status == 9, said
    assert "hint: in the container's securityContext: runAsUser: 1000\n" in said


def test_refused_mounts_are_told_from_refused_namespaces(
    root: Path, base_image: Path, tmp_path: Path
) -> None:
    refusing = refusing_mounts(tmp_path)
    status, said = contained(root, [base_image], ["--user", "1000", *refusing], command(base_image))
    assert status == 9, said
    assert "mounts are refused in a user namespace (/: permission denied)" in said


def test_root_of_a_user_namespace_behind_a_filter_has_devices_for_all(
    root: Path, tmp_path: Path, docker: list[str]
) -> None:
    """The pod with hostUsers: false and seccomp RuntimeDefault."""
    (tmp_path / "busybox").write_bytes(Path(need_program("busybox")).read_bytes())
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch\nCOPY --chmod=755 busybox /bin/sh\nCOPY --chmod=755 busybox /bin/wc\nUSER 1234\n"
        "RUN echo x > /dev/null && wc -c < /dev/null\n"
    )
    subprocess.run(["chown", "-R", "-h", "100000:100000", root, tmp_path], check=True)
    words = [*IMAGESMITH, "build", "-o", "type=oci,dest=/tmp/image.tar", str(tmp_path)]
    status, said = contained(root, [tmp_path], [*LENT, *docker], words)
    assert status == 0, said
    assert "WARN: RUN is kept apart by a chroot only" in said


def test_container_s_limits_are_kept_to_and_told(root: Path, tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(Path(need_program("busybox")).read_bytes())
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\nCOPY --chmod=755 busybox /bin/sh\n"
        "RUN /bin/busybox tail -c 200000000 /dev/zero; exit 3\n"
    )
    flags = ["--memory", "96m", "--cpus", "0.5"]
    doctor = podman(root, [], flags)
    told = subprocess.run(
        [*doctor, *IMAGESMITH, "doctor"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert "limited to 0.5 processors and 96 MiB of memory" in told.stdout, told
    status, said = contained(root, [tmp_path], flags, [*IMAGESMITH, "build", str(tmp_path)])
    assert status == 4, said
    assert "code: 3: killed for want of memory: the limit of 96 MiB of this container was reached" in said
    assert "hint: it needs a larger --memory of the container" in said
