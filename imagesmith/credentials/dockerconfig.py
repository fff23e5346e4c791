"""Credentials from docker's config.json, podman's auth.json, their helpers, and the environment.

The order: DOCKER_AUTH_CONFIG (the text itself, for CI); then, if one is set, the file of REGISTRY_AUTH_FILE
or DOCKER_CONFIG alone; else ~/.docker/config.json and podman's files. The first that knows it decides. In it
an entry for `host/team/app` or `host/team` goes before the helper and the entry of the host. A helper that is
missing or fails is told of and passed by: what is public needs no credential.

Spec: docker/cli's config file; containers-auth.json(5).
Trust: files of the user; a broken one is an error that names it. Secrets never reach a message.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from imagesmith.credentials.model import Credential
from imagesmith.errors import InvalidDocument, RegistryError, UsageError
from imagesmith.oci.codec import Object, parse_object
from imagesmith.settings import USER, Access, Login, home_folder
from imagesmith.values import frozen

__all__ = [
    "ConfigFile",
    "Credentials",
    "GivenCredentials",
    "credential_of",
    "credentials_by",
    "helper_of",
    "hub_key",
    "keys_of",
]

#: The name under which docker keeps what is for Docker Hub.
_HUB_KEY = "https://index.docker.io/v1/"
_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
_MOST_BYTES = 8 << 20
#: What old keys have behind the host.
_TAILS = ("", "/", "/v1/", "/v2/", "/v1", "/v2")


Warn = Callable[[str], object]


def _nobody(_text: str) -> None:
    """Tell nobody."""


def hub_key(registry: str) -> str:
    """The key of a registry in docker's file and for helpers."""
    return _HUB_KEY if registry in _HUB_NAMES else registry


def keys_of(registry: str, repository: str = "") -> list[str]:
    """The keys under which a credential may stand, the most exact first."""
    keys = _exact_keys(registry, repository)
    if registry in _HUB_NAMES:
        keys.append(_HUB_KEY)
    for host in _HUB_NAMES if registry in _HUB_NAMES else (registry,):
        keys += [f"{s}{host}{tail}" for s in ("", "https://", "http://") for tail in _TAILS]
    return keys


def _exact_keys(registry: str, repository: str) -> list[str]:
    """The keys of a repository and of what is above it in its registry, without that itself."""
    parts = [p for p in repository.split("/") if p]
    paths = ["/".join(parts[:n]) for n in range(len(parts), 0, -1)]
    hosts = _HUB_NAMES if registry in _HUB_NAMES else (registry,)
    return [f"{host}/{path}" for path in paths for host in hosts]


