"""`imagesmith run IMAGE [COMMAND...]`: an image in the sandbox of RUN, to try it; what it changes is dropped.

Why here and not in a runtime: the machine that built an image may have no other way to see that it starts.
Spec: the flags and exit statuses of `docker run`: the command's own, 126 and 127 where it cannot be started.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.cli.flags import access_of, add_platform, add_policy, add_registry_flags, add_root
from imagesmith.cli.limitflags import add_limits, limits_of
from imagesmith.errors import UsageError
from imagesmith.interfaces import Mount, RunSpec
from imagesmith.options import parse_hosts, parse_size, parse_ulimit, parse_variables

if TYPE_CHECKING:
    from imagesmith.fs.view import View
    from imagesmith.interfaces import Workspace
    from imagesmith.oci.names import Platform
    from imagesmith.store.store import Store
    from imagesmith.transports.bases import ResolvedImage
    from imagesmith.worker.sandbox.world import World

__all__ = ["configure", "parse_volume", "run", "spec_of"]

_READONLY = {"ro": True, "rw": False}
#: What docker takes after a volume and what has no meaning where nothing is relabelled or propagated.
_VOID = {"z", "Z", "cached", "delegated", "consistent", "private", "rprivate"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of run."""
    parser.add_argument("image", help="name in the store, or in a registry")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="instead of the image's CMD")
    process = parser.add_argument_group("the process")
    process.add_argument(
        "-e", "--env", action="append", default=[], metavar="K[=V]", help="variable; K alone copies it"
    )
    process.add_argument("-w", "--workdir", default="", metavar="DIR", help="working folder")
    process.add_argument("-u", "--user", default="", metavar="USER[:GROUP]", help="who it runs as")
    process.add_argument("--entrypoint", default=None, metavar="PROGRAM", help="instead of the image's")
    process.add_argument("-i", "--interactive", action="store_true", help="give it standard input")
    process.add_argument("-t", "--tty", action="store_true", help="give it a terminal")
    world = parser.add_argument_group("its world")
    world.add_argument("-v", "--volume", action="append", default=[], metavar="PATH:DIR[:ro]",
                       help="a file or folder of the machine; the only place where changes stay")  # fmt: skip
    world.add_argument("--tmpfs", action="append", default=[], metavar="DIR", help="a folder in memory")
    world.add_argument("--network", choices=("default", "host", "none"), default="default",
                       help="the machine's, or none")  # fmt: skip
    world.add_argument("--hostname", default="", metavar="NAME", help="host name")
    world.add_argument(
        "--add-host", action="append", default=[], metavar="HOST:IP", help="a line of /etc/hosts"
    )
    world.add_argument("--rm", action="store_true", default=True, help="remove it afterwards: always so")
    limits = parser.add_argument_group("limits")
    add_limits(limits)
    limits.add_argument("--shm-size", default="", metavar="SIZE", help="size of /dev/shm")
    limits.add_argument("--ulimit", action="append", default=[], metavar="T=S[:H]", help="a limit")
    limits.add_argument("--cgroup-parent", default="", metavar="GROUP", help="cgroup to run below")
    image = parser.add_argument_group("image and store")
    image.add_argument("--pull", action="store_true", help="ask the registry even if the store has the name")
    add_platform(image)
    add_registry_flags(image)
    add_policy(image)
    image.add_argument("--isolation", choices=("auto", "native", "chroot", "oci"), default="auto",
                       help="how it is kept apart")  # fmt: skip
    image.add_argument("--emulator", action="append", default=[], metavar="[PLATFORM=]PATH",
                       help="what runs programs of another architecture")  # fmt: skip
    add_root(image)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.worker.sandbox import world

    if args.tty and args.interactive and not os.isatty(0):
        raise UsageError("-t needs a terminal, and standard input is none", hint="leave out -t")
    volumes = [parse_volume(text) for text in args.volume]
    here = world.enter(args.isolation)  # before any thread: the process changes its namespaces
    return _in_store(args, volumes, here)


