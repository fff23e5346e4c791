"""What is pinned is what is built from, whatever a name or an address stands for by now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.context.git import GitRef
from imagesmith.context.named import GitContext
from imagesmith.embedded.registry import Registry
from imagesmith.errors import ContextError, DockerfileError
from imagesmith.events import nobody
from imagesmith.image.result import BuildResult
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.names import ImageRef
from imagesmith.request import BuildRequest, Output, Pins
from imagesmith.session import run_build
from imagesmith.settings import Access, Settings
from tests.gitserver import GitServer, git_server
from tests.kitchen import NOWHERE, Kitchen
from tests.web import git, repository, web

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    """A server of the repository `r`, whose `main` has two commits; `v1` is the first."""
    with git_server(tmp_path / "srv") as here:
        path = here.root / "r"
        repository(path, {"f": "one", "Dockerfile": "FROM scratch\nCOPY f /f\n"})
        (path / "f").write_text("two")
        git(path, "commit", "-qam", "two")
        yield here


def build(kitchen: Kitchen, text: str = "", **words: object) -> BuildResult:
    if text:
        (kitchen.context / "Dockerfile").write_text(text)
    request = BuildRequest(**{"context": str(kitchen.context), **words})  # type: ignore[arg-type]  # as said
    return run_build(request, Settings(root=kitchen.root), NOWHERE, nobody)


def file_of(kitchen: Kitchen, built: BuildResult, name: str) -> bytes:
    member = kitchen.layer(built).extractfile(name)
    assert member is not None
    return member.read()


def test_image_is_the_one_that_its_name_is_pinned_to(kitchen: Kitchen, tmp_path: Path) -> None:
    with Registry(tmp_path / "registry") as registry:
        name = f"{registry.host}/base:1"
        insecure = Access(insecure=True)
        pushed = {"tags": (ImageRef.parse(name),), "outputs": (Output(type="registry"),), "access": insecure}
        old, new = (build(kitchen, f"FROM scratch\nLABEL made={n}\n", **pushed) for n in (1, 2))
        text = f"FROM {name}\n"
        labels = build(kitchen, text, access=insecure).image.config.runtime.labels
        assert labels == {"made": "2"}  # what the store has under the name, and the registry
        pins = Pins(images={str(ImageRef.parse(name)): old.digest})
        for root in (kitchen.root, tmp_path / "empty"):
            kitchen.root = root
            found = build(kitchen, text, access=insecure, pins=pins)
            assert found.image.config.runtime.labels == {"made": "1"}
            again = build(kitchen, text, access=insecure).image.config.runtime.labels
            assert again == {"made": "2"}, "the pin is remembered for the tag"
    assert old.digest != new.digest


def test_repository_is_the_commit_that_its_address_is_pinned_to(kitchen: Kitchen, server: GitServer) -> None:
    first = git(server.root / "r", "rev-parse", "v1")
    url = server.url("r")
    pins = Pins(repositories={f"{url}#main": first, f"{url}#": first})
    for context in (f"{url}#main", url):
        assert file_of(kitchen, build(kitchen, context=context), "f") == b"two"
        assert file_of(kitchen, build(kitchen, context=context, pins=pins), "f") == b"one"
    added = build(kitchen, f"FROM scratch\nADD {url}#main /r/\n", pins=pins)
    assert file_of(kitchen, added, "r/f") == b"one"


def test_checksum_of_an_address_goes_before_its_pin() -> None:
    ref = GitRef.parse(f"https://git.example/r.git?ref=main&checksum={'1' * 40}")
    assert ref.pinned({ref.pin: "2" * 40}) == ref
    bare = GitRef.parse("https://git.example/r.git#main:sub")
    pinned = bare.pinned({"https://git.example/r.git#main": "2" * 40})
    assert (pinned.checksum, pinned.fetch_by_commit, pinned.subdir) == ("2" * 40, True, "sub")
    assert bare.pinned({}) == bare


def test_file_that_is_not_the_pinned_one_is_refused(kitchen: Kitchen) -> None:
    with web() as here:
        here.files["f"] = b"one"
        text, url = f"FROM scratch\nADD {here.url('f')} /f\n", here.url("f")
        pins = Pins(files={url: digest_bytes(b"one")})
        assert file_of(kitchen, build(kitchen, text, pins=pins), "f") == b"one"
        here.files["f"] = b"two"
        with pytest.raises(DockerfileError, match="digest mismatch") as e:
            build(kitchen, text, pins=pins)
        assert url in e.value.hint
        assert hashlib.sha256(b"two").hexdigest() in e.value.message
        with pytest.raises(DockerfileError, match="digest mismatch"):
            build(kitchen, context=url, pins=pins)


def test_source_that_others_named_gets_nothing_of_the_users_git(
    kitchen: Kitchen, server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.header = "Basic dTpw"
    for name, value in {
        "COUNT": "1", "KEY_0": f"http.{server.address}.extraHeader", "VALUE_0": "Authorization: Basic dTpw",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert file_of(kitchen, build(kitchen, context=server.url("r")), "f") == b"two"
    server.asked.clear()
    with pytest.raises(ContextError):
        build(kitchen, context=server.url("r"), is_foreign=True)
    named = {"src": GitContext(GitRef.parse(server.url("r")))}
    with pytest.raises(ContextError):
        build(kitchen, "FROM scratch\nCOPY --from=src f /f\n", contexts=named, is_foreign=True)
    assert {header for _, header in server.asked} == {""}
