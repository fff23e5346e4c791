"""The flags of `bake` and `build` that have other machines do the work: `--on`, and what each kind needs."""

from __future__ import annotations

import argparse

from imagesmith.cli.flags import many, new_file, text_flag

__all__ = ["ENGINES", "add_fleet_flags"]

#: What can do it.
ENGINES = ("kubernetes", "slurm", "matrix")


def add_fleet_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    g = parser.add_argument_group("on other machines")
    g.add_argument("--on", choices=ENGINES, default="", help="who builds, in place of this machine")
    text_flag(g, "--repository", metavar="REPO", text="takes folders, units, their caches and verdicts")
    g.add_argument(
        "--parallelism", type=_count, default=0, metavar="N", help="units of a wave at a time (default: all)"
    )
    g.add_argument("--again", action="store_true", help="do units again that are done")
    g = parser.add_argument_group("on Kubernetes")
    text_flag(g, "--image", metavar="REF", text="the image of the pods, in which imagesmith is")
    text_flag(g, "--namespace", metavar="NS", text="of the Jobs (default: that of the kubeconfig)")
    text_flag(g, "--pod-template", metavar="FILE", text="YAML or JSON that is laid over the pods")
    text_flag(g, "--registry-secret", metavar="NAME", text="the Secret that pods log in to registries with")
    many(g, "--pod-secret", metavar="ID=NAME", text="the Secret that holds a secret under its id")
    g.add_argument("--print-rbac", action="store_true", help="print the rights that suffice, and end")
    g = parser.add_argument_group("on Slurm")
    text_flag(g, "--logs", metavar="DIR", text="a folder that the nodes see, too (default: imagesmith-logs)")
    many(g, "--sbatch", metavar="WORD", text="a word for sbatch, as --sbatch=--partition=build")
    many(g, "--constraint", metavar="ARCH=FEATURE", text="a feature of the nodes of an architecture")
    text_flag(g, "--node-root", metavar="DIR", text="the store on the nodes")
    g = parser.add_argument_group("in the jobs of a CI")
    g.add_argument("--matrix", choices=("github", "gitlab"), default="github", help="whose form it has")
    text_flag(g, "--worker-file", metavar="FILE", text="GitLab: the file with the jobs that are extended")
    g.add_argument(
        "--matrix-file", default="", metavar="FILE", type=new_file, help="where it goes (default: stdout)"
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 7):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0")
    return int(text)
