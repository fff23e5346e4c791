"""`imagesmith docker-plugin`: docker's own command line does its builds here, with no daemon.

Why a script beside docker's configuration: docker starts a program called docker-NAME from there, and sends
`docker build` to it where an alias says so, or where NAME is buildx. What docker then asks is in
buildxverbs.py.
Spec: docker/cli's cli-plugins/manager (folders, metadata, names) and cmd/docker/builder.go (the alias).
Trust: config.json is the user's own; it is replaced whole, and what else it holds is kept. A plugin that is
not ours is replaced only by --force, and put back by uninstall.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagesmith.errors import UsageError, cannot_write
from imagesmith.settings import home_folder

__all__ = ["configure", "run"]

_OWN, _BUILDX = "imagesmith", "buildx"
_MARK = "# The docker CLI plugin of imagesmith."
_ALIAS = "builder"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="install|uninstall|status")
    install = verbs.add_parser("install", help="let `docker build` and `docker imagesmith` come here")
    install.add_argument(
        "--as-buildx", action="store_true", help="take the name of docker's buildx too: `docker buildx …`"
    )
    install.add_argument("--force", action="store_true", help="replace plugins and an alias of others")
    verbs.add_parser("uninstall", help="take that back")
    verbs.add_parser("status", help="tell what docker will start")
    called = verbs.add_parser("call", help="what docker calls: NAME and its arguments")
    called.add_argument("name", help="imagesmith or buildx")
    called.add_argument("words", nargs=argparse.REMAINDER, help="docker's arguments")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    if args.verb == "call":
        from imagesmith.cli.buildxverbs import called

        return called(args.name, args.words)
    if args.verb == "install":
        return _install(as_buildx=args.as_buildx, force=args.force)
    return _uninstall() if args.verb == "uninstall" else _status()


# --- where things are --------------------------------------------------------------------------


def _folder() -> Path:
    given = os.environ.get("DOCKER_CONFIG", "")
    home = home_folder()
    if not given and home is None:
        raise UsageError("this user has no home for docker's configuration", hint="set DOCKER_CONFIG")
    return Path(given) if given else Path(f"{home}") / ".docker"


def _plugin(name: str) -> Path:
    return _folder() / "cli-plugins" / f"docker-{name}"


def _kept(name: str) -> Path:
    """Where another's plugin waits: its name is none that docker looks for."""
    return _folder() / "cli-plugins" / f".docker-{name}.before-imagesmith"


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as f:
            return _MARK.encode() in f.read(4096)
    except OSError:
        return False


def _program() -> list[str]:
    """How this program is started again."""
    program = os.path.abspath(sys.argv[0])
    if os.path.basename(program) in ("imagesmith", "executor") and os.access(program, os.X_OK):
        return [program]
    return [sys.executable, "-m", "imagesmith"]


# --- installing --------------------------------------------------------------------------------


def _install(*, as_buildx: bool, force: bool) -> int:
    names = [_OWN, _BUILDX] if as_buildx else [_OWN]
    for name in names:
        path = _plugin(name)
        if os.path.lexists(path) and not _is_ours(path) and not force:
            raise UsageError(f"{path}: another plugin is there", hint="--force replaces it until uninstall")
    with _config() as document:
        aliases = document.setdefault("aliases", {})
        if not isinstance(aliases, dict):
            raise UsageError(f"{_folder() / 'config.json'}: aliases must be an object")
        before = aliases.get(_ALIAS)
        if before not in (None, _OWN, _BUILDX) and not force:
            raise UsageError(
                f"`docker build` goes to the plugin {str(before)[:80]!r}", hint="--force sends it here"
            )
        aliases[_ALIAS] = _BUILDX if as_buildx else _OWN  # Docker 20 does not know of buildx by itself
    for name in names:
        _put(name)
    return _status()


def _put(name: str) -> None:
    from imagesmith.fs.atomic import put_whole

    path = _plugin(name)
    text = f'#!/bin/sh\n{_MARK}\nexec {shlex.join(_program())} docker-plugin call {name} "$@"\n'
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.path.lexists(path) and not _is_ours(path):
            os.replace(path, _kept(name))
        put_whole(path, text.encode(), mode=0o755)
    except OSError as e:
        raise cannot_write(e, path) from e


def _uninstall() -> int:
    taken = (_OWN, _BUILDX) if _is_ours(_plugin(_BUILDX)) else (_OWN,)
    for name in (_OWN, _BUILDX):
        path = _plugin(name)
        try:
            if _is_ours(path):
                path.unlink()
            if os.path.lexists(_kept(name)) and not os.path.lexists(path):
                os.replace(_kept(name), path)
        except OSError as e:
            raise cannot_write(e, path) from e
    with _config() as document:
        aliases = document.get("aliases")
        if isinstance(aliases, dict) and aliases.get(_ALIAS) in taken:
            del aliases[_ALIAS]
            if not aliases:
                del document["aliases"]
    return _status()


@contextlib.contextmanager
def _config() -> Iterator[dict[str, Any]]:
    """docker's config.json, to be changed; written back where it was, with all else in it."""
    from imagesmith.credentials.dockerconfig import ConfigFile
    from imagesmith.fs.atomic import put_whole

    path = (_folder() / "config.json").resolve()  # a link stays a link
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.with_name(f".{path.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            o = ConfigFile(path).read()
            document: dict[str, Any] = {} if o is None else o.data
            before = json.dumps(document)
            yield document
            if json.dumps(document) != before:
                mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
                data = json.dumps(document, indent="\t", ensure_ascii=False).encode() + b"\n"
                put_whole(path, data, mode=mode)
    except OSError as e:
        raise cannot_write(e, path) from e


# --- telling -----------------------------------------------------------------------------------


def _status() -> int:
    from imagesmith.cli.lines import one_line
    from imagesmith.credentials.dockerconfig import ConfigFile

    lines = []
    for name in (_OWN, _BUILDX):
        path = _plugin(name)
        what = "imagesmith" if _is_ours(path) else "another's" if os.path.lexists(path) else "not there"
        lines.append(f"plugin {path}: {what}")
    o = ConfigFile(_folder() / "config.json").read()
    aliases = None if o is None else o.data.get("aliases")
    alias = str(aliases.get(_ALIAS) or "") if isinstance(aliases, dict) else ""
    ours = _is_ours(_plugin(alias or _BUILDX))
    goes = "imagesmith" if ours else f"the plugin {alias}" if alias else "docker's usual builder"
    lines.append(f"docker build: goes to {goes}")
    sys.stdout.write("".join(f"{one_line(line)}\n" for line in lines))
    return 0
