"""kaniko: flags of the executor are honoured, passed over, or refused by name; contexts of every kind."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import re
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest

from imagesmith.cli.foreign import lines_of
from imagesmith.cli.kaniko import words_of
from imagesmith.cli.kanikocontext import Place, found_context
from imagesmith.cli.kanikoflags import add_kaniko_flags
from imagesmith.cli.kanikohosts import HostWords, write_hosts
from imagesmith.cli.parser import Parser
from imagesmith.embedded.registry import Registry
from imagesmith.errors import ContextError, UsageError
from imagesmith.settings import Access
from tests.cli.conftest import Run
from tests.gitserver import git_server
from tests.kitchen import tar_of
from tests.registry.conftest import PASSWORD, USER, make_certificate, make_htpasswd
from tests.support import IMAGESMITH
from tests.web import repository, web

#: Every flag of kaniko 1.24, as its root.go declares them.
FLAGS = """
verbosity log-format log-timestamp force whitelist-var-run dockerfile context context-sub-path bucket
destination snapshot-mode custom-platform build-arg insecure skip-tls-verify insecure-pull
skip-tls-verify-pull push-retry image-fs-extract-retry image-download-retry kaniko-dir tar-path
single-snapshot reproducible target no-push no-push-cache cache-repo cache-dir digest-file
image-name-with-digest-file image-name-tag-with-digest-file oci-layout-path cache compressed-caching
cleanup cache-ttl insecure-registry skip-tls-verify-registry registry-certificate registry-client-cert
registry-mirror registry-map skip-default-registry-fallback ignore-var-run label skip-unused-stages
use-new-run git cache-copy-layers cache-run-layers ignore-path force-build-metadata
skip-push-permission-check push-ignore-immutable-tag-errors credential-helpers compression
compression-level snapshotMode customPlatform tarPath azure-container-registry-config
"""


def parsed(*words: str) -> argparse.Namespace:
    parser = Parser(prog="imagesmith kaniko")
    add_kaniko_flags(parser)
    return parser.parse_args(words)


def words(*flags: str) -> list[str]:
    return words_of(parsed(*flags), Place("."))


def packed(files: dict[str, str]) -> bytes:
    """A tar as the clouds' buckets have it."""
    return gzip.compress(tar_of({name: content.encode() for name, content in files.items()}))


def layer_files(folder: Path) -> list[str]:
    """The files of an archive's layers."""
    names = []
    with tarfile.open(folder) as tar:
        [image] = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        for layer in image["Layers"]:
            with tarfile.open(fileobj=tar.extractfile(layer)) as files:
                names += [m.name for m in files if m.isfile()]
    return names


def test_every_flag_of_the_executor_is_known() -> None:
    parser = Parser(prog="imagesmith kaniko")
    add_kaniko_flags(parser)
    known = set(parser._option_string_actions)
    for line in lines_of("kaniko"):
        names, equals, reason = line.partition(" = ")
        assert equals
        assert reason, line
        passed = names.split()[1:]
        assert not known & set(passed), line
        known |= set(passed)
    assert {f"--{name}" for name in FLAGS.split()} - known == set()


def test_a_pipeline_of_kaniko_pushes_and_writes_its_files(run: Run, context: Path, host: str) -> None:
    run(
        "kaniko", f"--context=dir://{context}", f"--dockerfile={context}/Dockerfile", "--insecure",
        f"--destination={host}/team/app:1", f"--destination={host}/team/app:latest", "--digest-file=digest",
        "--image-name-with-digest-file=names", "--image-name-tag-with-digest-file=tagged", "--label=a=b",
        "--force", "--snapshot-mode=redo", "--use-new-run=true", "--cleanup", "--push-retry", "3",
        "--tar-path=image.tar", "--oci-layout-path=layout", "--cache=true", "--verbosity=debug",
    )  # fmt: skip
    digest = Path("digest").read_text()
    assert re.fullmatch("sha256:[0-9a-f]{64}", digest)
    assert Path("names").read_text() == f"{host}/team/app@{digest}\n" * 2
    assert Path("tagged").read_text() == "".join(f"{host}/team/app:{t}@{digest}\n" for t in ("1", "latest"))
    assert run("digest", f"{host}/team/app:latest").strip() == digest
    assert json.loads(run("inspect", f"docker://{host}/team/app:1"))["Labels"] == {"a": "b"}
    assert layer_files(Path("image.tar")) == ["f"]
    assert json.loads(Path("layout/index.json").read_text())["manifests"][0]["digest"] == digest
    assert "imagesmith" in run("tags", f"{host}/team/app/cache")


