"""Which files are a definition, how each is read, and where their contexts are seen from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagesmith.bake.compose import Composed
from imagesmith.bake.files import (
    FILES,
    allows_lookup,
    beside_its_file,
    is_relative_to_files,
    names_given,
    names_there,
    read_definition,
)
from imagesmith.bake.nodes import Body
from imagesmith.bake.places import Source, Span
from imagesmith.bake.reading import Folder
from imagesmith.bake.target import Target
from imagesmith.errors import DefinitionError

HCL = 'target "a" {}\n'
JSON = '{"target": {"a": {}}}'
COMPOSE = "services: {a: {build: '${CTX:-.}'}}\n"


def _kinds(parts: list[Body | Composed]) -> list[str]:
    return ["compose" if isinstance(part, Composed) else part.span.source.name for part in parts]


def _folder(path: Path, **files: str) -> Folder:
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return Folder(str(path))


def test_names_are_those_of_flags_or_of_the_environment() -> None:
    assert names_given(["a", "-"], {"BUILDX_BAKE_FILE": "x"}) == ("a", "-")
    assert names_given([], {"BUILDX_BAKE_FILE": f"x{os.pathsep}y{os.pathsep}"}) == ("x", "y")
    assert names_given([], {"BUILDX_BAKE_FILE": "x:1;y", "BUILDX_BAKE_PATH_SEPARATOR": ";"}) == ("x:1", "y")
    assert names_given([], {}) == ()


def test_files_that_there_are_are_found_in_their_order(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"^no definition in "):
        names_there(Folder(str(tmp_path)))
    for name in ("docker-bake.override.hcl", "compose.yaml", "docker-bake.hcl", "bake.hcl"):
        (tmp_path / name).write_text("")
    (tmp_path / "docker-bake.json").mkdir()
    assert names_there(Folder(str(tmp_path))) == (
        "compose.yaml",
        "docker-bake.hcl",
        "docker-bake.override.hcl",
    )
    for name in FILES:
        if name != "docker-bake.json":
            (tmp_path / name).touch()
    assert names_there(Folder(str(tmp_path))) == tuple(name for name in FILES if name != "docker-bake.json")


def test_compose_files_come_first_and_are_one(tmp_path: Path) -> None:
    folder = _folder(tmp_path, b__hcl=HCL, c__yml=COMPOSE, d__json=JSON, e__yaml="services: {b: {build: x}}")
    parts = read_definition(["b.hcl", "c.yml", "d.json", "e.yaml"], local=folder, env={})
    assert _kinds(parts) == ["compose", "b.hcl", "d.json"]
    assert isinstance(parts[0], Composed)
    assert list(parts[0].targets) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (HCL, "-"),
        (JSON, "-"),
        ('variable "services" { default = 1 }', "-"),
        (COMPOSE, "compose"),
        ('{"services": {"a": {"build": "."}}}', "compose"),
        ("x-a: &a {build: .}\nservices: {a: *a}", "compose"),
        ("# compose\ninclude: [c.yml]", "compose"),
    ],
)
def test_file_without_an_ending_is_read_as_what_it_is(text: str, kind: str, tmp_path: Path) -> None:
    folder = _folder(tmp_path, c__yml=COMPOSE)
    assert _kinds(read_definition(["-"], local=folder, env={}, stdin=text.encode)) == [kind]


@pytest.mark.parametrize(
    ("text", "line"),
    [("services:\n  a: 1\n", 2), ('target "a" {\n  x = \n}\n', 2), ('{"target":\n {"a": }}', 2)],
)
def test_fault_is_told_of_the_format_that_is_meant(text: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as e:
        read_definition(["-"], local=Folder(str(tmp_path)), env={}, stdin=text.encode)
    assert (e.value.file, e.value.line) == ("-", line)


def test_variables_of_compose_files(tmp_path: Path) -> None:
    folder = _folder(tmp_path, c__yml=COMPOSE, __env="CTX=dot\n")

    def context(env: dict[str, str], given: dict[str, str] | None = None) -> object:
        (found,) = read_definition(["c.yml"], local=folder, env=env, given=given)
        assert isinstance(found, Composed)
        return found.targets["a"].attributes["context"]

    assert context({}) == "dot"
    assert context({"CTX": "env"}) == "env"
    assert context({"CTX": "env", "BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP": "1"}) == "dot"
    assert context({"CTX": "env"}, {"CTX": "var"}) == "var"
    assert allows_lookup({"BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP": "no"})


def test_definition_from_elsewhere_has_own_files_by_cwd_only(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    here = _folder(tmp_path / "here", mine__hcl='target "mine" {}', b__hcl="no")
    _folder(tmp_path / "there", b__hcl=HCL)
    there = Folder(str(tmp_path / "there"), closed=True)
    assert _kinds(read_definition(["b.hcl", "cwd://mine.hcl"], local=here, remote=there, env={})) == [
        "b.hcl",
        "cwd://mine.hcl",
    ]
    assert _kinds(read_definition(["cwd://mine.hcl"], local=here, env={})) == ["mine.hcl"]
    with pytest.raises(DefinitionError, match="no such file"):
        read_definition(["mine.hcl"], local=here, remote=there, env={})
    with pytest.raises(DefinitionError, match="outside of what the definition came with"):
        read_definition(["../here/mine.hcl"], local=here, remote=there, env={})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"x" * (2 << 20) + b"x", "a.hcl: larger than 2 MiB"),
        (b"a = '\xff'", "a.hcl: not UTF-8, at byte 5"),
    ],
    ids=["large", "bytes"],
)
def test_bytes_that_are_no_definition_are_refused(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.hcl").write_bytes(data)
    with pytest.raises(DefinitionError, match=f"^{said}"):
        read_definition(["a.hcl"], local=Folder(str(tmp_path)), env={})


def test_folders_and_devices_are_no_definition_and_the_users_pipe_is(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    for name in (".", "/dev/null", "a\0b"):
        with pytest.raises(DefinitionError):
            read_definition([name], local=folder, env={})
    read, write = os.pipe()
    os.write(write, HCL.encode())
    os.close(write)
    assert _kinds(read_definition([f"/dev/fd/{read}"], local=folder, env={})) == [f"/dev/fd/{read}"]
    os.close(read)


@pytest.mark.parametrize(
    ("file", "context", "wanted"),
    [
        ("sub/b.hcl", None, "sub"),
        ("sub/b.hcl", "../app", "app"),
        ("sub/b.hcl", "/abs", "/abs"),
        ("sub/b.hcl", "https://h/r.git", "https://h/r.git"),
        ("sub/b.hcl", "github.com/o/r", "github.com/o/r"),
        ("/w/sub/b.hcl", "x", "sub/x"),
        ("b.hcl", "x", "x"),
        ("-", "x", "x"),
        ("cwd://sub/b.hcl", "x", "x"),
    ],
)
def test_contexts_beside_files(file: str, context: str | None, wanted: str) -> None:
    given: dict[str, str] = {} if context is None else {"context": context}
    span = Span(Source(file, HCL), 8, 9)
    target = Target(name="a", attributes={**given, "contexts": {"c": "../o", "t": "target:b"}}, span=span)
    found = beside_its_file(target, Folder("/w")).attributes
    assert found.get("context", ".") == wanted
    if wanted.startswith("sub"):
        assert found["contexts"] == {"c": "o", "t": "target:b"}
    assert is_relative_to_files({"BUILDX_BAKE_FILE_RELATIVE_PATHS": "true"})
    assert not is_relative_to_files({})
