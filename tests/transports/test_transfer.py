"""Whole transfers, against the embedded registry and Debian's, open, with passwords and with TLS."""

from __future__ import annotations

import http.server
import threading
import time
from pathlib import Path

import pytest

from imagesmith.credentials.dockerconfig import Credentials
from imagesmith.credentials.login import keep
from imagesmith.credentials.model import Credential
from imagesmith.embedded.registry import Registry
from imagesmith.errors import DigestMismatch, NetworkFault, NotFound, RegistryError, Unauthorized
from imagesmith.events import Event, Progress
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.mediatype import DOCKER_MANIFEST
from imagesmith.oci.model import Manifest, parse_document
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.registry import transport
from imagesmith.registry.client import catalog
from imagesmith.registry.hosts import Hosts
from imagesmith.registry.ping import check
from imagesmith.registry.streamed import StreamedUpload
from imagesmith.settings import Access
from imagesmith.store.store import Store
from imagesmith.transports.copier import Choice
from imagesmith.transports.transfer import Session
from tests.registry.conftest import PASSWORD, USER, Served, name
from tests.registry.faultproxy import Answer, CutRequest, FaultProxy
from tests.registry.images import make_image, make_index
from tests.registry.scripted import Asked, Scripted

AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")


def test_push_and_pull_give_the_same_bytes(
    registry: Served, store: Store, other: Store, tmp_path: Path
) -> None:
    ref, d = name(registry, tmp_path), make_image(store)
    with Session(store) as session:
        session.push(ref, d)
    with Session(other) as session:
        found = session.pull(ref, AMD)
    assert found.digest == d.digest
    assert set(other.blobs.digests()) == set(store.blobs.digests())


def test_index_goes_whole_and_comes_for_one_platform(
    registry: Served, store: Store, other: Store, tmp_path: Path
) -> None:
    ref, d = name(registry, tmp_path), make_index(store)
    with Session(store) as session:
        session.push(ref, d)
    with Session(other) as session:
        assert session.pull(ref, ARM).digest == d.digest
        assert other.config(other.manifest(d, ARM)).platform == ARM
        assert len(other.blobs.digests()) == 4  # index, manifest, config, one layer
        alone = session.push(ref.with_tag("again"), d)
        assert other.config(Manifest.parse(other.blobs.read(alone.digest))).platform == ARM
        session.pull(ref)
        assert session.push(ref.with_tag("again"), d).digest == d.digest


def test_second_push_sends_nothing_and_another_repository_is_mounted(
    registry: Served, store: Store, tmp_path: Path
) -> None:
    ref, d = name(registry, tmp_path), make_image(store)
    told: list[Event] = []
    with Session(store, events=told.append) as session:
        session.push(ref, d)
        del told[:]
        session.push(ref.with_tag("2"), d)
        assert {p.id.rpartition(" ")[2] for p in told if isinstance(p, Progress) and p.total} == {"exists"}
        del told[:]
        session.push(ImageRef.parse(f"{ref.registry}/{ref.repository}/more:1"), d)
        assert {p.id.rpartition(" ")[2] for p in told if isinstance(p, Progress) and p.total} == {"mounted"}


def test_blob_that_is_elsewhere_is_mounted_without_being_fetched(
    registry: Served, store: Store, other: Store, tmp_path: Path
) -> None:
    base = name(registry, tmp_path, "base")
    with Session(store) as session:
        session.push(base, make_image(store))
    with Session(other) as session:
        found = session.resolve(base, AMD)
        for raw in found.documents.values():
            other.blobs.put(raw)
        place = session.repository(base)
        target = ImageRef.parse(f"{base.registry}/{base.repository}/made:1")
        session.push(target, found.descriptor, {d.digest: place for d in found.manifest.layers})
        assert all(not other.blobs.has(d.digest) for d in found.manifest.layers)
        assert session.repository(target).root().digest == found.descriptor.digest


