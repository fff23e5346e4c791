"""Lines of Dockerfiles, from the provenance of both builders in both versions."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from imagesmith.explore.instructions import Instruction, read_instructions

TEXT = "FROM x AS a\nRUN one\nRUN two \\\n  three\n"
A, B, C = (f"sha256:{c * 64}" for c in "abc")


def d(digest: str) -> dict[str, Any]:
    return {"mediaType": "application/x", "digest": digest, "size": 1}


def place(first: int, last: int) -> dict[str, Any]:
    return {"locations": [{"ranges": [{"start": {"line": first}, "end": {"line": last}}]}]}


SOURCE = {
    "infos": [
        {"filename": "Dockerfile", "language": "Dockerfile", "data": base64.b64encode(TEXT.encode()).decode()}
    ]
}
BUILDKIT = {
    "source": {**SOURCE, "locations": {"step0": place(1, 1), "step1": place(2, 2), "step2": place(3, 4)}},
    "layers": {
        "step0:0": [[d(A)]],
        "step1:0": [[d(A), d(B)]],
        "step2:0": [[d(A), d(B), d(C)]],
    },
}
OURS = {"source": SOURCE, "layers": {"step0": [d(A)], "step1": [d(B)], "step2": [d(C)]}}
PLAN = {
    "steps": [
        {"id": "step0", "lines": [1, 1]},
        {"id": "step1", "lines": [2, 2]},
        {"id": "step2", "lines": [3, 4]},
    ]
}
EXPECTED = {
    A: Instruction(file="Dockerfile", first=1, last=1, text="FROM x AS a"),
    B: Instruction(file="Dockerfile", first=2, last=2, text="RUN one"),
    C: Instruction(file="Dockerfile", first=3, last=4, text="RUN two \\\n  three"),
}


@pytest.mark.parametrize(
    "predicate",
    [
        {"runDetails": {"metadata": {"buildkit_metadata": BUILDKIT}}},
        {"metadata": {"https://mobyproject.org/buildkit@v1#metadata": BUILDKIT}},
        {
            "buildDefinition": {"internalParameters": {"buildConfig": PLAN}},
            "runDetails": {"metadata": {"imagesmith_metadata": OURS}},
        },
        {"buildConfig": PLAN, "metadata": {"urn:imagesmith:dockerfile-build:v1#metadata": OURS}},
    ],
    ids=["buildkit 1", "buildkit 0.2", "ours 1", "ours 0.2"],
)
def test_lines_of_layers(predicate: dict[str, Any]) -> None:
    assert read_instructions(predicate) == EXPECTED


def test_layer_of_a_base_is_its_lowest_step() -> None:
    layers = {"step1:0": [[d(A), d(B)]], "step2:0": [[d(A), d(B), d(C)]]}
    found = read_instructions(
        {"runDetails": {"metadata": {"buildkit_metadata": {**BUILDKIT, "layers": layers}}}}
    )
    assert {k: v.first for k, v in found.items()} == {A: 2, B: 2, C: 3}


@pytest.mark.parametrize(
    "broken", [None, [], "x", 5, {"x": 1}, [[None]], {"step0": None}, {"step0:0": [[None]]}]
)
@pytest.mark.parametrize("key", ["source", "layers"])
def test_what_is_broken_tells_nothing(key: str, broken: Any) -> None:
    found = read_instructions({"runDetails": {"metadata": {"buildkit_metadata": {**BUILDKIT, key: broken}}}})
    assert not found
    assert read_instructions(broken) == {}


@pytest.mark.parametrize("lines", [(0, 1), (3, 2), (50, 60), (-1, 5), ("1", 1), (True, 1.5)])
def test_lines_that_there_are_not(lines: tuple[Any, Any]) -> None:
    source = {**SOURCE, "locations": {"step0": place(*lines)}}
    metadata = {"source": source, "layers": {"step0:0": [[d(A)]]}}
    assert read_instructions({"runDetails": {"metadata": {"buildkit_metadata": metadata}}}) == {}


def test_text_that_is_no_base64() -> None:
    source = {**BUILDKIT["source"], "infos": [{"data": "!"}]}
    assert (
        read_instructions({"runDetails": {"metadata": {"buildkit_metadata": {**BUILDKIT, "source": source}}}})
        == {}
    )
