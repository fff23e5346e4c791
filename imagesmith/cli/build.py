"""`imagesmith build`: flags as `docker buildx build` has them."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from imagesmith.cli.buildflags import add_build_flags
from imagesmith.cli.flags import settings_of
from imagesmith.errors import ImagesmithError, UsageError

if TYPE_CHECKING:
    from imagesmith.cli.buildsign import Signer
    from imagesmith.cli.progress import Front
    from imagesmith.events import Event, Warned
    from imagesmith.request import BuildRequest
    from imagesmith.settings import Settings

__all__ = ["configure", "run", "warning_documents"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_build_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    if args.on or args.print_rbac:
        from imagesmith.plugins import ELSEWHERE, load

        return int(load(ELSEWHERE).build_elsewhere(args))
    from imagesmith.cli.buildrequest import request_of
    from imagesmith.cli.fronts import make_front
    from imagesmith.options import refuse_shells
    from imagesmith.worker.sandbox import world

    request = request_of(args)
    call = "check" if args.check else args.call or "build"
    settings = settings_of(args.root)
    if call != "build":
        from imagesmith.cli.calls import run_call

        if request.pin:
            raise UsageError(f"--pin: --call {call} writes nothing", hint="`imagesmith pin` writes a lock")
        for flag in filter(None, (args.on_failure and "--on-failure", args.shell_at and "--shell-at")):
            raise UsageError(f"{flag}: --call {call} executes nothing")
        return run_call(call, request, settings)
    if not (os.isatty(0) and os.isatty(2)):
        refuse_shells(request)
    if any(output.loads for output in request.outputs):
        from imagesmith.export.loading import prepare

        prepare(request.outputs)  # before the process moves: commands are to find the machine as it is
    signer = None
    if args.sign:
        from imagesmith.cli.buildsign import Signer

        signer = Signer(args, request)  # before anything is built
    here = world.enter(args.isolation)  # before any thread: the process changes its namespaces
    front = make_front("quiet" if args.quiet else args.progress)
    front.request = request
    for file in filter(None, (args.iidfile, args.digest_file)):
        _forget(file)
    return _build(args, request, settings, here, front, signer)


def _build(
    args: argparse.Namespace,
    request: BuildRequest,
    settings: Settings,
    here: object,
    front: Front,
    signer: Signer | None,
) -> int:
    from imagesmith.events import Warned
    from imagesmith.fs.results import put_file
    from imagesmith.session import run_build

    warnings: list[Warned] = []
    attendant = None
    if request.on_failure is not None or request.shell_at is not None:
        from imagesmith.cli.shells import Shells

        attendant = Shells(request, front)

    def events(event: Event, /) -> None:
        if isinstance(event, Warned):
            warnings.append(event)
        front(event)

    try:
        built = run_build(request, settings, here, events, attendant)  # type: ignore[arg-type]  # imported lazily
    except ImagesmithError as e:
        front.close()
        front.failure()
        front.blame(e)
        raise
    finally:
        front.close()
    if args.iidfile:
        put_file(args.iidfile, str(built.image_id).encode())
    if args.digest_file:
        put_file(args.digest_file, str(built.digest).encode())
    if args.metadata_file:
        put_file(args.metadata_file, built.metadata(warning_documents(warnings)))
    if signer is not None:
        signer.sign(built, settings)
    if args.quiet and not any(o.dest == "-" for o in request.outputs):
        sys.stdout.write(f"{built.image_id}\n")
    else:
        signed = built.pushed if signer is not None else ()
        said = [f"named {ref.familiar}" for ref in built.tags] + [f"signed {ref.familiar}" for ref in signed]
        front.result(*said, str(built.digest))
    return 0


def _forget(file: str) -> None:
    """Take away what an earlier build wrote; links, as /dev/stdout is one, devices and mounts stay."""
    from imagesmith.fs.results import put_file

    if os.path.isfile(file) and not os.path.islink(file):
        try:
            os.unlink(file)
        except OSError:  # a pod's /dev/termination-log is a mount
            put_file(file, b"")


def warning_documents(warnings: list[Warned]) -> list[dict[str, object]]:
    """The warnings for the metadata file, if they are asked for as buildx has it."""
    from imagesmith.options import boolean

    asked = os.environ.get("BUILDX_METADATA_WARNINGS", "")
    if not asked or not boolean("BUILDX_METADATA_WARNINGS", asked):
        return []
    from imagesmith.cli.rawjson import warning_document

    return [warning_document(w) for w in warnings]
