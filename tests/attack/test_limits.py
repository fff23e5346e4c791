"""Tars of a few kilobytes that ask for gigabytes: refused by name, with little memory and little work.

Memory is held to by the kernel (RLIMIT_AS of a child), work is counted: bytes read, names looked at.
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest

from imagesmith.errors import ImagesmithError, LimitExceeded, UnsafeArchive
from imagesmith.fs.entry import Entry
from imagesmith.fs.limits import CAPABILITY_BYTES, EXTENDED_BYTES, PIECES
from imagesmith.fs.view import LayerIndex, View
from imagesmith.layer.tarread import read_archive, read_layer
from imagesmith.oci import mediatype as mt
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import host_platform
from tests.attack.hostile import record
from tests.layer.test_tarread import header, pax

pytestmark = pytest.mark.slow

_END = bytes(1024)
#: Of everything that a child may map: Python itself takes a tenth of it.
_MEMORY = 768 << 20
_LIMITED = (
    f"import resource, sys; resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY}, {_MEMORY}))\n"
    "from imagesmith.cli.main import main; sys.exit(main(sys.argv[1:]))"
)


def named(path: bytes, kind: bytes = b"0", **records: bytes) -> bytes:
    """An entry of any name, and with these records."""
    more = b"".join(record(key.encode().replace(b"__", b"."), value) for key, value in records.items())
    return pax(record(b"path", path) + more) + header(b"x", kind)


def xattr(name: bytes, value: bytes) -> bytes:
    return record(b"SCHILY.xattr." + name, value)


HOSTILE = {
    "100,000 folders": (named(b"a/" * 100_000 + b"f"), "'a/a/.*': a path of 200001 bytes, more than 4095"),
    "a name of 900 kB": (named(b"n" * 900_000), "'nn.*': a path of 900000 bytes, more than 4095"),
    "a name of 256": (named(b"d/" + b"n" * 256), "'d/nn.*': a name of 256 bytes, more than 255"),
    "a folder of 256": (named(b"n" * 256 + b"/f"), "'nn.*': a name of 256 bytes"),
    "256 in two characters each": (named("ä".encode() * 128), "'ää.*': a name of 256 bytes"),
    "GNU's long name": (
        header(b"x", b"L", b"%o" % 5000) + (b"a/" * 2500).ljust(5120, b"\0") + header(b"x"),
        "a path of 4999 bytes",
    ),
    "a deletion": (named(b"d/.wh." + b"n" * 256), "'d/nn.*': a name of 256 bytes"),
    "an opaque folder": (named(b"n" * 256 + b"/.wh..wh..opq"), "'nn.*': a name of 256 bytes"),
    "a link to 5,000": (named(b"l", b"2", linkpath=b"x" * 5000), "'l': a link to a name of 5000 bytes"),
    "a hard link to 5,000": (
        named(b"h", b"1", linkpath=b"x" * 5000), "'h': a hard link to 'x.*: a path of 5000"
    ),
    "an attribute's name": (
        pax(record(b"path", b"f") + xattr(b"user." + b"n" * 300, b"")) + header(),
        "'f': the name of an attribute has 305 bytes, more than 255",
    ),
    "an attribute's value": (
        pax(record(b"path", b"f") + xattr(b"user.a", bytes(70_000))) + header(),
        "'f': the attribute 'user.a' has 70000 bytes, more than 65536",
    ),
    "a capability": (
        pax(record(b"path", b"f") + xattr(b"security.capability", bytes(CAPABILITY_BYTES + 1))) + header(),
        "'f': the attribute 'security.capability' has 25 bytes, more than 24",
    ),
    "10,000 attributes": (
        pax(record(b"path", b"f") + b"".join(xattr(b"user.%d" % n, b"") for n in range(10_000))) + header(),
        "'f': the names of its attributes have more than 65536 bytes",
    ),
    "an extended header": (
        header(b"x", b"x", b"%o" % (1 << 30)), "extended header of 1073741824 bytes at byte 512"
    ),
    "several of them": (
        (pax(record(b"path", b"f")) + pax(record(b"comment", bytes(EXTENDED_BYTES // 2))) * 2),
        "'f': an extended header of .*: those of one entry may have 1048576",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_entry_that_no_disk_holds_is_refused_by_name_wherever_a_tar_is_read(what: str) -> None:
    tar, message = HOSTILE[what]
    for read in (read_layer, read_archive):
        if read is read_archive and ".wh." in tar[:2000].decode("latin-1"):
            continue  # an ordinary name there
        with pytest.raises(LimitExceeded, match=message) as caught:
            list(read(io.BytesIO(header(b"before") + tar + _END)))
        assert len(str(caught.value)) < 400
        assert "\n" not in str(caught.value)


def test_what_a_disk_holds_is_read() -> None:
    path = "/".join(["n" * 255] * 15 + ["m" * 253])
    deep = "/".join(["d"] * 2048)
    tar = b"".join(
        (
            named(path.encode()), named(deep.encode(), b"5"), named(b"d/.wh." + b"n" * 251),
            named(b"l", b"2", linkpath=b"x" * 4095),
            pax(record(b"path", b"f") + xattr(b"security.capability", bytes(24))
                + xattr(b"user." + b"n" * 250, bytes(1 << 16))) + header(),
        )
    )  # fmt: skip
    assert (len(path), len(deep)) == (4093, 4095)
    ((gone, _),) = read_layer(io.BytesIO(named(b"d/.wh." + b"n" * 255) + _END))
    assert len(gone.path) == 257
    for read in (read_layer, read_archive):
        found = [e for e, _ in read(io.BytesIO(tar + _END))]
        assert [e.path for e in found][:2] == [path, deep]
        assert View([LayerIndex(found)]).get(deep) is not None


class Endless:
    """A tar that goes on; counts what was read of it."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._left, self.seen = blocks, b"", 0

    def read(self, size: int, /) -> bytes:
        self._left = self._left or next(self._blocks)
        data, self._left = self._left[:size], self._left[size:]
        self.seen += len(data)
        return data


