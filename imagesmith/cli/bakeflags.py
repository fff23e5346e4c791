"""The flags of `imagesmith bake`, spelled as `docker buildx bake` spells them, in groups for --help."""

from __future__ import annotations

import argparse
import os

from imagesmith.cli.flags import add_policy, add_registry_flags, add_root, many, new_file, text_flag
from imagesmith.cli.fleetflags import add_fleet_flags

__all__ = ["add_bake_flags"]


def add_bake_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET",
        help="targets, groups or patterns of them (default: default), after the address of a definition"
        " that is elsewhere",
    )  # fmt: skip
    g = parser.add_argument_group("what is built")
    many(g, "-f", "--file", metavar="FILE", text="a bake or compose file, - for stdin; more come over it")
    many(g, "--set", metavar="PATTERN.KEY=VALUE", text="what targets say instead; += adds to a list")
    many(g, "--var", metavar="NAME=VALUE", text="value of a variable")
    _maybe(g, "--no-cache", text="execute every step")
    _maybe(g, "--pull", text="resolve base images anew")
    add_policy(g)
    many(
        g, "--allow", metavar="WHAT",
        text="network.host, security.insecure, ssh, buildx.local.delete; fs, fs.read or fs.write =PATH",
    )  # fmt: skip
    g = parser.add_argument_group("what is only looked at")
    g.add_argument("--print", action="store_true", help="print what would be built, as JSON")
    text_flag(g, "--list", metavar="WHAT", text="list targets or variables, perhaps with ,format=json")
    text_flag(
        g, "--call", metavar="WHAT", text="check, outline or targets of each, perhaps with ,format=json"
    )
    g.add_argument("--check", action="store_true", help="check the Dockerfiles only")
    _result_flags(parser)
    _run_flags(parser)
    add_fleet_flags(parser)


def _result_flags(parser: argparse.ArgumentParser) -> None:
    g = parser.add_argument_group("what comes out")
    g.add_argument("--push", action="store_true", help="push the images of targets that make any")
    g.add_argument(
        "--load", nargs="?", const="true", default="", metavar="WHERE",
        help="give the images to docker, podman, containerd[:NS] or kind[:CLUSTER]; alone, to the first",
    )  # fmt: skip
    text_flag(g, "--provenance", metavar="V", text="attest how each was built: true, false or mode=min|max,…")
    text_flag(g, "--sbom", metavar="V", text="attest what is in each: true, false or format=spdx|cyclonedx")
    g.add_argument(
        "--metadata-file", default="", metavar="FILE", type=new_file, help="write what was built as JSON"
    )
    add_registry_flags(parser.add_argument_group("how registries are reached"))


def _run_flags(parser: argparse.ArgumentParser) -> None:
    g = parser.add_argument_group("how it is built")
    g.add_argument("-j", "--jobs", type=_count, default=0, metavar="N", help="steps at the same time")
    g.add_argument(
        "--keep-going", action="store_true", help="finish what does not depend on a target that failed"
    )
    g.add_argument(
        "--isolation", default="auto", choices=("auto", "native", "chroot", "oci"),
        help="how RUN is kept apart",
    )  # fmt: skip
    text_flag(g, "--cgroup-parent", metavar="GROUP", text="cgroup to run below")
    text_flag(g, "--step-timeout", metavar="TIME", text="how long one RUN may take, as 90s or 1h30m")
    many(g, "--emulator", metavar="[PLATFORM=]PATH", text="what runs programs of another architecture")
    text_flag(
        g, "--on-failure", metavar="keep=NAME",
        text="keep what a RUN left that failed as the image NAME:TARGET",
    )  # fmt: skip
    add_root(g)
    g = parser.add_argument_group("what is shown")
    g.add_argument(
        "--progress", default=os.environ.get("BUILDKIT_PROGRESS") or "auto",
        choices=("auto", "plain", "tty", "rawjson", "quiet"), help="how progress is shown",
    )  # fmt: skip
    g.add_argument(
        "--report", default="", metavar="FILE", type=new_file,
        help="write a page about the builds: what took its time, what grew",
    )  # fmt: skip
    g.add_argument("--explain", action="store_true", help="tell for each step why it was executed")


def _maybe(group: argparse._ArgumentGroup, name: str, *, text: str) -> None:
    """A switch that comes over what targets say, also where it says no; None where it is not given."""
    group.add_argument(name, nargs="?", const="true", metavar="BOOL", help=text)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > 4096:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 4096")
    return int(text)
