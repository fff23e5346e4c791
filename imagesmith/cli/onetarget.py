"""`build --on`: what the flags of `build` say as a bake of one target, which other machines do.

Why a target: units, workers and waves are those of a bake, and a build for several platforms is one of a
target with as many units.
"""

from __future__ import annotations

import argparse
import os

from imagesmith.bake.entries import Entry, attest_text, entries_of
from imagesmith.bake.overrides import Override, overridden
from imagesmith.bake.selection import Selection, prepared
from imagesmith.bake.target import Setting, Target, completed
from imagesmith.cli.buildrequest import build_args_of, request_of
from imagesmith.cli.elsewhere import bake_elsewhere, print_rights
from imagesmith.cli.limitflags import limits_of, resources_of
from imagesmith.errors import UsageError
from imagesmith.options import parse_hosts, parse_labels

__all__ = ["build_elsewhere", "selection_of"]

_NAME = "default"
#: Flags that are lists of entries, by the attributes of a target.
_ENTRIES = {
    "attest": "attest", "cache-from": "cache_from", "cache-to": "cache_to", "output": "output",
    "secret": "secret", "ssh": "ssh",
}  # fmt: skip
_LISTS = {
    "annotations": "annotation", "platforms": "platform", "tags": "tag", "ulimits": "ulimit",
    "no-cache-filter": "no_cache_filter", "entitlements": "allow",
}  # fmt: skip
_TEXTS = {"target": "target", "network": "network", "shm-size": "shm_size"}
#: What is about this machine, or is not there elsewhere.
_HERE = ("load", "iidfile", "digest_file", "sign", "call", "check", "pin", "squash", "on_failure", "shell_at")


def build_elsewhere(args: argparse.Namespace) -> int:
    """Have the build done, and return the exit status; see elsewhere.bake_elsewhere."""
    if args.print_rbac:
        return print_rights(args)
    request_of(args)  # every flag is checked as it is for a build here
    args.keep_going, args.print, args.jobs = False, False, 0
    return bake_elsewhere(prepared(selection_of(args), os.environ), args)


def selection_of(args: argparse.Namespace) -> Selection:
    """The flags as a target.

    Raises:
        UsageError: a flag is for this machine, or the context comes from standard input.
    """
    for name in _HERE:
        if getattr(args, name):
            raise UsageError(f"--{name.replace('_', '-')}: it is not honoured with --on {args.on}")
    if "-" in (args.context, args.file):
        raise UsageError(f"--on {args.on}: no other machine has this one's standard input")
    attributes: dict[str, Setting] = {"context": args.context}
    if args.file:
        attributes["dockerfile"] = args.file if "://" in args.file else os.path.abspath(args.file)
    attributes |= {name: getattr(args, flag) for name, flag in _TEXTS.items() if getattr(args, flag)}
    attributes |= {
        "args": build_args_of(args),
        "labels": parse_labels(args.label),
        "contexts": dict(_pair(text) for text in args.build_context),
        "extra-hosts": dict(parse_hosts(args.add_host)),
        "pull": args.pull,
        "no-cache": args.no_cache,
        "resources": resources_of(limits_of(args)),
    }
    for name, flag in _LISTS.items():
        texts = [part for text in getattr(args, flag) for part in _parts(name, text)]
        attributes[name] = tuple(dict.fromkeys(texts))
    for name, flag in _ENTRIES.items():
        attributes[name] = _entries(name, getattr(args, flag))
    said = [("provenance", args.provenance), ("sbom", args.sbom)]
    asked = [attest_text(kind, text) for kind, text in said if text]
    attributes["attest"] = _entries("attest", [*args.attest, *asked])
    overrides = [Override("push", "true")] if args.push else []
    target = Target(name=_NAME, attributes=completed(overridden(attributes, overrides)))
    return Selection(targets={_NAME: target}, groups={})


def _entries(name: str, texts: list[str]) -> tuple[Entry, ...]:
    return tuple(entry for text in texts for entry in entries_of(name, text))


def _parts(name: str, text: str) -> list[str]:
    """Platforms and stages may stand in one word, with commas between them."""
    return [part for part in text.split(",") if part] if name in ("platforms", "no-cache-filter") else [text]


def _pair(text: str) -> tuple[str, str]:
    name, _, place = text.partition("=")
    return name, place
