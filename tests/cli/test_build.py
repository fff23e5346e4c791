"""The command itself, as a process: what it prints, writes and answers."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support import IMAGESMITH, PROJECT, need_root

pytestmark = pytest.mark.slow


def _run(
    tmp_path: Path, *words: object, stdin: bytes = b"", **env: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*IMAGESMITH, *map(str, words), "--root", str(tmp_path / "store")],
        capture_output=True, input=stdin, cwd=tmp_path, env={**os.environ, **env},
    )  # fmt: skip


def test_quiet_prints_the_images_id_as_iidfile_has_it(tmp_path: Path, context: Path) -> None:
    done = _run(
        tmp_path, "build", "-q", "--iidfile", tmp_path / "id", "--metadata-file", tmp_path / "meta", context
    )
    assert done.returncode == 0, done.stderr
    image_id = (tmp_path / "id").read_text()
    assert done.stdout.decode() == f"{image_id}\n"
    assert json.loads((tmp_path / "meta").read_bytes())["containerimage.config.digest"] == image_id


def test_iidfile_of_a_failed_build_is_gone(tmp_path: Path, context: Path) -> None:
    (tmp_path / "id").write_text("old")
    (context / "f").unlink()
    done = _run(tmp_path, "build", "--iidfile", tmp_path / "id", context)
    assert done.returncode == 5
    assert not (tmp_path / "id").exists()


def test_missing_source_is_shown_with_line_and_caret(tmp_path: Path, context: Path) -> None:
    (context / "f").unlink()
    said = _run(tmp_path, "build", context).stderr.decode()
    assert "\n   2 | >>> COPY f /f\n     |          ^\n" in said
    assert said.splitlines()[-1] == 'error: failed to compute cache key: "/f": not found'


def test_tar_on_standard_output_has_nothing_else_in_it(tmp_path: Path, context: Path) -> None:
    for flags in ([], ["-q"]):
        done = _run(tmp_path, "build", *flags, "-o", "-", context)
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            assert tar.getnames() == ["f"]
        assert done.stdout.endswith(bytes(1024))


def test_two_outputs_cannot_share_standard_output(tmp_path: Path, context: Path) -> None:
    done = _run(tmp_path, "build", "-o", "-", "-o", "type=oci", context)
    assert (done.returncode, b"only one output can go to standard output" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-f", "-", "-"], b"can't use stdin for both build context and dockerfile"),
        (["--push", "."], b"tag is needed when pushing to registry"),
        (["--push", "-o", "out", "."], b"tag is needed when pushing to registry"),
        (["--load=minikube", "."], b"load=minikube: who is that?"),
        (
            ["--iidfile", "x", "-o", "out", "."],
            b"local and tar exporters are incompatible with image ID file",
        ),
        (["no/where"], b'unable to prepare context: path "no/where" not found'),
        (["--network", "x", "."], b"invalid netmode x"),
    ],
)
def test_flags_that_cannot_be_honoured_are_refused_in_buildx_words(
    tmp_path: Path, flags: list[str], message: bytes
) -> None:
    done = _run(tmp_path, "build", *flags)
    assert (done.returncode in (2, 5), message in done.stderr) == (True, True), done.stderr


def test_dockerfile_of_dash_comes_from_standard_input(tmp_path: Path, context: Path) -> None:
    (context / "Dockerfile").unlink()
    done = _run(tmp_path, "build", "-f", "-", "-o", "-", context, stdin=b"FROM scratch\nCOPY f /g\n")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames() == ["g"]


def test_epoch_of_the_environment_counts(tmp_path: Path, context: Path) -> None:
    ids = {
        _run(tmp_path, "build", "-q", "--no-cache", context, SOURCE_DATE_EPOCH="1000000000").stdout
        for _ in range(2)
    }
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--secret", "id=a,src=/nowhere/a", "--secret id=a: failed to stat /nowhere/a: no such file"),
        ("--ssh", "k=/nowhere/agent", "--ssh k: failed to stat /nowhere/agent: no such socket or key"),
        ("--ulimit", "files=5", "invalid ulimit type: files"),
        ("--iidfile", "/nowhere/id", "argument --iidfile: /nowhere/id: there is no folder /nowhere"),
        ("--metadata-file", "/", "argument --metadata-file: / is a folder"),
        (
            "--digest-file",
            "/nowhere/d",
            "argument --digest-file/--digestfile: /nowhere/d: there is no folder /nowhere",
        ),
        ("--report", "/nowhere/r", "argument --report: /nowhere/r: there is no folder /nowhere"),
        ("-o", "type=oci,dest=/nowhere/o", "destination file /nowhere/o: there is no folder /nowhere"),
        ("-o", "type=tar,dest=/nowhere/o", "destination file /nowhere/o: there is no folder /nowhere"),
        ("--authfile", "/nowhere/a", "--authfile /nowhere/a: no such file"),
        ("--cert-dir", "/nowhere/c", "--cert-dir /nowhere/c: no such folder"),
        ("--registries-conf", "/nowhere/r", "--registries-conf /nowhere/r: no such file"),
        ("--hosts-dir", "/nowhere/h", "--hosts-dir /nowhere/h: no such folder"),
    ],
)
def test_what_cannot_be_used_is_told_before_anything_is_built(
    tmp_path: Path, context: Path, flag: str, value: str, message: str
) -> None:
    done = _run(tmp_path, "build", flag, value, context)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[0] == f"error: {message}"


def test_attestations_are_asked_for_as_with_buildx(tmp_path: Path, context: Path) -> None:
    def media_type(*words: str, **env: str) -> str:
        done = _run(tmp_path, "build", "-q", "-t", "a:1", *words, context, **env)
        assert done.returncode == 0, done.stderr
        shown = _run(tmp_path, "inspect", "-f", "{{.MediaType}}", "a:1").stdout.decode()
        return shown.strip().rpartition(".image.")[2]

    for words in ([], ["--provenance=false"], ["--sbom=false", "--attest", "type=provenance,disabled=true"]):
        assert media_type(*words) == "manifest.v1+json"
    assert media_type(BUILDX_NO_DEFAULT_ATTESTATIONS="1") == "manifest.v1+json"
    for words in (["--provenance", "true"], ["--attest", "type=provenance,mode=min"]):
        assert media_type(*words) == "index.v1+json"
    assert media_type("--build-arg", "BUILDKIT_ATTEST_PROVENANCE=mode=min") == "index.v1+json"


@pytest.mark.parametrize("mode", ["", "max", "false"])
def test_metadata_file_has_provenance(tmp_path: Path, context: Path, mode: str) -> None:
    words = ("build", "-q", "--metadata-file", tmp_path / "meta", "-t", "a", context)
    assert _run(tmp_path, *words, BUILDX_METADATA_PROVENANCE=mode).returncode == 0
    found = json.loads((tmp_path / "meta").read_bytes()).get("buildx.build.provenance")
    if mode == "false":
        assert found is None
    else:
        assert list(found)[:4] == ["builder", "buildType", "materials", "invocation"]
        assert ("buildConfig" in found) == (mode == "max")


def test_of_several_platforms_an_error_names_the_step_and_the_platform(run: Run, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG TARGETARCH\nCOPY f-$TARGETARCH /f\n")
    (tmp_path / "f-amd64").touch()
    words = ("build", "-q", "-o", "type=oci,dest=o.tar", ".")
    said = run(*words, "--platform", "linux/amd64,linux/arm64", status=5)
    assert said.startswith(" > [linux/arm64 1/1] COPY f-arm64 /f:\nDockerfile:3\n----"), said
    assert " > " not in run(*words, "--platform", "linux/arm64", status=5).split("Dockerfile:3")[0]
    assert not (tmp_path / "o.tar").exists()


def test_a_platform_that_the_base_lacks_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    run("build", "--platform", "linux/amd64,linux/arm64", "-o", "type=oci,tar=false,dest=base", ".")
    (tmp_path / "Dockerfile").write_text("FROM base\n")
    base = f"base=oci-layout://{tmp_path}/base"
    said = run("build", "--build-context", base, "--platform", "linux/amd64,linux/s390x", ".", status=7)
    assert "hint: it has linux/amd64, linux/arm64, not linux/s390x; see --platform\n" in said


def test_what_is_pushed_is_signed(run: Run, host: str, context: Path) -> None:
    run("key", "generate", "--plain", "k")
    words = ("build", "-q", str(context), "-t", f"{host}/a:1", "--sign", "k.key")
    assert "--sign signs what is pushed, and nothing is" in run(*words, status=2)
    assert "cannot read none" in run(*words[:-1], "none", "--push", status=2)
    assert "has no signature" not in run("verify", f"{host}/a:1", "--key", "k.pub", status=7)
    loud = [word for word in words if word != "-q"]
    pushed = [*IMAGESMITH, *loud, "--push", "--platform", "linux/amd64,linux/arm64"]
    done = subprocess.run(
        pushed, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(PROJECT)}
    )
    said = done.stderr.splitlines()
    assert said[-3:-1] == [f"named {host}/a:1", f"signed {host}/a:1@{said[-1]}"]
    for platform in ((), ("--platform", "linux/amd64"), ("--platform", "linux/arm64")):
        said = run("verify", f"{host}/a:1", "--key", "k.pub", *platform)
        assert said.count("signed by k.pub (ecdsa-p256), tag of") == 1
        assert said.count(f"as {host}/a\n") == 1


def test_a_digest_file_that_is_a_mount_or_a_link_stays(tmp_path: Path, context: Path) -> None:
    need_root()
    (tmp_path / "log").write_text("before")
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to("real")
    words = [*IMAGESMITH, "build", "--digest-file", "log", "--iidfile", "link", str(context)]
    line = f"mount --bind real log && exec {shlex.join(words)}"
    env = {**os.environ, "IMAGESMITH_ROOT": str(tmp_path / "store"), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        ["unshare", "--mount", "/bin/sh", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text().startswith("sha256:")
