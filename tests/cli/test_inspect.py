"""inspect: documents as they are stored, a report, and templates over it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Run


def test_documents_are_printed_as_they_are_stored(run: Run, index: str) -> None:
    raw = json.loads(run("inspect", "--raw", "multi:1"))
    assert len(raw["manifests"]) == 2
    one = ("--platform", "linux/arm64", "multi:1")
    manifest = run("inspect", "--manifest", *one)
    assert run("manifest", "get", "--platform", "linux/arm64", "store:multi:1") == manifest
    assert json.loads(run("inspect", "--config", *one))["architecture"] == "arm64"


def test_report_tells_of_config_layers_and_history(run: Run, image: str) -> None:
    report = json.loads(run("inspect", "app:1"))
    assert (report["Digest"], report["Tag"], report["Architecture"]) == (image, "1", "amd64")
    assert (report["Env"], report["History"]) == (["A=b"], ["layer 0", "layer 1"])
    assert report["Size"] > sum(layer["Size"] for layer in report["Layers"]) > 0
    assert all(layer["DiffID"].startswith("sha256:") for layer in report["Layers"])


def test_template_may_ask_for_what_an_image_could_have(run: Run, image: str) -> None:
    assert run("inspect", "-f", "{{.Author}}|{{.Config.User}}|{{len .Layers}}", "app:1") == "||2\n"
    assert "no field Layer" in run("inspect", "-f", "{{.Layer}}", "app:1", status=2)


def test_index_lists_its_manifests(run: Run, index: str) -> None:
    report = json.loads(run("inspect", "--platform", "linux/arm64", "multi:1"))
    assert (report["Digest"], report["Architecture"], len(report["Manifests"])) == (index, "arm64", 2)


def attested(run: Run, context: Path, *words: str) -> str:
    return run("build", "-q", "-t", "a:1", "--provenance", "mode=min", *words, str(context)).strip()


def test_provenance_is_shown_as_imagetools_shows_it(run: Run, context: Path) -> None:
    digest = attested(run, context)
    shown = json.loads(run("inspect", "-f", "{{json .Provenance}}", "a:1"))
    assert list(shown) == ["SLSA"]
    assert shown["SLSA"]["buildDefinition"]["buildType"] == "urn:imagesmith:dockerfile-build:v1"
    assert run("inspect", "-f", "{{.Digest}} {{json .SBOM}}", "a:1") == f"{digest} {{}}\n"
    builder = '{{(index .Provenance.SLSA "runDetails").builder.id}}'
    assert run("inspect", "-f", builder, "a:1") == "urn:imagesmith:builder\n"


def test_provenance_of_several_platforms_is_a_map(run: Run, host: str, context: Path) -> None:
    for arch in ("amd64", "arm64"):
        attested(run, context, "--platform", f"linux/{arch}")
        run("tag", "a:1", f"a:{arch}")
    run("index", "create", "store:both:1", "store:a:amd64", "store:a:arm64")
    run("push", "both:1", f"{host}/t/both:1")
    for name in ("both:1", f"docker://{host}/t/both:1"):
        shown = json.loads(run("inspect", "-f", "{{json .Provenance}}", name))
        assert {k: list(v) for k, v in shown.items()} == {"linux/amd64": ["SLSA"], "linux/arm64": ["SLSA"]}
        one = ("--platform", "linux/arm64", "-f", "{{.Provenance.SLSA.buildDefinition.externalParameters}}")
        assert "linux/arm64" in run("inspect", *one, name)


def test_index_of_one_image_needs_no_platform(run: Run, context: Path) -> None:
    attested(run, context, "--platform", "linux/s390x")
    assert run("inspect", "-f", "{{.Architecture}}", "a:1") == "s390x\n"


def test_whole_report_does_without(run: Run, context: Path) -> None:
    attested(run, context)
    assert "Provenance" not in json.loads(run("inspect", "a:1"))
    assert "there is no field Provenence (did you mean Provenance?)" in run(
        "inspect", "-f", "{{.Provenence}}", "a:1", status=2
    )
