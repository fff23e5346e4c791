"""Certificates: what one says is read as it is meant, and what cannot be meant is refused."""

from __future__ import annotations

import contextlib
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import InvalidDocument
from imagesmith.trust.certificates import Certificate, certificate_timestamps, signed_as
from imagesmith.trust.keys import PublicKey
from tests.support import need_program
from tests.trust.issuers import (
    ISSUER,
    NOW_S,
    SCT,
    SIGNER,
    Issued,
    alternative,
    claims,
    der,
    issue,
    key_of,
    named,
    signer_of,
    spki,
    world,
)


def read(one: Issued) -> Certificate:
    return Certificate.parse(one.der, "it")


def with_extra(*extra: tuple[x509.ExtensionType, bool]) -> Issued:
    return issue(named(("CN", "a")), key_of("leaf"), extra=extra)


def test_what_a_signers_certificate_says_is_read() -> None:
    found = read(world().signer)
    assert (found.identities, found.emails, found.hosts) == ((SIGNER,), (SIGNER,), ())
    assert found.oidc_issuer == ISSUER
    assert (found.start_s, found.end_s) == (NOW_S - 60, NOW_S + 540)
    assert found.key.der == spki(world().signer.key)
    assert (found.authority, found.path_length, found.usages) == (False, None, {"digital_signature"})
    assert found.purposes == {"1.3.6.1.5.5.7.3.3"}
    assert found.subject_text == ""
    assert found.critical == {"2.5.29.15", "2.5.29.17"}


def test_what_an_authoritys_certificate_says_is_read() -> None:
    found = read(world().between)
    assert (found.authority, found.path_length) == (True, 0)
    assert found.usages == {"key_cert_sign", "crl_sign"}
    assert found.subject_text == "CN=between,O=example"
    assert found.subject_parts == (("O", "example"), ("CN", "between"))
    assert read(world().root).purposes is None


def test_names_of_every_kind_are_read() -> None:
    user = x509.OtherName(ObjectIdentifier("1.3.6.1.4.1.57264.1.7"), der(0x0C, b"user!domain"))
    names = (x509.DNSName("*.example.com"), x509.UniformResourceIdentifier("https://a/b"), user)
    foreign = x509.OtherName(ObjectIdentifier("1.2.3.4"), der(0x0C, b"whoever"))
    found = read(with_extra(alternative(*names, foreign)))
    assert found.names == (("dns", "*.example.com"), ("uri", "https://a/b"), ("other", "user!domain"))
    assert found.hosts == ("*.example.com",)


@pytest.mark.parametrize(("new", "old"), [("https://a", None), ("", "https://a"), ("https://a", "https://a")])
def test_who_knows_the_signer_is_read_in_both_forms(new: str, old: str | None) -> None:
    assert read(with_extra(*claims(new, old=old))).oidc_issuer == "https://a"


def test_two_who_know_the_signer_are_refused() -> None:
    with pytest.raises(InvalidDocument, match="it: names two issuers of its identity"):
        read(with_extra(*claims("https://a", old="https://b")))


def test_pem_is_read_one_or_many() -> None:
    one, two = world().root, world().between
    assert Certificate.parse(one.pem, "it") == read(one)
    assert Certificate.parse_all(one.pem + b"\n" + two.pem, "it") == (read(one), read(two))
    assert Certificate.parse_all(one.der, "it") == (read(one),)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not a certificate that can be read"),
        (b"\x30\x00", "not a certificate that can be read"),
        (bytes(70_000), "70000 bytes are too many for a certificate"),
        (world().root.pem * 2, "2 certificates where one is needed"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "not a file of 1 to 100 certificates in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----", "no base64 in its PEM block"),
        (world().root.pem + b"-----BEGIN PUBLIC KEY-----", "not a file of 1 to 100 certificates in PEM"),
        (b"-----BEGIN" + bytes(7_000_000), "7000010 bytes are too many for certificates"),
    ],
)
def test_what_is_no_certificate_is_told(raw: bytes, says: str) -> None:
    with pytest.raises(InvalidDocument, match=f"^it: {says}"):
        Certificate.parse(raw, "it")


def test_an_odd_number_is_not_told_on_the_terminal() -> None:
    serial = 1 << 150
    raw = signer_of(world(), serial=serial).der
    at = raw.index(der(0x02, serial.to_bytes(19, "big")))
    odd = raw[: at + 2] + b"\x80" + raw[at + 3 :]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Certificate.parse(odd, "it").serial < 0


