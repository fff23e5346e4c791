"""What is fuzzed: for each reader of others' bytes, how it is called and what must hold of its answer.

A target returns, or raises what its reader promises to raise; anything else is a finding. Where there is
another reader of the format (tarfile, gzip, h11), or a slow one (references.py), both must tell the same.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import posixpath
import re
import socket
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import h11
import zstandard

from imagesmith.context.patterns import Matcher, match_name
from imagesmith.dockerfile.format import format_dockerfile
from imagesmith.dockerfile.globs import Glob
from imagesmith.dockerfile.lint import LintConfig
from imagesmith.dockerfile.mounts import parse_mount
from imagesmith.dockerfile.nodes import Dockerfile, Span
from imagesmith.dockerfile.parse import parse, parse_trigger
from imagesmith.dockerfile.values import (
    MAX_PORTS,
    check_signal,
    parse_bool,
    parse_chmod,
    parse_duration,
    parse_ports,
)
from imagesmith.dockerfile.words import Lexer
from imagesmith.embedded.heads import Refusal
from imagesmith.embedded.wire import Connection, Gone
from imagesmith.errors import (
    ContextError,
    DockerfileError,
    ImagesmithError,
    IntegrityError,
    InvalidDocument,
    InvalidReference,
    UsageError,
)
from imagesmith.fs.owner import copy_owner
from imagesmith.layer.decompress import decompressed, sniff
from imagesmith.layer.tarread import Limits, is_tar, read_archive, read_layer
from imagesmith.oci.codec import parse_object
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.model import Descriptor, Index, Manifest, parse_document
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.oci.times import format_ns
from imagesmith.registry.challenge import parse_challenges, split_scope
from imagesmith.solve.cacheio import decode
from imagesmith.trust.bundle import Bundle
from imagesmith.trust.dsse import Envelope
from imagesmith.trust.keyfile import unwrap
from imagesmith.trust.keys import PublicKey, open_private
from imagesmith.trust.simplesigning import Payload
from imagesmith.values import replace
from tests.attack import packages, seeds
from tests.attack.references import BadPattern, filepath_match, ignored, shell_match

__all__ = ["TARGETS", "Target"]

_PLAIN_BYTES = 1 << 22


@dataclass(frozen=True)
class Target:
    """One reader: how it is called, inputs to begin with, pieces of its language, and what it may take.

    `inputs` is how many a run within the tests makes; `mib` and `cpu_s` are what one input may cost at most.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    inputs: int = 1000
    longest: int = 4096
    mib: int = 64
    cpu_s: float = 2.0
    modules: tuple[str, ...] = field(default=("imagesmith",))


@contextlib.contextmanager
def _must(what: str) -> Iterator[None]:
    """Within it even a promised error is a finding."""
    try:
        yield
    except ImagesmithError as e:
        raise AssertionError(f"{what}: {e}") from e


# --- tars and compressed streams ----------------------------------------------------------------------------


class _Drips:
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._source = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._source.read(min(size, 37))


def _mended(data: bytes) -> tuple[bytes, bool]:
    """A tar with right checksums, and right lengths of pax records: else few inputs get any further.

    Returns also whether a member has two extended headers of one kind: which of them counts is not agreed.
    """
    out = bytearray()
    at = 0
    kinds, twice = b"", False
    while at + 512 <= len(data) and len(out) < 1 << 17:
        head = bytearray(data[at : at + 512])
        at += 512
        if not any(head):
            out += head
            continue
        digits = bytes(head[124:136]).split(b"\0", 1)[0].strip()
        size = int(digits, 8) if re.fullmatch(rb"[0-7]{1,5}", digits) else 0
        body = data[at : at + size]
        at += size + -size % 512
        kind = bytes(head[156:157])
        twice = twice or (kind in (b"x", b"L", b"K") and kind in kinds)
        kinds = kinds + kind if kind in (b"x", b"g", b"L", b"K") else b""
        if kind in (b"x", b"g"):
            body = b"".join(map(_record, body.split(b"\n"))) if body else b""
            head[124:136] = b"%011o\0" % len(body)
        head[148:156] = b"        "
        head[148:156] = b"%06o\0 " % sum(head)
        out += head + body + bytes(-len(body) % 512)
    return bytes(out) + data[at:][:512], twice


def _record(line: bytes) -> bytes:
    text = b" " + line.partition(b" ")[2] + b"\n"
    size = len(text) + len(str(len(text) + 2))
    return b"%d" % size + text


