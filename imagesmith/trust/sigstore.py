"""Signatures without a key: who signed, by a short-lived certificate, a transparency log, and a trusted root.

The certificate of the signer is valid for minutes; a log, or a timestamp authority, tells that the signature
was made in them. Everything is at hand: nothing is asked of anybody.
Spec: sigstore's client specification (architecture-docs, client-spec.md), section 4; protobuf-specs; cosign's
SIGNATURE_SPEC.md for the annotations of the older form, and its flags for who is expected.
Trust: all but the trusted root and who is expected is a stranger's. Every entry and timestamp that is there
must hold, not only enough of them; a log's entry is needed where the root names logs, and so is a certificate
log's timestamp: the root decides what counts, and what it cannot check is not asked for.
Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from imagesmith.errors import InvalidDocument, Untrusted, UsageError
from imagesmith.oci.codec import parse_object
from imagesmith.trust.bundle import Bundle
from imagesmith.trust.certificates import Certificate, certificate_timestamps
from imagesmith.trust.chains import CODE_SIGNING, chain_of, shown_time
from imagesmith.trust.rekor import Entry, Signed, check_entry
from imagesmith.trust.simplesigning import BUNDLE_OF_LOG, CERTIFICATE, CHAIN, TIMESTAMP
from imagesmith.trust.timestamps import Timestamp, check_timestamp
from imagesmith.trust.trustedroot import TrustedRoot
from imagesmith.values import frozen

__all__ = ["Expected", "Identity", "Material", "verify_keyless"]

_MOST_ENTRIES, _MOST_TIMESTAMPS, _MOST_TEXT = 32, 32, 1 << 20


@frozen(kw_only=True)
class Expected:
    """Who should have signed: for name and issuer the text itself, or a regular expression found in it."""

    identity: str = ""
    identity_regexp: str = ""
    issuer: str = ""
    issuer_regexp: str = ""

    @classmethod
    def parse(cls, *, identity: str, identity_regexp: str, issuer: str, issuer_regexp: str) -> Expected:
        """Take what the flags say, of the same names with `--certificate-` before them.

        Raises:
            UsageError: name or issuer is open, or said twice, or an expression is none.
        """
        for flag, plain, regexp in (
            ("identity", identity, identity_regexp),
            ("oidc-issuer", issuer, issuer_regexp),
        ):
            if not plain and not regexp:
                raise UsageError(
                    f"who signed must be said: --certificate-{flag} or --certificate-{flag}-regexp is missing"
                )
            if plain and regexp:
                raise UsageError(f"--certificate-{flag} and --certificate-{flag}-regexp exclude each other")
            try:
                re.compile(regexp)
            except re.error as e:
                raise UsageError(f"--certificate-{flag}-regexp: not a regular expression: {e}") from e
        return cls(
            identity=identity, identity_regexp=identity_regexp, issuer=issuer, issuer_regexp=issuer_regexp
        )

    def check(self, certificate: Certificate) -> None:
        """Refuse the certificate of somebody else.

        Raises:
            Untrusted: it is.
        """
        if not any(_fits(name, self.identity, self.identity_regexp) for name in certificate.identities):
            whom = ", ".join(certificate.identities) or "nobody"
            raise Untrusted(f"signed by {whom}, not by {self.identity or f'/{self.identity_regexp}/'}")
        if not _fits(certificate.oidc_issuer, self.issuer, self.issuer_regexp):
            who = certificate.oidc_issuer or "nobody"
            raise Untrusted(
                f"the signer is known to {who}, not to {self.issuer or f'/{self.issuer_regexp}/'}"
            )


def _fits(text: str, plain: str, regexp: str) -> bool:
    return text == plain if plain else re.search(regexp, text) is not None


@frozen(kw_only=True)
class Identity:
    """Who signed: the names in the certificate, who knows the signer by them, when (seconds since 1970)."""

    names: tuple[str, ...]
    issuer: str
    time_s: int


@frozen(kw_only=True)
class Material:
    """What comes with a signature made without a key; `chain` is what may stand above the certificate."""

    certificate: Certificate
    chain: tuple[Certificate, ...] = ()
    entries: tuple[Entry, ...] = ()
    timestamps: tuple[Timestamp, ...] = ()

    @classmethod
    def of_bundle(cls, bundle: Bundle, what: str) -> Material:
        """What is in a bundle; `what` names it in messages.

        Raises:
            InvalidDocument: it cannot be read, or lacks what its version must have.
        """
        if not bundle.certificates:
            raise InvalidDocument(f"{what}: has no certificate")
        _few(len(bundle.tlog_entries), len(bundle.timestamps), what)
        first, *others = (
            Certificate.parse(der, f"{what}: certificate {n}") for n, der in enumerate(bundle.certificates, 1)
        )
        entries = tuple(map(Entry.from_json, bundle.tlog_entries))
        for entry in entries:
            if bundle.media_type.endswith("version=0.1"):
                if not entry.promise:
                    raise InvalidDocument(f"{entry.what}: inclusionPromise is missing")
            elif entry.proof is None:
                raise InvalidDocument(f"{entry.what}: inclusionProof is missing")
        return cls(
            certificate=first,
            chain=tuple(others),
            entries=entries,
            timestamps=tuple(
                Timestamp.parse(raw, f"{what}: timestamp {n}") for n, raw in enumerate(bundle.timestamps, 1)
            ),
        )

    @classmethod
    def of_annotations(cls, annotations: Mapping[str, str], what: str) -> Material:
        """What cosign's older form has beside a signature; `what` names it in messages.

        Raises:
            InvalidDocument: it cannot be read.
        """
        texts = {k: annotations.get(k, "") for k in (CERTIFICATE, CHAIN, BUNDLE_OF_LOG, TIMESTAMP)}
        if any(len(text) > _MOST_TEXT for text in texts.values()):
            raise InvalidDocument(f"{what}: an annotation of more than {_MOST_TEXT} characters")
        entry, stamp = texts[BUNDLE_OF_LOG], texts[TIMESTAMP]
        stamps: tuple[Timestamp, ...] = ()
        if stamp:
            o = parse_object(stamp.encode(), f"{what}: timestamp", exact=True)
            stamps = (Timestamp.parse(o.data_of("SignedRFC3161Timestamp"), o.path),)
        chain = texts[CHAIN].encode()
        return cls(
            certificate=Certificate.parse(texts[CERTIFICATE].encode(), f"{what}: certificate"),
            chain=Certificate.parse_all(chain, f"{what}: chain") if chain else (),
            entries=(Entry.from_annotation(entry, f"{what}: log entry"),) if entry else (),
            timestamps=stamps,
        )


def _few(entries: int, timestamps: int, what: str) -> None:
    if entries > _MOST_ENTRIES or timestamps > _MOST_TIMESTAMPS:
        raise InvalidDocument(
            f"{what}: more than {_MOST_ENTRIES} log entries, or more than {_MOST_TIMESTAMPS} timestamps"
        )


def verify_keyless(material: Material, signed: Signed, root: TrustedRoot, expected: Expected) -> Identity:
    """Who made a signature, and when, by what comes with it and a trusted root.

    Args:
        material: what comes with it.
        signed: the signature, and what it is over; `verifier` is the certificate.
        root: who is believed.
        expected: who should have made it.

    Raises:
        Untrusted: it is not good, or of somebody else; the message is one reason.
        InvalidDocument: what comes with it cannot be read.
    """
    certificate = material.certificate
    if not certificate.key.verify(signed.signature, signed.message):
        raise Untrusted(f"{certificate.what}: its key did not make the signature")
    times = _times(material, signed, root)
    path: tuple[Certificate, ...] = ()
    for time_s in times:
        path = _path(material, root, time_s)
    if certificate.usages is None or "digital_signature" not in certificate.usages:
        raise Untrusted(f"{certificate.what}: its key is not for signatures")
    if certificate.authority or certificate.purposes is None:
        raise Untrusted(f"{certificate.what}: is not for code signing")
    if root.ctlogs:
        _check_logged(path, root)
    expected.check(certificate)
    return Identity(names=certificate.identities, issuer=certificate.oidc_issuer, time_s=min(times))


def _times(material: Material, signed: Signed, root: TrustedRoot) -> list[int]:
    """When the signature was made, by all who tell it; what they sign holds.

    Raises:
        Untrusted: something does not hold, or nobody tells.
    """
    what = material.certificate.what
    if len({s.info for s in material.timestamps}) < len(material.timestamps):
        raise Untrusted(f"{what}: the same timestamp comes twice")
    times = [
        check_timestamp(stamp, signed.stored or signed.signature, root.timestamp_authorities)
        for stamp in material.timestamps
    ]
    by_others = tuple(times)
    for entry in material.entries:
        promised = check_entry(entry, signed, root.tlogs, by_others)
        if promised is not None:
            times.append(promised)
    if root.tlogs and not material.entries:
        raise Untrusted(f"{what}: no entry of a transparency log comes with the signature")
    if not times:
        raise Untrusted(f"{what}: nobody who is trusted tells when the signature was made")
    return times


def _path(material: Material, root: TrustedRoot, time_s: int) -> tuple[Certificate, ...]:
    """From the certificate to one of the root, all of them valid at a time."""
    reason: Untrusted | None = None
    for authority in root.certificate_authorities:
        if not authority.period.holds(time_s):
            continue
        between = (*authority.certificates[:-1], *material.chain)
        roots = authority.certificates[-1:]
        try:
            return chain_of(material.certificate, between, roots, at_s=time_s, purpose=CODE_SIGNING)
        except Untrusted as e:
            reason = e
    raise reason or Untrusted(
        f"{material.certificate.what}: no certificate authority of the trusted root was in use"
        f" at {shown_time(time_s)}"
    )


def _check_logged(path: tuple[Certificate, ...], root: TrustedRoot) -> None:
    """Whether the certificate was made public: every timestamp in it is a trusted certificate log's."""
    certificate, issuer = path[0], path[min(1, len(path) - 1)]
    found = certificate_timestamps(certificate, issuer)
    if not found:
        raise Untrusted(f"{certificate.what}: has no timestamp of a certificate log")
    for one in found:
        logs = [log for log in root.ctlogs if one.log in log.ids and log.period.holds(one.time_s)]
        if not logs:
            raise Untrusted(f"{certificate.what}: its timestamp is of a certificate log that is not trusted")
        if not any(log.key.verify(one.signature, one.message) for log in logs):
            raise Untrusted(f"{certificate.what}: its timestamp is not the certificate log's")
