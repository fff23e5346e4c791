"""What a build attests: manifests about its images, for their index, or statements beside its files.

Why one place: exporters and the session hand over what was built, and need not know what is said of it, or in
which form. Everything is stored as blobs, so that an index is exported, pushed and copied as any other. Of
each platform all is worked out once, however many outputs there are.
Threads: one, when all steps are solved; the contexts must still be open.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.attest.asked import wanted_of
from imagesmith.attest.manifest import attestation_of
from imagesmith.attest.materials import Material, Sources, config_source, materials_of
from imagesmith.attest.provenance import Facts, is_complete, provenance_of, recorded
from imagesmith.attest.statement import Claim, statement, subjects_of_files, subjects_of_image
from imagesmith.attest.worktree import Worktree, worktree_of
from imagesmith.context.addresses import is_http_url
from imagesmith.context.git import context_ref
from imagesmith.errors import UsageError
from imagesmith.fs.entry import BytesContent, Entry
from imagesmith.fs.tree import Tree
from imagesmith.image.commit import Image
from imagesmith.image.result import BuildResult
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.plan.plan import Plan
from imagesmith.request import Attestations, Output
from imagesmith.store.blobs import BlobStore
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.attest.bills import Bills

__all__ = ["Attesting"]


class Attesting:
    """Makes the attestations of one build; for all its platforms and outputs."""

    def __init__(self, sources: Sources, blobs: BlobStore) -> None:
        """Begin, before the first step is solved: the build's start is now.

        Args:
            sources: what is known of where things come from. Its `noted` must be among the solver's watchers.
            blobs: where documents go.

        Raises:
            UsageError: an output of the request cannot have what is asked for; or the Dockerfile is this
                machine's, and complete sources are asked for.
        """
        asked = sources.request.attestations
        for output in sources.request.outputs:
            wanted_of(asked, output)
        if asked is not None and asked.provenance is not None and asked.provenance.complete:
            _refuse_local([config_source(sources)])  # the rest is known when all steps are
        self._sources, self._blobs = sources, blobs
        self._started_ns, self._invocation = time.time_ns(), uuid.uuid4().hex
        self._finished_ns = 0
        #: Of each platform, but for the image, which is another in each form.
        self._facts: dict[str, Facts] = {}
        #: Who makes SBOMs, once all steps are solved.
        self.bills: Bills | None = None

    def attest(
        self,
        built: BuildResult,
        output: Output,
        plans: Mapping[str, Plan],
        names: Sequence[ImageRef],
    ) -> dict[str, tuple[Descriptor, ...]]:
        """The attestations of each platform, as an index lists them; see BuildResult.

        None where nothing is attested: with provenance off, with `inline-only` in an output that is no inline
        one, or for a type that holds no image.

        Args:
            built: the images by platform, in the order asked for. Their manifests must be final.
            output: where they go; its options say what it can have, and in which form.
            plans: of each image, by the same platforms.
            names: of the image in this output; the statements' subjects. Without any, a statement has none.

        Raises:
            UsageError: the output has Docker's media types, or the sources are not complete as was asked.
        """
        wanted = wanted_of(self._sources.request.attestations, output)
        if wanted is None or output.type in ("local", "tar"):
            return {}
        entries: dict[str, tuple[Descriptor, ...]] = {}
        for platform, image in built.images.items():
            claims = self._claims(wanted, image, plans[platform], names)
            subjects = subjects_of_image(names, image.config.platform, image.manifest.digest)
            made = attestation_of(image.descriptor, claims, subjects, artifact=wanted.oci_artifact)
            for blob in (*made.blobs, made.raw):
                self._blobs.put(blob)
            entries[platform] = (made.entry,)
        return entries

    def files(
        self,
        image: Image,
        output: Output,
        plan: Plan,
        files: Tree,
        *,
        together: bool = False,
    ) -> list[Entry]:
        """The files with statements for an output of files, to be laid over its root; none for none.

        Args:
            image: the result's config and form.
            output: of type local or tar; `attestation-prefix` begins the names.
            plan: of the image.
            files: what is written. The statements' subjects are all regular files in it.
            together: other platforms' files go to the same folder, so that names have this one's.

        Raises:
            UsageError: two statements would have one name, or one and a file of the image.
        """
        wanted = wanted_of(self._sources.request.attestations, output)
        if wanted is None:
            return []
        prefix = output.options.get("attestation-prefix", "")
        subjects = subjects_of_files(files)
        epoch = image.form.epoch
        mtime_ns = self._finished() if epoch is None else epoch * 1_000_000_000
        out: dict[str, Entry] = {}
        for claim in self._claims(wanted, image, plan, ()):
            data = statement(claim, subjects, indent=2)
            e = Entry(
                f"{prefix}{_named(claim.file, image, together)}",
                "f",
                0o600,
                size=len(data),
                mtime_ns=mtime_ns,
            )
            e.content = BytesContent(data)
            if e.path in out:
                raise UsageError(f"duplicate attestation path name {e.path}")
            if files.get(e.path) is not None:
                raise UsageError(
                    f"{output.type}: the image has a file {e.path}, and so is its attestation called",
                    hint="attestation-prefix=NAME among the output's options gives attestations other names",
                )
            out[e.path] = e
        return [out[name] for name in sorted(out)]

    def recorded(self, built: BuildResult, plans: Mapping[str, Plan]) -> dict[str, dict[str, Any]]:
        """Provenance for the metadata file, by platform, as `request.recorded` asks; empty for none."""
        request = self._sources.request
        if not request.recorded:
            return {}
        wanted = request.attestations.provenance if request.attestations is not None else None
        builder = wanted.builder_id if wanted is not None else ""
        return {
            platform: recorded(self._facts_of(image, plans[platform]), request.recorded, builder)
            for platform, image in built.images.items()
        }

    def _claims(
        self, wanted: Attestations, image: Image, plan: Plan, names: Sequence[ImageRef]
    ) -> tuple[Claim, ...]:
        bills = self.bills if wanted.sbom is not None else None
        claims = tuple(bills.claims(image, plan.images[0], names)) if bills is not None else ()
        if wanted.provenance is None:
            return claims
        facts = self._facts_of(image, plan)
        if wanted.provenance.complete:
            _refuse_local(facts.materials)
        return (*claims, provenance_of(facts, wanted.provenance))

    def _finished(self) -> int:
        """The time when all was built: that of the first statement."""
        self._finished_ns = self._finished_ns or time.time_ns()
        return self._finished_ns

    def _facts_of(self, image: Image, plan: Plan) -> Facts:
        platform = str(plan.images[0].platform)
        if platform not in self._facts:
            sources, dockerfile = self._sources, self._sources.dockerfile
            self._facts[platform] = Facts(
                request=sources.request, plan=plan, image=image,
                dockerfile=(dockerfile.file, dockerfile.source), source=config_source(sources),
                materials=materials_of(sources, plan), worktree=self._worktree,
                started_ns=self._started_ns, finished_ns=self._finished(), invocation=self._invocation,
            )  # fmt: skip
        return replace(self._facts[platform], image=image)

    @cached_property
    def _worktree(self) -> tuple[Worktree, str] | None:
        """The git work tree of a context that is a folder, and the context's path in it."""
        context = self._sources.request.context
        if context == "-" or is_http_url(context) or context_ref(context) is not None:
            return None
        folder = Path(context).resolve()
        found = worktree_of(folder)
        return None if found is None else (found, folder.relative_to(found.top).as_posix())


def _refuse_local(materials: Sequence[Material]) -> None:
    if not is_complete(materials):
        local = ", ".join(m.uri for m in materials if m.is_local)
        raise UsageError(
            f"provenance: complete-materials=true, but nobody else can fetch {local}",
            hint="build from a repository or an address",
        )


def _named(file: str, image: Image, together: bool) -> str:
    """The name of a statement's file: provenance.json, or provenance.linux_amd64.json."""
    stem, _, kind = file.rpartition(".")
    return f"{stem}.{image.config.platform.as_name}.{kind}" if together else file