def test_a_key_of_no_use_is_told() -> None:
    odd = issue(named(("CN", "a")), ec.generate_private_key(ec.SECP224R1()))
    with pytest.raises(InvalidDocument, match="it: a kind of key that is not signed with"):
        read(odd)


def test_who_issued_whom() -> None:
    w = world()
    root, between, leaf = read(w.root), read(w.between), read(w.signer)
    assert root.issued(root)
    assert root.issued(between)
    assert between.issued(leaf)
    assert not root.issued(leaf)
    assert not leaf.issued(between)
    # the same name, another key
    other = issue(w.root.certificate.subject, key_of("somebody"), ca=True)
    assert not read(other).issued(between)


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()])
def test_authorities_of_every_kind_of_key_issue(key: Any) -> None:
    root = issue(named(("CN", "root")), key, ca=True)
    assert read(root).issued(read(issue(named(("CN", "a")), key_of("leaf"), root)))


@pytest.mark.parametrize(("hashed", "good"), [("sha1", False), ("sha256", True)])
def test_signatures_by_sha1_are_nobodys(tmp_path: Path, hashed: str, good: bool) -> None:
    command = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-noenc",
        "-subj",
        "/CN=a",
        "-keyout",
        "key",
        "-out",
        "made",
    ]
    subprocess.run(
        [need_program("openssl"), *command, f"-{hashed}"], cwd=tmp_path, check=True, capture_output=True
    )
    found = Certificate.parse((tmp_path / "made").read_bytes(), "it")
    assert found.issued(found) == good


def test_timestamps_of_certificate_logs_are_read_and_are_over_the_certificate() -> None:
    w = world()
    (found,) = certificate_timestamps(read(w.signer), read(w.between))
    assert found.time_s == NOW_S - 60
    assert PublicKey.parse(spki(w.ctlog), "log").verify(found.signature, found.message)
    (foreign,) = certificate_timestamps(read(w.signer), read(w.root))
    assert not PublicKey.parse(spki(w.ctlog), "log").verify(foreign.signature, foreign.message)
    assert certificate_timestamps(read(signer_of(w, log=None)), read(w.between)) == ()


@pytest.mark.parametrize("content", [b"", b"\x04\x02\x00\x05", b"\x04\x04\x00\x02\x00\x00", b"\x04\x00"])
def test_damaged_timestamps_of_certificate_logs_are_told(content: bytes) -> None:
    damaged = with_extra((x509.UnrecognizedExtension(SCT, content), False))
    with pytest.raises(InvalidDocument, match=r"^it: "):
        certificate_timestamps(read(damaged), read(world().between))


def test_each_way_of_signing_is_verified_and_no_other() -> None:
    elliptic, plain, edwards = (
        key_of("leaf"),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    )
    hashed = hashes.SHA384()
    signature = elliptic.sign(b"m", ec.ECDSA(hashed))
    halves = b"".join(n.to_bytes(32, "big") for n in decode_dss_signature(signature))
    salted = padding.PSS(padding.MGF1(hashed), hashed.digest_size)
    made = {
        "ecdsa": (elliptic, signature),
        "ecdsa-plain": (elliptic, halves),
        "rsa": (plain, plain.sign(b"m", padding.PKCS1v15(), hashed)),
        "pss": (plain, plain.sign(b"m", salted, hashed)),
        "ed25519": (edwards, edwards.sign(b"m")),
    }
    keys = {id(k): PublicKey.parse(spki(k), "key") for k in (elliptic, plain, edwards)}
    for way in made:
        for name, (key, found) in made.items():
            assert signed_as(keys[id(key)], way, "sha384", found, b"m") == (way == name)
            assert not signed_as(keys[id(key)], way, "sha384", found, b"n")
        if way != "ed25519":
            assert not signed_as(keys[id(made[way][0])], way, "sha256", made[way][1], b"m")
    wrong = PublicKey.parse(spki(elliptic), "key")
    assert not signed_as(wrong, "ecdsa-plain", "sha384", halves + b"\0\0", b"m")


@given(st.binary(max_size=12), st.integers(0, 2000), st.integers(0, 12))
def test_any_bytes_are_a_certificate_or_refused(piece: bytes, at: int, cut: int) -> None:
    raw = world().signer.der
    with contextlib.suppress(InvalidDocument):
        found = Certificate.parse(raw[:at] + piece + raw[at + cut :], "it")
        certificate_timestamps(found, read(world().between))
