"""What is asked for: buildx's words, and what of it an output gets."""

from __future__ import annotations

import pytest

from imagesmith.attest.asked import parse_attestations, recorded_mode, wanted_of
from imagesmith.errors import UsageError
from imagesmith.request import Attestations, Output, ProvenanceWanted, SbomWanted


def asked(
    provenance: str = "", sbom: str = "", *attest: str, args: dict[str, str] | None = None, **env: str
) -> Attestations | None:
    return parse_attestations(provenance, sbom, attest, args or {}, env)


def test_nothing_is_attested_unasked() -> None:
    assert asked() is None
    assert asked("false", "0") is None
    assert asked("", "", "type=provenance,disabled=true", "type=sbom,enabled=false") is None


@pytest.mark.parametrize("text", ["true", "1", "mode=max", "mode=full"])
def test_provenance_without_a_mode_is_all_of_it(text: str) -> None:
    assert asked(text) == Attestations(provenance=ProvenanceWanted(mode="max"))


def test_keys_are_honoured() -> None:
    text = '"builder-id=https://ci.example/1",mode=min,version=v0.2,filename=p.json,reproducible=true'
    found = asked(f"{text},inline-only=1,complete-materials=true,capture-usage=false")
    assert found is not None
    assert found.provenance == ProvenanceWanted(
        mode="min", version="v0.2", builder_id="https://ci.example/1", filename="p.json", reproducible=True,
        inline_only=True, complete=True,
    )  # fmt: skip
    assert asked("", "format=cyclonedx") == Attestations(sbom=SbomWanted(format="cyclonedx"))
    assert asked("", "generator=docker/buildkit-syft-scanner:stable-1") == Attestations(sbom=SbomWanted())
    both = asked("", "", "type=provenance,mode=min", "type=sbom")
    assert both == Attestations(provenance=ProvenanceWanted(mode="min"), sbom=SbomWanted())


def test_build_arguments_ask_for_the_same_and_flags_count_over_them() -> None:
    args = {"BUILDKIT_ATTEST_PROVENANCE": "mode=min", "BUILDKIT_ATTEST_SBOM": ""}
    assert asked(args=args) == Attestations(provenance=ProvenanceWanted(mode="min"), sbom=SbomWanted())
    assert asked("false", "false", args=args) is None
    assert asked(args={"BUILDKIT_ATTEST_PROVENANCE": "false"}) is None


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("mode=most",), 'invalid mode "most"'),
        (("version=v2",), "invalid provenance SLSA version: v2"),
        (("version=",), "provenance SLSA version cannot be empty"),
        (("min",), "invalid value min"),
        (("", "", "type=provenance,x"), "invalid value x"),
        (("", "", "mode=min"), "attestation type not specified"),
        (("", "", "type=vsa"), 'unknown attestation type "vsa"'),
        (("true", "", "type=provenance"), "duplicate attestation field provenance"),
        (("", "", "type=sbom", "type=sbom"), "duplicate attestation field sbom"),
        (("reproducible=maybe",), "non-bool value specified for reproducible: maybe"),
        (("mdoe=min",), r"provenance has no option mdoe \(did you mean mode\?\)"),
        (("filename=../x",), "is no name of a file"),
        (("capture-usage=true",), "capture-usage is not supported"),
        (("", "generator=example.com/scanner"), "generator=example.com/scanner: scanner images are not run"),
        (("", "format=syft"), "format syft is neither spdx nor cyclonedx"),
        (("", "select-catalogers=all"), "sbom has no option select-catalogers"),
    ],
)
def test_mistakes_are_told_in_buildx_words(words: tuple[str, ...], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        asked(*words)


def of(text: str, kind: str, **options: str) -> Attestations | None:
    return wanted_of(asked(text), Output(type=kind, dest="x", options=options))


def test_inline_only_is_for_stores_and_registries() -> None:
    text = "inline-only=true,mode=min"
    got = [kind for kind in ("image", "registry", "oci", "docker", "local", "tar") if of(text, kind)]
    assert got == ["image", "registry"]
    assert of(text, "oci", **{"attestation-inline": "true"}) is not None
    assert of(text, "image", **{"attestation-inline": "false"}) is None
    assert of("true", "cacheonly") is None
    assert wanted_of(None, Output(type="image")) is None


def test_form_of_the_manifest_is_the_outputs_or_the_environments() -> None:
    forms = [
        wanted_of(asked("true", **env), Output(type="image", options=options))
        for env in ({}, {"BUILDX_NO_DEFAULT_OCI_ARTIFACT": "1"})
        for options in ({}, {"oci-artifact": "true"}, {"oci-artifact": "false"})
    ]
    assert [f is not None and f.oci_artifact for f in forms] == [True, True, False, False, True, False]


def test_dockers_media_types_have_no_attestations() -> None:
    with pytest.raises(UsageError, match="attestations cannot be exported with oci-mediatypes=false"):
        of("true", "image", **{"oci-mediatypes": "false"})
    assert of("false", "image", **{"oci-mediatypes": "false"}) is None
    with pytest.raises(UsageError, match="no slash"):
        of("true", "local", **{"attestation-prefix": "a/b"})


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", "min"),
        ("min", "min"),
        ("max", "max"),
        ("disabled", ""),
        ("false", ""),
        ("0", ""),
        ("true", "min"),
    ],
)
def test_metadata_file_has_what_buildx_variable_says(text: str, mode: str) -> None:
    assert recorded_mode({"BUILDX_METADATA_PROVENANCE": text}) == mode
