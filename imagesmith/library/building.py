"""Builds from Python: one image, or the targets of a bake file.

Why in a child: what executes steps moves into namespaces; the caller's process stays as it is (child.py).
Trust: Dockerfiles and definitions are others'; what is built is built as the command does it.
Threads: any, several at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.cacheoptions import parse_cache_from, parse_cache_to
from imagesmith.context.named import parse_named
from imagesmith.events import EventSink, nobody
from imagesmith.library.credentials import Insecure, Logins, access_by
from imagesmith.library.documented import documented
from imagesmith.library.several import several
from imagesmith.oci.names import ImageRef
from imagesmith.options import is_indexed, parse_emulator, parse_platforms, parse_secret
from imagesmith.outputoptions import check_places, parse_output
from imagesmith.plugins import BAKED
from imagesmith.plugins import load as loaded
from imagesmith.values import frozen, replace

if TYPE_CHECKING:
    from imagesmith.image.result import BuildResult
    from imagesmith.request import Attestations, BuildRequest, Output
    from imagesmith.settings import Settings
    from imagesmith.worker.sandbox.world import World

__all__ = ["bake", "build"]


@documented
def build(
    context: str | Path = ".",
    *,
    dockerfile: str | Path | None = None,
    target: str = "",
    build_args: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    contexts: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
    tags: Iterable[str] = (),
    outputs: Iterable[str | Output] = (),
    platform: str | Iterable[str] = "",
    push: bool = False,
    pull: bool = False,
    pin: bool | None = None,
    no_cache: bool = False,
    cache_from: Iterable[str] = (),
    cache_to: Iterable[str] = (),
    explain: bool = False,
    report: str | Path = "",
    provenance: str | bool = False,
    sbom: str | bool = False,
    network: str = "default",
    isolation: str = "auto",
    emulators: Iterable[str] = (),
    insecure: Insecure = False,
    credentials: Logins | None = None,
    policy: str | Path = "",
    root: str | Path = "",
    events: EventSink = nobody,
) -> BuildResult:
    """Build an image from a Dockerfile, in a child: the calling process stays as it is.

    Args:
        context: a folder, or what else `imagesmith build` takes: a git address, the URL of a tar.
        dockerfile: its file; by default Dockerfile in the context.
        target: the stage that is built; by default the last one.
        build_args: values of ARGs, SOURCE_DATE_EPOCH among them. The environment is not looked at.
        labels: of the image, over those of the Dockerfile.
        contexts: named contexts, each a place as --build-context takes it.
        secrets: `id=…,src=…` or `id=…,env=…`.
        tags: names of the image; with `push` it is sent to the registry of each.
        platform: one, or several as --platform takes them; then an index is made.
        outputs: as --output takes them, or Output values; by default the store, if there are tags.
        push: send the image to the registry of each of its tags.
        pull: ask for base images anew.
        no_cache: execute every step.
        network: of RUN: default, host or none.
        pin: add new sources to Dockerfile.lock (True), or do without one (False); by default one that is
            there is required.
        cache_from, cache_to: places of caches, as the command line takes them.
        explain, report: tell `events` why steps are executed; where to write a page about the build.
        provenance, sbom: what is attested of the image: True, or values as the command line takes them.
        isolation: of RUN: auto, native, chroot, oci, or none, without RUN. A chroot is taken by auto in a
            container only.
        emulators: what runs RUN of other architectures: `PATH` or `PLATFORM=PATH` of a static qemu.
        credentials: Credentials or a Token for the registries of `tags`, or a mapping from registries to
            them, for base images and caches as well; no file of credentials is read then.

    Returns:
        What was built: `digest`, `image_id`, `images` by platform, `tags`, `pushed`.

    Raises:
        DockerfileError: the Dockerfile is wrong; `file`, `first` and `last` say where.
        StepFailed: a RUN failed; `status` and `output` are its own.
        ImagesmithError: anything else, with its `exit_code`.

    Example:
        >>> built = imagesmith.build("app", tags=["registry.example/team/app:2"], labels={"team": "a"})
        >>> built
        BuildResult(registry.example/team/app:2, sha256:...…, linux/amd64)
        >>> built.image.config.runtime.labels["team"]
        'a'
    """
    from imagesmith.child import build_in_child
    from imagesmith.request import BuildRequest

    names = tuple(map(ImageRef.parse, several(tags)))
    hosts = [name.registry for name in names]
    request = BuildRequest(
        context=str(context), dockerfile=str(dockerfile) if dockerfile else None, target=target,
        build_args=dict(build_args or {}), labels=dict(labels or {}),
        contexts=dict(parse_named(f"{name}={place}") for name, place in (contexts or {}).items()),
        secrets=tuple(map(parse_secret, several(secrets))), tags=names,
        outputs=_outputs(outputs, push), emulators=tuple(map(parse_emulator, several(emulators))),
        platforms=(asked := parse_platforms(several(platform))),
        indexed=is_indexed(asked, build_args or {}), pull=pull, pin=pin, no_cache=() if no_cache else None,
        network=network, access=access_by(insecure, credentials, hosts), policy=str(policy),
        cache_from=parse_cache_from(several(cache_from)),
        cache_to=parse_cache_to(several(cache_to), build_args or {}),
        explain=explain, report=str(report), attestations=_attested(provenance, sbom, build_args or {}),
    )  # fmt: skip
    return build_in_child(request, str(root), isolation, events)


def _outputs(outputs: Iterable[str | Output], push: bool) -> tuple[Output, ...]:
    """The outputs as values; with `push` a registry besides."""
    from imagesmith.request import Output

    wanted = [parse_output(o) if isinstance(o, str) else o for o in several(outputs)]
    return check_places([*wanted, Output(type="registry")] if push else wanted)


def _attested(provenance: str | bool, sbom: str | bool, build_args: Mapping[str, str]) -> Attestations | None:
    """What is to be attested; nothing unless it is asked for."""
    texts = [text if isinstance(text, str) else str(text).lower() for text in (provenance, sbom)]
    if texts == ["false", "false"] and not any(name.startswith("BUILDKIT_ATTEST_") for name in build_args):
        return None
    from imagesmith.attest.asked import parse_attestations

    return parse_attestations(texts[0], texts[1], (), build_args, {})


@documented
def bake(
    *targets: str,
    files: Iterable[str | Path] = (),
    variables: Mapping[str, str] | None = None,
    sets: Iterable[str] = (),
    allow: Iterable[str] = (),
    push: bool = False,
    load: bool = False,
    no_cache: bool | None = None,
    pull: bool | None = None,
    provenance: str = "",
    sbom: str = "",
    jobs: int = 0,
    isolation: str = "auto",
    report: str | Path = "",
    insecure: Insecure = False,
    credentials: Logins | None = None,
    policy: str | Path = "",
    root: str | Path = "",
    events: EventSink = nobody,
) -> dict[str, BuildResult]:
    """Build targets of bake and compose files together, in a child; what they have in common is built once.

    Args:
        targets: names of targets and groups, or patterns of them; by default the group `default`. The
            address of a definition that is elsewhere may stand before them.
        files: bake and compose files; by default those of the working folder.
        variables: values of variables, over those of the environment.
        sets: what targets say instead, as `app.args.VERSION=2` or `*.platform=linux/arm64`.
        allow: what the definition may do beyond the working folder, as --allow takes it.
        push: send the images of targets that make any to their registries.
        load: give them to docker or podman.
        no_cache, pull: over what targets say: execute every step; ask for base images anew.
        provenance, sbom: what is attested of each, as the command line takes it.
        jobs: steps at the same time; by default as many as are worth it.
        isolation: of RUN, as for `build`.
        report: where to write a page about the builds.
        credentials: Credentials or a Token for the registries of the targets' tags, or a mapping from
            registries to them; no file of credentials is read then.

    Returns:
        What was built, by target.

    Raises:
        DefinitionError: the definition is wrong.
        UsageError: it has no such target, or asks for what is not allowed; the hint says what allows it.
        ImagesmithError: of the first target that failed.

    Example:
        >>> imagesmith.bake("app", files=["docker-bake.hcl"], variables={"VERSION": "3"})
        {'app': BuildResult(registry.example/team/app:baked, sha256:...…, linux/amd64)}
    """
    from imagesmith.child import in_child

    words = [
        *_each("--file", map(str, several(files))), *_each("--set", sets), *_each("--allow", allow),
        *_each("--var", (f"{name}={value}" for name, value in (variables or {}).items())),
        *(["--push"] if push else []), *(["--load"] if load else []),
        *_each("--no-cache", [] if no_cache is None else [str(no_cache).lower()]),
        *_each("--pull", [] if pull is None else [str(pull).lower()]),
        *_each("--provenance", filter(None, [provenance])), *_each("--sbom", filter(None, [sbom])),
        *_each("--report", filter(None, [str(report)])), *_each("--root", filter(None, [str(root)])),
        *_each("--policy", filter(None, [str(policy)])), "--", *targets,
    ]  # fmt: skip
    with loaded(BAKED)(words) as (requests, names):
        hosts = [tag.registry for request in requests for tag in request.tags]
        access = access_by(insecure, credentials, dict.fromkeys(hosts))
        job = _BakeJob(tuple(replace(request, access=access) for request in requests), jobs)
        built = in_child(job, str(root), isolation, events)
    return {name: built[name] for name in names}


def _each(flag: str, values: Iterable[str]) -> list[str]:
    return [f"{flag}={value}" for value in several(values)]


@frozen
class _BakeJob:
    """Build several requests in one session; see child.Job."""

    requests: tuple[BuildRequest, ...]
    jobs: int

    def prepare(self) -> None:
        """See Job."""
        if loads := [output for request in self.requests for output in request.outputs if output.loads]:
            from imagesmith.export.loading import prepare

            prepare(loads)

    def perform(self, settings: Settings, here: World, events: EventSink) -> dict[str, BuildResult]:
        """See Job."""
        from imagesmith.child import abroad
        from imagesmith.session import Session, jobs_here

        with Session(settings, here, events) as session:
            found = session.build_all(self.requests, self.jobs or jobs_here())
        return {request.name: abroad(built) for request, built in zip(self.requests, found, strict=True)}
