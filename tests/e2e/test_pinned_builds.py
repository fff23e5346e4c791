"""Builds with a lock: tags, files and branches that move meanwhile, and what stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagesmith.errors import ContextError, DockerfileError, NotFound, UsageError
from imagesmith.image.result import BuildResult
from imagesmith.oci.digest import digest_bytes
from imagesmith.pins import Source, parse_lock
from tests.kitchen import Kitchen, kitchen
from tests.upstream import Upstream, upstream
from tests.web import repository

__all__ = ["kitchen", "upstream"]

EPOCH = {"SOURCE_DATE_EPOCH": "1100000000"}


def build(kitchen: Kitchen, **words: Any) -> BuildResult:
    """Build the context's own Dockerfile for one platform, so that its lock lies in the context."""
    return kitchen.build(**{"platform": "linux/amd64", "build_args": EPOCH} | words)


def lock_of(kitchen: Kitchen) -> dict[Source, str]:
    return parse_lock((kitchen.context / "Dockerfile.lock").read_bytes(), "Dockerfile.lock")


def test_what_was_pinned_stays_when_everything_moves(kitchen: Kitchen, upstream: Upstream) -> None:
    kitchen.write({"Dockerfile": upstream.dockerfile})
    first = build(kitchen, pin=True)
    lock = lock_of(kitchen)
    assert sorted(source.kind for source in lock) == ["files", "images", "repositories"]
    upstream.move()
    upstream.files.files["f"] = b"file 0"
    assert build(kitchen, pull=True).image_id == first.image_id
    assert build(kitchen, pin=True).image_id == first.image_id
    assert kitchen.executed == []
    assert lock_of(kitchen) == lock
    assert build(kitchen, pin=False, pull=True).image_id != first.image_id


def test_first_build_makes_what_later_ones_make(kitchen: Kitchen, upstream: Upstream) -> None:
    """The lock is in the folder before COPY takes it."""
    kitchen.write({"Dockerfile": upstream.dockerfile})
    first = build(kitchen, pin=True)
    assert build(kitchen).image_id == first.image_id
    assert kitchen.executed == []


def test_build_with_a_lock_is_that_of_digests_written_by_hand(kitchen: Kitchen, upstream: Upstream) -> None:
    text = upstream.dockerfile.replace("COPY . /context\n", "")
    kitchen.write({"Dockerfile": text})
    pinned = build(kitchen, pin=True)
    lock = lock_of(kitchen)
    [base], [url], [ref] = (
        [s.name for s in lock if s.kind == k] for k in ("images", "files", "repositories")
    )
    digest, checksum, commit = (
        lock[Source(*s)] for s in (("images", base), ("files", url), ("repositories", ref))
    )
    by_hand = (
        text.replace(upstream.image, f"{upstream.image}@{digest}")
        .replace("ADD http", f"ADD --checksum={checksum} http", 1)
        .replace("/.git#main", f"/.git?ref=main&checksum={commit}&fetch-by-commit=1")
    )
    assert base == upstream.image
    assert url == upstream.files.url("f")
    assert ref.endswith("#main")
    upstream.move()
    upstream.files.files["f"] = b"file 0"
    (kitchen.context / "Dockerfile.lock").unlink()
    kitchen.write({"Dockerfile": by_hand})
    build(kitchen, pin=True)
    assert lock_of(kitchen) == {}  # nothing is left to pin
    written = build(kitchen)
    assert [layer.diff_id for layer in written.image.layers] == [
        layer.diff_id for layer in pinned.image.layers
    ]
    assert kitchen.executed == []  # each step is the very same
    assert written.image.config.runtime == pinned.image.config.runtime


def test_one_entry_stands_for_all_platforms(kitchen: Kitchen, upstream: Upstream) -> None:
    kitchen.write({"Dockerfile": f"FROM {upstream.image}\n"})
    build(kitchen, pin=True)
    lock = lock_of(kitchen)
    upstream.move()
    both = build(kitchen, platform="linux/amd64,linux/arm64")
    alone = build(kitchen, platform="linux/arm64")
    assert [len(image.layers) for image in both.images.values()] == [1, 1]
    assert both.images["linux/arm64"].manifest.layers == alone.image.manifest.layers
    free = build(kitchen, pin=False, pull=True, platform="linux/arm64")
    assert free.image.manifest.layers != alone.image.manifest.layers
    assert lock_of(kitchen) == lock


def test_source_that_is_not_in_the_lock_is_told_at_its_word(kitchen: Kitchen, upstream: Upstream) -> None:
    kitchen.write({"Dockerfile": f"FROM {upstream.image}\n"})
    build(kitchen, pin=True)
    for line, word in (
        ("COPY --from=alpine:3 / /", "alpine:3"),
        (f"ADD {upstream.files.url('f')} /", upstream.files.url("f")),
        (f"ADD {upstream.repositories.url('r')} /", upstream.repositories.url("r")),
        ("RUN --mount=from=alpine:3,target=/a true", "alpine:3"),
    ):
        kitchen.write({"Dockerfile": f"FROM {upstream.image}\n{line}\n"})
        with pytest.raises(DockerfileError, match=r" is not in Dockerfile\.lock$") as told:
            build(kitchen)
        assert (told.value.first, told.value.line) == (2, 2)
        assert line[told.value.column : told.value.end] == word
        assert "build --pin" in told.value.hint


def test_image_that_upstream_deleted_is_told_in_a_line(kitchen: Kitchen, upstream: Upstream) -> None:
    gone = digest_bytes(b"gone")
    kitchen.write({
        "Dockerfile": f"FROM {upstream.image}\n",
        "Dockerfile.lock": f'{{"version": 1, "images": {{"{upstream.image}": "{gone}"}}}}',
    })  # fmt: skip
    with pytest.raises(NotFound, match=str(gone)) as told:
        build(kitchen)
    assert "\n" not in told.value.message
    assert told.value.hint.endswith(f"`imagesmith pin --update --only {upstream.image}` moves it")


