"""bake: targets are printed, listed, asked and built, and what they may not do is told."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest

from imagesmith.cli.main import main
from imagesmith.context.git import GitRef
from imagesmith.context.gitrun import Access
from imagesmith.context.secrets import git_access
from imagesmith.request import BuildRequest
from tests.cli.conftest import Run
from tests.gitserver import git_server
from tests.web import repository

_FILE = """
variable "TAG" {
  default = "1"
  description = "The tag"
}
group "default" {
  targets = ["app", "web"]
}
group "all" {
  description = "Everything"
  targets = ["web", "default"]
}
target "_common" {
  labels = { made = "here" }
}
target "app" {
  inherits = ["_common"]
  description = "The app"
  tags = ["app:${TAG}"]
  args = { V = "a&b" }
}
target "web" {
  inherits = ["_common"]
  dockerfile = "web.Dockerfile"
  contexts = { base = "target:app" }
  tags = ["web:${TAG}"]
}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SOURCE_DATE_EPOCH", "TAG", "BUILDX_BAKE_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "docker-bake.hcl").write_text(_FILE)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG V\nLABEL v=$V\nCOPY f /f\n")
    (tmp_path / "web.Dockerfile").write_text("FROM base\nCOPY f /g\n")
    (tmp_path / "f").write_text("text")
    return tmp_path


def test_print_is_what_would_be_built(run: Run) -> None:
    assert run("bake", "--print", "app", "--var", "TAG=2") == """\
{
  "group": {
    "default": {
      "targets": [
        "app"
      ]
    }
  },
  "target": {
    "app": {
      "description": "The app",
      "context": ".",
      "dockerfile": "Dockerfile",
      "args": {
        "V": "a\\u0026b"
      },
      "labels": {
        "made": "here"
      },
      "tags": [
        "app:2"
      ]
    }
  }
}
"""  # fmt: skip


def printed(run: Run, *words: str) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(run("bake", "--print", *words))["target"]
    return found


def test_flags_come_over_targets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "5")
    found = printed(
        run, "app", "--push", "--load", "--no-cache", "--pull=false", "--sbom=true", "--provenance=mode=max",
        "--set", "*.args.W=1", "--set", "app.tags+=app:x", "--check",
    )["app"]  # fmt: skip
    assert found == {
        "description": "The app", "attest": [{"type": "sbom"}, {"mode": "max", "type": "provenance"}],
        "context": ".", "dockerfile": "Dockerfile", "labels": {"made": "here"}, "tags": ["app:1", "app:x"],
        "args": {"SOURCE_DATE_EPOCH": "5", "V": "a&b", "W": "1"}, "no-cache": True, "pull": False,
        "output": [{"push": "true", "type": "image"}, {"type": "docker"}], "call": "lint",
    }  # fmt: skip
    assert printed(run, "app", "--sbom=false")["app"]["attest"] == [{"disabled": True, "type": "sbom"}]
    assert "no-cache" not in printed(run, "app")["app"]


def test_links_are_printed_as_well(run: Run) -> None:
    found = printed(run, "web")
    assert list(found) == ["app", "web"]
    assert found["app"]["output"] == [{"type": "cacheonly"}]
    assert "output" not in printed(run)["app"]
    assert list(printed(run, "w*")) == ["app", "web"]


def test_definitions_by_name_and_on_standard_input(run: Run, here: Path) -> None:
    (here / "other.json").write_text('{"target": {"app": {"tags": ["app:other"]}}}')
    found = printed(run, "-f", "docker-bake.hcl", "-f", "other.json", "app")["app"]
    assert (found["tags"], found["labels"]) == (["app:other"], {"made": "here"})
    text = 'target "default" {\n tags = ["in:1"]\n}\n'
    document = json.loads(run("bake", "-f", "-", "--print", stdin=text.encode()))
    assert document["target"]["default"]["tags"] == ["in:1"]