def test_files_are_written_in_their_place(run: Run, context: Path) -> None:
    log = Path("log")
    log.write_text("before")
    inode = log.stat().st_ino
    run("kaniko", "-c", str(context), "--no-push", "--digest-file", "log")
    assert log.read_text().startswith("sha256:")
    assert log.stat().st_ino == inode


def test_without_push_nothing_is_sent(run: Run, context: Path, host: str) -> None:
    run("kaniko", "-c", str(context), "--no-push", "-d", f"{host}/team/app:1", "--insecure")
    assert run("catalog", host) == ""
    assert run("inspect", f"store:{host}/team/app:1")


def test_reproducible_images_are_of_1970_and_equal(run: Run, context: Path) -> None:
    found = set()
    for n in (1, 2):
        (context / "f").touch()
        run("kaniko", "-c", str(context), "--no-push", "-d", f"app:{n}", "--reproducible", "--digest-file=d",
            "--root", f"store-{n}")  # fmt: skip
        found.add(Path("d").read_text())
    assert len(found) == 1
    assert '"Created": "1970-01-01T00:00:00Z"' in run("inspect", "store:app:1", "--root", "store-1")


def test_a_single_snapshot_is_one_layer(run: Run, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY f /f\nCOPY f /g\n")
    for flags, count in (((), 2), (("--single-snapshot",), 1)):
        run("kaniko", "-c", str(context), "--no-push", "-d", "app:1", *flags)
        assert len(json.loads(run("inspect", "store:app:1"))["Layers"]) == count


@pytest.mark.parametrize("kind", ["file", "stdin", "part"])
def test_archives_are_contexts(run: Run, tmp_path: Path, kind: str) -> None:
    files = {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "text"}
    if kind == "part":
        files = {f"a/b/{name}": content for name, content in files.items()}
    Path("context.tar.gz").write_bytes(packed(files))
    place = "tar://stdin" if kind == "stdin" else f"tar://{tmp_path}/context.tar.gz"
    part = ["--context-sub-path=a/b"] if kind == "part" else []
    stdin = Path("context.tar.gz").read_bytes() if kind == "stdin" else b""
    run("kaniko", "-c", place, *part, "--no-push", "-d", "app:1", "--tar-path=out.tar", stdin=stdin)
    assert layer_files(Path("out.tar")) == ["f"]


def test_a_part_of_an_archive_stays_below_it(run: Run, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        link = tarfile.TarInfo("part")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
    Path("hostile.tar").write_bytes(out.getvalue())
    said = run("kaniko", "-c", "tar://hostile.tar", "--context-sub-path=part", "--no-push", status=5)
    assert "leads out of the context" in said


def test_public_objects_of_a_bucket_are_contexts(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with web() as server:
        monkeypatch.setenv("S3_ENDPOINT", server.address)
        monkeypatch.setenv("S3_FORCE_PATH_STYLE", "true")
        server.files["bucket/deep/app.tar.gz"] = packed({"Dockerfile": "FROM scratch\nCOPY f /\n", "f": "x"})
        flags = ("--no-push", "-d", "app:1", "--tar-path=out.tar")
        run("kaniko", "-c", "s3://bucket/deep/app.tar.gz", *flags)
        assert layer_files(Path("out.tar")) == ["f"]
        said = run("kaniko", "-c", "s3://bucket/other.tar.gz", *flags, status=5)
        assert "aws s3 presign" in said


def test_repositories_are_cloned_with_their_history(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_PULL_METHOD", "http")
    with git_server(tmp_path / "repositories") as server:
        part = {"sub/Dockerfile": "FROM scratch\nCOPY g /\n", "sub/g": "y"}
        files = {"Dockerfile": "FROM scratch\nCOPY . /\n", "f": "x", **part}
        repository(server.root / "app", files)
        address = server.url("app").partition("://")[2]
        flags = ("--no-push", "-d", "app:1", "--tar-path=out.tar")
        run("kaniko", "-c", f"git://{address}", *flags)
        assert {"f", ".git/HEAD"} <= set(layer_files(Path("out.tar")))
        run("kaniko", "-c", f"git://{address}", "--context-sub-path=sub", *flags)
        assert layer_files(Path("out.tar")) == ["g"]


@pytest.mark.parametrize(
    ("place", "git", "address"),
    [
        ("git://h/o/r", "", "https://h/o/r.git?submodules=false"),
        ("git://h/o/r.git#refs/heads/x", "", "https://h/o/r.git?submodules=false&ref=refs%2Fheads%2Fx"),
        ("git://h/o/r#refs/heads/x#abc", "", "https://h/o/r.git?submodules=false&ref=abc"),
        ("https://h/o/r.git#v1", "", "https://h/o/r.git?submodules=false&ref=v1"),
        ("github.com/o/r", "branch=b,recurse-submodules=true", "https://github.com/o/r.git?ref=b"),
    ],
)
def test_addresses_of_repositories(tmp_path: Path, place: str, git: str, address: str) -> None:
    with found_context(place, "sub", "Dockerfile", git, tmp_path, Access()) as found:
        assert found == Place(f"{address}&subdir=sub")


def test_logins_of_repositories_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_USERNAME", "me")
    monkeypatch.setenv("GIT_PASSWORD", "a/b")
    with found_context("git://h/o/r", "", "Dockerfile", "", tmp_path, Access()) as found:
        assert found.context.startswith("https://me:a%2Fb@h/o/r.git?")
    monkeypatch.setenv("GIT_TOKEN", "token")
    with found_context("git://h/o/r", "", "x/Dockerfile", "", tmp_path, Access()) as found:
        assert found.context.startswith("https://token:@h/o/r.git?")
        assert found.dockerfile == "x/Dockerfile"


@pytest.mark.parametrize("place", ["ftp://h/x", "s3://", "https://"])
def test_contexts_that_are_none(tmp_path: Path, place: str) -> None:
    with (
        pytest.raises((UsageError, ContextError)),
        found_context(place, "", "Dockerfile", "", tmp_path, Access()),
    ):
        pass


def test_a_dockerfile_here_goes_before_the_context_s(
    tmp_path: Path, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with found_context(str(context), "", "Dockerfile", "", tmp_path, Access()) as found:
        assert found.dockerfile == f"{context}/Dockerfile"
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with found_context(str(context), "", "Dockerfile", "", tmp_path, Access()) as found:
        assert found.dockerfile == "Dockerfile"


def test_kaniko_s_folder_has_the_credentials(
    run: Run, context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", "")
    Path("k/.docker").mkdir(parents=True)
    with Registry(tmp_path / "closed", htpasswd=make_htpasswd(tmp_path / "users")) as registry:
        run("login", "-u", USER, "--password-stdin", registry.host, "--authfile", "k/.docker/config.json",
            stdin=PASSWORD.encode())  # fmt: skip
        flags = ("-c", str(context), "-d", f"{registry.host}/app:1", "--insecure")
        run("kaniko", *flags, status=7)
        run("kaniko", *flags, "--kaniko-dir", "k")
        assert run("digest", f"{registry.host}/app:1", "--authfile", "k/.docker/config.json")


def test_steps_are_taken_with_cache_only_and_while_they_are_young(context: Path, tmp_path: Path) -> None:
    def is_cached(*flags: str) -> bool:
        done = subprocess.run(
            [*IMAGESMITH, "kaniko", "-c", str(context), "--no-push", "--log-format=text", *flags],
            env={**os.environ, "IMAGESMITH_ROOT": str(tmp_path / "store")}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return "CACHED" in done.stderr

    assert not is_cached()
    assert not is_cached()
    here = ("--cache", f"--cache-repo=oci:{tmp_path}/cache")
    assert is_cached(*here)
    assert is_cached(*here, "--cache-ttl=1h")
    assert not is_cached(*here, "--cache-ttl=1ms")
    assert not is_cached(*here, "--cache-run-layers=false")


def test_where_a_cache_is() -> None:
    found = words("-d", "h:1/a/b:2", "--cache=true", "--cache-ttl=24h")
    assert "--cache-ttl=24h" in found
    assert "--cache-from=type=registry,ref=h:1/a/b/cache:imagesmith" in found
    place = "type=registry,ref=h:1/a/b/cache:imagesmith"
    assert f"--cache-to={place},mode=max,merge=true,ignore-error=true" in found
    found = words("-d", "h/a", "--cache", "--cache-repo=oci:dir", "--no-push-cache")
    assert "--cache-from=type=local,src=dir" in found
    assert not [word for word in found if word.startswith("--cache-to")]


def test_registries_that_are_not_secure() -> None:
    assert "--insecure-registry=h:1" in words("-d", "h:1/a", "--insecure")
    assert "--insecure-registry=c:2" in words("-d", "h:1/a", "--skip-tls-verify", "--cache-repo=c:2/x")
    assert "--insecure" in words("-d", "h:1/a", "--skip-tls-verify-pull")
    assert not [word for word in words("-d", "h:1/a") if "insecure" in word]


def test_mirrors_maps_and_certificates_are_hosts(tmp_path: Path) -> None:
    tls = make_certificate(tmp_path / "tls")
    given = HostWords(
        mirrors=("m1.example", "m2.example/hub"), maps=("quay.io=q.example:5000;gcr.io=http://g.example",),
        certificates=(f"q.example:5000={tls}/cert.pem",),
        clients=(f"own.example={tls}/cert.pem,{tls}/key.pem",),
        plain=("m1.example",), unverified=("m2.example",), fallback=False,
    )  # fmt: skip
    assert write_hosts(given, tmp_path / "hosts")
    paths = (tmp_path / "hosts").glob("*/hosts.toml")
    read = {path.parent.name: tomllib.loads(path.read_text()) for path in paths}
    hub = read["docker.io"]
    assert (hub["server"], hub["skip_verify"]) == ("https://m2.example/v2/hub", True)
    assert hub["host"]["http://m1.example/v2"]["capabilities"] == ["pull", "resolve"]
    assert hub["host"]["https://registry-1.docker.io"] == {"capabilities": ["push"]}
    assert read["quay.io"]["server"] == "https://q.example:5000/v2"
    assert read["quay.io"]["ca"] == [f"{tls}/cert.pem"]
    assert read["gcr.io"]["server"] == "http://g.example/v2"
    assert read["own.example"]["client"] == [[f"{tls}/cert.pem", f"{tls}/key.pem"]]
    assert not write_hosts(HostWords(), tmp_path / "none")


def test_a_base_of_docker_hub_comes_from_the_mirror(run: Run, context: Path, tmp_path: Path) -> None:
    with Registry(tmp_path / "mirror") as mirror:
        run("build", "-t", f"{mirror.host}/proxy/library/base:1", "--push", str(context))
        (context / "Dockerfile").write_text("FROM base:1\nCOPY f /g\n")
        run(
            "kaniko", "-c", str(context), "--no-push", "-d", "app:1", "--tar-path=out.tar", "--root=other",
            f"--registry-mirror={mirror.host}/proxy", f"--insecure-registry={mirror.host}",
        )  # fmt: skip
        assert layer_files(Path("out.tar")) == ["f", "g"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "you must provide --destination"),
        (["--no-push", "--cache"], "specify cache repo with --cache-repo"),
        (["--no-push", "--tar-path=x"], "--tar-path needs --destination"),
        (["--no-push", "--digest-file=d", "--image-name-with-digest-file=n"], "needs --destination"),
        (["--no-push", "--credential-helpers=ecr"], "credHelpers"),
        (["--no-push", "--ignore-path=/var/lib/x"], "type=tmpfs,target=PATH"),
        (["--no-push", "--push-ignore-immutable-tag-errors"], "another tool"),
        (["--no-push", "--git=branch=x"], "is no git repository"),
        (["--no-push", "--git=depth=1", "-c", "git://h/r"], "unknown key depth"),
        (["--no-push", "--registry-map=x"], "expected REGISTRY=HOST"),
        (["--no-push", "--registry-certificate=h=/none"], "no such file"),
        (["--no-push", "--registry-mirror=ftp://h"], "expected HOST"),
        (["--no-push", "--nonsense"], "unknown flag"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(run: Run, flags: list[str], said: str) -> None:
    assert said in run("kaniko", *flags, status=2)


def test_flags_that_change_nothing_here_are_passed_over(run: Run, context: Path) -> None:
    run(
        "kaniko", "-c", str(context), "--no-push", "--ignore-path=/product_uuid", "--credential-helpers=",
        "--skip-unused-stages", "--compressed-caching=false", "--ignore-var-run=false",
        "--cache-dir", "/cache", "--image-fs-extract-retry=3",
        "--log-timestamp=true", "--skip-push-permission-check",
    )  # fmt: skip
