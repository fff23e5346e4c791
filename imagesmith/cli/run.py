"""`imagesmith run IMAGE [COMMAND...]`: an image in the sandbox of RUN, to try it; what it changes is dropped.

Why here and not in a runtime: the machine that built an image may have no other way to see that it starts.
Spec: the flags and exit statuses of `docker run`: the command's own, 126 and 127 where it cannot be started.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from imagesmith.cli.flags import access_of, add_platform, add_policy, add_registry_flags, add_root
from imagesmith.cli.limitflags import add_limits, limits_of
from imagesmith.errors import UsageError
from imagesmith.options import parse_emulator, parse_hosts, parse_size, parse_ulimit, parse_variables

if TYPE_CHECKING:
    from imagesmith.running import RunRequest
    from imagesmith.worker.sandbox.world import World

__all__ = ["configure", "request_of", "run"]


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
    request = request_of(args)
    here = world.enter(args.isolation)  # before any thread: the process changes its namespaces
    return _run(args, request, here)


def _run(args: argparse.Namespace, request: RunRequest, here: World) -> int:
    """Run it to its end; returns the status for the shell."""
    from imagesmith.cli.errors import show_error
    from imagesmith.cli.flags import admission_of, settings_of
    from imagesmith.cli.fronts import make_front
    from imagesmith.running import run_image
    from imagesmith.worker.sandbox.native import NotStarted

    settings = settings_of(args.root)
    front = make_front("auto")
    front.title = "Transferring"
    try:
        return run_image(
            request, settings, here,
            events=front, admission=admission_of(args.policy, settings), output=_write, ready=front.close,
        )  # fmt: skip
    except NotStarted as e:
        show_error(e, sys.stderr)
        return 126 if e.message.endswith("permission denied") else 127


def _write(stream: int, data: bytes) -> None:
    """The process's output is ours."""
    left = memoryview(data)
    while left:
        left = left[os.write(stream, left) :]


def request_of(args: argparse.Namespace) -> RunRequest:
    """What the flags ask for.

    Raises:
        UsageError: a flag that cannot be honoured.
    """
    from imagesmith.oci.names import Platform
    from imagesmith.running import SHM_BYTES, RunRequest, parse_volume

    words = list(args.command)
    if words[:1] == ["--"]:
        del words[0]
    return RunRequest(
        image=args.image,
        command=tuple(words),
        entrypoint=args.entrypoint,
        env=parse_variables(args.env, os.environ),
        workdir=args.workdir,
        user=args.user,
        hostname=args.hostname,
        volumes=tuple(parse_volume(text) for text in args.volume),
        tmpfs=tuple(args.tmpfs),
        network=args.network,
        hosts=parse_hosts(args.add_host),
        limits=limits_of(args),
        shm_size_bytes=parse_size(args.shm_size, "--shm-size") if args.shm_size else SHM_BYTES,
        ulimits=tuple(parse_ulimit(u) for u in args.ulimit),
        cgroup_parent=args.cgroup_parent,
        tty=args.tty,
        interactive=args.interactive,
        forwards=True,
        pull=args.pull,
        platform=Platform.parse(args.platform) if args.platform else None,
        emulators=tuple(parse_emulator(text) for text in args.emulator),
        access=access_of(args),
    )
