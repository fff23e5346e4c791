"""The smallest program of each architecture: it ends at once, with status 0.

Why: whether a machine, or an emulator, runs the programs of a platform is answered by running one; and none
can be taken from an image, which may be out of reach.
For variants of amd64 the program executes an instruction of each group that the variant has; a processor that
lacks one kills it.
Spec: System V ABI, "ELF header" and "Program header"; the kernel's call exit(0) of each machine; the x86-64
psABI's microarchitecture levels.
"""

from __future__ import annotations

import struct

from imagesmith.oci.names import Platform

__all__ = ["kind_for", "program_for"]

_X86_64 = "31ff b83c000000 0f05"
#: popcnt; pcmpgtq (SSE4.2); pshufb (SSSE3)
_V2 = "f30fb8c0 660f3837c0 660f3800c0"
#: vpaddd ymm (AVX2); mulx (BMI2); andn (BMI1); vfmadd132ps (FMA); lzcnt; movbe with memory is left out
_V3 = "c5fdfec0 c4e2fbf6c0 c4e278f2c0 c4e27d98c0 f30fbdc0"
#: vpaddd zmm (AVX512F); vpaddd ymm16 (VL); vpaddb zmm (BW); vpmullq zmm (DQ); vplzcntd zmm (CD)
_V4 = "62f17d48fec0 62a17d20fec0 62f17d48fcc0 62f2fd4840c0 62f27d4844c0"

#: For each architecture: 64 bits, little end first, its number in ELF, its flags, its instructions.
_MACHINES = {
    "amd64": (True, True, 62, 0, _X86_64),
    "amd64/v2": (True, True, 62, 0, _V2 + _X86_64),
    "amd64/v3": (True, True, 62, 0, _V2 + _V3 + _X86_64),
    "amd64/v4": (True, True, 62, 0, _V2 + _V3 + _V4 + _X86_64),
    "arm64": (True, True, 183, 0, "000080d2 a80b80d2 010000d4"),
    "386": (False, True, 3, 0, "31db b801000000 cd80"),
    "arm": (False, True, 40, 0x05000200, "0000a0e3 0170a0e3 000000ef"),
    "riscv64": (True, True, 243, 0, "13050000 9308d005 73000000"),
    "ppc64le": (True, True, 21, 2, "00006038 01000038 02000044"),
    "s390x": (True, False, 22, 0, "a7290000 0a01"),
    "loong64": (True, True, 258, 0x43, "04001500 0b748103 00002b00"),
    "mips64le": (True, True, 8, 0x80000007, "c2130224 00000424 0c000000"),
    "mips64": (True, False, 8, 0x80000007, "240213c2 24040000 0000000c"),
}
_BASE, _ALIGN = 0x400000, 0x10000


def program_for(platform: Platform) -> bytes:
    """A program of a platform; empty if none is known."""
    row = _row(platform)
    if row is None:
        return b""
    wide, little, number, flags, code = row
    body, order = bytes.fromhex(code), "<" if little else ">"
    heads = 64 + 56 if wide else 52 + 32
    size, start = heads + len(body), _BASE + heads
    ident = struct.pack("4s5B7x", b"\x7fELF", 2 if wide else 1, 1 if little else 2, 1, 0, 0)
    if wide:
        head = struct.pack(
            f"{order}HHIQQQIHHHHHH", 2, number, 1, start, 64, 0, flags, 64, 56, 1, 0, 0, 0
        )  # fmt: skip
        segment = struct.pack(f"{order}IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, _ALIGN)
    else:
        head = struct.pack(
            f"{order}HHIIIIIHHHHHH", 2, number, 1, start, 52, 0, flags, 52, 32, 1, 0, 0, 0
        )  # fmt: skip
        segment = struct.pack(f"{order}8I", 1, 0, _BASE, _BASE, size, size, 5, _ALIGN)
    return ident + head + segment + body


def kind_for(platform: Platform) -> tuple[int, int, int] | None:
    """What ELF says of a platform's programs: class, order of bytes, machine; None if it is not known."""
    row = _row(platform)
    return None if row is None else (1 + row[0], 2 - row[1], row[2])


def _row(platform: Platform) -> tuple[bool, bool, int, int, str] | None:
    if platform.os != "linux":
        return None
    arch = platform.architecture
    return _MACHINES.get(f"{arch}/{platform.variant}") or _MACHINES.get(arch)
