"""Whether a policy lets an image be used: its scope's requirements, held against what vouches for the image.

What is judged is each image manifest that is read, never an index: a signature of an index alone lets none of
its images pass, as with podman and skopeo. Signatures are those of the older form, under the tag
`sha256-….sig` beside the image; they are looked for wherever a policy demands one, whether registries.d says
`use-sigstore-attachments` or not: not to look could only refuse.
Spec: containers-policy.json(5); containers/image, signature/policy_eval*.go.
Trust: signatures are a stranger's, bounded by who reads them (simplesigning.py). Nothing in a payload counts
before the signature over it is good; whatever cannot be read or is not known here refuses the image.
Threads: any; of an image that several ask about, one looks.
"""

from __future__ import annotations

from pathlib import Path

from imagesmith.concurrency import Once
from imagesmith.errors import IntegrityError, NotFound, Untrusted, UsageError
from imagesmith.interfaces import ImageSource
from imagesmith.oci.digest import Digest
from imagesmith.oci.identity import Identity
from imagesmith.oci.model import Descriptor
from imagesmith.settings import MACHINE, home_folder
from imagesmith.trust.companions import layers_at
from imagesmith.trust.identities import is_bare
from imagesmith.trust.policy import Policy, Requirement, SigstoreSigned
from imagesmith.trust.signers import Signers
from imagesmith.trust.simplesigning import PAYLOAD, Payload, SimpleSignature

__all__ = ["PolicyAdmission", "admission_by", "machine_policy"]

#: Why requirements that are known by name are not fulfilled here.
_NOT_HERE = {
    "reject": "everything is rejected",
    "signedBy": "GPG signatures are not verified here",
    "signedBaseLayer": "signed base layers are not verified here",
}
_MOST_REASONS = 3
_WHERE = (
    "signatures are looked for under the tag sha256-….sig, of each image, not of its index: `imagesmith"
    " sign`, or `cosign sign --new-bundle-format=false --recursive`"
)
_BARE = 'cosign signs names without tags, which "signedIdentity": {"type": "matchRepository"} accepts'


class PolicyAdmission:
    """A policy that is asked; Admission."""

    def __init__(self, policy: Policy) -> None:
        """Ask a policy; its keys are read when a signature is demanded."""
        self._policy = policy
        self._asked: Once[tuple[Identity, Digest], None] = Once()
        self._signers: Once[SigstoreSigned, Signers] = Once()

    def admit(self, source: ImageSource, d: Descriptor) -> None:
        """Let an image pass, or not; see Admission."""
        identity = source.identity
        self._asked.get((identity, d.digest), lambda: self._judge(source, identity, d.digest))

    def _judge(self, source: ImageSource, identity: Identity, digest: Digest) -> None:
        scope, requirements = self._policy.for_image(identity)
        for requirement in requirements:
            try:
                self._fulfil(requirement, source, identity, digest)
            except (Untrusted, IntegrityError) as e:
                of_store = identity.transport == "containers-storage"  # policies know no names there
                image = f"{identity}:{source.name}" if of_store else str(identity)
                raise Untrusted(
                    f"{image}: refused by {self._policy.name}: {scope}: {requirement.type}: {e.message}",
                    hint=e.hint,
                ) from e

    def _fulfil(
        self, requirement: Requirement, source: ImageSource, identity: Identity, digest: Digest
    ) -> None:
        """Return if an image fulfils a requirement.

        Raises:
            Untrusted: it does not.
        """
        signed = requirement.signed
        if signed is None:
            if requirement.type != "insecureAcceptAnything":
                raise Untrusted(_NOT_HERE[requirement.type])
            return
        signers = self._signers.get(signed, lambda: Signers(signed))
        reasons: dict[str, str] = {}
        for n, layer in layers_at(source, digest, ".sig", PAYLOAD):
            try:
                signature = SimpleSignature.at(source, layer)
                signers.check(signature, f"signature {n}")
                _check_payload(signed, signature, identity, digest, f"signature {n}")
            except (Untrusted, IntegrityError, NotFound) as e:
                reasons.setdefault(e.message, e.hint)
            else:
                return
        if not reasons:
            raise Untrusted(f"no signature of {digest} is there", hint=_WHERE)
        more = len(reasons) - _MOST_REASONS
        said = "; ".join(list(reasons)[:_MOST_REASONS]) + (f"; and {more} more" if more > 0 else "")
        raise Untrusted(said, hint=next(filter(None, reasons.values()), ""))


def _check_payload(
    wanted: SigstoreSigned, found: SimpleSignature, identity: Identity, digest: Digest, what: str
) -> None:
    """Return if a signature, which is good, is of this image.

    Raises:
        Untrusted: it is not.
        InvalidDocument: it cannot be read.
    """
    payload = Payload.parse(found.payload, what)
    if payload.digest != digest:
        raise Untrusted(f"{what} is of another image, {payload.digest}")
    if not wanted.identity.fits(identity.ref, payload.reference):
        bare = wanted.identity.needs_tag and is_bare(payload.reference)
        raise Untrusted(
            f"{what} is of {payload.reference[:300]!r}, which {wanted.identity.type} does not accept",
            hint=_BARE if bare else "",
        )


def admission_by(path: str) -> PolicyAdmission:
    """Who is asked about images: the policy in a file, or by the word MACHINE that of this machine.

    Raises:
        UsageError: it cannot be read, or is no policy.
    """
    return PolicyAdmission(Policy.load(str(machine_policy()) if path == MACHINE else path))


def machine_policy() -> Path:
    """Where this machine's policy is: its user's, or else that of all.

    Raises:
        UsageError: there is none.
    """
    home, everyone = home_folder(), Path("/etc/containers/policy.json")
    places = [*([home / ".config/containers/policy.json"] if home else []), everyone]
    found = next((p for p in places if p.is_file()), None)
    if found is None:
        names = " and no ".join(map(str, places))
        raise UsageError(
            f"there is no {names}", hint="IMAGESMITH_POLICY=machine asks for it; --policy names another"
        )
    return found
