"""What of an image is taken (Choice), and what is then to be sent (Plan).

Why: every verb that copies fills the first in, and copier.py makes the second of it.
Threads: a choice may be used by any; a plan is made by one.
"""

from __future__ import annotations

from collections.abc import Callable

from imagesmith.interfaces import ImageSource
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import Platform
from imagesmith.transports.convert import Family
from imagesmith.values import field, frozen, record

__all__ = ["Choice", "Plan", "Reform"]

#: Makes the manifest that is to be there of one that a place has.
Reform = Callable[[ImageSource, Manifest], Manifest]


@frozen(kw_only=True)
class Choice:
    """What of an image is taken.

    platforms     of an index; empty for all of it that is there. A single image for another is refused
    default       where no platform is named: of an index this one, or unless sparse the only one there is
    sparse        with a platform: the index stays as it is, and its other manifests are left out
    whole         an index of which something is not there is refused
    referrers     take along what refers to the image
    family        rewrite manifests to Docker's or OCI's types
    attestations  take along what an index says of its images; without, an index of one image is that image
    exact         refuse a copy in which a manifest's digest changes
    reform        makes another manifest of each image's: its layers compressed otherwise
    """

    platforms: tuple[Platform, ...] = ()
    default: Platform | None = None
    sparse: bool = False
    whole: bool = False
    referrers: bool = False
    family: Family = ""
    attestations: bool = True
    exact: bool = False
    reform: Reform | None = None

    @property
    def is_all(self) -> bool:
        """True if the image is taken as it is, and nothing beside it."""
        changed = self.family or self.reform or not self.attestations
        return not (self.platforms or self.default or self.referrers or changed)


@record
class Plan:
    """What is to be sent: blobs, manifests in order with their bytes, and the root, which comes last.

    `tags` are further tags of some manifests.
    Beside it `there`: manifests below the root that the target has, with all that they name; `absent`: those
    that the source's indexes name, and it has not got; and of attestations that stay behind `unsaid`: of an
    image that goes without its index, and `outdated`: of images that become others.
    """

    root: Descriptor | None = None
    tags: list[tuple[str, Descriptor]] = field(default_factory=list)
    absent: list[Descriptor] = field(default_factory=list)
    unsaid: list[Descriptor] = field(default_factory=list)
    outdated: list[Descriptor] = field(default_factory=list)
    there: list[Descriptor] = field(default_factory=list)
    raw: dict[Digest, bytes] = field(default_factory=dict)
    manifests: list[Descriptor] = field(default_factory=list)
    blobs: dict[Digest, Descriptor] = field(default_factory=dict)

    def the_root(self) -> Descriptor:
        """The root of a finished plan."""
        assert self.root is not None
        return self.root
