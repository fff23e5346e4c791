"""Lines are completed as they can go on: asked directly, and in the shells themselves, on a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.cli.completing import completions
from imagesmith.cli.completion import SCRIPTS
from imagesmith.cli.main import main
from imagesmith.plugins import COMMANDS
from tests.support import PROJECT, need_program
from tests.windows import Terminal

DOCKERFILE = """\
FROM scratch AS files
COPY <<FROM /x
from a as heredoc
FROM
FROM files \\
  as final
FROM scratch AS --push
FROM scratch AS x$(touch${IFS}owned)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a Dockerfile and a bake file, and a store with names, one of which is no name."""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "docker-bake.hcl").write_text(
        'group "all" { targets = ["app"] }\ntarget "app" {}\ntarget "--push" {}\n'
    )
    (tmp_path / "F $(touch owned)").write_text("")
    (tmp_path / "folder").mkdir()
    names = ["docker.io/library/app:1", "registry.example.com/team/tool:2", "evil$(touch owned):1", "a\nb"]
    (tmp_path / "store").mkdir()
    described = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": f"sha256:{'0' * 64}",
        "size": 1,
    }
    manifests = [{**described, "annotations": {"io.containerd.image.name": name}} for name in names]
    (tmp_path / "store/index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    monkeypatch.setenv("IMAGESMITH_ROOT", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(line: str) -> list[str]:
    """What the end of a line may be; a paths' kind is in angle brackets."""
    answer = completions([*shlex.split(line), *([""] if line.endswith(" ") else [])][1:])
    return [word for word, _ in answer.words] + ([f"<{answer.paths}>"] if answer.paths else [])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("imagesmith bui", ["build"]),
        ("imagesmith -v bui", ["build"]),
        ("imagesmith vers", ["version"]),
        ("imagesmith --ver", ["--version"]),
        ("imagesmith help cac", ["cache"]),
        ("imagesmith help cache p", ["prune"]),
        ("imagesmith cache ", ["ls", "prune", "export", "import"]),
        ("imagesmith cache prune --old", ["--older-than"]),
        ("imagesmith cache -", ["-h", "--help"]),
        ("imagesmith build --platf", ["--platform"]),
        ("imagesmith build --isolation=o", ["--isolation=oci"]),
        ("imagesmith build --isolation o", ["oci"]),
        ("imagesmith build --push --isolation na", ["native"]),
        ("imagesmith build --push --pus", []),
        ("imagesmith build --tag a --ta", ["--target", "--tag"]),
        ("imagesmith build --network h", ["host"]),
        ("imagesmith build --load=po", ["--load=podman"]),
        ("imagesmith build --shell-at fin", ["final"]),
        ("imagesmith build --platform linux/s", ["linux/s390x"]),
        ("imagesmith build --platform linux/amd64,linux/arm6", ["linux/amd64,linux/arm64"]),
        ("imagesmith build --platform=linux/s", ["--platform=linux/s390x"]),
        ("imagesmith build ", ["<dirs>"]),
        ("imagesmith build . ", []),
        ("imagesmith build -f ", ["<files>"]),
        ("imagesmith build --file=x", ["<files>"]),
        ("imagesmith build --root ", ["<dirs>"]),
        ("imagesmith build --label ", []),
        ("imagesmith build --target ", ["files", "final"]),
        ("imagesmith build -f Dockerfile --target fil", ["files"]),
        ("imagesmith build folder --target ", []),
        ("imagesmith push ", ["app:1", "registry.example.com/team/tool:2"]),
        ("imagesmith push a", ["app:1"]),
        ("imagesmith rmi app:1 reg", ["registry.example.com/team/tool:2"]),
        ("imagesmith push --root /nowhere ", []),
        ("imagesmith run app:1 ", ["<files>"]),
        ("imagesmith run app:1 ls --", ["<files>"]),
        ("imagesmith bake ", ["all", "app"]),
        ("imagesmith bake app a", ["all", "app"]),
        ("imagesmith completion ", ["bash", "zsh", "fish"]),
        ("imagesmith nothing ", []),
        ("imagesmith cache nothing ", []),
    ],
)
def test_line_goes_on_as_it_can(place: Path, line: str, expected: list[str]) -> None:
    assert words(line) == expected


