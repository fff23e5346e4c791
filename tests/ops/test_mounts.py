"""RUN --mount: bind, tmpfs, secret and ssh, through whole builds; caches have a file in tests/worker."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ops.conftest import Build
from tests.support import need_program

pytestmark = [pytest.mark.slow, pytest.mark.everyone]


def test_of_two_mounts_at_one_place_the_last_one_counts(build: Build, context: Path) -> None:
    (context / "a").write_text("a")
    (context / "b").write_text("b")
    built = build("RUN --mount=source=a,target=/m --mount=source=b,target=/m cat /m > /out\n")
    assert built.files["out"] == b"b"


def test_secret_is_neither_in_the_image_nor_in_the_store(build: Build, store: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame-4711")
    built = build(
        "RUN --mount=type=secret,id=s wc -c < /run/secrets/s > /out\n",
        "--secret",
        f"id=s,src={tmp_path}/secret",
    )
    assert built.files["out"].strip() == b"11"
    assert not any(name.startswith("run") for name in built.files)
    found = subprocess.run(
        ["grep", "-rl", "sesame-4711", str(store)], capture_output=True, text=True, check=False
    )
    assert found.stdout == ""


def test_secret_that_is_too_big_is_refused(build: Build, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(513_000))
    built = build("RUN --mount=type=secret,id=s true\n", "--secret", f"id=s,src={tmp_path}/secret")
    assert built.status != 0
    assert "secret s too big. max size 500KB" in built.said


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """The socket of an agent that never says anything."""
    path = Path("/tmp") / f"ism-test-{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path
    path.unlink()


def test_agent_is_reached_through_a_socket_of_the_step(build: Build, agent: Path) -> None:
    tell = 'stat -c "%F %a" "$SSH_AUTH_SOCK" > /out; echo "$SSH_AUTH_SOCK" >> /out'
    built = build(f"RUN --mount=type=ssh,mode=0640 {tell}\n", "--ssh", f"default={agent}")
    assert built.files["out"].decode().splitlines() == ["socket 640", "/run/buildkit/ssh_agent.0"]


def test_agent_that_is_required_and_missing_is_named(build: Build) -> None:
    built = build("RUN --mount=type=ssh,id=mine,required true\n")
    assert 'no SSH key "mine" forwarded from the client' in built.said


def test_what_is_written_to_a_bind_is_thrown_away(build: Build, context: Path) -> None:
    (context / "d").mkdir()
    (context / "d/f").write_text("old")
    built = build(
        "FROM base AS s\nCOPY d /d\nFROM base\n"
        "RUN --mount=source=d,target=/m,rw echo new >/m/f && cat /m/f >/out\n"
        "RUN --mount=source=d,target=/m cat /m/f >>/out; echo x 2>/dev/null >/m/f || echo refused >>/out\n"
        "RUN --mount=from=s,source=/d,target=/m,rw echo new >/m/f && cat /m/f >>/out\n"
        "RUN --mount=from=s,source=/d,target=/m cat /m/f >>/out\n"
    )
    assert built.files["out"] == b"new\noldrefused\nnew\nold"
    assert (context / "d/f").read_text() == "old"


def test_files_of_a_context_are_root_s_in_a_bind_and_what_is_ignored_is_not_there(
    build: Build, context: Path
) -> None:
    (context / "f").write_text("f")
    if os.geteuid() == 0:
        os.chown(context / "f", 12, 34)
    built = build("RUN --mount=target=/m ls /m >/out && stat -c %u:%g /m/f >>/out\n")
    assert built.files["out"].decode().split() == ["busybox", "f", "0:0"]


def test_source_of_a_bind_is_found_through_links_that_stay_inside(build: Build, context: Path) -> None:
    (context / "d").mkdir()
    (context / "d/f").write_text("inside")
    (context / "l").symlink_to("/../../d")
    assert build("RUN --mount=source=l/f,target=/m cat /m >/out\n").files["out"] == b"inside"


def test_source_of_a_bind_that_is_missing_is_named_at_its_line(build: Build) -> None:
    built = build("RUN --mount=source=/no/where,target=/m true\n")
    assert built.status != 0
    assert '"/no/where": not found' in built.said
    assert "\nDockerfile:4\n" in built.said


def test_target_is_below_the_working_directory_and_ends_at_the_root(build: Build, context: Path) -> None:
    (context / "f").write_text("f")
    built = build(
        "WORKDIR /w\nRUN --mount=source=f,target=in/m cat /w/in/m >/out\n"
        "RUN --mount=source=f,target=../../../m cat /m >>/out\n"
    )
    assert built.files["out"] == b"ff"


def test_tmpfs_is_empty_as_large_as_it_says_and_leaves_nothing(build: Build) -> None:
    built = build(
        "RUN mkdir /t && echo x >/t/below\n"
        "RUN --mount=type=tmpfs,target=/t,size=1m ls -A /t >/out; echo y >/t/above; \\\n"
        "    head -c 2000000 /dev/zero >/t/big 2>/dev/null || echo full >>/out\n"
    )
    assert built.files["out"] == b"full\n"
    assert {n for n in built.files if n.startswith("t/")} == {"t/below"}


def test_secret_is_a_file_with_its_mode_and_owner_or_a_variable(build: Build, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame")
    given = ("--secret", f"id=a/s,src={tmp_path}/secret")
    built = build(
        "RUN --mount=type=secret,id=a/s stat -c '%n %a %u:%g' /run/secrets/s >/out\n"
        "RUN --mount=type=secret,id=a/s,target=/x,mode=0440,uid=5,gid=6 stat -c '%n %a %u:%g' /x >>/out\n"
        "RUN --mount=type=secret,id=a/s,env=S echo $S >>/out; test -e /run/secrets/s || echo none >>/out\n"
        "RUN --mount=type=secret,id=a/s,env=S,target=/x cat /x >>/out && echo :$S >>/out\n",
        *given,
    )
    assert built.files["out"].decode().splitlines() == [
        "/run/secrets/s 400 0:0", "/x 440 5:6", "sesame", "none", "sesame:sesame",
    ]  # fmt: skip


def test_secret_that_is_not_given_is_empty_or_an_error_if_it_is_required(build: Build) -> None:
    built = build(
        "RUN --mount=type=secret,id=s,env=S echo [$S] >/out\n"
        "RUN --mount=type=secret,id=s test -e /run/secrets/s || echo none >>/out\n"
    )
    assert built.files["out"] == b"[]\nnone\n"
    built = build("RUN --mount=type=secret,id=s,required true\n")
    assert built.status != 0
    assert "secret s: not found" in built.said
    assert "hint: give it with --secret id=s,src=FILE" in built.said


def test_agents_have_a_socket_each_and_the_variable_names_the_first(build: Build, agent: Path) -> None:
    tell = 'ls /run/buildkit >/out; test -S /x && echo x >>/out; echo "$SSH_AUTH_SOCK" >>/out'
    mounts = "--mount=type=ssh --mount=type=ssh,id=two --mount=type=ssh,target=/x"
    built = build(f"RUN {mounts} {tell}\n", "--ssh", f"default={agent}", "--ssh", f"two={agent}")
    assert built.files["out"].decode().split() == [
        "ssh_agent.0", "ssh_agent.1", "x", "/run/buildkit/ssh_agent.0",
    ]  # fmt: skip


def _with_programs(context: Path, *names: str) -> str:
    """Copy programs of the machine with their libraries into the context; returns what puts them in."""
    files = [need_program(name) for name in names]
    for name in list(files):
        said = subprocess.run(["ldd", name], capture_output=True, text=True, check=True).stdout
        files += re.findall(r"(/\S+) \(0x", said)
    for name in dict.fromkeys(files):
        at = context / "root" / name.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, at)
    return "COPY root /\nRUN echo root:x:0:0::/:/bin/sh > /etc/passwd\n"


def test_a_step_lists_the_keys_of_files_and_signs_with_them(
    build: Build, context: Path, store: Path, tmp_path: Path
) -> None:
    keygen = need_program("ssh-keygen")
    for name, kind in (("one", "ed25519"), ("two", "ecdsa")):
        subprocess.run([keygen, "-q", "-t", kind, "-N", "", "-f", tmp_path / name], check=True)
    programs = _with_programs(context, "ssh-add", "ssh-keygen")
    add, sign = need_program("ssh-add"), f"{keygen} -q -Y sign -U -n test -f /two.pub"
    built = build(
        f"{programs}RUN --mount=type=ssh,id=mine {add} -L > /out && tail -n1 /out > /two.pub"
        f" && echo said > /text && {sign} /text && ! {add} -D\n",
        "--ssh", f"mine={tmp_path / 'one'},{tmp_path / 'two'}",
    )  # fmt: skip
    assert built.status == 0, built.said
    listed = built.files["out"].decode().splitlines()
    for name, line in zip(("one", "two"), listed, strict=True):
        assert line.split()[:2] == (tmp_path / f"{name}.pub").read_text().split()[:2]
    (tmp_path / "sig").write_bytes(built.files["text.sig"])
    (tmp_path / "allowed").write_text(f"me {(tmp_path / 'two.pub').read_text()}")
    verify = [keygen, "-q", "-Y", "verify", "-f", tmp_path / "allowed", "-I", "me", "-n", "test"]
    subprocess.run([*verify, "-s", tmp_path / "sig"], input=b"said\n", check=True, capture_output=True)
    secret = (tmp_path / "one").read_text().splitlines()[2]
    found = subprocess.run(["grep", "-rl", secret, str(store)], capture_output=True, text=True, check=False)
    assert found.stdout == ""
    assert "/run/buildkit/ssh_agent.0" not in built.files


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p.write_text("x"), "it is no private key"),
        (lambda p: p.mkdir(), "is a directory"),
        (lambda p: (p.write_text("x"), p.chmod(0o644)), "others can read this key"),
    ],
)
def test_a_key_that_is_none_is_told_before_anything_is_built(
    build: Build, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    before = os.umask(0o077)
    make(tmp_path / "key")
    os.umask(before)
    built = build("RUN --mount=type=ssh true\n", "--ssh", f"default={tmp_path / 'key'}")
    assert built.status == 2
    assert built.said.startswith("error: --ssh default: ")
    assert said in built.said.splitlines()[0]
