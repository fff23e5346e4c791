"""A registry that is stopped and started again, or before which proxies say so: transfers wait for it.

Times are a twentieth of the real ones, those of the client and those of the registry alike.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from imagesmith.errors import NetworkFault
from imagesmith.registry import transport
from tests.registry.conftest import free_port
from tests.registry.faultproxy import (
    Answer,
    Away,
    CutRequest,
    CutResponse,
    Fault,
    FaultProxy,
    Header,
    LostAnswer,
    Reset,
)
from tests.registry.test_faults import BLOB, IN_FLIGHT, MANIFEST, TOTAL, UPLOAD, World

_SCALE = 0.05
PROBE = "/v2/$"


@pytest.fixture(autouse=True)
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pauses, as short as the time in which the registry is away."""
    monkeypatch.setattr(transport, "_BASE_WAIT_S", transport._BASE_WAIT_S * _SCALE)
    monkeypatch.setattr(transport, "_MOST_WAIT_S", transport._MOST_WAIT_S * _SCALE)


@pytest.fixture
def world(proxy: FaultProxy, tmp_path: Path) -> World:
    return World(tmp_path, proxy.host)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [2, 5, 12])
@pytest.mark.parametrize(
    "where", [f"GET {PROBE}", f"HEAD {BLOB}", f"POST {UPLOAD}", f"PUT {UPLOAD}", f"PUT {MANIFEST}"]
)
def test_push_rides_out_a_restart(proxy: FaultProxy, world: World, where: str, seconds: float) -> None:
    method, _, path = where.partition(" ")
    proxy.on(method, path, Away(proxy, seconds * _SCALE))
    world.push()
    assert not proxy.unused
    world.pull()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [2, 5, 12])
def test_push_goes_on_where_it_was_after_a_restart(proxy: FaultProxy, world: World, seconds: float) -> None:
    """Cut in the middle of the largest layer; it is away when it is asked what it has."""
    proxy.on("PUT", f"{UPLOAD}.*{world.layer}", CutRequest(3_000_000))
    proxy.on("GET", UPLOAD, Away(proxy, seconds * _SCALE))
    world.push()
    assert not proxy.unused
    assert proxy.sent(UPLOAD) <= TOTAL + IN_FLIGHT
    world.pull()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [2, 5, 12])
@pytest.mark.parametrize("where", [PROBE, MANIFEST, BLOB])
def test_pull_rides_out_a_restart(proxy: FaultProxy, world: World, where: str, seconds: float) -> None:
    world.push()
    proxy.on("GET", where, Away(proxy, seconds * _SCALE))
    world.pull()
    assert not proxy.unused


@pytest.mark.slow
def test_push_waits_for_a_registry_that_is_not_up_yet(proxy: FaultProxy, world: World) -> None:
    proxy.go_away(12 * _SCALE)
    world.push()
    world.pull()


@pytest.mark.slow
@pytest.mark.parametrize("where", [f"GET {PROBE}", f"HEAD {BLOB}", f"POST {UPLOAD}", f"PUT {MANIFEST}"])
def test_push_survives_resets(proxy: FaultProxy, world: World, where: str) -> None:
    method, _, path = where.partition(" ")
    proxy.on(method, path, Reset(), times=5)
    world.push()
    assert not proxy.unused
    world.pull()


@pytest.mark.slow
@pytest.mark.parametrize("status", [425, 499, 520, 521, 522, 523, 524, 529])
def test_statuses_that_pass_are_tried_again(proxy: FaultProxy, world: World, status: int) -> None:
    for where in (f"HEAD {BLOB}", f"POST {UPLOAD}", f"PUT {UPLOAD}", f"PUT {MANIFEST}"):
        method, _, path = where.partition(" ")
        proxy.on(method, path, Answer(status, {"Content-Type": "text/html"}, b"<html>"), times=2)
    world.push()
    proxy.on("GET", MANIFEST, Answer(status), times=2)
    proxy.on("GET", BLOB, Answer(status), times=2)
    world.pull()
    assert not proxy.unused


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [Answer(416), Answer(400, {}, b'{"errors":[{"code":"DIGEST_INVALID"}]}')], ids=["416", "digest"]
)
def test_resume_that_is_refused_begins_anew(proxy: FaultProxy, world: World, fault: Fault) -> None:
    rest = f"{UPLOAD}.*{world.layer}"
    proxy.on("PUT", rest, CutRequest(3_000_000))
    proxy.on("PUT", rest, fault)
    world.push()
    assert not proxy.unused
    assert proxy.seen("PUT", rest)[-1].sent == max(e.sent for e in proxy.exchanges) == 6_000_000
    world.pull()


@pytest.mark.slow
@pytest.mark.parametrize("told", ["0-9999999", "0-5999999", "bytes 7-9", "", "0-0"])
def test_resume_from_where_nobody_was_begins_anew(proxy: FaultProxy, world: World, told: str) -> None:
    proxy.on("PUT", f"{UPLOAD}.*{world.layer}", CutRequest(3_000_000))
    proxy.on("GET", UPLOAD, Header("Range", told))
    world.push()
    assert not proxy.unused
    world.pull()


@pytest.mark.slow
def test_range_that_is_refused_is_asked_for_whole(proxy: FaultProxy, world: World) -> None:
    world.push()
    proxy.on("GET", world.layer, CutResponse(3_000_000))
    proxy.on("GET", world.layer, Answer(416))
    world.pull()
    assert not proxy.unused


@pytest.mark.slow
def test_blob_whose_end_arrived_is_not_sent_again(proxy: FaultProxy, world: World) -> None:
    """The answer alone was lost: the session is gone, the blob is there."""
    proxy.on("PUT", f"{UPLOAD}.*{world.layer}", LostAnswer())
    world.push()
    assert not proxy.unused
    assert proxy.sent(UPLOAD) <= TOTAL + IN_FLIGHT


def test_registry_that_is_nowhere_is_said_once_and_soon(tmp_path: Path) -> None:
    world = World(tmp_path, f"127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(NetworkFault, match="cannot connect: connection refused") as caught:
        world.push()
    assert time.monotonic() - began < 10
    assert "Errno" not in caught.value.message
