"""Whatever is damaged in what readers read costs a warning, little time and little memory.

Each case is one file that a reader reads, with bytes changed, cut out and put in at random places. More by
hand: DAMAGED=100000 python3 tests/run.py tests/sbom/test_damage.py
"""

from __future__ import annotations

import json
import os
import random
import struct
import time
import tracemalloc
import zlib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imagesmith.errors import ImagesmithError
from imagesmith.sbom import (
    alpm,
    composer,
    conda,
    cran,
    dotnet,
    executables,
    gems,
    golang,
    java,
    jvm,
    luarocks,
    npm,
    pecl,
    portage,
    programs,
    python,
    rust,
    wordpress,
)
from imagesmith.sbom.reading import Files
from tests.sbom import (
    test_alpm,
    test_conda,
    test_cran,
    test_dotnet,
    test_jvm,
    test_luarocks,
    test_pecl,
    test_portage,
    test_programs,
    test_wordpress,
)
from tests.sbom.elves import elf, go_inline, go_pointers
from tests.sbom.jars import jar, pom
from tests.sbom.looking import view_of
from tests.sbom.pes import pe
from tests.sbom.test_gems import GEM
from tests.sbom.test_golang import LINES
from tests.sbom.test_python import METADATA

#: Where programs lie.
PROGRAM = "usr/bin/program"
RUST = zlib.compress(
    json.dumps({"packages": [{"name": f"c{n}", "version": "1"} for n in range(30)]}).encode()
)
INNER = jar(pom("g", "inner", "1", "<project><url>x</url></project>"))
WAR = jar(
    {"WEB-INF/lib/inner-1.jar": INNER, **pom("g", "a", "1")}, manifest="Bundle-SymbolicName: org.x;a:=b\r\n"
)

CASES = {
    "go": (executables, PROGRAM, elf({golang.NOTE: go_inline("go1.22.3", LINES)})),
    "old go": (executables, PROGRAM, elf({golang.NOTE: go_pointers("go1.12", LINES)})),
    "narrow": (
        executables,
        PROGRAM,
        elf({golang.NOTE: go_inline("go1.2", LINES)}, wide=False, order=">"),
    ),
    "rust": (executables, PROGRAM, elf({".text": bytes(100), rust.NOTE: RUST})),
    "war": (java, "opt/a.war", WAR),
    "stored": (java, "opt/a.war", jar({"b.jar": WAR, "c.jar": INNER}, stored=True)),
    "npm": (
        npm,
        "package.json",
        json.dumps({"name": "@a/b", "version": "1", "licenses": [{"type": "x"}]}).encode(),
    ),
    "wheel": (python, "a.dist-info/METADATA", METADATA),
    "record": (python, "a.dist-info/RECORD", b'a.py,sha256=x,1\n"b,c.py",,\n../../x,,\n' * 10),
    "gem": (gems, "specifications/a-1.gemspec", GEM.encode()),
    "composer": (
        composer,
        "composer/installed.json",
        json.dumps([{"name": "a/b", "version": "1"}] * 5).encode(),
    ),
    "alpm": (alpm, f"{test_alpm.AT}/desc", test_alpm.DESC.encode()),
    "portage": (portage, f"{test_portage.AT}/CONTENTS", test_portage.CONTENTS),
    "cran": (cran, "DESCRIPTION", test_cran.DESCRIPTION),
    "conda": (conda, test_conda.AT, json.dumps(test_conda.NOTE).encode()),
    "luarocks": (luarocks, test_luarocks.AT, test_luarocks.ROCKSPEC),
    "pecl": (pecl, test_pecl.AT, test_pecl.serialized(test_pecl.NOTE).encode()),
    "wordpress": (wordpress, test_wordpress.AT, test_wordpress.HEAD),
    "dotnet": (dotnet, test_dotnet.AT, json.dumps(test_dotnet.TOLD).encode()),
    "pe": (dotnet, "a.dll", pe(test_dotnet.SAID)),
    "jvm": (jvm, test_jvm.AT, test_jvm.TEMURIN),
    "mysql": (programs, "usr/bin/mysql", bytes(90) + test_programs.PROGRAMS["usr/bin/mysql"][0]),
}
#: What readers may raise; what becomes of it is reading.told's.
ALLOWED = (ValueError, struct.error, zlib.error, EOFError, RecursionError, ImagesmithError)

Change = tuple[str, int, bytes]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "add"]),
        st.integers(0, 1 << 16),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from(
                [b"\xff" * 4, b"\xff" * 8, bytes(8), b"\x7f\xff\xff\xff", b"PK\x05\x06", b'"', b"\n ", b"{["]
            ),
        ),
    ),
    min_size=1,
    max_size=6,
)


def damaged(data: bytes, changes: list[Change]) -> bytes:
    """The bytes with changes, each at a place modulo the length."""
    for kind, where, what in changes:
        at = where % (len(data) + 1)
        end = at if kind == "add" else at + len(what)
        data = data[:at] + (b"" if kind == "cut" else what) + data[end:]
    return data


def read(name: str, data: bytes) -> int:
    """How many packages a reader makes of damaged data."""
    reader, path, _ = CASES[name]
    files = {path: data}
    if name == "record":
        path = "a.dist-info/METADATA"
        files[path] = METADATA
    image = Files(view_of(files))
    count = 0
    try:
        for package in reader.read(path, image):
            assert len(package.purl) < 1 << 20
            count += 1
    except ALLOWED:
        pass
    return count


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_read_when_it_is_whole(name):
    assert read(name, CASES[name][2]) >= 1


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=CHANGES)
@example(changes=[("cut", 0, b"1234")])
def test_damage_is_an_error_of_ours(name, changes):
    read(name, damaged(CASES[name][2], changes))


@pytest.mark.parametrize("name", CASES)
def test_damage_takes_little_time_and_memory(name):
    count = int(os.environ.get("DAMAGED", "300"))
    rng, data = random.Random(name), CASES[name][2]
    tracemalloc.start()
    start = time.process_time()
    try:
        for _ in range(count):
            changes = [
                (
                    rng.choice(["set", "cut", "add"]),
                    rng.randrange(1 << 16),
                    rng.randbytes(rng.choice([1, 1, 2, 4, 8])),
                )
                for _ in range(rng.randint(1, 5))
            ]
            read(name, damaged(data, changes))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20
    assert time.process_time() - start < 0.1 * count  # it is a hundredth of that
