"""Ports of EXPOSE: what Docker's parser takes and how it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.dockerfile.values import parse_ports
from imagesmith.errors import DockerfileError
from tests.kitchen import Kitchen


@pytest.mark.parametrize(
    ("word", "ports"),
    [
        ("80", ["80/tcp"]),
        ("0", ["0/tcp"]),
        ("65535/SCTP", ["65535/sctp"]),
        ("80/", ["80/tcp"]),
        ("+83", ["83/tcp"]),
        ("0084", ["84/tcp"]),
        ("-0", []),  # a range whose first port is missing
        ("0--0", ["0/tcp"]),
        ("+7-0008/udp", ["7/udp", "8/udp"]),
        ("9-9", ["9/tcp"]),
        (":80", ["80/tcp"]),
        ("::80", ["80/tcp"]),
        ("8080:80", ["80/tcp"]),
        ("1000-2000:80", ["80/tcp"]),
        ("1-2:3-4/udp", ["3/udp", "4/udp"]),
        ("127.0.0.1::80", ["80/tcp"]),
        ("[::1]:80:80", ["80/tcp"]),
        ("[2001:4860:0:2001::68]::333", ["333/tcp"]),
        ("2001:4860:0:2001::68::333", ["333/tcp"]),
        ("::1:80:80", ["80/tcp"]),
        ("::::80", ["80/tcp"]),
    ],
)
def test_ports_are_read_as_go_reads_them(word: str, ports: list[str]) -> None:
    if ports:
        assert parse_ports([word]) == ports
    else:
        with pytest.raises(DockerfileError):
            parse_ports([word])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("many", "invalid containerPort: many"),
        ("8_0", "invalid containerPort: 8_0"),
        ("٣", "invalid containerPort: ٣"),
        (" 80", "invalid containerPort:  80"),
        ("65536", "invalid containerPort: 65536"),
        ("90-80", "invalid containerPort: 90-80"),
        ("1-2-3", "invalid containerPort: 1-2-3"),
        ("80-", "invalid containerPort: 80-"),
        ("9" * 5000, f"invalid containerPort: {'9' * 5000}"),
        ("x:80", "invalid hostPort: x"),
        ("host:1:80", "invalid IP address: host"),
        ("[::1:1:80", "invalid IP address: [::1"),
        ("fe80::1%eth0:1:80", "invalid IP address: fe80::1%eth0"),
        ("80/http", 'invalid port: "80/http": invalid proto: http'),
        ("80/tcp/udp", 'invalid port: "80/tcp/udp": invalid proto: tcp/udp'),
        ("/tcp", 'invalid port: "/tcp": no port specified'),
        ("80:", 'invalid port: "80:": no port specified'),
        ("1-3:4-5", "invalid ranges specified for container and host Ports: 4-5 and 1-3"),
    ],
)
def test_bad_ports_are_refused_in_docker_s_words(word: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_ports([word])
    assert caught.value.message == message


def test_more_ports_than_there_are_is_no_dockerfile() -> None:
    assert len(parse_ports(["0-65535/tcp", "0-65535/udp", "0-65535/sctp"])) == 3 << 16
    with pytest.raises(DockerfileError, match="more than 196608 ports"):
        parse_ports(["0-65535"] * 8000)


NUMBERS = st.builds(
    "{}{}{}".format, st.sampled_from(["", "+", "0", "+00"]), st.integers(0, 70000), st.just("")
)


@given(NUMBERS, st.none() | NUMBERS, st.sampled_from(["", "/tcp", "/UDP", "/sctp", "/"]))
def test_any_range_is_unrolled_or_refused(first: str, last: str | None, protocol: str) -> None:
    low, high = int(first), int(last if last is not None else first)
    word = f"{first}{'' if last is None else f'-{last}'}{protocol}"
    name = protocol[1:].lower() or "tcp"
    if 0 <= low <= high <= 65535:
        assert parse_ports([word]) == [f"{n}/{name}" for n in range(low, high + 1)]
    else:
        with pytest.raises(DockerfileError):
            parse_ports([word])


def test_quotes_and_defaults_of_expose_are_expanded_and_split(kitchen: Kitchen) -> None:
    built = kitchen.build(
        "FROM scratch\nARG P\nENV M='1 2' Q=9\nEXPOSE \"80\" '81/udp' ${P:-8080}/tcp $M \"$Q\"-10 \\12 ${P}\n"
    )
    want = {"80/tcp", "81/udp", "8080/tcp", "1/tcp", "2/tcp", "9/tcp", "10/tcp", "12/tcp"}
    assert set(built.image.config.runtime.exposed_ports) == want
