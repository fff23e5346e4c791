"""The flags of `imagesmith build`: spelled as `docker buildx build` spells them, in groups for --help."""

from __future__ import annotations

import argparse
import os

from imagesmith.cli.flags import add_platform, add_policy, add_registry_flags, many, new_file, text_flag
from imagesmith.cli.fleetflags import add_fleet_flags
from imagesmith.cli.limitflags import add_limits

__all__ = ["add_build_flags", "add_pin_flags", "add_rebuild_flags"]


def add_build_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument(
        "context",
        nargs="?",
        default="",
        help="folder, URL, git address, or - for a tar or Dockerfile on stdin",
    )
    g = _source_flags(parser)
    _pull_flag(g)
    many(g, "--platform", metavar="P,…", text="platforms to build for; of several an index is made")
    g.add_argument(
        "--pin", nargs="?", const="true", metavar="BOOL",
        help="add the digests of new sources to Dockerfile.lock; --pin=false does without one",
    )  # fmt: skip
    _check_flags(parser)
    _result_flags(parser)
    _run_flags(parser)
    _failure_flags(parser)
    _cache_flags(parser)
    _screen_flags(parser)
    add_fleet_flags(parser)


def add_rebuild_flags(parser: argparse.ArgumentParser) -> None:
    """Declare those that decide what an image holds, for a build whose result is only looked at."""
    g = _source_flags(parser)
    _pull_flag(g)
    add_platform(g, "platform to build for, and within an index")
    many(parser.add_argument_group("what comes out"), "--label", metavar="K=V", text="label of the image")
    _run_flags(parser)
    _store_flag(parser.add_argument_group("store"))
    _screen_flags(parser)
    _leave_unsaid(parser, no_cache=True)


def add_pin_flags(parser: argparse.ArgumentParser) -> None:
    """Declare those that decide which sources a build has, and how they are reached."""
    parser.add_argument(
        "context", nargs="?", default=".", help="what `imagesmith build` takes (default: the current folder)"
    )
    g = _source_flags(parser)
    many(g, "--platform", metavar="P,…", text="platforms whose sources are looked at")
    add_registry_flags(parser.add_argument_group("how registries are reached"))
    g = parser.add_argument_group("how repositories are reached")
    _secret_flags(g)
    _store_flag(parser.add_argument_group("store"))
    _leave_unsaid(parser, pin="true")


def _leave_unsaid(parser: argparse.ArgumentParser, **instead: object) -> None:
    """Give those of `build` that a verb has not the values of where nobody says them, or others."""
    build = argparse.ArgumentParser(add_help=False)
    add_build_flags(build)
    own = {action.dest for action in parser._actions}
    silent = {a.dest: a.default for a in build._actions if a.dest not in own}
    parser.set_defaults(**{**silent, **instead})


def _file(group: argparse._ArgumentGroup, *names: str, text: str) -> None:
    """A flag that names a file to be written."""
    group.add_argument(*names, default="", metavar="FILE", type=new_file, help=text)


def _switch(group: argparse._ArgumentGroup, *names: str, text: str) -> None:
    """A flag without a value."""
    group.add_argument(*names, action="store_true", help=text)


