"""Flags that many commands have: --platform where a command works on one, how registries are reached, --root,
files to be written, and words of the form KEY=VALUE.

Why two platforms are refused by all but `build`: whoever asks for several must not get one without a word.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imagesmith.errors import UsageError

if TYPE_CHECKING:
    from imagesmith.interfaces import Admission
    from imagesmith.settings import Access, Settings

__all__ = [
    "access_of",
    "add_authfile",
    "add_insecure_flags",
    "add_platform",
    "add_policy",
    "add_registry_flags",
    "add_root",
    "admission_of",
    "insecure_of",
    "many",
    "new_file",
    "one_platform",
    "pairs",
    "settings_of",
    "text_flag",
]

#: settings.NO_POLICY: where no policy counts. Its module is not needed for declaring flags.
_NO_POLICY = "none"


def many(group: argparse._ActionsContainer, *names: str, metavar: str, text: str) -> None:
    """A flag that may be repeated."""
    group.add_argument(*names, action="append", default=[], metavar=metavar, help=text)


def text_flag(group: argparse._ActionsContainer, *names: str, metavar: str, text: str) -> None:
    """A flag with one value, empty where it is not given."""
    group.add_argument(*names, default="", metavar=metavar, help=text)


def add_root(parser: argparse._ActionsContainer) -> None:
    """The --root flag: where the store is."""
    parser.add_argument("--root", default="", metavar="DIR", help="the store")


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


def add_authfile(parser: argparse._ActionsContainer) -> None:
    """Whose credentials registries are shown."""
    parser.add_argument(
        "--authfile", default="", metavar="FILE", help="credentials, instead of the usual files"
    )


def add_registry_flags(parser: argparse._ActionsContainer) -> None:
    """How registries are reached, and by whose word they are trusted."""
    add_insecure_flags(parser)
    add_authfile(parser)
    for name, metavar, what in (
        ("--cert-dir", "DIR", "more certificates: *.crt, *.cert, *.key"),
        ("--registries-conf", "FILE", "mirrors and trust, instead of the machine's"),
        ("--hosts-dir", "DIR", "a folder like /etc/containerd/certs.d, looked into first"),
    ):
        parser.add_argument(name, default="", metavar=metavar, help=what)


def access_of(args: argparse.Namespace, *, login: bool = False) -> Access:
    """What the flags of add_registry_flags say; a login may make the file of credentials.

    Raises:
        UsageError: a file or folder that they name is not there.
    """
    from imagesmith.fs.results import refusal_of
    from imagesmith.settings import Access

    for flag, path in (("--authfile", args.authfile), ("--registries-conf", args.registries_conf)):
        if login and flag == "--authfile":
            if refusal := refusal_of(path):
                raise UsageError(f"{flag} {refusal}")
        elif path and not os.path.isfile(path):
            raise UsageError(f"{flag} {path}: no such file")
    for flag, path in (("--cert-dir", args.cert_dir), ("--hosts-dir", args.hosts_dir)):
        if path and not os.path.isdir(path):
            raise UsageError(f"{flag} {path}: no such folder")
    return Access(
        insecure=insecure_of(args),
        authfile=args.authfile,
        cert_dir=args.cert_dir,
        registries_conf=args.registries_conf,
        hosts_dir=args.hosts_dir,
    )


def add_policy(parser: argparse._ActionsContainer) -> None:
    """The --policy flag, of verbs that take images from elsewhere, and skopeo's word for none."""
    one = parser.add_mutually_exclusive_group()
    one.add_argument(
        "--policy", default="", metavar="FILE",
        help="containers' policy.json that images must meet, `machine` for this machine's, or `none`"
        " (default: IMAGESMITH_POLICY, or none)",
    )  # fmt: skip
    one.add_argument(
        "--insecure-policy", dest="policy", action="store_const", const=_NO_POLICY,
        help="the same as --policy none",
    )  # fmt: skip


def admission_of(policy: str, settings: Settings) -> Admission | None:
    """Who is asked about images, by the flag or by the settings; None where there is no policy.

    Raises:
        UsageError: the policy cannot be read, or is none.
    """
    chosen = settings.policy_for(policy)
    if not chosen:
        return None
    from imagesmith.trust.admission import admission_by

    return admission_by(chosen)


def pairs(texts: list[str], what: str) -> dict[str, str]:
    """`K=V` words as a map; what an empty value means is the flag's to say."""
    out = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"{what} {text!r}: expected KEY=VALUE")
        out[key] = value
    return out


def new_file(text: str) -> str:
    """The type of a flag that names a file to be written; one that cannot be is told before any work."""
    from imagesmith.fs.results import refusal_of

    if refusal := refusal_of(text):
        raise argparse.ArgumentTypeError(refusal)
    return text


def settings_of(root: str) -> Settings:
    """The settings of this process; a line is said where the store is not in its usual place."""
    from imagesmith.settings import Settings

    settings = Settings.load(root)
    if settings.instead:
        sys.stderr.write(f"warning: {settings.instead}; the store is {settings.root}, or what --root names\n")
    return settings
