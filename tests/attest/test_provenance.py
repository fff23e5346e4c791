"""Provenance of whole builds: read by the schema's classes, in both modes and versions, the same anywhere."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagesmith.attest.materials import Material
from imagesmith.attest.provenance import _is_hermetic
from imagesmith.image.result import BuildResult
from imagesmith.ops.run import RunOp
from imagesmith.solve.step import Step
from tests.attest.conftest import EPOCH, Shelf
from tests.kitchen import Kitchen
from tests.support import lacking

FILE = """\
FROM scratch AS files
ARG TOKEN
COPY a /a
FROM scratch
LABEL from=file
COPY --from=files /a /b
COPY c /c
"""
WORDS: dict[str, Any] = {
    "build_args": {"TOKEN": "argument"},
    "labels": {"team": "label"},
    "tags": ["r.example/a"],
}


def build(kitchen: Kitchen, provenance: str | bool = True, text: str = FILE, /, **words: Any) -> BuildResult:
    kitchen.write({"a": "text", "c": "more", "unused": "never copied"})
    return kitchen.build(text, provenance=provenance, **{**WORDS, **words})


def test_statement_is_about_the_image_under_its_name(kitchen: Kitchen, shelf: Shelf) -> None:
    built = build(kitchen)
    statement = shelf.statement(built)
    assert list(statement) == ["_type", "predicateType", "subject", "predicate"]
    (subject,) = statement["subject"]
    assert subject["name"].startswith("pkg:docker/r.example/a@latest?platform=linux%2F")
    assert subject["digest"] == {"sha256": built.image.manifest.digest.hex}
    assert shelf.statement(build(kitchen, tags=[], outputs=["type=image"]))["subject"] == []


@pytest.mark.parametrize("mode", ["min", "max"])
def test_in_totos_own_classes_read_it(kitchen: Kitchen, shelf: Shelf, mode: str) -> None:
    try:
        from google.protobuf.json_format import ParseDict
        from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
        from in_toto_attestation.v1.statement import Statement
        from in_toto_attestation.v1.statement_pb2 import Statement as Message
    except ImportError:
        lacking("in-toto-attestation is not installed")
        raise
    statement = shelf.statement(build(kitchen, f"mode={mode}"))
    message = ParseDict(statement, Message())
    Statement.copy_from_pb(message).validate()
    predicate = statement["predicate"]
    found = ParseDict(predicate["buildDefinition"], Provenance().build_definition)
    assert found.build_type == "urn:imagesmith:dockerfile-build:v1"
    assert [d.uri for d in found.resolved_dependencies] == ["local://context", "local://dockerfile"]
    details = predicate["runDetails"]
    metadata = details["metadata"]
    own = {k: v for k, v in metadata.items() if k.startswith("imagesmith_")}
    known = ParseDict(
        {**details, "metadata": {k: v for k, v in metadata.items() if k not in own}}, Provenance().run_details
    )
    assert known.builder.id == "urn:imagesmith:builder"
    assert known.metadata.started_on.ToNanoseconds() <= known.metadata.finished_on.ToNanoseconds()
    assert len(known.metadata.invocation_id) == 32
    assert set(own) == {"imagesmith_metadata", "imagesmith_completeness"}


def test_max_has_the_request_the_plan_the_dockerfile_and_the_layers(kitchen: Kitchen, shelf: Shelf) -> None:
    built = build(kitchen)
    predicate = shelf.predicate(built)
    definition = predicate["buildDefinition"]
    request = definition["externalParameters"]["request"]
    assert request["args"] == {"build-arg:TOKEN": "argument", "label:team": "label"}
    assert (request["frontend"], request["locals"]) == (
        "dockerfile.v0",
        [{"name": "context"}, {"name": "dockerfile"}],
    )
    config = definition["internalParameters"]["buildConfig"]
    assert [step["name"].partition("] ")[2] for step in config["steps"]] == [
        "COPY a /a", "COPY --from=files /a /b", "COPY c /c",
    ]  # fmt: skip
    metadata = predicate["runDetails"]["metadata"]
    assert metadata["imagesmith_completeness"] == {"request": True, "resolvedDependencies": False}
    (info,) = metadata["imagesmith_metadata"]["source"]["infos"]
    assert (info["filename"], base64.b64decode(info["data"]).decode()) == ("Dockerfile", FILE)
    layers = metadata["imagesmith_metadata"]["layers"]
    assert {k: [d["digest"] for d in v] for k, v in layers.items()} == {
        f"step{n}": [str(d.digest)] for n, d in enumerate(built.image.manifest.layers, 1)
    }


def test_min_has_no_argument_no_label_no_plan(kitchen: Kitchen, shelf: Shelf) -> None:
    statement = shelf.statement(build(kitchen, "mode=min"))
    text = json.dumps(statement)
    assert all(word not in text for word in ("argument", "label", "buildConfig", "layers", "COPY"))
    metadata = statement["predicate"]["runDetails"]["metadata"]
    assert metadata["imagesmith_completeness"] == {"request": False, "resolvedDependencies": False}
    whole = shelf.predicate(build(kitchen, "mode=min", build_args={}, labels={}))
    assert whole["runDetails"]["metadata"]["imagesmith_completeness"]["request"] is True


def test_v02_says_the_same_in_its_own_shape(kitchen: Kitchen, shelf: Shelf) -> None:
    build_1 = shelf.predicate(build(kitchen, "version=v1,builder-id=https://ci.example"))
    built = build(kitchen, "version=v0.2,builder-id=https://ci.example,reproducible=true")
    statement = shelf.statement(built)
    assert statement["predicateType"] == "https://slsa.dev/provenance/v0.2"
    predicate = statement["predicate"]
    assert list(predicate) == ["builder", "buildType", "materials", "invocation", "buildConfig", "metadata"]
    assert predicate["builder"] == {"id": "https://ci.example"}
    definition = build_1["buildDefinition"]
    assert predicate["materials"] == definition["resolvedDependencies"]
    assert predicate["invocation"]["parameters"] == definition["externalParameters"]["request"]
    assert predicate["buildConfig"] == definition["internalParameters"]["buildConfig"]
    metadata = predicate["metadata"]
    assert metadata["completeness"] == {"parameters": True, "environment": True, "materials": False}
    assert metadata["reproducible"] is True
    own = build_1["runDetails"]["metadata"]["imagesmith_metadata"]
    assert metadata["urn:imagesmith:dockerfile-build:v1#metadata"] == own
    assert "buildConfig" not in shelf.predicate(build(kitchen, "version=v0.2,mode=min"))


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("version", ["v1", "v0.2"])
def test_index_is_the_same_for_other_folders_and_stores(tmp_path: Path, mode: str, version: str) -> None:
    found = []
    for name in ("alice", "bob"):
        (tmp_path / name).mkdir()
        kitchen = Kitchen(tmp_path / name)
        built = build(kitchen, f"mode={mode},version={version}", build_args=EPOCH)
        again = build(kitchen, f"mode={mode},version={version}", build_args=EPOCH)
        assert kitchen.executed == []
        assert again.index == built.index
        found.append(built)
        text = json.dumps(Shelf(kitchen).statement(built))
        assert name not in text
        assert str(tmp_path) not in text
        assert "nvocation" not in text.replace('"invocation"', "")
    assert found[0].index is not None
    assert found[0].index == found[1].index


def test_without_an_epoch_each_build_is_told_apart(kitchen: Kitchen, shelf: Shelf) -> None:
    first, second = (shelf.predicate(build(kitchen))["runDetails"]["metadata"] for _ in range(2))
    assert first["invocationId"] != second["invocationId"]
    assert first["startedOn"] < first["finishedOn"] <= second["startedOn"]


def test_what_is_not_taken_of_the_context_does_not_count(kitchen: Kitchen, shelf: Shelf) -> None:
    def digest() -> Any:
        found = shelf.predicate(build(kitchen))["buildDefinition"]["resolvedDependencies"]
        return next(d["digest"] for d in found if d["uri"] == "local://context")

    first = digest()
    kitchen.write({"other": "new"})
    assert digest() == first
    shutil.rmtree(kitchen.root)
    assert digest() == first
    kitchen.write({"a": "text", "c": "more"}, mode=0o600)
    changed = kitchen.build(FILE, provenance=True, **WORDS)
    found = shelf.predicate(changed)["buildDefinition"]["resolvedDependencies"]
    assert {"uri": "local://context", "digest": first} not in found


def test_provenance_false_is_byte_equal_to_a_build_without_it(kitchen: Kitchen) -> None:
    written = []
    for n, words in enumerate(({}, {"provenance": False}, {"provenance": "false"})):
        target = kitchen.root.parent / f"{n}.tar"
        kitchen.write({"a": "text", "c": "more"})
        built = kitchen.build(FILE, outputs=[f"type=oci,dest={target}"], build_args=EPOCH, **words)
        assert (built.index, built.attestations) == (None, {})
        written.append(target.read_bytes())
    assert written[0] == written[1] == written[2]


def test_image_in_the_index_is_that_of_a_build_without_attestations(kitchen: Kitchen) -> None:
    plain = build(kitchen, False, build_args=EPOCH)
    attested = build(kitchen, True, build_args=EPOCH)
    assert attested.image.manifest.digest == plain.digest
    assert attested.digest != plain.digest


def test_work_tree_of_the_context_is_told(kitchen: Kitchen, shelf: Shelf) -> None:
    folder = kitchen.context.parent / ".git"
    folder.mkdir()
    (folder / "HEAD").write_text("c" * 40 + "\n")
    (folder / "config").write_text('[remote "origin"]\n\turl = https://u:pw@example.com/r.git\n')
    for mode in ("min", "max"):
        metadata = shelf.predicate(build(kitchen, f"mode={mode}"))["runDetails"]["metadata"]
        assert metadata["imagesmith_metadata"]["vcs"] == {
            "source": "https://example.com/r.git", "revision": "c" * 40, "localdir:context": "context",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("networks", "local", "hermetic"),
    [
        ((), False, True),
        ((), True, False),
        (("none", "none"), False, True),
        (("none", "default"), False, False),
    ],
)
def test_hermetic_is_what_nothing_unlisted_could_come_into(
    networks: tuple[str, ...], local: bool, hermetic: bool
) -> None:
    step = None
    for network in networks:
        step = Step.of(RunOp(argv=("x",), env=(), cwd="/", network=network), step, "RUN x")
    uri = "local://context" if local else "https://e.example/f"
    facts = SimpleNamespace(plan=SimpleNamespace(tips=[step]), materials=(Material(uri, "sha256", "0"),))
    assert _is_hermetic(facts) is hermetic  # type: ignore[arg-type]
