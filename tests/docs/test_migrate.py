"""Moving tables: they name no flag that we lack, and leave out none that another tool's own --help has."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from types import ModuleType

import pytest

from imagesmith.plugins import COMMANDS
from tests.support import PROJECT, lacking, module_at, need_program

MIGRATE = PROJECT / "docs" / "migrate"
TOOLS = sorted(path.stem for path in MIGRATE.glob("*.txt"))
#: tool -> the commands whose --help is read, as their section's name begins
INSTALLED = {
    "skopeo": ("copy", "sync", "inspect", "delete", "list-tags", "login", "logout", "standalone-sign"),
    "buildah": ("build", "push", "pull", "login", "manifest create", "manifest add", "manifest push"),
    "docker": ("build",),
}


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py."""
    if importlib.util.find_spec("sphinx") is None:
        lacking("sphinx is not installed")
    return module_at(PROJECT / "docs" / "generate.py")


def test_there_is_a_page_for_each_tool() -> None:
    assert TOOLS == ["buildah", "buildx", "cosign", "crane", "kaniko", "oras", "regctl", "skopeo"]
    for tool in TOOLS:
        assert f"{{migration}} {tool}" in (MIGRATE / f"{tool}.md").read_text()


@pytest.mark.parametrize("tool", TOOLS)
def test_tables_name_flags_that_are_ours(generate: ModuleType, tool: str) -> None:
    """What a row says to write is known to the parser of the command that it is of."""
    wrong = []
    for section in generate.sections_of(tool):
        for text in [section.said, *(row.here for row in section.rows)]:
            wrong += [f"{section.theirs}: {flag}" for flag in unknown_flags(generate, section.ours, text)]
    assert wrong == []


def unknown_flags(generate: ModuleType, ours: str, text: str) -> list[str]:
    """Flags of a text that neither the command nor one that it names has, and commands that are none."""
    named = [words.split() for words in re.findall(r"`imagesmith ([^`]*)`", text)]
    known = set(generate.flags_of(ours)) if ours else set()
    for words in named:
        if words[0] not in COMMANDS:
            return [words[0]]
        known |= set(generate.flags_of(words[0]))
        verbs = generate.verbs_of(words[0])
        if verbs and words[1] not in verbs:
            return [f"{words[0]} {words[1]}"]
    others = r"`(?!imagesmith)[a-z]+ [^`]*`|grep -v \S+|RUN --\S+"  # other programs, Dockerfiles
    words = re.sub(others, "", text)
    flags = re.findall(r"(?<![\w=…./-])--?[a-zA-Z][\w-]*", words)
    return [flag for flag in flags if flag not in known and flag not in ("-v", "--mount")]


@pytest.mark.parametrize("tool", INSTALLED)
def test_no_flag_of_the_tool_is_left_out(generate: ModuleType, tool: str) -> None:
    need_program(tool)
    page = "buildx" if tool == "docker" else tool
    sections = {s.theirs: {flag for row in s.rows for flag in row.flags} for s in generate.sections_of(page)}
    for command in INSTALLED[tool]:
        done = subprocess.run([tool, *command.split(), "--help"], capture_output=True, text=True, timeout=60)
        theirs = set()
        for line in done.stdout.splitlines():
            if found := re.match(r"\s+((?:-\w, )?--?[\w.-]+)", line):
                theirs |= set(found[1].split(", "))
        assert len(theirs) > 3, done.stdout
        said = sections[f"{tool} {command}"] | {"-h", "--help"}
        letters = {flag for flag in theirs if not flag.startswith("--")}
        assert theirs - letters - said == set(), command


def test_flags_of_other_tools_are_told_once(generate: ModuleType) -> None:
    for tool in TOOLS:
        for section in generate.sections_of(tool):
            flags = [flag for row in section.rows for flag in row.flags]
            assert sorted({flag for flag in flags if flags.count(flag) > 1}) == [], (tool, section.theirs)


def test_a_flag_that_nobody_knows_is_found(generate: ModuleType) -> None:
    with pytest.raises(ValueError, match="nobody says what it is here"):
        list(generate._rows("copy", "--no-such-flag"))
    assert unknown_flags(generate, "copy", "--alle, `imagesmith tags --every`") == ["--alle", "--every"]
    assert unknown_flags(generate, "copy", "`imagesmith teleport`") == ["teleport"]
    assert unknown_flags(generate, "copy", "`imagesmith blob eat`") == ["blob eat"]


def test_what_the_code_says_becomes_markdown(generate: ModuleType) -> None:
    assert generate.marked("--all, or type=oci|docker") == "`--all`, or `type=oci\\|docker`"
    assert generate.marked("RUN --security=insecure, --squash.") == "RUN `--security=insecure`, `--squash`."
    section = generate.Section("tool build", "build", "also `bud`", ())
    assert generate.table_of(section).splitlines()[2] == "Here: `imagesmith build`. Also `bud`."
    assert generate.escaped("a *.crt, `--all` and <b>") == "a \\*.crt, `--all` and \\<b\\>"
    lines = ["A value.", "", "name   what `it` is", "       and more", "other  else", "", "The end."]
    generate.tell_fields(None, "class", "x", None, None, lines)
    assert lines == [
        "A value.", "", ":name: what ``it`` is", "       and more", ":other: else", "", "The end."
    ]  # fmt: skip
