"""How to build an image again, read from its provenance: ours and BuildKit's, in both versions.

Why one value: the two builders and the two versions of the predicate say the same in other places. What a
provenance leaves out, or has from the machine that built, is told as such and is never guessed.
Spec: docs/provenance.md; BuildKit's docs/attestations/slsa-definitions.md, its frontend/dockerui for names of
arguments, and solver/llbsolver/provenance for addresses of sources; SLSA provenance v0.2 and v1.
Trust: anybody can attach a provenance: all of it is hostile. Counts are bounded; sources are repositories and
addresses of the kinds that `build` takes, never a path of this machine; the Dockerfile's path stays in its
source. Nothing here grants anything: what a build is allowed and given is the user's word alone.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sized
from typing import Any, TypeVar

from imagesmith.attest.asked import ASKING_ARGS
from imagesmith.attest.provenance import BUILD_TYPE
from imagesmith.attest.redact import has_masks
from imagesmith.attest.statement import SLSA, image_of_purl
from imagesmith.context.addresses import is_http_url
from imagesmith.context.git import GitRef, context_ref, is_commit, is_git_url
from imagesmith.context.named import DockerImage, GitContext, HttpContext, NamedContext, normalise_name
from imagesmith.errors import DockerfileError, InvalidDocument, InvalidReference, LimitExceeded, UsageError
from imagesmith.oci.codec import Object
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.options import parse_hosts, parse_size, parse_ulimit
from imagesmith.request import Pins
from imagesmith.values import field, frozen

__all__ = ["BUILDKIT_02", "BUILDKIT_1", "Needed", "Recipe", "recipe_of"]

#: BuildKit's builds, in a predicate of version 0.2 and in one of version 1.
BUILDKIT_02 = "https://mobyproject.org/buildkit@v1"
BUILDKIT_1 = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_BUILDERS = {BUILD_TYPE: "imagesmith", BUILDKIT_02: "BuildKit", BUILDKIT_1: "BuildKit"}
#: Frontends that read the same Dockerfiles, where `source` names the one that was run.
_FRONTENDS = ("docker/dockerfile", "docker/dockerfile-upstream")
#: Arguments that decide nothing of what one image holds.
_WITHOUT_EFFECT = (
    "cache-from", "cache-imports", "cgroup-parent", "cmdline", "frontend.caps", "image-resolve-mode",
    "multi-platform", "no-cache", "platform", "source",
)  # fmt: skip
#: More arguments, sources or secrets no build has.
_MOST = 10_000


@frozen
class Needed:
    """A secret or an agent that steps were given, by its id; they do without one that is optional."""

    id: str
    optional: bool


@frozen(kw_only=True)
class Recipe:
    """What a provenance tells of a build.

    builder, version    who built, and of the predicate
    builder_platform    of the machine that built
    context             address of the source; empty for a folder or a stream of that machine
    dockerfile          path in the source, or an address; empty for its usual name
    lacks_dockerfile    it was a file of that machine, apart from the source
    contexts            named contexts; local_contexts: names of those that only that machine has
    pins                commits and digests of all sources that are named in full
    masked              addresses of files that are not, for words of their queries are left out
    secrets, agents     what steps were given; a provenance of mode=min does not tell it
    is_partial          arguments or labels were left out
    unknown             arguments that nothing here knows
    """

    builder: str
    version: str
    builder_platform: Platform | None = None
    context: str = ""
    dockerfile: str = ""
    lacks_dockerfile: bool = False
    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = "default"
    extra_hosts: tuple[tuple[str, str], ...] = ()
    shm_size_bytes: int = 0
    squash: bool = False
    ulimits: tuple[tuple[str, int, int], ...] = ()
    contexts: Mapping[str, NamedContext] = field(default_factory=dict)
    local_contexts: tuple[str, ...] = ()
    pins: Pins = field(default_factory=Pins)
    masked: tuple[str, ...] = ()
    secrets: tuple[Needed, ...] = ()
    agents: tuple[Needed, ...] = ()
    is_partial: bool = False
    unknown: tuple[str, ...] = ()


def recipe_of(kind: str, predicate: dict[str, Any]) -> Recipe | None:
    """What a predicate tells; None for a build of a kind that is not known here.

    Args:
        kind: the type of the predicate.
        predicate: the document, as attest/reading.py hands it out.

    Raises:
        InvalidDocument: it is none of its kind, or names what no source can be.
        LimitExceeded: it lists more than any build has.
    """
    document = Object(predicate, "provenance")
    parts = _parts_02(document) if document.obj("buildDefinition") is None else _parts_1(document)
    builder = _BUILDERS.get(parts.build_type)
    if builder is None:
        return None
    try:
        return _read(parts, builder, kind.removeprefix(SLSA))
    except (DockerfileError, UsageError) as e:  # what a Dockerfile or a command line would be refused for
        raise InvalidDocument(f"provenance: {e.message}") from e


@frozen(kw_only=True)
class _Parts:
    """What the two versions have in different places."""

    build_type: str
    source: Object
    path: str
    request: Object
    materials: list[Object]
    builder_platform: str
    is_partial: bool


def _parts_1(document: Object) -> _Parts:
    definition = document.need_obj("buildDefinition")
    external, internal = _part(definition, "externalParameters"), _part(definition, "internalParameters")
    source, metadata = _part(external, "configSource"), _part(_part(document, "runDetails"), "metadata")
    complete = metadata.obj("imagesmith_completeness") or metadata.obj("buildkit_completeness")
    return _Parts(
        build_type=definition.text("buildType"),
        source=source,
        path=source.text("path"),
        request=_part(external, "request"),
        materials=definition.objects("resolvedDependencies"),
        builder_platform=internal.text("builderPlatform"),
        is_partial=complete is not None and not complete.boolean("request"),
    )


def _parts_02(document: Object) -> _Parts:
    invocation = _part(document, "invocation")
    source, complete = _part(invocation, "configSource"), _part(document, "metadata").obj("completeness")
    return _Parts(
        build_type=document.text("buildType"),
        source=source,
        path=source.text("entryPoint"),
        request=_part(invocation, "parameters"),
        materials=document.objects("materials"),
        builder_platform=_part(invocation, "environment").text("platform"),
        is_partial=complete is not None and not complete.boolean("parameters"),
    )


def _part(holder: Object, key: str) -> Object:
    """An object, or an empty one where it is not there."""
    return holder.obj(key) or Object({}, f"{holder.path}: {key}")


def _read(parts: _Parts, builder: str, version: str) -> Recipe:
    request, uri = parts.request, parts.source.text("uri")
    args = request.text_map("args")
    _check_frontend(request.text("frontend"), args)
    known = _Arguments()
    for key, value in _bounded(args, "args").items():
        if "\0" in f"{key}{value}":
            raise InvalidDocument(f"provenance: args: {key[:100]!r} has a byte 0 in it")
        known.take(key, value)
    names = {o.text("name") for o in _bounded(request.objects("locals"), "locals")}
    is_local = "context" in names
    of_dockerfile = is_local or bool(known.context)  # else the Dockerfile came with the source
    dockerfile = _address(uri) if of_dockerfile and uri else _path(parts.path)
    return Recipe(
        builder=builder,
        version=version,
        builder_platform=Platform.parse(parts.builder_platform) if parts.builder_platform else None,
        context="" if is_local else _source(known.context or uri),
        dockerfile=dockerfile,
        lacks_dockerfile="dockerfile" in names,
        target=known.target,
        build_args=known.build_args,
        labels=known.labels,
        network=known.network,
        extra_hosts=known.extra_hosts,
        shm_size_bytes=known.shm_size_bytes,
        squash=known.squash,
        ulimits=known.ulimits,
        contexts=known.contexts,
        local_contexts=tuple(known.local_contexts),
        pins=_pins([parts.source, *_bounded(parts.materials, "sources")]),
        masked=tuple(uri for uri in (m.text("uri") for m in parts.materials) if has_masks(uri)),
        secrets=_needed(request, "secrets"),
        agents=_needed(request, "ssh"),
        is_partial=parts.is_partial,
        unknown=tuple(known.unknown),
    )


_Many = TypeVar("_Many", bound=Sized)


def _bounded(found: _Many, what: str) -> _Many:
    if len(found) > _MOST:
        raise LimitExceeded(f"provenance: {len(found)} {what}, more than {_MOST}")
    return found


def _check_frontend(frontend: str, args: Mapping[str, str]) -> None:
    """Refuse what read no Dockerfile."""
    if frontend == "gateway.v0":
        try:
            frontend = ImageRef.parse(args.get("source", "")).with_tag(None).familiar
        except InvalidReference:
            frontend = args.get("source", "")
    if frontend not in ("dockerfile.v0", *_FRONTENDS):
        raise InvalidDocument(
            f"provenance: it was built by the frontend {frontend[:100]!r}, which is not run here",
            hint="images that were built from a Dockerfile can be built again",
        )


def _needed(request: Object, key: str) -> tuple[Needed, ...]:
    listed = _bounded(request.objects(key), key)
    return tuple(Needed(o.text("id") or "default", o.boolean("optional")) for o in listed)


# --- sources -----------------------------------------------------------------------------------


def _source(uri: str) -> str:
    """The address of a build context; empty for none."""
    if uri and context_ref(uri) is None and not is_http_url(uri):
        raise InvalidDocument(
            f"provenance: its source {uri[:200]!r} is neither a repository nor an address",
            hint="sources are fetched over http, https, git and ssh only",
        )
    return uri


def _address(uri: str) -> str:
    """The address of a Dockerfile that did not come with its context."""
    if not is_http_url(uri) or is_git_url(uri):
        raise InvalidDocument(f"provenance: its Dockerfile {uri[:200]!r} is no address of a file")
    return uri


def _path(path: str) -> str:
    """The path of a Dockerfile in its source; empty for its usual name."""
    normal = posixpath.normpath(f"/{path}").lstrip("/")
    if normal == "-" or "\0" in path or posixpath.normpath(path).startswith(".."):
        raise InvalidDocument(f"provenance: its Dockerfile {path[:200]!r} is no path in its source")
    return normal


def _pins(materials: Iterable[Object]) -> Pins:
    """What the sources were; of what only the builder's machine has nothing is pinned."""
    images: dict[str, Digest] = {}
    repositories: dict[str, str] = {}
    files: dict[str, Digest] = {}
    for material in materials:
        uri, digests = material.text("uri"), material.text_map("digest")
        if not digests:
            continue
        if uri.startswith("pkg:docker/"):
            image = _image(uri)
            if image.digest is None:  # else the name itself says it
                _pin(images, str(image), _digest(uri, digests))
        elif (ref := context_ref(uri)) is not None:
            _pin(repositories, ref.pin, _commit(uri, digests))
        elif is_http_url(uri) and not has_masks(uri):  # several files may look alike behind masks
            _pin(files, uri, _digest(uri, digests))
    return Pins(images=images, repositories=repositories, files=files)