def test_copy_between_registries_passes_the_store_by(
    embedded_registry: Served, docker_registry: Served, store: Store, other: Store, tmp_path: Path
) -> None:
    here, there = name(embedded_registry, tmp_path), name(docker_registry, tmp_path)
    d = make_index(store)
    with Session(store) as session:
        session.push(here, d)
    with Session(other) as session:
        copied = session.copy(session.repository(here), session.repository(there))
        assert copied.digest == d.digest
        one = session.copy(
            session.repository(here), session.repository(there.with_tag("arm")), Choice(platforms=(ARM,))
        )
        assert (
            parse_document(session.repository(there.with_tag("arm")).document(one)).media_type
            == one.media_type
        )
    assert other.blobs.digests() == []


def test_copy_in_dockers_types_keeps_the_image_id(registry: Served, store: Store, tmp_path: Path) -> None:
    ref, d = name(registry, tmp_path), make_image(store)
    with Session(store) as session:
        session.push(ref, d)
        place = session.repository(ref)
        docker = session.copy(place, session.repository(ref.with_tag("docker")), Choice(family="docker"))
        assert docker.media_type == DOCKER_MANIFEST
        back = session.copy(
            session.repository(ref.with_tag("docker")),
            session.repository(ref.with_tag("oci")),
            Choice(family="oci"),
        )
    assert back.digest == d.digest


def test_listings(registry: Served, store: Store, tmp_path: Path) -> None:
    ref, d = name(registry, tmp_path), make_image(store)
    with Session(store) as session:
        for tag in ("c", "a", "b"):
            session.push(ref.with_tag(tag), d)
        assert session.repository(ref).tags() == ["a", "b", "c"]
        assert ref.repository in catalog(session.transport(ref.registry))
        assert session.repository(ref.with_tag("a")).digest().digest == d.digest


def test_blob_is_sent_while_it_is_made(registry: Served, store: Store, tmp_path: Path) -> None:
    data = [b"piece" * 1000] * 60
    digest = digest_bytes(b"".join(data))
    with Session(store) as session:
        client = session.repository(name(registry, tmp_path)).writer
        upload = StreamedUpload(client)
        for piece in data:
            upload.write(piece)
        upload.finish(digest)
        upload.abort()
        assert client.head_blob(digest) == 300_000
        wrong = StreamedUpload(client)
        wrong.write(b"other bytes")
        with pytest.raises(DigestMismatch):
            wrong.finish(digest)


def test_streamed_blob_can_be_given_up(registry: Served, store: Store, tmp_path: Path) -> None:
    with Session(store) as session:
        client = session.repository(name(registry, tmp_path)).writer
        upload = StreamedUpload(client)
        upload.write(b"x" * 100_000)
        upload.abort()
        assert client.head_blob(digest_bytes(b"x" * 100_000)) is None


class _ReadsNoMore(http.server.BaseHTTPRequestHandler):
    """Opens upload sessions, and stops reading what is sent to them."""

    protocol_version = "HTTP/1.1"
    done = threading.Event()

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.send_response(202)
        self.send_header("Location", "/v2/a/b/blobs/uploads/x")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_PATCH(self) -> None:
        self.done.wait(600)


def test_streamed_blob_is_given_up_where_the_registry_reads_no_more(store: Store) -> None:
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), _ReadsNoMore) as server,
        Session(store) as session,
    ):
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ref = ImageRef.parse(f"127.0.0.1:{server.server_port}/a/b")
        upload = StreamedUpload(session.repository(ref).writer)
        for _ in range(14):
            upload.write(bytes(1 << 20))
        began = time.monotonic()
        upload.abort()
        assert time.monotonic() - began < 200
        _ReadsNoMore.done.set()
        server.shutdown()


def test_streamed_blob_that_breaks_fails_at_its_end_or_before(store: Store, tmp_path: Path) -> None:
    with (
        Registry(tmp_path / "data") as registry,
        FaultProxy(registry.host) as proxy,
        Session(store) as session,
    ):
        client = session.repository(ImageRef.parse(f"{proxy.host}/a/b")).writer

        def send(pieces: int) -> None:
            upload = StreamedUpload(client)
            try:
                for _ in range(pieces):
                    upload.write(b"x" * 100_000)
                upload.finish(digest_bytes(b"x" * 100_000 * pieces))
            finally:
                upload.abort()

        proxy.on("PATCH", ".", CutRequest(50_000))
        with pytest.raises(NetworkFault):
            send(300)
        proxy.on("PATCH", ".", Answer(400))
        with pytest.raises(RegistryError, match="status 400"):
            send(1)
        send(3)


