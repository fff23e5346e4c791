"""Bakes by many machines: what one machine makes, each shared stage once, and what goes wrong on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from imagesmith.embedded.wire import Request, Response
from imagesmith.fleet.running import How
from tests.fleet.bakes import Bakery, base_layout
from tests.support import PROJECT

_SHARED = """
FROM scratch AS common
COPY one /one
COPY two /two
FROM common AS target
ARG NAME
COPY $NAME /own
ENV NAME=$NAME
"""
_BAKE = """
variable "HOST" {}
group "default" { targets = ["lib", "app"] }
target "lib" {
  context = "lib"
  platforms = ["linux/amd64", "linux/arm64"]
  tags = ["${HOST}/shop/lib:1"]
}
target "app" {
  name = "app-${name}"
  matrix = { name = ["a", "b", "c"] }
  context = "app"
  contexts = { lib = "target:lib" }
  platforms = ["linux/amd64", "linux/arm64"]
  args = { NAME = name }
  annotations = ["manifest:org.example.name=${name}", "index:org.example.index=${name}"]
  tags = ["${HOST}/shop/${name}:1", "${HOST}/shop/${name}:latest"]
}
"""
_APP = _SHARED.replace("COPY two /two", "COPY two /two\nCOPY --from=lib /lib /lib")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry") as registry:
        yield registry


@pytest.fixture
def bakery(tmp_path: Path, registry: Registry) -> Bakery:
    made = Bakery(tmp_path, registry.host)
    made.write({
        "docker-bake.hcl": _BAKE, "lib/Dockerfile": "FROM scratch\nCOPY lib /lib\n", "lib/lib": "lib",
        "app/Dockerfile": _APP, "app/one": "1", "app/two": "2", "app/a": "a", "app/b": "b", "app/c": "c",
        "app/.dockerignore": "Dockerfile\nsecret\n", "app/secret": "not sent",
    })  # fmt: skip
    return made


def test_many_machines_make_what_one_makes_and_shared_stages_once(bakery: Bakery) -> None:
    done = bakery.bake()
    assert done.outcome.failed == []
    assert done.outcome.left == []
    found = {name: str(image.descriptor.digest) for name, image in done.images.items()}
    executed = [step for verdict in done.outcome.verdicts.values() for step in verdict.steps]
    assert sum("/one" in step for step in executed) == 1  # COPY into nothing is one step for all platforms
    assert sum("/own" in step for step in executed) == 3
    assert found == bakery.local()
    assert set(found) == {"lib", "app-a", "app-b", "app-c"}


def test_a_second_run_does_nothing(bakery: Bakery) -> None:
    first = bakery.bake("app-a")
    begun = list(bakery.engine.begun)
    again = bakery.bake("app-a")
    assert bakery.engine.begun == begun
    assert again.outcome.found == set(first.outcome.verdicts)
    assert again.images == first.images


def test_run_steps_are_executed_where_the_unit_is(bakery: Bakery, tmp_path: Path) -> None:
    layout = base_layout(tmp_path / "base")
    bakery.write({
        "docker-bake.hcl": 'variable "HOST" {}\ntarget "default" {\n  name = "x${n}"\n'
        '  matrix = { n = ["1", "2"] }\n  args = { N = n }\n'
        f'  contexts = {{ base = "oci-layout://{layout}" }}\n'
        '  tags = ["${HOST}/x${n}"]\n}\n',
        "Dockerfile": "FROM base AS made\nRUN echo made > /made\nFROM made\nARG N\nRUN echo $N > /n\n",
    })  # fmt: skip
    done = bakery.bake()
    assert [verdict.told for verdict in done.outcome.failed] == []
    executed = [step for verdict in done.outcome.verdicts.values() for step in verdict.steps]
    assert sum("echo made" in step for step in executed) == 1
    found = {name: str(image.descriptor.digest) for name, image in done.images.items()}
    assert found == bakery.local()


def test_a_failed_unit_tells_its_line_and_others_are_finished(bakery: Bakery) -> None:
    (bakery.folder / "app/b").unlink()
    done = bakery.bake(keep_going=True)
    failed = done.outcome.failed
    assert {verdict.name for verdict in failed} == {"app-b linux/amd64"}
    assert failed[0].file.endswith("Dockerfile")
    assert (bakery.folder / "app/Dockerfile").read_text().split("\n")[failed[0].line - 1] == "COPY $NAME /own"
    assert failed[0].status == 5
    assert set(done.images) == {"lib", "app-a", "app-c"}
    assert {unit.name for unit in done.outcome.left} == {"app-b linux/arm64"}
    bakery.write({"app/b": "b"})
    assert set(bakery.bake().images) == {"lib", "app-a", "app-b", "app-c"}


def test_without_keep_going_a_failed_unit_ends_it(bakery: Bakery) -> None:
    (bakery.folder / "lib/lib").unlink()
    done = bakery.bake()
    assert [verdict.line for verdict in done.outcome.failed] == [2]
    assert bakery.engine.begun == ["lib linux/amd64"]
    assert done.images == {}
    assert len(done.outcome.left) == len(done.units) - 1


def test_a_client_that_was_killed_goes_on_where_it_was(bakery: Bakery, tmp_path: Path) -> None:
    last = "app-a common linux/amd64: done"
    words = [sys.executable, "-m", "tests.fleet.bakes", str(tmp_path), bakery.host, last]
    killed = subprocess.run(words, cwd=PROJECT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    done = bakery.bake()
    assert len(done.outcome.found) == 3
    assert "app-a common linux/amd64" not in bakery.engine.begun
    assert len(bakery.engine.begun) == len(done.units) - 3
    assert set(done.images) == {"lib", "app-a", "app-b", "app-c"}


def test_a_process_that_is_lost_is_begun_again(bakery: Bakery) -> None:
    bakery.engine.lose = 1
    done = bakery.bake("lib")
    assert set(done.images) == {"lib"}
    assert "lib linux/amd64: it ended without a verdict; it is begun again" in bakery.told


def test_a_registry_that_is_away_for_a_while_ends_nothing(bakery: Bakery, registry: Registry) -> None:
    def away(text: str) -> None:
        bakery.told.append(text)
        if text == "lib linux/amd64: done":
            refuse_for(registry, 3.0)

    with bakery.client() as (client, requests, units):
        client._how = How(poll_s=0.05, tell=away)
        done = client.run(requests, units, bakery.engine)
    assert done.outcome.failed == []
    assert set(done.images) == {"lib", "app-a", "app-b", "app-c"}


def refuse_for(registry: Registry, seconds: float) -> None:
    """Let a registry answer 503 to everything for a while."""
    server = registry._server
    answer, ends = server._answer, time.monotonic() + seconds

    def refused(request: Request) -> Response:
        if time.monotonic() > ends:
            return answer(request)
        return Response(503, [("Content-Length", "0")])

    server._answer = refused
