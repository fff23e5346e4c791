"""Keys: files of openssl and cosign are read, what one signs its other half verifies, and openssl as well."""

from __future__ import annotations

import base64
import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import ImagesmithError, InvalidDocument, UsageError
from imagesmith.trust.keys import KINDS, PrivateKey, PublicKey, decrypted, generate, open_private
from tests.support import PROJECT, need_program

VECTORS = PROJECT / "fixtures" / "trust"
#: openssl's words for a key of each kind.
OPENSSL = {
    "ecdsa-p256": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ecdsa-p384": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "ecdsa-p521": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
    "ed25519": ["genpkey", "-algorithm", "ED25519"],
    "rsa-2048": ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
}
HASHES = {"ecdsa-p384": "-sha384", "ecdsa-p521": "-sha512"}


def never() -> bytes:
    raise AssertionError("asked for a password")


def openssl(*words: str | Path) -> bytes:
    return subprocess.run([need_program("openssl"), *words], check=True, capture_output=True).stdout


@pytest.fixture(scope="module", params=KINDS)
def key(request: pytest.FixtureRequest) -> PrivateKey:
    return generate(request.param)


def test_a_signature_is_good_for_its_message_and_key_alone(key: PrivateKey) -> None:
    for signature in (key.sign(b"message"), key.sign(b"message", sha256=True)):
        assert key.public.verify(signature, b"message")
        assert not key.public.verify(signature, b"massage")
        assert not generate("ecdsa-p256").public.verify(signature, b"message")
        for n in range(0, len(signature), 7):
            wrong = signature[:n] + bytes([signature[n] ^ 1]) + signature[n + 1 :]
            assert not key.public.verify(wrong, b"message")


def test_a_public_key_is_read_from_its_files(key: PrivateKey) -> None:
    for data in (key.public.pem, key.public.der, b"some words\n" + key.public.pem.replace(b"\n", b"\r\n")):
        found = PublicKey.parse(data, "k")
        assert (found.der, found.kind) == (key.public.der, key.public.kind)


def test_a_private_key_is_read_from_its_encrypted_file(key: PrivateKey) -> None:
    found = open_private(key.encrypted(b"pw"), "k", lambda: b"pw")
    assert found.pkcs8 == key.pkcs8


@pytest.mark.parametrize("kind", OPENSSL)
@pytest.mark.parametrize("form", ["pkcs8", "encrypted", "traditional", "old"])
def test_what_openssl_wrote_is_read_and_openssl_verifies(kind: str, form: str, tmp_path: Path) -> None:
    file, public, message, signature = (tmp_path / name for name in ("key", "pub", "message", "sig"))
    openssl(*OPENSSL[kind], "-out", file)
    public.write_bytes(openssl("pkey", "-in", file, "-pubout"))
    if kind == "ed25519" and form in ("traditional", "old"):
        return  # openssl has no older form for it
    forms: dict[str, list[str]] = {
        "encrypted": ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:pw"],
        "traditional": ["pkey", "-traditional"],
        "old": ["pkey", "-traditional", "-aes128", "-passout", "pass:pw"],
    }
    if form in forms:
        file.write_bytes(openssl(*forms[form], "-in", file))
    locked = form in ("encrypted", "old")
    found = open_private(file.read_bytes(), "k", (lambda: b"pw") if locked else never)
    assert (found.public.pem, found.public.kind) == (public.read_bytes(), kind)
    message.write_bytes(b"hello")
    signature.write_bytes(found.sign(b"hello"))
    words: list[str | Path] = ["-pubin", "-inkey", public, "-sigfile", signature, "-in", message]
    if kind == "ed25519":
        said = openssl("pkeyutl", "-verify", "-rawin", *words)
    else:
        said = openssl(
            "dgst", HASHES.get(kind, "-sha256"), "-verify", public, "-signature", signature, message
        )
    assert b"OK" in said or b"Success" in said


def test_the_hint_is_what_sigstore_calls_the_key() -> None:
    found = PublicKey.parse((VECTORS / "cosign.pub").read_bytes(), "cosign.pub")
    assert found.hint == "ZYlz8qo7JnNkvTT9PgtCctqNA1JcOVH1PF81igH1xjA="


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (generate("ed25519").encrypted(b""), UsageError, "a private key, where a public one is needed"),
        (b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", UsageError, "a certificate"),
        (
            b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n",
            InvalidDocument,
            "not a public key",
        ),
        (b"-----BEGIN PUBLIC KEY-----\nAA==\n", InvalidDocument, "without its end"),
        (b"", InvalidDocument, "not a public key"),
        (b"a" * 100_000, InvalidDocument, "too many for a key"),
    ],
)
def test_what_is_no_public_key_is_told(data: bytes, error: type[ImagesmithError], says: str) -> None:
    with pytest.raises(error, match=f"^pub: .*{says}"):
        PublicKey.parse(data, "pub")


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (generate("ed25519").public.pem, UsageError, "a public key, where a private one is needed"),
        (b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", InvalidDocument, "not a private"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAA==\n-----END OPENSSH PRIVATE KEY-----\n", InvalidDocument,
         "a PEM file of OPENSSH PRIVATE KEY"),
        (generate("ed25519").encrypted(b"another"), UsageError, "the password does not open this key"),
        (b"hello", InvalidDocument, "no PEM file"),
    ],
)  # fmt: skip
def test_what_is_no_private_key_is_told(data: bytes, error: type[ImagesmithError], says: str) -> None:
    with pytest.raises(error, match=f"^key: .*{says}"):
        open_private(data, "key", lambda: b"pw")


@pytest.mark.parametrize(
    "kind", ["X25519", "EC -pkeyopt ec_paramgen_curve:secp256k1", "RSA -pkeyopt rsa_keygen_bits:1024"]
)
def test_kinds_of_keys_that_nobody_signs_images_with_are_refused(kind: str) -> None:
    private = openssl("genpkey", "-algorithm", *kind.split())
    with pytest.raises(InvalidDocument, match=r"^k: (an RSA key of 1024 bits|a kind of key)"):
        open_private(private, "k", never)


@given(st.data())
def test_any_bytes_in_a_pem_block_are_read_or_refused(data: st.DataObject) -> None:
    label = data.draw(
        st.sampled_from(["PUBLIC KEY", "PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"])
    )
    raw = bytearray(generate("ed25519").pkcs8)
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    text = f"-----BEGIN {label}-----\n{base64.b64encode(raw).decode()}\n-----END {label}-----\n".encode()
    with contextlib.suppress(InvalidDocument, UsageError):
        open_private(text, "k", lambda: b"pw")
    with contextlib.suppress(InvalidDocument, UsageError):
        PublicKey.parse(text, "k")


def test_what_was_encrypted_for_an_rsa_key_is_decrypted_by_it() -> None:
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    key = generate("rsa-3072")
    public = load_der_public_key(key.public.der)
    sealed = public.encrypt(b"message", padding.PKCS1v15())  # type: ignore[union-attr]
    assert decrypted(sealed, key.pem, "k") == b"message"
    assert decrypted(sealed[1:], key.pem, "k") is None
    with pytest.raises(InvalidDocument, match="k: a key of ed25519, where one of RSA is needed"):
        decrypted(sealed, generate("ed25519").pem, "k")
    with pytest.raises(UsageError, match="k: the key is under a password"):
        decrypted(sealed, key.encrypted(b"word"), "k")