def test_missing_image_and_missing_registry_are_said_in_one_line(
    registry: Served, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_MOST_WAIT_S", 0.1)
    with Session(store) as session:
        with pytest.raises(NotFound, match="not found"):
            session.pull(name(registry, tmp_path, "nope"), AMD)
        with pytest.raises(NetworkFault, match="cannot connect"):
            session.pull(ImageRef.parse("127.0.0.1:1/a"), AMD)


# --- credentials and TLS -------------------------------------------------------------------------


def credentials(tmp_path: Path, host: str) -> Credentials:
    found = Credentials({"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}, tmp_path)
    keep(host, Credential(USER, PASSWORD), found)
    return found


def test_password_opens_what_is_closed_without(
    docker_registry_htpasswd: Served, store: Store, tmp_path: Path
) -> None:
    ref, d = name(docker_registry_htpasswd, tmp_path), make_image(store)
    with Session(store) as session, pytest.raises(Unauthorized) as caught:
        session.push(ref, d)
    assert caught.value.hint == f"imagesmith login {ref.registry}"
    with Session(store, credentials=credentials(tmp_path, ref.registry)) as session:
        session.push(ref, d)
        assert session.pull(ref, AMD).digest == d.digest


def test_login_is_checked(docker_registry_htpasswd: Served) -> None:
    host = docker_registry_htpasswd.host
    check(host, Credential(USER, PASSWORD), Hosts())
    with pytest.raises(Unauthorized):
        check(host, Credential(USER, "wrong"), Hosts())


def test_certificate_must_be_known(docker_registry_tls: Served, store: Store, tmp_path: Path) -> None:
    ref, d = name(docker_registry_tls, tmp_path), make_image(store)
    with (
        Session(store) as session,
        pytest.raises(NetworkFault, match="certificate cannot be verified") as caught,
    ):
        session.push(ref, d)
    assert "certs.d" in caught.value.hint
    assert docker_registry_tls.ca is not None
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(docker_registry_tls.ca.read_bytes())
    with Session(store, hosts=Hosts(cert_dir=str(folder))) as session:
        session.push(ref, d)
    with Session(store, access=Access(insecure=True)) as session:
        assert session.pull(ref, AMD).digest == d.digest


# --- mirrors -------------------------------------------------------------------------------------


def test_mirror_is_read_first_and_the_registry_where_it_fails(
    docker_registry: Served, embedded_registry: Served, store: Store, other: Store, tmp_path: Path
) -> None:
    up, down = name(docker_registry, tmp_path), name(embedded_registry, tmp_path)
    conf = tmp_path / "registries.conf"
    conf.write_text(
        f"[[registry]]\nlocation = '{up.registry}'\n"
        "[[registry.mirror]]\nlocation = '127.0.0.1:1'\n"
        f"[[registry.mirror]]\nlocation = '{down.registry}'\n"
    )
    d = make_image(store)
    hosts = Hosts({}, tmp_path, registries_conf=str(conf))
    with Session(store) as session:
        session.push(down, d)
    with Session(other, hosts=hosts) as session:
        assert session.pull(up, AMD).digest == d.digest  # the registry itself has not got it
        session.push(up.with_tag("2"), d)
    with Session(other) as session:
        assert session.repository(up).tags() == ["2"]


def test_push_that_is_stopped_waits_for_no_answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, given_up = threading.Event(), threading.Event()

    def answers(request: Asked) -> tuple[int, dict[str, str], bytes]:
        if request.method == "POST":
            return 202, {"Location": "/v2/a/b/blobs/uploads/1"}, b""
        if request.method == "PUT":
            asked.set()
            given_up.wait(20)
        return 404, {}, b""

    def stop(*_: object, **__: object) -> None:
        assert asked.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr("concurrent.futures.wait", stop)
    with Scripted(answers) as server, Session(store) as session:
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            session.push(ImageRef.parse(f"{server.host}/a/b:1"), make_image(store))
        took = time.monotonic() - began
        given_up.set()
    assert took < 15
