"""Where a step's files come from: another step's result, or what trees.py of context/ finds."""

from __future__ import annotations

from imagesmith.context.origins import Inline, Outside
from imagesmith.fs.tree import Tree
from imagesmith.oci.digest import digest_bytes
from imagesmith.solve.step import Step, Work

__all__ = ["Origin", "layers_of", "mounted", "tree_of"]

#: None is an empty tree.
Origin = Step | Outside


def tree_of(origin: Origin, work: Work) -> Tree:
    """The files of an origin."""
    return work.outline(work.result(origin)) if isinstance(origin, Step) else work.tools.trees.tree(origin)


def layers_of(step: Step, path: str, work: Work) -> str:
    """What stands for the files at a path of another step in a key that looks into no layer."""
    return f"{work.result(step).chain or ''} {path}"


def mounted(origin: Origin, path: str, work: Work) -> str:
    """The digest of what a bind mount shows.

    Raises:
        MissingSource: there is no such path.
    """
    if isinstance(origin, Inline):
        return str(digest_bytes(origin.data))
    if isinstance(origin, Step) and path in ("", "/"):
        return str(work.result(origin).chain or "")
    return work.tools.trees.mounted(tree_of(origin, work), path)
