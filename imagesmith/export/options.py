"""What outputs that hold an image have in common: the options of its form.

An exporter is a module with `write`, HOLDS_INDEX, and OPTIONS: each option's name, and what its value may be:
`bool`, one of some words, or any text (`str`). One that takes `name` takes `annotation…` too.
"""

from __future__ import annotations

__all__ = ["FILES", "IMAGE", "NAMED", "Options"]

Options = dict[str, type | tuple[str, ...]]

IMAGE: Options = {
    "name": str,
    "compression": str,
    "compression-level": str,
    "force-compression": bool,
    "oci-mediatypes": bool,
    "rewrite-timestamp": bool,
    "source-date-epoch": str,
}
#: Of what holds the files of an image.
FILES: Options = {"platform-split": bool, "source-date-epoch": str}
#: Of an image that is named in a store or in a registry.
NAMED: Options = {
    **IMAGE,
    "name-canonical": bool,
    "push-by-digest": bool,
    "registry.insecure": bool,
    "store": bool,
}