_SPARSE_1 = b"".join(
    (
        record(b"GNU.sparse.major", b"1"),
        record(b"GNU.sparse.minor", b"0"),
        record(b"GNU.sparse.realsize", b"9"),
    )
)
_OLD = bytearray(header(b"s", b"S"))
_OLD[482] = 1
_OLD = _OLD[:148] + b"%06o\0 " % sum(_OLD[:148] + b" " * 8 + _OLD[156:]) + _OLD[156:]
_MAP = pax(_SPARSE_1) + header(b"s")
_LONG_MAP = record(b"GNU.sparse.map", b"0," * (2 * PIECES + 2)) + record(b"GNU.sparse.size", b"1")
_PIECES = (b"0".rjust(12, b"0") * 42).ljust(504, b"\0") + b"\1" + bytes(7)
ENDLESS = {
    "a map of digits": (chain([_MAP], repeat(b"1" * 512)), "is not a number"),
    "a map of lines": (chain([_MAP, b"65537\n"], repeat(b"0\n" * 256)), "65536 pieces"),
    "a map of many lines": (chain([_MAP, b"65536\n"], repeat(b"0\n" * 256)), "fit its"),
    "an old map of pieces": (chain([bytes(_OLD)], repeat(_PIECES)), "65536 pieces"),
    "an old map of nothing": (chain([bytes(_OLD)], repeat(bytes(504) + b"\1" + bytes(7))), "an empty block"),
    "extended headers": (repeat(pax(record(b"comment", bytes(1000)))), "those of one entry may have"),
    "a map in a header": (chain([pax(_LONG_MAP)], repeat(header(b"s"))), "65536 pieces"),
}  # fmt: skip


