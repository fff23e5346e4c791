"""The encrypted key file of cosign: a private key in NaCl's secretbox, whose key scrypt makes of a password.

Why our own box: it is XSalsa20 and Poly1305, fifty lines, and neither the standard library nor `cryptography`
has Salsa20; for one file of a few hundred bytes nothing else is worth installing.
Spec: go-securesystemslib, encrypted/encrypted.go (N of scrypt is one of three, r 8, p 1); D. J. Bernstein,
"Cryptography in NaCl" (HSalsa20, XSalsa20, secretbox); RFC 8439 2.5 (Poly1305); RFC 7914 (scrypt).
Trust: who gives the file may choose its numbers: what they cost is bounded, and nothing is decrypted whose
tag is not right. How long the arithmetic takes may tell of the key: it is done on the user's own machine,
never for others who ask.
Threads: any.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct
from collections.abc import Sequence

from imagesmith.errors import InvalidDocument, UsageError
from imagesmith.oci.codec import Object, dumps, parse_object

__all__ = ["LABELS", "open_box", "seal_box", "unwrap", "wrap"]

#: The words of the PEM blocks; the first is written.
LABELS = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
#: What scrypt may cost: 32, 64 and 128 MiB. The second is written, as by cosign.
_COSTS = (32768, 65536, 131072)
_COST, _R, _P = 65536, 8, 1
_SALT_BYTES, _NONCE_BYTES, _TAG_BYTES = 32, 24, 16
_MOST_SALT_BYTES = 64


def wrap(private: bytes, password: bytes) -> bytes:
    """The JSON document that holds a private key under a password, with salt and nonce at random.

    Args:
        private: the key as PKCS#8 in DER.
        password: any bytes; empty ones protect nothing, and are allowed, as by cosign.
    """
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    box = seal_box(_key(password, salt, _COST), nonce, private)
    return dumps(
        {
            "kdf": {
                "name": "scrypt",
                "params": {"N": _COST, "r": _R, "p": _P},
                "salt": base64.b64encode(salt).decode(),
            },
            "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
            "ciphertext": base64.b64encode(box).decode(),
        }
    )


def unwrap(document: bytes, password: bytes, name: str) -> bytes:
    """The private key in such a document, PKCS#8 in DER.

    Args:
        document: the JSON.
        password: as it was given.
        name: of the file, for messages.

    Raises:
        InvalidDocument: it is of another form, or of numbers that nobody writes.
        UsageError: the password is another.
    """
    o = parse_object(document, name, exact=True)
    salt, cost = _kdf(o.need_obj("kdf"))
    cipher = o.need_obj("cipher")
    _named(cipher, "nacl/secretbox")
    nonce, box = cipher.data_of("nonce"), o.data_of("ciphertext")
    if len(nonce) != _NONCE_BYTES:
        raise InvalidDocument(f"{cipher.path}: nonce has {len(nonce)} bytes, not {_NONCE_BYTES}")
    if len(box) <= _TAG_BYTES:
        raise InvalidDocument(f"{name}: ciphertext holds no key")
    private = open_box(_key(password, salt, cost), nonce, box)
    if private is None:
        raise UsageError(f"{name}: the password does not open this key")
    return private


def _kdf(o: Object) -> tuple[bytes, int]:
    """The salt, and scrypt's cost."""
    _named(o, "scrypt")
    params, salt = o.need_obj("params"), o.data_of("salt")
    cost = params.integer("N")
    if cost not in _COSTS or (params.integer("r"), params.integer("p")) != (_R, _P):
        costs = ", ".join(map(str, _COSTS))
        raise InvalidDocument(f"{params.path}: must be N {costs}, r {_R} and p {_P}")
    if not 0 < len(salt) <= _MOST_SALT_BYTES:
        raise InvalidDocument(f"{o.path}: salt has {len(salt)} bytes, not 1 to {_MOST_SALT_BYTES}")
    return salt, cost


def _named(o: Object, name: str) -> None:
    if o.text("name") != name:
        raise InvalidDocument(f"{o.path}: must be {name}, is {o.text('name')[:60]!r}")


def _key(password: bytes, salt: bytes, cost: int) -> bytes:
    most_bytes = 128 * _R * (cost + _P + 2) + (1 << 20)
    return hashlib.scrypt(password, salt=salt, n=cost, r=_R, p=_P, maxmem=most_bytes, dklen=32)


def seal_box(key: bytes, nonce: bytes, message: bytes) -> bytes:
    """NaCl's secretbox: the tag, then the message encrypted.

    Args:
        key: 32 bytes.
        nonce: 24 bytes, never used twice with the key.
        message: a short one: this takes a millisecond for each 64 bytes.
    """
    tag_key, stream = _streams(key, nonce, len(message))
    data = _xor(message, stream)
    return _poly1305(tag_key, data) + data


def open_box(key: bytes, nonce: bytes, box: bytes) -> bytes | None:
    """The message in a secretbox; None where the tag is another, so that key or box are not right."""
    tag, data = box[:_TAG_BYTES], box[_TAG_BYTES:]
    tag_key, stream = _streams(key, nonce, len(data))
    return _xor(data, stream) if hmac.compare_digest(tag, _poly1305(tag_key, data)) else None


def _xor(data: bytes, stream: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(data, stream, strict=True))


def _streams(key: bytes, nonce: bytes, size: int) -> tuple[bytes, bytes]:
    """Poly1305's key, 32 bytes of XSalsa20's stream; and what the message is mixed with, those behind."""
    mixed = _rounds(_block(key, nonce[:16]))
    inner = struct.pack("<8I", *(mixed[n] for n in (0, 5, 10, 15, 6, 7, 8, 9)))  # HSalsa20
    out = bytearray()
    for counter in range((32 + size + 63) // 64):
        before = _block(inner, nonce[16:] + struct.pack("<Q", counter))
        after = _rounds(before)
        out += struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(before, after, strict=True)))
    return bytes(out[:32]), bytes(out[32 : 32 + size])


def _block(key: bytes, words: bytes) -> list[int]:
    """What Salsa20 begins with: its constant on the diagonal, the key, and 16 bytes of nonce and counter."""
    c, k, n = (struct.unpack(f"<{len(b) // 4}I", b) for b in (b"expand 32-byte k", key, words))
    return [c[0], *k[:4], c[1], *n, c[2], *k[4:], c[3]]


#: The words of the four quarters of a round, of columns and then of rows.
_QUARTERS = (
    (0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11),
    (0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14),
)  # fmt: skip


def _rounds(block: Sequence[int]) -> list[int]:
    """Salsa20's twenty rounds."""
    x = list(block)
    for _ in range(10):
        for a, b, c, d in _QUARTERS:
            for to, one, other, by in ((b, a, d, 7), (c, b, a, 9), (d, c, b, 13), (a, d, c, 18)):
                total = (x[one] + x[other]) & 0xFFFFFFFF
                x[to] ^= (total << by | total >> 32 - by) & 0xFFFFFFFF
    return x


def _poly1305(key: bytes, data: bytes) -> bytes:
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for n in range(0, len(data), 16):
        total = (total + int.from_bytes(data[n : n + 16] + b"\1", "little")) * r % ((1 << 130) - 5)
    return ((total + int.from_bytes(key[16:], "little")) % (1 << 128)).to_bytes(16, "little")