def _in_store(args: argparse.Namespace, volumes: list[Mount], here: World) -> int:
    from imagesmith.cli.flags import admission_of, settings_of
    from imagesmith.cli.fronts import make_front
    from imagesmith.fs.view import View
    from imagesmith.oci.names import Platform, is_native
    from imagesmith.request import BuildRequest
    from imagesmith.store.store import Store
    from imagesmith.transports.bases import Bases
    from imagesmith.worker.snapshot.choose import make_snapshotter

    settings = settings_of(args.root)
    platform = Platform.parse(args.platform) if args.platform else None
    request = BuildRequest(pull=args.pull, access=access_of(args))
    front = make_front("auto")
    front.title = "Transferring"
    with Store(settings.root) as store:
        try:
            images = Bases(store, settings, request, front, admission=admission_of(args.policy, settings))
            image = images.find(args.image, platform)
            images.fetch_all(image)
        finally:
            front.close()
        layers = images.layers(image)
        view = View([layer.index() for layer in layers])
        spec = spec_of(args, image, view, volumes)
        if not is_native(image.config.platform):
            spec = _emulated(args, here, store, image.config.platform, spec)
        snapshots = make_snapshotter(here.place, store)
        try:
            return _execute(here, spec, snapshots.prepare(layers, view))
        finally:
            snapshots.close()


def _emulated(
    args: argparse.Namespace, here: World, store: Store, platform: Platform, spec: RunSpec
) -> RunSpec:
    """The process of an image of another architecture.

    Raises:
        SandboxUnavailable: nothing runs its programs here.
    """
    from imagesmith.options import parse_emulator
    from imagesmith.values import replace
    from imagesmith.worker.emulator import Emulators

    emulators = Emulators([parse_emulator(text) for text in args.emulator], here, store.root)
    emulators.require(platform)
    return replace(spec, emulators=emulators.rows(platform))


def _execute(here: World, spec: RunSpec, workspace: Workspace) -> int:
    """Run it to its end; returns the status for the shell."""
    from imagesmith.cli.errors import show_error
    from imagesmith.worker.sandbox.native import NotStarted

    sandbox = here.sandbox()
    try:
        status = sandbox.run(spec, workspace.root, _write, lambda: False)
    except NotStarted as e:
        show_error(e, sys.stderr)
        return 126 if e.message.endswith("permission denied") else 127
    else:
        return status
    finally:
        sandbox.close()
        workspace.discard()


def _write(stream: int, data: bytes) -> None:
    """The process's output is ours."""
    left = memoryview(data)
    while left:
        left = left[os.write(stream, left) :]


# --- what is asked for -------------------------------------------------------------------------


def spec_of(args: argparse.Namespace, image: ResolvedImage, view: View, volumes: list[Mount]) -> RunSpec:
    """The process that the flags and the image's config describe.

    Raises:
        UsageError: there is no command, or a flag cannot be honoured.
        SandboxError: the image has no such user.
    """
    from imagesmith.fs.owner import process_user
    from imagesmith.fs.view import largest_id
    from imagesmith.oci.config import DEFAULT_PATH

    config = image.config.runtime
    user = process_user(args.user or config.user, view)
    hostname = args.hostname or image.descriptor.digest.hex[:12]
    env = dict(word.partition("=")[::2] for word in config.env)
    env.setdefault("PATH", DEFAULT_PATH)
    env["HOSTNAME"] = hostname
    if args.tty:
        env["TERM"] = "xterm"
    env |= parse_variables(args.env, os.environ)
    env["HOME"] = env.get("HOME") or user.home
    tmpfs = [Mount(kind="tmpfs", target=_absolute(d, "--tmpfs"), nosuid=True, nodev=True) for d in args.tmpfs]
    mounts = {m.target: m for m in [*volumes, *tmpfs]}
    return RunSpec(
        argv=_command(args, config.entrypoint, config.cmd),
        env=tuple(env.items()),
        cwd=_absolute(args.workdir or config.working_dir or "/", "--workdir"),
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        mounts=tuple(mounts[target] for target in sorted(mounts)),
        network=args.network,
        hostname=hostname,
        hosts=parse_hosts(args.add_host),
        shm_size_bytes=parse_size(args.shm_size, "--shm-size") if args.shm_size else 64 << 20,
        ulimits=tuple(parse_ulimit(u) for u in args.ulimit),
        cgroup_parent=args.cgroup_parent,
        limits=limits_of(args),
        tty=args.tty,
        interactive=args.interactive,
        forwards=True,
        largest_id=largest_id(view),
    )


def _command(args: argparse.Namespace, entrypoint: tuple[str, ...], cmd: tuple[str, ...]) -> tuple[str, ...]:
    """ENTRYPOINT and CMD with what replaces them; another entrypoint takes the image's CMD away."""
    words = list(args.command)
    if words[:1] == ["--"]:
        del words[0]
    if args.entrypoint is not None:
        entrypoint, cmd = (args.entrypoint,) if args.entrypoint else (), ()
    argv = (*entrypoint, *(words or cmd))
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