def test_lists(run: Run) -> None:
    assert run("bake", "--list=targets") == (
        "TARGET\tDESCRIPTION\nall\tEverything (default, web)\napp\tThe app\ndefault\tapp, web\nweb\t\n"
    )
    assert run("bake", "--list", "variables") == "VARIABLE\tTYPE\tVALUE\tDESCRIPTION\nTAG\t\t\t1\tThe tag\n"
    assert json.loads(run("bake", "--list=type=variables,format=json"))[0]["name"] == "TAG"
    assert json.loads(run("bake", "--list=targets,format=json"))[0] == {
        "name": "all", "description": "Everything", "group": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--print", "--list=targets"), 2, "--print and --list are mutually exclusive"),
        (("--list=x",), 2, 'invalid list type "x"'),
        (("--list=targets,format=x",), 2, 'invalid list format "x"'),
        (("--list=targets,web",), 2, "unexpected key 'web'"),
        (("--print", "wbe"), 2, "failed to find target wbe (did you mean web?)"),
        (("--print", "--set", "app.tgas=x"), 2, "unknown key: tgas (did you mean tags?)"),
        (("--print", "--var", "X"), 2, 'invalid variable "X", expected key=value'),
        (("--print", "--var", "=x"), 2, "key is empty"),
        (("--allow", "network.hots"), 2, "did you mean network.host?"),
        (("--jobs", "-1"), 2, "is no number"),
        (("--call", "chekc"), 2, "--call chekc: not known"),
        (("--call", "check,format=x"), 2, "invalid option format=x"),
        (("--check", "--metadata-file", "m"), 2, "nothing is built"),
        (("--set", "*.context=-", "app"), 3, "target app: context from stdin not allowed in bake"),
        (("--set", "app.tags=A:B", "app"), 3, "target app: 'A:B': invalid reference format"),
        (("--tag", "x"), 2, "--set 'TARGET.tags=REF'"),
        (("--platform", "linux/arm64"), 2, "--set '*.platform=OS/ARCH'"),
        (("--build-arg", "A=1"), 2, "--set '*.args.NAME=VALUE'"),
        (("-o", "type=local,dest=out"), 2, "--set '*.output=type=…'"),
        (("--secret", "id=a"), 2, "--set '*.secrets=…' or '*.ssh=…'"),
    ],
)
def test_mistakes(run: Run, words: tuple[str, ...], status: int, said: str) -> None:
    assert said in run("bake", *words, status=status)


def test_a_mistake_of_a_file_has_its_place(run: Run, here: Path) -> None:
    (here / "docker-bake.hcl").write_text('target "app" {\n  tag = ["x"]\n}\n')
    said = run("bake", "app", status=3)
    assert "docker-bake.hcl:2" in said
    assert "did you mean tags?" in said
    (here / "docker-bake.hcl").write_text('\ntarget "app" {\n  tags = ["A:B"]\n}\n')
    said = run("bake", "app", status=3)
    assert "docker-bake.hcl:2" in said
    assert "target app: 'A:B': invalid reference format" in said


def test_targets_are_built(run: Run, here: Path) -> None:
    run("bake", "--metadata-file", "built.json", "all")
    document = json.loads((here / "built.json").read_text())
    assert list(document) == ["app", "web"]
    for name in document:
        digest = run("digest", f"store:{name}:1").strip()
        assert document[name]["containerimage.digest"] == digest
        assert document[name]["image.name"] == f"docker.io/library/{name}:1"
    assert run("inspect", "-f", "{{.Labels.v}}{{.Labels.made}}", "store:web:1") == "a&bhere\n"


def test_a_linked_target_has_no_name(run: Run) -> None:
    run("bake", "web")
    assert [line.split()[0] for line in run("images").splitlines()] == ["NAME", "web:1"]


def test_files_go_where_a_target_says(run: Run, here: Path) -> None:
    run("bake", "app", "--set", "app.output=type=local,dest=out")
    assert (here / "out" / "f").read_text() == "text"


def test_inline_dockerfiles(run: Run, here: Path) -> None:
    text = "FROM scratch\\nCOPY f /inline\\n"
    (here / "in.hcl").write_text(f'target "default" {{\n  dockerfile-inline = "{text}"\n}}\n')
    run("bake", "-f", "in.hcl", "--set", "*.output=out")
    assert (here / "out" / "inline").exists()


def test_contexts_beside_their_files(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "sub" / "c").mkdir(parents=True)
    (here / "sub" / "b.hcl").write_text('target "default" {\n  context = "c"\n}\n')
    (here / "sub" / "c" / "Dockerfile").write_text("FROM scratch\nCOPY g /\n")
    (here / "sub" / "c" / "g").touch()
    words = ("-f", "sub/b.hcl")
    assert printed(run, *words)["default"]["context"] == "c"
    monkeypatch.setenv("BUILDX_BAKE_FILE_RELATIVE_PATHS", "1")
    assert printed(run, *words)["default"]["context"] == "sub/c"
    assert printed(run, *words, "--set", "*.context=x")["default"]["context"] == "x"
    run("bake", *words, "--set", "*.output=out")
    assert (here / "out" / "g").exists()


