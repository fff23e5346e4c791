"""Where the parts of an image came from: images by index digest, repositories by commit, files by sha256."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagesmith.errors import UsageError
from imagesmith.image.result import BuildResult
from imagesmith.oci.names import host_platform
from imagesmith.store.store import Store
from tests.attest.conftest import EPOCH, Shelf
from tests.gitserver import GitServer, git_server
from tests.kitchen import Kitchen, tar_of
from tests.registry.images import make_image, make_index
from tests.web import Web, git, repository, web

ARCH = str(host_platform()).replace("/", "%2F")


def materials(shelf: Shelf, built: BuildResult) -> dict[str, dict[str, str]]:
    found = shelf.predicate(built)["buildDefinition"]["resolvedDependencies"]
    uris = [d["uri"] for d in found]
    assert uris == sorted(uris)
    return {d["uri"]: d["digest"] for d in found}


def made(kitchen: Kitchen, text: str, /, **words: Any) -> BuildResult:
    return kitchen.build(text, **{"tags": ["r.example/made"], **words})


def completeness(shelf: Shelf, built: BuildResult) -> bool:
    metadata = shelf.predicate(built)["runDetails"]["metadata"]
    return bool(metadata["imagesmith_completeness"]["resolvedDependencies"])


@pytest.fixture
def files() -> Iterator[Web]:
    """A server of files."""
    with web() as here:
        yield here


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    """A server of repositories."""
    with git_server(tmp_path / "srv") as here:
        yield here


@pytest.mark.parametrize("version", ["v1", "v0.2"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_no_word_of_a_query_is_told(
    kitchen: Kitchen, shelf: Shelf, files: Web, version: str, mode: str
) -> None:
    """Of a file that is added, the Dockerfile, a named context, an argument and a label."""
    files.files = {
        "f": b"text", "c.tar": tar_of({"g": b"more"}),
        "Dockerfile": f"FROM scratch\nARG WHERE\nADD $WHERE /f\nADD {files.url('f?a=hidden#b=hidden')} /g\n"
        "COPY --from=c g /h\n".encode(),
    }  # fmt: skip
    signed = "?token=hidden&hidden#hidden"
    built = kitchen.build(
        dockerfile=files.url(f"Dockerfile{signed}"), contexts={"c": files.url(f"c.tar{signed}")},
        build_args={"WHERE": files.url(f"f{signed}")}, labels={"l": f"see {files.url(f'f{signed}')}"},
        provenance=f"mode={mode},version={version}", tags=["a:1"],
    )  # fmt: skip
    predicate = shelf.predicate(built)
    said = json.dumps(predicate)
    for data in re.findall(r'"data": "([^"]+)"', said):
        said += base64.b64decode(data).decode()
    assert "hidden" not in said
    assert ("ADD $WHERE /f" in said) == (mode == "max")
    listed = (
        predicate["materials"] if version == "v0.2" else predicate["buildDefinition"]["resolvedDependencies"]
    )
    added = {
        "uri": files.url("f?token=xxxxx&xxxxx#xxxxx"),
        "digest": {"sha256": hashlib.sha256(b"text").hexdigest()},
    }
    assert added in listed


def test_a_base_without_layers_is_a_source_too(kitchen: Kitchen, shelf: Shelf) -> None:
    """Its config is in the image, be it by way of another stage; one that nothing stands on is none."""
    with Store(kitchen.root) as store:
        digests = {name: make_image(store, f"r.example/{name}:1", layers=()).digest for name in "abc"}
    kitchen.write({"f": "text"})
    text = (
        "FROM r.example/a:1 AS x\nFROM x AS y\nFROM r.example/b:1 AS z\nCOPY f /\nFROM r.example/c:1\n"
        "FROM y\nCOPY --from=z /f /\n"
    )
    built = made(kitchen, text, provenance="mode=min")
    found = {k: v for k, v in materials(shelf, built).items() if k.startswith("pkg:")}
    assert found == {
        f"pkg:docker/r.example/{name}@1?platform=linux%2Famd64": {"sha256": digests[name].hex}
        for name in "ab"
    }


def test_base_has_the_digest_of_what_its_name_stands_for(kitchen: Kitchen, shelf: Shelf) -> None:
    with Store(kitchen.root) as store:
        index = make_index(store, "r.example/base:1").digest
    built = made(
        kitchen,
        f"FROM r.example/base:1 AS x\nFROM scratch\nCOPY --from=x / /\n"
        f"COPY --from=r.example/base@{index} / /other/\n",
        provenance="mode=min",
    )
    found = materials(shelf, built)
    found.pop("local://dockerfile")
    assert found == {
        f"pkg:docker/r.example/base@1?platform={ARCH}": {"sha256": index.hex},
        f"pkg:docker/r.example/base?digest={index}&platform={ARCH}": {"sha256": index.hex},
    }


def test_image_of_a_layout_says_its_name_and_not_its_folder(
    kitchen: Kitchen, shelf: Shelf, tmp_path: Path
) -> None:
    import imagesmith

    with Store(kitchen.root) as store:
        index = make_index(store, "r.example/base:1").digest
    imagesmith.copy("store:r.example/base:1", f"oci:{tmp_path}/alices-layout:1", root=kitchen.root)
    built = made(
        kitchen,
        "FROM base\nCMD x\n",
        contexts={"base": f"oci-layout://{tmp_path}/alices-layout:1"},
        provenance=True,
    )
    (entry,) = built.attestations[str(host_platform())]
    (layer,) = shelf.json(entry.digest)["layers"]
    assert b"alices-layout" not in shelf.raw(layer["digest"])
    uri = next(uri for uri in materials(shelf, built) if uri.startswith("pkg:oci/base"))
    assert materials(shelf, built)[uri] == {"sha256": index.hex}
    request = shelf.predicate(built)["buildDefinition"]["externalParameters"]["request"]
    assert request["args"] == {"context:base": "oci-layout://base:1"}


def test_url_has_the_sha256_of_its_file(kitchen: Kitchen, shelf: Shelf, files: Web) -> None:
    files.files["f"] = b"data"
    login = files.url("f").replace("://", "://user:secret@")
    built = made(kitchen, f"FROM scratch\nADD {login} /f\n", provenance="mode=max")
    assert materials(shelf, built)[files.url("f")] == {"sha256": hashlib.sha256(b"data").hexdigest()}
    again = made(kitchen, f"FROM scratch\nADD {login} /f\n", provenance="mode=max")
    assert kitchen.executed == []
    assert materials(shelf, again) == materials(shelf, built)
    plan = shelf.predicate(built)["buildDefinition"]
    assert "secret" not in str(plan)


def test_repository_has_its_commit_as_a_source_and_as_the_context(
    kitchen: Kitchen, shelf: Shelf, server: GitServer
) -> None:
    repository(server.root / "r", {"Dockerfile": "FROM scratch\nCOPY app/f /f\n", "app/f": "f"})
    commit = git(server.root / "r", "rev-parse", "HEAD").strip()
    url = server.url("r")
    built = made(kitchen, f"FROM scratch\nADD {url}#main:app /\n", provenance="mode=min")
    assert materials(shelf, built)[f"{url}#main:app"] == {"sha1": commit}
    assert not completeness(shelf, built)

    built = made(kitchen, "", context=f"{url}#main", provenance="mode=min,complete-materials=true")
    assert materials(shelf, built) == {f"{url}#main": {"sha1": commit}}
    assert completeness(shelf, built)
    source = shelf.predicate(built)["buildDefinition"]["externalParameters"]["configSource"]
    assert source == {"uri": f"{url}#main", "digest": {"sha1": commit}}
    assert shelf.predicate(built)["runDetails"]["metadata"]["imagesmith_hermetic"] is True

    local = made(kitchen, "FROM scratch\nCOPY --from=r app/f /\n", contexts={"r": url}, provenance="mode=min")
    assert materials(shelf, local)[url] == {"sha1": commit}


def test_archive_as_the_context(kitchen: Kitchen, shelf: Shelf, files: Web) -> None:
    files.files["c.tar"] = tar_of({"Dockerfile": b"FROM scratch\nCOPY f /\n", "f": b"f"})
    digest = {"sha256": hashlib.sha256(files.files["c.tar"]).hexdigest()}
    built = made(kitchen, "", context=files.url("c.tar"), provenance="mode=min")
    assert materials(shelf, built) == {files.url("c.tar"): digest}
    built = made(
        kitchen, "FROM scratch\nCOPY --from=t f /\n", contexts={"t": files.url("c.tar")}, provenance=True
    )
    assert materials(shelf, built)[files.url("c.tar")] == digest


def test_dockerfile_from_elsewhere_is_where_the_build_is_configured(
    kitchen: Kitchen, shelf: Shelf, files: Web
) -> None:
    kitchen.write({"f": "f"})
    files.files["D"] = b"FROM scratch\nCOPY f /\n"
    built = made(kitchen, "", dockerfile=files.url("D"), provenance="mode=min")
    digest = {"sha256": hashlib.sha256(files.files["D"]).hexdigest()}
    source = shelf.predicate(built)["buildDefinition"]["externalParameters"]["configSource"]
    assert source == {"uri": files.url("D"), "digest": digest}
    assert list(materials(shelf, built)) == [files.url("D"), "local://context"]


def test_local_sources_are_named_by_their_context(kitchen: Kitchen, shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets/x").write_text("x")
    kitchen.write({"f": "f"})
    text = "FROM scratch\nCOPY f /\nCOPY --from=more x /\nFROM more AS all\n"
    built = made(kitchen, text, contexts={"more": str(tmp_path / "assets")}, provenance=True)
    assert list(materials(shelf, built)) == ["local://dockerfile", "local://more"]
    built = made(
        kitchen, text.rpartition("FROM")[0], contexts={"more": str(tmp_path / "assets")}, provenance=True
    )
    found = materials(shelf, built)
    assert list(found) == ["local://context", "local://dockerfile", "local://more"]
    dockerfile = (kitchen.context.parent / "Dockerfile").read_bytes()
    assert found["local://dockerfile"] == {"sha256": hashlib.sha256(dockerfile).hexdigest()}


def test_incomplete_sources_are_refused_where_complete_ones_are_asked_for(kitchen: Kitchen) -> None:
    kitchen.write({"f": "f"})
    with pytest.raises(UsageError, match=r"nobody else can fetch local://dockerfile$"):
        made(kitchen, "FROM scratch\nCOPY f /\n", provenance="complete-materials=true", tags=["a"])
    assert kitchen.executed == []  # nobody waits for a build of which this is known


def test_local_context_is_refused_beside_a_dockerfile_from_elsewhere(kitchen: Kitchen, files: Web) -> None:
    kitchen.write({"f": "f"})
    files.files["Dockerfile"] = b"FROM scratch\nCOPY f /\n"
    with pytest.raises(UsageError, match=r"nobody else can fetch local://context$"):
        made(kitchen, "", dockerfile=files.url("Dockerfile"), provenance="complete-materials=true")


@pytest.mark.slow
def test_address_of_a_repository_has_what_decides_its_files(
    kitchen: Kitchen, shelf: Shelf, tmp_path: Path
) -> None:
    with git_server(tmp_path / "srv") as server:
        repository(server.root / "r", {"sub/Dockerfile": "FROM scratch\nCOPY f /f\n", "sub/f": "x"})
        url = f"{server.url('r')}?mtime=commit#main:sub"
        built = kitchen.build(context=url, tags=["a:1"], provenance="mode=min", build_args=EPOCH)
        predicate = shelf.predicate(built)
    (source,) = predicate["buildDefinition"]["resolvedDependencies"]
    assert source["uri"] == url
    assert predicate["buildDefinition"]["externalParameters"]["configSource"] == source
