"""What sources of COPY and ADD name in a tree: matches, what is taken below them, and their digest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imagesmith.context.digests import FileDigests
from imagesmith.context.local import LocalTree
from imagesmith.context.patterns import Matcher
from imagesmith.context.sources import content_digest, select
from imagesmith.errors import ContextError, MissingSource
from imagesmith.store.store import Store


@pytest.fixture
def tree(tmp_path: Path) -> LocalTree:
    """A tree of few files."""
    root = tmp_path / "tree"
    for name in ("f", "g", "d/e/h", "d/e/i", "d/x", "d2/e/h", "[a]", "a", "deep/one/two/f", ".hidden"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "empty").mkdir()
    (root / "to-f").symlink_to("f")
    (root / "to-d").symlink_to("/d")
    (root / "out").symlink_to("../../../d")
    (root / "gone").symlink_to("nowhere")
    (root / "round").symlink_to("round")
    return LocalTree(root)


def matches(
    tree: LocalTree, source: str, *excludes: str, parents: bool = False, literal: bool = False
) -> list[tuple[str, str]]:
    """The path and the name of each match."""
    found = select(tree, source, excludes=excludes, parents=parents, literal=literal)
    return [(m.path, m.name) for m in found]


def below(tree: LocalTree, source: str, *excludes: str, parents: bool = False) -> list[str]:
    """What is taken below the one match; holders with a mark."""
    [match] = select(tree, source, excludes=excludes, parents=parents)
    return [f"{t.path}{'*' if t.holder else ''}" for t in match.entries(tree)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("f", [("f", "f")]),
        ("/f", [("f", "f")]),
        ("./d/../f", [("f", "f")]),
        ("../../f", [("f", "f")]),
        ("d/", [("d", "d")]),
        (".", [("", "")]),
        ("/", [("", "")]),
        ("..", [("", "")]),
        ("to-f", [("f", "to-f")]),
        ("to-d", [("d", "to-d")]),
        ("to-d/x", [("d/x", "x")]),
        ("out/x", [("d/x", "x")]),
    ],
)
def test_source_is_a_path_that_stays_inside(
    tree: LocalTree, source: str, found: list[tuple[str, str]]
) -> None:
    assert matches(tree, source) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("[fg]", ["f", "g"]),
        ("d*/e/h", ["d/e/h", "d2/e/h"]),
        ("d/*/[hi]", ["d/e/h", "d/e/i"]),
        ("?", ["a", "d", "f", "g"]),
        ("to-d/*", ["d/e", "d/x"]),
        (".h*", [".hidden"]),
        ("no*", []),
        ("f/*", []),
        ("nowhere/*", []),
        ("to-*/x", []),  # a link that a wildcard meets on its way is not followed
        ("**/h", []),
    ],
)
def test_wildcards_match_names_in_the_order_of_bytes(tree: LocalTree, source: str, found: list[str]) -> None:
    assert [path for path, _ in matches(tree, source)] == found


def test_match_of_a_wildcard_that_is_a_link_is_followed_and_keeps_its_name(tree: LocalTree) -> None:
    assert matches(tree, "to-*") == [("d", "to-d"), ("f", "to-f")]
    with pytest.raises(MissingSource, match='"/gone": not found'):
        matches(tree, "gon*")


def test_wildcards_of_a_name_mean_themselves(tree: LocalTree) -> None:
    assert matches(tree, "[a]") == [("a", "a")]
    assert matches(tree, "[a]", literal=True) == [("[a]", "[a]")]
    assert matches(tree, "[[]a]") == [("[a]", "[a]")]


@pytest.mark.parametrize(
    ("source", "told"),
    [("nowhere", "/nowhere"), ("d/nowhere/", "/d/nowhere"), ("gone", "/gone"), ("f/x", "/f/x")],
)
def test_source_that_is_not_there_is_named(tree: LocalTree, source: str, told: str) -> None:
    with pytest.raises(MissingSource) as caught:
        matches(tree, source)
    assert caught.value.message == f'failed to compute cache key: "{told}": not found'
    assert (caught.value.hint, caught.value.word) == ("", source)


def test_links_in_a_circle_end(tree: LocalTree) -> None:
    with pytest.raises(ContextError, match="too many levels"):
        matches(tree, "round")


def test_bad_pattern_is_an_error(tree: LocalTree) -> None:
    with pytest.raises(ContextError):
        matches(tree, "d/[x")


def test_source_that_would_be_beyond_the_root_is_told_where_it_leads(tree: LocalTree) -> None:
    with pytest.raises(MissingSource) as caught:
        matches(tree, "d/../../nowhere")
    assert caught.value.hint == "`..` ends at the context: d/../../nowhere is /nowhere"


def test_source_that_the_ignore_file_leaves_out_is_told_so(tree: LocalTree, tmp_path: Path) -> None:
    ignoring = LocalTree(tmp_path / "tree", Matcher(["d"]))
    with pytest.raises(MissingSource) as caught:
        matches(ignoring, "d/x")
    assert caught.value.hint == "it is in the folder, and the ignore file leaves it out"


# --- what is below -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("excludes", "found"),
    [
        ((), ["e", "e/h", "e/i", "x"]),
        (("x",), ["e", "e/h", "e/i"]),
        (("e",), ["x"]),
        (("e/h",), ["e", "e/i", "x"]),
        (("**/h", "x"), ["e", "e/i"]),
        (("*",), []),
        (("*", "!e/h"), ["e*", "e/h"]),
        (("e", "!e/i"), ["e*", "e/i", "x"]),
        (("*", "!e/nothing"), []),
        (("d/x",), ["e", "e/h", "e/i", "x"]),
    ],
    ids=str,
)
def test_excludes_hold_below_the_folder_and_relative_to_it(
    tree: LocalTree, excludes: tuple[str, ...], found: list[str]
) -> None:
    assert below(tree, "d", *excludes) == below(tree, "to-d", *excludes) == found


def test_whole_tree_comes_folders_first_and_links_as_they_are(tree: LocalTree) -> None:
    found = below(tree, "/")
    assert found == below(tree, "/", "no such file")
    assert found.index("deep") + 1 == found.index("deep/one")
    assert {"to-d", "gone", "round", "out", "empty"} <= set(found)
    assert not any(path.startswith(("to-d/", "out/")) for path in found)


def test_file_has_nothing_below(tree: LocalTree) -> None:
    [match] = select(tree, "f", excludes=(), parents=False)
    assert not match.filtered
    assert list(match.entries(tree)) == []


# --- parents -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "at", "found"),
    [
        ("d/e/h", "", ["d*", "d/e*", "d/e/h"]),
        ("d/e", "", ["d*", "d/e", "d/e/h", "d/e/i"]),
        ("./d/./e/h", "d", ["e*", "e/h"]),
        ("/d/./e", "d", ["e", "e/h", "e/i"]),
        ("to-d/./x", "d", ["x"]),
        ("*/e/h", "", ["d*", "d/e*", "d/e/h", "d2*", "d2/e*", "d2/e/h"]),
        ("d/./*", "d", ["e", "e/h", "e/i", "x"]),
        ("**/h", "", ["d*", "d/e*", "d/e/h", "d2*", "d2/e*", "d2/e/h"]),
        ("no*/x", "", []),
    ],
)
def test_parents_are_kept_from_the_pivot_on(tree: LocalTree, source: str, at: str, found: list[str]) -> None:
    assert [path for path, _ in matches(tree, source, parents=True)] == [at]
    assert below(tree, source, parents=True) == found


def test_parents_and_excludes_hold_both(tree: LocalTree) -> None:
    assert below(tree, "d/e", "**/h", parents=True) == ["d*", "d/e", "d/e/i"]


@pytest.mark.parametrize(
    ("source", "told"), [("d/e/no", "/d/e/no"), ("d/./no", "/d/no"), ("no/./x", "/no"), ("no", "/no")]
)
def test_source_of_parents_without_wildcards_must_be_there(tree: LocalTree, source: str, told: str) -> None:
    with pytest.raises(MissingSource, match=f'"{told}": not found'):
        matches(tree, source, parents=True)


def test_pivot_means_nothing_without_parents(tree: LocalTree) -> None:
    assert matches(tree, "d/./e") == [("d/e", "e")]


# --- digests -------------------------------------------------------------------------------------

Digest = Callable[..., str]


@pytest.fixture
def digest(tmp_path: Path) -> Iterator[Digest]:
    """The digest of what a source takes, of files that nobody remembers."""
    with Store(tmp_path / "store") as store:

        def digest(source: str = "/", *excludes: str, **words: Any) -> str:
            tree = LocalTree(tmp_path / "tree")
            found = select(tree, source, excludes=excludes, parents=words.pop("parents", False), **words)
            return content_digest(tree, found, FileDigests(store.cache, 0))

        yield digest


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda root: (root / "d/x").write_text("other"),
    "mode": lambda root: (root / "d/x").chmod(0o600),
    "mode of a folder": lambda root: (root / "d").chmod(0o700),
    "name": lambda root: (root / "d/x").rename(root / "d/y"),
    "folder": lambda root: (root / "d/new").mkdir(),
    "one less": lambda root: (root / "d/x").unlink(),
    "kind": lambda root: ((root / "d/x").unlink(), (root / "d/x").symlink_to("/d/x")),
    "link": lambda root: ((root / "gone").unlink(), (root / "gone").symlink_to("elsewhere")),
}


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("change", CHANGES)
def test_digest_is_another_for_each_thing_that_counts(digest: Digest, tmp_path: Path, change: str) -> None:
    before = digest()
    assert digest() == before
    CHANGES[change](tmp_path / "tree")
    assert digest() != before


@pytest.mark.usefixtures("tree")
def test_times_and_what_is_not_taken_do_not_count(digest: Digest, tmp_path: Path) -> None:
    before = digest("d", "x")
    os.utime(tmp_path / "tree/d/e/h", (5, 5))
    (tmp_path / "tree/d/x").write_text("other")
    (tmp_path / "tree/f").write_text("other")
    assert digest("d", "x") == before


@pytest.mark.usefixtures("tree")
def test_name_of_a_source_counts_and_what_is_behind_a_link(digest: Digest) -> None:
    assert digest("f") != digest("to-f")
    assert digest("d") != digest("to-d")
    assert len({digest("d/e"), digest("d/e", parents=True), digest("d/./e", parents=True)}) == 3


@pytest.mark.usefixtures("tree")
def test_more_files_than_are_looked_up_at_once_all_count(
    digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = digest()
    monkeypatch.setattr("imagesmith.context.sources._TOGETHER", 2)
    assert digest() == whole