def test_file_that_changed_is_told_as_with_a_checksum(kitchen: Kitchen, upstream: Upstream) -> None:
    kitchen.write({"Dockerfile": f"FROM scratch\nADD {upstream.files.url('f')} /\n"})
    build(kitchen, pin=True)
    upstream.files.files["f"] = b"other"
    with pytest.raises(DockerfileError, match=r"^digest mismatch ") as told:
        build(kitchen, no_cache=True)
    assert told.value.first == 2
    assert "imagesmith pin --update" in told.value.hint


def test_locked_build_asks_no_registry_once_it_has_the_image(kitchen: Kitchen, upstream: Upstream) -> None:
    kitchen.write({"Dockerfile": f"FROM {upstream.image}\nCOPY . /\n"})
    first = build(kitchen, pin=True)
    build(kitchen, outputs=[f"type=oci,dest={kitchen.root.parent / 'a.tar'}"])
    upstream.registry.stop()
    again = build(kitchen, pull=True, no_cache=True)
    assert again.image.layers[0].diff_id == first.image.layers[0].diff_id


def test_named_contexts_are_pinned(kitchen: Kitchen, upstream: Upstream) -> None:
    kitchen.write({"Dockerfile": "FROM base\nCOPY --from=page / /page/\nCOPY --from=code / /code/\n"})
    contexts = {
        "base": f"docker-image://{upstream.image}",
        "page": upstream.files.url("f"),
        "code": f"{upstream.repositories.url('r')}#main",
    }
    first = build(kitchen, pin=True, contexts=contexts)
    assert len(lock_of(kitchen)) == 3
    upstream.move()
    upstream.files.files["f"] = b"file 0"
    assert build(kitchen, contexts=contexts).image_id == first.image_id
    with pytest.raises(DockerfileError, match="#v1 is not in"):
        build(kitchen, contexts=contexts | {"code": f"{upstream.repositories.url('r')}#v1"})


def test_time_of_a_download_is_that_of_the_pinned_one(kitchen: Kitchen, upstream: Upstream) -> None:
    text = (
        f"FROM scratch AS t\nADD {upstream.repositories.url('r')}#main /\nFROM scratch\nCOPY --from=t / /\n"
    )
    kitchen.write({"Dockerfile": text})
    first = build(kitchen, pin=True, build_args={"SOURCE_DATE_EPOCH": "t"})
    assert [source.kind for source in lock_of(kitchen)] == ["repositories"]
    upstream.move()
    assert build(kitchen, build_args={"SOURCE_DATE_EPOCH": "t"}).image_id == first.image_id


def test_another_dockerfile_has_a_lock_of_its_own(kitchen: Kitchen, upstream: Upstream) -> None:
    kitchen.write({"sub/Other": f"FROM {upstream.image}\n"})
    build(kitchen, pin=True, dockerfile=kitchen.context / "sub/Other")
    assert parse_lock((kitchen.context / "sub/Other.lock").read_bytes(), "Other.lock")
    assert not (kitchen.context / "Dockerfile.lock").exists()


def test_lock_of_a_repository_is_honoured_and_not_written(
    kitchen: Kitchen, upstream: Upstream, tmp_path: Path
) -> None:
    kitchen.write({"Dockerfile": f"FROM {upstream.image}\n"})
    first = build(kitchen, pin=True)
    lock = (kitchen.context / "Dockerfile.lock").read_text()
    files = {"Dockerfile": f"FROM {upstream.image}\n", "Dockerfile.lock": lock}
    repository(upstream.repositories.root / "app", files)
    upstream.move()
    url = upstream.repositories.url("app")
    assert build(kitchen, context=url, pull=True).image_id == first.image_id
    assert build(kitchen, context=url, pull=True, pin=True).image_id == first.image_id
    files["Dockerfile"] += f"ADD {upstream.files.url('f')} /\n"
    repository(upstream.repositories.root / "app2", files)
    for pin in (None, True):
        with pytest.raises(DockerfileError, match="is not in") as told:
            build(kitchen, context=upstream.repositories.url("app2"), pin=pin)
        assert "came with the context" in told.value.hint


def test_no_lock_lies_beside_a_pipe(kitchen: Kitchen, upstream: Upstream) -> None:
    upstream.files.files["D"] = b"FROM scratch\nCOPY . /\n"
    kitchen.write({"f": "text"})
    with pytest.raises(UsageError, match="no lock can lie beside"):
        build(kitchen, dockerfile=upstream.files.url("D"), pin=True)
    build(kitchen, dockerfile=upstream.files.url("D"))


def test_lock_that_is_a_link_out_of_the_context_is_refused(kitchen: Kitchen, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    kitchen.write({"Dockerfile": "FROM scratch\nCOPY . /\n", "Dockerfile.lock": f"-> {tmp_path / 'secret'}"})
    with pytest.raises(ContextError, match="leads out of its folder"):
        build(kitchen)


def test_provenance_tells_what_was_pinned(kitchen: Kitchen, upstream: Upstream, tmp_path: Path) -> None:
    kitchen.write({"Dockerfile": upstream.dockerfile})
    build(kitchen, pin=True)
    lock = lock_of(kitchen)
    upstream.move()
    upstream.files.files["f"] = b"file 0"
    build(kitchen, provenance=True, outputs=[f"type=local,dest={tmp_path / 'out'}"])
    said = (tmp_path / "out/provenance.json").read_text()
    for value in lock.values():
        assert value.rpartition(":")[2] in said
