"""For which images a signature counts: `signedIdentity` of a policy, held against the name that was signed.

Spec: containers-policy.json(5), "signedBy" and "signedIdentity"; containers/image, signature,
policy_reference_match.go and policy_config.go.
Trust: the policy is the user's; the name in a signature is the signer's, and looked at only where the
signature is good. What is no reference fits nothing.
"""

from __future__ import annotations

import re

from imagesmith.errors import InvalidDocument, InvalidReference
from imagesmith.oci.codec import Object
from imagesmith.oci.names import ImageRef
from imagesmith.values import frozen

__all__ = ["SignedIdentity", "is_bare"]

_FIELDS = {
    "matchExact": (),
    "matchRepoDigestOrExact": (),
    "matchRepository": (),
    "exactReference": ("dockerReference",),
    "exactRepository": ("dockerRepository",),
    "remapIdentity": ("prefix", "signedPrefix"),
}
_PREFIX = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
    r"|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
    r"(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
)


@frozen
class SignedIdentity:
    """A rule: its type, and what it names: a reference, a repository, or two prefixes."""

    type: str = "matchRepoDigestOrExact"
    name: str = ""
    signed_prefix: str = ""

    @classmethod
    def from_json(cls, o: Object) -> SignedIdentity:
        """Read a rule.

        Raises:
            InvalidDocument: it is none.
        """
        kind = o.need_text("type")
        fields = _FIELDS.get(kind)
        if fields is None:
            raise InvalidDocument(f"{o.path}: unknown type {kind[:100]!r}")
        o.only("type", *fields)
        found = [o.need_text(key) for key in fields]
        for key, text in zip(fields, found, strict=True):
            _check(f"{o.path}: {key}", kind, text)
        return cls(kind, *found)

    @property
    def needs_tag(self) -> bool:
        """True if a name without tag and digest, as cosign signs them, never fits."""
        return self.type not in ("matchRepository", "exactRepository")

    def fits(self, image: ImageRef | None, signed: str) -> bool:
        """Whether a signature of a name counts for an image.

        Args:
            image: what was asked for, with tag or digest; None for what comes from no registry.
            signed: the name in the signature.
        """
        if self.type in ("exactReference", "exactRepository"):
            image = _reference(self.name)
        name = _reference(signed)
        if image is None or name is None:
            return False
        if self.type in ("matchRepository", "exactRepository"):
            return name.name == image.name
        if self.type == "remapIdentity":
            image = self._remapped(image)
        if image is None or is_bare(signed):
            return False
        if self.type in ("matchExact", "exactReference") or image.digest is None:
            return str(name) == str(image)
        return name.name == image.name  # the digest of the signature is compared with the image's besides

    def _remapped(self, image: ImageRef) -> ImageRef | None:
        """The image under the name that was signed; itself where the prefix is another's."""
        name = image.name
        if name != self.name and not name.startswith(f"{self.name}/"):
            return image
        return _reference(self.signed_prefix + str(image).removeprefix(self.name))


def is_bare(name: str) -> bool:
    """True for a reference without tag and digest."""
    found = _reference(name)
    return found is not None and found.tag is None and found.digest is None


def _reference(text: str) -> ImageRef | None:
    try:
        return ImageRef.parse(text, default_tag=False)
    except InvalidReference:
        return None


def _check(what: str, kind: str, text: str) -> None:
    """Refuse a name in a policy that could fit nothing."""
    if kind == "remapIdentity":
        if not _PREFIX.fullmatch(text):
            raise InvalidDocument(f"{what}: {text[:200]!r} is no host and no repository's beginning")
        return
    if _reference(text) is None:
        raise InvalidDocument(f"{what}: {text[:200]!r} is no reference")
    if kind == "exactReference" and is_bare(text):
        raise InvalidDocument(f"{what}: {text[:200]!r} has neither tag nor digest")
