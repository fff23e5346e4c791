"""Signatures of the Notary Project: those that the specification takes count, each other one is told."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID as For
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import ImagesmithError, InvalidDocument, LimitExceeded, Untrusted, UsageError
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor
from imagesmith.trust.certificates import Certificate
from imagesmith.trust.notation import NOTATION, NotationEnvelope, Trust, envelope_at, verify_notation
from tests.trust.issuers import (
    HOUR,
    NOW_S,
    YEAR,
    Issued,
    Stamping,
    b64,
    der,
    integer,
    issue,
    key_of,
    named,
    text_of,
    world,
)

MANIFEST = b'{"schemaVersion":2}'
TYPE = "application/vnd.oci.image.manifest.v1+json"
IMAGE = Descriptor(media_type=TYPE, digest=digest_bytes(MANIFEST), size=len(MANIFEST))
SUBJECT = (("C", "US"), ("ST", "WA"), ("O", "example, Inc."), ("CN", "build"))
NOTARY = "io.cncf.notary."
PLUGIN = NOTARY + "verificationPlugin"
RSA = {bits: rsa.generate_private_key(65537, bits) for bits in (2048, 3072, 4096)}


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def root(**changes: Any) -> Issued:
    return issue(named(("CN", "notary root")), key_of("notary root"), ca=True, **changes)


def between(above: Issued | None = None, **changes: Any) -> Issued:
    return issue(named(("CN", "notary ca")), key_of("notary ca"), above or root(), **{"ca": True, **changes})


def leaf(above: Issued, **changes: Any) -> Issued:
    given_to = {"purposes": [For.CODE_SIGNING], **changes}
    return issue(named(*SUBJECT), given_to.pop("key", key_of("notary leaf")), above, **given_to)


def plain_chain(**changes: Any) -> list[Issued]:
    top = root()
    middle = between(top)
    return [leaf(middle, **changes), middle, top]


@dataclass(frozen=True)
class Notary:
    """How an envelope is made; what a test does not change is as it should be."""

    chain: Sequence[Issued]
    algorithm: str = "ES256"
    target: Mapping[str, Any] = field(
        default_factory=lambda: {"mediaType": TYPE, "digest": str(IMAGE.digest), "size": IMAGE.size}
    )
    head: Mapping[str, Any] = field(default_factory=dict)
    loose: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    stamp: Stamping | None = None

    def envelope(self) -> bytes:
        head = {
            "alg": self.algorithm,
            "cty": "application/vnd.cncf.notary.payload.v1+json",
            NOTARY + "signingScheme": "notary.x509",
            NOTARY + "signingTime": text_of(NOW_S - HOUR),
            "crit": [NOTARY + "signingScheme"],
            **self.head,
        }
        protected = b64url(json.dumps({k: v for k, v in head.items() if v is not None}).encode())
        payload = b64url(json.dumps({"targetArtifact": self.target}).encode())
        signature = self.sign(f"{protected}.{payload}".encode())
        stamped = {NOTARY + "timestampSignature": b64(self.stamp.token(signature))} if self.stamp else {}
        header = {"x5c": [b64(one.der) for one in self.chain], **stamped, **self.loose}
        whole = {"payload": payload, "protected": protected, "header": header, "signature": b64url(signature)}
        return json.dumps({**whole, **self.more}).encode()

    def sign(self, message: bytes) -> bytes:
        kind, bits = self.algorithm[:2], self.algorithm[2:]
        hashed = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[bits]
        key = self.chain[0].key
        if kind == "PS":
            signature: bytes = key.sign(
                message, padding.PSS(padding.MGF1(hashed), hashed.digest_size), hashed
            )
            return signature
        half = (key.curve.key_size + 7) // 8
        numbers = decode_dss_signature(key.sign(message, ec.ECDSA(hashed)))
        return b"".join(n.to_bytes(half, "big") for n in numbers)


def certificate(one: Issued) -> Certificate:
    return Certificate.parse(one.der, "trusted")


def check(notary: Notary, *, now_s: int = NOW_S, image: Descriptor = IMAGE, **trust: Any) -> Any:
    believed = Trust(**{"roots": (certificate(notary.chain[-1]),), **trust})
    return verify_notation(NotationEnvelope.parse(notary.envelope(), "it"), image, believed, now_s=now_s)


def test_a_signature_counts_and_who_made_it_is_told() -> None:
    found = check(Notary(plain_chain()))
    assert found.subject == "CN=build,O=example\\, Inc.,ST=WA,C=US"
    assert (found.time_s, found.stamped) == (NOW_S - HOUR, False)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (key_of("notary leaf"), "ES256"),
        (key_of("notary 384", "secp384r1"), "ES384"),
        (key_of("notary 521", "secp521r1"), "ES512"),
        (RSA[2048], "PS256"),
        (RSA[3072], "PS384"),
        (RSA[4096], "PS512"),
    ],
)
def test_every_algorithm_counts_with_its_kind_of_key_only(key: Any, algorithm: str) -> None:
    chain = plain_chain(key=key)
    assert check(Notary(chain, algorithm)).subject
    others = {
        "ES256": "ES384",
        "ES384": "ES512",
        "ES512": "ES256",
        "PS256": "PS384",
        "PS384": "PS512",
        "PS512": "PS256",
    }
    for other in (others[algorithm], "none", "HS256", "RS256"):
        notary = Notary(chain, algorithm, head={"alg": other})
        with pytest.raises(Untrusted, match=f"^it: the algorithm '{other}' is not that of its key"):
            check(notary)


def test_a_certificate_in_the_middle_may_be_the_trusted_one() -> None:
    chain = plain_chain()
    assert check(Notary(chain), roots=(certificate(chain[1]),)).subject
    with pytest.raises(
        Untrusted, match=r"it: certificate 3: none of the trusted authorities issued CN=notary root"
    ):
        check(Notary(chain), roots=(certificate(world().root),))


def test_one_that_signed_itself_is_trusted_only_as_itself() -> None:
    alone = issue(named(*SUBJECT), key_of("notary alone"), purposes=[For.CODE_SIGNING])
    assert check(Notary([alone])).subject
    with pytest.raises(
        Untrusted, match=r"it: certificate 1: none of the trusted authorities issued CN=build"
    ):
        check(Notary([alone]), roots=(certificate(root()),))


def test_extensions_of_a_signature_that_are_not_critical_are_let_be() -> None:
    assert check(Notary(plain_chain(), head={"com.example.note": "x"})).subject


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"digest": str(digest_bytes(b"other"))}, "it: is of sha256:[0-9a-f]{64}, not of sha256:"),
        ({"size": 7}, "it: is of sha256:[0-9a-f]{64}, not of sha256:"),
        ({"mediaType": "application/vnd.oci.image.index.v1+json"}, "it: is of sha256:[0-9a-f]{64}, not of"),
        ({"digest": None}, "it: payload: targetArtifact: digest is missing"),
    ],
)
def test_a_signature_of_something_else_is_told(changes: dict[str, Any], says: str) -> None:
    good = Notary(plain_chain())
    with pytest.raises((Untrusted, InvalidDocument), match=f"^{says}"):
        check(replace(good, target={**good.target, **changes}))


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ({NOTARY + "signingScheme": None}, "it: protected: crit names a header twice, or one that"),
        ({"crit": None}, "it: protected: signing scheme or expiry are not critical"),
        ({"crit": []}, "it: protected: signing scheme or expiry are not critical"),
        ({"crit": [NOTARY + "signingScheme"] * 2}, "it: protected: crit names a header twice"),
        ({NOTARY + "expiry": text_of(NOW_S + 1)}, "it: protected: signing scheme or expiry are not critical"),
        ({NOTARY + "signingScheme": "notary.x509.signingAuthority"},
         "it: protected: the signing scheme 'notary.x509.signingAuthority' is not verified; notary.x509 is"),
        ({"crit": [NOTARY + "signingScheme", PLUGIN], PLUGIN: "x"},
         "it: protected: the critical header 'io.cncf.notary.verificationPlugin' is not known"),
        ({"cty": "text/plain"}, "it: protected: cty is 'text/plain', not application/vnd.cncf"),
        ({NOTARY + "signingTime": None}, "signing time or expiry: .*signingTime is missing"),
        ({NOTARY + "signingTime": "yesterday"}, "it: signing time or expiry: not a time"),
        ({"x5c": []}, "it: a header stands both within and without the signature"),
    ],
)  # fmt: skip
def test_what_is_said_under_the_signature_must_be_understood(head: dict[str, Any], says: str) -> None:
    with pytest.raises((Untrusted, InvalidDocument), match=says):
        check(Notary(plain_chain(), head=head))


def test_a_signature_counts_until_it_expires() -> None:
    head = {NOTARY + "expiry": text_of(NOW_S + 60), "crit": [NOTARY + "signingScheme", NOTARY + "expiry"]}
    notary = Notary(plain_chain(), head=head)
    assert check(notary, now_s=NOW_S + 59).subject
    for late in (60, HOUR):
        with pytest.raises(Untrusted, match=r"^it: does not count since 2025-06-15T15:07:40Z"):
            check(notary, now_s=NOW_S + late)


@pytest.mark.parametrize(
    ("loose", "more", "says"),
    [
        ({"x5c": []}, {}, "it: x5c has 0 certificates, not 1 to 10"),
        ({"x5c": ["AAAA"] * 11}, {}, "it: x5c has 11 certificates, not 1 to 10"),
        ({"x5c": ["%"]}, {}, "it: x5c is no base64"),
        ({"x5c": ["AAAA"]}, {}, "it: certificate 1: not a certificate that can be read"),
        ({}, {"signatures": []}, "it: unknown key 'signatures'"),
        ({}, {"payload": "e30="}, "it: payload is no base64url"),
        ({}, {"payload": "e30"}, "it: payload: targetArtifact is missing"),
        ({}, {"protected": "e+30"}, "it: protected is no base64url"),
        ({}, {"protected": "e30"}, "it: protected: io.cncf.notary.signingScheme is missing"),
        ({}, {"signature": "A"}, "it: signature is no base64url"),
        ({}, {"header": None}, "it: header is missing"),
    ],
)
def test_what_is_no_envelope_is_told(loose: dict[str, Any], more: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidDocument, match=f"^{says}"):
        check(Notary(plain_chain(), loose=loose, more=more))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"purposes": [For.TIME_STAMPING]}, "it: certificate 1: is not for code signing"),
        ({"purposes": [For.CODE_SIGNING, For.SERVER_AUTH]}, "it: certificate 1: is not for code signing"),
        ({"purposes": [For.ANY_EXTENDED_KEY_USAGE]}, "it: certificate 1: is not for code signing"),
        (
            {"usages": ("digital_signature", "key_encipherment")},
            "it: certificate 1: its key is not for signatures alone",
        ),
        ({"usages": ()}, "it: certificate 1: its key is not for signatures alone"),
        ({"ca": True, "usages": ("digital_signature",)}, "it: certificate 1: is not for code signing"),
        ({"end_s": NOW_S - 1}, "it: certificate 1: valid until"),
        ({"start_s": NOW_S + 1}, "it: certificate 1: valid from"),
    ],
)
def test_a_signers_certificate_must_be_for_signing(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Untrusted, match=f"^{says}"):
        check(Notary(plain_chain(**changes)))


def test_purposes_need_not_be_said() -> None:
    assert check(Notary(plain_chain(purposes=[]))).subject
    assert check(Notary(plain_chain(usages=("digital_signature", "content_commitment")))).subject


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"usages": ("crl_sign",)}, "it: certificate 2: does not say critically that it is an authority"),
        ({"ca": False, "usages": ("key_cert_sign",)}, "it: certificate 2: does not say critically"),
        ({"usages": ()}, "it: certificate 2: does not say critically that it is an authority"),
        ({"end_s": NOW_S - 1}, "it: certificate 2: valid until"),
    ],
)
def test_authorities_must_be_such(changes: dict[str, Any], says: str) -> None:
    top = root()
    middle = between(top, **changes)
    with pytest.raises(Untrusted, match=f"^{says}"):
        check(Notary([leaf(middle), middle, top]))


def test_a_root_that_allows_none_below_is_heeded() -> None:
    top = root(path=0)
    middle = between(top)
    with pytest.raises(Untrusted, match=r"trusted: may have 0 authorities below it, not 1"):
        check(Notary([leaf(middle), middle, top]))


def test_the_chain_must_be_whole_and_in_order() -> None:
    end, middle, top = plain_chain()
    for wrong in ([end, top, middle], [end, middle, middle, top], [end, top], [end, middle, world().root]):
        with pytest.raises(Untrusted, match=r"^it: its certificates are no chain"):
            check(Notary(wrong), roots=(certificate(top),))
    with pytest.raises(Untrusted, match=r"^it: its certificates do not end with a root"):
        check(Notary([end, middle]), roots=(certificate(top),))


def test_a_signature_by_another_key_is_told() -> None:
    end, middle, top = plain_chain()
    wrong = Issued(end.certificate, key_of("somebody"))
    with pytest.raises(Untrusted, match=r"^it: its certificate's key did not make the signature"):
        check(Notary([wrong, middle, top]))


# --- identities ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("x509.subject: C=US, ST=WA, O=example\\, Inc.", True),
        ("C=US,ST=WA,O=example\\, Inc.,CN=build", True),
        ("cn=build", True),
        ("CN=other", False),
        ("C=US, ST=WA, O=example", False),
        ("C=US, ST=WA, O=example\\, Inc., OU=x", False),
    ],
)
def test_only_identities_that_are_trusted_count(text: str, good: bool) -> None:
    identities = (Trust.parse_identity("CN=nobody"), Trust.parse_identity(text))
    if good:
        assert check(Notary(plain_chain()), identities=identities).subject
        return
    with pytest.raises(Untrusted, match=r"^it: signed by CN=build,.*, whose identity is not trusted"):
        check(Notary(plain_chain()), identities=identities)


@pytest.mark.parametrize("text", ["", "x509.subject:", "C", "C=", "C=US,", "C=US;O=x", "C=US, =x", "*"])
def test_what_is_no_identity_is_told(text: str) -> None:
    with pytest.raises(UsageError, match=r"not a trusted identity"):
        Trust.parse_identity(text)


@given(
    st.lists(st.tuples(st.sampled_from(["C", "ST", "O", "CN"]), st.text(min_size=1, max_size=8)), min_size=1)
)
def test_identities_are_read_as_they_are_escaped(parts: list[tuple[str, str]]) -> None:
    escaped = ", ".join(f"{k}={''.join(f'{chr(92)}{c}' for c in v)}" for k, v in parts)
    assert Trust.parse_identity(escaped) == tuple(parts)


# --- timestamps ---------------------------------------------------------------------------------------------


def stamping(**changes: Any) -> Stamping:
    w = world()
    return replace(Stamping(w.clock, with_certificates=[w.clock, w.clock_root]), **changes)


def test_a_timestamp_lets_a_signature_outlive_its_certificates() -> None:
    w = world()
    notary = Notary(plain_chain(), stamp=stamping())
    later, clocks = NOW_S + 2 * YEAR, (certificate(w.clock_root),)
    found = check(notary, now_s=later, clocks=clocks)
    assert (found.time_s, found.stamped) == (NOW_S, True)
    with pytest.raises(Untrusted, match=r"^it: certificate 1: valid until"):
        check(notary, now_s=later)
    with pytest.raises(Untrusted, match=r"^it: certificate 1: valid until"):
        check(Notary(plain_chain()), now_s=later, clocks=clocks)
    with pytest.raises(
        Untrusted, match=r"^it: timestamp: its certificate: none of the trusted authorities issued"
    ):
        check(notary, now_s=later, clocks=(certificate(w.root),))


def test_all_times_that_a_timestamp_can_mean_must_be_good() -> None:
    clocks = (certificate(world().clock_root),)
    second = {"accuracy": der(0x30, integer(1))}
    for at_s, good in ((NOW_S - 2, True), (NOW_S - 1, True), (NOW_S, False)):
        notary = Notary(plain_chain(end_s=NOW_S), stamp=stamping(time_s=at_s, **second))
        with (
            contextlib.nullcontext()
            if good
            else pytest.raises(Untrusted, match=r"certificate 1: valid until")
        ):
            assert check(notary, clocks=clocks).time_s == at_s


def test_a_timestamp_of_another_signature_is_told() -> None:
    w = world()
    other = {NOTARY + "timestampSignature": b64(stamping().token(b"other"))}
    with pytest.raises(Untrusted, match=r"^it: timestamp: is of something else"):
        check(Notary(plain_chain(), loose=other), clocks=(certificate(w.clock_root),))


# --- fuzzing ------------------------------------------------------------------------------------------------

_RAW = Notary(plain_chain()).envelope()
_ROOTS = (certificate(root()),)


@given(st.sampled_from(["payload", "protected", "signature"]), st.integers(0, 1 << 16))
def test_no_bit_can_be_changed(name: str, bit: int) -> None:
    document = json.loads(_RAW)
    text = document[name]
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    raw[bit // 8 % len(raw)] ^= 1 << bit % 8
    document[name] = b64url(bytes(raw))
    with pytest.raises((Untrusted, InvalidDocument)):
        verify_notation(
            NotationEnvelope.parse(json.dumps(document).encode(), "it"),
            IMAGE,
            Trust(roots=_ROOTS),
            now_s=NOW_S,
        )


@given(st.binary(max_size=20), st.integers(0, len(_RAW)), st.integers(0, 40))
def test_any_bytes_are_an_envelope_or_refused(piece: bytes, at: int, cut: int) -> None:
    raw = _RAW[:at] + piece + _RAW[at + cut :]
    with contextlib.suppress(ImagesmithError):
        verify_notation(NotationEnvelope.parse(raw, "it"), IMAGE, Trust(roots=_ROOTS), now_s=NOW_S)


# --- where they are kept ------------------------------------------------------------------------------------


class Place:
    """A place with a manifest of a signature, and its layer."""

    name = "place"

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        raw = json.dumps(manifest).encode()
        self.blobs = {digest_bytes(blob): blob for blob in (raw, _RAW)}
        self.listed = Descriptor(media_type=TYPE, digest=digest_bytes(raw), size=len(raw))

    def document(self, d: Descriptor) -> bytes:
        return self.blobs[d.digest]

    def pieces(self, d: Descriptor, offset: int = 0) -> Any:
        yield self.blobs[d.digest]


def manifest_of(envelope: bytes, **changes: Any) -> dict[str, Any]:
    layer = {
        "mediaType": "application/jose+json",
        "digest": str(digest_bytes(envelope)),
        "size": len(envelope),
    }
    return {
        "schemaVersion": 2,
        "mediaType": TYPE,
        "config": {"mediaType": NOTATION, "digest": str(digest_bytes(b"{}")), "size": 2},
        "layers": [{**layer, **changes.pop("layer", {})}],
        "subject": {"mediaType": TYPE, "digest": str(IMAGE.digest), "size": IMAGE.size},
        **changes,
    }


def test_an_envelope_is_read_from_its_manifest() -> None:
    place: Any = Place(manifest_of(_RAW))
    assert envelope_at(place, place.listed, IMAGE.digest) == NotationEnvelope.parse(_RAW, "it")


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        (
            {"layer": {"mediaType": "application/cose"}},
            Untrusted,
            "envelopes of COSE .* are not read, those of JWS",
        ),
        ({"layer": {"mediaType": "text/x"}}, InvalidDocument, "an envelope of the unknown type 'text/x'"),
        ({"layers": []}, InvalidDocument, "its manifest must have one layer"),
        ({"layer": {"size": 2_000_000}}, LimitExceeded, "it has 2000000 bytes, more than 1048576"),
        ({"subject": None}, Untrusted, "its manifest is of something else than sha256"),
    ],
)
def test_envelopes_of_another_form_are_told(changes: dict[str, Any], error: Any, says: str) -> None:
    place: Any = Place(manifest_of(_RAW, **changes))
    with pytest.raises(error, match=f"^{says}"):
        envelope_at(place, place.listed, IMAGE.digest)
