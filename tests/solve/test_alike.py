"""Equal instructions on different bases: what they write alike is written once, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest

from imagesmith.events import Message
from imagesmith.image.result import BuildResult
from imagesmith.solve.layerwriter import LayerWriter
from tests.kitchen import OLD_S, Kitchen, tar_of

PLATFORMS = "linux/amd64,linux/arm64"
#: Two bases that differ in a folder each, below one that may be anything.
BASES = "FROM scratch AS base\nARG TARGETARCH\nCOPY $TARGETARCH /\nFROM base\n"

Written = list[LayerWriter]


@pytest.fixture
def written() -> Iterator[Written]:
    """The writers that have written a layer, as often as they have."""
    found: Written = []
    write: Callable[..., Any] = LayerWriter.write

    def counted(self: LayerWriter, *args: Any, **words: Any) -> Any:
        found.append(self)
        return write(self, *args, **words)

    with patch.object(LayerWriter, "write", counted):
        yield found


@pytest.fixture
def two(kitchen: Kitchen) -> Kitchen:
    """A kitchen with two bases, and things to copy onto them."""
    kitchen.write({f"{arch}/bin/{arch}": arch for arch in ("amd64", "arm64")})
    kitchen.write({"files/a": "a", "files/sub/b": "b" * 70_000, "a.tar": tar_of({"x/": b"", "x/y": b"text"})})
    return kitchen


def layers_of(built: BuildResult) -> list[set[str]]:
    """For each place, from the bottom up, the different layers that the images have there."""
    images = [[str(layer.diff_id) for layer in image.layers] for image in built.images.values()]
    return [set(one) for one in zip(*images, strict=True)]


@pytest.mark.parametrize(
    "step",
    ["COPY files /srv/app", "COPY --link files /srv/app", "ADD a.tar /srv/", "ADD a.tar files/a /srv/",
     "COPY --chown=7:8 --chmod=750 files/sub /bin/", "WORKDIR /srv/app", "COPY --parents files/sub/b /",
     "COPY --from=other /x /x", "COPY <<E /srv/text\nword\nE"],
)  # fmt: skip
def test_layer_is_written_once_for_both_platforms(two: Kitchen, written: Written, step: str) -> None:
    built = two.build(f"FROM scratch AS other\nCOPY files /x\n{BASES}{step}\n", platform=PLATFORMS)
    assert [len(found) for found in layers_of(built)] == [2, 1]
    assert len(written) == 3 + ("--from" in step)
    fresh = written.copy()
    again = two.build(f"FROM scratch AS other\nCOPY files /x\n{BASES}{step}\n", platform=PLATFORMS)
    assert written == fresh
    assert again.digest == built.digest


def test_several_steps_on_what_was_made_alike_are_made_alike(two: Kitchen, written: Written) -> None:
    steps = "WORKDIR /srv\nCOPY files .\nCOPY files/a sub/\nCOPY --from=base /bin /other\nCOPY files .\n"
    built = two.build(BASES + steps, platform=PLATFORMS)
    assert [len(found) for found in layers_of(built)] == [2, 1, 1, 1, 2, 1]
    assert len(written) == 8


def test_changed_context_is_written_once_as_well(two: Kitchen, written: Written) -> None:
    two.build(f"{BASES}COPY files /srv/\n", platform=PLATFORMS)
    two.write({"files/a": "other"})
    written.clear()
    built = two.build(f"{BASES}COPY files /srv/\n", platform=PLATFORMS)
    assert len(written) == 1
    assert [len(found) for found in layers_of(built)] == [2, 1]


@pytest.mark.parametrize(
    ("of_amd64", "of_arm64", "step"),
    [
        ({"d": "-> e"}, {"d": "file"}, "COPY files/a /d"),
        ({"d": "-> e"}, {"d/": ""}, "COPY files /d/"),
        ({"d/a": "a"}, {"d/a": "b"}, "COPY files /d/"),
        ({"d/": ""}, {}, "COPY files/a /d"),
        ({"etc/passwd": "web:x:33:33:::\n"}, {"etc/passwd": "web:x:3:33:::"}, "COPY --chown=web files /d/"),
        ({"d/b": "below"}, {}, "ADD d.tar /"),
    ],
)  # fmt: skip
def test_bases_that_make_a_difference_have_a_layer_each(
    two: Kitchen, of_amd64: dict[str, str | bytes], of_arm64: dict[str, str | bytes], step: str
) -> None:
    two.write({f"amd64/{name}": content for name, content in of_amd64.items()})
    two.write({f"arm64/{name}": content for name, content in of_arm64.items()})
    two.write({"d.tar": tar_of({"d": b"", "d/": b"", "d/x": b""})})
    text, platforms = f"{BASES}{step}\n", PLATFORMS.split(",")
    with patch("time.time_ns", lambda: (OLD_S + 5) * 1_000_000_000):
        built = two.build(text, platform=PLATFORMS)
        alone = [two.build(text, platform=platform, no_cache=True) for platform in platforms]
    assert [[layer.diff_id for layer in i.layers] for i in built.images.values()] == [
        [layer.diff_id for layer in one.image.layers] for one in alone
    ]
    assert [len(found) for found in layers_of(built)] == [2, 2]


def test_second_platform_is_no_change_since_an_earlier_build(two: Kitchen) -> None:
    two.build(f"{BASES}COPY files /srv/\n", platform=PLATFORMS, explain=True)
    told = [e.text for e in two.events if isinstance(e, Message) and e.text.startswith("miss: ")]
    assert len(told) == 4
    assert set(told) == {"miss: no earlier build has this instruction here"}
