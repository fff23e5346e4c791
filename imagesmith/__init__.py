"""imagesmith: build images from Dockerfiles and speak to OCI registries, without a daemon.

The library is the functions below, one for each thing that the command line can do, with the values that they
take and return; see library/. Names are imported when they are first used, so that `import imagesmith` costs
nothing.

    import imagesmith

    built = imagesmith.build("app", tags=["registry.example/app:1"], push=True)
    print(built.digest)
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagesmith import errors as errors
    from imagesmith import events as events
    from imagesmith.errors import ImagesmithError as ImagesmithError
    from imagesmith.image.result import BuildResult as BuildResult
    from imagesmith.library.artifacts import pull_files as pull_files
    from imagesmith.library.artifacts import push_files as push_files
    from imagesmith.library.attesting import attest as attest
    from imagesmith.library.attesting import generate_key as generate_key
    from imagesmith.library.attesting import verify_attestation as verify_attestation
    from imagesmith.library.building import bake as bake
    from imagesmith.library.building import build as build
    from imagesmith.library.contents import diff as diff
    from imagesmith.library.contents import export as export
    from imagesmith.library.contents import ls as ls
    from imagesmith.library.contents import read as read
    from imagesmith.library.contents import sbom as sbom
    from imagesmith.library.credentials import Credentials as Credentials
    from imagesmith.library.credentials import Token as Token
    from imagesmith.library.editing import append as append
    from imagesmith.library.editing import attach as attach
    from imagesmith.library.editing import flatten as flatten
    from imagesmith.library.editing import index as index
    from imagesmith.library.editing import mutate as mutate
    from imagesmith.library.editing import rebase as rebase
    from imagesmith.library.looking import catalog as catalog
    from imagesmith.library.looking import digest as digest
    from imagesmith.library.looking import inspect as inspect
    from imagesmith.library.looking import referrers as referrers
    from imagesmith.library.looking import tags as tags
    from imagesmith.library.moving import copy as copy
    from imagesmith.library.moving import copy_tags as copy_tags
    from imagesmith.library.moving import load as load
    from imagesmith.library.moving import pull as pull
    from imagesmith.library.moving import push as push
    from imagesmith.library.moving import save as save
    from imagesmith.library.raw import read_blob as read_blob
    from imagesmith.library.raw import read_manifest as read_manifest
    from imagesmith.library.raw import validate as validate
    from imagesmith.library.running import run as run
    from imagesmith.library.starting import Running as Running
    from imagesmith.library.starting import start as start
    from imagesmith.library.storing import delete as delete
    from imagesmith.library.storing import images as images
    from imagesmith.library.storing import prune as prune
    from imagesmith.library.storing import rmi as rmi
    from imagesmith.library.storing import tag as tag
    from imagesmith.library.trusting import login as login
    from imagesmith.library.trusting import logout as logout
    from imagesmith.library.trusting import reproduce as reproduce
    from imagesmith.library.trusting import sign as sign
    from imagesmith.library.trusting import verify as verify
    from imagesmith.library.values import Completed as Completed
    from imagesmith.library.values import Image as Image
    from imagesmith.request import BuildRequest as BuildRequest
    from imagesmith.request import Output as Output

__version__ = "0.1.0"

#: module of the library -> its public names
_LIBRARY = {
    "artifacts": ("pull_files", "push_files"),
    "attesting": ("attest", "generate_key", "verify_attestation"),
    "building": ("bake", "build"),
    "contents": ("diff", "export", "ls", "read", "sbom"),
    "credentials": ("Credentials", "Token"),
    "editing": ("append", "attach", "flatten", "index", "mutate", "rebase"),
    "looking": ("catalog", "digest", "inspect", "referrers", "tags"),
    "moving": ("copy", "copy_tags", "load", "pull", "push", "save"),
    "raw": ("read_blob", "read_manifest", "validate"),
    "running": ("run",),
    "starting": ("Running", "start"),
    "storing": ("delete", "images", "prune", "rmi", "tag"),
    "trusting": ("login", "logout", "reproduce", "sign", "verify"),
    "values": ("Completed", "Image"),
}
_WHERE = {
    "BuildRequest": "imagesmith.request",
    "BuildResult": "imagesmith.image.result",
    "ImagesmithError": "imagesmith.errors",
    "Output": "imagesmith.request",
    **{name: f"imagesmith.library.{module}" for module, names in _LIBRARY.items() for name in names},
}
#: Modules that are public as they are.
_MODULES = ("errors", "events")

__all__ = [
    "BuildRequest",
    "BuildResult",
    "Completed",
    "Credentials",
    "Image",
    "ImagesmithError",
    "Output",
    "Running",
    "Token",
    "__version__",
    "append",
    "attach",
    "attest",
    "bake",
    "build",
    "catalog",
    "copy",
    "copy_tags",
    "delete",
    "diff",
    "digest",
    "errors",
    "events",
    "export",
    "flatten",
    "generate_key",
    "images",
    "index",
    "inspect",
    "load",
    "login",
    "logout",
    "ls",
    "mutate",
    "prune",
    "pull",
    "pull_files",
    "push",
    "push_files",
    "read",
    "read_blob",
    "read_manifest",
    "rebase",
    "referrers",
    "reproduce",
    "rmi",
    "run",
    "save",
    "sbom",
    "sign",
    "start",
    "tag",
    "tags",
    "validate",
    "verify",
    "verify_attestation",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"imagesmith.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'imagesmith' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)


def _function(name: str) -> property:
    """A function that has the name of a package of ours: it stays the function once that is imported."""
    return property(lambda _: __getattr__(name), lambda _module, _package: None)


class _Face(ModuleType):
    """This module: `import imagesmith.bake.hcl` does not put a package in the place of `imagesmith.bake`."""

    attest = _function("attest")
    bake = _function("bake")
    export = _function("export")
    sbom = _function("sbom")


sys.modules[__name__].__class__ = _Face
