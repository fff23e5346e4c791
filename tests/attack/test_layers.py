"""Hostile layers, each as a base, with a RUN and with COPY --from: nothing outside is read or changed.

All are built as root, in native isolation and behind a chroot. By hand, for other users and isolations:
`python -m tests.attack.layers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack import hostile
from tests.attack.layers import Bench, bench, disk
from tests.support import need_program, need_root

pytestmark = pytest.mark.slow

_EXTRACTION = sorted(hostile.extraction("/outside", disk()))
_FORMATS = sorted(hostile.formats())
#: What a reader refuses it refuses everywhere; these are taken, and come to the disk.
_ON_DISK = [name for name in _FORMATS if name.startswith(("times", "owner", "size of pax", "zeros"))]
_CASES = [
    *(("native", name) for name in (*_EXTRACTION, *_FORMATS)),
    *(("chroot", name) for name in (*_EXTRACTION, *_ON_DISK)),
]


@pytest.fixture(scope="module")
def benches() -> Iterator[dict[str, Bench]]:
    """A bench for each isolation."""
    need_root()
    need_program("busybox")
    with bench("native") as native, bench("chroot") as chroot:
        yield {"native": native, "chroot": chroot}


@pytest.mark.parametrize(("isolation", "name"), _CASES, ids=[": ".join(case) for case in _CASES])
def test_hostile_layer_reaches_nothing_outside(benches: dict[str, Bench], isolation: str, name: str) -> None:
    made = benches[isolation]
    done = made.build(made.layers[name])
    assert not done.wrong, f"{done.wrong}\n{done.said}"


def test_there_are_as_many_as_were_asked_for() -> None:
    assert len(_EXTRACTION) >= 49
    assert len(_FORMATS) >= 39


def test_canaries_are_looked_at() -> None:
    """A build that reads one, or changes one, is told to be wrong."""
    need_root()
    with bench("native") as made:
        link = hostile.gz(hostile.folder(b"t"), hostile.file(b"t/x", b"canary-of-the-machine"))
        assert made.build([link]).wrong == "a canary was read"
        Path(made.outside, "made").write_text("evil")
        assert made.build([hostile.gz(hostile.folder(b"t"))]).wrong == "a canary was changed"
