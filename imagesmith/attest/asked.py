"""Reading --provenance, --sbom and --attest, and the build arguments that ask for the same.

Why: nothing is attested unless it is asked for. BuildKit passes over keys that it does not know; here each is
honoured or refused by name.
Spec: buildx's util/buildflags/attests.go, BuildKit's frontend/attestations/parse.go: values and errors in
their words.
Trust: words of a command line; every mistake is a UsageError that quotes the word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import UsageError
from imagesmith.options import boolean, fields
from imagesmith.request import Attestations, Output, ProvenanceWanted, SbomWanted

__all__ = ["ASKING_ARGS", "parse_attestations", "recorded_mode", "wanted_of"]

#: Build arguments that ask for an attestation, by its type.
ASKING_ARGS = {"provenance": "BUILDKIT_ATTEST_PROVENANCE", "sbom": "BUILDKIT_ATTEST_SBOM"}
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")
#: BuildKit's own scanner, in whose place ours stands.
_SCANNER = "docker/buildkit-syft-scanner"


def parse_attestations(
    provenance: str, sbom: str, attest: Iterable[str], build_args: Mapping[str, str], env: Mapping[str, str]
) -> Attestations | None:
    """What the flags and the build arguments ask for; None for nothing.

    Args:
        provenance, sbom: the flags of these names: true, false, or `k=v` fields; empty if not given.
        attest: values of --attest, each with a `type=`.
        build_args: may ask for the same; the flags count over them.
        env: BUILDX_NO_DEFAULT_OCI_ARTIFACT makes the old form of manifests the default.

    Raises:
        UsageError: in buildx's and BuildKit's words.
    """
    given = [_typed(text) for text in attest]
    given += [_short(name, text) for name, text in (("provenance", provenance), ("sbom", sbom)) if text]
    found: dict[str, dict[str, str] | None] = {}
    for kind, keys in given:
        if kind in found:
            raise UsageError(f"duplicate attestation field {kind}", hint=f"ask for {kind} once")
        found[kind] = keys
    for kind, name in ASKING_ARGS.items():
        if name in build_args and kind not in found:
            found[kind] = _short(kind, build_args[name])[1]
    for kind in found:
        if kind not in ASKING_ARGS:
            raise UsageError(f'unknown attestation type "{kind}"{suggest(kind, list(ASKING_ARGS))}')
    asked = {kind: keys for kind, keys in found.items() if keys is not None}
    if not asked:
        return None
    return Attestations(
        provenance=_provenance(asked["provenance"]) if "provenance" in asked else None,
        sbom=_sbom(asked["sbom"]) if "sbom" in asked else None,
        oci_artifact=env.get("BUILDX_NO_DEFAULT_OCI_ARTIFACT", "") not in _TRUE,
    )


def wanted_of(asked: Attestations | None, output: Output) -> Attestations | None:
    """What of it an output gets: an inline one goes into images of stores and registries alone.

    Raises:
        UsageError: the output cannot have any.
    """
    if asked is None or output.type == "cacheonly":
        return None
    inline = output.flag("attestation-inline", output.type in ("image", "registry"))
    provenance = asked.provenance
    if provenance is not None and provenance.inline_only and not inline:
        provenance = None
    if provenance is None and asked.sbom is None:
        return None
    if "/" in output.options.get("attestation-prefix", ""):
        raise UsageError("attestation-prefix: the beginning of a file's name has no slash")
    if output.type not in ("local", "tar") and not output.flag("oci-mediatypes", True):
        raise UsageError(
            "attestations cannot be exported with oci-mediatypes=false",
            hint="leave it out, or ask for no provenance and no SBOM",
        )
    return Attestations(
        provenance=provenance, sbom=asked.sbom, oci_artifact=output.flag("oci-artifact", asked.oci_artifact)
    )


def recorded_mode(env: Mapping[str, str]) -> str:
    """How much provenance the metadata file has: min or max, or empty for none; as buildx reads it."""
    text = env.get("BUILDX_METADATA_PROVENANCE", "")
    if text == "disabled" or text in _FALSE:
        return ""
    return text if text in ("min", "max") else "min"


def _typed(text: str) -> tuple[str, dict[str, str] | None]:
    """One --attest: its type and its keys; None for one that is switched off."""
    keys: dict[str, str] = {}
    for key, value in fields(text, "attestation"):
        if value is None:
            raise UsageError(
                f"invalid value {key}",
                hint="an attestation is asked for by true, or by fields KEY=VALUE with commas between",
            )
        keys[key] = value
    kind = keys.pop("type", "")
    if not kind:
        raise UsageError("attestation type not specified")
    off = boolean("disabled", keys.pop("disabled", "false"))
    off = off or not boolean("enabled", keys.pop("enabled", "true"))
    return kind, None if off else keys


def _short(kind: str, text: str) -> tuple[str, dict[str, str] | None]:
    """A value without a type: true, false, or fields; a field without `=` has an empty value."""
    if text in _FALSE:
        return kind, None
    if text in _TRUE or not text:
        return kind, {}
    return _typed(f"type={kind},{text}")


def _provenance(keys: Mapping[str, str]) -> ProvenanceWanted:
    known = ("mode", "version", "builder-id", "filename", "reproducible", "inline-only", "complete-materials")
    _check(keys, "provenance", known, {"capture-usage": _usage})
    mode = keys.get("mode", "max")
    if mode not in ("min", "max", "full"):
        raise UsageError(f'invalid mode "{mode}"', hint="provenance has mode=min and mode=max")
    version = keys.get("version", "v1")
    if version not in ("v1", "v0.2"):
        raise UsageError(
            f"invalid provenance SLSA version: {version}" if version
            else "provenance SLSA version cannot be empty",
            hint="v1 and v0.2 are known",
        )  # fmt: skip
    filename = keys.get("filename", "provenance.json")
    if not filename or "/" in filename or filename in (".", ".."):
        raise UsageError(f"provenance: filename {filename!r} is no name of a file")
    return ProvenanceWanted(
        mode="max" if mode == "full" else mode,
        version=version,
        builder_id=keys.get("builder-id", ""),
        filename=filename,
        reproducible=boolean("reproducible", keys.get("reproducible", "false")),
        inline_only=boolean("inline-only", keys.get("inline-only", "false")),
        complete=boolean("complete-materials", keys.get("complete-materials", "false")),
    )


def _usage(value: str) -> None:
    if boolean("capture-usage", value):
        raise UsageError(
            "provenance: capture-usage is not supported", hint="--report tells what each step took"
        )


def _sbom(keys: Mapping[str, str]) -> SbomWanted:
    _check(keys, "sbom", ("format",), {"generator": _generator})
    form = keys.get("format", "spdx")
    if form not in ("spdx", "cyclonedx"):
        raise UsageError(f"sbom: format {form} is neither spdx nor cyclonedx{suggest(form, ['spdx'])}")
    return SbomWanted(format=form)


def _generator(value: str) -> None:
    if value and value.partition(":")[0].removeprefix("docker.io/") != _SCANNER:
        raise UsageError(
            f"sbom: generator={value}: scanner images are not run here",
            hint="leave generator out: SBOMs are read from the image's layers",
        )


def _check(
    keys: Mapping[str, str], kind: str, known: Iterable[str], special: Mapping[str, Callable[[str], None]]
) -> None:
    """Refuse keys that nobody knows."""
    names = [*known, *special]
    for key, value in keys.items():
        if key in special:
            special[key](value)
        elif key not in names:
            raise UsageError(f"{kind} has no option {key}{suggest(key, names)}")
