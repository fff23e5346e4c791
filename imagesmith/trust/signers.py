"""Who may sign under a `sigstoreSigned` requirement, and whether one of them made a signature.

They are known by their keys; by certificates of Fulcio, at the time when the log took the signature in; or by
certificates of the user's own authorities, at the present time. Where the requirement names keys of Rekor,
the log's entry is demanded of each of them.
Spec: containers-policy.json(5), "sigstoreSigned"; containers/image, signature/policy_eval_sigstore.go,
fulcio_cert.go and pki_cert.go. There, keys of Rekor beside `pki` mean nothing.
Trust: the requirement and the files that it names are the user's; a signature and its annotations are a
stranger's. A timestamp that comes with it counts for nothing, as there: no policy says whose is trusted.
Threads: any, once it is made.
"""

from __future__ import annotations

import time

from imagesmith.errors import InvalidDocument, Untrusted, UsageError
from imagesmith.trust.certificates import Certificate
from imagesmith.trust.chains import CODE_SIGNING, chain_of
from imagesmith.trust.keys import PublicKey
from imagesmith.trust.policy import Certified, Given, SigstoreSigned
from imagesmith.trust.rekor import Entry, Signed, check_entry
from imagesmith.trust.sigstore import Expected, Material, verify_keyless
from imagesmith.trust.simplesigning import BUNDLE_OF_LOG, SimpleSignature
from imagesmith.trust.trustedroot import Authority, Log, Period, TrustedRoot
from imagesmith.values import replace

__all__ = ["Signers"]


class Signers:
    """Those whose signatures fulfil a requirement."""

    def __init__(self, wanted: SigstoreSigned) -> None:
        """Read the files that the requirement names.

        Raises:
            UsageError: one cannot be read, or is not what it should be.
        """
        self._by, self._certified = wanted.by, wanted.certified
        self._keys = tuple(map(_key, wanted.keys))
        self._logs = tuple(Log.of_key(_key(given)) for given in wanted.rekor)
        self._roots = _certificates(wanted.certified.roots if wanted.certified else None)
        self._between = _certificates(wanted.certified.between if wanted.certified else None)

    def check(self, found: SimpleSignature, what: str) -> None:
        """Return if one of them made a signature; `what` names it in messages.

        Raises:
            Untrusted: none of them did.
            InvalidDocument: what comes with it cannot be read.
        """
        if self._certified is None:
            key = next((k for k in self._keys if k.verify(found.signature, found.payload)), None)
            if key is None:
                raise Untrusted(f"{what} is not by {self._by}")
            self._check_log(found, key.der, what)
        elif self._certified.kind == "fulcio":
            self._check_fulcio(self._certified, found, what)
        else:
            self._check_pki(self._certified, found, what)

    def _check_log(self, found: SimpleSignature, verifier: bytes, what: str) -> None:
        """Return if the log has the signature, where that is demanded."""
        if not self._logs:
            return
        text = found.annotations.get(BUNDLE_OF_LOG, "")
        if not text:
            raise Untrusted(f"{what} comes without an entry of Rekor")
        entry = Entry.from_annotation(text, f"{what}: log entry")
        check_entry(entry, _signed(found, verifier), self._logs)

    def _check_fulcio(self, wanted: Certified, found: SimpleSignature, what: str) -> None:
        material = replace(Material.of_annotations(found.annotations, what), timestamps=())
        authorities = tuple(Authority(root.what, (root,), Period()) for root in self._roots)
        root = TrustedRoot(tlogs=self._logs, certificate_authorities=authorities)
        expected = Expected(identity=wanted.email, issuer=wanted.issuer)
        verify_keyless(material, _signed(found, material.certificate.der), root, expected)
        _check_email(material.certificate, wanted.email)

    def _check_pki(self, wanted: Certified, found: SimpleSignature, what: str) -> None:
        material = Material.of_annotations(found.annotations, what)
        certificate = material.certificate
        if not certificate.key.verify(found.signature, found.payload):
            raise Untrusted(f"{certificate.what}: its key did not make the signature")
        between = (*self._between, *material.chain)
        chain_of(certificate, between, self._roots, at_s=int(time.time()), purpose=CODE_SIGNING)
        if wanted.email:
            _check_email(certificate, wanted.email)
        if wanted.host and not any(_is_host(name.lower(), wanted.host.lower()) for name in certificate.hosts):
            names = ", ".join(certificate.hosts) or "no host"
            raise Untrusted(f"{certificate.what}: is of {names}, not of {wanted.host}")
        self._check_log(found, certificate.der, what)


def _signed(found: SimpleSignature, verifier: bytes) -> Signed:
    return Signed(signature=found.signature, message=found.payload, verifier=verifier)


def _check_email(certificate: Certificate, email: str) -> None:
    if email not in certificate.emails:
        names = ", ".join(certificate.emails) or "no address"
        raise Untrusted(f"{certificate.what}: is of {names}, not of {email}")


def _is_host(name: str, host: str) -> bool:
    """Whether a name of a certificate, whose first part may be `*`, is a host's."""
    return name == host or (name.startswith("*.") and name[2:] == host.partition(".")[2])


def _key(given: Given) -> PublicKey:
    try:
        return PublicKey.parse(given.read(), given.name)
    except InvalidDocument as e:
        raise UsageError(e.message, hint=e.hint) from e


def _certificates(given: Given | None) -> tuple[Certificate, ...]:
    """The certificates in a file; none where there is no file."""
    if given is None:
        return ()
    try:
        return Certificate.parse_all(given.read(), given.name)
    except InvalidDocument as e:
        raise UsageError(e.message, hint=e.hint) from e
