"""inspect: documents as they are stored, a report, and templates over it."""

from __future__ import annotations

import json

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