def _source_flags(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    g = parser.add_argument_group("what is built")
    g.add_argument(
        "-f", "--file", metavar="FILE", help="the Dockerfile (default: CONTEXT/Dockerfile), - for stdin"
    )
    text_flag(g, "--target", metavar="STAGE", text="the stage to build")
    many(g, "--build-arg", metavar="K=V", text="value of an ARG")
    many(g, "--build-arg-file", metavar="FILE", text="a file with lines K=V; --build-arg comes over it")
    many(g, "--build-context", metavar="NAME=PLACE", text="another context, or a stage's stand-in")
    add_policy(g)
    return g


def _pull_flag(group: argparse._ArgumentGroup) -> None:
    _switch(group, "--pull", text="resolve base images anew")


def _check_flags(parser: argparse.ArgumentParser) -> None:
    g = parser.add_argument_group("what is only looked at")
    text_flag(
        g,
        "--call",
        metavar="WHAT",
        text="check, outline or targets instead of building, perhaps with ,format=json",
    )
    _switch(g, "--check", text="check the Dockerfile only")


def _result_flags(parser: argparse.ArgumentParser) -> None:
    g = parser.add_argument_group("what comes out")
    many(g, "-t", "--tag", metavar="REF", text="name of the image; may be repeated")
    _switch(g, "--push", text="push to the registry of each --tag")
    many(g, "-o", "--output", metavar="OUT", text="type=oci|docker|local|tar|image|registry,…")
    g.add_argument(
        "--load", nargs="?", const="true", default="", metavar="WHERE",
        help="give the image to docker, podman, containerd[:NS] or kind[:CLUSTER]; alone, to the first",
    )  # fmt: skip
    _switch(g, "--squash", text="one layer of all that is added to the base image")
    many(g, "--label", metavar="K=V", text="label of the image")
    many(g, "--annotation", metavar="K=V", text="annotation of the manifest")
    text_flag(g, "--provenance", metavar="V", text="attest how it was built: true, false or mode=min|max,…")
    text_flag(g, "--sbom", metavar="V", text="attest what is in it: true, false or format=spdx|cyclonedx")
    many(g, "--attest", metavar="type=…", text="type=provenance or type=sbom, with their keys")
    text_flag(g, "--sign", metavar="KEY", text="sign what is pushed, its images and its index")
    text_flag(g, "--sign-password-file", metavar="FILE", text="the password of the key for --sign")
    _file(g, "--iidfile", text="write the image's ID to a file")
    _file(g, "--digest-file", "--digestfile", text="write the digest of the manifest to a file")
    _file(g, "--metadata-file", text="write what was built as JSON")
    add_registry_flags(parser.add_argument_group("how registries are reached"))


def _run_flags(parser: argparse.ArgumentParser) -> None:
    g = parser.add_argument_group("how RUN runs")
    g.add_argument(
        "--isolation",
        default="auto",
        choices=("auto", "native", "chroot", "oci"),
        help="how it is kept apart",
    )
    _secret_flags(g)
    g.add_argument("--network", default="default", metavar="MODE", help="network: default, none or host")
    many(g, "--add-host", metavar="HOST:IP", text="a line of /etc/hosts")
    text_flag(g, "--shm-size", metavar="SIZE", text="size of /dev/shm")
    many(g, "--ulimit", metavar="T=S[:H]", text="a limit")
    add_limits(g, resource=True)
    text_flag(g, "--cgroup-parent", metavar="GROUP", text="cgroup to run below")
    text_flag(g, "--step-timeout", metavar="TIME", text="how long one RUN may take, as 90s or 1h30m")
    many(g, "--emulator", metavar="[PLATFORM=]PATH", text="what runs programs of another architecture")
    many(g, "--allow", metavar="WHAT", text="network.host or security.insecure")


def _failure_flags(parser: argparse.ArgumentParser) -> None:
    g = parser.add_argument_group("where a step fails")
    text_flag(
        g, "--on-failure", metavar="WHAT",
        text="shell or shell=PATH opens one there; keep=NAME keeps what the RUN left as an image",
    )  # fmt: skip
    text_flag(g, "--shell-at", metavar="STAGE[:LINE]", text="open a shell before a step, or at a stage's end")


def _secret_flags(g: argparse._ArgumentGroup) -> None:
    many(g, "--secret", metavar="id=…", text="a secret for RUN --mount=type=secret, or for a repository")
    many(g, "--ssh", metavar="ID[=PLACE]", text="an agent, its socket or files of keys, for RUN or git")


def _cache_flags(parser: argparse.ArgumentParser) -> None:
    g = parser.add_argument_group("cache and store")
    many(g, "--cache-from", metavar="PLACE", text="type=registry,ref=R or type=local,src=D: earlier steps")
    many(g, "--cache-to", metavar="PLACE", text="type=registry,ref=R, local,dest=D or inline, mode=min|max")
    _switch(g, "--no-cache", text="execute every step")
    many(g, "--no-cache-filter", metavar="STAGE", text="execute every step of a stage")
    text_flag(g, "--cache-ttl", metavar="TIME", text="take no step that is older, as 36h")
    _store_flag(g)


def _store_flag(group: argparse._ArgumentGroup) -> None:
    text_flag(
        group, "--root", metavar="DIR", text="the store (default: IMAGESMITH_ROOT, or below XDG_DATA_HOME)"
    )


def _screen_flags(parser: argparse.ArgumentParser) -> None:
    g = parser.add_argument_group("what is shown")
    g.add_argument(
        "--progress", default=os.environ.get("BUILDKIT_PROGRESS") or "auto",
        choices=("auto", "plain", "tty", "rawjson", "quiet"), help="how progress is shown",
    )  # fmt: skip
    _file(g, "--report", text="write a page about the build: what took its time, what grew")
    _switch(g, "--explain", text="tell for each step why it was executed, or where it was found")
    _switch(g, "-q", "--quiet", text="print the image's ID only")
