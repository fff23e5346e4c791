"""`bake --on`: the targets are built by other machines, and this one plans, waits and names what they pushed.

Why nothing is entered or executed here: the client may be small, and anywhere; it needs the registry, and
the Kubernetes API or Slurm's programs. Without an engine (`matrix`, `--print`) it says what is to be done,
and when that is done it names the images.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.bake.listing import print_document
from imagesmith.bake.selection import Selection
from imagesmith.cli.baking import requests_of
from imagesmith.cli.calls import plan_of
from imagesmith.cli.flags import access_of, pairs, settings_of
from imagesmith.cli.fronts import make_front
from imagesmith.cli.lines import harmless_json
from imagesmith.cli.progress import Front
from imagesmith.errors import ImagesmithError, StepFailed, UsageError
from imagesmith.events import Log, Message, StepCached, StepDone, StepFailedEvent, StepStarted
from imagesmith.fs.results import put_file

if TYPE_CHECKING:
    from imagesmith.fleet.client import Done
    from imagesmith.fleet.engine import Engine
    from imagesmith.fleet.manifests import Pods
    from imagesmith.fleet.running import How
    from imagesmith.fleet.units import Unit
    from imagesmith.fleet.verdicts import Verdict
    from imagesmith.request import BuildRequest
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["bake_elsewhere", "print_rights"]


def print_rights(args: argparse.Namespace) -> int:
    """Print the Role that suffices, and whom it is for."""
    from imagesmith.fleet.manifests import document_of, rights_of

    return _print(document_of(rights_of(args.namespace)))


def bake_elsewhere(selection: Selection, args: argparse.Namespace) -> int:
    """Have the targets built, and return the exit status.

    Raises:
        UsageError: a flag is missing, or a target cannot be built elsewhere.
        ImagesmithError: the registry or the engine is away for too long.
    """
    from imagesmith.fleet.client import Client
    from imagesmith.fleet.running import How
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

    if not args.repository:
        raise UsageError(
            f"--on {args.on}: no repository is given",
            hint="--repository REPO names one that the workers can reach and write to",
        )
    if args.on == "kubernetes" and not args.image:
        raise UsageError("--on kubernetes: no image is given", hint="--image names one that has imagesmith")
    prints = args.on == "matrix" or args.print
    engine = None if prints else _engine(args)
    settings, requests = settings_of(args.root), requests_of(selection, args)
    front = make_front(args.progress)
    front.title = "Baking"
    picture = _Picture(front)
    how = How(
        keep_going=args.keep_going, again=args.again, tell=picture.tell, output=picture.output,
        ended=picture.ended,
    )  # fmt: skip
    with (
        Store(settings.root) as store,
        Session(store, events=front, transfers=settings.transfers, access=access_of(args)) as session,
    ):
        try:
            client = Client(args.repository, session, store, how)
            document = json.loads(json.dumps(print_document(selection)))
            units = client.units(
                document, requests, lambda r, links: plan_of(r, settings, links),
                os.environ.get("SOURCE_DATE_EPOCH", ""),
            )  # fmt: skip
            if engine is None and (said := _left(units, args, session, store, how)) is not None:
                return _written(said, args)
            done = client.run(requests, units, engine or _Nobody())
        finally:
            front.close()
    if args.on == "matrix":
        _written({"waves": 0}, args)
    return _told(done, requests, args, front)


class _Picture:
    """Shows units as vertices: each with what it says, and how it ended."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._numbers: dict[str, int] = {}
        self._begun: set[int] = set()

    def tell(self, text: str) -> None:
        """A line for the user."""
        self._front(Message(text=text))

    def output(self, unit: Unit, data: bytes) -> None:
        """What a unit has written."""
        self._front(Log(step=self._begin(unit), stream=2, data=data))

    def _begin(self, unit: Unit) -> int:
        number = self._numbers.setdefault(str(unit.id), len(self._numbers) + 1)
        if number not in self._begun:
            self._begun.add(number)
            self._front(StepStarted(step=number, name=f"[{unit.name}] work"))
        return number

    def ended(self, unit: Unit, verdict: Verdict) -> None:
        """The verdict on a unit."""
        if verdict.is_done and str(unit.id) not in self._numbers:
            number = self._numbers.setdefault(str(unit.id), len(self._numbers) + 1)
            self._front(StepCached(step=number, name=f"[{unit.name}] work"))
            return
        number = self._begin(unit)
        if verdict.is_done:
            self._front(StepDone(step=number, seconds=0.0))
        else:
            self._front(StepFailedEvent(step=number, name=f"[{unit.name}] work", error=verdict.told))


