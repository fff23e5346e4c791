"""imagesmith as a library: build, push, pull and copy images from Python.

    import imagesmith

    built = imagesmith.build("app", tags=["registry.example/app:1"], outputs=["type=oci,dest=app.tar"])
    print(built.digest, built.image_id)
    imagesmith.push("registry.example/app:1")

Why: the same values and the same errors as the command line, without its screen: nothing is printed, what
happens is told to `events`, and every failure is an imagesmith.ImagesmithError with an `exit_code`.
Everywhere `root` is the store's folder (by default that of the command), `insecure` lets registries speak
plain HTTP or show any certificate, `policy` is the file of a policy of containers that images must meet (by
default IMAGESMITH_POLICY's; `none` for none), and `events` is called from any thread.
The calling process stays as it is: a build runs in a child (child.py), which an interrupt ends.
Threads: every function may be called from any, several at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.cacheoptions import parse_cache_from, parse_cache_to
from imagesmith.context.named import parse_named
from imagesmith.events import EventSink, nobody
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.options import is_indexed, parse_emulator, parse_platforms, parse_secret
from imagesmith.outputoptions import check_places, parse_output
from imagesmith.settings import Access, Settings
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.image.result import BuildResult
    from imagesmith.oci.model import Descriptor
    from imagesmith.request import Attestations, Output
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["build", "copy", "pull", "push"]


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
    insecure: bool = False,
    policy: str | Path = "",
    root: str | Path = "",
    events: EventSink = nobody,
) -> BuildResult:
    """Build an image from a Dockerfile.

    Args:
        context, dockerfile, target: what is built, as on the command line.
        build_args: values of ARGs, SOURCE_DATE_EPOCH among them. The environment is not looked at.
        contexts: named contexts, each a place as --build-context takes it.
        secrets: `id=…,src=…` or `id=…,env=…`.
        tags: names of the image; with `push` it is sent to the registry of each.
        platform: one, or several as --platform takes them; then an index is made.
        outputs: as --output takes them, or Output values; by default the store, if there are tags.
        pin: add new sources to Dockerfile.lock (True), or do without one (False); by default one that is
            there is required.
        cache_from, cache_to: places of caches, as the command line takes them.
        explain, report: tell `events` why steps are executed; where to write a page about the build.
        provenance, sbom: what is attested of the image: True, or values as the command line takes them.
        isolation: of RUN: auto, native, chroot, oci, or none, without RUN. A chroot is taken by auto in a
            container only.
        emulators: what runs RUN of other architectures: `PATH` or `PLATFORM=PATH` of a static qemu.

    Raises:
        ImagesmithError: located in the Dockerfile where it belongs to an instruction.
    """
    from imagesmith.child import build_in_child
    from imagesmith.request import BuildRequest

    request = BuildRequest(
        context=str(context), dockerfile=str(dockerfile) if dockerfile else None, target=target,
        build_args=dict(build_args or {}), labels=dict(labels or {}),
        contexts=dict(parse_named(f"{name}={place}") for name, place in (contexts or {}).items()),
        secrets=tuple(map(parse_secret, secrets)), tags=tuple(map(ImageRef.parse, tags)),
        outputs=_outputs(outputs, push), emulators=tuple(map(parse_emulator, emulators)),
        platforms=(asked := parse_platforms([platform] if isinstance(platform, str) else platform)),
        indexed=is_indexed(asked, build_args or {}), pull=pull, pin=pin, no_cache=() if no_cache else None,
        network=network, access=Access(insecure=insecure), policy=str(policy),
        cache_from=parse_cache_from(cache_from), cache_to=parse_cache_to(cache_to, build_args or {}),
        explain=explain, report=str(report), attestations=_attested(provenance, sbom, build_args or {}),
    )  # fmt: skip
    return build_in_child(request, str(root), isolation, events)


def _outputs(outputs: Iterable[str | Output], push: bool) -> tuple[Output, ...]:
    """The outputs as values; with `push` a registry besides."""
    from imagesmith.request import Output

    wanted = [parse_output(o) if isinstance(o, str) else o for o in outputs]
    return check_places([*wanted, Output(type="registry")] if push else wanted)


def _attested(provenance: str | bool, sbom: str | bool, build_args: Mapping[str, str]) -> Attestations | None:
    """What is to be attested; nothing unless it is asked for."""
    texts = [text if isinstance(text, str) else str(text).lower() for text in (provenance, sbom)]
    if texts == ["false", "false"] and not any(name.startswith("BUILDKIT_ATTEST_") for name in build_args):
        return None
    from imagesmith.attest.asked import parse_attestations

    return parse_attestations(texts[0], texts[1], (), build_args, {})


def push(
    ref: str, *, insecure: bool = False, root: str | Path = "", events: EventSink = nobody
) -> Descriptor:
    """Send an image of the store to the registry of its name.

    Raises:
        NotFound: the store has no image of that name.
        RegistryError: the registry refused or failed.
    """
    settings = Settings.load(str(root))
    return _copy(f"store:{ref}", f"docker://{ref}", replace(settings, policy=""), insecure, events)


def pull(
    ref: str,
    *,
    platform: str = "",
    insecure: bool = False,
    policy: str | Path = "",
    root: str | Path = "",
    events: EventSink = nobody,
) -> Descriptor:
    """Bring an image into the store; all platforms of an index unless one is named.

    Raises:
        NotFound: there is no such image.
        Untrusted: the policy refuses it.
        RegistryError: the registry refused or failed.
    """
    from imagesmith.store.store import Store

    name, settings = ImageRef.parse(ref), Settings.load(str(root))
    settings = replace(settings, policy=str(policy) or settings.policy)
    with Store(settings.root) as store, _session(store, settings, insecure, events) as session:
        found = session.pull(name, Platform.parse(platform) if platform else None)
        store.name(name, found)
    return found


def copy(
    source: str,
    target: str,
    *,
    insecure: bool = False,
    policy: str | Path = "",
    root: str | Path = "",
    events: EventSink = nobody,
) -> Descriptor:
    """Copy an image between registries, the store, layouts and archives, in the words of `imagesmith copy`.

    Raises:
        UsageError: a place that is not known.
        NotFound: the source has no such image.
        Untrusted: the policy refuses it.
    """
    settings = Settings.load(str(root))
    return _copy(source, target, replace(settings, policy=str(policy) or settings.policy), insecure, events)


def _copy(source: str, target: str, settings: Settings, insecure: bool, events: EventSink) -> Descriptor:
    from imagesmith.store.store import Store
    from imagesmith.transports.names import PlaceName, open_source, open_target

    with (
        Store(settings.root) as store,
        _session(store, settings, insecure, events) as session,
        open_source(PlaceName.parse(source), session, store) as from_,
        open_target(PlaceName.parse(target), session, store) as to,
    ):
        return session.copy(from_, to)


def _session(store: Store, settings: Settings, insecure: bool, events: EventSink) -> Session:
    """A session with registries, under the policy of the settings if there is one."""
    from imagesmith.transports.transfer import Session

    admission = None
    if policy := settings.policy_for(""):
        from imagesmith.trust.admission import admission_by

        admission = admission_by(policy)
    access = Access(insecure=insecure)
    return Session(store, access=access, events=events, transfers=settings.transfers, admission=admission)
