"""Units: a part of a bake that one worker does, as plain data.

A unit is a bake of its own: the definition of its target and of what that links to, for one platform, so that
whoever does it solves the very steps that a bake on one machine would, and gets the same digests. What other
units have made it finds in their caches.

    {"version": 1, "target", "platform", "stage", "definition": {"target": {...}}, "contexts": {FOLDER: REF},
     "needs": [ID], "cache_from": [REF], "cache_to": REF, "push": [REPOSITORY], "verdicts": REPOSITORY,
     "epoch": TEXT, "plan": DIGEST}

Its id is the digest of that, keys sorted: two units that ask the same are one.
Trust: a unit that is read is another's: it comes through the strict door (oci/codec.py), every field is known
and of its kind, a folder's artifact is named by digest, and how much there may be of anything is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagesmith.errors import InvalidDocument, InvalidReference, LimitExceeded
from imagesmith.oci.codec import Object, dumps, parse_object
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.values import field, frozen

__all__ = ["FORM_OPTIONS", "MOST_BYTES", "Unit"]

#: A unit's document is no larger.
MOST_BYTES = 4 << 20
#: The options of an output that say what its layers are like.
FORM_OPTIONS = (
    "rewrite-timestamp", "source-date-epoch", "compression", "compression-level", "force-compression",
    "oci-mediatypes", "prefer-nondist-layers",
)  # fmt: skip
_VERSION = 1
#: So many targets, contexts, needs, caches or repositories may one unit have.
_MOST = 1000
_KEYS = (
    "version", "target", "platform", "stage", "definition", "contexts", "needs", "cache_from", "cache_to",
    "push", "verdicts", "epoch", "plan",
)  # fmt: skip


@frozen(kw_only=True)
class Unit:
    """A unit.

    target      its name in the definition
    platform    what it builds for
    stage       the stage that is all it builds, for others to share; empty for the target itself
    definition  the targets that it needs, as `bake --print` shows them
    contexts    artifacts that hold local folders, by the folders as the definition names them
    needs       the ids of the units that come before it
    cache_from  where those, and earlier bakes, left their steps; cache_to where it leaves its own
    push        the repositories that its image is pushed to by digest
    verdicts    the repository where it says what came of it
    epoch       SOURCE_DATE_EPOCH of the client, or empty
    plan        the digest of its last step as the client planned it: where a base image has moved since an
                earlier bake, the unit is another one
    """

    target: str
    platform: str
    stage: str = ""
    definition: Mapping[str, Any]
    contexts: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: str = ""
    push: tuple[str, ...] = ()
    verdicts: str = ""
    epoch: str = ""
    plan: str = ""

    @property
    def id(self) -> Digest:
        """The digest of what it asks."""
        return digest_bytes(dumps(self.to_json(), sort_keys=True))

    @property
    def name(self) -> str:
        """What it is called on the screen."""
        stage = f" {self.stage}" if self.stage else ""
        return f"{self.target}{stage} {self.platform}"

    def to_json(self) -> dict[str, Any]:
        """The document; see the module's docstring."""
        return {
            "version": _VERSION,
            "target": self.target,
            "platform": self.platform,
            "stage": self.stage,
            "definition": dict(self.definition),
            "contexts": dict(self.contexts),
            "needs": list(self.needs),
            "cache_from": list(self.cache_from),
            "cache_to": self.cache_to,
            "push": list(self.push),
            "verdicts": self.verdicts,
            "epoch": self.epoch,
            "plan": self.plan,
        }

    @classmethod
    def parse(cls, raw: bytes, where: str = "unit") -> Unit:
        """Read a unit.

        Raises:
            InvalidDocument: it is none.
            LimitExceeded: it is larger than any is.
        """
        if len(raw) > MOST_BYTES:
            raise LimitExceeded(
                f"{where}: a unit of {len(raw)} bytes is too large, {MOST_BYTES} are the most"
            )
        return cls.from_json(parse_object(raw, where, exact=True))

    @classmethod
    def from_json(cls, o: Object) -> Unit:
        """See parse."""
        if o.integer("version") != _VERSION:
            raise InvalidDocument(f"{o.path}: a unit of version {o.integer('version')} is not known")
        o.only(*_KEYS)
        unit = cls(
            target=o.need_text("target"),
            platform=_platform(o),
            stage=o.text("stage"),
            definition=o.need_obj("definition").data,
            contexts=o.text_map("contexts"),
            needs=o.texts("needs") or (),
            cache_from=o.texts("cache_from") or (),
            cache_to=o.text("cache_to"),
            push=o.texts("push") or (),
            verdicts=o.text("verdicts"),
            epoch=o.text("epoch"),
            plan=o.text("plan"),
        )
        _check_references(unit, o.path)
        _check_definition(unit, o.path)
        if unit.epoch and not (unit.epoch.isascii() and unit.epoch.isdecimal() and len(unit.epoch) < 20):
            raise InvalidDocument(f"{o.path}: epoch: {unit.epoch[:40]!r} is no number of seconds")
        return unit


def _platform(o: Object) -> str:
    try:
        return str(Platform.parse(o.need_text("platform")))
    except InvalidReference as e:
        raise InvalidDocument(f"{o.path}: platform: {e.message[:200]}") from e


def _check_references(unit: Unit, path: str) -> None:
    """Its references are some, those of folders have a digest, and its needs are ids."""
    single = [("cache_to", unit.cache_to), ("verdicts", unit.verdicts)]
    groups = {
        "contexts": list(unit.contexts.values()),
        "cache_from": list(unit.cache_from),
        "push": list(unit.push),
        "needs": list(unit.needs),
    }
    for key, texts in groups.items():
        if len(texts) > _MOST:
            raise InvalidDocument(f"{path}: {key}: {len(texts)} are too many, {_MOST} are the most")
    named = [(key, text) for key, texts in groups.items() if key != "needs" for text in texts]
    for key, text in [*named, *((key, text) for key, text in single if text)]:
        try:
            ref = ImageRef.parse(text)
        except InvalidReference as e:
            raise InvalidDocument(f"{path}: {key}: {e.message[:200]}") from e
        if key == "contexts" and ref.digest is None:
            raise InvalidDocument(f"{path}: contexts: {text[:200]!r} has no digest")
    for text in unit.needs:
        try:
            Digest.parse(text)
        except InvalidDocument as e:
            raise InvalidDocument(f"{path}: needs: {e.message}") from e


def _check_definition(unit: Unit, path: str) -> None:
    """The definition has its target, and nothing but targets, each an object."""
    targets = unit.definition.get("target")
    if not isinstance(targets, dict) or unit.target not in targets:
        raise InvalidDocument(f"{path}: its definition has no target {unit.target[:80]!r}")
    if len(targets) > _MOST:
        raise InvalidDocument(
            f"{path}: definition: {len(targets)} targets are too many, {_MOST} are the most"
        )
    for name, target in targets.items():
        if not isinstance(target, dict):
            raise InvalidDocument(f"{path}: definition: target {name[:80]!r} must be an object")