def _host_of(key: str) -> str:
    """docker's reduction of an old key to its host."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


@frozen
class ConfigFile:
    """One configuration file, read when it is asked."""

    path: Path
    legacy: bool = False

    def read(self) -> Object | None:
        """The document, or None where there is no file.

        Raises:
            UsageError: it cannot be read or is broken.
        """
        try:
            raw = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            raise UsageError(f"cannot read {self.path}: {e.strerror}") from e
        if len(raw) > _MOST_BYTES:
            raise UsageError(f"{self.path} is too large for a configuration file")
        if not raw.strip():
            return None
        try:
            o = parse_object(raw, str(self.path))
        except InvalidDocument as e:
            raise UsageError(f"{e}", hint="mend or remove it") from e
        return Object({"auths": o.data}, o.path) if self.legacy else o

    def find(self, registry: str, repository: str, warn: Warn = _nobody) -> Credential | None:
        """The credential for a repository, by helper or by entry; `warn` is told of a helper that fails."""
        o = self.read()
        if o is None:
            return None
        try:
            return _find(o, registry, repository, warn)
        except InvalidDocument as e:
            raise UsageError(f"{e}", hint="mend or remove it") from e

    def helper(self, registry: str) -> str:
        """The helper that keeps the credential of a registry; empty if the file itself does."""
        o = self.read()
        return "" if o is None else helper_of(o, registry)


def helper_of(o: Object, registry: str) -> str:
    """The helper that a document names for a registry."""
    table = o.text_map("credHelpers")
    for key in (registry, hub_key(registry), *(_HUB_NAMES if registry in _HUB_NAMES else ())):
        if key in table:
            return table[key]
    return o.text("credsStore")


def _find(o: Object, registry: str, repository: str, warn: Warn) -> Credential | None:
    auths, table = o.obj("auths") or Object({}, o.path), o.text_map("credHelpers")
    for key in _exact_keys(registry, repository):
        entry = auths.obj(key)
        found = None if entry is None else credential_of(entry)
        if found is None and key in table:
            found = _ask(table[key], key, warn)
        if found is not None:
            return found
    helper = helper_of(o, registry)
    if helper:
        found = _ask(helper, hub_key(registry), warn)
        if found is not None or registry in table:
            return found
    for key in keys_of(registry):
        entry = auths.obj(key)
        found = None if entry is None else credential_of(entry)
        if found is not None:
            return found
    # docker's last pass: an old key of any form whose host it is
    for key in sorted(auths.data):
        if "://" in key and _host_of(key) == registry and not key.endswith(("-token", "-token/")):
            entry = auths.obj(key)
            found = None if entry is None else credential_of(entry)
            if found is not None:
                return found
    return None


def _ask(helper: str, server: str, warn: Warn) -> Credential | None:
    """What a helper has for a server; one that fails has nothing."""
    from imagesmith.credentials import helpers

    try:
        return helpers.get(helper, server)
    except RegistryError as e:
        warn(f"{e.message}; going on without")
        return None


def credential_of(entry: Object) -> Credential | None:
    """The credential of an entry of `auths`; None if it says nothing (docker leaves these to helpers)."""
    if entry.text("registrytoken"):
        return Credential("", entry.text("registrytoken"), "bearer")
    if entry.text("identitytoken"):
        return Credential("", entry.text("identitytoken"), "identity")
    text = entry.text("auth")
    if text:
        try:
            user, colon, password = base64.b64decode(text, validate=False).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as e:
            raise InvalidDocument(f"{entry.path}: auth is not base64 of user:password") from e
        if colon and user:
            return Credential(user, password.rstrip("\x00"))
        raise InvalidDocument(f"{entry.path}: auth is not base64 of user:password")
    if entry.text("username") and entry.text("password"):
        return Credential(entry.text("username"), entry.text("password"))
    return None


class Credentials:
    """Looks credentials up; the environment is read when it is made."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        home: Path | None = None,
        *,
        authfile: str = "",
        login: Login | None = None,
    ) -> None:
        """Take the process's environment and home, or the given ones; with an authfile that alone counts.

        A `login` counts instead of all of them for registries, not for their mirrors.
        """
        self._env = dict(os.environ if environ is None else environ)
        if authfile:
            self._env |= {"REGISTRY_AUTH_FILE": authfile, "DOCKER_AUTH_CONFIG": ""}
        self._home = home_folder() or Path("/") if home is None else home
        self._warned: set[str] = set()
        self._login = login
        self.warn: Warn = _nobody  # is told of helpers that fail, each text once

    def find(self, registry: str, repository: str = "", *, mirror: bool = False) -> Credential | None:
        """The credential for a repository of a registry, or of its mirror; None to go without.

        Raises:
            UsageError: a configuration file is broken.
        """
        if self._login is not None and not mirror:
            return _credential_by(self._login)
        own = self._own()
        if own is not None:
            try:
                found = _find(own, registry, repository, self._tell)
            except InvalidDocument as e:
                raise UsageError(str(e)) from e
            if found is not None:
                return found
        for file in self.files():
            found = file.find(registry, repository, self._tell)
            if found is not None:
                return found
        return None

    def _tell(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.warn(text)

    def _own(self) -> Object | None:
        """What DOCKER_AUTH_CONFIG holds, without what a file could say: no helper is run for it."""
        text = self._env.get("DOCKER_AUTH_CONFIG", "")
        if not text:
            return None
        try:
            o = parse_object(text.encode(), "DOCKER_AUTH_CONFIG")
        except InvalidDocument as e:
            raise UsageError(str(e)) from e
        return Object({"auths": o.data.get("auths")}, o.path)

    def scope(self, registry: str, repository: str, *, mirror: bool = False) -> str:
        """The key of an entry that is for a part of a registry only; empty where one serves all of it."""
        if self._login is not None and not mirror:
            return ""
        for o in (self._own(), *(file.read() for file in self.files())):
            tables = () if o is None else (o.data.get("auths"), o.data.get("credHelpers"))
            for key in _exact_keys(registry, repository):
                if any(isinstance(table, dict) and key in table for table in tables):
                    return key
        return ""

    def files(self) -> Iterator[ConfigFile]:
        """The files in the order in which they are asked."""
        env = self._env
        if env.get("REGISTRY_AUTH_FILE"):
            yield ConfigFile(Path(env["REGISTRY_AUTH_FILE"]))
            return
        if env.get("DOCKER_CONFIG"):
            yield ConfigFile(Path(env["DOCKER_CONFIG"]) / "config.json")
            return
        yield ConfigFile(self._home / ".docker" / "config.json")
        runtime = env.get("XDG_RUNTIME_DIR", "")
        folder = Path(runtime) / "containers" if runtime else Path(f"/run/containers/{USER}")
        if os.path.isdir(folder):  # root may have made what is above it, closed to others
            yield ConfigFile(folder / "auth.json")
        yield ConfigFile(
            Path(env.get("XDG_CONFIG_HOME") or self._home / ".config") / "containers" / "auth.json"
        )
        yield ConfigFile(self._home / ".dockercfg", legacy=True)

    def home_file(self) -> ConfigFile:
        """The file that `login` writes: the first of `files`."""
        return next(self.files())


class GivenCredentials(Credentials):
    """Knows what it was given for some hosts, and asks no file, no helper and no variable."""

    def __init__(self, logins: Iterable[tuple[str, Login]]) -> None:
        """Take logins by host; Docker Hub goes by any of its names."""
        super().__init__({}, Path("/"))
        self._logins = {hub_key(host): login for host, login in logins}

    def find(self, registry: str, repository: str = "", *, mirror: bool = False) -> Credential | None:
        """The credential that was given for a registry, if one was; a mirror is a registry of its own."""
        del repository, mirror
        login = self._logins.get(hub_key(registry))
        return None if login is None else _credential_by(login)

    def files(self) -> Iterator[ConfigFile]:
        """No file is asked."""
        return iter(())


def _credential_by(login: Login) -> Credential | None:
    return None if login.kind == "nobody" else Credential(login.username, login.secret, login.kind)


def credentials_by(access: Access) -> Credentials:
    """The credentials that registries are shown: those that were given, of a file, or of the user."""
    if access.logins is not None:
        return GivenCredentials(access.logins)
    return Credentials(authfile=access.authfile, login=access.login)
