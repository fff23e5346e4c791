"""What a build is asked to do: every option of `imagesmith build`, typed.

Why: the command line and the library fill this one value; nothing below reads arguments or environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from imagesmith.quotas import Limits
from imagesmith.settings import Access
from imagesmith.values import field, frozen

if TYPE_CHECKING:
    from imagesmith.context.named import NamedContext
    from imagesmith.layer.codecs import Codec
    from imagesmith.oci.digest import Digest
    from imagesmith.oci.names import ImageRef, Platform

__all__ = [
    "Annotation",
    "Attestations",
    "BuildRequest",
    "CachePlace",
    "Emulator",
    "OnFailure",
    "Output",
    "Pins",
    "ProvenanceWanted",
    "SbomWanted",
    "SecretSource",
    "ShellAt",
]


@frozen
class Annotation:
    """An annotation; `kind` is manifest, manifest-descriptor, index or index-descriptor.

    Without a platform it is for all.
    """

    kind: str
    key: str
    value: str
    platform: Platform | None = None


@frozen(kw_only=True)
class Output:
    """One -o: a type and its options as given; `dest` is a path, `-` or empty."""

    type: str
    dest: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean option, checked when it was parsed."""
        value = self.options.get(name)
        return default if value is None else value.lower() in ("1", "t", "true")

    @property
    def loads(self) -> bool:
        """True if the image is given to a daemon or a store of this machine."""
        return self.type == "docker" and not self.dest

    @property
    def pushes(self) -> bool:
        """True if the image is sent to the registry of each of its names."""
        return self.type in ("image", "registry") and self.flag("push", self.type == "registry")


@frozen
class SecretSource:
    """A --secret: its value comes from a file or from a variable of the environment."""

    id: str
    file: str = ""
    env: str = ""


@frozen
class Emulator:
    """An --emulator: a static program that runs those of another architecture; no platform is every one's."""

    path: str
    platform: Platform | None = None


@frozen(kw_only=True)
class CachePlace:
    """One --cache-from or --cache-to.

    type            registry (`ref`), local (`path` of a layout, `tag` or `digest` in it) or inline
    mode            min: the steps of the result only; max: those of every stage
    codec           compression of the layers that are written; None leaves them as they are
    ignore_error    a cache that cannot be written is a warning
    merge           what the place holds already stays in it
    """

    type: str
    ref: ImageRef | None = None
    path: str = ""
    tag: str = ""
    digest: Digest | None = None
    mode: str = "min"
    codec: Codec | None = None
    ignore_error: bool = False
    merge: bool = False

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.ref) if self.ref is not None else self.path or self.type


@frozen(kw_only=True)
class ProvenanceWanted:
    """One --provenance.

    mode        min, or max with arguments and the plan; version v1 or v0.2, of SLSA's predicate
    builder_id  who builds, a URI; empty for ours
    filename    of the file beside outputs that are files
    reproducible   claim that the build is
    inline_only    in images alone, not in files that hold one
    complete    refuse a build whose sources nobody else can fetch
    """

    mode: str = "max"
    version: str = "v1"
    builder_id: str = ""
    filename: str = "provenance.json"
    reproducible: bool = False
    inline_only: bool = False
    complete: bool = False


@frozen(kw_only=True)
class SbomWanted:
    """One --sbom; `format` is spdx or cyclonedx."""

    format: str = "spdx"


@frozen(kw_only=True)
class Attestations:
    """What is to be attested of each image; `oci_artifact` is for outputs that do not say it."""

    provenance: ProvenanceWanted | None = None
    sbom: SbomWanted | None = None
    oci_artifact: bool = True


@frozen(kw_only=True)
class Pins:
    """What names and addresses stand for, where that is settled before anything is asked of a server.

    images        digests by references in full, with their tags
    repositories  commits by addresses and refs, see GitRef.pin
    files         digests by URLs
    """

    images: Mapping[str, Digest] = field(default_factory=dict)
    repositories: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Digest] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """True if anything is settled."""
        return bool(self.images or self.repositories or self.files)


