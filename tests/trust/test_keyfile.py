"""Cosign's key file: opened with known passwords; ours are opened by another reading of the format, below."""

from __future__ import annotations

import base64
import hashlib
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesmith.errors import InvalidDocument, UsageError
from imagesmith.trust.keyfile import open_box, seal_box, unwrap, wrap
from imagesmith.trust.keys import PublicKey, generate, open_private
from tests.trust.test_keys import VECTORS

# --- another reading of the format, from the papers: quarter rounds over a matrix, all in small functions --


def rotl(value: int, by: int) -> int:
    return ((value << by) & 0xFFFFFFFF) | (value >> (32 - by))


def quarter(y: list[int]) -> list[int]:
    z1 = y[1] ^ rotl((y[0] + y[3]) & 0xFFFFFFFF, 7)
    z2 = y[2] ^ rotl((z1 + y[0]) & 0xFFFFFFFF, 9)
    z3 = y[3] ^ rotl((z2 + z1) & 0xFFFFFFFF, 13)
    return [y[0] ^ rotl((z3 + z2) & 0xFFFFFFFF, 18), z1, z2, z3]


def row_round(y: list[int]) -> list[int]:
    out = [0] * 16
    for n in range(4):
        at = [4 * n + (n + k) % 4 for k in range(4)]
        for to, value in zip(at, quarter([y[k] for k in at]), strict=True):
            out[to] = value
    return out


