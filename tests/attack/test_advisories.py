"""What went wrong in other builders and runtimes, tried here: each test is named after the advisory.

SECURITY.md has the list, with those that need no test because what they attack does not exist here.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kitchen import Kitchen, kitchen
from tests.support import IMAGESMITH, need_program

__all__ = ["kitchen"]
pytestmark = pytest.mark.slow

_BASE = 'FROM scratch AS base\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
_CANARY = "canary-of-the-machine"

Attack = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that the module's builds share, so that the base is made once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file outside of everything that a build may touch."""
    path = tmp_path / "outside" / "canary"
    path.parent.mkdir()
    path.write_text(_CANARY)
    return path


@pytest.fixture(params=["auto", "chroot"])
def attack(request: pytest.FixtureRequest, store: Path, tmp_path: Path) -> Attack:
    """Build with a hostile Dockerfile, in the best isolation and in the weakest."""
    if request.param == "chroot" and os.geteuid():
        pytest.skip("needs root")
    context = tmp_path / "context"
    context.mkdir()
    (context / "busybox").write_bytes(Path(need_program("busybox")).read_bytes())
    (context / "busybox").chmod(0o755)
    os.utime(context / "busybox", (1, 1))

    def run(text: str, *flags: str) -> subprocess.CompletedProcess[str]:
        (context / "Dockerfile").write_text(f"{_BASE}FROM base AS evil\n{text}")
        words = ["build", "--progress", "plain", "--no-cache-filter", "none", "--root", str(store)]
        return subprocess.run(
            [*IMAGESMITH, *words, "--isolation", request.param, *flags, str(context)],
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    return run


def test_cve_2024_21626_no_working_folder_is_a_descriptor_that_leaked(attack: Attack, canary: Path) -> None:
    outside = f"{'../' * 30}{str(canary).lstrip('/')}"
    for fd in (3, 4, 5, 6, 7, 8, 9, 10):
        done = attack(f"WORKDIR /proc/self/fd/{fd}\nRUN cat {outside} {fd}; true\n")
        assert _CANARY not in done.stderr + done.stdout
    done = attack(f"RUN for fd in /proc/self/fd/*; do cat $fd/{outside}; ls -d $fd/proc/1/root; done; true\n")
    assert _CANARY not in done.stderr + done.stdout


@pytest.mark.parametrize("kind", ["tmpfs", "bind,source=busybox"])
def test_cve_2024_23652_what_was_made_for_a_mount_is_removed_inside_only(
    attack: Attack, canary: Path, kind: str
) -> None:
    away = str(canary.parent)
    attack(
        f"RUN --mount=type={kind},target=/m/n/canary cd /; umount /m/n/canary 2>/dev/null; mv /m/n /gone;"
        f" rm -rf /m/n; ln -s {away} /m/n; mv /m /m2; ln -s {away} /m; true\n"
    )
    attack(f"RUN --mount=type={kind},target=/{canary.name} true\nRUN ln -s {away} /o; true\n")
    attack(f"RUN ln -s {away} /o\nRUN --mount=type={kind},target=/o/canary true\n")
    attack(f"RUN ln -s {'../' * 20}{away} /o\nRUN --mount=type={kind},target=/o/new/deep true\n")
    assert canary.read_text() == _CANARY
    assert [p.name for p in canary.parent.iterdir()] == ["canary"]


def test_cve_2024_23653_no_step_is_privileged_unless_the_user_says_so(attack: Attack) -> None:
    done = attack("RUN --security=insecure cat /proc/self/status\n")
    assert done.returncode == 3, done.stderr
    assert "security.insecure" in done.stderr


def test_frontends_are_never_run(attack: Attack, tmp_path: Path) -> None:
    """CVE-2024-23650, CVE-2026-33747, GHSA-7236-3392-c5c6, GHSA-qx3x-mv6r-52p6: all of hostile frontends."""
    context = tmp_path / "context"
    (context / "D").write_text("# syntax=127.0.0.1:1/evil/frontend:latest\nFROM scratch\nCOPY D /\n")
    done = attack("RUN true\n", "-f", str(context / "D"), "--build-arg", "BUILDKIT_SYNTAX=127.0.0.1:1/evil")
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1:1" not in done.stderr


def test_ghsa_32pv_7hq5_qhwq_no_file_operation_removes_what_is_outside(attack: Attack, canary: Path) -> None:
    away = str(canary.parent)
    attack(
        f"RUN ln -s {away} /l && ln -s / /r && ln -s {'../' * 20}tmp /t\n"
        f"COPY busybox /l/canary\nCOPY busybox /r{canary}\nCOPY busybox /t/\nADD busybox /l/sub/../canary\n"
        f"WORKDIR /l\nWORKDIR /r/{away}/made\nRUN rm -rf /l/* /r{away}/*; true\n"
    )
    assert canary.read_text() == _CANARY
    assert [p.name for p in canary.parent.iterdir()] == ["canary"]


def test_cve_2025_31133_no_mask_is_made_of_what_the_image_calls_dev_null(attack: Attack) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    done = attack(
        "RUN mkdir /d && ln -s /proc/sys/kernel/core_pattern /d/null\nFROM base\n"
        "RUN --mount=type=bind,from=evil,source=/d,target=/dev,rw for f in kcore keys timer_list; do"
        " echo \"$f is <$(head -c 100 /proc/$f)>\"; echo '|/evil' > /proc/$f; done; true\n"
    )
    assert done.returncode == 0, done.stderr
    assert f"is <{before.strip()}>" not in done.stderr
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_cve_2025_52881_kernel_settings_stay_as_they_are(attack: Attack) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    attack(
        "RUN echo '|/evil' > /proc/sys/kernel/core_pattern; echo b > /proc/sysrq-trigger;"
        " mkdir /p; mount -t proc proc /p; echo '|/evil' > /p/sys/kernel/core_pattern; true\n"
    )
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_cve_2024_45310_targets_are_made_inside_the_root(attack: Attack, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    attack(
        f"RUN mkdir /a && ln -s {away} /a/b\nRUN --mount=type=cache,target=/a/b/c/d touch /a/b/c/d/x; true\n"
    )
    assert list(away.iterdir()) == []


def test_cve_2024_24557_an_image_that_was_pulled_is_no_cache(kitchen: Kitchen) -> None:
    kitchen.write({"a": "1", "b": "2"})
    first = kitchen.build("FROM scratch\nLABEL x=1\nCOPY a /\nHEALTHCHECK CMD a\n", tags=["local/app:1"])
    other = kitchen.build("FROM scratch\nLABEL x=1\nCOPY a /\nHEALTHCHECK CMD b\n", tags=["local/app:2"])
    assert first.image_id != other.image_id
    kitchen.write({"a": "3"})
    assert kitchen.build("FROM scratch\nLABEL x=1\nCOPY a /\n").image.layers[0].diff_id != (
        first.image.layers[0].diff_id
    )
