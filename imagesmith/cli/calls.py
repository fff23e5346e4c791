"""`imagesmith build --call`: check, outline, targets and graph, answered without building.

Spec: the documents of BuildKit's frontend/subrequests, printed as buildx prints them; `graph` is ours, the
plan (plan/plan.py). `check` exits with 1 where something was found.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from imagesmith.cli.errors import excerpt, show_error, width_of
from imagesmith.cli.flags import admission_of
from imagesmith.cli.lines import clean, harmless, harmless_json, one_line
from imagesmith.cli.progress import Front
from imagesmith.context.contexts import Contexts
from imagesmith.context.sshkeys import with_agents
from imagesmith.dockerfile.lint import Finding
from imagesmith.dockerfile.nodes import Dockerfile
from imagesmith.dockerfile.parse import parse, parse_partly
from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.events import nobody
from imagesmith.plan.lints import BuildLints
from imagesmith.plan.outline import location_of, outline_of, source_of, targets_of
from imagesmith.plan.plan import Plan
from imagesmith.plan.planner import Planner
from imagesmith.plan.platforms import plan_build
from imagesmith.plan.reading import linter_of
from imagesmith.request import BuildRequest
from imagesmith.settings import Settings
from imagesmith.solve.graph import all_steps
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases

__all__ = ["plan_of", "run_call"]

_KINDS = {"lint": "check", "check": "check", "outline": "outline", "targets": "targets", "graph": "graph"}
_DESCRIBE = "subrequests.describe"
_REQUESTS = (
    ("check", "frontend.lint", "Lint Dockerfile", "List all build check violations"),
    ("outline", "frontend.outline", "Outline of build", "List all parameters current build target supports"),
    ("targets", "frontend.targets", "List of targets", "List all targets current build supports"),
    ("graph", "imagesmith.graph", "Graph of steps", "Show the steps of the build, and what each needs"),
    (
        _DESCRIBE,
        "frontend.subrequests.describe",
        "List available subrequest types",
        "List available subrequest types",
    ),
)


def run_call(
    call: str, request: BuildRequest, settings: Settings, links: Mapping[str, Plan] | None = None
) -> int:
    """Answer one call, `KIND[,format=json|text]`, on standard output, and return the exit status.

    Args:
        call: what is asked.
        request: of whose Dockerfile.
        settings: of this user.
        links: the plans of other targets that contexts stand for.

    Raises:
        UsageError: a call or a format that is not known.
        ImagesmithError: the Dockerfile cannot be read or, except for check, worked out.
    """
    kind, as_json = _read(call)
    if kind == _DESCRIBE:
        return _describe(as_json)
    with _opened(request, settings) as (name, data, images, contexts):
        if kind == "check":
            return _check(name, data, request, images, contexts, links, as_json=as_json)
        dockerfile = parse(data, name)
        if kind == "targets":
            document = targets_of(dockerfile)
            return _print(document, as_json=as_json, text=_targets(document))
        linter = linter_of(dockerfile, request, lambda _: None)
        if kind == "graph":
            plan = plan_build(dockerfile, request, images, contexts, linter, links=links)
            return _print(plan.to_json(), as_json=as_json, text=_graph(plan))
        planner = Planner(dockerfile, request, images, contexts, BuildLints(linter), links=links)
        document = outline_of(planner)
        return _print(document, as_json=as_json, text=_outline(document))


def plan_of(request: BuildRequest, settings: Settings, links: Mapping[str, Plan]) -> Plan:
    """What would be built, for targets whose contexts stand for it.

    Raises:
        ImagesmithError: the Dockerfile cannot be read or worked out.
    """
    with _opened(request, settings) as (name, data, images, contexts):
        dockerfile = parse(data, name)
        linter = linter_of(dockerfile, request, lambda _: None)
        return plan_build(dockerfile, request, images, contexts, linter, links=links)


@contextmanager
def _opened(request: BuildRequest, settings: Settings) -> Iterator[tuple[str, bytes, Bases, Contexts]]:
    """The Dockerfile's name and bytes, and who knows its images and its contexts."""
    with Store(settings.root) as store, with_agents(request) as request, Contexts(request, store) as contexts:
        admission = admission_of(request.policy, settings)
        name, data = contexts.dockerfile()
        images = contexts.images = Bases(
            store, settings, request, nobody, pinning=contexts.pinning, admission=admission
        )
        yield name, data, images, contexts


def _read(call: str) -> tuple[str, bool]:
    name, *options = call.split(",")
    as_json = False
    for option in options:
        key, _, value = option.partition("=")
        if key != "format" or value not in ("json", "text"):
            raise UsageError(
                f"--call {call}: invalid option {option}", hint="format=json and format=text are known"
            )
        as_json = value == "json"
    kind = _DESCRIBE if name == _DESCRIBE else _KINDS.get(name, "")
    if not kind:
        raise UsageError(
            f"--call {name}: not known", hint=f"build, check, outline, targets, graph and {_DESCRIBE} are"
        )
    return kind, as_json


def _print(document: object, *, as_json: bool, text: Sequence[str]) -> int:
    out = json.dumps(document, indent=2) if as_json else "\n".join(harmless(clean(line)) for line in text)
    sys.stdout.write(f"{harmless_json(out) if as_json else out}\n")
    return 0


