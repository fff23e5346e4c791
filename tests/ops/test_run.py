"""RUN and its mounts, through whole builds of a busybox image."""

from __future__ import annotations

import os
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.ops.conftest import BASE, Build, command
from tests.support import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.everyone]


def test_environment_is_the_image_s_and_home(build: Build) -> None:
    built = build("ENV A=1\nRUN env | grep -v -E '^(PWD|SHLVL|_)=' | sort > /env\n", env={"LEAK": "x"})
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert built.files["env"].decode().split() == ["A=1", "HOME=/", path]


def test_root_has_the_image_s_groups_and_home(build: Build) -> None:
    lines = [
        "RUN mkdir -p /etc && echo root:x:0:0::/r: >/etc/passwd && echo w:x:10:v,root >/etc/group",
        "ENV HOME=",
        *(
            f"USER {user}\nRUN id -G >> /groups; echo $HOME >> /home"
            for user in ("root", "0", "0:0", "root:w")
        ),
    ]
    files = build("\n".join([lines[0], "RUN id -G > /groups", *lines[1:]]) + "\n").files
    assert files["groups"].decode().splitlines() == ["0 10", "0 10", "0 10", "0", "10"]
    assert files["home"].decode().split() == ["/r"] * 4


def test_proxies_of_the_command_line_count_over_env_and_arg_and_empty_ones_do_not(build: Build) -> None:
    text = "ENV http_proxy=e NO_PROXY=e\nARG https_proxy=a\nRUN env | grep -i _proxy | sort > /env\n"
    given = {"HTTP_PROXY": "p", "https_proxy": "q", "no_proxy": "", "ALL_PROXY": ""}
    built = build(text, *(f"--build-arg={k}={v}" for k, v in given.items()))
    want = ["HTTPS_PROXY=q", "HTTP_PROXY=p", "NO_PROXY=e", "http_proxy=p", "https_proxy=q"]
    assert sorted(built.files["env"].decode().split()) == want


@pytest.mark.parametrize(
    ("opening", "body"),
    [
        ("<<EOF", "#!/bin/sh -e\n{}EOF\n"),
        ("<<'EOF'", "#! /bin/sh -e\n{}EOF\n"),
        ("<<-EOF", "\t#!/bin/sh -e\n\t{}\tEOF\n"),
        ('<<-"EOF"', "\t\t#!\t/bin/sh -e\n{}EOF\n"),
        ("<< EOF", "#!/bin/sh -e\n{}EOF\n"),
        ("<<- EOF", "\t#!/bin/sh -e\n{}EOF\n"),
        ("7<<EOF", "#!/bin/sh -e\n{}EOF\n"),
        ("--network=none <<-EOF", "\t#!/bin/sh -e\n{}EOF\n"),
        ("<<-E\\\nOF", "\t#!/bin/sh -e\n{}EOF\n"),
    ],
)
def test_a_script_that_names_its_interpreter_is_run_by_it(build: Build, opening: str, body: str) -> None:
    built = build(f"RUN {opening}\n" + body.format("echo $- $0 > /out\n"))
    assert built.files["out"] == b"e /dev/pipes/EOF\n"


@pytest.mark.parametrize("body", [" #!/bin/sh -e\n", "\n#!/bin/sh -e\n", "\t#!/bin/sh -e\n"])
def test_a_script_that_begins_with_anything_else_is_given_to_the_shell(build: Build, body: str) -> None:
    assert build(f"RUN <<EOF\n{body}echo $0 > /out\nEOF\n").files["out"] == b"/bin/sh\n"


def test_failure_names_the_process_its_status_and_what_it_said(build: Build) -> None:
    built = build("RUN echo why >&2; exit 3\n")
    assert built.status == 4
    assert (
        'process "/bin/sh -c echo why >&2; exit 3" did not complete successfully: exit code: 3' in built.said
    )
    assert " why\n" in built.said


def test_what_an_isolation_does_not_hold_is_told_where_a_step_may_have_failed_by_it(build: Build) -> None:
    isolation = ("--isolation", "chroot") if os.geteuid() == 0 else ()
    built = build("RUN echo 'chown: x: Operation not permitted' >&2; exit 1\n", *isolation)
    assert built.status == 4
    weaker = "WARN: RUN " in built.said  # a user with lent ids has all that root has
    assert ("hint: it may be that " in built.said) is weaker
    assert "hint: it may be that " not in build("RUN echo no such luck; exit 1\n", *isolation).said


def test_program_that_is_not_there_is_the_failure_s_reason(build: Build) -> None:
    built = build('RUN ["nowhere", "x"]\n')
    assert built.status == 4
    reason = 'exec: "nowhere": executable file not found in $PATH'
    assert f'process "nowhere x" did not complete successfully: {reason}' in built.said


def test_user_that_is_not_there_is_the_failure_s_reason(build: Build) -> None:
    built = build("USER nobody-here\nRUN true\n")
    assert built.status == 4
    assert "unable to find user nobody-here: no matching entries in passwd file" in built.said


