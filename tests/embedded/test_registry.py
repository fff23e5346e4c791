"""The registry as a process and as a folder: starting, stopping, a full disk, collecting garbage."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from imagesmith.embedded.gc import collect
from imagesmith.embedded.registry import Registry
from imagesmith.embedded.storage import Storage
from imagesmith.embedded.uploads import Upload
from imagesmith.errors import LockTimeout, RegistryError, StoreError, UsageError
from imagesmith.oci.digest import Digest
from tests.embedded.conftest import Client, digest_of
from tests.support import IMAGESMITH

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def image(client: Client, layer: bytes, **more: Any) -> dict[str, Any]:
    def part(data: bytes, kind: str) -> dict[str, Any]:
        return {"mediaType": kind, "digest": client.blob("a", data), "size": len(data)}

    config = part(b"{}", "application/vnd.oci.image.config.v1+json")
    layers = [part(layer, "application/vnd.oci.image.layer.v1.tar")]
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers, **more}


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*IMAGESMITH, "registry", *words], capture_output=True, text=True, timeout=30)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_names_its_address_and_ends_after_the_running_request(tmp_path: Path, number: int) -> None:
    words = [*IMAGESMITH, "registry", "serve", "--dir", str(tmp_path / "r"), "--addr", "127.0.0.1:0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        client = Client(line.strip().rpartition("/")[2])
        client.connection.connect()
        digest = digest_of(b"12345678")
        client.connection.putrequest("POST", f"/v2/a/blobs/uploads/?digest={digest}")
        client.connection.putheader("Content-Length", "8")
        client.connection.endheaders(b"1234")
        while not any((tmp_path / "r/uploads").iterdir()):
            pass
        process.send_signal(number)
        client.connection.send(b"5678")
        assert client.connection.getresponse().status == 201
        assert process.wait() == 0
        assert process.stderr.read() == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["serve", "--addr", "nowhere"], "error: --addr nowhere: must be HOST:PORT"),
        (["serve", "--addr", "1.2.3.4:80"], "error: cannot listen on 1.2.3.4:80: "),
        (["serve", "--tls-cert", "x"], "error: --tls-cert and --tls-key go together"),
        (
            ["serve", "--tls-cert", "x", "--tls-key", "y"],
            "error: cannot use the certificate x with the key y: ",
        ),
        (["serve", "--auth", "bearer"], "error: --auth bearer and --anonymous-pull need"),
        (["serve", "--proxy", "ftp://x"], "error: ftp://x: not the address of a registry"),
        (["serve", "--proxy-user", "x"], "error: --proxy-user and --proxy-ca belong to --proxy"),
        (["serve", "--proxy", "http://x", "--proxy-user", "u"], "error: --proxy-user u: IMAGESMITH_PROXY_"),
        (["serve", "--htpasswd", "none"], "error: cannot read the password file none: "),
        (["gc", "--dir", "none"], "error: none is not the folder of a registry"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
    done = command(*words)
    assert done.stderr.startswith(says), done.stderr
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_folder_is_served_once(registry: Registry) -> None:
    with pytest.raises(LockTimeout, match="served by another registry"):
        Registry(registry.storage.root)


def test_address_is_taken_once(registry: Registry, tmp_path: Path) -> None:
    port = int(registry.host.rpartition(":")[2])
    with pytest.raises(RegistryError, match="cannot listen on"):
        Registry(tmp_path / "other", port=port)
    Storage(tmp_path / "other").close()  # the folder was let go


def test_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "cert").write_text("nonsense")
    with pytest.raises(UsageError, match="cannot use the certificate"):
        Registry(tmp_path / "r", tls=(tmp_path / "cert", tmp_path / "cert"))


def test_content_outlives_a_restart_and_half_uploads_do_not(tmp_path: Path) -> None:
    with Registry(tmp_path / "r") as registry:
        client = Client(registry.host)
        client.manifest("a", "one", image(client, b"layer"))
        client("PATCH", client.begin("a"), b"half")
        os.link(next((tmp_path / "r/uploads").iterdir()), tmp_path / "r/uploads/of a crash")
    with Registry(tmp_path / "r") as registry:
        client = Client(registry.host)
        assert client("GET", "/v2/a/tags/list").json()["tags"] == ["one"]
        assert client("GET", f"/v2/a/blobs/{digest_of(b'layer')}").body == b"layer"
        assert list((tmp_path / "r/uploads").iterdir()) == []


def test_full_disk_is_507_and_what_came_does_not_keep_it_full(
    registry: Registry, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = client.begin("a")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        reply = client("PATCH", location, b"data")
        assert (reply.status, reply.json()["errors"][0]["message"]) == (507, "no space left in the registry")
    assert list(registry.storage.uploads.iterdir()) == []
    assert client("GET", location).status == 404
    assert client("PUT", f"{client.begin('a')}?digest={digest_of(b'data')}", b"data").status == 201


def test_fault_of_ours_is_500_and_the_server_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Upload, "receive", lambda *_: 1 / 0)
        assert client("POST", f"/v2/a/blobs/uploads/?digest={digest_of(b'x')}", b"x").status == 500
    assert "ZeroDivisionError" in caplog.text
    assert client("GET", "/v2/").status == 200


def test_abandoned_sessions_do_not_use_up_the_descriptors(registry: Registry, client: Client) -> None:
    registry.uploads._most = 3
    sessions = [client.begin("a") for _ in range(4)]
    client("GET", sessions[1])
    sessions.append(client.begin("a"))
    assert [client("GET", s).status for s in sessions] == [404, 204, 404, 204, 204]
    assert len(list(registry.storage.uploads.iterdir())) == 3


def test_idle_sessions_are_dropped(registry: Registry, client: Client) -> None:
    registry.uploads._idle_s = -1.0
    old = client.begin("a")
    client.begin("a")
    assert client("GET", old).status == 404


def test_large_uploads_at_the_same_time_stay_apart(client: Client, registry: Registry) -> None:
    sessions = [(client.begin("a"), bytes([n]) * 3000) for n in range(5)]
    for a in range(0, 3000, 1000):
        for location, data in sessions:
            client("PATCH", location, data[a : a + 1000], Content_Range=f"{a}-{a + 999}")
    for location, data in sessions:
        assert client("PUT", f"{location}?digest={digest_of(data)}").status == 201


def test_many_clients_push_and_pull_the_same_at_the_same_time(registry: Registry) -> None:
    shared, digest = b"shared" * 50_000, digest_of(b"shared" * 50_000)

    def work(n: int) -> bool:
        client = Client(registry.host)
        client.blob("a", shared)
        client.manifest("a", "same", image(client, shared, annotations={"n": str(n % 3)}))
        client.manifest("a", f"t{n}", image(client, b"own %d" % n))
        return client("GET", f"/v2/a/blobs/{digest}").body == shared

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))
    tags = Client(registry.host)("GET", "/v2/a/tags/list").json()["tags"]
    assert tags == ["same", *sorted(f"t{n}" for n in range(16))]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mediaType": OCI_INDEX}, "an index has manifests, not config and layers"),
        ({"schemaVersion": 1}, "schemaVersion must be 2"),
        ({"config": None}, "config is missing"),
        ({"layers": {}}, "layers must be a list"),
        ({"layers": [{"mediaType": "x"}]}, "digest is missing"),
        ({"layers": [{"digest": "sha256:x"}]}, "invalid checksum digest length"),
        ({"manifests": []}, "a manifest has config and layers"),
        ({"subject": {}}, "digest is missing"),
        ({"mediaType": "application/x"}, "'application/x' is not supported"),
    ],
)
def test_manifests_that_are_none_are_refused(client: Client, change: dict[str, Any], says: str) -> None:
    reply = client.manifest("a", "x", {**image(client, b"layer"), **change})
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")
    assert says in reply.json()["errors"][0]["message"]


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"[" * 100_000, b'{"a":1,"a":2}'])
def test_documents_that_are_none_are_refused(client: Client, raw: bytes) -> None:
    reply = client("PUT", "/v2/a/manifests/x", raw, Content_Type=OCI_MANIFEST)
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")


def test_content_type_must_be_the_manifests_own(client: Client) -> None:
    raw = json.dumps(image(client, b"layer")).encode()
    for kind in ({}, {"Content_Type": OCI_INDEX}, {"Content_Type": "text/plain"}):
        assert client("PUT", "/v2/a/manifests/x", raw, **kind).code == "MANIFEST_INVALID"
    kind = {"Content_Type": f"{OCI_MANIFEST}; charset=utf-8"}
    assert client("PUT", "/v2/a/manifests/x", raw, **kind).status == 201


def test_unchanged_content_is_304(client: Client) -> None:
    digest = client.manifest("a", "x", image(client, b"layer")).headers["docker-content-digest"]
    for path in ("/v2/a/manifests/x", f"/v2/a/blobs/{digest_of(b'layer')}"):
        etag = client("GET", path).headers["etag"]
        reply = client("GET", path, If_None_Match=etag)
        assert (reply.status, reply.body) == (304, b"")
    assert client("GET", "/v2/a/manifests/x").headers["etag"] == f'"{digest}"'


# collecting garbage


def contents(root: Path) -> set[str]:
    return {f"sha256:{p.name}" for p in (root / "blobs/sha256").iterdir()}


def test_collection_keeps_what_manifests_need(tmp_path: Path) -> None:
    with Registry(tmp_path / "r") as registry:
        client = Client(registry.host)
        kept = client.manifest("a", "one", image(client, b"kept")).headers["docker-content-digest"]
        client.blob("a", b"loose")
        gone = client.manifest("a", "two", image(client, b"gone")).headers["docker-content-digest"]
        client("DELETE", f"/v2/a/manifests/{gone}")
    storage = Storage(tmp_path / "r")
    done = collect(storage)
    assert (done.manifests, done.blobs) == (0, 3)
    assert contents(tmp_path / "r") == {kept, digest_of(b"kept"), digest_of(b"{}")}
    assert not storage.has_blob("a", Digest.parse(digest_of(b"loose")))
    assert collect(storage).blobs == 0
    storage.close()


def test_collection_of_untagged_manifests_follows_indexes_and_subjects(tmp_path: Path) -> None:
    with Registry(tmp_path / "r") as registry:
        client = Client(registry.host)

        def entry(document: dict[str, Any], tag: str = "") -> dict[str, Any]:
            digest = client.manifest("a", tag, document).headers["docker-content-digest"]
            return {
                "mediaType": document["mediaType"],
                "digest": digest,
                "size": len(json.dumps(document)),
            }

        child = entry(image(client, b"child"))
        top = entry({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}, "top")
        about = entry(image(client, b"about", subject=child))
        loose = entry(image(client, b"loose"))
    storage = Storage(tmp_path / "r")
    done = collect(storage, untagged=True)
    left = {str(found.digest) for found in storage.manifests("a")}
    storage.close()
    assert left == {child["digest"], top["digest"], about["digest"]}
    assert (done.manifests, done.blobs) == (1, 1)
    assert loose["digest"] not in contents(tmp_path / "r")


def test_collection_stops_at_damage(tmp_path: Path) -> None:
    with Registry(tmp_path / "r") as registry:
        client = Client(registry.host)
        digest = client.manifest("a", "one", image(client, b"x")).headers["docker-content-digest"]
    storage = Storage(tmp_path / "r")
    storage.content(Digest.parse(digest)).unlink()
    with pytest.raises(StoreError, match="cannot read manifest"):
        collect(storage)
    storage.close()
    assert digest_of(b"x") in contents(tmp_path / "r")


@pytest.mark.slow
def test_collection_as_a_command(tmp_path: Path) -> None:
    with Registry(tmp_path / "r") as registry:
        Client(registry.host).blob("a", b"loose")
        assert "served by another registry" in command("gc", "--dir", str(tmp_path / "r")).stderr
    done = command("gc", "--dir", str(tmp_path / "r"))
    assert done.stdout == "deleted 0 manifests and 1 blobs, 5 bytes\n"


@pytest.mark.parametrize(
    "place", ["uploads", "blobs", "repositories", "repositories/a/_tags", "blobs/sha256/x"]
)
def test_folder_with_a_link_is_refused_and_nothing_behind_it_is_touched(tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "id_rsa").write_text("alive")
    link = tmp_path / "r" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(StoreError, match=f"{place} is a link"):
        Storage(tmp_path / "r")
    assert [(p.name, p.read_text()) for p in outside.iterdir()] == [("id_rsa", "alive")]