def test_a_definition_from_elsewhere(run: Run, here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (here / "own").mkdir()
    (here / "own" / "mine").write_text("mine")
    with git_server(tmp_path_factory.mktemp("served")) as server:
        files = {
            "docker-bake.hcl": 'target "default" {\n context = "dir"\n contexts = { own = "cwd://own" }\n}\n',
            "dir/Dockerfile": "FROM scratch\nCOPY f /theirs\nCOPY --from=own mine /mine\n",
            "dir/f": "theirs",
        }
        repository(server.root / "app", files)
        url = server.url("app")
        assert printed(run, url)["default"] == {
            "context": url, "contexts": {"own": "cwd://own"}, "dockerfile": "Dockerfile",
        }  # fmt: skip
        run("bake", url, "--set", "*.output=out")
    assert (here / "out" / "theirs").read_text() == "theirs"
    assert (here / "out" / "mine").read_text() == "mine"


def test_a_definition_from_elsewhere_has_nothing_of_the_users_git(
    run: Run, here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned: dict[str, bool] = {}

    def access(request: BuildRequest, ref: GitRef, *, own: bool) -> Access:
        owned[ref.remote] = own
        return git_access(request, ref, own=own)

    monkeypatch.setattr("imagesmith.context.secrets.git_access", access)
    with git_server(tmp_path_factory.mktemp("served")) as server:
        other = server.url("other")
        definition = f'target "default" {{\n contexts = {{ other = "{other}" }}\n}}\n'
        files = {"docker-bake.hcl": definition, "Dockerfile": "FROM scratch\nCOPY --from=other f /\n"}
        repository(server.root / "app", files)
        repository(server.root / "other", {"f": "theirs"})
        run("bake", server.url("app"), "--set", "*.output=out")
        assert owned == {server.url("app"): True, other: False}
        (here / "docker-bake.hcl").write_text(files["docker-bake.hcl"])
        (here / "Dockerfile").write_text(files["Dockerfile"])
        run("bake", "--set", "*.output=out")
        assert owned[other]


def test_what_is_outside_needs_a_word(run: Run, here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (here / "docker-bake.override.hcl").write_text(
        f'target "app" {{\n  output = ["type=local,dest={elsewhere}/out"]\n  context = "{elsewhere}"\n}}\n'
    )
    (elsewhere / "Dockerfile").write_text("FROM scratch\nCOPY f /f\n")
    (elsewhere / "f").write_text("else")
    said = run("bake", "app", status=2)
    assert f"additional privileges requested: fs.read={elsewhere}, fs.write={elsewhere}/out" in said
    assert f"--allow=fs.read={elsewhere} --allow=fs.write={elsewhere}/out" in said
    assert not (elsewhere / "out").exists()
    assert run("bake", "--print", "app")
    run("bake", "app", f"--allow=fs={elsewhere}")
    assert (elsewhere / "out" / "f").read_text() == "else"


def test_emptying_a_folder_needs_a_word(run: Run, here: Path) -> None:
    words = ("bake", "app", "--set", "app.output=type=local,dest=out,mode=delete")
    (here / "out").mkdir()
    (here / "out" / "old").touch()
    assert "buildx.local.delete" in run(*words, status=2)
    run(*words, "--allow", "buildx.local.delete")
    assert [p.name for p in (here / "out").iterdir()] == ["f"]


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 2), ("", 2)])
def test_on_a_terminal_it_is_asked(
    answer: str, status: int, here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMAGESMITH_ROOT", str(tmp_path / "store"))
    monkeypatch.chdir(here)
    (here / "out").mkdir()
    keyboard, screen = pty.openpty()
    with open(screen, "w", closefd=False) as out, open(screen, closefd=False) as typed:
        monkeypatch.setattr(sys, "stdin", typed)
        monkeypatch.setattr(sys, "stderr", out)
        os.write(keyboard, f"{answer}\n".encode())
        words = ("bake", "app", "--progress=plain", "--set", "app.output=type=local,dest=out,mode=delete")
        assert main(words) == status
    os.close(screen)
    said = ""
    with suppress(OSError):  # that is the end of a terminal
        while part := os.read(keyboard, 1 << 16):
            said += part.decode()
    os.close(keyboard)
    assert "Deleting what is in the folder of an output" in said
    assert "Grant it and go on? [y/N]" in said


def test_calls_of_all(run: Run, here: Path) -> None:
    (here / "Dockerfile").write_text("FROM scratch\nARG V\nCopy f /f\n")
    out = io.StringIO()
    with redirect_stdout(out):
        run("bake", "--check", "app", status=1)
    assert out.getvalue().startswith("app\nThe app\n\nCheck complete, 1 warning has been found!\n")
    text = run("bake", "app", "--call", "outline")
    assert text.startswith("app\nThe app\n\nBUILD ARG")


def test_calls_of_what_is_linked(run: Run) -> None:
    assert run("bake", "--check", "web") == (
        "app\nThe app\n\nCheck complete, no warnings found.\n\nweb\n\nCheck complete, no warnings found.\n"
    )


def test_calls_as_one_document(run: Run, here: Path) -> None:
    document = json.loads(run("bake", "app", "--call", "targets,format=json"))
    assert document["group"] == {"default": {"targets": ["app"]}}
    app = document["target"]["app"]
    assert app["build"]["tags"] == ["app:1"]
    assert len(app["targets"]["targets"]) == 1
    checked = json.loads(run("bake", "app", "--call", "check,format=json"))
    assert checked["target"]["app"]["check"]["warnings"] == []


def test_a_target_may_be_a_check(run: Run, here: Path) -> None:
    (here / "in.hcl").write_text(
        'group "default" {\n targets = ["a", "b"]\n}\n'
        'target "a" {\n call = "check"\n}\ntarget "b" {\n output = ["out"]\n}\n'
    )
    assert run("bake", "-f", "in.hcl") == "a\n\nCheck complete, no warnings found.\n"
    assert (here / "out" / "f").exists()


def test_where_images_are_given_to(run: Run) -> None:
    assert "load=nobody" in run("bake", "app", "--load=nobody", status=3)
    assert printed(run, "app", "--load=podman")["app"]["output"] == [{"type": "docker"}]