def test_program_of_another_machine_names_the_emulator(build: Build, context: Path) -> None:
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x15\x00\x01\x00\x00\x00" + bytes(40)  # ppc64
    (context / "foreign").write_bytes(header)
    (context / "foreign").chmod(0o755)
    dockerfile = 'FROM scratch\nCOPY foreign /foreign\nRUN ["/foreign"]\n'
    built = build(dockerfile)
    assert built.status == 4
    assert "exec format error" in built.said
    built = build(dockerfile, "--platform", "linux/sparc64")
    assert built.status == 9
    assert "qemu-user-static" in built.said


def test_interrupted_build_ends_its_step(store: Path, context: Path, build: Build) -> None:
    nap = f"33000.{int.from_bytes(os.urandom(5), 'big')}"
    assert build("RUN true\n").status == 0
    (context / "Dockerfile").write_text(f"{BASE}RUN echo up; sleep {nap}\n")
    process = subprocess.Popen(
        command(store, context), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=PROJECT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.rstrip().endswith(" up"):
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait() == 130
    assert "Traceback" not in rest
    while _running(nap):
        time.sleep(0.01)


@pytest.mark.parametrize("isolation", ["native", "chroot", "oci"])
def test_step_that_takes_too_long_is_stopped_with_all_it_started(build: Build, isolation: str) -> None:
    nap = f"33000.{int.from_bytes(os.urandom(5), 'big')}"
    step = f"setsid sleep {nap} & sleep {nap}"
    if build("RUN true\n", "--isolation", isolation).status == 9:  # and cached: a busy machine takes long
        pytest.skip(f"no {isolation} here")
    built = build(f"RUN true\nRUN {step}\n", "--step-timeout", "500ms", "--isolation", isolation)
    assert built.status == 4
    reason = "did not complete successfully: it took longer than 500ms and was stopped"
    assert f'error: process "/bin/sh -c {step}" {reason}\n' in built.said
    assert "\nDockerfile:5\n" in built.said
    assert not _running(nap)


def test_time_limit_is_no_part_of_what_a_step_is_known_by(build: Build) -> None:
    assert build("RUN echo limited > /out\n").status == 0
    built = build("RUN echo limited > /out\n", "--step-timeout", "1ns")
    assert (built.status, built.files["out"]) == (0, b"limited\n")


def _running(word: str) -> bool:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def _owners(tmp_path: Path) -> dict[str, tuple[int, int]]:
    """Whose the files are that a build left."""
    with tarfile.open(tmp_path / "out.tar") as tar:
        return {member.name.strip("./"): (member.uid, member.gid) for member in tar}


def test_owners_above_the_ids_that_are_lent_are_seen_changed_and_kept(build: Build, tmp_path: Path) -> None:
    text = """
        FROM base AS first
        COPY --chown=3000000:2000000000 busybox /k/a
        COPY --chown=3000000:5 busybox /k/b
        RUN stat -c %u:%g /k/a /k/b >/seen; chown 7 /k/a; stat -c %u:%g /k/a >>/seen; chown :8 /k/a
        RUN stat -c %u:%g /k/a >>/seen; ln -s b /k/l; chown -h 70000:9 /k/l; mkdir -m 1777 /tmp; \\
            chown -h :4294967294 /k/l; stat -c %u:%g /k/l >>/seen
        RUN mv /k/l /k/m; mv /k/b /k/c; touch /k/d; chown 65536:65537 /k/d; chown 0:0 /k/d
        USER 100000:200000
        RUN id -u >/tmp/seen; id -g >>/tmp/seen; mkdir /tmp/d; >/tmp/d/f; rm /k/c || >/tmp/refused
        FROM base
        COPY --from=first /k /k
        COPY --from=first /seen /first
        COPY --from=first /tmp /
    """
    files = build(text.replace("\n        ", "\n")).files
    assert files["first"].decode().split() == [
        "3000000:2000000000", "3000000:5", "7:2000000000", "7:8", "70000:4294967294",
    ]  # fmt: skip
    assert files["seen"].decode().split() == ["100000", "200000"]
    owners = _owners(tmp_path)
    assert owners["k/c"] == (3_000_000, 5)
    assert owners["k/a"] == (7, 8)
    assert owners["k/m"] == (70_000, 4_294_967_294)
    assert owners["k/d"] == (0, 0)
    assert owners["d"] == owners["d/f"] == owners["refused"] == (100_000, 200_000)


def test_owners_above_the_ids_that_are_lent_come_from_words_that_nobody_saw(
    build: Build, tmp_path: Path
) -> None:
    text = """
        RUN n=999; touch /a /b /c /d; chown ${n}99:5 /a /b /c; chown 6 /b; chown :${n}98 /c
        RUN n=655; chown ${n}36 /d
        RUN stat -c %u:%g /a /b /c /d >/seen
    """
    seen = build(text.replace("\n        ", "\n")).files["seen"].decode().split()
    assert seen == ["99999:5", "6:5", "99999:99998", "65536:0"]
    owners = _owners(tmp_path)
    assert [owners[name] for name in "abcd"] == [(99999, 5), (6, 5), (99999, 99998), (65536, 0)]


def test_only_root_gives_files_owners_above_the_ids_that_are_lent(build: Build) -> None:
    text = "RUN mkdir -m 1777 /tmp\nUSER 9:9\nRUN n=999; >/tmp/f; chown ${n}99 /tmp/f 2>/tmp/said || true\n"
    assert b"not permitted" in build(text).files["tmp/said"]
