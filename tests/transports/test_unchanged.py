"""What is there already is not moved, not read and not written again: counted request by request."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.errors import NetworkFault, RegistryError
from imagesmith.oci.model import Index
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.registry.client import Client
from imagesmith.store.store import Store
from imagesmith.transports.copier import Choice
from imagesmith.transports.transfer import Session
from tests.registry.faultproxy import Answer, FaultProxy
from tests.registry.images import make_image, make_index

IMMUTABLE = Answer(400, body=b'{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}')


def asked(proxy: FaultProxy) -> list[str]:
    """The requests so far, without the client's look at the scheme."""
    return [f"{e.method} {e.target.rpartition('/')[2]}" for e in proxy.exchanges if e.target != "/v2/"]


def copy(store: Store, proxy: FaultProxy, source: str, target: str, choice: Choice | None = None) -> str:
    """Copy between two repositories in a session of its own; only its requests are counted."""
    proxy.exchanges.clear()
    with Session(store) as session:
        a, b = (session.repository(ImageRef.parse(f"{proxy.host}/{n}")) for n in (source, target))
        return str(session.copy(a, b, choice).digest)


@pytest.mark.parametrize("make", [make_image, make_index])
def test_copy_of_what_is_unchanged_is_two_heads(store: Store, proxy: FaultProxy, make: object) -> None:
    d = make(store)  # type: ignore[operator]  # one of two functions
    with Session(store) as session:
        session.push(ImageRef.parse(f"{proxy.host}/a:1"), d)
    assert copy(store, proxy, "a:1", "b:1") == str(d.digest)
    proxy.on("PUT", "/b/manifests/1$", IMMUTABLE, times=9)
    assert copy(store, proxy, "a:1", "b:1") == str(d.digest)
    assert asked(proxy) == ["HEAD 1", "HEAD 1"]


def test_copy_to_a_name_that_is_new_mounts_unasked(store: Store, proxy: FaultProxy) -> None:
    d = make_image(store, layers=({"a": b"1"}, {"b": b"2"}))
    with Session(store) as session:
        session.push(ImageRef.parse(f"{proxy.host}/a:1"), d)
    copy(store, proxy, "a:1", "b:1")
    first, second, *mounts, last = asked(proxy)
    assert (first, second, last) == ("HEAD 1", "GET 1", "PUT 1")
    assert [m.partition("?")[0] for m in mounts] == ["POST ", "POST ", "POST "]
    assert all(e.status == 201 for e in proxy.seen("POST"))


@pytest.mark.parametrize("opened", [True, False], ids=["session", "refused"])
def test_copy_sends_nothing_that_is_there_where_nothing_is_mounted(
    store: Store, proxy: FaultProxy, opened: bool
) -> None:
    d, other = make_image(store), make_image(store, layers=({"c": b"other"},))
    with Session(store) as session:
        for name, one in {"a:1": d, "b:0": d, "a:2": other}.items():
            session.push(ImageRef.parse(f"{proxy.host}/{name}"), one)
    location = {"Location": f"http://{proxy.host}/v2/b/blobs/uploads/none"}
    proxy.on("POST", "mount=", Answer(202, location) if opened else Answer(404), times=99)
    assert copy(store, proxy, "a:1", "b:1") == str(d.digest)
    assert not proxy.seen("PUT|PATCH", "/blobs/")
    assert bool(proxy.seen("DELETE", "/uploads/none")) == opened  # what was opened is given up

    with Session(store) as session:
        a, b = (session.repository(ImageRef.parse(f"{proxy.host}/{n}")) for n in ("a:2", "c:1"))
        session.copy(a, b)
        blobs = store.manifest(other, Platform("linux", "amd64"))
        assert all(b.has(part) for part in (blobs.config, *blobs.layers))


def test_blobs_are_looked_for_where_nothing_was_mounted_before(store: Store, proxy: FaultProxy) -> None:
    d = make_image(store, layers=({"a": b"1"}, {"b": b"2"}, {"c": b"3"}))
    with Session(store, transfers=1) as session:
        for name in ("a:1", "b:0"):
            session.push(ImageRef.parse(f"{proxy.host}/{name}"), d)
        proxy.on("POST", "mount=", Answer(404), times=99)
        proxy.exchanges.clear()
    with Session(store, transfers=1) as session:
        a, b = (session.repository(ImageRef.parse(f"{proxy.host}/{n}")) for n in ("a:1", "b:1"))
        session.copy(a, b)
    assert (len(proxy.seen("POST")), len(proxy.seen("HEAD", "/blobs/"))) == (1, 4)