@pytest.mark.parametrize("what", ENDLESS)
def test_little_is_read_of_what_never_ends(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, message = ENDLESS[what]
    tar, looked = Endless(blocks), [0]
    from imagesmith.layer import sparse

    decimal = sparse._decimal

    def counted(text: bytes) -> int:
        looked[0] += 1
        return decimal(text)

    monkeypatch.setattr(sparse, "_decimal", counted)
    with pytest.raises((LimitExceeded, UnsafeArchive), match=message):
        list(read_archive(tar, sparse=True))
    assert tar.seen < 4 << 20
    assert looked[0] <= 2 * PIECES + 2  # each number once


def test_maps_of_twice_the_size_cost_twice_the_work() -> None:
    """What is read of a map is split once: the bytes that go through it are those of the map."""
    from imagesmith.layer.sparse import _map_before_data

    def cost(pieces: int) -> int:
        text = b"%d\n" % pieces + b"".join(b"%d\n1\n" % (2 * n) for n in range(pieces))
        blocks = iter([text[n : n + 512].ljust(512, b"\0") for n in range(0, len(text), 512)])
        calls = [0]

        def profile(_frame: object, _event: str, _what: object) -> None:
            calls[0] += 1

        sys.setprofile(profile)
        try:
            numbers, _ = _map_before_data(lambda: next(blocks))
        finally:
            sys.setprofile(None)
        assert len(numbers) == 2 * pieces
        return calls[0]

    assert cost(4000) < 2.2 * cost(2000)


class Counting(dict[str, Entry]):
    """Entries that count how often one is looked up."""

    looked = 0

    def get(self, key: str, default: Entry | None = None) -> Entry | None:  # type: ignore[override]
        self.looked += 1
        return super().get(key, default)


def test_a_deep_path_is_looked_up_once_a_component() -> None:
    index = LayerIndex([Entry("other", "d"), Entry("o/f", "f")])
    index.entries = Counting(index.entries)
    deep = "/".join("d" for _ in range(2000))
    assert View([index]).resolve(deep) == deep
    assert index.entries.looked < 3 * 2000


def implying(count: int, *, through_links: bool = False) -> bytes:
    """A tar of `count` entries, each in 2,000 folders of its own that are not listed; compressed."""
    out = io.BytesIO()
    with gzip.open(out, "wb", 1) as tar:
        if through_links:
            for n in range(200):
                tar.write(named(b"%d" % n, b"2", linkpath=b"%d/" % (n + 1) + b"x/" * 1500))
            tar.write(named(b"0/f"))
        else:
            for n in range(count):
                tar.write(named(b"%d/" % n + b"d/" * 2000 + b"f"))
        tar.write(_END)
    return out.getvalue()


def layout(folder: Path, layer: bytes) -> Path:
    """An OCI layout of an image with this layer, gzip-compressed."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(media_type: str, data: bytes) -> Descriptor:
        d = Descriptor(media_type=media_type, digest=digest_bytes(data), size=len(data))
        (blobs / d.digest.hex).write_bytes(data)
        return d

    tar = gzip.decompress(layer)
    config = ImageConfig(platform=host_platform(), diff_ids=(digest_bytes(tar),))
    d = put(mt.OCI_LAYER_GZIP, layer)
    entry = put(mt.OCI_MANIFEST, Manifest.build(put(mt.OCI_CONFIG, config.to_bytes()), [d]).raw)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry.to_json()]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def limited(*words: str, stdin: bytes = b"") -> tuple[int, str]:
    """The status of a command that has little memory, and its last line."""
    done = subprocess.run([sys.executable, "-c", _LIMITED, *words], input=stdin, capture_output=True)
    said = done.stderr.decode()
    assert "Traceback" not in said
    assert "MemoryError" not in said
    return done.returncode, next(line for line in said.splitlines() if line.startswith("error:"))


LAYERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "folders that are implied": (lambda: implying(40), "implied and not listed have more than 67108864"),
    "links one into the other": (lambda: implying(1, through_links=True), "a path of .* bytes|too long"),
    "a path": (lambda: gzip.compress(HOSTILE["100,000 folders"][0] + _END), "a path of 200001 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("what", LAYERS)
def test_build_says_which_layer_and_which_entry(tmp_path: Path, what: str) -> None:
    make, message = LAYERS[what]
    layer = make()
    assert len(layer) < 1 << 20
    base = layout(tmp_path / "base", layer)
    (tmp_path / "Dockerfile").write_text("FROM base\nCOPY Dockerfile /x/f\n")
    status, said = limited(
        "build", "--root", str(tmp_path / "s"), "--progress", "plain",
        "--build-context", f"base=oci-layout://{base}", str(tmp_path),
    )  # fmt: skip
    assert status == 6, said
    assert "layer sha256:" in said
    with pytest.raises(LimitExceeded, match=message):
        raise LimitExceeded(said)


@pytest.mark.parametrize("what", LAYERS)
@pytest.mark.parametrize("how", ["ADD", "context"])
def test_archives_are_held_to_the_same(tmp_path: Path, what: str, how: str) -> None:
    make, message = LAYERS[what]
    tar = make()
    root = ["--root", str(tmp_path / "s")]
    words = ["build", *root, "--progress", "plain", "-f", str(tmp_path / "Dockerfile")]
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "a.tar").write_bytes(tar)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nADD a.tar /x/\n")
    if how == "ADD":
        status, said = limited(*words, str(tmp_path / "context"))
    else:
        status, said = limited(*words[:-2], "-", stdin=tar)
    assert status in (5, 6), said
    with pytest.raises(ImagesmithError, match=message):
        raise LimitExceeded(said)


def test_archive_of_load_is_held_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(HOSTILE["100,000 folders"][0] + _END)
    status, said = limited("load", "--root", str(tmp_path / "s"), "-i", str(tmp_path / "a.tar"))
    assert (status, "a path of 200001 bytes" in said) == (6, True), said


def test_archive_of_load_may_not_nest_headers_until_the_stack_ends(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(pax(record(b"comment", b"x")) * 5000 + header(b"manifest.json") + _END)
    status, said = limited("load", "--root", str(tmp_path / "s"), "-i", str(tmp_path / "a.tar"))
    assert (status, "manifest.json: not valid JSON" in said) == (6, True), said


def test_xz_may_not_ask_for_gigabytes(tmp_path: Path) -> None:
    import lzma
    import zlib

    data = bytearray(lzma.compress(b"x" * 1000, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]))
    at = data.index(b"\x21\x01", 12)
    data[at + 2] = 40  # a dictionary of 4 GiB
    size = (data[12] + 1) * 4
    data[12 + size - 4 : 12 + size] = zlib.crc32(bytes(data[12 : 12 + size - 4])).to_bytes(4, "little")
    (tmp_path / "a.tar").write_bytes(data)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    status, said = limited("load", "--root", str(tmp_path / "s"), "-i", str(tmp_path / "a.tar"))
    assert status == 6, said
    assert "xz stream: Memory usage limit exceeded" in said


def test_tars_of_others_are_read_as_before(tmp_path: Path) -> None:
    """Long names and links of GNU tar and of pax, at the limits, as tarfile writes them."""
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as tar:
            info = tarfile.TarInfo("/".join(["n" * 255] * 15))
            info.type, info.linkname = tarfile.SYMTYPE, "x" * 4095
            tar.addfile(info)
        out.seek(0)
        ((e, _),) = read_layer(out)
        assert (len(e.path), len(e.link)) == (255 * 15 + 14, 4095)