def _describe(as_json: bool) -> int:
    document = [
        {"name": name, "version": "1.0.0", "type": "rpc", "description": text}
        for _, name, _, text in _REQUESTS
    ]
    rows = [("NAME", "VERSION", "DESCRIPTION"), *((call, "1.0.0", title) for call, _, title, _ in _REQUESTS)]
    return _print(document, as_json=as_json, text=_table(rows))


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["   ".join(w.ljust(n) for w, n in zip(row, widths, strict=True)).rstrip() for row in rows]


# --- check -------------------------------------------------------------------------------------


def _check(
    name: str,
    data: bytes,
    request: BuildRequest,
    images: Bases,
    contexts: Contexts,
    links: Mapping[str, Plan] | None,
    *,
    as_json: bool,
) -> int:
    found: list[Finding] = []
    dockerfile: Dockerfile | None = None
    error: ImagesmithError | None = None
    try:
        dockerfile, error = parse_partly(data, name)
        linter = linter_of(dockerfile, request, found.append)
        linter.lint_file(complete=error is None)
        if error is None:
            planner = Planner(dockerfile, request, images, contexts, BuildLints(linter), links=links)
            if request.target:
                planner.plan()
            else:
                planner.plan_all()
    except ImagesmithError as e:
        error = e
    if error is not None and dockerfile is not None:
        error = error.located(dockerfile.file, 0, 0, dockerfile.source)
    found.sort(key=lambda f: (f.span.first, f.rule.name, f.detail))
    if as_json:
        _print(_document(found, dockerfile, error), as_json=True, text=())
    else:
        report = _report(found, dockerfile, error, width_of(sys.stdout))
        sys.stdout.write("".join(f"{harmless(line)}\n" for line in report))
    sys.stdout.flush()
    front = Front(sys.stderr)
    front.request = request
    for f in found:
        front.remark("warning", f"{f.rule.name}: {f.detail}", name, f.span.first, f.span.last, f.rule.name)
    if error is not None:
        front.blame(error)
        show_error(error, sys.stderr)
    return 1 if found or error is not None else 0


def _document(
    found: Sequence[Finding], dockerfile: Dockerfile | None, error: ImagesmithError | None
) -> dict[str, Any]:
    warnings = []
    for f in found:
        row = {"ruleName": f.rule.name, "description": f.rule.about, "url": f.rule.url, "detail": f.detail}
        row = {k: v for k, v in row.items() if v}
        warnings.append(row | {"location": location_of(f.span.first, f.span.last)})
    document: dict[str, Any] = {"warnings": warnings}
    if dockerfile is not None:
        document["sources"] = [
            {"filename": dockerfile.file, "language": "Dockerfile", "data": source_of(dockerfile)}
        ]
    if error is not None:
        document["buildError"] = {"message": error.message}
        if error.first:
            document["buildError"]["location"] = location_of(error.first, max(error.first, error.last))
    return document


def _report(
    found: Sequence[Finding], dockerfile: Dockerfile | None, error: ImagesmithError | None, width: int
) -> list[str]:
    if not found:
        return ["Check complete, no warnings found."] if error is None else []
    many = "1 warning has" if len(found) == 1 else f"{len(found)} warnings have"
    lines = [f"Check complete, {many} been found!"]
    source = dockerfile.source.split("\n") if dockerfile is not None else []
    for f in found:
        link = f" - {f.rule.url}" if f.rule.url else ""
        lines += ["", f"WARNING: {f.rule.name}{link}", one_line(f.detail)]
        if dockerfile is not None:
            lines += excerpt(source, dockerfile.file, f.span.first, f.span.last, caret=f.caret, width=width)
    return lines


# --- outline and targets -----------------------------------------------------------------------


def _targets(document: dict[str, Any]) -> list[str]:
    rows = [("TARGET", "DESCRIPTION")]
    for t in document["targets"]:
        name = " ".join(w for w in (t.get("name", ""), "(default)" if t.get("default") else "") if w)
        rows.append((name, t.get("description", "")))
    return _table(rows)


def _graph(plan: Plan) -> list[str]:
    """The steps, each after what it needs, and the beginnings of their digests."""
    rows = [("STEP", "NEEDS", "")]
    for step in all_steps(plan.tips):
        needs = " ".join(needed.step_digest.hex[:12] for needed in step.inputs())
        rows.append((step.step_digest.hex[:12], needs or "-", one_line(step.name)))
    return _table(rows)


def _outline(document: dict[str, Any]) -> list[str]:
    lines = []
    if "name" in document or "description" in document:
        rows = [("TARGET:", document.get("name", "(default)"))]
        if "description" in document:
            rows.append(("DESCRIPTION:", document["description"]))
        lines += [*_table(rows), ""]
    for key, head, columns in (
        ("args", ("BUILD ARG", "VALUE", "DESCRIPTION"), ("name", "value", "description")),
        ("secrets", ("SECRET", "REQUIRED"), ("name", "required")),
        ("ssh", ("SSH", "REQUIRED"), ("name", "required")),
        ("cache", ("CACHE MOUNT",), ("ID",)),
    ):
        if key in document:
            shown = [["true" if r.get(c) is True else r.get(c, "") for c in columns] for r in document[key]]
            lines += [*_table([head, *shown]), ""]
    return lines[:-1]
