"""Those who vouch, made for a test: authorities for certificates and time, logs, and what they sign.

Written from the specifications with `cryptography` and a few lines of DER; nothing of imagesmith's is used.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as For
from cryptography.x509.oid import NameOID, ObjectIdentifier

#: When everything here happens.
NOW_S = 1_750_000_000
HOUR, YEAR = 3600, 365 * 86_400
SCT = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def text_of(seconds: int) -> str:
    return f"{moment(seconds):%Y-%m-%dT%H:%M:%SZ}"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spki(key: Any) -> bytes:
    public: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public


@cache
def key_of(name: str, curve: str = "secp256r1") -> ec.EllipticCurvePrivateKey:
    """One key for each name: keys need not be made anew for each test."""
    curves = {"secp256r1": ec.SECP256R1, "secp384r1": ec.SECP384R1, "secp521r1": ec.SECP521R1}
    return ec.generate_private_key(curves[curve]())


def named(*parts: tuple[str, str]) -> x509.Name:
    kinds = {
        "C": NameOID.COUNTRY_NAME, "ST": NameOID.STATE_OR_PROVINCE_NAME, "O": NameOID.ORGANIZATION_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME, "CN": NameOID.COMMON_NAME,
    }  # fmt: skip
    return x509.Name([x509.NameAttribute(kinds[k], v) for k, v in parts])


def usage(*which: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in which for name in USAGES})


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def issue(
    subject: x509.Name,
    key: Any,
    issuer: Issued | None = None,
    *,
    start_s: int = NOW_S - YEAR,
    end_s: int = NOW_S + YEAR,
    ca: bool = False,
    path: int | None = None,
    usages: Sequence[str] | None = None,
    purposes: Iterable[ObjectIdentifier] = (),
    purposes_critical: bool = False,
    extra: Iterable[tuple[x509.ExtensionType, bool]] = (),
    log: Any = None,
    serial: int | None = None,
) -> Issued:
    """A certificate, of itself where there is no issuer; with a timestamp of the certificate log, if any."""
    signer = issuer.key if issuer else key
    usages = usages if usages is not None else ("key_cert_sign", "crl_sign") if ca else ("digital_signature",)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(moment(start_s))
        .not_valid_after(moment(end_s))
    )
    extensions: list[tuple[x509.ExtensionType, bool]] = []
    if ca:
        extensions.append((x509.BasicConstraints(ca=True, path_length=path), True))
    if usages:
        extensions.append((usage(*usages), True))
    if purposes := list(purposes):
        extensions.append((x509.ExtendedKeyUsage(purposes), purposes_critical))
    extensions += extra
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    how = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    if log is not None and issuer is not None:
        body = builder.sign(signer, how).tbs_certificate_bytes
        builder = builder.add_extension(_logged(body, issuer, log, start_s), critical=False)
    return Issued(builder.sign(signer, how), key)


def _logged(body: bytes, issuer: Issued, log: Any, at_s: int) -> x509.UnrecognizedExtension:
    """RFC 6962 section 3.2 and 3.3: what a certificate log signs, as the only one in a certificate's list."""
    version_and_kind, when = b"\0\0", struct.pack(">Q", at_s * 1000 + 7)
    entry = b"\0\1" + hashlib.sha256(spki(issuer.key)).digest() + struct.pack(">I", len(body))[1:] + body
    signature = log.sign(version_and_kind + when + entry + b"\0\0", ec.ECDSA(hashes.SHA256()))
    one = b"\0" + hashlib.sha256(spki(log)).digest() + when + b"\0\0" + b"\4\3" + _sized(signature)
    return x509.UnrecognizedExtension(SCT, der(0x04, _sized(_sized(one))))


def _sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def claims(issuer: str, *, old: str | None = None) -> list[tuple[x509.ExtensionType, bool]]:
    """Fulcio's extensions for who knows the signer: the old one is plain text."""
    out: list[tuple[x509.ExtensionType, bool]] = []
    if old is not None:
        oid = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
        out.append((x509.UnrecognizedExtension(oid, old.encode()), False))
    if issuer:
        oid = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
        out.append((x509.UnrecognizedExtension(oid, der(0x0C, issuer.encode())), False))
    return out


