"""`imagesmith.toml` gives flags what the command line leaves open; somebody else's only what harms nobody."""

from __future__ import annotations

import argparse
import os
import re
import time
from pathlib import Path

import pytest

from imagesmith.cli.defaults import PROJECT_FLAGS, read
from imagesmith.cli.main import main
from imagesmith.cli.parser import CommandParser, Parser
from imagesmith.cli.reference import commands
from imagesmith.errors import UsageError
from imagesmith.plugins import COMMANDS, load
from tests.support import PROJECT, need_root


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a folder in it, in which commands run; users' settings are beside it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    (tmp_path / "settings/imagesmith").mkdir(parents=True)
    folder = tmp_path / "project"
    (folder / ".git").mkdir(parents=True)
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder)
    return folder


def users(folder: Path, text: str) -> None:
    (folder.parent / "settings/imagesmith/imagesmith.toml").write_text(text)


def parsed(line: str, kind: type[Parser] = CommandParser) -> argparse.Namespace:
    words = line.split()
    parser = kind(prog=f"imagesmith {words[0]}")
    load(COMMANDS[words[0]][0]).configure(parser)
    return parser.parse_args(words[1:])


def fault(line: str) -> str:
    with pytest.raises(UsageError) as e:
        parsed(line)
    return e.value.message


# --- who wins ------------------------------------------------------------------------------------


def test_flags_of_every_kind_are_given(project: Path) -> None:
    users(project, '[build]\npush = true\ntag = ["a", "b"]\nload = "podman"\npin = false\nfile = "x"\n'
                   '[bake]\njobs = 3\n[run]\ncpus = 1.5\n[pull]\nquiet = true\n')  # fmt: skip
    args = parsed("build .")
    assert (args.push, args.tag, args.load, args.pin, args.file) == (True, ["a", "b"], "podman", "false", "x")
    assert (parsed("bake").jobs, parsed("pull a").quiet) == (3, True)
    run = parsed("run image command --cpus=2")
    assert (float(run.cpus), run.image, run.command) == (1.5, "image", ["command", "--cpus=2"])


def test_command_line_wins_and_has_the_flag_alone(project: Path) -> None:
    users(project, '[build]\npush = true\ntag = ["a"]\nquiet = true\npolicy = "p"\nfile = "f"\n')
    args = parsed("build --push=false -qt b --insecure-policy -f g .")
    assert (args.push, args.tag, args.quiet, args.policy, args.file) == (False, ["b"], True, "none", "g")
    assert parsed("build -tquiet .").quiet


def test_flags_that_exclude_each_other_are_not_both_given(project: Path) -> None:
    users(project, "[inspect]\nraw = true\n")
    assert parsed("inspect a").raw
    args = parsed("inspect --format x a")
    assert (args.raw, args.format) == (False, "x")


