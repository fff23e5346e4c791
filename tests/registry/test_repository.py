"""A repository as a place: who is asked for what, what is believed, and how referrers are listed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from imagesmith.embedded.registry import Registry
from imagesmith.errors import (
    DigestMismatch,
    ImagesmithError,
    LimitExceeded,
    NetworkFault,
    NotFound,
    RegistryError,
    Unsupported,
)  # fmt: skip
from imagesmith.image.artifact import artifact
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import ImageRef
from imagesmith.registry.client import Client
from imagesmith.registry.endpoint import default_endpoint
from imagesmith.registry.repository import Repository, fallback_tag
from imagesmith.registry.transport import Transport
from imagesmith.store.store import Store
from imagesmith.transports.copier import Choice
from imagesmith.transports.transfer import Session
from imagesmith.values import replace
from tests.registry.conftest import Served, name
from tests.registry.faultproxy import Answer, FaultProxy
from tests.registry.images import make_image, make_index
from tests.registry.scripted import Answers, Asked, Scripted
from tests.registry.test_transport import BLOB, DATA, EMPTY, MANIFEST, answer

D = MANIFEST.descriptor()
OTHER = Manifest.build(EMPTY, [], annotations={"other": "1"})
ABOUT = Manifest.build(EMPTY, [], subject=D, artifact_type="application/x-one", annotations={"k": "v"})


class Shelf:
    """What a registry has; `no` are answers in place of its own, by method."""

    def __init__(self, *, api: bool = False, **no: tuple[int, Mapping[str, str], bytes]) -> None:
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.api, self.no = api, no

    def put(self, reference: str, raw: bytes, media_type: str = mt.OCI_MANIFEST) -> None:
        """Keep a manifest under a tag and its digest."""
        self.manifests[reference] = self.manifests[str(digest_bytes(raw))] = (raw, media_type)

    def __call__(self, asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        path, _, reference = asked.target.rpartition("/")
        if asked.method in self.no:
            return self.no[asked.method]
        if path.endswith("/referrers"):
            return answer(200, Index.build([]).raw, Content_Type=mt.OCI_INDEX) if self.api else answer(404)
        if not path.endswith("/manifests"):
            return answer(404)
        if asked.method == "PUT":
            self.put(reference, asked.body, asked.headers["content-type"])
            return answer(201, OCI_Subject="sha256:x") if self.api else answer(201)
        found = self.manifests.get(reference)
        if found is None:
            return answer(404)
        if asked.method == "DELETE":
            del self.manifests[reference]
            return answer(202)
        digest = str(digest_bytes(found[0]))
        return answer(200, found[0], Content_Type=found[1], Docker_Content_Digest=digest)


@contextmanager
def client(answers: Answers, **words: Any) -> Iterator[tuple[Scripted, Client]]:
    """A client of a scripted registry, that waits for nothing."""
    with Scripted(answers) as server:
        endpoint = replace(default_endpoint(server.host), **words)
        with contextlib.closing(Transport(endpoint, wait=lambda _: None)) as transport:
            yield server, Client(transport, "a/b")


@contextmanager
def place(
    answers: Answers, reference: str = "r.io/a/b:1", **words: Any
) -> Iterator[tuple[Scripted, Repository]]:
    """A repository of a scripted registry."""
    with client(answers) as (server, made):
        yield server, Repository(ImageRef.parse(reference), [made], made, **words)


def asked(server: Scripted) -> list[str]:
    """The requests, by method and the end of the target."""
    return [f"{a.method} {a.target.rpartition('/')[2]}" for a in server.asked]


def test_fallback_tag_is_a_tag_for_any_digest() -> None:
    assert fallback_tag(digest_bytes(b"")) == f"sha256-{digest_bytes(b'').hex}"
    long = digest_bytes(b"", "sha512")
    assert fallback_tag(long) == f"sha512-{long.hex[:64]}"


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "uses", "who"),
    [
        ("r.io/a/b:1", ("digest-only", "tag-only", "all"), [1]),
        (f"r.io/a/b@{D.digest}", ("tag-only", "digest-only", "all"), [1]),
        (f"r.io/a/b:1@{D.digest}", ("tag-only", "all", "digest-only"), [1]),
        ("r.io/a/b:1", ("all", "tag-only", "digest-only"), [0]),
    ],
)
def test_mirror_is_asked_for_what_it_is_for(reference: str, uses: tuple[str, ...], who: list[int]) -> None:
    shelf = Shelf()
    shelf.put("1", MANIFEST.raw)
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(client(shelf, use=use)) for use in uses]
        here = Repository(ImageRef.parse(reference), [c for _, c in made], made[-1][1])
        assert here.root().digest == here.digest().digest == D.digest
        assert [n for n, (server, _) in enumerate(made) if server.asked] == who


def test_next_one_is_asked_where_a_mirror_has_not_got_it_or_lies() -> None:
    shelf = Shelf()
    shelf.put("1", MANIFEST.raw)
    wrong = lambda _: answer(200, b"{}", Content_Type=mt.OCI_MANIFEST, Docker_Content_Digest=str(D.digest))  # noqa: E731
    with client(lambda _: answer(404)) as (_, a), client(wrong) as (_, b), client(shelf) as (_, c):
        here = Repository(ImageRef.parse("r.io/a/b:1"), [a, b, c], c)
        assert here.root().digest == here.digest().digest == D.digest
        with pytest.raises(NotFound):
            Repository(ImageRef.parse("r.io/a/b:1"), [a], a).root()


def test_document_is_read_once_and_one_that_was_the_root_never() -> None:
    shelf = Shelf()
    shelf.put("1", MANIFEST.raw)
    shelf.put("2", OTHER.raw)
    with place(shelf) as (server, here):
        for _ in range(2):
            assert here.document(here.root()) == MANIFEST.raw
            assert here.document(OTHER.descriptor()) == OTHER.raw
        assert asked(server).count(f"GET {OTHER.digest}") == 1
        assert f"GET {D.digest}" not in asked(server)


def test_document_of_another_length_is_refused() -> None:
    shelf = Shelf()
    shelf.put("1", MANIFEST.raw)
    with place(shelf) as (_, here):
        assert here.document(replace(D, size=-1)) == MANIFEST.raw
        with pytest.raises(DigestMismatch, match=f"expected {D.size + 1}"):
            here.document(replace(D, size=D.size + 1))


def test_document_that_is_too_large_is_not_asked_for() -> None:
    with place(Shelf()) as (server, here):
        with pytest.raises(LimitExceeded, match="too large"):
            here.document(replace(BLOB, media_type=mt.OCI_CONFIG, size=1 << 40))
        assert server.asked == []


def test_content_that_a_descriptor_has_itself_is_not_asked_for() -> None:
    d = Descriptor(media_type=mt.OCI_CONFIG, digest=digest_bytes(b"{ }"), size=3, data="eyB9")
    with place(Shelf()) as (server, here):
        assert here.document(d) == b"{ }"
        assert b"".join(here.pieces(d, 1)) == b" }"
        assert server.asked == []


def test_tag_that_is_not_there_is_none() -> None:
    shelf = Shelf()
    shelf.put("other", OTHER.raw)
    with place(shelf) as (_, here):
        found = here.tagged("other")
        assert found is not None
        assert (found.digest, here.tagged("none")) == (OTHER.digest, None)


# --- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "under"),
    [("r.io/a/b:1", "1"), (f"r.io/a/b@{D.digest}", str(D.digest)), (f"r.io/a/b:1@{D.digest}", "1")],
)
def test_last_manifest_is_written_under_its_tag_or_digest(reference: str, under: str) -> None:
    with place(Shelf(), reference) as (server, here):
        here.finish(D, MANIFEST.raw)
        assert [a for a in asked(server) if a.startswith("PUT")] == [f"PUT {under}"]


def test_manifest_of_another_digest_than_the_reference_s_is_not_written() -> None:
    with place(Shelf(), f"r.io/a/b:1@{OTHER.digest}") as (server, here):
        with pytest.raises(DigestMismatch, match=f"has digest {D.digest}"):
            here.finish(D, MANIFEST.raw)
        assert server.asked == []


@pytest.mark.parametrize(("stands", "is_taken"), [(MANIFEST, True), (OTHER, False), (None, False)])
def test_refusal_is_no_matter_where_the_tag_stands_for_it_already(
    stands: Manifest | None, is_taken: bool
) -> None:
    shelf = Shelf(PUT=answer(403))
    if stands is not None:
        shelf.put("1", stands.raw)
    with place(shelf) as (_, here):
        found = here.standing()
        assert (found.digest if found else None) == (stands.digest if stands else None)
        with contextlib.nullcontext() if is_taken else pytest.raises(RegistryError, match="403"):
            here.finish(D, MANIFEST.raw)


def test_other_tag_is_written_where_it_stands_for_something_else() -> None:
    shelf = Shelf()
    shelf.put("same", MANIFEST.raw)
    shelf.put("else", OTHER.raw)
    with place(shelf) as (server, here):
        for tag in ("same", "else", "new"):
            here.put_tagged(tag, D, MANIFEST.raw)
        assert [a for a in asked(server) if a.startswith("PUT")] == ["PUT else", "PUT new"]


def test_blob_that_was_there_is_not_asked_for_again_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("imagesmith.registry.sending.time.monotonic", lambda: now[0])
    told: list[tuple[Digest, str]] = []
    sized = {"Content-Length": str(BLOB.size), "Docker-Content-Digest": str(BLOB.digest)}
    found = lambda digest, name: told.append((digest, name))  # noqa: E731
    with place(lambda _: (200, sized, b""), found=found) as (server, here):
        for later, requests in ((0, 1), (59, 1), (2, 2)):
            now[0] += later
            assert here.has(BLOB)
            assert len(server.asked) == requests
        assert told == [(BLOB.digest, "r.io/a/b")] * 2


def test_blob_that_was_not_there_is_asked_for_again() -> None:
    with place(Shelf()) as (server, here):
        assert not here.has(BLOB)
        assert not here.has(BLOB)
        assert len(server.asked) == 2


class Source:
    """Where a blob comes from."""

    def __init__(self, origin: object) -> None:
        self._origin = origin

    def origin(self, digest: Digest) -> object:
        """See ImageSource."""
        return self._origin

    def pieces(self, d: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """See ImageSource."""
        yield from (DATA[offset : offset + 100], DATA[offset + 100 :])


@pytest.mark.parametrize(
    ("others", "origin", "mounts"),
    [
        ((), "s.io/x", []),
        ((), "r.io/x", ["x"]),
        ((), "r.io/a/b", []),
        (("p", "a/b", "q", "p"), "s.io/x", ["p", "q"]),
        (("p", "q", "s", "t"), "r.io/x", ["x", "p", "q"]),
        (("p", "x"), "r.io/x", ["x", "p"]),
    ],
)
def test_blob_is_mounted_from_three_other_repositories_of_the_registry_at_most(
    others: tuple[str, ...], origin: str, mounts: list[str]
) -> None:
    class Takes:
        """Mounts nothing, takes everything."""

        def __call__(self, asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
            if asked.method == "POST":
                return (
                    answer(404)
                    if "mount=" in asked.target
                    else answer(202, Location="/v2/a/b/blobs/uploads/1")
                )
            return answer(201, Docker_Content_Digest=str(BLOB.digest))

    told: list[int] = []
    with place(Takes(), sources=lambda _: others) as (server, here):
        where = Repository(ImageRef.parse(f"{origin}:1"), [], here.writer)
        source: Any = Source(where)
        assert here.put_blob(BLOB, source, told.append) == "sent"
        tried = [
            a.target.partition("from=")[2].partition("&")[0] for a in server.asked if "mount=" in a.target
        ]
        assert (tried, told[-1]) == (mounts, BLOB.size)
        server.asked.clear()
        assert here.has(BLOB)
        assert server.asked == []


@pytest.mark.parametrize(
    ("reply", "is_new"),
    [(answer(404), True), (answer(200, b'{"tags": null}'), True), (answer(200, b'{"tags": ["1"]}'), False)],
)
def test_repository_without_tags_is_new(reply: tuple[int, Mapping[str, str], bytes], is_new: bool) -> None:
    with place(lambda _: reply) as (_, here):
        assert here.is_new() is is_new


def test_tags_are_listed_without_those_of_referrers() -> None:
    tags = ["b", fallback_tag(D.digest), f"{fallback_tag(D.digest)}.sig", "a", "sha256-short"]
    with place(lambda _: answer(200, json.dumps({"tags": tags}).encode())) as (_, here):
        assert sorted(here.tags()) == ["a", "b", f"{fallback_tag(D.digest)}.sig", "sha256-short"]


# --- referrers -----------------------------------------------------------------------------------


def listed(shelf: Shelf) -> list[Descriptor]:
    """What the fallback tag lists."""
    raw, media_type = shelf.manifests[fallback_tag(D.digest)]
    return list(Index.parse(raw, media_type).manifests)


def test_referrer_is_listed_once_under_the_fallback_tag_where_there_is_no_api() -> None:
    shelf = Shelf()
    with place(shelf) as (server, here):
        here.put_document(ABOUT.descriptor(), ABOUT.raw)
        here.put_document(ABOUT.descriptor(), ABOUT.raw)
        [entry] = listed(shelf)
        assert (entry.digest, entry.artifact_type) == (ABOUT.digest, "application/x-one")
        assert dict(entry.annotations) == {"k": "v"}
        assert asked(server).count(f"PUT {fallback_tag(D.digest)}") == 1
        assert [d.digest for d in here.referrers(D.digest)] == [ABOUT.digest]
        assert here.referrers(D.digest, "application/x-two") == []


def test_registry_with_the_api_lists_referrers_itself() -> None:
    shelf = Shelf(api=True)
    with place(shelf) as (server, here):
        here.put_document(ABOUT.descriptor(), ABOUT.raw)
        assert here.referrers(D.digest) == []
        assert fallback_tag(D.digest) not in shelf.manifests
        assert not [a for a in asked(server) if fallback_tag(D.digest) in a]


def test_header_alone_is_no_api() -> None:
    """Docker Hub once sent it and had none."""
    shelf = Shelf()

    def lies(a: Asked) -> tuple[int, Mapping[str, str], bytes]:
        status, headers, body = shelf(a)
        return status, {**headers, "OCI-Subject": str(D.digest)}, body

    with place(lies) as (_, here):
        here.put_document(ABOUT.descriptor(), ABOUT.raw)
        assert [d.digest for d in listed(shelf)] == [ABOUT.digest]


def test_api_that_is_missing_is_asked_for_once() -> None:
    with place(Shelf()) as (server, here):
        for _ in range(3):
            assert here.referrers(D.digest) == []
        assert len([a for a in server.asked if "/referrers/" in a.target]) == 1


@pytest.mark.parametrize("raw", [b"no json", b"{}", MANIFEST.raw])
def test_fallback_tag_that_is_no_list_lists_nothing(raw: bytes) -> None:
    shelf = Shelf()
    shelf.put(fallback_tag(OTHER.digest), raw)
    with place(shelf) as (_, here):
        assert here.referrers(OTHER.digest) == []


def test_deleted_referrer_is_taken_off_the_list_and_others_stay() -> None:
    second = Manifest.build(EMPTY, [], subject=D, artifact_type="application/x-two")
    shelf = Shelf()
    with place(shelf, f"r.io/a/b@{ABOUT.digest}") as (_, here):
        for m in (ABOUT, second):
            here.put_document(m.descriptor(), m.raw)
        here.delete()
        assert [d.digest for d in listed(shelf)] == [second.digest]
        assert str(ABOUT.digest) not in shelf.manifests


# --- deleting ------------------------------------------------------------------------------------


def test_tag_that_cannot_be_deleted_is_moved_to_nothing_which_is() -> None:
    shelf = Shelf()
    shelf.put("1", MANIFEST.raw)
    shelf.put("2", MANIFEST.raw)
    nothing = str(digest_bytes(b"{}"))

    def old(a: Asked) -> tuple[int, Mapping[str, str], bytes]:
        if "/blobs/" in a.target and a.method == "POST":
            return answer(202, Location="/v2/a/b/blobs/uploads/1")
        if "/blobs/" in a.target and a.method == "PUT":
            return answer(201, Docker_Content_Digest=nothing)
        is_tag = ":" not in a.target.rpartition("/")[2]
        return answer(405) if a.method == "DELETE" and is_tag else shelf(a)

    with place(old) as (server, here):
        here.delete()
        gone = server.targets("DELETE")[-1].rpartition("/")[2]
        assert gone not in (str(D.digest), "1")
        assert str(digest_bytes(shelf.manifests["1"][0])) == gone
        assert (shelf.manifests["2"][0], str(D.digest) in shelf.manifests) == (MANIFEST.raw, True)
        with pytest.raises(NotFound):
            Repository(ImageRef.parse("r.io/a/b:none"), [here.writer], here.writer).delete()


def test_registry_that_is_away_is_no_empty_place() -> None:
    def gone(*_: object) -> None:
        raise NetworkFault("cannot connect")

    with place(Shelf()) as (_, here), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "head_manifest", gone)
        for ask in (here.standing, lambda: here.has_manifest(D), here.digest):
            with pytest.raises(ImagesmithError, match="cannot connect"):
                ask()


# --- against registries --------------------------------------------------------------------------


def test_delete_takes_the_tag_and_leaves_its_siblings(registry: Served, store: Store, tmp_path: Path) -> None:
    ref, d = name(registry, tmp_path), make_image(store)
    with Session(store) as session:
        session.push(ref.with_tag("a"), d)
        session.push(ref.with_tag("b"), d)
        session.repository(ref.with_tag("a")).delete()
        assert session.repository(ref).tags() == ["b"]
        session.repository(ref.with_tag(None).with_digest(d.digest)).delete()
    with Session(store) as session, pytest.raises(NotFound):
        session.repository(ref.with_tag("b")).root()


def test_referrers_are_found_by_api_or_fallback_tag(registry: Served, store: Store, tmp_path: Path) -> None:
    ref, d = name(registry, tmp_path), make_image(store)
    note = tmp_path / "note"
    note.write_text("well done")
    with Session(store) as session:
        session.push(ref, d)
        place = session.repository(ref)
        made = []
        for kind in ("application/x-one", "application/x-two"):
            edited = artifact(
                [(str(note), "")], store.blobs, artifact_type=kind, subject=d, annotations={"k": kind}
            )
            made.append(edited.root().digest)
            session.copy(edited, session.repository(ref.with_tag(None).with_digest(edited.root().digest)))
        assert {x.digest for x in place.referrers(d.digest)} == set(made)
        assert [x.artifact_type for x in place.referrers(d.digest, "application/x-two")] == [
            "application/x-two"
        ]
        assert [dict(x.annotations) for x in place.referrers(d.digest, "application/x-two")] == [
            {"k": "application/x-two"}
        ]
        copied = ref.with_tag("copied")
        session.copy(
            place, session.repository(ImageRef.parse(f"{copied.name}/sub:1")), Choice(referrers=True)
        )
        assert len(session.repository(ImageRef.parse(f"{copied.name}/sub:1")).referrers(d.digest)) == 2
        session.repository(ref.with_tag(None).with_digest(made[0])).delete()
        assert [x.digest for x in place.referrers(d.digest)] == made[1:]


def test_deletion_that_a_registry_does_not_do_is_said(store: Store, tmp_path: Path) -> None:
    with Registry(tmp_path / "data") as registry, FaultProxy(registry.host) as proxy:
        ref, d = ImageRef.parse(f"{proxy.host}/a/b:1"), make_image(store)
        proxy.on("DELETE", "/manifests/", Answer(405), times=9)
        with Session(store) as session:
            session.push(ref, d)
            with pytest.raises(Unsupported, match="does not delete"):
                session.repository(ref.with_tag(None).with_digest(d.digest)).delete()


@pytest.mark.parametrize("make", [make_image, make_index])
def test_fallback_tag_that_is_the_subject_itself_lists_nothing(
    store: Store, proxy: FaultProxy, make: object
) -> None:
    """GitLab answers for the tag `sha256-<hex>` with the image of that digest."""
    d = make(store)  # type: ignore[operator]  # one of two functions
    ref = ImageRef.parse(f"{proxy.host}/a:1")
    with Session(store) as session:
        session.push(ref, d)
        session.push(ref.with_tag(fallback_tag(d.digest)), d)
        proxy.on("GET", "/referrers/", Answer(404), times=9)
        place = session.repository(ref)
        assert place.referrers(d.digest) == []
        copied = session.copy(
            place, session.repository(ImageRef.parse(f"{proxy.host}/b:1")), Choice(referrers=True)
        )
        assert copied.digest == d.digest
