"""What docker asks of a plugin called imagesmith or buildx, done by the verbs of imagesmith.

Why builders are one: `create`, `use`, `rm`, `stop` and `inspect` tell of builders, of which there is one
here, and scripts of CI make one by habit. Kinds of builders that are elsewhere are refused by name.
Spec: docker/cli's cli-plugins/plugin (metadata; docker's own flags stand before the name), buildx's
commands/*.go (0.21); what docker/setup-buildx-action and docker/build-push-action read of `version` and
`inspect`.
Trust: words of the user's command line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

from imagesmith import __version__
from imagesmith.cli.main import main
from imagesmith.cli.parser import Parser, be_verbose
from imagesmith.errors import ImagesmithError, UsageError

__all__ = ["BUILDX_VERSION", "called"]

#: Whose flags `build` and `bake` take; what reads it chooses flags by it.
BUILDX_VERSION = "v0.21.0"
_METADATA = "docker-cli-plugin-metadata"
#: docker's own flags that have a value, and what they are in the environment; the rest are switches.
_GLOBAL = {
    "--config": "DOCKER_CONFIG", "--context": "DOCKER_CONTEXT", "-c": "DOCKER_CONTEXT",
    "--host": "DOCKER_HOST", "-H": "DOCKER_HOST",
    "--log-level": "", "-l": "", "--tlscacert": "", "--tlscert": "",
    "--tlskey": "", "--builder": "",
}  # fmt: skip
_PLACED = ("-o", "--output", "--push", "--load", "--call", "--check", "--print", "--on")
_BUILDER = "default"
_HELP = """usage: docker {name} COMMAND ...

Builds of imagesmith {version}, with no daemon.

commands:
  build                        see `imagesmith build --help`
  bake                         see `imagesmith bake --help`
  imagetools create|inspect    see `imagesmith index --help` and `imagesmith inspect --help`
  du, prune                    what the store takes, and deleting what nothing needs
  ls, inspect, create, use, rm, stop, version
                               there is one builder, which is always there
"""


def called(name: str, words: Sequence[str]) -> int:
    """Do what docker was asked, and return the exit status.

    Args:
        name: of the plugin.
        words: the arguments that docker started it with.
    """
    if list(words) == [_METADATA]:
        return _say(json.dumps(_metadata(name)))
    rest = _after_globals(list(words))
    if rest[:1] == [name]:
        rest = _after_globals(rest[1:])
    if not rest or rest[0] in ("-h", "--help", "help"):
        return _say(_HELP.format(name=name, version=__version__).rstrip("\n"))
    verb, rest = rest[0], rest[1:]
    if verb in ("build", "b"):
        return main(["build", *_loading(rest), *rest])
    if verb in ("bake", "f"):
        return main(["bake", *rest])
    if verb == "imagetools":
        from imagesmith.cli.imagetools import imagetools

        return imagetools(rest)
    if verb in _VERBS:
        return _VERBS[verb](rest)
    raise UsageError(f"docker {name} {verb}: not known here", hint=f"`docker {name} --help` lists what is")


def _say(text: str) -> int:
    sys.stdout.write(f"{text}\n")
    return 0


def _metadata(name: str) -> dict[str, str]:
    what = "Builds and bakes with imagesmith, with no daemon"
    return {
        "SchemaVersion": "0.1.0",
        "Vendor": "imagesmith",
        "Version": BUILDX_VERSION if name == "buildx" else __version__,
        "ShortDescription": what,
    }


def _after_globals(words: list[str]) -> list[str]:
    """The words behind docker's own flags, which count."""
    while words and words[0].startswith("-"):
        flag, equals, value = words[0].partition("=")
        if flag in ("-D", "--debug"):
            be_verbose()
        elif flag in _GLOBAL:
            if not equals:
                words.pop(0)
                value = words[0] if words else ""
            if _GLOBAL[flag]:
                os.environ[_GLOBAL[flag]] = value
        elif flag not in ("--tls", "--tlsverify"):
            break
        words = words[1:]
    return words


def _loading(words: list[str]) -> list[str]:
    """`--load=docker` where a build says nothing of its result, and a daemon is there to take it."""
    flags = {word.partition("=")[0] for word in words if word.startswith("-")}
    if flags & {*_PLACED, "-h", "--help"} or any(flag[:2] == "-o" and flag[1] != "-" for flag in flags):
        return []
    from imagesmith.registry.dockerapi import daemon_of

    try:
        daemon_of("").check()
    except ImagesmithError:
        return []
    return ["--load=docker"]


# --- the one builder ---------------------------------------------------------------------------


def _version(_words: list[str]) -> int:
    return _say(f"github.com/docker/buildx {BUILDX_VERSION} imagesmith-{__version__}")


def _platforms() -> str:
    from imagesmith.oci.names import host_platform

    return str(host_platform())


def _parser(verb: str, *switches: str, values: Sequence[str] = (), names: str = "*") -> Parser:
    parser = Parser(prog=f"docker buildx {verb}")
    parser.add_argument("names", nargs=names, metavar="NAME")
    for flag in switches:
        parser.add_argument(*flag.split(), action="store_true")
    for flag in values:
        parser.add_argument(flag, action="append", default=[])
    return parser


