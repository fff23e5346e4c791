"""Kubernetes: a wave is a few Indexed Jobs, asked for and watched through the API of a cluster.

Why polling and no watch: a watch ends whenever the API server likes, and has to be begun anew by polling; a
bake of minutes loses nothing by a question a second. What a unit says is read from the pods' logs, from where
it was read last.
A Job is named by its wave: a client that was killed finds it running, and goes on with it. One of that name
that has ended is deleted and made anew.
Spec: Kubernetes' batch/v1 Job (Indexed) and pods/log; the user's kubeconfig, or the pod's own account.
Trust: the API server is the user's. What pods print is others', and handed on as bytes.
Threads: one.
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from imagesmith.errors import ImagesmithError, NetworkFault, RegistryError, UsageError
from imagesmith.extras import how_to_get
from imagesmith.fleet.engine import ENDED, RUNNING, WAITING, Piece
from imagesmith.fleet.manifests import LABEL, Pods, indexes_of, jobs_of
from imagesmith.fleet.podtemplate import CONTAINER
from imagesmith.fleet.units import Unit

__all__ = ["Kubernetes", "KubernetesRun"]

T = TypeVar("T")

_INDEX = "batch.kubernetes.io/job-completion-index"
#: How long (seconds) a Job that is being deleted may take to be gone.
_GONE_S = 60.0
#: Why a container does not begin, where waiting does not help.
_STUCK = (
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
)  # fmt: skip
#: Seconds before the last look that logs are read again from, for lines that came late.
_OVERLAP_S = 3


class Kubernetes:
    """An Engine that makes Jobs."""

    name = "kubernetes"

    def __init__(self, pods: Pods, client: Any = None) -> None:  # noqa: ANN401 - lightkube's, which is optional
        """Connect as the user's kubeconfig says, or as the pod's own account.

        Args:
            pods: how pods are made.
            client: a lightkube Client, instead.

        Raises:
            UsageError: lightkube is not installed, or there is no configuration.
        """
        self._pods, self._client = pods, client if client is not None else _connected(pods.namespace)

    def submit(self, units: Sequence[Unit], place: str) -> KubernetesRun:
        """Start a wave, or find the one that still runs."""
        jobs = jobs_of(units, place, self._pods)
        run = KubernetesRun(self._client, list(indexes_of(units).values()), jobs)
        made: list[str] = []
        try:
            for job in jobs:
                made += [job["metadata"]["name"]] if self._create(job) else []
        except ImagesmithError:
            for name in made:  # what ran before is left to run
                _delete(self._client, name)
            raise
        return run

    def _create(self, job: Mapping[str, Any]) -> bool:
        """Make a Job; False where it runs already."""
        name, kind = job["metadata"]["name"], _of("resources.batch_v1", "Job")
        for _ in range(2):
            made = _asked(lambda: self._client.create(kind.from_dict(dict(job))), absent=(409,))
            if made is not None:
                return True
            there = _asked(lambda: self._client.get(kind, name), absent=(404,))
            if there is not None and not _has_ended(there) and there.metadata.deletionTimestamp is None:
                return False
            _delete(self._client, name)
            until = time.monotonic() + _GONE_S
            while _asked(lambda: self._client.get(kind, name), absent=(404,)) is not None:
                if time.monotonic() > until:
                    raise RegistryError(f"kubernetes: job {name} is deleted, and does not go")
                time.sleep(0.2)
        raise RegistryError(f"kubernetes: job {name} is made by somebody else at the same time")


class KubernetesRun:
    """A wave in a cluster; Run."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - lightkube's
        indexes: Sequence[Sequence[int]],
        jobs: Sequence[Mapping[str, Any]],
    ) -> None:
        self._client = client
        #: By the name of a Job, the units' indexes in the wave, by completion index.
        self._jobs = {job["metadata"]["name"]: list(own) for job, own in zip(jobs, indexes, strict=True)}
        self._wave = jobs[0]["metadata"]["labels"][LABEL] if jobs else ""
        self._read: dict[str, tuple[float, frozenset[str]]] = {}
        self._told: set[tuple[str, str]] = set()
        self._closed: set[str] = set()

    def poll(self) -> Mapping[int, str]:
        """See Run. A Job that is gone has ended: verdicts say how."""
        states, kind = dict[int, str](), _of("resources.batch_v1", "Job")
        for name, own in self._jobs.items():
            job = _asked(lambda name=name: self._client.get(kind, name), absent=(404,))  # type: ignore[misc]
            status = job.status if job is not None else None
            over = job is None or _has_ended(job)
            done = _numbers(getattr(status, "completedIndexes", None) or "")
            done |= _numbers(getattr(status, "failedIndexes", None) or "")
            for at, index in enumerate(own):
                states[index] = ENDED if over or at in done else WAITING
        for pod, index in self._pods():
            if states[index] == WAITING and pod.status is not None and pod.status.phase == "Running":
                states[index] = RUNNING
        return states

    def _pods(self) -> list[tuple[Any, int]]:
        """The pods of the wave, each with the index of its unit."""
        out, kind = [], _of("resources.core_v1", "Pod")
        for pod in _asked(lambda: list(self._client.list(kind, labels={LABEL: self._wave}))) or ():
            owners = [o.name for o in pod.metadata.ownerReferences or ()]
            own = next((self._jobs[name] for name in owners if name in self._jobs), None)
            at = (pod.metadata.annotations or {}).get(_INDEX, "")
            if own is not None and at.isascii() and at.isdecimal() and int(at) < len(own):
                out.append((pod, own[int(at)]))
        return out

    def output(self) -> Sequence[Piece]:
        """See Run. What keeps a pod from beginning is told as if it had said so."""
        pieces: list[Piece] = []
        for pod, index in self._pods():
            name, status = pod.metadata.name, pod.status
            if name in self._closed or status is None:
                continue
            if status.phase == "Pending":
                pieces += [Piece(index, f"{text}\n".encode()) for text in self._troubles(name, status)]
                continue
            over = status.phase in ("Succeeded", "Failed")
            if data := self._log(name):
                pieces.append(Piece(index, data))
            if over:
                self._closed.add(name)
        return pieces

    def _troubles(self, name: str, status: Any) -> list[str]:  # noqa: ANN401 - lightkube's
        """Why a pod does not begin, each reason once."""
        found = [
            (waiting.reason, waiting.message)
            for container in status.containerStatuses or ()
            if (waiting := container.state and container.state.waiting) and waiting.reason in _STUCK
        ]
        found += [
            (condition.reason, condition.message)
            for condition in status.conditions or ()
            if condition.type == "PodScheduled" and condition.status == "False"
        ]
        new = [(reason, text) for reason, text in found if (name, str(reason)) not in self._told]
        self._told |= {(name, str(reason)) for reason, _ in new}
        return [f"pod {name}: {reason}: {text or 'no more is known'}" for reason, text in new]

    def _log(self, name: str) -> bytes:
        """What a pod has written since the last look; lines have their time, by which doubles are told."""
        before, seen = self._read.get(name, (0.0, frozenset()))
        now = time.monotonic()
        since = int(now - before) + _OVERLAP_S if before else None
        lines = _asked(
            lambda: list(
                self._client.log(name, container=CONTAINER, since=since, timestamps=True, newlines=False)
            ),
            absent=(400, 404),  # it has not begun, or is gone
        )
        if lines is None:
            return b""
        self._read[name] = now, frozenset(lines)
        new = [line.partition(" ")[2] for line in lines if line not in seen]
        return "".join(f"{line}\n" for line in new).encode("utf-8", "surrogateescape")

    def cancel(self) -> None:
        """See Run."""
        for name in self._jobs:
            _delete(self._client, name)


