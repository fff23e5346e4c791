"""From the bytes of a Dockerfile to its stages and instructions.

Why in passes: Docker cuts the whole file into arguments first and only then asks what each instruction makes
of them, so a bad ENV in the last line wins over an unknown instruction in the second. `shapes` is the first
pass, instructions.py the second.
Spec: BuildKit's parser and instructions packages, whose messages these are.
Trust: any bytes; nothing but DockerfileError is raised.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from imagesmith.dockerfile import reader, shapes
from imagesmith.dockerfile.grammar import grammar_text
from imagesmith.dockerfile.instructions import KEYWORDS, build
from imagesmith.dockerfile.nodes import Arg, Dockerfile, From, Instruction, Stage
from imagesmith.dockerfile.places import locate
from imagesmith.dockerfile.reader import Line, Source, read
from imagesmith.dockerfile.shapes import Shape, shape_of, shapes_from_json, shapes_to_json
from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import DockerfileError

__all__ = ["Memo", "parse", "parse_partly", "parse_trigger"]


class Memo(Protocol):
    """Remembers texts by key, from one run to the next."""

    def parsed(self, key: str) -> str:
        """What was remembered, or an empty text."""

    def put_parsed(self, key: str, text: str) -> None:
        """Remember a text."""


def parse(data: bytes, file: str = "Dockerfile", memo: Memo | None = None) -> Dockerfile:
    """Parse a Dockerfile.

    Args:
        data: its bytes.
        file: its name, for messages.
        memo: where the first pass over a file is remembered: with it the grammar is compiled only for files
            that were not seen before.

    Raises:
        DockerfileError: with file, line and BuildKit's words.
    """
    dockerfile, error = parse_partly(data, file, memo)
    if error is not None:
        raise error
    return dockerfile


def parse_partly(
    data: bytes, file: str = "Dockerfile", memo: Memo | None = None
) -> tuple[Dockerfile, DockerfileError | None]:
    """Parse a Dockerfile up to its first instruction that makes no sense, and tell what is wrong with that.

    Raises:
        DockerfileError: lines that cannot even be taken apart.
    """
    source = read(data, file)
    found = _remembered(data, memo) if memo is not None else None
    if found is None or len(found) != len(source.lines):
        found = [_shape(line, source, file) for line in source.lines]
        if memo is not None:
            memo.put_parsed(_key(data), shapes_to_json(found))
    if not found:
        raise DockerfileError("file with no instructions", file=file, source=source.text)
    global_args: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    error: DockerfileError | None = None
    for line, shape in zip(source.lines, found, strict=True):
        try:
            i = _instruction(line, shape, source, file)
        except DockerfileError as e:
            error = e
            break
        if isinstance(i, From):
            stages.append((i, []))
        elif stages:
            stages[-1][1].append(i)
        elif isinstance(i, Arg):
            global_args.append(i)
        else:
            error = DockerfileError("no build stage in current context").about(i.text, 0, len(i.keyword))
            locate(error, file, i.span, i.text, source.text)
            break
    dockerfile = Dockerfile(
        file=file,
        source=source.text,
        escape=source.escape,
        directives=tuple(source.directives),
        global_args=tuple(global_args),
        stages=tuple(Stage(n, base, tuple(rest)) for n, (base, rest) in enumerate(stages)),
        empty_continuations=tuple(source.empty_continuations),
    )
    return dockerfile, error


def parse_trigger(text: str) -> Instruction:
    """Parse the one instruction of an ONBUILD trigger.

    Raises:
        DockerfileError: it is not exactly one instruction, or none that may be a trigger.
    """
    source = read(text.encode("utf-8", "surrogateescape"), "")
    if len(source.lines) != 1:
        raise DockerfileError("onbuild trigger should be a single expression")
    line = source.lines[0]
    try:
        return _build(line, shape_of(line, source.escape), source)
    except DockerfileError as e:
        raise DockerfileError(e.message, hint=e.hint) from None


def _key(data: bytes) -> str:
    """A file's key in the memo: its bytes, and the grammar and the code that take it apart."""
    code = [Path(str(module.__file__)).read_bytes() for module in (reader, shapes)]
    parts = [grammar_text().encode(), *code, data]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _remembered(data: bytes, memo: Memo) -> list[Shape] | None:
    text = memo.parsed(_key(data))
    return shapes_from_json(text) if text else None


def _shape(line: Line, source: Source, file: str) -> Shape:
    try:
        return shape_of(line, source.escape)
    except DockerfileError as e:
        raise locate(e, file, line.span, line.text, source.text) from None


def _instruction(line: Line, shape: Shape, source: Source, file: str) -> Instruction:
    try:
        return _build(line, shape, source)
    except DockerfileError as e:
        told = DockerfileError(f"dockerfile parse error on line {line.span.first}: {e.message}", hint=e.hint)
        told.about(e.word, *e.part, which=e.which)
        raise locate(told, file, line.span, line.text, source.text) from None


def _build(line: Line, shape: Shape, source: Source) -> Instruction:
    if shape.name not in KEYWORDS:
        hint = suggest(shape.keyword, KEYWORDS, ignore_case=True)
        told = DockerfileError(f"unknown instruction: {shape.keyword}{hint}")
        raise told.about(line.text, 0, len(shape.keyword))
    return build(line, shape, source.escape)
