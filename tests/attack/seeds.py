"""Where fuzzing begins: small inputs of every form that a reader knows, and the words of its language."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile

import zstandard

from imagesmith.oci.digest import digest_bytes
from imagesmith.trust.keyfile import wrap
from imagesmith.trust.keys import open_private
from imagesmith.trust.simplesigning import Payload
from tests.layer.test_tarread import header, pax
from tests.support import PROJECT

TAR = (
    b"ustar\x0000",
    b"ustar  \0",
    b"path=",
    b"linkpath=",
    b"size=",
    b"mtime=",
    b"uid=",
    b"gid=",
    b"GNU.sparse.major=1\n",
    b"GNU.sparse.minor=0\n",
    b"GNU.sparse.name=",
    b"GNU.sparse.realsize=",
    b"GNU.sparse.map=",
    b"GNU.sparse.size=",
    b"SCHILY.xattr.security.capability=",
    b"../",
    b".wh.",
    b".wh..wh..opq",
    b"\x80\0\0\0",
    b"\xff\xff\xff\xff",
    b"0000644",
    b"77777777777",
    b"-1",
    b"1_0",
    b" 7",
    b"9" * 25,
    *(bytes([c]) for c in b"01234567LKxgSNDMV"),
)
STREAM = (b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18\4\0\0\0", bytes(8))
DOCKERFILE = (
    b"FROM ",
    b" AS ",
    b"RUN ",
    b"COPY ",
    b"ADD ",
    b"ENV ",
    b"ARG ",
    b"LABEL ",
    b"CMD ",
    b"ENTRYPOINT ",
    b"EXPOSE ",
    b"VOLUME ",
    b"USER ",
    b"WORKDIR ",
    b"ONBUILD ",
    b"STOPSIGNAL ",
    b"HEALTHCHECK ",
    b"SHELL ",
    b"MAINTAINER ",
    b"<<EOF",
    b"<<-'E F'",
    b"\nEOF\n",
    b"\\\n",
    b"# escape=`\n",
    b"# syntax=a\n",
    b"--mount=type=",
    b"--from=",
    b"--chown=",
    b"cache,target=/a,id=b",
    b"bind,source=",
    b"tmpfs,size=",
    b"secret,env=",
    b"ssh,mode=0600",
    b"--interval=1h",
    b"--retries=",
    b'["a", "b"]',
    b"NONE",
    b"a=b ",
    b"$a",
    b"${a:-b}",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"9" * 30,
    b"--exclude=",
    b"--parents ",
    b"--link ",
    b"--keep-git-dir=true ",
    b"--checksum=sha256:",
    b"--security=insecure ",
)
DOCKERFILES = (
    (
        b"# syntax=docker/dockerfile:1\n# escape=`\nARG V=1\n"
        b"FROM --platform=$P alpine:$V AS a\nRUN <<EOF cat <<-E2 `\n x\nEOF\n\ty\n\tE2\n"
    ),
    (
        b"FROM a\n"
        b'RUN --mount=type=cache,id=x,target=/c,sharing=locked,uid=1 --network=none ["a", "b"]\n'
        b'CMD a b\nSHELL ["/x"]\n'
    ),
    (
        b"FROM a\nCOPY --from=b --chown=1:2 --chmod=0755 --link --exclude=*.c a b /c/\n"
        b"ADD --checksum=sha256:00 https://x/y /z\n"
    ),
    (
        b'FROM a\nENV a=b c=\'d e\' \\\n  f="g\\"h"\nENV old style\nLABEL a.b=c\n'
        b'EXPOSE 80/tcp 90-95\nVOLUME ["/a"]\nUSER 1:2\nWORKDIR /x\n'
    ),
    (
        b"FROM a\nHEALTHCHECK --interval=1m30s --retries=3 CMD a\nSTOPSIGNAL 9\n"
        b'ONBUILD RUN x\nENTRYPOINT ["a"]\nMAINTAINER me\n'
    ),
)
WORDS = (
    b"${a#",
    b"${a##",
    b"${a%",
    b"${a%%",
    b"${a/",
    b"${a//",
    b"${a:-",
    b"${b:+",
    b"${c:?",
    b"$a",
    b"$0",
    b"}",
    b"'",
    b'"',
    b"\\",
    b"`",
    b"*",
    b"?",
    b"\0",
    b"ab",
    b" ",
    b"$",
    b"{",
    b"\xc3\xa9",
)
WORD_TEXTS = (
    b"${a#*b}${a%%b*}${a//a/$b}",
    b"\"$a '${c}'\" 'x$y' \\$z",
    b"${b:-${d:-x}}${n?no}",
    b"*a?b*\0aababb",
    b"??*a\0aaa",
)
VALUES = (
    b"type=",
    b"cache",
    b"bind",
    b"tmpfs",
    b"secret",
    b"ssh",
    b",target=",
    b",source=",
    b",id=",
    b",size=",
    b",mode=0",
    b",uid=",
    b",ro",
    b",rw=false",
    b",sharing=locked",
    b",from=",
    b",env=",
    b",required",
    b'"',
    b",",
    b"=",
    b"$a",
    b"${b:-x}",
    b"9" * 30,
    b"9" * 500,
    b"1h",
    b"2m",
    b"3.5ms",
    b"-",
    b"+",
    b"u+rwX",
    b"0777",
    b"80/tcp",
    b"1-65535",
    b":",
    b"root",
    b"SIG",
    b"KILL",
    b"skip=",
    b"error=true",
    b";",
    b"\xc2\xb2",
    b"\xd9\xa3",
    b"1e5",
    b"0x1",
)
VALUE_TEXTS = (
    b"type=cache,id=x,target=/c,sharing=locked,uid=1,gid=2,mode=0755,from=a,source=b",
    b"type=tmpfs,target=/a,size=10.5m",
    b'type=secret,id=a,"target=/x,y",required=true,env=B',
    b"1h30m2.5s",
    b"SIGRTMIN+3",
    b"u=rwX,go-w",
    b"1:2",
    b"80-90:80-90/udp 1",
    b"skip=all;error=true",
    b"127.0.0.1:1-2:3-4/tcp [::1]::5",
)
PATTERNS = (
    b"**/",
    b"**",
    b"*",
    b"?",
    b"[",
    b"]",
    b"[^a-c]",
    b"\\",
    b"!",
    b"/",
    b"..",
    b"\n",
    b"\0",
    b"a",
    b"b",
    b".",
)
PATTERN_TEXTS = (
    b"**/a\n!b/a\n*.c\0b/a",
    b"a/**/b\n\0a/x/y/b",
    b"a*b?[c-e]\n\0aXbcd",
    b"/a/\n./b\n!**\0a/c",
    b"a**b\n**c\0axb/c",
)
REFERENCE = (
    b":",
    b"@",
    b"/",
    b"sha256:",
    b"0" * 64,
    b"localhost",
    b"library/",
    b"docker.io/",
    b"[::1]",
    b"--",
    b"__",
    b"linux/",
    b"arm64",
    b"/v8",
    b"(1.2+x)",
    b"9" * 5000,
    b"index.docker.io/",
    b"windows",
)
REFERENCES = (
    b"alpine",
    b"Host.example:5000/a/b_c/d:1.0@sha256:" + b"ab" * 32,
    b"[::1]:5000/a",
    b"index.docker.io/a/b:c",
    b"localhost/library/a",
    b"linux/arm/v7",
    b"windows(10.0+a)/amd64",
    b"docker.io/library/localhost/a",
    b"a--b/c__d:E",
)
CHALLENGE = (
    b"Bearer ",
    b"Basic ",
    b"realm=",
    b"service=",
    b"scope=",
    b'"',
    b"\\",
    b",",
    b"=",
    b" ",
    b"\n",
    b"\xe9",
)
CHALLENGES = (
    (b'Bearer realm="https://a/b",service="c",scope="repository:h:5000/x:pull,push"\nBasic realm="x\\"y"'),
    b"Basic, Bearer realm=https://a/b?c=d , error=x",
    b'Negotiate abc==, NTLM , Digest qop="a, b" , x = "y',
)
REQUEST = (
    b"GET ",
    b"POST ",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"Host: a\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"0\r\n\r\n",
    b"a;x=y\r\n",
    b"\r",
    b"\n",
    b"/v2/?n=1&last=a",
    b"http://a/",
    b"%2e%00",
    b"\0",
    b"\t",
    b" ",
    b":",
    b",",
    b"+5",
    b"0x5",
    b"\xff",
)
REQUESTS = (
    (b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\nGET /v2/?n=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    (
        b"PUT /v2/a/blobs/uploads/x?digest=b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
        b"\r\nhelloGET / HTTP/1.0\r\n\r\n"
    ),
    (
        b"PATCH /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\n"
        b"hello\r\n0\r\nT: x\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n"
    ),
)
DOCUMENT = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"NaN",
    b"Infinity",
    b"1" * 5000,
    b"\\ud800",
    b"\\u0000",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b'"config":',
    b'"layers":',
    b'"manifests":',
    b'"digest":',
    b'"size":',
    b'"records":',
    b'"parts":',
    b'"version":1',
    b'"rootfs":',
    b'"diff_ids":',
    b'"sha256:' + b"0" * 64 + b'"',
    b"[" * 2000,
    b'"platform":',
    b'"os":',
    b'"os.features":',
    b'"annotations":',
    b'"created":',
    b'"Healthcheck":',
    b'"history":',
    b"\xed\xa0\x80",
)

_DIGEST = "sha256:" + "0" * 64


def tars() -> tuple[bytes, ...]:
    """Archives of all kinds of members; the first byte says that checksums are to be mended."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for kind, name in zip(
            b"0123456", ("file", "hard", "link", "char", "block", "folder/", "fifo"), strict=True
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = bytes([kind]), "file" if kind in b"12" else "", 0o644
            tar.addfile(info)
        info = tarfile.TarInfo("long" * 40)
        info.size = 5
        tar.addfile(info, io.BytesIO(b"hello"))
    old = header(b"s", b"S", b"2", magic=b"ustar  \0")
    old = old[:386] + b"00000000000\0" + b"00000000002\0" + old[410:483] + b"00000001000\0" + old[495:]
    one = (
        b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n29 GNU.sparse.realsize=1024\n24 GNU.sparse.name=abc\n"
    )
    nul = b"23 GNU.sparse.size=512\n26 GNU.sparse.map=0,2,9,1\n"
    named = b"9 path=a\n14 linkpath=b\n15 mtime=-1.25\n9 uid=7\n9 gid=8\n"
    marks = header(b"a/.wh.b") + header(b"a/.wh..wh..opq") + header(b"./x", b"5") + header(b"x/../y")
    bodies = (
        buffer.getvalue()[:10240],
        old + b"hi" + bytes(510),
        pax(one) + header(b"s", b"0", b"1002") + b"1\n0\n2\n".ljust(512, b"\0") + b"hi" + bytes(510),
        pax(nul) + header(b"s", b"0", b"3") + b"abc" + bytes(509),
        pax(named) + header(b"q"),
        pax(b"9 uid=7\n", b"g") + header(b"q"),
        marks,
        header(b"n", size=b"\x80" + bytes(10) + b"\1") + b"x" * 512,
        header(b"deep", prefix=b"p/" * 70),
        header(b"old", magic=b"\0" * 8),
    )
    return tuple(b"\0" + body + bytes(1024) for body in bodies)