def _of(module: str, name: str) -> Any:  # noqa: ANN401 - lightkube's
    """What lightkube has under a name; it is an extra, and is imported when a cluster is asked.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return getattr(importlib.import_module(f"lightkube.{module}" if module else "lightkube"), name)
    except ImportError as e:
        raise UsageError("kubernetes: lightkube is not installed", hint=how_to_get("kubernetes")) from e


def _connected(namespace: str) -> Any:  # noqa: ANN401 - lightkube's
    connect, unconfigured = _of("", "Client"), _of("core.exceptions", "ConfigError")
    try:
        return connect(namespace=namespace or None)
    except (unconfigured, OSError, ValueError) as e:
        raise UsageError(f"kubernetes: no cluster is configured: {e}", hint="KUBECONFIG names one") from e


def _delete(client: Any, name: str) -> None:  # noqa: ANN401 - lightkube's
    """Delete a Job with its pods, if it is there."""
    kind, cascade = _of("resources.batch_v1", "Job"), _of("types", "CascadeType").BACKGROUND
    _asked(lambda: client.delete(kind, name, cascade=cascade), absent=(404,))


def _asked(ask: Callable[[], T], absent: tuple[int, ...] = ()) -> T | None:
    """An answer; None for one of these statuses.

    Raises:
        UsageError: the cluster refuses it.
        NetworkFault: the cluster cannot be asked now.
    """
    refused = _of("core.exceptions", "ApiError")
    faults = next(kind for kind in refused.__mro__ if kind.__name__ == "HTTPError")  # of whichever httpx
    try:
        return ask()
    except refused as e:
        code = e.status.code or 0
        if code in absent:
            return None
        message = f"kubernetes: {e.status.message or e}"
        if code in (401, 403, 422):
            hint = "`--print-rbac` prints the rights that suffice" if code == 403 else ""
            raise UsageError(message, hint=hint) from e
        raise NetworkFault(message, status=code) from e
    except faults as e:
        raise NetworkFault(f"kubernetes: {str(e) or type(e).__name__}") from e


def _has_ended(job: Any) -> bool:  # noqa: ANN401 - lightkube's
    """True if a Job begins nothing any more."""
    conditions = (job.status.conditions or ()) if job.status is not None else ()
    over = ("Complete", "Failed", "SuccessCriteriaMet", "FailureTarget")
    return any(c.type in over and c.status == "True" for c in conditions)


def _numbers(text: str) -> set[int]:
    """The numbers of a text such as `1,3-5`."""
    out: set[int] = set()
    for first, last in re.findall(r"(\d{1,6})(?:-(\d{1,6}))?", text):
        out.update(range(int(first), int(last or first) + 1))
    return out
