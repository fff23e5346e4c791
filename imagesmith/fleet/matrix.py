"""Waves for those whose CI starts the machines: JSON for GitHub's matrix and GitLab's child pipelines.

GitHub has one object a wave: {"waves": 2, "wave0": {"include": [{"name", "target", "stage", "platform",
"arch", "place", "index"}]}, "wave1": …}. A job for each wave is in the workflow, since GitHub cannot make
any; docs/ci has one. GitLab has a whole pipeline, a stage a wave, whose jobs extend `.imagesmith-ARCH` of a
file that the project has; the unit is in their variables, so that no name of a target meets a shell.

Spec: https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax (a job's strategy),
https://docs.gitlab.com/ci/pipelines/downstream_pipelines/ (dynamic child pipelines)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imagesmith.errors import UsageError
from imagesmith.fleet.units import Unit
from imagesmith.oci.names import Platform

__all__ = ["GITHUB_JOBS", "KINDS", "WORKER_FILE", "matrix_of"]

#: The jobs that GitHub lets a matrix have.
GITHUB_JOBS = 256
#: Where a project of GitLab's has the jobs that the pipeline's extend.
WORKER_FILE = ".gitlab/imagesmith-worker.yml"
#: The longest name of a job in GitLab.
_NAME = 255

#: A wave: the reference of the artifact that holds its units, and the units in its order.
Wave = tuple[str, Sequence[Unit]]


def matrix_of(waves: Sequence[Wave], kind: str = "github", worker_file: str = WORKER_FILE) -> dict[str, Any]:
    """Waves as the document that a CI takes.

    Args:
        waves: what is to be done, the first wave first: each a place and the units there.
        kind: `github` or `gitlab`.
        worker_file: for GitLab, the file of the project that says how a unit is done on an architecture.

    Raises:
        UsageError: the kind is not known.
    """
    if (made := KINDS.get(kind)) is None:
        raise UsageError(f"matrix {kind[:80]!r}: unknown; known are {', '.join(KINDS)}")
    return made([(place, units) for place, units in waves if units], worker_file)


def _github(waves: Sequence[Wave], _: str) -> dict[str, Any]:
    """A matrix a wave; a wave of too many jobs becomes several, as nothing in it waits for the rest."""
    parts = []
    for place, units in waves:
        rows = [
            {
                "name": unit.name,
                "target": unit.target,
                "stage": unit.stage,
                "platform": unit.platform,
                "arch": Platform.parse(unit.platform).architecture,
                "place": place,
                "index": index,
            }
            for index, unit in enumerate(units)
        ]
        parts += [rows[start : start + GITHUB_JOBS] for start in range(0, len(rows), GITHUB_JOBS)]
    return {"waves": len(parts)} | {f"wave{n}": {"include": rows} for n, rows in enumerate(parts)}


def _gitlab(waves: Sequence[Wave], worker_file: str) -> dict[str, Any]:
    """A pipeline; one without jobs is refused by GitLab, so that where nothing is left a job says so."""
    if not waves:
        return {"nothing is left to do": {"script": ["true"], "variables": {"GIT_STRATEGY": "none"}}}
    jobs: dict[str, Any] = {}
    for n, (place, units) in enumerate(waves):
        for index, unit in enumerate(units):
            jobs[_name(unit, jobs)] = {
                "stage": f"wave{n}",
                "extends": f".imagesmith-{Platform.parse(unit.platform).architecture}",
                "variables": {"IMAGESMITH_PLACE": place, "IMAGESMITH_INDEX": str(index)},
            }
    stages = [f"wave{n}" for n in range(len(waves))]
    return {"include": [{"local": worker_file}], "stages": stages, **jobs}


def _name(unit: Unit, taken: Mapping[str, object]) -> str:
    """A job's name that no other has; the platform in it keeps it from being a keyword of GitLab's."""
    name = unit.name[:_NAME]
    if name in taken:
        mark = f" {unit.id.hex[:12]}"
        name = name[: _NAME - len(mark)] + mark
    return name


#: What makes the document of a CI.
KINDS: Mapping[str, Callable[[Sequence[Wave], str], dict[str, Any]]] = {"github": _github, "gitlab": _gitlab}
