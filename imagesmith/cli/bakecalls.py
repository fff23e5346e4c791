"""`imagesmith bake --call`: what is asked of each target instead of building it, one after the other.

Spec: buildx's commands/bake.go: a target's name and description before its answer; with format=json one
document that has the targets as well.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Iterable

from imagesmith.bake.flags import call_of
from imagesmith.bake.listing import go_json, print_document
from imagesmith.bake.selection import Selection, linked_by
from imagesmith.cli.baking import requests_of
from imagesmith.cli.calls import plan_of, run_call
from imagesmith.cli.errors import show_error
from imagesmith.cli.flags import settings_of
from imagesmith.cli.lines import harmless_json, one_line
from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.plan.plan import Plan

__all__ = ["answer"]


def answer(
    selection: Selection, names: Iterable[str], shown: Selection, args: argparse.Namespace, form: str
) -> int:
    """Answer the calls of some targets, and return the exit status: of the first that was not 0.

    Args:
        selection: all targets.
        names: those that have a call.
        shown: those of --print, for the document.
        args: the flags.
        form: `format=json`, `format=text` or empty.

    Raises:
        UsageError: a call or a form that is not known.
        DefinitionError: a target asks for what cannot be.
    """
    if form not in ("", "format=json", "format=text"):
        raise UsageError(f"--call: invalid option {form}", hint="format=json and format=text are known")
    requests = {request.name: request for request in requests_of(selection, args)}
    settings = settings_of(args.root)
    needed = {other for target in selection.targets.values() for other in linked_by(target)}
    links: dict[str, Plan] = {}
    for name, request in requests.items():  # each after those that it needs
        if name in needed:
            links[name] = plan_of(request, settings, links)
    answers: dict[str, dict[str, object]] = {}
    first = 0
    for at, name in enumerate(sorted(names)):
        target = selection.targets[name]
        call = call_of(target).partition(",")[0]
        out = io.StringIO()
        if form != "format=json":
            description = one_line(str(target.attributes.get("description", "")))
            sys.stdout.write("\n" if at else "")
            sys.stdout.write(f"{name}\n{description}\n\n" if description else f"{name}\n\n")
        try:
            if form == "format=json":
                with contextlib.redirect_stdout(out):
                    status = run_call(f"{call},format=json", requests[name], settings, links)
            else:
                status = run_call(call, requests[name], settings, links)
        except UsageError:
            raise
        except ImagesmithError as e:
            status, out = e.exit_code, io.StringIO(json.dumps({"error": e.message}))
            sys.stdout.flush()
            show_error(e, sys.stderr)
        answers[name] = {"check" if call == "lint" else call: json.loads(out.getvalue() or "null")}
        first = first or status
    if form == "format=json":
        document = print_document(shown)
        builds = document["target"]
        assert isinstance(builds, dict)
        targets = {name: {"build": builds[name], **answers.get(name, {})} for name in sorted(builds)}
        sys.stdout.write(harmless_json(go_json({"group": document["group"], "target": targets})))
    return first