def _create(words: list[str]) -> int:
    parser = _parser(
        "create", "--use", "--bootstrap", "--append", "--leave",
        values=("--name", "--node", "--driver", "--driver-opt", "--platform", "--buildkitd-flags",
                "--buildkitd-config", "--config", "--builder"),
    )  # fmt: skip
    args = parser.parse_args(words)
    for driver in args.driver:
        if driver not in ("docker", "docker-container"):
            hint = "`imagesmith build --on kubernetes` is elsewhere"
            raise UsageError(f"--driver {driver}: builds are done here", hint=hint)
    if args.buildkitd_config or args.config:
        hint = "instead: --registries-conf or --hosts-dir of build"
        raise UsageError("--buildkitd-config: no BuildKit is started", hint=hint)
    return _say(args.name[-1] if args.name else _BUILDER)


def _inspect(words: list[str]) -> int:
    args = _parser("inspect", "--bootstrap", values=("--builder",), names="?").parse_args(words)
    name = args.names or (args.builder or [os.environ.get("BUILDX_BUILDER") or _BUILDER])[-1]
    rows = (
        ("Name", name), ("Driver", "imagesmith"), ("", ""), ("Nodes", ""), ("Name", f"{name}0"),
        ("Endpoint", "here"), ("Status", "running"), ("BuildKit version", f"imagesmith-{__version__}"),
        ("Platforms", _platforms()),
    )  # fmt: skip
    return _say("\n".join(f"{key + ':':<18}{value}".rstrip() if key else "" for key, value in rows))


def _ls(words: list[str]) -> int:
    args = _parser("ls", "--no-trunc", values=("--format",)).parse_args(words)
    row = {"Name": _BUILDER, "DriverEndpoint": "imagesmith", "Status": "running",
           "Buildkit": f"imagesmith-{__version__}", "Platforms": _platforms()}  # fmt: skip
    form = (args.format or ["table"])[-1]
    if form == "json":
        return _say(json.dumps(row))
    if form != "table":
        from imagesmith.cli.template import Record, render

        return _say(render(form, Record(row, ())))
    titles = ("NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "BUILDKIT", "PLATFORMS")
    widths = [max(len(title), len(value)) + 3 for title, value in zip(titles, row.values(), strict=True)]
    rows = [zip(cells, widths, strict=True) for cells in (titles, row.values())]
    return _say("\n".join("".join(f"{cell:<{w}}" for cell, w in cells).rstrip() for cells in rows))


def _nothing(verb: str, words: list[str]) -> int:
    """What makes or ends a builder elsewhere, and nothing here."""
    args = _parser(verb, *_SWITCHES[verb], values=("--builder",)).parse_args(words)
    return _say(f"{' '.join(args.names)} removed") if verb == "rm" and args.names else 0


def _du(words: list[str]) -> int:
    args = _parser("du", "--verbose", values=("--builder", "--filter", "--format")).parse_args(words)
    if args.filter or args.format:
        hint = "`imagesmith cache ls --json`"
        raise UsageError("du: neither --filter nor --format is taken here", hint=hint)
    from imagesmith.cli.common import human
    from imagesmith.settings import Settings

    root = Settings.load().root
    sizes = {name: _size(str(root / name)) for name in sorted(os.listdir(root))} if root.is_dir() else {}
    rows = [f"{name:<20} {human(size):>10}" for name, size in sizes.items() if size]
    return _say("\n".join([*rows, f"{'Total:':<20} {human(sum(sizes.values())):>10}"]))


def _size(path: str) -> int:
    """The bytes of a file, or of all below a folder; links count as nothing."""
    if not os.path.isdir(path):
        return os.lstat(path).st_size
    size = 0
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                size += os.lstat(os.path.join(folder, file)).st_size
            except OSError:  # gone meanwhile, or of ids that only builds see
                continue
    return size


def _prune(words: list[str]) -> int:
    args = _parser(
        "prune", "-a --all", "-f --force", "--verbose", values=("--builder", "--filter")
    ).parse_args(words)
    more = []
    for text in args.filter:
        key, _, value = text.partition("=")
        if key != "until" or not value:
            raise UsageError(f"prune --filter {text}: not known here", hint="until=AGE is")
        more = ["--older-than", value]
    return main(["prune", *(["--all"] if args.all else []), *more])


_SWITCHES: dict[str, tuple[str, ...]] = {
    "use": ("--default", "--global"),
    "rm": ("-f --force", "--all-inactive", "--keep-state", "--keep-daemon"),
    "stop": (), "install": (), "uninstall": (),
}  # fmt: skip
_VERBS: dict[str, Callable[[list[str]], int]] = {
    "version": _version, "create": _create, "inspect": _inspect, "ls": _ls, "du": _du, "prune": _prune,
    **{verb: partial(_nothing, verb) for verb in _SWITCHES},
}  # fmt: skip
