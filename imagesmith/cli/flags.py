"""Flags that many commands have: --platform where a command works on one, --insecure with its like, --root.

Why two platforms are refused: `docker buildx` builds every platform that is asked for, with one flag for each
or commas in one; whoever writes that must not get a single image without a word.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from imagesmith.errors import UsageError
from imagesmith.settings import Settings

__all__ = ["add_insecure_flags", "add_platform", "insecure_of", "one_platform", "settings_of"]


def add_platform(parser: argparse._ActionsContainer, help_: str = "platform within an index") -> None:
    """The --platform flag, for one platform."""
    parser.add_argument("--platform", action=_One, default="", metavar="OS/ARCH", help=help_)


def one_platform(texts: Sequence[str]) -> str:
    """The platform of some flags' values, with commas or not; empty where there is none.

    Raises:
        UsageError: there are several.
    """
    names = list(dict.fromkeys(name.strip() for text in texts for name in text.split(",") if name.strip()))
    if len(names) > 1:
        raise UsageError(f"--platform {','.join(names)}: one platform at a time")
    return names[0] if names else ""


class _One(argparse.Action):
    """Takes the flag as often as it is given, for one platform."""

    def __call__(self, _parser: object, namespace: object, values: object, _name: str | None = None) -> None:
        """Keep the platform, if it is the one that was given before."""
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, one_platform([before, str(values)]))


def add_insecure_flags(parser: argparse._ActionsContainer) -> None:
    """--insecure for all registries, --insecure-registry for one."""
    parser.add_argument("--insecure", action="store_true", help="plain HTTP, or any certificate")
    parser.add_argument(
        "--insecure-registry", action="append", default=[], metavar="HOST",
        help="the same for one registry, HOST or HOST:PORT; may be repeated",
    )  # fmt: skip


def insecure_of(args: argparse.Namespace) -> bool | frozenset[str]:
    """For which registries plain HTTP, or any certificate, was asked for."""
    return args.insecure or frozenset(args.insecure_registry)


def settings_of(root: str) -> Settings:
    """The settings of this process; a line is said where the store is not in its usual place."""
    settings = Settings.load(root)
    if settings.instead:
        sys.stderr.write(f"warning: {settings.instead}; the store is {settings.root}, or what --root names\n")
    return settings
