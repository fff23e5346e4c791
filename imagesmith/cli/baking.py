"""`imagesmith bake`: a selection of targets becomes requests, which are built in one session.

Why through the words of `build`: its parser checks every value there is, and a target means what the same
flags would mean. Flags of the command that are about the whole (how registries are reached, isolation) are
the same for all targets.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter

from imagesmith.bake.flags import inline_of, words_of
from imagesmith.bake.places import fault
from imagesmith.bake.selection import Selection, linked_by
from imagesmith.cli import build
from imagesmith.cli.buildrequest import request_of
from imagesmith.cli.errors import show_error
from imagesmith.cli.flags import settings_of
from imagesmith.cli.fronts import make_front
from imagesmith.cli.parser import Parser
from imagesmith.cli.progress import Front
from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.events import Event, Warned
from imagesmith.fs.results import put_file
from imagesmith.image.result import BuildResult
from imagesmith.oci.names import ImageRef
from imagesmith.options import parse_on_failure
from imagesmith.request import BuildRequest, OnFailure
from imagesmith.settings import Settings
from imagesmith.values import replace

__all__ = ["bake", "requests_of"]

#: Flags of `bake` that are those of every build of it.
_COMMON = (
    "insecure", "insecure_registry", "authfile", "cert_dir", "registries_conf", "hosts_dir", "policy",
    "emulator", "step_timeout", "cgroup_parent", "explain", "metadata_file",
)  # fmt: skip


def requests_of(selection: Selection, args: argparse.Namespace) -> list[BuildRequest]:
    """The builds of the targets, each after those that it needs.

    Args:
        selection: the targets.
        args: those of the command, with the flags that are the same for all.

    Raises:
        DefinitionError: a target asks for what cannot be; its name is before what is wrong.
    """
    kept = _kept(args)
    order = TopologicalSorter({name: linked_by(target) for name, target in selection.targets.items()})
    parser = Parser(prog="imagesmith build", exit_on_error=False)
    build.configure(parser)
    requests = [_request(selection, name, args, parser) for name in order.static_order()]
    if kept is not None:
        requests = [replace(r, on_failure=OnFailure(keep=kept.with_tag(r.name))) for r in requests]
    return [replace(requests[0], report=args.report), *requests[1:]] if requests else []


def _kept(args: argparse.Namespace) -> ImageRef | None:
    """The repository that what steps left is kept in, of each target under its name; None for none.

    Raises:
        UsageError: a shell is asked for, or a tag; or the steps are executed elsewhere.
    """
    if not args.on_failure:
        return None
    if args.on:
        raise UsageError(f"--on-failure: it is not honoured with --on {args.on}")
    name = parse_on_failure(args.on_failure).keep
    if name is None:
        raise UsageError(
            f"--on-failure {args.on_failure}: a bake opens no shell",
            hint="keep=NAME keeps what each step left; `imagesmith build` opens shells",
        )
    if name.tag != "latest":
        raise UsageError(f"--on-failure {args.on_failure}: the tag is the name of the target, give none")
    return name


def _request(selection: Selection, name: str, args: argparse.Namespace, parser: Parser) -> BuildRequest:
    target = selection.targets[name]
    try:
        given = parser.parse_args(words_of(target))
        for key in _COMMON:
            setattr(given, key, getattr(args, key))
        request = request_of(given, target=name)
    except ImagesmithError as e:
        if isinstance(e, UsageError) and target.span is not None:  # what the file says, not who ran it
            raise fault(target.span, f"target {name}: {e.message}", hint=e.hint) from e
        raise e if e.first else e.of(f"target {name}") from e.__cause__
    return replace(
        request, inline=inline_of(target), is_foreign=selection.is_foreign, own_remote=selection.own_remote
    )


def bake(selection: Selection, args: argparse.Namespace) -> int:
    """Build the targets, and return the exit status.

    Raises:
        ImagesmithError: of the first target that failed; those of others are shown.
    """
    from imagesmith.worker.sandbox import world

    requests = requests_of(selection, args)
    settings = settings_of(args.root)
    if loads := [output for request in requests for output in request.outputs if output.loads]:
        from imagesmith.export.loading import prepare

        prepare(loads)  # before the process moves: commands are to find the machine as it is
    here = world.enter(args.isolation)  # before any thread: the process changes its namespaces
    front = make_front(args.progress)
    front.title = "Baking"
    warnings: list[Warned] = []
    found = _built(requests, args, settings, here, front, warnings)
    built = {r.name: b for r, b in zip(requests, found, strict=True) if isinstance(b, BuildResult)}
    if args.metadata_file:
        put_file(args.metadata_file, _metadata(built, warnings))
    several = len(selection.targets) - len(selection.linked) > 1
    front.result(*(_line(n, result, several) for n, result in built.items() if n not in selection.linked))
    errors = list({id(e): e for e in found if isinstance(e, ImagesmithError)}.values())
    for error in errors[1:]:
        show_error(error, sys.stderr)
    if errors:
        raise errors[0]
    return 0


def _built(
    requests: Sequence[BuildRequest],
    args: argparse.Namespace,
    settings: Settings,
    here: object,
    front: Front,
    warnings: list[Warned],
) -> list[BuildResult | ImagesmithError]:
    from imagesmith.session import Session, jobs_here

    def events(event: Event, /) -> None:
        if isinstance(event, Warned):
            warnings.append(event)
        front(event)

    try:
        with Session(settings, here, events) as session:  # type: ignore[arg-type]  # world.World, imported lazily
            return session.build_each(requests, args.jobs or jobs_here(), keep_going=args.keep_going)
    except ImagesmithError as e:
        front.close()
        front.failure()
        front.blame(e)
        raise
    finally:
        front.close()


def _metadata(built: Mapping[str, BuildResult], warnings: list[Warned]) -> bytes:
    """The file of --metadata-file: what `build` writes there, by target."""
    document: dict[str, object] = {name: result.document() for name, result in built.items()}
    if told := build.warning_documents(warnings):
        document["buildx.build.warnings"] = told
    return json.dumps(dict(sorted(document.items())), indent=2).encode()


def _line(name: str, result: BuildResult, several: bool) -> str:
    """What came out of a target."""
    names = ", ".join(ref.familiar for ref in result.tags)
    said = f"{names} {result.digest}" if names else str(result.digest)
    return f"{name}: {said}" if several or not names else said
