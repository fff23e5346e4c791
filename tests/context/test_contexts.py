"""Contexts of every kind, built from: folders, streams, archives and repositories, named ones beside them."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagesmith.errors import ContextError, IntegrityError, MissingSource, UsageError
from imagesmith.events import Message
from tests.kitchen import OLD_S, Kitchen, tar_of
from tests.registry.faultproxy import Answer, FaultProxy
from tests.support import need_program
from tests.web import Web, git, publish, repository, web

COPY_F = "FROM scratch\nCOPY f /f\n"
SOURCES: dict[str, bytes | str] = {"Dockerfile": COPY_F.encode(), "f": b"text"}


@pytest.fixture
def site() -> Iterator[Web]:
    """A web server."""
    with web() as here:
        yield here


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that puts bytes on standard input."""

    def put(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return put


# --- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_tar_on_standard_input_is_the_context(kitchen: Kitchen, stdin: Any, pack: Any) -> None:
    stdin(pack(tar_of(SOURCES)))
    built = kitchen.build(context="-")
    assert kitchen.layer(built).getmember("f").mtime == OLD_S


def test_a_tar_may_have_its_dockerfile_elsewhere(kitchen: Kitchen, stdin: Any) -> None:
    stdin(tar_of({"sub/": b"", "sub/My": COPY_F.encode(), "f": b"text"}))
    assert kitchen.names(kitchen.build(context="-", dockerfile="sub/My")) == ["f"]


def test_a_dockerfile_that_is_a_link_stays_inside_a_streamed_context(
    kitchen: Kitchen, stdin: Any, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    canary.write_text("FROM scratch\nLABEL read=it\n")
    stdin(tar_of({"Dockerfile": f"-> {canary}"}))
    with pytest.raises(ContextError, match="failed to read dockerfile: Dockerfile is a link"):
        kitchen.build(context="-")
    stdin(tar_of({"real": COPY_F.encode(), "f": b"text", "Dockerfile": "-> /../real"}))
    assert kitchen.names(kitchen.build(context="-")) == ["f"]


def test_a_tar_that_ends_within_a_file_is_refused(kitchen: Kitchen, stdin: Any) -> None:
    stdin(tar_of(SOURCES | {"f": bytes(20_000)})[:-15_000])
    with pytest.raises(IntegrityError, match="unexpected EOF"):
        kitchen.build(context="-")


def test_a_dockerfile_on_standard_input_has_an_empty_context(kitchen: Kitchen, stdin: Any) -> None:
    stdin(b"FROM scratch\nCOPY <<E /e\nx\nE\n")
    assert kitchen.names(kitchen.build(context="-")) == ["e"]
    stdin(COPY_F.encode())
    with pytest.raises(MissingSource, match='"/f": not found'):
        kitchen.build(context="-")


def test_only_the_dockerfile_may_come_from_standard_input(kitchen: Kitchen, stdin: Any) -> None:
    kitchen.write({"f": "text"})
    stdin(COPY_F.encode())
    assert kitchen.names(kitchen.build(dockerfile="-")) == ["f"]


def test_a_damaged_tar_is_one_clear_error(kitchen: Kitchen, stdin: Any) -> None:
    stdin(tar_of(SOURCES)[:1500])
    with pytest.raises((ContextError, IntegrityError), match="unexpected EOF"):
        kitchen.build(context="-")


def test_a_hostile_tar_does_not_leave_its_folder(kitchen: Kitchen, stdin: Any, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("alive")
    stdin(
        tar_of(
            {
                "Dockerfile": b"FROM scratch\nCOPY . /\n",
                "out": f"-> {tmp_path}",
                "out/canary": b"dead",
                "../../canary": b"dead",
                "l": f"-> {canary}",
            }
        )
    )
    built = kitchen.build(context="-")
    assert canary.read_text() == "alive"
    assert f"{tmp_path}/canary".strip("/") in kitchen.names(
        built
    )  # the link leads to a folder of the context


def test_a_hard_link_of_a_tar_out_of_it_is_refused(kitchen: Kitchen, stdin: Any) -> None:
    stdin(tar_of({"Dockerfile": b"FROM scratch\nCOPY . /\n", "h": "=> etc/passwd"}))
    with pytest.raises((ContextError, IntegrityError), match="hard link"):
        kitchen.build(context="-")


# --- URLs --------------------------------------------------------------------------------------


def test_an_archive_behind_a_url_is_the_context(kitchen: Kitchen, site: Web) -> None:
    site.files["c.tgz"] = gzip.compress(tar_of(SOURCES))
    assert kitchen.names(kitchen.build(context=site.url("c.tgz"))) == ["f"]


def test_anything_else_behind_a_url_is_the_dockerfile(kitchen: Kitchen, site: Web) -> None:
    site.files["x"] = b"FROM scratch\nCOPY x /got\n"
    assert kitchen.names(kitchen.build(context=site.url("x"))) == ["got"]


def test_the_dockerfile_may_be_behind_a_url(kitchen: Kitchen, site: Web) -> None:
    kitchen.write({"f": "text"})
    site.files["D"] = COPY_F.encode()
    assert kitchen.names(kitchen.build(dockerfile=site.url("D"))) == ["f"]


def test_a_missing_url_is_told_with_its_status(kitchen: Kitchen, site: Web) -> None:
    with pytest.raises(ContextError, match="invalid response status 404"):
        kitchen.build(context=site.url("no.tar"))


def test_a_server_that_is_waited_for_is_told(kitchen: Kitchen, site: Web) -> None:
    site.files["x"] = b"FROM scratch\nCOPY x /got\n"
    with FaultProxy(site.address.rpartition("/")[2]) as proxy:
        proxy.on("GET", "/x", Answer(503, {"Retry-After": "1"}))
        kitchen.build(context=f"http://{proxy.host}/x")
    told = [e.text for e in kitchen.events if isinstance(e, Message)]
    assert f"{proxy.host}: waiting 1 s as the server asks (status 503)" in told


@pytest.mark.parametrize("address", ["http://[", "http://[/x.git", "http://h:x/f"])
def test_what_is_no_url_is_told_as_such(kitchen: Kitchen, address: str) -> None:
    with pytest.raises(ContextError, match="failed to load"):
        kitchen.build(context=address)
    with pytest.raises(ContextError, match="failed to load"):
        kitchen.build(f'FROM scratch\nADD ["{address}", "/x"]\n')


def test_a_named_url_is_one_file_or_a_tree(kitchen: Kitchen, site: Web) -> None:
    site.files["one"] = b"text"
    site.files["c.tar"] = tar_of({"d/": b"", "d/f": b"text"})
    built = kitchen.build(
        "FROM scratch\nCOPY --from=one context /one\nCOPY --from=tree d /d\n",
        contexts={"one": site.url("one"), "tree": site.url("c.tar")},
    )
    assert kitchen.names(built, 0) + kitchen.names(built, 1) == ["one", "d", "d/f"]


# --- repositories ------------------------------------------------------------------------------


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository of one commit."""
    need_program("git")
    repository(
        tmp_path / "repo", {"Dockerfile": COPY_F, "f": "text", "sub/Dockerfile": COPY_F, "sub/f": "below"}
    )
    return tmp_path / "repo"


@pytest.mark.slow
@pytest.mark.parametrize(
    "form", ["", "#main", "#v1", "#:sub", "#v1:sub", "?branch=main&subdir=sub", "?tag=v1"]
)
def test_a_repository_is_the_context(kitchen: Kitchen, site: Web, repo: Path, form: str) -> None:
    built = kitchen.build(context=publish(site, repo, "r") + form)
    content = kitchen.layer(built).extractfile("f")
    assert content is not None
    assert content.read() == (b"below" if "sub" in form else b"text")


@pytest.mark.slow
def test_a_repository_without_such_a_ref_is_told(kitchen: Kitchen, site: Web, repo: Path) -> None:
    with pytest.raises(ContextError, match="does not contain ref nope"):
        kitchen.build(context=publish(site, repo, "r") + "#nope")


@pytest.mark.slow
def test_a_dockerfile_of_a_repository_is_named_within_it(kitchen: Kitchen, site: Web, repo: Path) -> None:
    built = kitchen.build(context=publish(site, repo, "r"), dockerfile="sub/Dockerfile")
    assert kitchen.names(built) == ["f"]


@pytest.mark.slow
def test_git_directory_is_kept_when_it_is_asked_for(kitchen: Kitchen, site: Web, repo: Path) -> None:
    address = publish(site, repo, "r")
    text = "FROM scratch\nCOPY --from=src . /\n"
    assert ".git" not in kitchen.names(kitchen.build(text, contexts={"src": address}))
    (repo / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    git(repo, "commit", "-qam", "two")
    address = publish(site, repo, "r")
    kept = kitchen.build(context=address, build_args={"BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1"})
    assert ".git/HEAD" in kitchen.names(kept)


# --- named ones --------------------------------------------------------------------------------


def test_a_named_folder_has_its_own_ignore_file(kitchen: Kitchen, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name, text in {"a": "a", "b": "b", ".dockerignore": "b\n.dockerignore\n"}.items():
        (other / name).write_text(text)
    built = kitchen.build("FROM scratch\nCOPY --from=o . /\n", contexts={"o": str(other)})
    assert kitchen.names(built) == ["a"]


def test_a_named_context_takes_the_place_of_a_stage(kitchen: Kitchen, tmp_path: Path) -> None:
    (tmp_path / "stage").mkdir()
    (tmp_path / "stage/f").write_text("text")
    text = "FROM scratch AS s\nCOPY missing /\nFROM scratch\nCOPY --from=s / /\n"
    assert kitchen.names(kitchen.build(text, contexts={"s": str(tmp_path / "stage")})) == ["f"]


def test_an_image_name_can_stand_for_nothing(kitchen: Kitchen) -> None:
    built = kitchen.build("FROM alpine\nWORKDIR /w\n", contexts={"alpine": "docker-image://scratch"})
    assert kitchen.names(built) == ["w"]


def test_a_layout_takes_the_place_of_an_image(kitchen: Kitchen, tmp_path: Path) -> None:
    base = kitchen.build(
        "FROM scratch\nWORKDIR /w\n", tags=["b:7"], outputs=[f"type=oci,tar=false,dest={tmp_path / 'b'}"]
    )
    for place in (f"{tmp_path / 'b'}", f"{tmp_path / 'b'}:7", f"{tmp_path / 'b'}@{base.digest}"):
        built = kitchen.build(
            "FROM alpine:latest\nWORKDIR /x\n", contexts={"alpine": f"oci-layout://{place}"}
        )
        assert built.image.config.diff_ids[0] == base.image.config.diff_ids[0]


def test_an_image_of_a_layout_is_the_one_that_its_digest_names(kitchen: Kitchen, tmp_path: Path) -> None:
    one, two = (
        kitchen.build(f"FROM scratch\nWORKDIR /{n}\n", outputs=[f"type=oci,tar=false,dest={tmp_path / n}"])
        for n in ("one", "two")
    )
    blobs = tmp_path / "one" / "blobs" / "sha256"
    other = (tmp_path / "two" / "blobs" / "sha256" / two.digest.hex).read_bytes()
    (blobs / one.digest.hex).chmod(0o644)
    (blobs / one.digest.hex).write_bytes(other)
    (tmp_path / "one" / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')
    with pytest.raises(IntegrityError):
        kitchen.build("FROM a\n", contexts={"a": f"oci-layout://{tmp_path / 'one'}@{one.digest}"})


@pytest.mark.parametrize(
    ("name", "place", "message"),
    [
        ("a", "/no/where", "stat /no/where"),
        ("a", "target:b", "bake"),
        ("A B", "/", "invalid context name A B"),
    ],
)
def test_a_named_context_that_cannot_be_is_refused(
    kitchen: Kitchen, name: str, place: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        kitchen.build(COPY_F, contexts={name: place})


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["Dockerfile", "dockerfile", "Containerfile"], "Dockerfile"),
        (["dockerfile", "Containerfile"], "dockerfile"),
        (["Containerfile"], "Containerfile"),
        (["containerfile"], ""),
        ([], ""),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_containerfile_is_the_last_name_that_is_looked_for(
    kitchen: Kitchen, stdin: Any, names: list[str], taken: str, streamed: bool
) -> None:
    texts: dict[str, bytes | str] = {name: f"FROM scratch\nENV n={name}\n".encode() for name in names}
    texts |= {"Containerfile.dockerignore": b"f\n", "f": b"1"}
    kitchen.write(texts)
    stdin(tar_of(texts))
    words = {"context": "-"} if streamed else {}
    if taken:
        assert f"n={taken}" in kitchen.build(**words).image.config.runtime.env
    else:
        with pytest.raises(ContextError, match="open Dockerfile: no such file"):
            kitchen.build(**words)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("../nowhere", "`..` ends at the context: ../nowhere is /nowhere"),
        ("/a/../../x", "`..` ends at the context: /a/../../x is /x"),
        ("a/../nowhere", ""),
        ("..nowhere", ""),
    ],
)
def test_a_source_beyond_the_context_is_told_where_it_leads(kitchen: Kitchen, source: str, hint: str) -> None:
    kitchen.write({"f": "1\n"})
    with pytest.raises(MissingSource) as caught:
        kitchen.build(f"FROM scratch\nCOPY {source} /\n")
    assert caught.value.hint == hint
    kitchen.build("FROM scratch\nCOPY ../../f /\n")
