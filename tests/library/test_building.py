"""Targets of bake files from Python: what comes of them, what they may not do, and how they fail."""

from __future__ import annotations

from pathlib import Path

import pytest

import imagesmith
from imagesmith.embedded.registry import Registry
from imagesmith.errors import DefinitionError, StepFailed, UsageError
from imagesmith.events import Event, StepStarted
from tests.registry.conftest import PASSWORD, USER, make_htpasswd

FILE = """\
variable "NAME" { default = "none" }
group "default" { targets = ["one", "two"] }
target "base" { context = "." }
target "one" {
  context = "."
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM base\\nCOPY docker-bake.hcl /one\\n"
  labels = { name = NAME }
}
target "two" {
  context = "."
  tags = ["two:1"]
}
target "outside" { context = "/etc" }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a definition, and a store elsewhere."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work/docker-bake.hcl").write_text(FILE)
    (tmp_path / "work/Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("IMAGESMITH_ROOT", str(tmp_path / "store"))
    return tmp_path / "work"


def test_targets_are_built_together_and_told_by_name(folder: Path) -> None:
    seen: list[Event] = []
    built = imagesmith.bake(variables={"NAME": "given"}, isolation="none", events=seen.append)
    assert list(built) == ["one", "two"]  # what another stands on is none that was asked for
    assert built["one"].image.config.runtime.labels == {"name": "given"}
    assert imagesmith.inspect("two:1").digest == built["two"].digest
    assert any(isinstance(e, StepStarted) and "[one " in e.name for e in seen)
    assert list(imagesmith.bake("t*", sets=["two.labels.x=y"], isolation="none")) == ["two"]


def test_what_is_not_allowed_is_an_error_that_says_what_allows_it(folder: Path) -> None:
    with pytest.raises(UsageError, match="privileges requested") as raised:
        imagesmith.bake("outside", isolation="none")
    assert raised.value.hint.startswith("allow=[")
    with pytest.raises(UsageError, match="failed to find target missing"):
        imagesmith.bake("missing", isolation="none")
    (folder / "broken.hcl").write_text("target {")
    with pytest.raises(DefinitionError):
        imagesmith.bake(files=["broken.hcl"], isolation="none")
    with pytest.raises(UsageError, match="builds nothing"):
        imagesmith.bake("two", sets=["two.call=lint"], isolation="none")
    with pytest.raises(UsageError):
        imagesmith.bake("two", sets=["nonsense"], isolation="none")


def test_step_of_a_target_that_fails_is_the_error(folder: Path, base_image: Path) -> None:
    (folder / "Dockerfile").write_text("FROM image\nRUN echo why; exit 9\n")
    with pytest.raises(StepFailed) as raised:
        imagesmith.bake("two", sets=[f"*.contexts.image=oci-layout://{base_image}"], allow=["fs=*"])
    assert raised.value.status == 9


def test_targets_are_pushed_with_credentials_that_are_given(folder: Path, tmp_path: Path) -> None:
    with Registry(tmp_path / "closed", htpasswd=make_htpasswd(tmp_path / "htpasswd")) as registry:
        name, smith = f"{registry.host}/two:1", imagesmith.Credentials(USER, PASSWORD)
        built = imagesmith.bake(
            "two", sets=[f"two.tags={name}"], push=True, isolation="none", credentials=smith
        )
        assert imagesmith.digest(name, credentials=smith) == built["two"].digest