@frozen(kw_only=True)
class OnFailure:
    """What is done where a RUN fails.

    keep    what it left is kept in the store as an image of this name; None opens a shell there instead
    shell   the path of that shell in the image, empty for the step's own
    """

    keep: ImageRef | None = None
    shell: str = ""


@frozen
class ShellAt:
    """Where a shell is opened before anything fails: a stage, and a line of the Dockerfile, 0 for its end."""

    stage: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.stage}:{self.line}" if self.line else self.stage


@frozen(kw_only=True)
class BuildRequest:
    """A build. Paths are as the user gave them, relative to the working directory.

    name            of the target, where there are several: their vertices are called by it; else empty
    context         folder, URL, git address or `-`
    platforms       what is built for, as asked: one that is doubled counts once; empty for this machine's
    indexed         an index is made, and steps are called by their platforms: of several it always is
    dockerfile      path of the Dockerfile, `-` for standard input, None for the context's own
    inline          the Dockerfile itself, if it was given as text
    cache_from      where to look for steps that the store does not know; cache_to where to write them
    squash          new layers are made one, as docker build --squash does
    explain         tell for each step why it was executed
    report          path of an HTML page about the build, or empty
    limits          what each RUN step may take of memory and processors
    step_timeout_s  how long a RUN step may take, 0 for no limit
    on_failure      what is done where a RUN fails, besides telling so
    shell_at        where a shell is opened that changes nothing
    emulators       what runs RUN of other architectures, before what is registered or found on PATH
    access          how registries are reached
    policy          the file of the policy that images from elsewhere are under, or settings.MACHINE; empty
                    for that of the settings, if there is one
    attestations    statements that go with the images; None for none
    recorded        the provenance in the metadata file: min, max, or empty for none
    pins            what names and addresses must be
    pin             settle what the lock beside the Dockerfile lacks (True), or do without one (False); None
                    honours the one that is there
    is_foreign      others than the user named the sources: git has nothing of the user's own for them
    own_remote      but for this one repository, which the user named
    cache_ttl_s     steps that were made longer ago are executed again; None takes any
    no_cache        stages that are executed whatever the cache says; an empty tuple means all, None none
    """

    name: str = ""
    context: str = "."
    dockerfile: str | None = None
    inline: bytes | None = None
    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: tuple[Annotation, ...] = ()
    tags: tuple[ImageRef, ...] = ()
    platforms: tuple[Platform, ...] = ()
    indexed: bool = False
    outputs: tuple[Output, ...] = ()
    contexts: Mapping[str, NamedContext] = field(default_factory=dict)
    secrets: tuple[SecretSource, ...] = ()
    ssh: Mapping[str, str] = field(default_factory=dict)
    cache_from: tuple[CachePlace, ...] = ()
    cache_to: tuple[CachePlace, ...] = ()
    squash: bool = False
    explain: bool = False
    report: str = ""
    no_cache: tuple[str, ...] | None = None
    cache_ttl_s: float | None = None
    pull: bool = False
    network: str = "default"
    extra_hosts: tuple[tuple[str, str], ...] = ()
    shm_size_bytes: int = 0
    ulimits: tuple[tuple[str, int, int], ...] = ()
    cgroup_parent: str = ""
    limits: Limits = field(default_factory=Limits)
    step_timeout_s: float = 0.0
    on_failure: OnFailure | None = None
    shell_at: ShellAt | None = None
    emulators: tuple[Emulator, ...] = ()
    allow: frozenset[str] = frozenset()
    access: Access = field(default_factory=Access)
    policy: str = ""
    attestations: Attestations | None = None
    recorded: str = ""
    pins: Pins = field(default_factory=Pins)
    pin: bool | None = None
    is_foreign: bool = False
    own_remote: str = ""

    def owns(self, remote: str) -> bool:
        """True if git may use what the user has for a repository."""
        return not self.is_foreign or (remote != "" and remote == self.own_remote)

    @property
    def platform(self) -> Platform | None:
        """The platform, or of several the first; None for this machine's."""
        return self.platforms[0] if self.platforms else None
