"""Downloads of ADD and of contexts, from servers that fail as registries do."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imagesmith.context.http import Download, fetch_url
from imagesmith.errors import ContextError, DockerfileError
from imagesmith.oci.digest import digest_bytes
from imagesmith.registry import hosts
from imagesmith.settings import Access
from imagesmith.store.store import Store
from tests.registry.conftest import free_port, make_certificate
from tests.registry.faultproxy import Answer, Away, Corrupt, CutResponse, Fault, FaultProxy, Reset
from tests.registry.scripted import Answers, Asked, Scripted

DATA = bytes(range(256)) * 2000
TIME = "Sun, 09 Sep 2001 01:46:40 GMT"


@dataclass
class Site:
    """A server of one file behind a proxy that breaks what it is told to, and a store to download into."""

    store: Store
    server: Scripted
    proxy: FaultProxy
    waits: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.proxy.host}/a/file?sign=secret"

    def fetch(self, checksum: str = "") -> Download:
        return fetch_url(self.url, self.store, checksum, wait=self.waits.append, tell=self.told.append)

    def ranges(self) -> list[tuple[str, str]]:
        """What each request asked for: its Range and If-Range."""
        return [(a.headers.get("range", ""), a.headers.get("if-range", "")) for a in self.server.asked]


def file_of(data: bytes, **headers: str) -> Answers:
    """A server that knows ranges where it has a strong ETag; underscores of names are hyphens."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}

    def answers(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        match = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("range", ""))
        if asked.headers.get("if-none-match", "x") == more.get("ETag"):
            return 304, more, b""
        if match is None or asked.headers.get("if-range", "x") != more.get("ETag"):
            return 200, more, data
        at = int(match[1])
        return 206, {**more, "Content-Range": f"bytes {at}-{len(data) - 1}/{len(data)}"}, data[at:]

    return answers


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with (
        Store(tmp_path / "store") as store,
        Scripted(file_of(DATA, ETag='"1"', Last_Modified=TIME)) as server,
        FaultProxy(server.host) as proxy,
    ):
        yield Site(store, server, proxy)


def is_whole(site: Site, got: Download, data: bytes = DATA) -> bool:
    with got.open() as f:
        same = f.read() == data
    return same and got.digest == digest_bytes(data) and got.size == len(data) and not ingested(site)


def ingested(site: Site) -> list[str]:
    """What is left of downloads that came to nothing."""
    return [p.name for p in site.store.blobs.ingest.iterdir()]


# --- what passes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "times"),
    [(Reset(), 1), (Reset(), 4), (Answer(503), 2), (Answer(429), 1), (Answer(500), 2), (Answer(522), 1)],
    ids=str,
)
def test_fault_before_the_answer_is_survived(site: Site, fault: Fault, times: int) -> None:
    site.proxy.on("GET", "file", fault, times=times)
    assert is_whole(site, site.fetch())
    assert len(site.waits) == times


def test_server_that_is_away_for_a_while_is_waited_for(site: Site) -> None:
    site.proxy.on("GET", "file", Away(site.proxy, 0.5))
    assert is_whole(site, fetch_url(site.url, site.store))


def test_server_is_waited_for_as_long_as_it_asks(site: Site) -> None:
    site.proxy.on("GET", "file", Answer(429, {"Retry-After": "7"}))
    assert is_whole(site, site.fetch())
    assert site.waits == [7.0]
    assert site.told == [f"{site.proxy.host}: waiting 7 s as the server asks (status 429)"]


def test_server_that_asks_for_an_hour_is_not_waited_for(site: Site) -> None:
    site.proxy.on("GET", "file", Answer(503, {"Retry-After": "3600"}))
    with pytest.raises(ContextError, match="invalid response status 503"):
        site.fetch()
    assert site.waits == []


# --- what is cut ---------------------------------------------------------------------------------


def test_cut_download_goes_on_where_it_was(site: Site) -> None:
    site.proxy.on("GET", "file", CutResponse(200_000))
    got = site.fetch()
    assert is_whole(site, got)
    assert got.mtime_ns == 1_000_000_000 * 10**9
    assert site.ranges() == [("", ""), ("bytes=200000-", '"1"')]
    assert site.proxy.got() == len(DATA)


def test_many_cuts_are_survived_while_each_try_brings_more(site: Site) -> None:
    site.proxy.on("GET", "file", CutResponse(70_000), times=7)
    assert is_whole(site, site.fetch())
    assert site.proxy.got() == len(DATA)


@pytest.mark.parametrize("tags", [{}, {"ETag": 'W/"1"'}], ids=["none", "weak"])
def test_cut_download_begins_anew_where_nothing_tells_its_state(site: Site, tags: dict[str, str]) -> None:
    site.server.answers = file_of(DATA, Last_Modified=TIME, **tags)
    site.proxy.on("GET", "file", CutResponse(200_000))
    assert is_whole(site, site.fetch())
    assert site.ranges() == [("", ""), ("", "")]


def test_download_that_is_always_cut_at_the_same_place_ends(site: Site) -> None:
    site.server.answers = file_of(DATA)
    site.proxy.on("GET", "file", CutResponse(200_000), times=99)
    with pytest.raises(ContextError, match="the connection broke") as caught:
        site.fetch()
    assert f"failed to load http://{site.proxy.host}/a/file: " in caught.value.message
    assert 5 < len(site.server.asked) < 15
    assert ingested(site) == []