def _cleaned(name: str) -> str:
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _tar(data: bytes) -> None:
    tar, odd = _mended(data[1:]) if data[:1] < b"\xc0" else (data[1:], True)
    is_tar(tar[:512])
    limits = Limits(entries=2000, total_bytes=1 << 24)
    with contextlib.suppress(IntegrityError):
        for e, offset in read_layer(io.BytesIO(tar), limits):
            assert ".." not in e.path.split("/"), e.path
            assert not e.path.startswith("/"), e.path
            assert 0 <= offset <= len(tar), offset
    read, told = _entries(io.BytesIO(tar), limits)
    assert (read, told) == _entries(_Drips(tar), limits), "short reads"
    theirs = None if odd or told else _by_tarfile(tar)
    if theirs is not None:
        for mine, other in zip(read, theirs, strict=False):
            # tarfile takes a prefix from headers that have none, and names that are empty
            if mine[0] and other[0]:
                assert f"/{other[0]}".endswith(f"/{mine[0]}"), f"{mine} {other}"
                assert mine[1:] == other[1:], f"{mine} {other}"


def _entries(source: object, limits: Limits) -> tuple[list[tuple[object, ...]], str]:
    """What read_archive tells of a tar, and the error that ended it."""
    out: list[tuple[object, ...]] = []
    try:
        for e, _ in read_archive(source, limits, sparse=True):  # type: ignore[arg-type]
            size = e.size if e.kind == "f" else 0
            target = e.link if e.kind in "lh" else ""
            out.append((e.path, "f" if e.kind == "d" else e.kind, e.mode, e.uid, e.gid, size, target))
    except IntegrityError as e:
        return out, e.message
    return out, ""


def _by_tarfile(tar: bytes) -> list[tuple[object, ...]] | None:
    """The same by tarfile, files and folders alike; None where it takes another view of what is legal."""
    kinds = {tarfile.SYMTYPE: "l", tarfile.LNKTYPE: "h", tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b",
             tarfile.FIFOTYPE: "p"}  # fmt: skip
    out = []
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:", encoding="utf-8") as opened:
            for m in opened:
                kind = kinds.get(m.type, "f")
                link = _cleaned(m.linkname) if kind == "h" else m.linkname if kind == "l" else ""
                size = m.size if m.isreg() and not m.name.endswith("/") else 0
                out.append((_cleaned(m.name), kind, m.mode & 0o7777, m.uid, m.gid, size, link))
                if "" in m.pax_headers.values():  # which say nothing, and are 0 for tarfile
                    return None
            return None if opened.pax_headers else out
    except Exception:  # tarfile has no one error
        return None


def _stream(data: bytes) -> None:
    kind = sniff(data[:6])
    found = _decoded(io.BytesIO(data))
    assert found == _decoded(_Drips(data)), "short reads"
    if kind and not isinstance(found, str) and len(found) <= _PLAIN_BYTES:
        theirs = _by_others(kind, data)
        if kind == "xz" and theirs is not None and b"\0\xfd7zXZ\0" in data:
            assert found.startswith(theirs), kind  # lzma goes not on behind padding, xz does
        else:
            assert theirs is None or theirs == found, kind


def _decoded(source: object) -> bytes | str:
    parts, size = [], 0
    try:
        stream = decompressed(source)  # type: ignore[arg-type]
        while size <= _PLAIN_BYTES and (piece := stream.read(1 << 16)):
            parts.append(piece)
            size += len(piece)
    except IntegrityError as e:
        return e.message
    return b"".join(parts)


def _by_others(kind: str, data: bytes) -> bytes | None:
    source, frames = io.BytesIO(data), zstandard.ZstdDecompressor(max_window_size=128 << 20)
    reader: Any = {
        "zstd": lambda: frames.stream_reader(source, read_across_frames=True),
        "gzip": lambda: gzip.GzipFile(fileobj=source), "bzip2": lambda: bz2.BZ2File(source),
        "xz": lambda: lzma.LZMAFile(source),
    }[kind]()  # fmt: skip
    try:
        out = b""
        while len(out) <= _PLAIN_BYTES and (piece := reader.read(1 << 16)):
            out += piece
    except Exception:  # each has its own errors
        return None
    return out


# --- Dockerfiles, words, patterns ---------------------------------------------------------------------------


def _tree(dockerfile: Dockerfile) -> object:
    """What a Dockerfile says, without where it says it."""
    nowhere = Span(0, 0)
    lines = [*dockerfile.global_args, *(i for s in dockerfile.stages for i in (s.base, *s.instructions))]
    return [(d.name, d.value) for d in dockerfile.directives], [replace(i, span=nowhere) for i in lines]


