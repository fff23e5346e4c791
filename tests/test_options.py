from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from imagesmith.errors import UsageError
from imagesmith.oci.names import Platform
from imagesmith.options import (
    parse_age,
    parse_annotation,
    parse_build_args,
    parse_hosts,
    parse_labels,
    parse_output,
    parse_secret,
    parse_size,
    parse_ssh,
    parse_timeout,
    parse_ulimit,
)
from imagesmith.request import Annotation, Output, SecretSource


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("-", Output(type="tar", dest="-")),
        ("out", Output(type="local", dest="out")),
        ("type=oci,dest=x", Output(type="oci", dest="x")),
        ("type=oci", Output(type="oci", dest="-")),
        (
            'type=image,"name=a,b:2",push=true',
            Output(type="image", options={"name": "a,b:2", "push": "true"}),
        ),
        ("type=registry", Output(type="registry")),
        ("TYPE=cacheonly", Output(type="cacheonly")),
        ("type=oci,tar=false,dest=d", Output(type="oci", dest="d", options={"tar": "false"})),
        ("type=image,annotation.K=V", Output(type="image", options={"annotation.k": "V"})),
    ],
)
def test_output_is_read_as_buildx_reads_it(text: str, output: Output) -> None:
    assert parse_output(text) == output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=foo", 'exporter "foo" could not be found'),
        ("dest=x,push=true", "type is required for output"),
        ("type=oci,x", "invalid value x"),
        ("type=oci,dest=x,tar=maybe", "non-bool value specified for tar: maybe"),
        ("type=local", "dest is required for local exporter"),
        ("type=local,dest=-", "dest cannot be stdout for local exporter"),
        ("type=oci,tar=false", "dest is required for oci exporter"),
        ("type=oci,dest=/", "destination file / is a directory"),
        ("type=docker", "the docker exporter without dest loads into a daemon"),
        ("type=local,dest=/,mode=x", "mode x is neither copy nor delete"),
        ("type=local,dest=/,compresion=x", "output local has no option compresion"),
        ("type=oci,dest=x,compresion=zstd", r"no option compresion \(did you mean compression\?\)"),
        ("type=image,dest=x", "output image has no dest"),
        ('type=oci,"dest', "invalid output"),
    ],
)
def test_output_that_cannot_be_is_told_why(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_output(text)


def test_folder_output_over_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(UsageError, match=r"destination directory .*f is a file"):
        parse_output(str(tmp_path / "f"))


def test_terminal_gets_no_tar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(
        UsageError, match=r"dest file is required for tar exporter\. refusing to write to console"
    ):
        parse_output("-")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=b", [Annotation("manifest", "a", "b")]),
        ("a=", [Annotation("manifest", "a", "")]),
        ("index:a=b:c", [Annotation("index", "a", "b:c")]),
        (
            "manifest[linux/arm64],index-descriptor:a=b",
            [
                Annotation("manifest", "a", "b", Platform.parse("linux/arm64")),
                Annotation("index-descriptor", "a", "b"),
            ],
        ),
    ],
)
def test_annotation_has_types_and_platforms(text: str, found: list[Annotation]) -> None:
    assert parse_annotation(text) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", 'invalid annotation "a", expected key=value'),
        ("manifes:a=b", r'unknown annotation type "manifes" \(did you mean manifest\?\)'),
        ("A[:a=b", "invalid annotation type"),
    ],
)
def test_annotation_that_cannot_be_is_told_why(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_annotation(text)


def test_build_argument_without_a_value_takes_the_environments() -> None:
    env = {"A": "1", "SOURCE_DATE_EPOCH": "5"}
    assert parse_build_args(["A", "B", "C=2", "D="], env) == {
        "A": "1", "C": "2", "D": "", "SOURCE_DATE_EPOCH": "5",
    }  # fmt: skip
    assert parse_build_args(["SOURCE_DATE_EPOCH=6"], env)["SOURCE_DATE_EPOCH"] == "6"
    with pytest.raises(UsageError, match='invalid key-value pair "=x": empty key'):
        parse_build_args(["=x"], env)


def test_label_without_a_value_is_empty() -> None:
    assert parse_labels(["a", "b=c=d"]) == {"a": "", "b": "c=d"}


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("id=a,src=/f", SecretSource("a", "/f")),
        ("id=a,env=V", SecretSource("a", "", "V")),
        ("id=a,source=/f", SecretSource("a", "/f")),
        ("type=env,id=a,src=V", SecretSource("a", "", "V")),
        ("id=HERE", SecretSource("HERE", "", "HERE")),
        ("id=not-here", SecretSource("not-here", "not-here")),
        ("src=/d/f", SecretSource("f", "/d/f")),
    ],
)
def test_secret_comes_from_a_file_or_a_variable(
    text: str, source: SecretSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERE", "x")
    assert parse_secret(text) == source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id=a,x=y", "unexpected key 'x' in 'x=y'"),
        ("type=x,id=a", 'unsupported secret type "x"'),
        ("a", "invalid field 'a' must be a key=value pair"),
    ],
)
def test_secret_that_cannot_be_is_told_why(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_secret(text)


def test_agent_is_named_by_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    assert parse_ssh("default") == ("default", "/agent")
    assert parse_ssh("x=/other") == ("x", "/other")
    monkeypatch.delenv("SSH_AUTH_SOCK")
    with pytest.raises(UsageError, match="SSH_AUTH_SOCK"):
        parse_ssh("default")


@pytest.mark.parametrize(("text", "size"), [("64", 64), ("1k", 1024), ("2M", 2 << 20), ("1gb", 1 << 30)])
def test_size_counts_in_1024s(text: str, size: int) -> None:
    assert parse_size(text, "--shm-size") == size


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="invalid size: '1x'"):
        parse_size("1x", "--shm-size")
    with pytest.raises(UsageError, match="invalid ulimit argument: nofile"):
        parse_ulimit("nofile")
    with pytest.raises(UsageError, match="soft limit must be less than or equal to hard limit: 2 > 1"):
        parse_ulimit("nofile=2:1")
    assert parse_ulimit("nofile=1:2") == ("nofile", 1, 2)


def test_time_limit_is_written_as_go_writes_durations() -> None:
    assert [parse_timeout(t, "--step-timeout") for t in ("90s", "1h30m", "1.5s", "0")] == [90, 5400, 1.5, 0]
    with pytest.raises(UsageError, match='--step-timeout: time: missing unit in duration "90"'):
        parse_timeout("90", "--step-timeout")
    with pytest.raises(UsageError, match="--step-timeout: -1s is negative"):
        parse_timeout("-1s", "--step-timeout")


def test_host_has_an_address() -> None:
    assert parse_hosts(["a:1.2.3.4", "b=[::1]", "c=::1"]) == (("a", "1.2.3.4"), ("b", "::1"), ("c", "::1"))
    with pytest.raises(UsageError, match="invalid host a: expected host:ip"):
        parse_hosts(["a"])


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("12", 43200), ("7d", 604800), ("2w", 1209600)]
)
def test_ages(text: str, seconds: int) -> None:
    assert parse_age(text, "--older-than") == seconds


def test_age_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="invalid age"):
        parse_age("soon", "--older-than")
