"""What outputs that hold an image have in common: the options of its form.

An exporter is a module with `write`, HOLDS_INDEX, and OPTIONS: each option's name, and what its value may be:
`bool`, one of some words, or any text (`str`). One that takes `name` takes `annotation…` too. One that
refuses options by name has them in REFUSED, each with the reason.
Where each is honoured: the form (image/forms.py) has compression, times, media types, annotations and what
concerns attestations; names are made in export/writing.py; the rest is the exporter's own.
"""

from __future__ import annotations

__all__ = ["FILES", "IMAGE", "NAMED", "Options"]

Options = dict[str, type | tuple[str, ...]]

#: Of every image.
IMAGE: Options = {
    "name": str,
    "name-canonical": bool,
    "attestation-inline": bool,
    "compression": str,
    "compression-level": str,
    "force-compression": bool,
    "oci-artifact": bool,
    "oci-mediatypes": bool,
    "prefer-nondist-layers": bool,
    "rewrite-timestamp": bool,
    "source-date-epoch": str,
}
#: Of an image that is named in a store or in a registry.
NAMED: Options = {
    **IMAGE,
    "push": bool,
    "push-by-digest": bool,
    "registry.insecure": bool,
    "store": bool,
    "unpack": bool,
    "dangling-name-prefix": str,
    "danging-name-empty-only": bool,  # so it is spelled
}
#: Of the files in an image.
FILES: Options = {"attestation-prefix": str, "platform-split": bool, "source-date-epoch": str}
