"""Signed timestamps: openssl's and our own are verified, and each that is not good is told."""

from __future__ import annotations

import contextlib
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as For
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import ImagesmithError, InvalidDocument, Untrusted
from imagesmith.trust.certificates import Certificate
from imagesmith.trust.timestamps import Timestamp, check_timestamp
from imagesmith.trust.trustedroot import Authority, Period
from tests.support import need_program
from tests.trust.issuers import (
    ECDSA_SHA256,
    HOUR,
    NOW_S,
    YEAR,
    Issued,
    Stamping,
    der,
    integer,
    issue,
    key_of,
    named,
    world,
)

NS = 1_000_000_000
#: What openssl is told: who signs, and how.
CONFIG = """
[tsa]
default_tsa = it
[it]
serial = {folder}/serial
signer_digest = {digest}
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
accuracy = secs:1, millisecs:500
ess_cert_id_chain = no
ess_cert_id_alg = {names}
"""


def authority(*chain: Issued, period: Period | None = None) -> Authority:
    certificates = tuple(Certificate.parse(one.der, f"certificate {n}") for n, one in enumerate(chain, 1))
    return Authority("clock", certificates, period or Period())


def clock(**changes: Any) -> Issued:
    given_to = {"purposes": [For.TIME_STAMPING], "purposes_critical": True, **changes}
    issuer = given_to.pop("issuer", world().clock_root)
    return issue(named(("CN", "clock")), given_to.pop("key", key_of("clock")), issuer, **given_to)


def check(stamping: Stamping, *authorities: Authority, message: bytes = b"signature") -> int:
    stamp = Timestamp.parse(stamping.response(b"signature"), "stamp")
    return check_timestamp(stamp, message, authorities or [authority(stamping.signer, world().clock_root)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "digest", "names", "certificates"),
    [("ec", "sha256", "sha256", False), ("ec", "sha384", "sha1", True), ("rsa", "sha512", "sha512", True)],
)
def test_openssls_timestamps_are_verified(
    tmp_path: Path, kind: str, digest: str, names: str, certificates: bool
) -> None:
    now = int(time.time())
    key: Any = key_of("clock") if kind == "ec" else rsa.generate_private_key(65537, 2048)
    span = {"start_s": now - HOUR, "end_s": now + HOUR}
    root = issue(named(("CN", "clock root")), key_of("clock root"), ca=True, **span)
    signer = clock(key=key, issuer=root, **span)
    config = CONFIG.format(folder=tmp_path, digest=digest, names=names)
    (tmp_path / "config").write_text(config)
    (tmp_path / "signer.pem").write_bytes(signer.pem)
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(plain)
    (tmp_path / "message").write_bytes(b"signature")
    query = [
        "-query",
        "-data",
        "message",
        f"-{digest}",
        "-out",
        "query",
        *(["-cert"] if certificates else []),
    ]
    reply = ["-reply", "-queryfile", "query", "-out", "reply", "-signer", "signer.pem", "-inkey", "key.pem"]
    for words in (query, [*reply, "-config", "config"]):
        subprocess.run([need_program("openssl"), "ts", *words], cwd=tmp_path, check=True, capture_output=True)
    stamp = Timestamp.parse((tmp_path / "reply").read_bytes(), "stamp")
    assert abs(stamp.time_s - now) < HOUR
    assert stamp.accuracy_s == 2
    assert check_timestamp(stamp, b"signature", [authority(signer, root)]) == stamp.time_s
    if certificates:  # then who signs need not be known before
        assert check_timestamp(stamp, b"signature", [authority(root)]) == stamp.time_s
    with pytest.raises(Untrusted, match="stamp: is of something else"):
        check_timestamp(stamp, b"Signature", [authority(signer, root)])


def test_openssl_verifies_what_tests_make(tmp_path: Path) -> None:
    """The timestamps of these tests are what others take for such."""
    w = world()
    (tmp_path / "reply").write_bytes(Stamping(w.clock, with_certificates=[w.clock]).response(b"signature"))
    (tmp_path / "message").write_bytes(b"signature")
    (tmp_path / "root.pem").write_bytes(w.clock_root.pem)
    words = ["-verify", "-data", "message", "-in", "reply", "-CAfile", "root.pem", "-attime", str(NOW_S)]
    subprocess.run([need_program("openssl"), "ts", *words], cwd=tmp_path, check=True, capture_output=True)


def test_a_response_and_a_token_are_verified() -> None:
    w = world()
    stamping = Stamping(w.clock)
    assert check(stamping) == NOW_S
    token = Timestamp.parse(stamping.token(b"signature"), "stamp")
    assert check_timestamp(token, b"signature", [authority(w.clock, w.clock_root)]) == NOW_S


def test_an_authority_between_is_found_with_the_root_or_with_the_timestamp() -> None:
    w = world()
    between = issue(named(("CN", "between")), key_of("between"), w.clock_root, ca=True)
    signer = clock(issuer=between)
    assert check(Stamping(signer), authority(signer, between, w.clock_root)) == NOW_S
    both = Stamping(signer, with_certificates=[between, signer])
    assert check(both, authority(w.clock_root)) == NOW_S
    with pytest.raises(Untrusted, match="certificate: none of the trusted authorities issued CN=clock"):
        check(Stamping(signer, with_certificates=[signer]), authority(w.clock_root))