def _dockerfile(data: bytes) -> None:
    with contextlib.suppress(DockerfileError):
        parse_trigger(data.decode("utf-8", "surrogateescape"))
    for whole in (data, b"FROM a\n" + data):
        with contextlib.suppress(DockerfileError):
            first = parse(whole)
            text = format_dockerfile(first)
            with _must("formatted, it is refused"):
                again = parse(text)
            assert _tree(again) == _tree(first), "formatted, it says something else"


def _words(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    known = {"a": "abab", "b": "", "c": "x y  'z'", "d": "/usr/bin:/bin", "0": "zero"}
    for escape in "\\`":
        lexer = Lexer(escape)
        for call in (lexer.expand, lexer.expand_words, lexer.expand_heredoc):
            with contextlib.suppress(DockerfileError):
                call(text, known.get)  # type: ignore[operator]
    pattern, _, value = text.partition("\0")
    if "\\" in pattern or len(pattern) > 40 or len(value) > 40:
        return
    fits = [n for n in range(len(value) + 1) if shell_match(pattern, value[:n])]
    glob = Glob(pattern, "\\")
    assert glob.prefix(value, longest=True) == (fits[-1] if fits else -1), "longest prefix"
    assert glob.prefix(value, longest=False) == (fits[0] if fits else -1), "shortest prefix"
    glob.replace_all(value, lambda _: "-")


def _values(data: bytes) -> None:
    """What words of instructions are read as once they are expanded."""
    text = data.decode("utf-8", "surrogateescape")
    known = {"a": "abab", "b": ""}
    with contextlib.suppress(DockerfileError):
        parse_mount(text, lambda word: Lexer().expand(word, known.get).text)
    for call in (parse_duration, check_signal, parse_chmod, lambda t: copy_owner(t, None)):
        with contextlib.suppress(ImagesmithError):
            call(text)
    with contextlib.suppress(DockerfileError):
        assert len(parse_ports(text.split())) <= MAX_PORTS
    with contextlib.suppress(ImagesmithError):
        LintConfig.parse(text)
    with contextlib.suppress(ValueError):
        parse_bool(text)


def _patterns(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    head, _, path = text.partition("\0")
    lines = head.split("\n")
    clean = posixpath.normpath(path).lstrip("/")
    with contextlib.suppress(ContextError):
        found = Matcher(lines).matches(clean)
        if not set("[]\\") & set(head) and len(head) < 100 and len(clean) < 50:
            assert found == ignored(lines, clean), "an ignore file"
    name = path.replace("/", "")
    pattern = lines[0]
    try:
        mine: bool | None = match_name(pattern, name)
    except ContextError:
        mine = None
    if len(pattern) < 50 and len(name) < 50:
        try:
            theirs = filepath_match(pattern, name)
        except BadPattern:
            return  # Go finds some mistakes only where it comes to them, and we others
        assert mine == theirs, "filepath.Match"


# --- references, headers, documents -------------------------------------------------------------------------


def _reference(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(InvalidReference):
        ref = ImageRef.parse(text)
        for form in (str(ref), ref.familiar):
            with _must(form):
                again = ImageRef.parse(form)
            assert again == ref, form
    try:
        platform = Platform.parse(text)
    except InvalidReference:
        return
    if not platform.os_version and not platform.os_features:
        with _must(str(platform)):
            same = Platform.parse(str(platform))
        assert same == platform, str(platform)


def _challenge(data: bytes) -> None:
    headers = data.decode("latin-1").split("\n")
    found = parse_challenges(headers)
    for c in found:
        split_scope(c.params.get("scope", ""))
    written = [f"{c.scheme} " + ", ".join(f"{k}={_quoted(v)}" for k, v in c.params.items()) for c in found]
    assert parse_challenges(written) == found, "written and read again"


def _quoted(value: str) -> str:
    return '"' + re.sub(r'([\\"])', r"\\\1", value) + '"'


def _json(data: bytes) -> None:
    with contextlib.suppress(ImagesmithError):
        config = ImageConfig.parse(data)
        written = config.to_bytes()
        with _must("a config that was written is refused"):
            again = ImageConfig.parse(written)
        assert again.to_bytes() == written, "a config written and read again"
    layers: Iterable[Descriptor] = ()
    with contextlib.suppress(ImagesmithError):
        document = parse_document(data)
        assert document.digest
        if isinstance(document, Manifest):
            layers = document.layers
            with _must("a manifest that was written is refused"):
                wanted = Manifest.build(document.config, document.layers, annotations=document.annotations)
            assert wanted.layers == document.layers, "layers"
        else:
            with _must("an index that was written is refused"):
                manifests = Index.build(document.manifests).manifests
            assert manifests == document.manifests, "manifests"
    with contextlib.suppress(ImagesmithError):
        o = parse_object(data, "cache")
        records, notes = decode(o.obj("cache") or o, tuple(layers))
        assert {record.key for record in records} == notes.keys()
        for record in records:
            format_ns(record.created_ns)
            encoded = json.dumps([record.parts, record.layer]).encode()
            assert json.loads(encoded) == [record.parts, record.layer]


# --- the embedded registry's connections --------------------------------------------------------------------


def _wire(data: bytes) -> None:
    found, whole = _requests(data)
    theirs, whole_too = _by_h11(data)
    for mine, other in zip(found, theirs, strict=False):
        assert mine == other, f"{mine} {other}"
    assert not (whole and whole_too) or len(found) == len(theirs), (
        f"{len(found)} requests, {len(theirs)} for h11"
    )


def _requests(data: bytes) -> tuple[list[tuple[str, str, bytes]], bool]:
    """Method, target and body of each request that these bytes hold; whether the connection ended well."""
    here, there = socket.socketpair()
    out: list[tuple[str, str, bytes]] = []
    with here, there:
        there.sendall(data[:65536])
        there.shutdown(socket.SHUT_WR)
        connection = Connection(here, idle_s=1, stall_s=1)
        try:
            while (request := connection.read_request()) is not None:
                out.append((request.method, request.target, request.body.read(1 << 20)))
                if not request.keep:
                    return out, True
        except (Refusal, Gone):
            return out, False
    return out, not connection._buffer


def _by_h11(data: bytes) -> tuple[list[tuple[str, str, bytes]], bool]:
    """The same by h11."""
    out: list[tuple[str, str, bytes]] = []
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    server.receive_data(b"")
    method = target = ""
    body = b""
    try:
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                method, target, body = event.method.decode(), event.target.decode("latin-1"), b""
                if target.lower().startswith(("http://", "https://")):  # what a registry makes of it
                    target = "/" + target.split("//", 1)[1].partition("/")[2]
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                out.append((method, target, body))
                server.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                server.send(h11.EndOfMessage())
                server.start_next_cycle()
            else:
                return out, isinstance(event, h11.ConnectionClosed)
    except (h11.ProtocolError, h11.LocalProtocolError):
        return out, False


def _trust(data: bytes) -> None:
    """Keys, key files, envelopes, bundles and payloads, whichever of them it is."""
    readers: tuple[Callable[[], object], ...] = (
        lambda: PublicKey.parse(data, "f"),
        lambda: open_private(data.replace(b"65536", b"1"), "f", lambda: b"pw"),  # no scrypt of 64 MiB each
        lambda: unwrap(data.replace(b"65536", b"1"), b"pw", "f"),
        lambda: Payload.parse(data, "f"),
        lambda: Envelope.parse(data, "f"),
    )
    for read in readers:
        with contextlib.suppress(InvalidDocument, UsageError):
            read()
    with contextlib.suppress(InvalidDocument):
        bundle = Bundle.parse(data, "f")
        if isinstance(bundle.content, Envelope) and not (
            bundle.certificates or bundle.tlog_entries or bundle.timestamps
        ):
            with _must("a bundle that is written is read back"):
                assert Bundle.parse(bundle.to_json(), "f") == bundle


TARGETS: dict[str, Target] = {
    t.name: t
    for t in (
        Target("tar", _tar, seeds.tars(), seeds.TAR, inputs=1200, longest=16384, mib=64),
        Target("stream", _stream, seeds.streams(), seeds.STREAM, inputs=5000, longest=65536, mib=320),
        Target("dockerfile", _dockerfile, seeds.DOCKERFILES, seeds.DOCKERFILE, inputs=200),
        Target("words", _words, seeds.WORD_TEXTS, seeds.WORDS, inputs=600),
        Target("values", _values, seeds.VALUE_TEXTS, seeds.VALUES, inputs=1000),
        Target("patterns", _patterns, seeds.PATTERN_TEXTS, seeds.PATTERNS, inputs=1500),
        Target("reference", _reference, seeds.REFERENCES, seeds.REFERENCE, inputs=6000, longest=16384),
        Target("challenge", _challenge, seeds.CHALLENGES, seeds.CHALLENGE, inputs=2500, longest=16384),
        Target("json", _json, seeds.documents(), seeds.DOCUMENT, inputs=4000, longest=16384),
        Target("wire", _wire, seeds.REQUESTS, seeds.REQUEST, inputs=5000, longest=16384),
        Target("trust", _trust, seeds.trust(), seeds.TRUST, inputs=2000, longest=16384),
        Target("packages", packages.run, packages.seeds(), packages.WORDS, inputs=200, longest=32768),
    )
}