_Pin = TypeVar("_Pin", str, Digest)


def _pin(pins: dict[str, _Pin], name: str, pin: _Pin) -> None:
    if pins.setdefault(name, pin) != pin:
        raise InvalidDocument(f"provenance: {name[:200]} is both {pins[name]} and {pin}")


def _image(uri: str) -> ImageRef:
    try:
        return image_of_purl(uri)
    except InvalidDocument as e:
        raise e.of("provenance") from None


def _digest(uri: str, digests: Mapping[str, str]) -> Digest:
    found = next(((name, digests[name]) for name in ("sha256", "sha512") if name in digests), None)
    if found is None:
        raise InvalidDocument(f"provenance: {uri[:200]} has neither a sha256 nor a sha512")
    try:
        return Digest.parse(":".join(found))
    except InvalidDocument as e:
        raise e.of(f"provenance: {uri[:200]}") from None


def _commit(uri: str, digests: Mapping[str, str]) -> str:
    commit = digests.get("sha1") or digests.get("sha256", "")
    if not is_commit(commit):
        raise InvalidDocument(f"provenance: {uri[:200]} has no commit")
    return commit


# --- arguments ---------------------------------------------------------------------------------


class _Arguments:
    """The arguments of the frontend, each taken for what it is."""

    def __init__(self) -> None:
        self.context = self.target = ""
        self.build_args: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.network = "default"
        self.extra_hosts: tuple[tuple[str, str], ...] = ()
        self.shm_size_bytes = 0
        self.squash = False
        self.ulimits: tuple[tuple[str, int, int], ...] = ()
        self.contexts: dict[str, NamedContext] = {}
        self.local_contexts: list[str] = []
        self.unknown: list[str] = []

    def take(self, key: str, value: str) -> None:
        """Take one.

        Raises:
            UsageError, DockerfileError: a value that it cannot have.
        """
        kind, _, name = key.partition(":")
        match kind:
            case "build-arg" if name:
                if name not in ASKING_ARGS.values():
                    self.build_args[name] = value
            case "label" if name:
                self.labels[name] = value
            case "context" if name:
                self._named(name, value)
            case "attest" | "vcs" if name:
                pass  # of what is told of the image, not of what it holds
            case _ if key in _WITHOUT_EFFECT:
                pass
            case _:
                self._plain(key, value)

    def _plain(self, key: str, value: str) -> None:
        match key:
            case "context":
                self.context = value
            case "target":
                self.target = value
            case "force-network-mode":
                if value not in ("default", "none", "host"):
                    raise UsageError(f"invalid netmode {value[:100]}")
                self.network = value
            case "add-hosts":
                self.extra_hosts = parse_hosts(filter(None, value.split(",")))
            case "squash":
                self.squash = value == "true"
            case "shm-size":
                self.shm_size_bytes = parse_size(value, key)
            case "ulimit":
                self.ulimits = tuple(parse_ulimit(word) for word in value.split(",") if word)
            case _:
                self.unknown.append(key)

    def _named(self, name: str, place: str) -> None:
        """A named context, perhaps for one platform."""
        name, colons, platform = name.partition("::")
        name = f"{normalise_name(name)}{colons}{platform}"
        if place.startswith("docker-image://"):
            image = place.removeprefix("docker-image://")
            if image != "scratch":
                ImageRef.parse(image)
            self.contexts[name] = DockerImage(image)
        elif is_git_url(place):
            self.contexts[name] = GitContext(GitRef.parse(place))
        elif is_http_url(place):
            self.contexts[name] = HttpContext(place)
        else:
            self.local_contexts.append(name)
