"""The kitchen, and what it stored, read as plain JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagesmith.image.result import BuildResult
from imagesmith.oci.digest import Digest
from imagesmith.store.store import Store
from tests.kitchen import Kitchen, kitchen

__all__ = ["kitchen"]

#: A time (seconds) for whole builds.
EPOCH = {"SOURCE_DATE_EPOCH": "1000000000"}


class Shelf:
    """Documents of a kitchen's store."""

    def __init__(self, kitchen: Kitchen) -> None:
        self.kitchen = kitchen

    def raw(self, digest: object) -> bytes:
        """A blob."""
        with Store(self.kitchen.root) as store:
            return store.blobs.read(Digest.parse(str(digest)))

    def json(self, digest: object) -> Any:
        """A blob as JSON."""
        return json.loads(self.raw(digest))

    def statement(self, built: BuildResult) -> Any:
        """The one statement about a result's first image."""
        (entry,) = next(iter(built.attestations.values()))
        (layer,) = self.json(entry.digest)["layers"]
        return self.json(layer["digest"])

    def predicate(self, built: BuildResult) -> Any:
        """What the statement says."""
        return self.statement(built)["predicate"]


@pytest.fixture
def shelf(kitchen: Kitchen) -> Shelf:
    """The kitchen's store."""
    return Shelf(kitchen)
