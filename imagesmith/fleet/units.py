"""Units: a part of a bake that one worker does, as plain data.

A unit is a bake of its own: the definition of its target and of what that links to, for one platform, so that
whoever does it solves the very steps that a bake on one machine would, and gets the same digests. What other
units have made it finds in their caches.

    {"version": 1, "target", "platform", "stage", "definition": {"target": {...}}, "contexts": {FOLDER: REF},
     "needs": [ID], "cache_from": [REF], "cache_to": REF, "push": [REPOSITORY], "verdicts": REPOSITORY,
     "epoch": TEXT}

Its id is the digest of that, keys sorted: two units that ask the same are one.
Trust: a unit that is read is another's: it comes through the strict door (oci/codec.py), within limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagesmith.errors import InvalidDocument
from imagesmith.oci.codec import Object, dumps, parse_object
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.values import field, frozen

__all__ = ["Unit"]

_VERSION = 1


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
        }

    @classmethod
    def parse(cls, raw: bytes, where: str = "unit") -> Unit:
        """Read a unit.

        Raises:
            InvalidDocument: it is none.
        """
        return cls.from_json(parse_object(raw, where))

    @classmethod
    def from_json(cls, o: Object) -> Unit:
        """See parse."""
        if o.integer("version") != _VERSION:
            raise InvalidDocument(f"{o.path}: a unit of version {o.integer('version')} is not known")
        unit = cls(
            target=o.need_text("target"),
            platform=str(Platform.parse(o.need_text("platform"))),
            stage=o.text("stage"),
            definition=o.need_obj("definition").data,
            contexts=o.text_map("contexts"),
            needs=o.texts("needs") or (),
            cache_from=o.texts("cache_from") or (),
            cache_to=o.text("cache_to"),
            push=o.texts("push") or (),
            verdicts=o.text("verdicts"),
            epoch=o.text("epoch"),
        )
        for ref in (*unit.contexts.values(), *unit.cache_from, *unit.push, unit.cache_to, unit.verdicts):
            if ref:
                ImageRef.parse(ref)
        for digest in unit.needs:
            Digest.parse(digest)
        targets = unit.definition.get("target")
        if not isinstance(targets, dict) or unit.target not in targets:
            raise InvalidDocument(f"{o.path}: its definition has no target {unit.target[:80]!r}")
        return unit