def test_file_that_changed_between_two_tries_is_the_new_one(site: Site) -> None:
    new = DATA[::-1]

    def answers(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        state = ('"1"', DATA) if len(site.server.asked) == 1 else ('"2"', new)
        return file_of(state[1], ETag=state[0])(asked)

    site.server.answers = answers
    site.proxy.on("GET", "file", CutResponse(200_000))
    assert is_whole(site, site.fetch(), new)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"Content-Range": "bytes 5-9/10"}),
        (206, {}),
        (206, {"Content-Range": f"bytes 200000-{len(DATA) - 1}/{len(DATA)}", "ETag": '"2"'}),
        (416, {}),
    ],
    ids=["place", "nowhere", "state", "refused"],
)
def test_part_that_does_not_fit_is_not_taken(site: Site, status: int, headers: dict[str, str]) -> None:
    def answers(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        return (status, headers, b"other") if "range" in asked.headers else (200, {"ETag": '"1"'}, DATA)

    site.server.answers = answers
    site.proxy.on("GET", "file", CutResponse(200_000))
    assert is_whole(site, site.fetch())
    assert [bool(asked) for asked, _ in site.ranges()] == [False, True, False]


# --- whom it trusts, and what it says ------------------------------------------------------------


def private(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    folder = make_certificate(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


def test_private_authority_is_believed_as_registries_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, certificate = private(tmp_path)
    monkeypatch.setattr(hosts, "home_folder", lambda: tmp_path)
    with Store(tmp_path / "store") as store, Scripted(file_of(b"text"), tls=context) as server:
        url = f"https://{server.host}/file"
        with pytest.raises(ContextError, match="certificate cannot be verified: ") as caught:
            fetch_url(url, store)
        assert f"certs.d/{server.host}/ca.crt" in caught.value.hint
        assert "--insecure" not in caught.value.hint
        folder = tmp_path / ".config/containers/certs.d" / server.host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(certificate.read_bytes())
        assert fetch_url(url, store).size == 4


def test_folder_of_certificates_of_the_command_line_counts(tmp_path: Path) -> None:
    context, certificate = private(tmp_path)
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs/company.crt").write_bytes(certificate.read_bytes())
    with Store(tmp_path / "store") as store, Scripted(file_of(b"text"), tls=context) as server:
        access = Access(cert_dir=str(tmp_path / "certs"))
        assert fetch_url(f"https://{server.host}/file", store, access=access).size == 4


def test_client_certificate_of_a_registry_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, certificate = private(tmp_path)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(certificate)
    shown = []
    with Store(tmp_path / "store") as store, Scripted(file_of(b"text"), tls=context) as server:
        folder = tmp_path / ".config/containers/certs.d" / server.host
        folder.mkdir(parents=True)
        for name, source in (("ca.crt", "cert"), ("client.cert", "cert"), ("client.key", "key")):
            (folder / name).write_bytes((tmp_path / "tls" / f"{source}.pem").read_bytes())
        monkeypatch.setattr(hosts, "home_folder", lambda: tmp_path)
        monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", lambda *words: shown.append(words))
        assert fetch_url(f"https://{server.host}/file", store).size == 4
    assert shown == []


def test_dead_proxy_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("HTTPS_PROXY", f"http://u:secret@{dead}")
    said = f"failed to load https://files.example/a: cannot connect to the proxy http://{dead}"
    with pytest.raises(ContextError, match=said) as caught:
        fetch_url("https://files.example/a?secret", site.store, wait=site.waits.append)
    assert "secret" not in caught.value.message
    assert len(site.waits) == 4


def test_status_is_told_with_its_place_and_without_signatures(site: Site) -> None:
    site.server.answers = lambda _: (404, {}, b"no")
    with pytest.raises(ContextError) as caught:
        site.fetch()
    where = f"http://{site.proxy.host}/a/file"
    assert caught.value.message == f"failed to load cache key: invalid response status 404 of {where}"
    assert site.waits == []


def test_challenge_is_not_answered(site: Site) -> None:
    realm = f"http://{site.server.host}/token"
    site.server.answers = lambda _: (401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}, b"")
    with pytest.raises(ContextError, match="invalid response status 401"):
        site.fetch()
    assert site.server.targets() == ["/a/file?sign=secret"]


@pytest.mark.parametrize("address", ["http://[x/", "http://a:99999/", "nowhere:", "ftp://a/b"])
def test_redirect_to_nowhere_is_an_error_of_ours(site: Site, address: str) -> None:
    site.server.answers = lambda _: (302, {"Location": address}, b"")
    with pytest.raises(ContextError, match="failed to load"):
        site.fetch()


def test_redirect_out_of_https_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, certificate = private(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    moved = {"Location": "http://127.0.0.1:1/x?secret"}
    with (
        Store(tmp_path / "store") as store,
        Scripted(lambda _: (302, moved, b""), tls=context) as server,
        pytest.raises(ContextError, match=r"redirected from https to http://127\.0\.0\.1:1/x; refused"),
    ):
        fetch_url(f"https://{server.host}/file", store)


# --- what is kept --------------------------------------------------------------------------------


def test_file_that_has_not_changed_is_not_sent_again(site: Site) -> None:
    first = site.fetch()
    site.proxy.on("GET", "file", Answer(503))
    again = site.fetch()
    assert (again.digest, again.mtime_ns) == (first.digest, first.mtime_ns)
    assert [e.status for e in site.proxy.exchanges] == [200, 503, 304]
    assert ingested(site) == []


@pytest.mark.parametrize(
    "text", ["yesterday", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 1", ","]
)
def test_time_that_is_none_is_no_time(site: Site, text: str) -> None:
    site.server.answers = file_of(DATA, Last_Modified=text)
    assert site.fetch().mtime_ns == 0


def test_content_of_another_digest_is_refused(site: Site) -> None:
    site.proxy.on("GET", "file", Corrupt(at=5))
    with pytest.raises(DockerfileError, match="digest mismatch"):
        site.fetch(str(digest_bytes(DATA)))
    assert ingested(site) == []
