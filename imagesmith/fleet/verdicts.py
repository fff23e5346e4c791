"""Verdicts: what came of a unit, as a small artifact under a tag of its own, and as a file.

Why in the registry: a client, a worker and an engine may each die at any time; whoever comes next finds there
what was done, and does the rest. A unit that failed leaves a verdict, too, so that its reason reaches the
client by whatever engine; it is no reason not to try again. Each try has a number of its own, by which an
old failure is told from a new one.

    {"version": 1, "unit": ID, "name", "try", "status", "error", "hint", "file", "line",
     "pushed": DESCRIPTOR, "executed": N, "cached": N, "steps": [TEXT]}

Trust: a verdict is as good as whoever may write to that repository: it comes through the strict door, within
limits, and what it says was pushed is named by digest.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from imagesmith.errors import ImagesmithError, InvalidDocument, NotFound
from imagesmith.fleet.artifacts import document_in, put_documents
from imagesmith.fleet.units import Unit
from imagesmith.oci.codec import dumps, parse_object
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.values import field, frozen, replace

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["ARTIFACT_TYPE", "MOST_BYTES", "Verdict", "read_verdict", "verdict_ref", "write_verdict"]

ARTIFACT_TYPE = "application/vnd.imagesmith.verdict.v1+json"
#: What Kubernetes keeps of a container's last words.
MOST_BYTES = 4096
_VERSION = 1
_TEXT = 800
_STEP = 120
_STEPS = 12
_KEYS = (
    "version", "unit", "name", "try", "status", "error", "hint", "file", "line", "pushed", "executed",
    "cached", "steps",
)  # fmt: skip


@frozen(kw_only=True)
class Verdict:
    """What came of a unit.

    unit      its id, and its name for messages
    number    of the try, by chance
    status    0, or the exit status that `build` would have had
    error     why it failed, with a hint; `file` and `line` of the Dockerfile where it belongs to one
    pushed    the manifest or index that its repositories have now
    executed  how many steps were executed, and `cached` how many were found; `steps` are some of the former
    """

    unit: str
    name: str = ""
    number: str = field(default_factory=lambda: os.urandom(8).hex())
    status: int = 0
    error: str = ""
    hint: str = ""
    file: str = ""
    line: int = 0
    pushed: Descriptor | None = None
    executed: int = 0
    cached: int = 0
    steps: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        """True if the unit was done."""
        return self.status == 0

    @property
    def told(self) -> str:
        """The failure in one line, with its place."""
        place = f"{self.file}:{self.line}: " if self.file and self.line else ""
        return f"{self.name}: {place}{self.error}"

    @classmethod
    def of(cls, unit: Unit, error: ImagesmithError) -> Verdict:
        """The verdict on a unit that failed."""
        return cls(
            unit=str(unit.id),
            name=unit.name,
            status=error.exit_code,
            error=error.message,
            hint=error.hint,
            file=error.file,
            line=error.first,
        )

    def written(self) -> bytes:
        """The document, of at most MOST_BYTES: what is too long is cut, or left out."""
        steps = [text[:_STEP] for text in self.steps[:_STEPS]]
        most = _TEXT
        while True:
            raw = dumps(self._document(most, steps))
            if len(raw) <= MOST_BYTES:
                return raw
            if steps:
                steps.pop()
            else:
                most //= 2

    def _document(self, most: int, steps: list[str]) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "unit": self.unit,
            "name": self.name[:most],
            "try": self.number,
            "status": self.status,
            "error": self.error[:most],
            "hint": self.hint[:most],
            "file": self.file[:most],
            "line": self.line,
            **({"pushed": _bare(self.pushed).to_json()} if self.pushed else {}),
            "executed": self.executed,
            "cached": self.cached,
            "steps": steps,
        }

    @classmethod
    def parse(cls, raw: bytes, where: str = "verdict") -> Verdict:
        """Read a verdict.

        Raises:
            InvalidDocument: it is none.
        """
        if len(raw) > MOST_BYTES:
            raise InvalidDocument(f"{where}: {len(raw)} bytes are too many, {MOST_BYTES} are the most")
        o = parse_object(raw, where, exact=True)
        if o.integer("version") != _VERSION:
            raise InvalidDocument(f"{where}: a verdict of version {o.integer('version')} is not known")
        o.only(*_KEYS)
        pushed = o.obj("pushed")
        return cls(
            unit=o.need_text("unit"),
            name=o.text("name"),
            number=o.need_text("try"),
            status=o.integer("status"),
            error=o.text("error"),
            hint=o.text("hint"),
            file=o.text("file"),
            line=o.integer("line"),
            pushed=None if pushed is None else Descriptor.from_json(pushed),
            executed=o.integer("executed"),
            cached=o.integer("cached"),
            steps=o.texts("steps") or (),
        )


def _bare(d: Descriptor) -> Descriptor:
    return replace(d, annotations={}, platform=None)


def verdict_ref(unit: Unit) -> ImageRef:
    """Where a unit's verdict is."""
    return replace(ImageRef.parse(unit.verdicts), tag=f"unit-{unit.id.hex[:24]}", digest=None)


def read_verdict(unit: Unit, session: Session) -> Verdict | None:
    """What came of a unit, if anything is told; what cannot be read as its verdict tells nothing.

    Raises:
        RegistryError: the registry refused or failed.
    """
    if not unit.verdicts:
        return None
    try:
        raw = document_in(session.repository(verdict_ref(unit)), ARTIFACT_TYPE, 0, MOST_BYTES)
        found = Verdict.parse(raw)
    except (NotFound, InvalidDocument):
        return None
    return found if found.unit == str(unit.id) else None


def write_verdict(unit: Unit, verdict: Verdict, session: Session, store: Store) -> None:
    """Write a unit's verdict to the registry, if it names a repository for it.

    Raises:
        RegistryError: the registry refused or failed.
    """
    if unit.verdicts:
        put_documents([verdict.written()], ARTIFACT_TYPE, verdict_ref(unit), session, store)
