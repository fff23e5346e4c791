"""Where units are: a file, standard input, or an artifact in a registry that holds those of a wave.

Trust: units are another's; see units.py. A file holds no more than MOST_FILE_BYTES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from imagesmith.errors import InvalidDocument, UsageError
from imagesmith.fleet.artifacts import document_in, layers_in, put_documents
from imagesmith.fleet.units import MOST_BYTES, Unit
from imagesmith.oci.codec import dumps, parse_object
from imagesmith.oci.names import ImageRef

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["ARTIFACT_TYPE", "index_in", "publish", "unit_at", "unit_in"]

ARTIFACT_TYPE = "application/vnd.imagesmith.unit.v1+json"
MOST_FILE_BYTES = 64 << 20
#: Who says which of many a process is: Kubernetes, Slurm.
_INDEXES = ("JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID")


def publish(units: Sequence[Unit], repository: str, session: Session, store: Store) -> str:
    """Push the units of a wave as one artifact, in their order; returns its reference with the digest.

    Raises:
        RegistryError: the registry refused or failed.
    """
    documents = [dumps(unit.to_json(), sort_keys=True) for unit in units]
    ref = ImageRef.parse(repository, default_tag=False)
    return str(put_documents(documents, ARTIFACT_TYPE, ref, session, store))


def index_in(env: Mapping[str, str]) -> int | None:
    """Which unit a process is to do, as an engine says it in the environment.

    Raises:
        UsageError: it says no number.
    """
    for name in _INDEXES:
        if text := env.get(name, ""):
            if not (text.isascii() and text.isdecimal() and len(text) < 10):
                raise UsageError(f"{name}={text[:40]}: it is no number")
            return int(text)
    return None


def unit_at(place: str, index: int | None, session: Session) -> Unit:
    """A unit of an artifact.

    Args:
        place: its reference.
        index: which of its units; None where there is but one.
        session: connections to registries.

    Raises:
        NotFound: there is no such artifact.
        InvalidDocument: it is something else.
        UsageError: it has several units, and none is named.
    """
    source = session.repository(ImageRef.parse(place))
    index = _chosen(place, index, len(layers_in(source, ARTIFACT_TYPE)))
    raw = document_in(source, ARTIFACT_TYPE, index, MOST_BYTES)
    return Unit.parse(raw, f"{place} unit {index}")


def unit_in(path: str, index: int | None, stdin: Callable[[], BinaryIO]) -> Unit:
    """A unit of a file, which holds one, or several as `{"units": [...]}`.

    Raises:
        UsageError: the file cannot be read, or has several units, and none is named.
        InvalidDocument: it is something else.
    """
    try:
        with stdin() if path == "-" else Path(path).open("rb") as f:
            raw = f.read(MOST_FILE_BYTES + 1)
    except OSError as e:
        raise UsageError(f"cannot read {path}: {e.strerror}") from e
    if len(raw) > MOST_FILE_BYTES:
        raise InvalidDocument(f"{path}: more than {MOST_FILE_BYTES} bytes of units")
    found = parse_object(raw, path, exact=True)
    if "units" not in found.data:
        _chosen(path, index, 1)
        return Unit.parse(raw, path)
    units = found.objects("units")
    return Unit.from_json(units[_chosen(path, index, len(units))])


def _chosen(place: str, index: int | None, count: int) -> int:
    if index is None:
        if count != 1:
            raise UsageError(f"{place} has {count} units", hint="--index names one, from 0")
        return 0
    if index >= count:
        raise UsageError(f"{place}: there is no unit {index}, but {count}", hint="--index counts from 0")
    return index
