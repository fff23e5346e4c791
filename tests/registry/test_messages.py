"""What a refusal says: which host, which status, and the registry's own words, whatever form they come in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from imagesmith.errors import DigestMismatch, ImagesmithError, NetworkFault, NotFound, RegistryError
from imagesmith.oci.names import ImageRef
from imagesmith.registry.client import Client
from imagesmith.registry.endpoint import default_endpoint
from imagesmith.registry.faults import all_told, shown, traced
from imagesmith.registry.repository import Repository
from imagesmith.registry.transport import Transport
from imagesmith.values import replace
from tests.registry.conftest import free_port
from tests.registry.scripted import Asked, Scripted
from tests.registry.test_transport import BLOB, MANIFEST, answer, served
from tests.support import IMAGESMITH


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ("the quota of team-a is used up", "no (the quota of team-a is used up)"),
        ({"Tag": "1", "Why": {"limit": 5}}, "no (Tag=1, Why=limit=5)"),
        ([{"Name": "a", "Action": "pull"}, {"Name": "b"}], "no (Name=a, Action=pull; Name=b)"),
        (7, "no (7)"),
        (None, "no"),
        ({}, "no"),
        ([[[[["deep"]]]]], "no"),
        ("no", "no"),
    ],
)
def test_detail_is_told(detail: object, said: str) -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": "no", "detail": detail}]}).encode()
    with served(lambda _: answer(403, body)) as (server, client, _):
        with pytest.raises(RegistryError) as caught:
            client.get_manifest("1")
        where = f"{server.host}/a/b:1: denied: DENIED: {said} (status 403 from {server.host})"
        assert caught.value.message == where


def test_detail_without_message_is_told_and_long_ones_are_cut() -> None:
    body = json.dumps({"errors": [{"code": "X", "detail": "\x1b[31mlong " * 1000}]}).encode()
    with served(lambda _: answer(400, body)) as (_, client, _), pytest.raises(RegistryError) as caught:
        client.get_manifest("1")
    assert "X: \x1b[31mlong" in caught.value.message  # what is shown is cleaned on the screen
    assert len(caught.value.message) < 400


def test_page_of_a_proxy_is_told_by_its_title() -> None:
    page = b"<html>\n<head><title>413 Request Entity Too Large</title></head><body>nginx</body></html>"
    with served(lambda _: answer(413, page, Content_Type="text/html")) as (server, client, _):
        with pytest.raises(RegistryError) as caught:
            client.put_manifest("1", MANIFEST.raw, MANIFEST.media_type)
        assert "413 Request Entity Too Large (status 413 from " + server.host in caught.value.message


def test_every_mirror_is_told() -> None:
    ref = ImageRef.parse("reg.example/a/b:1")
    with (
        served(lambda _: answer(403, b'{"errors":[{"code":"DENIED"}]}')) as (one, first, _),
        served(lambda _: answer(200, b"<html>", Content_Type="text/html")) as (_, second, _),
        served(lambda _: answer(404)) as (last, third, _),
    ):
        place = Repository(ref, [first, second, third], third)
        with pytest.raises(NotFound) as caught:
            place.root()
        message = caught.value.message
        assert f"(status 404 from {last.host}) (before that: " in message
        assert f"DENIED (status 403 from {one.host}); " in message
        assert "answered with status 200 and text/html, as no registry does)" in message
        with pytest.raises(NotFound, match=f"status 403 from {one.host}"):
            list(place.pieces(BLOB))


def test_mirror_that_is_away_is_asked_for_a_moment_only() -> None:
    ref, waits = ImageRef.parse("reg.example/a/b:1"), list[float]()
    with served(lambda _: answer(200, MANIFEST.raw, Content_Type=MANIFEST.media_type)) as (_, own, _):
        away = replace(default_endpoint(f"127.0.0.1:{free_port()}"), mirror=True)
        with closing(Transport(away, wait=waits.append)) as transport:
            place = Repository(ref, [Client(transport, "a/b"), own], own)
            assert place.root().digest == MANIFEST.digest
            assert len(waits) == 2
            for _ in range(5):
                place._manifest("1")
            assert len(waits) == 2
            with pytest.raises(NetworkFault, match="cannot connect: connection refused"):
                Repository(ref, [Client(transport, "a/b")], own).root()


def test_mirror_that_answers_nonsense_is_passed_by() -> None:
    ref = ImageRef.parse("reg.example/a/b:1")
    with (
        served(lambda _: answer(200, b"<html>", Content_Type="text/html")) as (_, mirror, _),
        served(lambda _: answer(200, MANIFEST.raw, Content_Type=MANIFEST.media_type)) as (_, own, _),
    ):
        assert Repository(ref, [mirror, own], own).root().digest == MANIFEST.digest


def test_one_failure_is_itself_and_equal_ones_are_told_once() -> None:
    one, two = RegistryError("a", status=500), RegistryError("b", status=404, hint="c")
    assert all_told([one]) is one
    assert all_told([RegistryError("b"), two]) is two
    both = all_told([one, one, two])
    assert (both.message, both.hint) == ("b (before that: a)", "c")
    assert isinstance(both, RegistryError)
    assert both.status == 404
    mismatch: ImagesmithError = all_told([one, DigestMismatch("d")])
    assert isinstance(mismatch, DigestMismatch)


@pytest.mark.parametrize(
    ("url", "told", "in_trace"),
    [
        ("https://u:p@r.example/v2/a?X=s", "https://r.example/v2/a", "https://r.example/v2/a?…"),
        ("https://r.example/u?_state=s&digest=d", "https://r.example/u", "https://r.example/u?…&digest=d"),
        ("https://r.example/u?n=1&last=b", "https://r.example/u", "https://r.example/u?n=1&last=b"),
        ("https://r.example/@scope/x", "https://r.example/@scope/x", "https://r.example/@scope/x"),
    ],
)
def test_addresses_are_told_without_what_is_secret(url: str, told: str, in_trace: str) -> None:
    assert shown(url) == told
    assert traced(url) == in_trace


@pytest.mark.parametrize(
    "instruction", ["FROM {host}/team/app:1 AS app", "FROM scratch\nCOPY --from={host}/team/app:1 / /"]
)
def test_refusal_of_a_base_is_at_its_line(tmp_path: Path, instruction: str) -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": "no", "detail": "ask team-a"}]}).encode()

    def registry(_: Asked) -> tuple[int, Mapping[str, str], bytes]:
        return answer(403, body)

    with Scripted(registry) as server:
        text = "# base\n" + instruction.format(host=server.host) + "\n"
        (tmp_path / "Dockerfile").write_text(text)
        done = subprocess.run(
            [*IMAGESMITH, "build", str(tmp_path)],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "IMAGESMITH_ROOT": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=60,
        )
    lines = done.stderr.splitlines()
    assert f"Dockerfile:{text.count(chr(10))}" in lines
    assert any(set(line.strip(" |")) == {"^"} for line in lines)
    error = next(line for line in lines if line.startswith("error: "))
    assert f"denied: DENIED: no (ask team-a) (status 403 from {server.host})" in error
