"""Locks: what is read and written, and what is asked of the sources of a build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import DockerfileError, InvalidDocument, UsageError
from imagesmith.oci.digest import digest_bytes
from imagesmith.pins import Pinning, Source, parse_lock, write_lock
from imagesmith.request import Pins

DEBIAN = "docker.io/library/debian:12"
ONE, TWO = (str(digest_bytes(text)) for text in (b"one", b"two"))
LOCK = "Dockerfile.lock"

digests = st.binary().map(lambda b: str(digest_bytes(b)))
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
locks = st.builds(
    lambda images, repositories, files: images | repositories | files,
    st.dictionaries(st.from_regex(r"[a-z]+", fullmatch=True).map(
        lambda n: Source("images", f"docker.io/library/{n}:1")), digests, max_size=4),
    st.dictionaries(names.map(lambda n: Source("repositories", n)),
                    st.from_regex(r"[0-9a-f]{40}|[0-9a-f]{64}", fullmatch=True), max_size=4),
    st.dictionaries(names.map(lambda n: Source("files", n)), digests, max_size=4),
)  # fmt: skip


@given(locks)
def test_what_is_written_is_read_back_and_written_alike(pins: dict[Source, str]) -> None:
    raw = write_lock(pins)
    assert parse_lock(raw, LOCK) == pins
    assert write_lock(dict(reversed(pins.items()))) == raw
    assert raw.isascii()
    assert raw.count(b"\n") >= len(pins) + 5  # an entry a line


def test_lock_is_as_documented() -> None:
    pins = {Source("images", DEBIAN): ONE, Source("files", "https://example.com/f"): TWO}
    assert write_lock(pins).decode() == (
        f'{{\n  "version": 1,\n  "images": {{\n    "{DEBIAN}": "{ONE}"\n  }},\n'
        f'  "repositories": {{}},\n  "files": {{\n    "https://example.com/f": "{TWO}"\n  }}\n}}\n'
    )


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("<<<<<<< HEAD\n{}", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ({}, "version 0 is not known"),
        ({"version": 2}, "version 2 is not known"),
        ({"version": 1, "urls": {}}, "'urls' is not known"),
        ({"version": 1, "images": [ONE]}, "images must be an object"),
        ({"version": 1, "images": {DEBIAN: 1}}, "must be a string"),
        ({"version": 1, "images": {DEBIAN: ""}}, f"images: {DEBIAN}: unsupported digest"),
        ({"version": 1, "images": {DEBIAN: "sha256:12"}}, "invalid checksum digest length"),
        ({"version": 1, "images": {"debian": ONE}}, "named in full, as docker.io/library/debian:latest"),
        ({"version": 1, "images": {"De bian": ONE}}, "invalid reference format"),
        ({"version": 1, "repositories": {"https://h/r.git#main": "main"}}, "'main' is no commit"),
        ({"version": 1, "files": {"https://h/" + "x" * 9000: ONE}}, "more than 8192 characters"),
        ({"version": 1, "files": {f"https://h/{n}": ONE for n in range(10_001)}}, "more than 10000 sources"),
    ],
)
def test_anything_else_is_refused_by_name(document: object, said: str) -> None:
    raw = (document if isinstance(document, str) else json.dumps(document)).encode()
    with pytest.raises(InvalidDocument, match=r"^Dockerfile\.lock: ") as told:
        parse_lock(raw, LOCK)
    assert said in told.value.message


def nobody() -> str:
    raise AssertionError("asked")


def pinning(folder: Path, pins: dict[Source, str] | None, **how: bool) -> Pinning:
    found = Pinning()
    raw = None if pins is None else write_lock(pins)
    found.use((folder, LOCK), raw, **({"adds": False, "writable": True} | how))
    return found


def test_without_a_lock_sources_are_free_but_for_what_was_settled() -> None:
    free = Pinning(Pins(images={DEBIAN: digest_bytes(b"one")}))
    assert free.of("images", DEBIAN, nobody) == ONE
    assert free.of("files", "https://example.com/f", nobody) == ""


def test_lock_is_required_and_nobody_is_asked(tmp_path: Path) -> None:
    locked = pinning(tmp_path, {Source("images", DEBIAN): ONE})
    assert locked.of("images", DEBIAN, nobody) == ONE
    with pytest.raises(DockerfileError, match=r"^alpine:3 is not in Dockerfile\.lock$") as told:
        locked.of("images", "docker.io/library/alpine:3", nobody)
    assert "build --pin" in told.value.hint


def test_new_sources_are_added_and_written_once(tmp_path: Path) -> None:
    adding = pinning(tmp_path, None, adds=True)
    assert adding.of("images", DEBIAN, lambda: ONE) == ONE
    assert adding.of("images", DEBIAN, nobody) == ONE
    assert adding.write()
    assert not adding.write()
    assert parse_lock((tmp_path / LOCK).read_bytes(), LOCK) == {Source("images", DEBIAN): ONE}
    was = (tmp_path / LOCK).stat().st_ino
    again = pinning(tmp_path, {Source("images", DEBIAN): ONE}, adds=True)
    again.of("images", DEBIAN, nobody)
    again.write()
    assert (tmp_path / LOCK).stat().st_ino == was


def test_logins_are_not_written(tmp_path: Path) -> None:
    adding = pinning(tmp_path, None, adds=True)
    adding.of("files", "https://me:secret@example.com/f", lambda: ONE)
    adding.write()
    assert "secret" not in (tmp_path / LOCK).read_text()
    locked = pinning(tmp_path, parse_lock((tmp_path / LOCK).read_bytes(), LOCK))
    assert locked.of("files", "https://you:other@example.com/f", nobody) == ONE


def test_address_that_is_no_text_cannot_be_pinned(tmp_path: Path) -> None:
    with pytest.raises(DockerfileError, match="no text"):
        pinning(tmp_path, None, adds=True).of("files", "https://example.com/\udc80", nobody)


def test_what_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    adding = pinning(tmp_path, None, adds=True)
    with pytest.raises(InvalidDocument, match="more than 8192 characters"):
        adding.of("files", "https://example.com/" + "x" * 9000, lambda: ONE)
    adding.write()
    assert parse_lock((tmp_path / LOCK).read_bytes(), LOCK) == {}


def test_what_moves_is_asked_for_once(tmp_path: Path) -> None:
    adding = pinning(tmp_path, {Source("images", DEBIAN): ONE}, adds=True)
    adding.move(lambda source: source.is_called("debian:12"))
    assert adding.of("images", DEBIAN, lambda: TWO) == TWO
    assert adding.of("images", DEBIAN, nobody) == TWO
    [pin] = adding.all()
    assert (pin.old, pin.new, pin.is_used) == (ONE, TWO, True)


def test_lock_of_a_context_from_elsewhere_is_read_only(tmp_path: Path) -> None:
    remote = pinning(tmp_path, {Source("images", DEBIAN): ONE}, adds=True, writable=False)
    assert remote.of("images", DEBIAN, nobody) == ONE
    with pytest.raises(DockerfileError) as told:
        remote.of("images", "docker.io/library/alpine:3", nobody)
    assert "came with the context" in told.value.hint
    with pytest.raises(UsageError, match="cannot be written there"):
        remote.move(lambda _: True)
    remote.write()
    assert list(tmp_path.iterdir()) == []


def test_no_link_leads_the_lock_out_of_its_folder(tmp_path: Path) -> None:
    context, outside = tmp_path / "context", tmp_path / "outside"
    context.mkdir()
    outside.mkdir()
    (context / "sub").symlink_to(outside)
    adding = Pinning()
    adding.use((context, f"sub/{LOCK}"), None, adds=True, writable=True)
    with pytest.raises(Exception, match="cannot write"):
        adding.write()
    (context / LOCK).symlink_to(outside / "kept")
    (outside / "kept").write_text("as it was")
    adding.use((context, LOCK), None, adds=True, writable=True)
    adding.write()
    assert (outside / "kept").read_text() == "as it was"
    assert not (context / LOCK).is_symlink()
    assert [p.name for p in outside.iterdir()] == ["kept"]
