"""What can be chosen by name, and where it is: the only pointers upward in the house.

Why: a table of strings costs nothing at start-up; `load` imports what was chosen. To add a command, an
exporter or a sandbox, write its module and add its line here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["COMMANDS", "EXPORTERS", "load"]

#: command -> (module:configure-and-run pair's prefix, one line for --help)
COMMANDS: dict[str, tuple[str, str]] = {
    "build": ("imagesmith.cli.build", "build an image from a Dockerfile"),
    "push": ("imagesmith.cli.images", "push an image to its registry"),
    "pull": ("imagesmith.cli.images", "pull an image into the store"),
    "images": ("imagesmith.cli.images", "list the images of the store"),
    "tag": ("imagesmith.cli.images", "give an image another name"),
    "rmi": ("imagesmith.cli.images", "take a name away from an image"),
    "inspect": ("imagesmith.cli.images", "show an image's config, manifest or index"),
    "prune": ("imagesmith.cli.images", "delete what no image and no cached step needs"),
    "login": ("imagesmith.cli.accounts", "keep credentials for a registry"),
    "logout": ("imagesmith.cli.accounts", "forget the credentials for a registry"),
    "registry": ("imagesmith.cli.registry", "serve an OCI registry from a folder"),
    "doctor": ("imagesmith.cli.doctor", "tell what this machine offers for RUN, and what will be used"),
}

EXPORTERS: dict[str, str] = {
    "oci": "imagesmith.export.outputs:oci",
    "docker": "imagesmith.export.outputs:docker",
    "local": "imagesmith.export.outputs:local",
    "tar": "imagesmith.export.outputs:tar",
    "image": "imagesmith.export.outputs:image",
    "registry": "imagesmith.export.outputs:image",
    "cacheonly": "imagesmith.export.outputs:cacheonly",
}


def load(target: str) -> Any:  # noqa: ANN401 - what a table names may be anything
    """The object behind `module:attribute`, or the module itself."""
    module, _, attribute = target.partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found
