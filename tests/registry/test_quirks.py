"""What single registries do otherwise, rule by rule; that the client follows them is in test_transport.py."""

from __future__ import annotations

import pytest

from imagesmith.registry.quirks import (
    is_dummy_scope,
    is_immutable_tag,
    least_chunk,
    patch_accepted,
    same_scheme,
    smaller_chunk,
    usable_tags,
)

MIB = 1 << 20
GHCR = "Range Not Satisfiable: chunk is larger than the maximum permissible limit of 4.00MiB"


@pytest.mark.parametrize(
    ("scope", "is_one"),
    [
        ("repository:user/image:pull", True),
        ("repository:user/image:pull,push", False),
        ("repository:a/user/image:pull", False),
        ("", False),
    ],
)
def test_scope_of_a_repository_that_is_none(scope: str, is_one: bool) -> None:
    assert is_dummy_scope(scope) is is_one


def test_piece_is_accepted_by_three_statuses_and_no_other() -> None:
    assert [s for s in range(100, 600) if patch_accepted(s)] == [201, 202, 204]


@pytest.mark.parametrize(
    ("status", "said", "sent", "then"),
    [
        (413, "", 100 * MIB, 5 * MIB),
        (413, "", 5 * MIB + 1, 5 * MIB),
        (413, "", 5 * MIB, MIB),
        (413, "", MIB, 256 << 10),
        (413, "", 256 << 10, 64 << 10),
        (413, "", 64 << 10, 0),
        (413, "", 1, 0),
        (416, GHCR, 100 * MIB, 4 * MIB),
        (413, GHCR, 5 * MIB, 4 * MIB),
        (416, GHCR, 4 * MIB, 0),
        (416, "", 100 * MIB, 0),
        (400, "", 100 * MIB, 0),
        (500, "", 100 * MIB, 0),
    ],
)
def test_pieces_get_smaller_where_they_were_too_long(status: int, said: str, sent: int, then: int) -> None:
    assert smaller_chunk(status, said, sent, 5 * MIB) == then


def test_pieces_do_not_get_smaller_than_the_registry_takes_before_all_else_was_tried() -> None:
    assert smaller_chunk(413, "", 50 * MIB, 20 * MIB) == 20 * MIB
    assert smaller_chunk(413, "", 20 * MIB, 20 * MIB) == MIB


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, 5 * MIB),
        ("", 5 * MIB),
        ("1", 5 * MIB),
        (str(5 * MIB + 1), 5 * MIB + 1),
        ("99999999999", 99_999_999_999),
        ("999999999999", 5 * MIB),
        ("-1", 5 * MIB),
        ("1e9", 5 * MIB),
        ("9000000 ", 5 * MIB),
        ("9000000²", 5 * MIB),
    ],
)
def test_least_piece_is_the_registry_s_if_it_is_a_number_that_can_be_meant(
    text: str | None, size: int
) -> None:
    assert least_chunk({} if text is None else {"OCI-Chunk-Min-Length": text}) == size


@pytest.mark.parametrize(
    ("items", "tags"),
    [
        (["b", "a"], ["b", "a"]),
        (None, []),
        ({"a": 1}, []),
        ("ab", []),
        (["a", None, "", 5, ["b"], "sha256:00", "c"], ["a", "c"]),
        (["../x", "a\nb", "a b", "\x1b[1m", "é", "-a", "a" * 129, "a?b", "_.-"], ["_.-"]),
    ],
)
def test_tags_are_what_of_a_listing_can_be_one(items: object, tags: list[str]) -> None:
    assert usable_tags(items) == tags


@pytest.mark.parametrize(
    ("said", "is_one"),
    [
        (
            "TAG_INVALID: the image tag 'x' already exists and cannot be overwritten because it is immutable",
            True,
        ),
        ("configured as Immutable, cannot be updated", True),
        ("denied", False),
        ("", False),
    ],
)
def test_immutable_tag_is_told_by_what_the_registry_says(said: str, is_one: bool) -> None:
    assert is_immutable_tag(said) is is_one


@pytest.mark.parametrize(
    ("location", "base", "then"),
    [
        ("http://r.io/v2/x?a=http://r.io/", "https://r.io/v2", "https://r.io/v2/x?a=http://r.io/"),
        ("http://r.io:5000/x", "https://r.io:5000/v2", "https://r.io:5000/x"),
        ("http://r.io:80/x", "https://r.io/v2", "http://r.io:80/x"),
        ("http://r.io.evil/x", "https://r.io/v2", "http://r.io.evil/x"),
        ("http://storage.io/x", "https://r.io/v2", "http://storage.io/x"),
        ("https://r.io/x", "https://r.io/v2", "https://r.io/x"),
        ("http://r.io/x", "http://r.io/v2", "http://r.io/x"),
        ("/v2/x", "https://r.io/v2", "/v2/x"),
    ],
)
def test_registry_that_calls_itself_http_behind_tls_is_asked_by_https(
    location: str, base: str, then: str
) -> None:
    assert same_scheme(location, base) == then