def alternative(*names: x509.GeneralName) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName(names), True


# --- a little DER -------------------------------------------------------------------------------------------


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def object_id(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = b""
    for number in (40 * first + second, *rest):
        piece = [number & 0x7F]
        while number := number >> 7:
            piece.insert(0, number & 0x7F | 0x80)
        out += bytes(piece)
    return der(0x06, out)


def integer(number: int) -> bytes:
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


SHA256, ECDSA_SHA256 = "2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2"


@dataclass(frozen=True)
class Stamping:
    """How a timestamp is made; what a test does not change is as it should be."""

    signer: Issued
    time_s: int = NOW_S
    with_certificates: Sequence[Issued] = ()
    content: str = "1.2.840.113549.1.9.16.1.4"
    accuracy: bytes = b""
    names: bytes | None = None
    left_out: Sequence[str] = ()
    status: int = 0
    algorithm: str = ECDSA_SHA256

    def token(self, message: bytes) -> bytes:
        """RFC 3161 section 2.4.2 in RFC 5652 section 5."""
        imprint = der(0x30, der(0x30, object_id(SHA256)), der(0x04, hashlib.sha256(message).digest()))
        when = der(0x18, f"{moment(self.time_s):%Y%m%d%H%M%SZ}".encode())
        info = der(
            0x30, integer(1), object_id("1.2.3.4"), imprint, integer(99), when, self.accuracy, integer(7)
        )
        named_hash = hashlib.sha256(self.signer.der).digest() if self.names is None else self.names
        certificate = der(0x30, der(0x30, der(0x30, der(0x04, named_hash))))
        attributes = {
            "1.2.840.113549.1.9.3": object_id(self.content),
            "1.2.840.113549.1.9.4": der(0x04, hashlib.sha256(info).digest()),
            "1.2.840.113549.1.9.16.2.47": certificate,
        }
        signed = b"".join(
            der(0x30, object_id(k), der(0x31, v)) for k, v in attributes.items() if k not in self.left_out
        )
        signature = self.signer.key.sign(der(0x31, signed), ec.ECDSA(hashes.SHA256()))
        of = self.signer.certificate
        signer = der(
            0x30,
            integer(1),
            der(0x30, of.issuer.public_bytes(), integer(of.serial_number)),
            der(0x30, object_id(SHA256)),
            der(0xA0, signed),
            der(0x30, object_id(self.algorithm)),
            der(0x04, signature),
        )
        held = der(0xA0, *(one.der for one in self.with_certificates)) if self.with_certificates else b""
        content = der(0x30, object_id("1.2.840.113549.1.9.16.1.4"), der(0xA0, der(0x04, info)))
        data = der(
            0x30, integer(3), der(0x31, der(0x30, object_id(SHA256))), content, held, der(0x31, signer)
        )
        return der(0x30, object_id("1.2.840.113549.1.7.2"), der(0xA0, data))

    def response(self, message: bytes) -> bytes:
        return der(0x30, der(0x30, integer(self.status)), self.token(message))


# --- a transparency log -------------------------------------------------------------------------------------


def leaf(body: bytes) -> bytes:
    return hashlib.sha256(b"\0" + body).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root_of(leaves[:split]) + root_of(leaves[split:])).digest()


