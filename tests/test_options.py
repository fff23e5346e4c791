from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.errors import UsageError
from imagesmith.options import (
    fields,
    parse_age,
    parse_build_args,
    parse_hosts,
    parse_labels,
    parse_secret,
    parse_size,
    parse_ssh,
    parse_timeout,
    parse_ulimit,
    read_arg_file,
)
from imagesmith.request import SecretSource


def test_a_quoted_value_keeps_its_lines() -> None:
    assert fields('type=a,"k=1\n2"', "output") == [("type", "a"), ("k", "1\n2")]


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
    assert parse_ssh("x=/one,/two") == ("x", "/one,/two")
    with pytest.raises(UsageError, match="raw=true is not supported"):
        parse_ssh("x=/one,raw=true")
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


def test_a_file_of_build_arguments(tmp_path: Path) -> None:
    file = tmp_path / "args"
    file.write_bytes(b'\xef\xbb\xbf# said\r\n\n  A=1=2 \r\nB= x\n#C=3\nHOME\nQ="q"\n\xff=\xfe')
    found = read_arg_file(str(file))
    assert found == ["A=1=2", "B= x", "HOME", 'Q="q"', "\udcff=\udcfe"]


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"A=1\n=2", "args:2: expected NAME=VALUE, found 'no name'"), (b"A B=1", "args:1: .*found 'A B'"),
     (b"A=\0", "args:1: expected"), (b"A" * (2 << 20), "more than 1 MiB")],
)  # fmt: skip
def test_a_file_of_build_arguments_that_is_none(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "args").write_bytes(data)
    with pytest.raises(UsageError, match=said):
        read_arg_file(str(tmp_path / "args"))
    with pytest.raises(UsageError, match="no such file"):
        read_arg_file(str(tmp_path / "none"))