class _Nobody:
    """The engine of who starts workers by himself; Engine. It is asked only if nothing is left."""

    name = "nobody"

    def submit(self, units: Sequence[Unit], place: str) -> Any:  # noqa: ANN401 - nothing is submitted
        """See Engine."""
        raise UsageError(f"{len(units)} units of {place} are left", hint="run this again when they are done")


# --- engines ---------------------------------------------------------------------------------------


def _engine(args: argparse.Namespace) -> Engine:
    if args.on == "kubernetes":
        from imagesmith.fleet.kubernetes import Kubernetes

        return Kubernetes(_pods(args))
    from imagesmith.fleet.slurm import Slurm, SlurmOptions

    options = SlurmOptions(
        logs=Path(args.logs or "imagesmith-logs"), parallelism=args.parallelism, arguments=tuple(args.sbatch),
        constraints=pairs(args.constraint, "--constraint"), root=args.node_root,
    )  # fmt: skip
    return Slurm(options)


def _pods(args: argparse.Namespace) -> Pods:
    from imagesmith.fleet.manifests import Pods
    from imagesmith.fleet.podtemplate import read_template

    template = {}
    if args.pod_template:
        try:
            text = Path(args.pod_template).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise UsageError(f"--pod-template {args.pod_template}: {e}") from e
        template = dict(read_template(args.pod_template, text))
    return Pods(
        image=args.image, namespace=args.namespace, parallelism=args.parallelism,
        login=args.registry_secret, secrets=pairs(args.pod_secret, "--pod-secret"), template=template,
    )  # fmt: skip


# --- what is left ------------------------------------------------------------------------------------


def _left(
    units: Sequence[Unit], args: argparse.Namespace, session: Session, store: Store, how: How
) -> dict[str, Any] | None:
    """What is to be done, as a document for others' programs; None where all is done."""
    from imagesmith.fleet.manifests import document_of, jobs_of
    from imagesmith.fleet.matrix import WORKER_FILE, matrix_of
    from imagesmith.fleet.places import publish
    from imagesmith.fleet.running import verdicts_on
    from imagesmith.fleet.waves import waves_of

    done = {} if args.again else verdicts_on(units, session, how)
    waves = waves_of(units, done)
    if not waves:
        return None
    if args.on == "kubernetes":  # the wave that can begin now; the others when it has ended
        return document_of(jobs_of(waves[0], publish(waves[0], args.repository, session, store), _pods(args)))
    if args.on != "matrix":
        raise UsageError(f"--on {args.on}: --print is for kubernetes and matrix")
    placed = [(publish(wave, args.repository, session, store), wave) for wave in waves]
    return matrix_of(placed, args.matrix, args.worker_file or WORKER_FILE)


def _written(document: dict[str, Any], args: argparse.Namespace) -> int:
    if args.on == "matrix" and args.matrix_file:
        put_file(args.matrix_file, (json.dumps(document, indent=2) + "\n").encode())
        return 0
    return _print(document)


def _print(document: dict[str, Any]) -> int:
    sys.stdout.write(harmless_json(json.dumps(document, indent=2)) + "\n")
    return 0


def _told(done: Done, requests: Sequence[BuildRequest], args: argparse.Namespace, front: Front) -> int:
    """Say what came out, and raise what failed."""
    images = {r.name: done.images[r.name] for r in requests if r.name in done.images}
    if args.metadata_file:
        document = {name: image.document() for name, image in sorted(images.items())}
        put_file(args.metadata_file, json.dumps(document, indent=2).encode())
    lines = [
        f"{name}: {', '.join(ref.familiar for ref in image.tags)} {image.descriptor.digest}"
        for name, image in images.items()
    ]
    front.result(*lines)
    failed = done.outcome.failed
    if not failed:
        return 0
    first = failed[0]
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    error: ImagesmithError = StepFailed(f"{first.told}{more}", status=first.status, hint=first.hint)
    error.exit_code = first.status or StepFailed.exit_code  # type: ignore[misc]  # what `build` would end with
    raise error
