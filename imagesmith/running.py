"""A command in an image, in the sandbox of RUN: what is asked, and its process; what it changes is dropped.

Why here and not in a runtime: the machine that built an image may have no other way to see that it starts.
Spec: `docker run` for what takes the place of what in the image's config.
Trust: the image is a stranger's, and its process is kept apart as a step of a build is.
Threads: the caller's; the sandbox has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imagesmith.errors import UsageError
from imagesmith.events import EventSink
from imagesmith.interfaces import Mount, RunSpec
from imagesmith.oci.names import Platform
from imagesmith.quotas import Limits
from imagesmith.request import BuildRequest, Emulator
from imagesmith.settings import Access, Settings
from imagesmith.values import field, frozen, replace

if TYPE_CHECKING:
    from imagesmith.fs.view import View
    from imagesmith.interfaces import Admission, Output, Workspace
    from imagesmith.store.store import Store
    from imagesmith.transports.bases import ResolvedImage
    from imagesmith.worker.sandbox.world import World

__all__ = ["SHM_BYTES", "RunRequest", "parse_volume", "run_image", "spec_of"]

_READONLY = {"ro": True, "rw": False}
#: What docker takes after a volume and what has no meaning where nothing is relabelled or propagated.
_VOID = {"z", "Z", "cached", "delegated", "consistent", "private", "rprivate"}
#: The size of /dev/shm (bytes), where nobody says it.
SHM_BYTES = 64 << 20


@frozen(kw_only=True)
class RunRequest:
    """What is run, and how.

    image       a name in the store, or in a registry
    command     instead of the image's CMD
    entrypoint  instead of the image's; empty for none; None for the image's, and its CMD
    env         variables over the image's
    workdir, user, hostname   instead of the image's; empty for those
    volumes     files and folders of the machine
    tmpfs       folders in memory
    pull        ask the registry even if the store has the name
    platform    of an index; None for this machine's
    tty, interactive   it has a terminal; it is given standard input
    forwards    signals that this process gets are the command's
    """

    image: str
    command: tuple[str, ...] = ()
    entrypoint: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = ""
    user: str = ""
    hostname: str = ""
    volumes: tuple[Mount, ...] = ()
    tmpfs: tuple[str, ...] = ()
    network: Literal["default", "host", "none"] = "default"
    hosts: tuple[tuple[str, str], ...] = ()
    limits: Limits = field(default_factory=Limits)
    shm_size_bytes: int = SHM_BYTES
    ulimits: tuple[tuple[str, int, int], ...] = ()
    cgroup_parent: str = ""
    tty: bool = False
    interactive: bool = False
    forwards: bool = False
    pull: bool = False
    platform: Platform | None = None
    emulators: tuple[Emulator, ...] = ()
    access: Access = field(default_factory=Access)


def run_image(
    request: RunRequest,
    settings: Settings,
    here: World,
    *,
    events: EventSink,
    admission: Admission | None,
    output: Output,
    ready: Callable[[], object] = lambda: None,
) -> int:
    """Run a command in an image to its end, and return the status that a shell would.

    Args:
        request: what is run.
        settings: where the store is.
        here: where it is run; this process is in that world.
        events: is told of what is fetched.
        admission: who is asked about the image, if anybody.
        output: takes what the command writes.
        ready: is called once the image is here, or could not be had.

    Raises:
        UsageError: there is no command, or something cannot be honoured.
        NotFound: there is no such image.
        NotStarted: the command cannot be started.
        SandboxError: the image has no such user, or nothing here can run it.
    """
    from imagesmith.fs.view import View
    from imagesmith.oci.names import is_native
    from imagesmith.store.store import Store
    from imagesmith.transports.bases import Bases
    from imagesmith.worker.snapshot.choose import make_snapshotter

    asked = BuildRequest(pull=request.pull, access=request.access)
    with Store(settings.root) as store:
        try:
            images = Bases(store, settings, asked, events, admission=admission)
            image = images.find(request.image, request.platform)
            images.fetch_all(image)
        finally:
            ready()
        layers = images.layers(image)
        view = View([layer.index() for layer in layers])
        spec = spec_of(request, image, view)
        if not is_native(image.config.platform):
            spec = _emulated(request, here, store, image.config.platform, spec)
        snapshots = make_snapshotter(here.place, store)
        try:
            return _execute(here, spec, snapshots.prepare(layers, view), output)
        finally:
            snapshots.close()


def _emulated(request: RunRequest, here: World, store: Store, platform: Platform, spec: RunSpec) -> RunSpec:
    """The process of an image of another architecture.

    Raises:
        SandboxUnavailable: nothing runs its programs here.
    """
    from imagesmith.worker.emulator import Emulators

    emulators = Emulators(list(request.emulators), here, store.root)
    emulators.require(platform)
    return replace(spec, emulators=emulators.rows(platform))


def _execute(here: World, spec: RunSpec, workspace: Workspace, output: Output) -> int:
    """Run it to its end; returns the status for the shell."""
    sandbox = here.sandbox()
    try:
        return sandbox.run(spec, workspace.root, output, lambda: False)
    finally:
        sandbox.close()
        workspace.discard()


def spec_of(request: RunRequest, image: ResolvedImage, view: View) -> RunSpec:
    """The process that a request and the image's config describe.

    Raises:
        UsageError: there is no command, or something cannot be honoured.
        SandboxError: the image has no such user.
    """
    from imagesmith.fs.owner import process_user
    from imagesmith.fs.view import largest_id
    from imagesmith.oci.config import DEFAULT_PATH

    config = image.config.runtime
    user = process_user(request.user or config.user, view)
    hostname = request.hostname or image.descriptor.digest.hex[:12]
    env = dict(word.partition("=")[::2] for word in config.env)
    env.setdefault("PATH", DEFAULT_PATH)
    env["HOSTNAME"] = hostname
    if request.tty:
        env["TERM"] = "xterm"
    env |= request.env
    env["HOME"] = env.get("HOME") or user.home
    tmpfs = [
        Mount(kind="tmpfs", target=_absolute(d, "--tmpfs"), nosuid=True, nodev=True) for d in request.tmpfs
    ]
    mounts = {m.target: m for m in [*request.volumes, *tmpfs]}
    return RunSpec(
        argv=_command(request, config.entrypoint, config.cmd),
        env=tuple(env.items()),
        cwd=_absolute(request.workdir or config.working_dir or "/", "--workdir"),
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        mounts=tuple(mounts[target] for target in sorted(mounts)),
        network=request.network,
        hostname=hostname,
        hosts=request.hosts,
        shm_size_bytes=request.shm_size_bytes,
        ulimits=request.ulimits,
        cgroup_parent=request.cgroup_parent,
        limits=request.limits,
        tty=request.tty,
        interactive=request.interactive,
        forwards=request.forwards,
        largest_id=largest_id(view),
    )


def _command(request: RunRequest, entrypoint: tuple[str, ...], cmd: tuple[str, ...]) -> tuple[str, ...]:
    """ENTRYPOINT and CMD with what replaces them; another entrypoint takes the image's CMD away."""
    if request.entrypoint is not None:
        entrypoint, cmd = (request.entrypoint,) if request.entrypoint else (), ()
    argv = (*entrypoint, *(request.command or cmd))
    if not argv:
        raise UsageError("no command is given, and the image has none")
    return argv


def parse_volume(text: str) -> Mount:
    """-v: a path of the machine, the place in the image, and perhaps options.

    Raises:
        UsageError: it is no such text, or nothing is at the path.
    """
    source, _, rest = text.partition(":")
    target, _, options = rest.partition(":")
    if not source or not target:
        raise UsageError(f"-v {text}: expected PATH:DIR or PATH:DIR:ro")
    if "/" not in source and source not in (".", ".."):
        raise UsageError(f"-v {text}: there are no named volumes", hint=f"for a folder write ./{source}")
    words = [word for word in options.split(",") if word]
    unknown = [word for word in words if word not in _READONLY and word not in _VOID]
    if unknown:
        raise UsageError(f"-v {text}: unknown option {unknown[0]}")
    path = Path(source).absolute()
    if not path.exists():
        raise UsageError(f"-v {text}: {path} does not exist")
    readonly = any(_READONLY.get(word, False) for word in words)
    return Mount(kind="bind", source=str(path), target=_absolute(target, "-v"), readonly=readonly)


def _absolute(path: str, flag: str) -> str:
    if not path.startswith("/"):
        raise UsageError(f"{flag} {path}: the path in the image must be absolute")
    return path
