"""What can be chosen by name, and where it is: the only pointers upward in the house.

Why: a table of strings costs nothing at start-up; `load` imports what was chosen. To add a command
or an exporter, write its module and add its line here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["COMMANDS", "EXPORTERS", "LIBRARY", "load"]

#: What Python programs call.
LIBRARY = "imagesmith.library"

#: command -> (module:configure-and-run pair's prefix, one line for --help)
COMMANDS: dict[str, tuple[str, str]] = {
    "build": ("imagesmith.cli.build", "build an image from a Dockerfile"),
    "run": ("imagesmith.cli.run", "try an image: run a command in it"),
    "reproduce": ("imagesmith.cli.reproduce", "build an image again and tell what differs"),
    "push": ("imagesmith.cli.transfer", "push an image to its registry"),
    "pull": ("imagesmith.cli.transfer", "pull an image into the store"),
    "copy": ("imagesmith.cli.transfer", "copy an image between registries, layouts, archives and the store"),
    "save": ("imagesmith.cli.transfer", "write images to an archive"),
    "load": ("imagesmith.cli.transfer", "bring the images of an archive into the store"),
    "mirror": ("imagesmith.cli.transfer", "copy all images of a list"),
    "images": ("imagesmith.cli.images", "list the images of the store"),
    "tag": ("imagesmith.cli.images", "give an image another name"),
    "rmi": ("imagesmith.cli.images", "take a name away from an image"),
    "prune": ("imagesmith.cli.images", "delete what no image and no cached step needs"),
    "cache": ("imagesmith.cli.cache", "list, prune, export and import the caches of RUN --mount=type=cache"),
    "inspect": ("imagesmith.cli.inspect", "show an image's config, manifest or index"),
    "digest": ("imagesmith.cli.remote", "print the digest that a reference stands for"),
    "tags": ("imagesmith.cli.remote", "list the tags of a repository"),
    "catalog": ("imagesmith.cli.remote", "list the repositories of a registry"),
    "manifest": ("imagesmith.cli.remote", "get, put or delete a manifest"),
    "blob": ("imagesmith.cli.remote", "get, put or delete a blob"),
    "delete": ("imagesmith.cli.remote", "delete an image from a registry or layout"),
    "index": ("imagesmith.cli.index", "make or change an index of images for several platforms"),
    "append": ("imagesmith.cli.edit", "put layers on top of an image"),
    "mutate": ("imagesmith.cli.edit", "change an image's config, labels or annotations"),
    "flatten": ("imagesmith.cli.edit", "merge an image's layers into one"),
    "rebase": ("imagesmith.cli.edit", "put an image's own layers onto another base"),
    "export": ("imagesmith.cli.content", "write an image's file system as a tar"),
    "diff": ("imagesmith.cli.content", "show what differs between two images: config, files, sizes"),
    "attach": ("imagesmith.cli.artifacts", "attach files to an image"),
    "referrers": ("imagesmith.cli.artifacts", "list what is attached to an image"),
    "validate": ("imagesmith.cli.remote", "check an image to its last byte"),
    "login": ("imagesmith.cli.accounts", "keep credentials for a registry"),
    "logout": ("imagesmith.cli.accounts", "forget the credentials for a registry"),
    "registry": ("imagesmith.cli.registry", "serve an OCI registry from a folder"),
    "doctor": ("imagesmith.cli.doctor", "tell what this machine offers for RUN, and what will be used"),
}

#: output type -> the module that makes it (export/options.py)
EXPORTERS: dict[str, str] = {
    "oci": "imagesmith.export.oci",
    "docker": "imagesmith.export.docker",
    "local": "imagesmith.export.local",
    "tar": "imagesmith.export.tar",
    "image": "imagesmith.export.image",
    "registry": "imagesmith.export.registry",
    "cacheonly": "imagesmith.export.cacheonly",
}


def load(target: str) -> Any:  # noqa: ANN401 - what a table names may be anything
    """The object behind `module:attribute`, or the module itself."""
    module, _, attribute = target.partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found
