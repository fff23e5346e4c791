"""How an image was built, as SLSA's predicates: v1, and v0.2 for readers of that.

Why our own types: what stands in BuildKit's is its own (LLB); a verifier that was told to trust one builder
shall not take another for it. The shape is BuildKit's, so that whoever reads its fields finds ours. What only
says when and in which run something was built is left out of builds under SOURCE_DATE_EPOCH, so that the
attestation of a reproducible image is reproducible, too.
Spec: https://slsa.dev/spec/v1.0/provenance and v0.2; docs/provenance.md tells of every field.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from imagesmith import __version__
from imagesmith.attest.materials import Material
from imagesmith.attest.parameters import dockerfile_path, is_whole, request_document
from imagesmith.attest.redact import plan_document, step_names, without_secrets
from imagesmith.attest.statement import SLSA, Claim
from imagesmith.attest.worktree import Worktree
from imagesmith.image.commit import Image
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import host_platform
from imagesmith.oci.times import format_ns
from imagesmith.ops.run import RunOp
from imagesmith.plan.plan import Plan
from imagesmith.request import BuildRequest, ProvenanceWanted
from imagesmith.solve.graph import all_steps, chain
from imagesmith.values import frozen

__all__ = ["BUILDER", "BUILD_TYPE", "Facts", "is_complete", "provenance_of", "recorded"]

#: What a build here is, and who builds where nobody says it.
BUILD_TYPE = "urn:imagesmith:dockerfile-build:v1"
BUILDER = "urn:imagesmith:builder"


@frozen(kw_only=True)
class Facts:
    """What is known of the build of one image.

    request, plan   what was asked, and how it was worked out
    image           what came of it; of a result of files its config alone is made
    dockerfile      its name, and its text
    source          where the Dockerfile came from
    materials       all that the image was made of, sorted
    worktree        the git work tree that the context lies in, and the context's folder in it
    started_ns, finished_ns   wall clock
    invocation      an id of this run
    """

    request: BuildRequest
    plan: Plan
    image: Image
    dockerfile: tuple[str, str]
    source: Material
    materials: tuple[Material, ...]
    worktree: tuple[Worktree, str] | None
    started_ns: int
    finished_ns: int
    invocation: str

    @property
    def is_timeless(self) -> bool:
        """True if the image has a given time, so that nothing may tell when it was built."""
        return self.image.form.epoch is not None


def provenance_of(facts: Facts, wanted: ProvenanceWanted) -> Claim:
    """The provenance of one image, of the version and mode that are wanted."""
    make = _slsa_1 if wanted.version == "v1" else _slsa_02
    return Claim(f"{SLSA}{wanted.version}", make(facts, wanted), wanted.filename)


def recorded(facts: Facts, mode: str, builder_id: str = "") -> dict[str, Any]:
    """What the metadata file has, as buildx: v0.2, in `min` without the plan and without metadata."""
    predicate = _slsa_02(facts, ProvenanceWanted(mode="max", builder_id=builder_id))
    if mode == "min":
        predicate.pop("buildConfig")
        predicate.pop("metadata")
    return predicate


def is_complete(materials: Sequence[Material]) -> bool:
    """True if all sources are known by digests that others can fetch: none of this machine."""
    return not any(m.is_local for m in materials)


def _slsa_1(facts: Facts, wanted: ProvenanceWanted) -> dict[str, Any]:
    full = wanted.mode == "max"
    request = request_document(facts.request, facts.plan, full=full)
    internal: dict[str, Any] = {"buildConfig": plan_document(facts.plan)} if full else {}
    internal["builderPlatform"] = str(host_platform())
    times = {"invocationId": facts.invocation, "startedOn": format_ns(facts.started_ns),
             "finishedOn": format_ns(facts.finished_ns)}  # fmt: skip
    metadata: dict[str, Any] = {} if facts.is_timeless else times
    metadata["imagesmith_metadata"] = _metadata(facts, full=full)
    if _is_hermetic(facts):
        metadata["imagesmith_hermetic"] = True
    metadata["imagesmith_completeness"] = {
        "request": is_whole(facts.request, full=full),
        "resolvedDependencies": is_complete(facts.materials),
    }
    if wanted.reproducible:
        metadata["imagesmith_reproducible"] = True
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "resolvedDependencies": [m.to_json() for m in facts.materials],
            "externalParameters": {"configSource": _config_source(facts, "path"), "request": request},
            "internalParameters": internal,
        },
        "runDetails": {
            "builder": {"id": wanted.builder_id or BUILDER, "version": {"imagesmith": __version__}},
            "metadata": metadata,
        },
    }


def _slsa_02(facts: Facts, wanted: ProvenanceWanted) -> dict[str, Any]:
    full = wanted.mode == "max"
    out: dict[str, Any] = {
        "builder": {"id": wanted.builder_id or BUILDER},
        "buildType": BUILD_TYPE,
        "materials": [m.to_json() for m in facts.materials],
        "invocation": {
            "configSource": _config_source(facts, "entryPoint"),
            "parameters": request_document(facts.request, facts.plan, full=full),
            "environment": {"platform": str(host_platform()), "imagesmith": __version__},
        },
    }
    if full:
        out["buildConfig"] = plan_document(facts.plan)
    times = {"buildInvocationID": facts.invocation, "buildStartedOn": format_ns(facts.started_ns),
             "buildFinishedOn": format_ns(facts.finished_ns)}  # fmt: skip
    metadata: dict[str, Any] = {} if facts.is_timeless else times
    metadata["completeness"] = {
        "parameters": is_whole(facts.request, full=full),
        "environment": True,
        "materials": is_complete(facts.materials),
    }
    metadata["reproducible"] = wanted.reproducible
    metadata[f"{BUILD_TYPE}#metadata"] = _metadata(facts, full=full)
    if _is_hermetic(facts):
        metadata[f"{BUILD_TYPE}#hermetic"] = True
    out["metadata"] = metadata
    return out


def _config_source(facts: Facts, path_key: str) -> dict[str, Any]:
    """Where the Dockerfile came from; of this machine its path in the context only."""
    out: dict[str, Any] = {} if facts.source.is_local else facts.source.to_json()
    path = dockerfile_path(facts.request)
    return {**out, path_key: path} if path else out


def _is_hermetic(facts: Facts) -> bool:
    """True if nothing could come in that is not listed."""
    runs = (step.op for step in all_steps(facts.plan.tips) if isinstance(step.op, RunOp))
    return is_complete(facts.materials) and all(op.network == "none" for op in runs)


def _metadata(facts: Facts, *, full: bool) -> dict[str, Any]:
    """Ours: the work tree; in full the Dockerfile, and the layers of each step of the image."""
    out: dict[str, Any] = {"vcs": _vcs(facts)} if facts.worktree is not None and _vcs(facts) else {}
    if full:
        name, text = facts.dockerfile
        data = base64.b64encode(without_secrets(text).encode("utf-8", "surrogateescape")).decode()
        info = {"filename": name.rpartition("/")[2], "language": "Dockerfile", "data": data}
        out["source"] = {"infos": [info]}
        out["layers"] = _layers(facts)
    return out


def _vcs(facts: Facts) -> Mapping[str, str]:
    assert facts.worktree is not None
    tree, folder = facts.worktree
    if not tree.revision:
        return {}
    known = {"source": tree.source, "revision": tree.revision, "localdir:context": folder}
    return {k: v for k, v in known.items() if v}


def _layers(facts: Facts) -> dict[str, list[dict[str, Any]]]:
    """The layers of the image by the step that brought them; a base image's step brings all of that."""
    names = step_names(facts.plan)
    steps = list(chain(facts.plan.images[0].tip))[::-1]
    own = [step for step in steps if step.op.makes_layer]
    if facts.image.form.squash:
        own = own[-1:]  # which has them all
    left = list(facts.image.manifest.layers)
    out: dict[str, list[dict[str, Any]]] = {}
    for step in steps:
        count = int(step in own) if step.op.makes_layer else len(facts.image.manifest.layers) - len(own)
        taken, left = left[:count], left[count:]
        out[names[str(step.step_digest)]] = [_layer(d) for d in taken]
    return out


def _layer(d: Descriptor) -> dict[str, Any]:
    return {"mediaType": d.media_type, "digest": str(d.digest), "size": d.size}
