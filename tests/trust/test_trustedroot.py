"""Trusted roots: those that sigstore gives out are read, and a mistake in one is told."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import InvalidDocument
from imagesmith.trust.keys import PublicKey
from imagesmith.trust.trustedroot import Log, Period, TrustedRoot
from tests.support import PROJECT
from tests.trust.issuers import key_of, spki, world

KEYLESS = PROJECT / "fixtures" / "trust" / "keyless"
NS = 1_000_000_000


def changed(path: str, value: Any) -> bytes:
    """A root with one place set, or taken away."""
    document: Any = json.loads(json.dumps(world().trusted_root()))
    *way, last = path.split("/")
    at = document
    for key in way:
        at = at[int(key) if key.isdigit() else key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return json.dumps(document).encode()


def test_sigstores_own_roots_are_read() -> None:
    found = TrustedRoot.parse((KEYLESS / "production.root.json").read_bytes(), "root")
    assert [log.name for log in found.tlogs] == [
        "https://rekor.sigstore.dev",
        "https://log2025-1.rekor.sigstore.dev",
    ]
    assert [len(one.certificates) for one in found.certificate_authorities] == [1, 2]
    assert [len(one.certificates) for one in found.timestamp_authorities] == [2]
    first, second = found.certificate_authorities
    assert not first.period.holds(1_672_531_200)
    assert second.period.holds(1_672_531_200)
    found = TrustedRoot.parse((KEYLESS / "staging.root.json").read_bytes(), "root")
    assert (len(found.tlogs), len(found.ctlogs)) == (4, 4)


@pytest.mark.parametrize("kind", ["+json;version=0.1", "+json;version=0.2", ".v0.1+json", ".v0.2+json"])
def test_every_form_of_the_type_is_known(kind: str) -> None:
    raw = changed("mediaType", f"application/vnd.dev.sigstore.trustedroot{kind}")
    assert len(TrustedRoot.parse(raw, "root").tlogs) == 1


def test_a_log_is_known_by_all_its_names() -> None:
    found = TrustedRoot.parse(changed("tlogs/0/checkpointKeyId", {"keyId": "AQIDBA=="}), "root")
    assert found.tlogs[0].ids == {world().rekor.id, b"\1\2\3\4"}


def test_a_log_of_which_the_key_alone_is_known_was_always_in_use() -> None:
    key = PublicKey.parse(spki(key_of("rekor")), "rekor.pub")
    log = Log.of_key(key)
    assert (log.ids, log.name) == ({hashlib.sha256(key.der).digest()}, "rekor.pub")
    assert log.period.holds(0)
    assert log.period.holds(1 << 40)


@given(st.integers(0, 10), st.none() | st.integers(0, 10), st.integers(0, 10))
def test_both_ends_of_a_period_are_in_it(start: int, end: int | None, at: int) -> None:
    period = Period(start * NS, None if end is None else end * NS)
    assert period.holds(at) == (start <= at and (end is None or at <= end))
    later = Period(start * NS + 1)
    assert later.holds(at) == (at > start)


def test_logs_of_kinds_of_keys_that_are_not_known_are_left_out() -> None:
    raw = changed("tlogs/0/publicKey/keyDetails", "ML_DSA_65")
    assert TrustedRoot.parse(raw, "root").tlogs == ()


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("mediaType", None, "root: mediaType is missing"),
        (
            "mediaType",
            "application/vnd.dev.sigstore.trustedroot+json;version=0.3",
            "is no trusted root of version",
        ),
        ("certificateAuthorities", [], "root: certificateAuthorities is empty"),
        ("certificateAuthorities/0/certChain/certificates", [], "certChain: certificates are missing"),
        ("certificateAuthorities/0/certChain", None, "certChain is missing"),
        (
            "certificateAuthorities/0/certChain/certificates/0/rawBytes",
            "AAAA",
            "https://fulcio.example: certificate 1",
        ),
        ("certificateAuthorities/0/validFor/end", "never", "certificateAuthorities.0.: validFor: not a time"),
        ("tlogs/0/publicKey/rawBytes", "AAAA", "publicKey: not a public key that can be read"),
        ("tlogs/0/publicKey/rawBytes", None, "publicKey: rawBytes is missing"),
        ("tlogs/0/publicKey/validFor", None, "tlogs.0.: publicKey: validFor has no start"),
        ("tlogs/0/publicKey/keyDetails", None, "keyDetails is missing"),
        ("tlogs/0/logId", None, "tlogs.0.: logId is missing, or too short"),
        ("tlogs/0/logId", {"keyId": "AQI="}, "tlogs.0.: logId is missing, or too short"),
        ("tlogs/0/hashAlgorithm", "SHA2_512", "hashAlgorithm is 'SHA2_512', not SHA2_256"),
        ("tlogs", [{}] * 101, "root: tlogs has more than 100 entries"),
        ("ctlogs", {}, "root: ctlogs must be a list"),
    ],
)
def test_mistakes_are_told(path: str, value: Any, says: str) -> None:
    with pytest.raises(InvalidDocument, match=says):
        TrustedRoot.parse(changed(path, value), "root")


def test_a_root_that_says_a_thing_twice_or_too_much_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="'tlogs' stands twice"):
        TrustedRoot.parse(changed("tlogs", []).replace(b'"tlogs"', b'"tlogs": [], "tlogs"'), "root")
    with pytest.raises(InvalidDocument, match="root: 4194305 bytes are too many"):
        TrustedRoot.parse(bytes((4 << 20) + 1), "root")


@given(st.binary(max_size=20), st.integers(0, 5000), st.integers(0, 40))
def test_any_bytes_are_a_root_or_refused(piece: bytes, at: int, cut: int) -> None:
    raw = changed("tlogs/0/baseUrl", "https://a")
    with contextlib.suppress(InvalidDocument):
        TrustedRoot.parse(raw[:at] + piece + raw[at + cut :], "root")