def test_first_word_is_any_command(place: Path) -> None:
    assert words("imagesmith ") == [*COMMANDS, "help", "version"]
    assert words("imagesmith help ") == list(COMMANDS)


def test_flags_have_what_help_says(place: Path) -> None:
    assert dict(completions(["build", "--pul"]).words) == {"--pull": "resolve base images anew"}


def test_nothing_is_made_and_nothing_is_said(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGESMITH_ROOT", str(place / "new"))
    assert main(["completion", "zsh", "--", "push", ""]) == 0
    assert not (place / "new").exists()
    (place / "new").mkdir()
    (place / "new/index.json").write_text("{")
    for line in (
        ["push", ""],
        ["build", "-f", "/no/where", "--target", ""],
        ["bake", "-f", "no.hcl", ""],
        [],
    ):
        assert main(["completion", "fish", "--", *line]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "{" not in out


def test_pipe_keeps_nobody_waiting(place: Path) -> None:
    os.mkfifo(place / "pipe")
    assert words("imagesmith build -f pipe --target ") == []


@pytest.mark.parametrize("line", ["imagesmith build --pla", "imagesmith bui", "imagesmith cache prune --o"])
def test_answer_takes_little(place: Path, line: str) -> None:
    """A tenth of a second where no names are needed; thrice that here, on whatever machine this is."""
    command = [sys.executable, "-m", "imagesmith", "completion", "bash", "--", line]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(PROJECT)}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


# --- in shells -----------------------------------------------------------------------------------


STARTS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(imagesmith completion bash)"),
    "zsh": (["zsh", "-f", "-i"],
            "bindkey -e; autoload -U compinit; compinit -u -D; source <(imagesmith completion zsh)"),
    "fish": (["fish", "--no-config", "-i"], "imagesmith completion fish | source"),
}  # fmt: skip
#: What is typed before Tab -> the words that the shell then has.
TYPED = {
    "imagesmith cache pru": "imagesmith cache prune",
    "imagesmith build --isolation=nat": "imagesmith build --isolation=native",
    "imagesmith push app:": "imagesmith push app:1",
    "imagesmith pull registry.example.com/te": "imagesmith pull registry.example.com/team/tool:2",
    "imagesmith build --target x": "imagesmith build --target x",
    "imagesmith push evil": "imagesmith push evil",
    "imagesmith bake al": "imagesmith bake all",
    "imagesmith build --file=Dockerf": "imagesmith build --file=Dockerfile",
    "imagesmith build -f F": "imagesmith build -f F $(touch owned)",
    "imagesmith build fol": "imagesmith build folder",
}


@contextlib.contextmanager
def shell(name: str, folder: Path) -> Iterator[Terminal]:
    """A shell on a terminal that has loaded our completion; `imagesmith` on its PATH is this one."""
    need_program(name)
    (folder / "bin").mkdir()
    program = folder / "bin/imagesmith"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m imagesmith "$@"\n')
    program.chmod(0o755)
    words, load = STARTS[name]
    env = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PS1": "> ", "HOME": str(folder / "bin"),
           "PYTHONPATH": str(PROJECT), "PYTHONPYCACHEPREFIX": str(folder / "bin"),
           "PYTHONDONTWRITEBYTECODE": ""}  # fmt: skip
    with Terminal(words, 200, 50, env) as terminal:
        terminal.press(f"{load}\nprintf 'rea%s\\n' dy\n".encode())
        terminal.until(lambda lines: "ready" in lines)
        yield terminal


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_shells_complete(place: Path, name: str) -> None:
    found: dict[str, str] = {}
    with shell(name, place) as terminal:
        for number, line in enumerate(TYPED):
            # Tab, then to the line's beginning: the words are printed instead of executed
            terminal.press(f"{line}\t\x01printf '<%s>\\n' \necho end{number}\n".encode())
            terminal.until(lambda lines, end=f"end{number}": end in lines)
            shown = terminal.window.lines
            since = shown.index(f"end{number - 1}") if number else 0
            words = [text[1:-1] for text in shown[since:] if text.startswith("<")]
            found[line] = " ".join(words).removesuffix("/")
    assert found == TYPED
    assert not (place / "owned").exists()
    assert set(os.listdir(place / "store")) == {"index.json"}