def path_of(at: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if at < split:
        return [*path_of(at, leaves[:split]), root_of(leaves[split:])]
    return [*path_of(at - split, leaves[split:]), root_of(leaves[:split])]


@dataclass(frozen=True)
class Rekor:
    """A log of signatures by its address; the second version signs by Ed25519, and promises nothing."""

    key: Any
    name: str = "rekor.example"

    @property
    def is_second(self) -> bool:
        return isinstance(self.key, ed25519.Ed25519PrivateKey)

    @property
    def id(self) -> bytes:
        if not self.is_second:
            return hashlib.sha256(spki(self.key)).digest()
        return hashlib.sha256(self.name.encode() + b"\n\1" + spki(self.key)[-32:]).digest()

    def sign(self, data: bytes) -> bytes:
        signature: bytes = (
            self.key.sign(data) if self.is_second else self.key.sign(data, ec.ECDSA(hashes.SHA256()))
        )
        return signature

    def entry(
        self, body: Mapping[str, Any], *, at_s: int = NOW_S, index: int = 5, size: int = 11
    ) -> dict[str, Any]:
        """An entry as a bundle has it, number `index` of `size` others."""
        raw = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
        leaves = [leaf(raw if n == index else b"entry %d" % n) for n in range(size)]
        root = root_of(leaves)
        note = f"{self.name} - 42\n{size}\n{b64(root)}\n"
        signed = b64(self.id[:4] + self.sign(note.encode()))
        out: dict[str, Any] = {
            "logIndex": str(index + 1000),
            "logId": {"keyId": b64(self.id)},
            "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": b64(root),
                "treeSize": str(size),
                "hashes": [b64(one) for one in path_of(index, leaves)],
                "checkpoint": {"envelope": f"{note}\n\u2014 {self.name} {signed}\n"},
            },
            "canonicalizedBody": b64(raw),
        }
        if not self.is_second:
            promise = b64(self.sign(self.promised(raw, at_s, index + 1000)))
            out |= {"integratedTime": str(at_s), "inclusionPromise": {"signedEntryTimestamp": promise}}
        return out

    def promised(self, raw: bytes, at_s: int, index: int) -> bytes:
        document = {"body": b64(raw), "integratedTime": at_s, "logID": self.id.hex(), "logIndex": index}
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


# --- all of it together -------------------------------------------------------------------------------------

