"""What can be chosen by name, and where it is: the only pointers upward in the house.

Why: a table of strings costs nothing at start-up; `load` imports what was chosen. To add a command
or an exporter, write its module and add its line here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["BAKED", "COMMANDS", "ELSEWHERE", "EXPORTERS", "load"]

#: What `imagesmith.bake` reads its targets by: a target is words of `build`.
BAKED = "imagesmith.cli.bakerequests:baked_by"
#: What `build --on` is done by: it reads flags as `build` does.
ELSEWHERE = "imagesmith.cli.onetarget"

#: command -> (the module with its configure(parser) and run(args), one line for --help)
COMMANDS: dict[str, tuple[str, str]] = {
    "build": ("imagesmith.cli.build", "build an image from a Dockerfile"),
    "bake": ("imagesmith.cli.bake", "build the targets of bake and compose files"),
    "work": ("imagesmith.cli.work", "do one unit of a bake that was cut for many machines"),
    "kaniko": ("imagesmith.cli.kaniko", "build as kaniko's executor does, with its flags"),
    "pin": ("imagesmith.cli.pin", "settle what a Dockerfile's sources are, and tell what has moved"),
    "run": ("imagesmith.cli.run", "try an image: run a command in it"),
    "reproduce": ("imagesmith.cli.reproduce", "build an image again and tell what differs"),
    "push": ("imagesmith.cli.push", "push an image to its registry"),
    "pull": ("imagesmith.cli.pull", "pull an image into the store"),
    "copy": ("imagesmith.cli.copy", "copy an image between registries, layouts, archives and the store"),
    "save": ("imagesmith.cli.save", "write images to an archive"),
    "load": ("imagesmith.cli.load", "bring the images of an archive into the store"),
    "mirror": ("imagesmith.cli.mirror", "copy all images of a list"),
    "images": ("imagesmith.cli.images", "list the images of the store"),
    "tag": ("imagesmith.cli.tag", "give an image another name"),
    "rmi": ("imagesmith.cli.rmi", "take a name away from an image"),
    "prune": ("imagesmith.cli.prune", "delete what no image and no cached step needs"),
    "cache": ("imagesmith.cli.cache", "list, prune, export and import the caches of RUN --mount=type=cache"),
    "inspect": ("imagesmith.cli.inspect", "show an image's config, manifest or index"),
    "explore": ("imagesmith.cli.explore", "look into an image: layers, files, what is wasted"),
    "ls": ("imagesmith.cli.ls", "list a folder of an image, from no more layers than needed"),
    "cat": ("imagesmith.cli.cat", "write files of an image to standard output"),
    "digest": ("imagesmith.cli.digest", "print the digest that a reference stands for"),
    "tags": ("imagesmith.cli.tags", "list the tags of a repository"),
    "catalog": ("imagesmith.cli.catalog", "list the repositories of a registry"),
    "manifest": ("imagesmith.cli.manifest", "get, put or delete a manifest"),
    "blob": ("imagesmith.cli.blob", "get, put or delete a blob"),
    "delete": ("imagesmith.cli.delete", "delete an image from a registry or layout"),
    "index": ("imagesmith.cli.index", "make or change an index of images for several platforms"),
    "append": ("imagesmith.cli.append", "put layers on top of an image"),
    "mutate": ("imagesmith.cli.mutate", "change an image's config, labels or annotations"),
    "flatten": ("imagesmith.cli.flatten", "merge an image's layers into one"),
    "rebase": ("imagesmith.cli.rebase", "put an image's own layers onto another base"),
    "sbom": ("imagesmith.cli.sbom", "list an image's packages, and what brought each"),
    "export": ("imagesmith.cli.export", "write an image's file system as a tar"),
    "diff": ("imagesmith.cli.diff", "show what differs between two images: config, files, sizes"),
    "artifact": ("imagesmith.cli.artifact", "push files as an artifact, pull or list them"),
    "attach": ("imagesmith.cli.attach", "attach files to an image"),
    "referrers": ("imagesmith.cli.referrers", "list what is attached to an image"),
    "sign": ("imagesmith.cli.sign", "sign an image"),
    "verify": ("imagesmith.cli.verify", "tell whether an image is signed by whom it should be"),
    "attest": ("imagesmith.cli.attest", "sign what is said of an image"),
    "verify-attestation": ("imagesmith.cli.verifyattestation", "tell what is said of an image by whom"),
    "key": ("imagesmith.cli.key", "make a key for signatures, or show its public half"),
    "validate": ("imagesmith.cli.validate", "check an image to its last byte"),
    "login": ("imagesmith.cli.login", "keep credentials for a registry"),
    "logout": ("imagesmith.cli.logout", "forget the credentials for a registry"),
    "registry": ("imagesmith.cli.registry", "serve an OCI registry from a folder"),
    "config": ("imagesmith.cli.config", "show the defaults that imagesmith.toml gives, and its mistakes"),
    "completion": ("imagesmith.cli.completion", "print what bash, zsh or fish complete command lines by"),
    "docker-plugin": ("imagesmith.cli.dockerplugin", "let docker's command line build here, with no daemon"),
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
