"""The flags of `bake` and `build` that have other machines do the work: `--on`, and what each kind needs."""

from __future__ import annotations

import argparse

from imagesmith.cli.flags import new_file

__all__ = ["ENGINES", "add_fleet_flags"]

#: What can do it.
ENGINES = ("kubernetes", "slurm", "matrix")


def add_fleet_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    g = parser.add_argument_group("on other machines")
    g.add_argument("--on", choices=ENGINES, default="", help="who builds, in place of this machine")
    _text(g, "--repository", metavar="REPO", text="takes folders, units, their caches and verdicts")
    g.add_argument(
        "--parallelism", type=_count, default=0, metavar="N", help="units of a wave at a time (default: all)"
    )
    g.add_argument("--again", action="store_true", help="do units again that are done")
    g = parser.add_argument_group("on Kubernetes")
    _text(g, "--image", metavar="REF", text="the image of the pods, in which imagesmith is")
    _text(g, "--namespace", metavar="NS", text="of the Jobs (default: that of the kubeconfig)")
    _text(g, "--pod-template", metavar="FILE", text="YAML or JSON that is laid over the pods")
    _text(g, "--registry-secret", metavar="NAME", text="the Secret that pods log in to registries with")
    _many(g, "--pod-secret", metavar="ID=NAME", text="the Secret that holds a secret under its id")
    g.add_argument("--print-rbac", action="store_true", help="print the rights that suffice, and end")
    g = parser.add_argument_group("on Slurm")
    _text(g, "--logs", metavar="DIR", text="a folder that the nodes see, too (default: imagesmith-logs)")
    _many(g, "--sbatch", metavar="WORD", text="a word for sbatch, as --sbatch=--partition=build")
    _many(g, "--constraint", metavar="ARCH=FEATURE", text="a feature of the nodes of an architecture")
    _text(g, "--node-root", metavar="DIR", text="the store on the nodes")
    g = parser.add_argument_group("in the jobs of a CI")
    g.add_argument("--matrix", choices=("github", "gitlab"), default="github", help="whose form it has")
    _text(g, "--worker-file", metavar="FILE", text="GitLab: the file with the jobs that are extended")
    g.add_argument(
        "--matrix-file", default="", metavar="FILE", type=new_file, help="where it goes (default: stdout)"
    )


def _text(group: argparse._ArgumentGroup, name: str, *, metavar: str, text: str) -> None:
    group.add_argument(name, default="", metavar=metavar, help=text)


def _many(group: argparse._ArgumentGroup, name: str, *, metavar: str, text: str) -> None:
    group.add_argument(name, action="append", default=[], metavar=metavar, help=text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 7):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0")
    return int(text)
