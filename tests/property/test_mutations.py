"""Damaged Dockerfiles: every text ends in a plan, or in one of our errors that points into the file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesmith.cli.errors import excerpt
from imagesmith.context.contexts import Contexts
from imagesmith.dockerfile.heredocs import heredocs_of
from imagesmith.dockerfile.parse import parse_partly
from imagesmith.errors import DockerfileError, ImagesmithError
from imagesmith.events import nobody
from imagesmith.oci import mediatype as mt
from imagesmith.oci.config import ImageConfig, Runtime
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import Platform, host_platform
from imagesmith.plan.lints import BuildLints
from imagesmith.plan.planner import Planner
from imagesmith.plan.reading import linter_of
from imagesmith.request import BuildRequest
from imagesmith.settings import Settings
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases, ResolvedImage
from tests.support import PROJECT

CASES = sorted((PROJECT / "fixtures" / "conformance" / "cases").glob("*.toml"))
TEXTS = [c["dockerfile"] for f in CASES for c in tomllib.loads(f.read_text())["case"] if "dockerfile" in c]
PIECES = (
    *"\\`'\"$#[]{}=<>-,:/ \t\r\n\x00\x1b", "${", "<<E", "--", "\\\n", "é", "\u2028", "\u202e", "\udcff",
    "EOF\n", "FROM ", "RUN ", "--mount=type=", "--from=", "ONBUILD ", "9" * 30, "# escape=`\n",
)  # fmt: skip
#: What is wrong with a file as a whole.
NOWHERE = ("cannot be empty", "file with no instructions", "contains no stages", "SOURCE_DATE_EPOCH")


class AnyImage(Bases):
    """Every name is an image."""

    def resolve(self, name: str, platform: Platform | None) -> ResolvedImage:
        raw = ImageConfig(platform=platform or host_platform(), runtime=Runtime(env=("A=1",))).to_bytes()
        config = Descriptor(media_type=mt.OCI_CONFIG, digest=digest_bytes(raw), size=len(raw))
        manifest = Manifest.build(config, [])
        parsed = ImageConfig.parse(raw)
        d = manifest.descriptor()
        return ResolvedImage(name=name, descriptor=d, manifest=manifest, config=parsed, place=name)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BuildRequest, AnyImage, Contexts]]:
    folder = tmp_path_factory.mktemp("mutations")
    request = BuildRequest(context=str(folder / "context"))
    (folder / "context").mkdir()
    with Store(folder / "store") as store, Contexts(request, store) as contexts:
        images = contexts.images = AnyImage(store, Settings(root=folder / "store"), request, nobody)
        yield request, images, contexts


@st.composite
def damaged(draw: st.DrawFn) -> str:
    text: str = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        at, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        piece = draw(st.sampled_from(PIECES))
        match draw(st.integers(0, 3)):
            case 0:
                text = text[:at] + piece + text[at:]
            case 1:
                text = text[:at] + piece + text[at + len(piece) :]
            case 2:
                text = text[:at] + text[min(end, at + 20) :]
            case _:
                text = text[:end] + text[at : min(end, at + 200)] + text[end:]
    return text


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_a_damaged_dockerfile_is_planned_or_refused_with_its_place(
    world: tuple[BuildRequest, AnyImage, Contexts], text: str
) -> None:
    request, images, contexts = world
    try:
        dockerfile, error = parse_partly(text.encode("utf-8", "surrogateescape"), "Dockerfile")
        if error is not None:
            raise error
        lints = BuildLints(linter_of(dockerfile, request, lambda _: None))
        Planner(dockerfile, request, images, contexts, lints).plan_all()
    except ImagesmithError as e:
        check_place(e)


def check_place(e: ImagesmithError) -> None:
    """An error points into its file, at something, and can be shown."""
    if not e.first:
        assert isinstance(e, DockerfileError)
        assert any(word in e.message for word in NOWHERE), e.message
        return
    lines = e.source.split("\n")
    assert 1 <= e.first <= max(e.first, e.last) <= len(lines)
    if e.column >= 0:
        assert e.first <= e.line <= max(e.first, e.last)
        assert 0 <= e.column < e.end <= max(1, len(lines[e.line - 1]))
    caret = (e.line, e.column, e.end) if e.column >= 0 else (e.first, 0, -1)
    assert all(row.isprintable() for row in excerpt(e.source, e.file, e.first, e.last, caret=caret, width=80))


# --- here-documents, against a reader of one character after another -----------------------------


def words_of(line: str) -> list[str] | None:
    """The shell words of a line with their quotes, read as BuildKit's lexer reads them."""
    words, word, began, at = [], "", False, 0
    while at < len(line):
        c = line[at]
        if c in " \t\r\n\v\f":
            words += [word] if began else []
            word, began, at = "", False, at + 1
            continue
        end = at + 1
        if c in "'\"":
            while end < len(line) and line[end] != c:
                end += 2 if c == '"' and line[end] == "\\" else 1
            if end >= len(line):
                return None
            end += 1
        elif c == "\\":
            end = min(len(line), at + 2)
        elif line.startswith("<<", at):
            while end < len(line) and line[end] == "<":
                end += 1
            end += line[end : end + 1] == "-"
            while end < len(line) and line[end] in " \t\r":
                end += 1
        word, began, at = word + line[at:end], True, end
    return words + ([word] if began else [])


@given(st.lists(st.sampled_from([*"<- '\"\\\tEA1", "<<", "<<-", "EOF"]), max_size=12).map("".join))
def test_here_documents_are_found_as_one_character_after_another_tells(line: str) -> None:
    want = []
    for word in words_of(f"RUN {line}") or []:
        before, opens, rest = word.partition("<<")
        if opens and (before.isdecimal() or not before) and "<" not in rest:
            name = rest.removeprefix("-").lstrip(" \t\r")
            inner = words_of(name)
            if inner is not None and len(inner) == 1 and (plain := unquoted(inner[0])):
                want.append((plain, rest.startswith("-"), "'" in name or '"' in name))
    assert [(o.name, o.chomp, not o.expand) for o in heredocs_of(f"RUN {line}")] == want


def unquoted(word: str) -> str:
    """A word without its quotes and escapes."""
    out, at = "", 0
    while at < len(word):
        c = word[at]
        if c == "'":
            end = word.index("'", at + 1)
            out, at = out + word[at + 1 : end], end + 1
        elif c == '"':
            at += 1
            while word[at] != '"':
                at += word[at] == "\\" and word[at + 1] in '"\\$'
                out, at = out + word[at], at + 1
            at += 1
        elif c == "\\":
            out, at = out + word[at + 1 : at + 2], at + 2
        else:
            out, at = out + c, at + 1
    return out
