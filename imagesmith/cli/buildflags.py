"""The flags of `imagesmith build`, spelled as `docker buildx build` spells them, in the groups that help shows."""

from __future__ import annotations

import argparse
import os

__all__ = ["add_build_flags"]


def add_build_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument(
        "context",
        nargs="?",
        default="",
        help="folder, URL, git address, or - for a tar or Dockerfile on stdin",
    )
    _source_flags(parser)
    _result_flags(parser)
    _run_flags(parser)
    _cache_flags(parser)
    _screen_flags(parser)


def _many(group: argparse._ArgumentGroup, *names: str, metavar: str, help: str) -> None:
    """A flag that may be repeated."""
    group.add_argument(*names, action="append", default=[], metavar=metavar, help=help)


def _text(group: argparse._ArgumentGroup, *names: str, metavar: str, help: str) -> None:
    """A flag with one value, empty where it is not given."""
    group.add_argument(*names, default="", metavar=metavar, help=help)


def _switch(group: argparse._ArgumentGroup, *names: str, help: str) -> None:
    """A flag without a value."""
    group.add_argument(*names, action="store_true", help=help)


def _source_flags(parser: argparse.ArgumentParser) -> None:
    g = parser.add_argument_group("what is built")
    g.add_argument(
        "-f", "--file", metavar="FILE", help="the Dockerfile (default: CONTEXT/Dockerfile), - for stdin"
    )
    _text(g, "--target", metavar="STAGE", help="the stage to build")
    _many(g, "--build-arg", metavar="K=V", help="value of an ARG")
    _many(g, "--build-context", metavar="NAME=PLACE", help="another context, or a stage's stand-in")
    _text(g, "--platform", metavar="OS/ARCH", help="platform to build for")
    _switch(g, "--pull", help="resolve base images anew")
    _text(
        g,
        "--call",
        metavar="WHAT",
        help="check, outline or targets instead of building, perhaps with ,format=json",
    )
    _switch(g, "--check", help="check the Dockerfile only")


def _result_flags(parser: argparse.ArgumentParser) -> None:
    g = parser.add_argument_group("what comes out")
    _many(g, "-t", "--tag", metavar="REF", help="name of the image; may be repeated")
    _switch(g, "--push", help="push to the registry of each --tag")
    _many(g, "-o", "--output", metavar="OUT", help="type=oci|docker|local|tar|image|registry,…")
    g.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    _many(g, "--label", metavar="K=V", help="label of the image")
    _many(g, "--annotation", metavar="K=V", help="annotation of the manifest")
    _text(g, "--iidfile", metavar="FILE", help="write the image's ID to a file")
    _text(g, "--metadata-file", metavar="FILE", help="write what was built as JSON")
    _switch(g, "--insecure", help="registries by plain HTTP or with any certificate")


def _run_flags(parser: argparse.ArgumentParser) -> None:
    g = parser.add_argument_group("how RUN runs")
    g.add_argument(
        "--isolation",
        default="auto",
        choices=("auto", "native", "chroot", "oci"),
        help="how it is kept apart",
    )
    _many(g, "--secret", metavar="id=…", help="a secret for RUN --mount=type=secret")
    _many(g, "--ssh", metavar="ID[=SOCKET]", help="an agent for RUN --mount=type=ssh")
    g.add_argument("--network", default="default", metavar="MODE", help="network: default, none or host")
    _many(g, "--add-host", metavar="HOST:IP", help="a line of /etc/hosts")
    _text(g, "--shm-size", metavar="SIZE", help="size of /dev/shm")
    _many(g, "--ulimit", metavar="T=S[:H]", help="a limit")
    _text(g, "--cgroup-parent", metavar="GROUP", help="cgroup to run below")
    _many(g, "--allow", metavar="WHAT", help="network.host or security.insecure")


def _cache_flags(parser: argparse.ArgumentParser) -> None:
    g = parser.add_argument_group("cache and store")
    _switch(g, "--no-cache", help="execute every step")
    _many(g, "--no-cache-filter", metavar="STAGE", help="execute every step of a stage")
    _text(g, "--root", metavar="DIR", help="the store (default: IMAGESMITH_ROOT, or below XDG_DATA_HOME)")


def _screen_flags(parser: argparse.ArgumentParser) -> None:
    g = parser.add_argument_group("what is shown")
    g.add_argument(
        "--progress", default=os.environ.get("BUILDKIT_PROGRESS", "auto"),
        choices=("auto", "plain", "tty", "rawjson", "quiet"), help="how progress is shown",
    )  # fmt: skip
    _switch(g, "-q", "--quiet", help="print the image's ID only")
