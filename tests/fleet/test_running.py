"""Bakes by many machines: what one machine makes, each shared stage once, and what goes wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from tests.fleet.bakes import Bakery, base_layout

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
def bakery(tmp_path: Path) -> Iterator[Bakery]:
    with Registry(tmp_path / "registry") as registry:
        made = Bakery(tmp_path, registry.host)
        made.write({
            "docker-bake.hcl": _BAKE, "lib/Dockerfile": "FROM scratch\nCOPY lib /lib\n", "lib/lib": "lib",
            "app/Dockerfile": _APP, "app/one": "1", "app/two": "2", "app/a": "a", "app/b": "b", "app/c": "c",
            "app/.dockerignore": "Dockerfile\nsecret\n", "app/secret": "not sent",
        })  # fmt: skip
        yield made


def test_many_machines_make_what_one_makes_and_shared_stages_once(bakery: Bakery) -> None:
    done = bakery.bake()
    assert done.outcome.failed == [] and done.outcome.left == []
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