def turned(y: list[int]) -> list[int]:
    return [y[4 * (n % 4) + n // 4] for n in range(16)]


def double_rounds(y: list[int]) -> list[int]:
    for _ in range(10):
        y = row_round(turned(row_round(turned(y))))
    return y


def expanded(key: bytes, last: bytes) -> list[int]:
    sigma = b"expa", b"nd 3", b"2-by", b"te k"
    return list(
        struct.unpack("<16I", b"".join([sigma[0], key[:16], sigma[1], last, sigma[2], key[16:], sigma[3]]))
    )


def xsalsa20(key: bytes, nonce: bytes, size: int) -> bytes:
    z = double_rounds(expanded(key, nonce[:16]))
    key = struct.pack("<8I", z[0], z[5], z[10], z[15], z[6], z[7], z[8], z[9])
    out = b""
    while len(out) < size:
        x = expanded(key, nonce[16:] + (len(out) // 64).to_bytes(8, "little"))
        out += b"".join(
            ((a + b) % 2**32).to_bytes(4, "little") for a, b in zip(x, double_rounds(x), strict=True)
        )
    return out[:size]


def opened(pem: bytes, password: bytes) -> bytes:
    lines = pem.decode().splitlines()
    assert lines[0] == "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----"
    assert lines[-1] == "-----END ENCRYPTED SIGSTORE PRIVATE KEY-----"
    d = json.loads(base64.b64decode("".join(lines[1:-1])))
    assert (d["kdf"]["name"], d["cipher"]["name"]) == ("scrypt", "nacl/secretbox")
    n, r, p = (d["kdf"]["params"][k] for k in ("N", "r", "p"))
    salt, nonce, box = (
        base64.b64decode(s) for s in (d["kdf"]["salt"], d["cipher"]["nonce"], d["ciphertext"])
    )
    key = hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=1 << 28, dklen=32)
    stream = xsalsa20(key, nonce, 16 + len(box))
    r_, s, acc = int.from_bytes(stream[:16], "little"), int.from_bytes(stream[16:32], "little"), 0
    r_ &= 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    for at in range(16, len(box), 16):
        block = box[at : at + 16]
        acc = (acc + int.from_bytes(block, "little") + (1 << 8 * len(block))) * r_ % (2**130 - 5)
    assert ((acc + s) % 2**128).to_bytes(16, "little") == box[:16]
    return bytes(a ^ b for a, b in zip(box[16:], stream[32:], strict=True))


# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ed25519", "rsa-3072"])
def test_another_reading_of_the_format_opens_our_files(kind: str) -> None:
    key = generate(kind)
    assert opened(key.encrypted("pässword".encode()), "pässword".encode()) == key.pkcs8


def test_a_file_of_cosigns_form_opens_with_its_password() -> None:
    data = (VECTORS / "cosign.key").read_bytes()
    found = open_private(data, "cosign.key", lambda: b"pw")
    assert found.public.der == PublicKey.parse((VECTORS / "cosign.pub").read_bytes(), "p").der
    older = data.replace(b"ENCRYPTED SIGSTORE", b"ENCRYPTED COSIGN")
    assert open_private(older, "cosign.key", lambda: b"pw").pkcs8 == found.pkcs8
    with pytest.raises(UsageError, match=r"^cosign\.key: the password does not open this key"):
        open_private(data, "cosign.key", lambda: b"pw ")


@pytest.mark.parametrize("cost", [32768, 131072])
def test_every_cost_that_cosign_takes_is_read(cost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagesmith.trust.keyfile._COST", cost)
    document = wrap(b"secret", b"pw")
    assert json.loads(document)["kdf"]["params"]["N"] == cost
    assert unwrap(document, b"pw", "k") == b"secret"


@settings(max_examples=40)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=24, max_size=24), st.binary(max_size=200))
def test_a_box_opens_with_its_key_and_nonce_unchanged_alone(key: bytes, nonce: bytes, message: bytes) -> None:
    box = seal_box(key, nonce, message)
    assert len(box) == len(message) + 16
    assert box[16:] == bytes(
        a ^ b for a, b in zip(message, xsalsa20(key, nonce, 32 + len(message))[32:], strict=True)
    )
    assert open_box(key, nonce, box) == message
    for n in {0, len(box) // 2, len(box) - 1}:
        assert open_box(key, nonce, box[:n] + bytes([box[n] ^ 64]) + box[n + 1 :]) is None
    assert open_box(key, nonce, box + b"\0") is None
    assert open_box(bytes([key[0] ^ 1]) + key[1:], nonce, box) is None
    assert open_box(key, nonce[:-1] + bytes([nonce[-1] ^ 1]), box) is None


def test_the_box_of_the_paper() -> None:
    """The example of "Cryptography in NaCl", sections 8 to 10."""
    key = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
    nonce = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
    message = bytes.fromhex(
        "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c6129"
        "6cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde"
        "048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
    )
    box = seal_box(key, nonce, message)
    assert box[:16].hex() == "f3ffc7703f9400e52a7dfb4b3d3305d9"
    assert box[16:32].hex() == "8e993b9f48681273c29650ba32fc76ce"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kdf": {"params": {"N": 1 << 30, "r": 8, "p": 1}}}, "params: must be N 32768, 65536, 131072, r 8"),
        ({"kdf": {"params": {"N": 65536, "r": 1 << 20, "p": 1}}}, "params: must be N"),
        ({"kdf": {"name": "pbkdf2"}}, "kdf: must be scrypt, is 'pbkdf2'"),
        ({"kdf": {"salt": ""}}, "salt has 0 bytes"),
        ({"kdf": {"salt": "A" * 400}}, "salt has 300 bytes"),
        ({"kdf": {"salt": "!"}}, "salt is no base64"),
        ({"cipher": {"name": "aes"}}, "cipher: must be nacl/secretbox"),
        ({"cipher": {"nonce": "AAAA"}}, "nonce has 3 bytes, not 24"),
        ({"ciphertext": "AAAA"}, "ciphertext holds no key"),
        ({"cipher": 7}, "cipher must be an object"),
    ],
)
def test_numbers_and_names_that_nobody_writes_are_refused(change: dict[str, object], says: str) -> None:
    document = json.loads(wrap(b"secret", b"pw"))
    for key, value in change.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) else value
    with pytest.raises(InvalidDocument, match=f"^k: .*{says}"):
        unwrap(json.dumps(document).encode(), b"pw", "k")


def test_a_document_that_says_a_thing_twice_is_refused() -> None:
    document = wrap(b"secret", b"pw").replace(b'{"kdf"', b'{"ciphertext":"AAAA","kdf"')
    with pytest.raises(InvalidDocument, match="'ciphertext' stands twice"):
        unwrap(document, b"pw", "k")