def streams() -> tuple[bytes, ...]:
    """The same text, compressed by each, in one member and in two, and with what may follow."""
    text = b"text " * 40
    frame = zstandard.ZstdCompressor().compress(text)
    ours = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + gzip.compress(text, mtime=0)[10:]
    return (
        ours,
        ours + ours + ours,
        ours + bytes(20),
        gzip.compress(text) + ours,
        bz2.compress(text) * 2,
        lzma.compress(text) * 2,
        frame,
        frame + b"\x50\x2a\x4d\x18\4\0\0\0abcd" + frame,
        b"plain",
        b"",
    )


def documents() -> tuple[bytes, ...]:
    """A config, a manifest with a cache beside its layers, and an index."""
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": _DIGEST, "size": 3}
    record = {
        "base": "x",
        "parts": {"kind": "run", "argv": ["a"]},
        "layer": 0,
        "diff_id": _DIGEST,
        "created_ns": 5,
        "note": {"a": "b"},
    }
    cache = {"version": 1, "records": [record]}
    runtime = {
        "Env": ["a=b"],
        "ExposedPorts": {"80/tcp": {}},
        "Labels": {"a": "b"},
        "Healthcheck": {"Test": ["NONE"], "Retries": 1},
    }
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": runtime,
        "rootfs": {"type": "layers", "diff_ids": [_DIGEST]},
        "history": [{"created_by": "x", "empty_layer": True}],
        "created": "2020-01-01T00:00:00Z",
        "other": [1, 2.5, None],
    }
    manifest = {
        "schemaVersion": 2,
        "config": {**layer, "mediaType": "application/vnd.oci.image.config.v1+json"},
        "layers": [layer],
        "annotations": {"a": "b"},
        "subject": layer,
        "cache": cache,
    }
    index = {
        "schemaVersion": 2,
        "manifests": [{**layer, "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}],
    }
    return tuple(json.dumps(d).encode() for d in (config, manifest, index, cache))


TRUST = (
    b"-----BEGIN PUBLIC KEY-----\n", b"-----END PUBLIC KEY-----", b"PRIVATE KEY", b"ENCRYPTED SIGSTORE ",
    b"\x30\x82", b'"kdf":', b'"params":{"N":32768', b'"nonce":', b'"ciphertext":', b'"payload":',
    b'"payloadType":', b'"sig":""', b'"signatures":[]', b'"verificationMaterial":', b'"publicKey":{}',
    b'"certificate":', b'"rawBytes":"AA=="', b'"tlogEntries":[', b'"messageSignature":', b'"critical":',
    b'"optional":null', b'"timestamp":1e400', b"null", b"[",
)  # fmt: skip


def trust() -> tuple[bytes, ...]:
    """Keys of both halves, a key file's document, a bundle, its envelope, and a payload."""
    folder = PROJECT / "fixtures" / "trust"
    key = open_private((folder / "cosign.key").read_bytes(), "key", lambda: b"pw")
    bundle = (folder / "bundle.json").read_bytes()
    return (
        (folder / "cosign.key").read_bytes(),
        key.public.pem,
        key.public.der,
        key.pem,
        wrap(b"x" * 40, b"pw"),
        bundle,
        json.dumps(json.loads(bundle)["dsseEnvelope"]).encode(),
        Payload("example.com/a", digest_bytes(b""), {"k": "v"}).to_json(),
    )