def test_project_wins_over_user_and_variables_over_both(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users(project, '[build]\nplatform = "linux/arm64"\nprogress = "tty"\nroot = "/mine"\npull = true\n')
    (project / "imagesmith.toml").write_text('[build]\nplatform = ["linux/amd64"]\nprogress = "plain"\n')
    args = parsed("build .")
    assert (args.platform, args.progress, args.root, args.pull) == (["linux/amd64"], "plain", "/mine", True)
    for name, value in (("BUILDKIT_PROGRESS", "rawjson"), ("IMAGESMITH_ROOT", "/other"),
                        ("DOCKER_DEFAULT_PLATFORM", "linux/s390x")):  # fmt: skip
        monkeypatch.setenv(name, value)
    args = parsed("build .")
    assert (args.progress, args.platform, args.root) == ("rawjson", [], "")


def test_epoch_of_the_environment_wins(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users(project, '[build]\nbuild-arg = ["SOURCE_DATE_EPOCH=1", "A=1"]\n')
    assert parsed("build .").build_arg == ["SOURCE_DATE_EPOCH=1", "A=1"]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "2")
    assert parsed("build .").build_arg == ["A=1"]


def test_verbs_have_their_own(project: Path) -> None:
    users(project, '[cache.prune]\nolder-than = "72h"\n[registry.serve]\naddr = "127.0.0.1:1"\n')
    assert parsed("cache prune").older_than == "72h"
    assert parsed("registry serve").addr == "127.0.0.1:1"


def test_words_of_targets_are_nobodys_command_line(project: Path) -> None:
    users(project, '[build]\ntag = "a"\n')
    assert parsed("build .", Parser).tag == []


def test_help_is_shown_whatever_the_files_say(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users(project, "[")
    assert main(["images", "--help"]) == 0
    assert main(["cache", "ls", "--help"]) == 0
    assert main(["images"]) == 2
    assert "imagesmith.toml:1: " in capsys.readouterr().err


def test_verbose_tells_what_was_given(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    users(project, '[build]\ntag = "a"\npush = true\n')
    with caplog.at_level("DEBUG", "imagesmith"):
        parsed("build --tag b .")
    assert "imagesmith.toml:3: gives --push" in caplog.text
    assert "imagesmith.toml:2: --tag is given by what goes before the file" in caplog.text


def test_error_of_usage_tells_what_nobody_typed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users(project, '[build]\nplatform = "no/such/platform/here"\n')
    assert main(["build", "."]) == 2
    said = capsys.readouterr().err
    assert "hint: imagesmith.toml gave --platform; `imagesmith config` tells" in said
    assert main(["build", "--platform", "no/such/platform/here", "."]) == 2
    assert "imagesmith.toml" not in capsys.readouterr().err


# --- which files ---------------------------------------------------------------------------------


def test_project_is_looked_for_up_to_the_root_of_its_repository(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.parent / "imagesmith.toml").write_text('[build]\ntarget = "above"\n')
    monkeypatch.chdir(project / "sub")
    assert parsed("build .").target == ""
    (project / "imagesmith.toml").write_text('[build]\ntarget = "root"\nfile = "d/Dockerfile"\n')
    assert (parsed("build .").target, parsed("build .").file) == ("root", "../d/Dockerfile")
    (project / "sub/imagesmith.toml").write_text('[build]\ntarget = "here"\n')
    assert parsed("build .").target == "here"
    (project / "sub/imagesmith.toml").unlink()
    (project / ".git").rmdir()
    assert parsed("build .").target == ""  # without a repository, nothing above counts
    monkeypatch.chdir(project)
    assert parsed("build .").target == "root"


def test_variable_names_the_one_file_or_none(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users(project, '[build]\ntag = "user"\n')
    (project / "imagesmith.toml").write_text('[build]\ntarget = "project"\n')
    other = project.parent / "other.toml"
    other.write_text('[build]\ntag = "other"\n')
    monkeypatch.setenv("IMAGESMITH_CONFIG", str(other))
    assert (parsed("build .").tag, parsed("build .").target) == (["other"], "")
    monkeypatch.setenv("IMAGESMITH_CONFIG", "")
    assert (parsed("build .").tag, parsed("build .").target) == ([], "")
    monkeypatch.setenv("IMAGESMITH_CONFIG", "/nowhere")
    assert fault("build .") == "/nowhere: no such file or directory"


def test_folder_that_is_gone_has_no_project(project: Path) -> None:
    users(project, '[build]\ntag = "user"\n')
    os.chdir(project / "sub")
    (project / "sub").rmdir()
    assert parsed("build .").tag == ["user"]


def test_place_that_is_not_absolute_is_no_users(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "imagesmith").mkdir()
    (project / "imagesmith/imagesmith.toml").write_text('[build]\ntag = "mine"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", ".")
    assert parsed("build .").tag == []


# --- a checkout of somebody else -----------------------------------------------------------------


HARMFUL = {
    "build": ("tag push output load sign secret ssh allow insecure insecure-registry authfile cert-dir"
              " policy registries-conf hosts-dir root isolation cache-from cache-to iidfile digest-file"
              " metadata-file report build-context emulator ulimit cgroup-parent add-host pin provenance sbom"
              " attest on step-timeout insecure-policy call check sign-password-file"),
    "bake": "set push load allow var root sign policy secret authfile",
    "run": "volume env network user root",
    "login": "username password authfile",
    "copy": "insecure authfile",
    "cache.prune": "all max-size root",
    "registry.serve": "dir addr",
}  # fmt: skip


@pytest.mark.parametrize(("table", "flag"), [(t, f) for t, flags in HARMFUL.items() for f in flags.split()])
def test_project_gives_nothing_that_its_dockerfile_could_not(project: Path, table: str, flag: str) -> None:
    (project / "imagesmith.toml").write_text(f'\n[{table}]\n{flag} = "x"\n')
    said = fault("images")
    assert said == f"imagesmith.toml:3: {flag}: a project's file may not give it"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('file = "/etc/passwd"', "a path within the project"),
        ('file = "-"', "a path within the project"),
        ('file = "../other"', "a path within the project"),
        ('file = "a/../../other"', "a path within the project"),
        ('file = "https://example.com/Dockerfile"', "a path within the project"),
        ('build-arg = ["A=1", "AWS_SECRET_ACCESS_KEY"]', "NAME=VALUE"),
        ('build-arg = "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"', "no BUILDKIT_ argument"),
        ('build-arg = ["A=1", "https_PROXY=http://evil.example"]', "may not set https_PROXY"),
        ('network = "host"', "only say none"),
        ('network = "default"', "only say none"),
        ("network = true", "only say none"),
    ],
)
def test_values_of_a_project_stay_within_it(project: Path, line: str, said: str) -> None:
    (project / "imagesmith.toml").write_text(f"[build]\n{line}\n")
    assert said in fault("build .")
    users(project, f"[build]\n{line}\n")
    (project / "imagesmith.toml").unlink()
    if "true" not in line:
        parsed("build .")


def test_every_flag_that_a_project_may_give_is_there() -> None:
    pages = {page.name: {name[2:] for flag in page.flags for name in flag.names} for page in commands()}
    some = set().union(*pages.values())
    for command, flags in PROJECT_FLAGS.items():
        assert set(flags) <= (some if command == "*" else pages[command]), command


def test_page_lists_what_a_project_may_give() -> None:
    text = (PROJECT / "docs/configuration.md").read_text().partition("## What a project may not say")[2]
    rows = dict(re.findall(r"^\| `?(\w+)`? \| (`.*`) \|$", text, re.MULTILINE))
    assert {name: set(re.findall(r"`([\w-]+)`", flags)) for name, flags in rows.items()} == {
        "any" if name == "*" else name: set(flags) - set(PROJECT_FLAGS["*"] if name != "*" else ())
        for name, flags in PROJECT_FLAGS.items()
    }


def test_link_and_pipe_are_no_files_of_a_project(project: Path) -> None:
    (project / "imagesmith.toml").symlink_to("/etc/passwd")
    assert fault("build .") == "imagesmith.toml: it is a link, which a project's may not be"
    (project / "imagesmith.toml").unlink()
    os.mkfifo(project / "imagesmith.toml")
    assert fault("build .") == "imagesmith.toml: it is no file"


def test_file_of_another_user_is_passed_over(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_root()
    path = project / "imagesmith.toml"
    path.write_text('[build]\ntarget = "theirs"\n')
    os.chown(path, 12345, 12345)
    assert parsed("build .").target == ""
    assert "warning: imagesmith.toml: passed over: it belongs to user 12345" in capsys.readouterr().err
    os.chown(project, 12345, 12345)  # the folder is theirs, too: a checkout that root builds
    assert parsed("build .").target == "theirs"


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("push = true\n", "1: push: it stands in no command's table"),
        ("\n[buidl]\n", "2: buidl: there is no such command (did you mean build?)"),
        ("[build]\n\npsuh = true\n", "3: psuh: `imagesmith build` has no such flag (did you mean push?)"),
        ("[build]\nhelp = true\n", "2: help: `imagesmith build` has no such flag"),
        ('[build]\npush = "yes"\n', "2: push: it is true or false"),
        ("[build]\ntag = true\n", "2: tag: it takes a text, REF"),
        ('[build]\nfile = ["a", "b"]\n', "2: file: it takes one text, not a list"),
        ("[build]\nfile = []\n", "2: file: it takes one text, not a list"),
        ('[build]\nisolation = "none"\n', "2: isolation: 'none' is none of auto, native, chroot, oci"),
        ('[build]\niidfile = "/no/such/folder/x"\n', "2: iidfile: '/no/such/folder/x' is no value for it"),
        ("[build]\ntag = [[1]]\n", "2: build.tag: it is neither true"),
        ("[build]\ntag = 1979-05-27\n", "2: build.tag: it is neither true"),
        ('[build]\ntag = "a\\u0000b"\n', "2: build.tag: it is neither true"),
        ('build = {tag = "a", psuh = true}\n', "1: psuh: `imagesmith build` has no such flag"),
        ("build.psuh = true\n", "1: psuh: `imagesmith build` has no such flag"),
        ('build = "x"\n', "1: build: it stands in no command's table"),
        ("[build]\ntag = \n", "2: invalid value"),
        ("[build]\ntag = '''\n", "3: expected \"'''\""),
        ("a = " + "[" * 900, "it is nested too deeply"),
        ("\n#" + "x" * 1000, "2: the line is longer than 1000 bytes"),
        ("# line\n" * 3000, "it is larger than 16 KiB"),
    ],
)
def test_mistake_is_told_with_its_line(project: Path, text: str, said: str) -> None:
    users(project, text)
    where = project.parent / "settings/imagesmith/imagesmith.toml"
    message = fault("build .")
    assert message.startswith((f"{where}:{said}", f"{where}: {said}"))
    assert "\n" not in message


def test_bytes_that_are_no_text_are_told(project: Path) -> None:
    path = project.parent / "settings/imagesmith/imagesmith.toml"
    path.write_bytes(b"[build]\n# \xff\n")
    assert fault("build .") == f"{path}:2: it is no UTF-8"
    path.unlink()
    path.mkdir()
    assert "imagesmith.toml: " in fault("build .")


def test_keys_of_many_parts_take_no_time(tmp_path: Path) -> None:
    path = tmp_path / "imagesmith.toml"
    path.write_text("".join(f"{'a.' * 480}b{n:02} = 1\n" for n in range(16)))
    began = time.process_time()
    assert read(str(path), project=False).mistakes
    assert time.process_time() - began < 2
