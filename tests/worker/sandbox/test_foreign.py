"""How programs of other architectures are recognised, and the emulator's command for scripts of scripts."""

from __future__ import annotations

import pytest

from imagesmith.oci.names import Platform
from imagesmith.worker.sandbox.foreign import Command, Kind, command_of, kind_of
from imagesmith.worker.tinyprograms import kind_for, program_for

_ARM64 = Kind(2, 1, 183)
_FILES = {
    b"/bin/sh": program_for(Platform.parse("linux/arm64")),
    b"/bin/native": program_for(Platform.parse("linux/amd64")),
    b"/s": b"#!/bin/sh\n",
    b"/s1": b"#! \t/bin/sh  -e -x \t\n",
    b"/s2": b"#!/s1 one\necho",
    b"/loop": b"#!/loop\n",
    b"/native.sh": b"#!/bin/native\n",
    b"/text": b"echo hello\n",
    b"/nothing": b"#!\n",
    b"/long": b"#!/" + b"a" * 300,
    b"/end": b"#!/bin/sh",
    b"/nul": b"#!/bin/sh\0\n",
}


def _look(path: bytes) -> bytes:
    if path not in _FILES:
        raise FileNotFoundError(path)
    return _FILES[path][:256]


@pytest.mark.parametrize("name", ["linux/arm64", "linux/386", "linux/s390x", "linux/mips64", "linux/arm/v7"])
def test_a_program_tells_what_it_is_for(name: str) -> None:
    platform = Platform.parse(name)
    assert kind_of(program_for(platform)) == kind_for(platform)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x7fELF",
        b"\x7fELF\x02\x03" + bytes(20),
        b"#!/bin/sh\n" + bytes(20),
        b"\x7fELF\x02\x01" + bytes(20),
    ],
)
def test_what_is_no_program_is_for_nothing(head: bytes) -> None:
    assert kind_of(head) is None


@pytest.mark.parametrize(
    ("path", "argv"),
    [
        (b"/bin/sh", [b"-0", b"name", b"/bin/sh", b"x", b"y"]),
        (b"/s", [b"-0", b"/bin/sh", b"/bin/sh", b"/s", b"x", b"y"]),
        (b"/s1", [b"-0", b"/bin/sh", b"/bin/sh", b"-e -x", b"/s1", b"x", b"y"]),
        (b"/s2", [b"-0", b"/bin/sh", b"/bin/sh", b"-e -x", b"/s1", b"one", b"/s2", b"x", b"y"]),
        (b"/end", [b"-0", b"/bin/sh", b"/bin/sh", b"/end", b"x", b"y"]),
    ],
)
def test_scripts_are_started_as_the_kernel_does(path: bytes, argv: list[bytes]) -> None:
    command = command_of(path, _look, [_ARM64])
    assert command is not None
    assert command.argv([b"name", b"x", b"y"])[1:] == argv


@pytest.mark.parametrize(
    "path", [b"/bin/native", b"/native.sh", b"/loop", b"/text", b"/nothing", b"/long", b"/nul"]
)
def test_what_is_nothing_for_an_emulator_is_the_kernels(path: bytes) -> None:
    assert command_of(path, _look, [_ARM64]) is None


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        command_of(b"/nowhere", _look, [_ARM64])


def test_a_program_without_a_name_has_one() -> None:
    assert Command(_ARM64, b"/p").argv([]) == [b"emulator", b"-0", b"", b"/p"]
