"""rsadecrypt with keys of every file form, bcrypt by its own check, homedir."""

from __future__ import annotations

import base64
import sys

import bcrypt
import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from imagesmith.trust import keys
from tests.bake.functions.calls import call, refused


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPrivateKey, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def sealed(key: rsa.RSAPrivateKey, data: bytes) -> str:
    return base64.b64encode(key.public_key().encrypt(data, padding.PKCS1v15())).decode()


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_what_was_encrypted_is_decrypted(key: rsa.RSAPrivateKey, form: PrivateFormat) -> None:
    assert call("rsadecrypt", sealed(key, b"message"), pem(key, form)) == "message"
    assert call("rsadecrypt", sealed(key, "é".encode()), pem(key, form)) == "é"


def test_another_key_gives_nothing_of_the_message(key: rsa.RSAPrivateKey) -> None:
    """Newer OpenSSL answers with random bytes rather than an error: then that is no text, or another one."""
    other = rsa.generate_private_key(65537, 2048)
    from imagesmith.bake.functions.calling import CallError

    try:
        found = call("rsadecrypt", sealed(key, b"message"), pem(other))
    except CallError as e:
        found = e.message
    assert "message" not in found


def test_wrong_keys_and_texts_are_refused(key: rsa.RSAPrivateKey) -> None:
    good, text = sealed(key, b"message"), pem(key)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()
    assert refused("rsadecrypt", "bad cipher", text) == ("ciphertext: no base64", 0)
    assert refused("rsadecrypt", "", text) == ("ciphertext: the key does not decrypt it", 0)
    assert refused("rsadecrypt", good[:40], text) == ("ciphertext: the key does not decrypt it", 0)
    assert refused("rsadecrypt", good, "bad key")[0] == (
        "privatekey: no PEM file, not of a private key that can be read"
    )
    assert refused("rsadecrypt", good, locked) == (
        "privatekey: the key is under a password; remove that before", 1
    )  # fmt: skip
    public = keys.open_private(text.encode(), "k", bytes).public.pem.decode()
    assert refused("rsadecrypt", good, public) == (
        "privatekey: a public key, where a private one is needed",
        1,
    )
    curve = keys.generate("ecdsa-p256").pem.decode()
    assert refused("rsadecrypt", good, curve) == (
        "privatekey: a key of ecdsa-p256, where one of RSA is needed", 1
    )  # fmt: skip
    assert refused("rsadecrypt", sealed(key, b"\xff"), text) == (
        "ciphertext: what is encrypted is no text in UTF-8", 0
    )  # fmt: skip


@pytest.mark.parametrize("cost", [4, 5])
def test_bcrypt_is_what_bcrypt_checks(cost: int) -> None:
    hashed = call("bcrypt", "pässword", cost)
    assert hashed.startswith(f"$2a$0{cost}$")
    assert bcrypt.checkpw("pässword".encode(), hashed.encode())
    assert not bcrypt.checkpw(b"password", hashed.encode())
    assert call("bcrypt", "pässword", cost) != hashed


def test_bcrypt_s_usual_cost() -> None:
    assert call("bcrypt", "x").startswith("$2a$10$")


def test_bcrypt_is_bounded() -> None:
    assert refused("bcrypt", "x", 31) == ("cost: 31 is not from 4 to 15", 1)
    assert refused("bcrypt", "x", 3) == ("cost: 3 is not from 4 to 15", 1)
    assert refused("bcrypt", "x" * 73, 4) == ("str: it has 73 bytes, and bcrypt takes 72", 0)
    assert refused("bcrypt", "x", 4, 5) == ("takes 1 or 2 arguments (str, cost)", 2)


def test_bcrypt_without_its_package_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    assert refused("bcrypt", "x", 4) == (
        "the package bcrypt is missing; pip install 'imagesmith[bcrypt]'", None
    )  # fmt: skip


def test_homedir_is_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of/them")
    assert call("homedir") == "/home/of/them"
    monkeypatch.setenv("HOME", "relative")
    assert refused("homedir") == ("the home folder is not known; set HOME", None)