@pytest.mark.parametrize("choice", [Choice(referrers=True), Choice(platforms=(Platform("linux", "arm64"),))])
def test_immutable_tag_takes_what_it_stands_for_and_nothing_else(
    store: Store, proxy: FaultProxy, choice: Choice
) -> None:
    with Session(store) as session:
        session.push(ImageRef.parse(f"{proxy.host}/a:1"), make_index(store))
        session.push(ImageRef.parse(f"{proxy.host}/a:2"), make_image(store))
    first = copy(store, proxy, "a:1", "b:1", choice)
    proxy.on("PUT", "/b/manifests/1$", IMMUTABLE, times=9)
    assert copy(store, proxy, "a:1", "b:1", choice) == first
    assert not proxy.seen("PUT")
    assert choice.referrers or not proxy.seen(target="/blobs/")
    with pytest.raises(RegistryError, match="immutable"):
        copy(store, proxy, "a:2", "b:1")


def test_children_that_the_target_has_are_skipped(store: Store, proxy: FaultProxy) -> None:
    old = make_index(store)
    children = Index.parse(store.blobs.read(old.digest)).manifests
    more = make_image(store, layers=({"d": b"more"},), architecture="riscv64")
    new = Index.build([*children, more])
    store.blobs.put(new.raw)
    with Session(store) as session:
        session.push(ImageRef.parse(f"{proxy.host}/a:1"), old)
        session.push(ImageRef.parse(f"{proxy.host}/a:2"), new.descriptor())
    copy(store, proxy, "a:1", "b:1")
    assert copy(store, proxy, "a:2", "b:2") == str(new.digest)
    for child in children:
        assert [e.method for e in proxy.seen(target=str(child.digest))] == ["HEAD"]
    assert len(proxy.seen("GET", "/manifests/")) == 2
    assert [e.target.rpartition("/")[2] for e in proxy.seen("PUT", "/manifests/")] == [str(more.digest), "2"]
    assert copy(store, proxy, "a:2", "b:2", Choice(referrers=True)) == str(new.digest)
    assert not proxy.seen("HEAD", "/blobs/")


def test_pull_of_what_is_here_reads_nothing(store: Store, proxy: FaultProxy, tmp_path: Path) -> None:
    ref = ImageRef.parse(f"{proxy.host}/a:1")
    with Session(store) as session:
        session.push(ref, make_index(store))
    with Store(tmp_path / "other") as other:
        for _ in range(2):
            proxy.exchanges.clear()
            with Session(other) as session:
                other.name(ref, session.pull(ref))
    assert asked(proxy) == ["HEAD 1"]


def test_registry_that_is_away_is_tried_once(
    store: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often as a request is tried, and not as often again for the next one."""
    asked_for: list[str] = []

    def away(client: Client, reference: str) -> None:
        asked_for.append(client.repository)
        raise NetworkFault("cannot connect")

    monkeypatch.setattr(Client, "head_manifest", away)
    with pytest.raises(NetworkFault, match="cannot connect"):
        copy(store, proxy, "a:1", "b:1")
    with Session(store) as session, pytest.raises(NetworkFault):
        session.repository(ImageRef.parse(f"{proxy.host}/a:1")).digest()
    assert (asked_for, asked(proxy)) == (["b", "a"], [])


def test_push_sends_again_what_the_registry_has_lost(store: Store, proxy: FaultProxy) -> None:
    d = make_image(store)
    ref = ImageRef.parse(f"{proxy.host}/a:1")
    with Session(store) as session:
        session.push(ref, d)
        lost = store.manifest(d, Platform("linux", "amd64")).layers[0]
        session.repository(ref).writer.delete_blob(lost.digest)
    with Session(store) as session:
        session.push(ref, d)
        assert session.repository(ref).writer.head_blob(lost.digest) == lost.size
