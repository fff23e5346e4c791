"""What a Dockerfile offers: its targets, and the arguments, secrets and caches that one of them takes.

Why: `--call outline` and `--call targets` answer "how do I build this?" without building; the words come
from the comments above ARG and FROM that begin with the name.
Spec: BuildKit's frontend/subrequests (outline, targets); the documents are its own.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from imagesmith.dockerfile import nodes as n
from imagesmith.dockerfile.mounts import Mount, parse_mount
from imagesmith.dockerfile.values import to_bytes
from imagesmith.plan.planner import Planner
from imagesmith.plan.stages import PlannedStage

__all__ = ["location_of", "outline_of", "source_of", "targets_of"]


def location_of(first: int, last: int) -> dict[str, Any]:
    """A place in the one source of a document, lines from 1."""
    return {"ranges": [{"start": {"line": n}, "end": {"line": n}} for n in range(first, last + 1)]}


def source_of(dockerfile: n.Dockerfile) -> str:
    """The Dockerfile's text as JSON documents hold bytes."""
    return base64.b64encode(to_bytes(dockerfile.source)).decode()


def _about(comments: Iterable[str], name: str) -> str:
    """What a comment says of a name: the first one that begins with it."""
    prefix = f"{name} "
    return next((c.removeprefix(prefix) for c in comments if name and c.startswith(prefix)), "")


def _without_blanks(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if v not in ("", False, None)}


def targets_of(dockerfile: n.Dockerfile) -> dict[str, Any]:
    """Every stage, the last one being the default."""
    rows = []
    for stage in dockerfile.stages:
        base = stage.base
        row = {
            "name": base.name,
            "default": stage.index == len(dockerfile.stages) - 1,
            "description": _about(base.comments, base.name),
            "base": base.image,
            "platform": base.platform,
            "location": location_of(base.span.first, base.span.last),
        }
        rows.append(_without_blanks(row))
    return {"targets": rows, "sources": [source_of(dockerfile)]}


def outline_of(planner: Planner) -> dict[str, Any]:
    """What the target takes; every stage that it needs counts."""
    planner.plan()
    stages = planner.graph.reachable()
    base = planner.graph.target.stage.base
    document: dict[str, Any] = _without_blanks(
        {"name": base.name, "description": _about(base.comments, base.name)}
    )
    mounts = [
        (m, i) for s in stages for i in s.stage.instructions if isinstance(i, n.Run) for m in _mounts(i)
    ]
    groups = {
        "args": _args(planner, stages),
        "secrets": _named(mounts, "secret"),
        "ssh": _named(mounts, "ssh"),
        "cache": _named(mounts, "cache"),
    }
    document |= {k: v for k, v in groups.items() if v}
    return document | {"sources": [source_of(planner.dockerfile)]}


def _mounts(i: n.Run) -> list[Mount]:
    return [parse_mount(text, lambda word: word) for text in i.mounts]


def _args(planner: Planner, stages: list[PlannedStage]) -> list[dict[str, Any]]:
    """The arguments that FROM lines use and that stages declare, by their first place."""
    used = {
        name
        for s in stages
        for e in planner.graph.expansions[s.index]
        if e
        for name in e.matched | e.unmatched
    }
    found: dict[str, tuple[n.Arg, str]] = {}
    for arg in planner.dockerfile.global_args:
        for pair in arg.pairs:
            if pair.key in used:
                found.setdefault(pair.key, (arg, planner.scope.get(pair.key, "")))
    for stage in stages:
        values = planner.state_of(stage).args
        for i in stage.stage.instructions:
            if isinstance(i, n.Arg):
                for pair in i.pairs:
                    found.setdefault(pair.key, (i, values.get(pair.key) or ""))
    rows = []
    for name, (arg, value) in sorted(found.items(), key=lambda item: item[1][0].span.first):
        row = {
            "name": name,
            "description": _about(arg.comments, name),
            "value": value,
            "location": location_of(arg.span.first, arg.span.last),
        }
        rows.append(_without_blanks(row))
    return rows


def _named(mounts: list[tuple[Mount, n.Run]], kind: str) -> list[dict[str, Any]]:
    """The mounts of a kind, each name once; required if any of them is."""
    rows: dict[str, dict[str, Any]] = {}
    for mount, i in mounts:
        if mount.type != kind:
            continue
        name = mount.id or mount.target
        row = rows.setdefault(
            name,
            {"ID" if kind == "cache" else "name": name, "location": location_of(i.span.first, i.span.last)},
        )
        if mount.required and kind != "cache":
            row["required"] = True
    return list(rows.values())
