"""Chains: the path from a signer's certificate to an authority that the user trusts, at a time.

Why by hand: `cryptography` verifies paths for web servers; those here are of signers, at a time in the past,
and under authorities that the user gives.
Spec: RFC 5280 section 6.1, with what is refused instead of worked out: name constraints, and every other
critical extension that is not known.
Trust: all but the authorities is a stranger's: the length of a path and how many are tried are bounded.
Threads: any.
"""

from __future__ import annotations

from collections.abc import Sequence

from imagesmith.errors import Untrusted
from imagesmith.oci.times import format_ns
from imagesmith.trust.certificates import Certificate

__all__ = ["CODE_SIGNING", "TIME_STAMPING", "chain_of", "check_valid", "shown_time"]

#: Extended key usages: what a certificate is for.
CODE_SIGNING, TIME_STAMPING = "1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.8"
_PURPOSES = {CODE_SIGNING: "code signing", TIME_STAMPING: "time stamping"}
_ANY_PURPOSE = "2.5.29.37.0"
#: Critical extensions that are looked at: basic constraints, key usage, its extension, alternative names.
_KNOWN = frozenset(("2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.17"))
_MOST_CERTIFICATES, _MOST_DEPTH, _MOST_TRIED = 100, 8, 100


def check_valid(certificate: Certificate, at_s: int) -> None:
    """Refuse a certificate that is not valid at a time.

    Raises:
        Untrusted: it was not yet, or is no longer.
    """
    what = certificate.what
    if at_s < certificate.start_s:
        raise Untrusted(
            f"{what}: valid from {shown_time(certificate.start_s)} on, and not at {shown_time(at_s)}"
        )
    if at_s > certificate.end_s:
        raise Untrusted(f"{what}: valid until {shown_time(certificate.end_s)}, and not at {shown_time(at_s)}")


def shown_time(seconds: int) -> str:
    """A time for people, in UTC."""
    return format_ns(seconds * 1_000_000_000)


def chain_of(
    leaf: Certificate,
    between: Sequence[Certificate],
    roots: Sequence[Certificate],
    *,
    at_s: int,
    purpose: str,
    only_known: bool = True,
) -> tuple[Certificate, ...]:
    """The path from a certificate to one that is trusted, both included.

    Args:
        leaf: of a signer; one that is itself among the roots, and issued itself, is a path.
        between: authorities that may stand between, of anybody.
        roots: those that are trusted, whoever issued them.
        at_s: when all of them must be valid, in seconds since 1970.
        purpose: what each that says what it is for must be for: CODE_SIGNING or TIME_STAMPING.
        only_known: refuse critical extensions that are not looked at; the Notary Project's rule is not to.

    Raises:
        Untrusted: there is none; the message tells what the path that came furthest lacks.
    """
    if len(between) > _MOST_CERTIFICATES:
        raise Untrusted(f"{leaf.what}: comes with more than {_MOST_CERTIFICATES} other certificates")
    search = _Search(tuple(between), tuple(roots), at_s, purpose, only_known)
    path = search.from_here((leaf,))
    if path is None:
        raise search.reason or Untrusted(f"{leaf.what}: no path to a trusted certificate")
    return path


class _Search:
    """For a path: what was tried, and why the first that failed did."""

    def __init__(
        self,
        between: tuple[Certificate, ...],
        roots: tuple[Certificate, ...],
        at_s: int,
        purpose: str,
        only_known: bool,
    ) -> None:
        self._between, self._roots = between, roots
        self._at_s, self._purpose, self._only_known = at_s, purpose, only_known
        self._tried = 0
        self.reason: Untrusted | None = None

    def from_here(self, path: tuple[Certificate, ...]) -> tuple[Certificate, ...] | None:
        """The whole path that begins like this; None if there is none."""
        last = path[-1]
        try:
            self._check(path)
        except Untrusted as e:
            self.reason = self.reason or e
            return None
        if any(last.der == root.der for root in self._roots) and (len(path) > 1 or last.issued(last)):
            return path
        if len(path) > _MOST_DEPTH:
            self.reason = self.reason or Untrusted(f"{path[0].what}: more than {_MOST_DEPTH} issuers")
            return None
        for issuer in self._roots + self._between:
            if issuer.subject != last.issuer or any(issuer.der == one.der for one in path):
                continue
            self._tried += 1
            if self._tried > _MOST_TRIED:
                self.reason = Untrusted(f"{path[0].what}: more than {_MOST_TRIED} issuers to try")
                return None
            if issuer.issued(last) and (whole := self.from_here((*path, issuer))) is not None:
                return whole
        self.reason = self.reason or Untrusted(
            f"{last.what}: none of the trusted authorities issued {last.subject_text or 'it'}"
        )
        return None

    def _check(self, path: tuple[Certificate, ...]) -> None:
        """Whether the last of a path may stand there."""
        one, below = path[-1], len(path) - 2
        check_valid(one, self._at_s)
        if self._only_known and one.critical - _KNOWN:
            raise Untrusted(f"{one.what}: a critical extension is not known: {min(one.critical - _KNOWN)}")
        if one.purposes is not None and not one.purposes & {self._purpose, _ANY_PURPOSE}:
            raise Untrusted(f"{one.what}: is not for {_PURPOSES[self._purpose]}")
        if below < 0:
            return
        if not one.authority or (one.usages is not None and "key_cert_sign" not in one.usages):
            raise Untrusted(f"{one.what}: is no authority, and issued {path[-2].what}")
        if one.path_length is not None and below > one.path_length:
            raise Untrusted(f"{one.what}: may have {one.path_length} authorities below it, not {below}")