ISSUER, SIGNER = "https://accounts.example", "builder@example.com"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class World:
    """A root with who is in it; `replace` makes another one."""

    root: Issued
    between: Issued
    ctlog: Any
    rekor: Rekor
    clock_root: Issued
    clock: Issued
    signer: Issued
    payload: bytes = b'{"_type":"https://in-toto.io/Statement/v1"}'
    more: Mapping[str, Any] = field(default_factory=dict)

    def trusted_root(self) -> dict[str, Any]:
        """The document of those who are trusted."""
        start = {"start": text_of(NOW_S - YEAR)}

        def log(key: Any, name: str, log_id: bytes) -> dict[str, Any]:
            kind = "PKIX_ED25519" if isinstance(key, ed25519.Ed25519PrivateKey) else "PKIX_ECDSA_P256_SHA_256"
            held = {"rawBytes": b64(spki(key)), "keyDetails": kind, "validFor": dict(start)}
            return {
                "baseUrl": f"https://{name}", "hashAlgorithm": "SHA2_256", "publicKey": held,
                "logId": {"keyId": b64(log_id)},
            }  # fmt: skip

        def authority(name: str, *chain: Issued) -> dict[str, Any]:
            return {
                "subject": {"organization": "example", "commonName": name},
                "uri": f"https://{name}.example",
                "certChain": {"certificates": [{"rawBytes": b64(one.der)} for one in chain]},
                "validFor": dict(start),
            }

        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.rekor.key, self.rekor.name, self.rekor.id)],
            "certificateAuthorities": [authority("fulcio", self.between, self.root)],
            "ctlogs": [log(self.ctlog, "ctlog.example", hashlib.sha256(spki(self.ctlog)).digest())],
            "timestampAuthorities": [authority("tsa", self.clock, self.clock_root)],
            **self.more,
        }

    @property
    def message(self) -> bytes:
        kind = PAYLOAD_TYPE.encode()
        return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(self.payload), self.payload)

    def bundle(self, kind: str = "dsse 0.0.1", *, stamped: bool = False, at_s: int = NOW_S) -> dict[str, Any]:
        """A signature over the payload in an envelope, with an entry of a kind."""
        signature = self.signer.key.sign(self.message, ec.ECDSA(hashes.SHA256()))
        material: dict[str, Any] = {
            "certificate": {"rawBytes": b64(self.signer.der)},
            "tlogEntries": [self.rekor.entry(self.body(kind, signature), at_s=at_s)],
        }
        if stamped:
            response = Stamping(self.clock, time_s=at_s).response(signature)
            material["timestampVerificationData"] = {
                "rfc3161Timestamps": [{"signedTimestamp": b64(response)}]
            }
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": b64(self.payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": b64(signature)}],
            },
        }

    def body(self, kind: str, signature: bytes, message: bytes | None = None) -> dict[str, Any]:
        """What is entered into the log for a signature: the forms of Rekor and of its second version."""
        name, _, version = kind.partition(" ")
        message = self.message if message is None else message
        pem, sig = b64(self.signer.pem), b64(signature)
        digest = {"algorithm": "sha256", "value": hashlib.sha256(self.payload).hexdigest()}
        verifier = {
            "x509Certificate": {"rawBytes": b64(self.signer.der)},
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        }
        inner = {"sig": b64(sig.encode()), "publicKey": pem}
        second = {"content": sig, "verifier": verifier}
        spec: dict[str, Any] = {
            "hashedrekord 0.0.1": {
                "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(message).hexdigest()}},
                "signature": {"content": sig, "publicKey": {"content": pem}},
            },
            "dsse 0.0.1": {
                "envelopeHash": {"algorithm": "sha256", "value": "00" * 32},
                "payloadHash": digest,
                "signatures": [{"signature": sig, "verifier": pem}],
            },
            "intoto 0.0.2": {
                "content": {
                    "envelope": {"payloadType": PAYLOAD_TYPE, "signatures": [inner]},
                    "hash": {"algorithm": "sha256", "value": "00" * 32},
                    "payloadHash": digest,
                }
            },
            "hashedrekord 0.0.2": {
                "hashedRekordV002": {
                    "data": {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(message).digest())},
                    "signature": second,
                }
            },
            "dsse 0.0.2": {
                "dsseV002": {
                    "payloadHash": {
                        "algorithm": "SHA2_256",
                        "digest": b64(hashlib.sha256(self.payload).digest()),
                    },
                    "signatures": [second],
                }
            },
        }[kind]
        return {"apiVersion": version, "kind": name, "spec": spec}

    def signed_by(self, **changes: Any) -> World:
        """The same with another signer's certificate."""
        return replace(self, signer=signer_of(self, **changes))


def signer_of(world: World, **changes: Any) -> Issued:
    """A signer's certificate, of minutes, as Fulcio makes it."""
    given: dict[str, Any] = {
        "start_s": NOW_S - 60,
        "end_s": NOW_S + 540,
        "purposes": [For.CODE_SIGNING],
        "extra": [alternative(x509.RFC822Name(SIGNER)), *claims(ISSUER)],
        "log": world.ctlog,
        "issuer": world.between,
        **changes,
    }
    return issue(x509.Name([]), key_of("signer"), given.pop("issuer"), **given)


@cache
def world(*, second: bool = False) -> World:
    """Everybody, once for all tests; with the second version of the log if that is asked."""
    root = issue(named(("O", "example"), ("CN", "root")), key_of("root", "secp384r1"), ca=True)
    between = issue(
        named(("O", "example"), ("CN", "between")),
        key_of("between", "secp384r1"),
        root,
        ca=True,
        path=0,
        purposes=[For.CODE_SIGNING],
    )
    clock_root = issue(named(("CN", "clock root")), key_of("clock root"), ca=True)
    clock = issue(
        named(("CN", "clock")),
        key_of("clock"),
        clock_root,
        purposes=[For.TIME_STAMPING],
        purposes_critical=True,
    )
    key = ed25519.Ed25519PrivateKey.generate() if second else key_of("rekor")
    everybody = World(
        root=root,
        between=between,
        ctlog=key_of("ctlog"),
        rekor=Rekor(key),
        clock_root=clock_root,
        clock=clock,
        signer=root,
    )
    return everybody.signed_by()
