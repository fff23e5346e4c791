"""The outputs of a build: images are committed once in each form, and handed to the exporters that want them.

Why: an exporter says what it can hold and which options it takes, and knows nothing of the others. Layers
that are pushed are on their way while later steps run (uploading.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from imagesmith.errors import UsageError
from imagesmith.events import EventSink, Vertex, Warned, nobody
from imagesmith.export.job import Export, is_split
from imagesmith.image.commit import Image, commit
from imagesmith.image.forms import Form, Reforming, is_image
from imagesmith.image.result import BuildResult
from imagesmith.oci.names import ImageRef
from imagesmith.plan.plan import Plan, PlannedImage
from imagesmith.plugins import EXPORTERS, load
from imagesmith.request import BuildRequest, Output
from imagesmith.settings import Access
from imagesmith.solve.cacheplaces import CacheExport
from imagesmith.solve.graph import chain
from imagesmith.solve.result import BuiltLayer, Result
from imagesmith.solve.watching import Watching
from imagesmith.transports.bases import Bases
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.attest.attesting import Attesting
    from imagesmith.fs.entry import Entry

__all__ = ["Outputs", "Wanted", "access_of", "names_of_output", "refuse_what_it_cannot_hold", "uploader_of"]

#: An output, and the form of each platform's image in it.
Wanted = tuple[Output, tuple[Form, ...]]
#: What outputs are called on the screen.
_EXPORTING = {
    "oci": "oci image format",
    "docker": "docker image format",
    "local": "client directory",
    "tar": "client tarball",
}


class Outputs:
    """The outputs of one build, and the images in the forms that they want."""

    def __init__(
        self,
        request: BuildRequest,
        plan: Plan,
        keeper: CacheExport,
        images: Bases,
        reforming: Reforming,
        attesting: Attesting | None = None,
    ) -> None:
        """Find the form of each.

        Args:
            request: names the outputs; without any the image goes to the store if it has names.
            plan: of the images.
            keeper: writes the caches.
            images: has the connections, and the vertices.
            reforming: makes layers in another form.
            attesting: makes attestations, if any are wanted.
        """
        self._request, self._plan, self._keeper = request, plan, keeper
        self._images, self._reforming, self._attesting = images, reforming, attesting
        self._made: dict[tuple[tuple[Form, ...], bool], dict[str, Image]] = {}
        #: Of each platform by itself.
        self._plans = {str(image.platform): Plan((image,)) for image in plan.images}

    def write(self, wanted: Sequence[Wanted], results: Sequence[Result]) -> BuildResult:
        """Commit the images in each form, write the outputs and the caches.

        Raises:
            UsageError: an output cannot hold what was built.
        """
        done: list[tuple[Output, BuildResult]] = []
        for output, forms in wanted:
            exporter = load(EXPORTERS[output.type])
            with _exporting(output, self._images) as vertex:
                built = self._built(output, forms, results, vertex)
                exporter.write(output, self._export(output, built, results, vertex))
                done.append((output, built))
        layers = [layer for result in results for layer in result.layers]
        written = self._keeper.finish(layers, self._reforming.recompressed)
        output, built = next((one for one in done if is_image(one[0])), done[0])
        names = names_of_output(output, self._request)
        told = self._attesting.recorded(built, self._plans) if self._attesting is not None else {}
        pushed = tuple(
            name.with_digest(found.digest)
            for one, found in done
            if one.pushes
            for name in names_of_output(one, self._request)
        )
        return replace(
            built, tags=names, exported=is_image(output), cache=written, provenance=told, pushed=pushed
        )

    def _built(
        self, output: Output, forms: tuple[Form, ...], results: Sequence[Result], vertex: Vertex
    ) -> BuildResult:
        """The images in these forms, with an index of them where one is wanted."""
        key = forms, is_image(output)
        if key not in self._made:
            self._made[key] = {
                str(planned.platform): _commit(
                    planned, result, self._reforming, self._keeper, (form, key[1]), vertex
                )
                for planned, form, result in zip(self._plan.images, forms, results, strict=True)
            }
        built = self._attested(output, BuildResult(images=self._made[key]))
        about = [d for entries in built.attestations.values() for d in entries]
        for d in about:
            vertex.did(f"exporting attestation manifest {d.digest}")
        if about or (self._request.indexed and is_image(output)):
            from imagesmith.image.index import commit_index

            index = commit_index(built.images.values(), about, forms[0], self._keeper.store)
            vertex.did(f"exporting manifest list {index.digest}")
            built = replace(built, index=index)
        return built

    def _attested(self, output: Output, built: BuildResult) -> BuildResult:
        """The result with what is attested of it in an output."""
        if self._attesting is None:
            return built
        names = names_of_output(output, self._request)
        return replace(built, attestations=self._attesting.attest(built, output, self._plans, names))

    def _export(
        self, output: Output, built: BuildResult, results: Sequence[Result], vertex: Vertex
    ) -> Export:
        by_platform = dict(zip(self._plans, results, strict=True))
        return Export(
            built=built, results=by_platform, tags=names_of_output(output, self._request),
            store=self._keeper.store, images=self._images, request=self._request,
            events=self._keeper.events, vertex=vertex, beside=self._beside(output, built, by_platform),
        )  # fmt: skip

    def _beside(
        self, output: Output, built: BuildResult, results: Mapping[str, Result]
    ) -> dict[str, Sequence[Entry]]:
        """The files with statements that go with an output of files, by platform."""
        if self._attesting is None or is_image(output):
            return {}
        together = len(results) > 1 and not is_split(output, self._request)
        return {
            platform: self._attesting.files(
                built.images[platform], output, self._plans[platform], result.view, together=together
            )
            for platform, result in results.items()
        }


def refuse_what_it_cannot_hold(output: Output, platforms: int) -> None:
    """Refuse several images where an exporter holds one only, be it with its attestations.

    Args:
        output: asked for.
        platforms: of the build, each of which has an image.

    Raises:
        UsageError: in BuildKit's words.
    """
    if platforms > 1 and not load(EXPORTERS[output.type]).HOLDS_INDEX:
        raise UsageError(
            f"{output.type} exporter does not currently support exporting manifest lists",
            hint="load one platform at a time, or --push all of them and pull what is wanted"
            if output.loads
            else "type=oci holds several platforms; or ask for one",
        )


def _exporting(output: Output, images: Bases) -> Vertex:
    """The vertex of an output, called as BuildKit calls it; nobody is told of one that writes nothing."""
    if output.type == "cacheonly":
        return Vertex(nobody, 0, "")
    return images.step(f"exporting to {_EXPORTING.get(output.type, 'image')}")


def _commit(
    planned: PlannedImage,
    result: Result,
    reforming: Reforming,
    keeper: CacheExport,
    key: tuple[Form, bool],
    vertex: Vertex,
) -> Image:
    """The image in one form, or the config that goes with its files."""
    form, is_whole = key
    if not is_whole:
        return commit(planned, result.layers, keeper.store, form=form, extra={})
    with vertex.part("exporting layers"):
        before: tuple[BuiltLayer, ...] = ()
        if form.squash:
            from imagesmith.image.squash import squashed

            squash = squashed(result, form, reforming)
            before, layers = squash.of, reforming.layers(squash.layers, form)
        else:
            layers = reforming.layers(result.layers, form)
    extra = keeper.inline(before or layers, form.epoch)
    if extra and (form.codec.is_estargz or form.squash):  # its layers are of no step's making
        how = "with compression=estargz" if form.codec.is_estargz else "that is squashed"
        keeper.events(Warned(rule="", text=f"an image {how} holds no inline cache"))
        extra = {}
    image = commit(planned, layers, keeper.store, form=form, extra=extra, squashed=before)
    vertex.did(f"exporting manifest {image.manifest.digest}")
    vertex.did(f"exporting config {image.manifest.config.digest}")
    return image


def uploader_of(
    outputs: Sequence[Output],
    request: BuildRequest,
    plan: Plan,
    images: Bases,
    transfers: int,
    events: EventSink,
) -> Watching:
    """Who sends the layers of the images while later ones are made, if any of the outputs is pushed."""
    refs = {ref.name: ref for o in outputs if o.pushes for ref in names_of_output(o, request)}
    if not refs:
        return Watching()
    from imagesmith.export.uploading import Uploader

    found = {base.digest: base for image in plan.images if (base := image.base) is not None}
    bases = [images.image(base.name, base.digest, base.place) for base in found.values()]
    steps = set() if request.squash else {step for tip in plan.tips for step in chain(tip)}
    return Uploader(images, list(refs.values()), steps, transfers, events, bases)


def access_of(request: BuildRequest) -> Access:
    """How registries are reached: with registry.insecure an output's own need no certificate that holds."""
    access = request.access
    hosts = {
        ref.registry
        for output in request.outputs
        if output.flag("registry.insecure")
        for ref in names_of_output(output, request)
    }
    if not hosts or access.insecure is True:
        return access
    return replace(access, insecure=frozenset(access.insecure or ()) | hosts)


def names_of_output(output: Output, request: BuildRequest) -> tuple[ImageRef, ...]:
    """The names of an output's image: those of --tag, else its own."""
    own = [n for n in output.options.get("name", "").split(",") if n]
    default_tag = not output.flag("push-by-digest")
    return request.tags or tuple(ImageRef.parse(n, default_tag=default_tag) for n in own)