def test_of_several_authorities_one_is_enough() -> None:
    w = world()
    other = issue(named(("CN", "other")), key_of("other"), ca=True)
    right, wrong = authority(w.clock, w.clock_root), authority(w.clock, other)
    assert check(Stamping(w.clock), wrong, right) == NOW_S
    assert check(Stamping(w.clock), right, wrong) == NOW_S


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"content": "1.2.840.113549.1.7.1"}, "stamp: lacks what must be under its signature"),
        ({"left_out": ["1.2.840.113549.1.9.3"]}, "stamp: lacks what must be under its signature"),
        ({"left_out": ["1.2.840.113549.1.9.4"]}, "stamp: lacks what must be under its signature"),
        ({"left_out": ["1.2.840.113549.1.9.16.2.47"]}, "stamp: names another certificate than its signer's"),
        ({"names": bytes(32)}, "stamp: names another certificate than its signer's"),
        (
            {"time_s": NOW_S + 2 * YEAR},
            "certificate 1: valid until 2026-06-15T15:06:40Z, and not at 2027-06-15",
        ),
        ({"status": 2}, "stamp: the timestamp authority refused"),
        ({"algorithm": "1.2.840.113549.1.1.10"}, "stamp: a kind of signature that is not read: 1.2.840"),
        ({"algorithm": "1.2.840.10045.4.3.3"}, "stamp: the signature is not the timestamp authority's"),
        ({"accuracy": der(0x30, integer(-5))}, "stamp: an accuracy of"),
        ({"accuracy": der(0x30, integer(1 << 40))}, "stamp: an accuracy of 1099511627776 seconds is none"),
    ],
)
def test_what_is_not_good_is_told(changes: dict[str, Any], says: str) -> None:
    with pytest.raises((Untrusted, InvalidDocument), match=f"^{says}"):
        check(replace(Stamping(world().clock), **changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"purposes": [For.TIME_STAMPING, For.CODE_SIGNING]},
            "stamp: its signer is not for time stamping alone",
        ),
        ({"purposes": [For.CODE_SIGNING]}, "stamp: its signer is not for time stamping alone"),
        ({"purposes": []}, "stamp: its signer is not for time stamping alone"),
        ({"purposes_critical": False}, "stamp: its signer is not for time stamping alone"),
        ({"end_s": NOW_S - 1}, "certificate 1: valid until"),
        ({"start_s": NOW_S + 1}, "certificate 1: valid from"),
        ({"issuer": None}, "certificate 1: none of the trusted authorities issued CN=clock"),
    ],
)
def test_a_signer_that_may_not_is_told(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Untrusted, match=f"^{says}"):
        check(Stamping(clock(**changes)))


def test_a_signer_that_is_not_the_named_one_is_told() -> None:
    """Where the root names who signs, another certificate of the same authority does not count."""
    w = world()
    stranger = clock(key=key_of("stranger"))
    with pytest.raises(Untrusted, match="stamp: none of the trusted timestamp authorities signed it"):
        check(Stamping(stranger, with_certificates=[stranger]), authority(w.clock, w.clock_root))
    with pytest.raises(Untrusted, match="stamp: none of the trusted timestamp authorities signed it"):
        check_timestamp(Timestamp.parse(Stamping(w.clock).response(b"signature"), "stamp"), b"signature", [])


def test_an_authority_must_have_been_in_use() -> None:
    w = world()
    until = authority(w.clock, w.clock_root, period=Period(0, NOW_S * NS))
    assert check(Stamping(w.clock), until) == NOW_S
    with pytest.raises(Untrusted, match="stamp: the timestamp authority was not in use at that time"):
        check(Stamping(w.clock, time_s=NOW_S + 1), until)


def test_a_timestamp_by_a_hash_that_is_not_trusted_is_told() -> None:
    raw = Stamping(world().clock).token(b"signature")
    sha256, sha1 = bytes.fromhex("0609608648016503040201"), bytes.fromhex("0609608648016503040206")
    with pytest.raises(InvalidDocument, match=r"stamp: a hash that is not trusted: 2.16.840.1.101.3.4.2.6"):
        Timestamp.parse(raw.replace(sha256, sha1), "stamp")
    assert ECDSA_SHA256 not in repr(raw)


def test_large_timestamps_are_refused_unread() -> None:
    with pytest.raises(InvalidDocument, match="stamp: 300000 bytes are too many for a timestamp"):
        Timestamp.parse(bytes(300_000), "stamp")
    w = world()
    with pytest.raises(InvalidDocument, match="stamp: more than 16 certificates"):
        Timestamp.parse(Stamping(w.clock, with_certificates=[w.clock] * 17).token(b""), "stamp")


_RAW = Stamping(world().clock).response(b"signature")


@given(st.integers(0, 8 * len(_RAW) - 1))
def test_a_bit_that_is_changed_is_told_or_says_nothing(at: int) -> None:
    """What still holds says the same: some bits, as those of versions, are not under the signature."""
    w = world()
    raw = bytearray(_RAW)
    raw[at // 8] ^= 1 << at % 8
    with contextlib.suppress(Untrusted, InvalidDocument):
        stamp = Timestamp.parse(bytes(raw), "stamp")
        assert check_timestamp(stamp, b"signature", [authority(w.clock, w.clock_root)]) == NOW_S


@given(st.binary(max_size=12), st.integers(0, len(_RAW)), st.integers(0, 12))
def test_any_bytes_are_a_timestamp_or_refused(piece: bytes, at: int, cut: int) -> None:
    w = world()
    with contextlib.suppress(ImagesmithError):
        stamp = Timestamp.parse(_RAW[:at] + piece + _RAW[at + cut :], "stamp")
        check_timestamp(stamp, b"signature", [authority(w.clock, w.clock_root)])
