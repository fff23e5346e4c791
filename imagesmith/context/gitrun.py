"""The git program, run for a repository that others wrote: what of this machine it may see and use.

Why two ways: what makes files (init, checkout, …) sees nothing of the user's, so that a commit gives the
same files everywhere. What talks to a server has the credentials of `Access` and no others: `ADD` has those
that the build was given (`--ssh`, the secrets GIT_AUTH_TOKEN and GIT_AUTH_HEADER), while a context that the
user named on the command line may have what the user's own git has, as a clone by hand would.
Spec: BuildKit's source/git and util/gitutil (git_cli.go); git-config(1), git(1).
Trust: servers and repositories are hostile. Only http, https, git and (with an agent or the user's own
keys) ssh are spoken, so that neither a submodule nor a redirect leads to a repository of this machine; hooks,
filters and fsmonitor are off; what a server says is bounded, and shown without control characters. A token
reaches git in its environment, bound to one address, never on a command line or a disk, and follows no
redirect.
Threads: an object may be used by one at a time.
"""

from __future__ import annotations

import base64
import os
import re
import selectors
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from imagesmith.context.git import GitRef
from imagesmith.errors import ContextError
from imagesmith.settings import home_folder
from imagesmith.values import field, frozen

__all__ = ["Access", "Git", "token_header"]

#: Nothing that is asked of git says more than this; of its complaints the end is kept.
_MOST_SAID = 1 << 20
_KEPT_ERRORS = 16 << 10
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
#: Where programs of this machine find certificates: not a credential, and the same as for registries.
_TRUSTED = ("SSL_CERT_FILE", "SSL_CERT_DIR")
#: Variables of the user's own git that stay away from a context: they name another repository, or write logs.
_NOT_OWN = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|INDEX_VERSION|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR"
    r"|NAMESPACE|PREFIX|SHALLOW_FILE|GRAFT_FILE|TEMPLATE_DIR|DEFAULT_HASH|CONFIG|CEILING_DIRECTORIES"
    r"|ATTR_SOURCE|QUARANTINE_PATH|IMPLICIT_WORK_TREE|INTERNAL_SUPER_PREFIX|REPLACE_REF_BASE|EXTERNAL_DIFF"
    r"|ALLOW_PROTOCOL|PROTOCOL_FROM_USER|TRACE.*|TRACE2.*|CURL_VERBOSE|REDIRECT_.*|(AUTHOR|COMMITTER)_.*)"
)
#: What decides contents, whatever the user's configuration says of it.
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.symlinks": "true",
    "core.sharedRepository": "umask",
    "core.untrackedCache": "false",
    "advice.detachedHead": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.writeCommitGraph": "false",
    "submodule.recurse": "false",
}


@frozen(kw_only=True)
class Access:
    """What a server may be shown.

    header  the Authorization header for the repository's address; for all of github.com where it is there
    agent   the socket of an ssh agent, or empty
    own     what the user's own git has: keys, netrc, helpers, configuration
    """

    header: str = field(default="", shown=False)
    agent: str = ""
    own: bool = False


def token_header(login: str) -> str:
    """The header for `user:password`."""
    return f"basic {base64.b64encode(os.fsencode(login)).decode()}"


class Git:
    """Runs git below a folder of the build's own, for one repository."""

    def __init__(self, folder: Path, ref: GitRef, access: Access) -> None:
        self._folder, self._ref, self._access = folder, ref, access
        self._protocols = "git:http:https:ssh" if access.own or access.agent else "git:http:https"
        self._own_filters: dict[str, str] | None = None

    def __call__(self, where: Path, *words: str, allow: str = "") -> str:
        """Run git without the user's configuration and without credentials; what it says.

        Args:
            where: the folder it runs in.
            words: its arguments.
            allow: protocols that it may speak, `file` for another folder of ours.

        Raises:
            ContextError: git is not there, or fails.
        """
        return self._run(where, words, {**self._bare(), "GIT_ALLOW_PROTOCOL": allow}, _SETTINGS, {})

    def tells(self, where: Path, *words: str) -> str:
        """What git says, or nothing if it fails."""
        try:
            return self(where, *words)
        except ContextError:
            return ""

    def remote(self, where: Path, *words: str) -> str:
        """Run git where it talks to servers, with the access that it has.

        Raises:
            ContextError: git is not there, or fails; also for want of a credential.
        """
        access, settings = self._access, dict(_SETTINGS)
        if access.own:
            env = {k: v for k, v in os.environ.items() if not _NOT_OWN.fullmatch(k)}
            settings |= self._filters(where, env)
        else:
            env = self._bare()
            settings |= {"http.emptyAuth": "false", "core.sshCommand": "false", "http.proxySSLCert": ""}
            if "SSL_CERT_FILE" in os.environ:
                settings["http.sslCAInfo"] = os.environ["SSL_CERT_FILE"]
        if access.agent:
            env |= {"SSH_AUTH_SOCK": access.agent, "GIT_SSH_COMMAND": self._ssh(), "GIT_SSH_VARIANT": "ssh"}
        env |= {"GIT_ALLOW_PROTOCOL": self._protocols, "GIT_CEILING_DIRECTORIES": str(self._folder)}
        env |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **_IDENTITY}
        return self._run(where, words, env, settings, self._secrets())

    # --- the environment -----------------------------------------------------------------------

    def _bare(self) -> dict[str, str]:
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", "LC_ALL": "C"}
        for name in (*_PROXIES, *map(str.lower, _PROXIES), *_TRUSTED):
            if name in os.environ:
                env[name] = os.environ[name]
        return env | _IDENTITY | {
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_CEILING_DIRECTORIES": str(self._folder),
        }  # fmt: skip

    def _secrets(self) -> dict[str, str]:
        """Settings with a secret in them, for the environment; no redirect is followed with one."""
        header = self._access.header
        if not header:
            return {}
        scope = self._ref.remote
        for prefix in ("https://github.com/", "https://www.github.com/"):
            if scope.startswith(prefix):  # submodules are there, too; as actions/checkout does it
                scope = prefix
        return {
            f"http.{scope}.extraHeader": f"Authorization: {header}",
            f"http.{scope}.followRedirects": "false",
        }

    def _ssh(self) -> str:
        """ssh with the agent's keys and no others. Hosts that the user knows must be who they were."""
        home = home_folder()
        known = [f"{self._folder}/known_hosts", *([f"{home}/.ssh/known_hosts"] if home else [])]
        files = " ".join('"{}"'.format(path.replace("%", "%%")) for path in known)
        options = (
            "BatchMode=yes", "IdentityFile=none", "IdentityAgent=SSH_AUTH_SOCK", "ForwardAgent=no",
            "StrictHostKeyChecking=accept-new", f"UserKnownHostsFile={files}",
        )  # fmt: skip
        return shlex.join(["ssh", "-F", "/dev/null", *(w for o in options for w in ("-o", o))])

    def _filters(self, where: Path, env: Mapping[str, str]) -> dict[str, str]:
        """Settings that put the user's own filters (as git-lfs) to rest: they would change files."""
        if self._own_filters is None:
            try:
                said = self._run(where, ("config", "--name-only", "--get-regexp", r"^filter\."), env, {}, {})
            except ContextError:  # there are none
                said = ""
            self._own_filters = {n: "" for n in said.splitlines() if n.endswith((".smudge", ".process"))}
            self._own_filters |= {n: "false" for n in said.splitlines() if n.endswith(".required")}
        return self._own_filters

    # --- running -------------------------------------------------------------------------------

    def _run(
        self,
        where: Path,
        words: tuple[str, ...],
        env: Mapping[str, str],
        settings: Mapping[str, str],
        secrets: Mapping[str, str],
    ) -> str:
        """Run git under umask 022."""
        given = dict(env)
        count = given.get("GIT_CONFIG_COUNT", "")
        first = int(count) if count.isdecimal() else 0
        for n, (key, value) in enumerate(secrets.items(), first):
            given |= {f"GIT_CONFIG_KEY_{n}": key, f"GIT_CONFIG_VALUE_{n}": value}
        given["GIT_CONFIG_COUNT"] = str(first + len(secrets))
        options = [w for key, value in settings.items() for w in ("-c", f"{key}={value}")]
        try:
            with subprocess.Popen(
                ["git", *options, *words],
                cwd=where,
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                umask=0o022,
            ) as p:
                assert p.stdout is not None
                assert p.stderr is not None
                try:
                    said, complaint = _hear(p.stdout, p.stderr)
                except BaseException:
                    p.kill()
                    raise
        except FileNotFoundError:
            raise ContextError("git is needed for repositories, and is not on PATH; install git") from None
        except OSError as e:
            raise ContextError(f"cannot run git: {e.strerror}") from e
        if p.returncode:
            raise self._failure(words[0], p.returncode, complaint.decode("utf-8", "replace"))
        return said.decode("utf-8", "surrogateescape").strip()

    def _failure(self, word: str, status: int, complaint: str) -> ContextError:
        """What git complains of, in one line."""
        lines = [_plain(line) for line in complaint.replace("\r", "\n").splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith(("fatal: ", "error: ", "ERROR: "))]
        if telling and telling[0].startswith("fatal: Could not read from remote"):
            telling = lines  # ssh said why, before
        reason = (telling or lines or [f"status {status}"])[0].removeprefix("fatal: ").removeprefix("error: ")
        hint = ""
        if "transport 'ssh' not allowed" in complaint:
            reason = 'no SSH key "default" forwarded from the client'
            hint = "give it with --ssh default; keys and agents are not used unasked"
        elif re.search(r"transport '[\w+-]*' not allowed", complaint):
            hint = "a repository, its submodules and redirects are fetched over http, https, git and ssh only"
        elif re.search(r"returned error: 30[1278]", complaint):
            hint = "credentials follow no redirect: give the address that it leads to"
        elif re.search(r"could not read (Username|Password)|Authentication failed|error: 40[13]", complaint):
            hint = "give --secret id=GIT_AUTH_TOKEN,env=NAME, or GIT_AUTH_TOKEN.HOST for one server"
        return ContextError(f"git {word} failed for {self._ref.remote}: {reason}", hint=hint)


_IDENTITY = {
    "GIT_AUTHOR_NAME": "imagesmith", "GIT_AUTHOR_EMAIL": "imagesmith@localhost",
    "GIT_COMMITTER_NAME": "imagesmith", "GIT_COMMITTER_EMAIL": "imagesmith@localhost",
}  # fmt: skip


def _hear(stdout: IO[bytes], stderr: IO[bytes]) -> tuple[bytes, bytes]:
    """All that a program says, and the end of its complaints; both in bounds.

    Raises:
        ContextError: it never stops.
    """
    said, complaint = bytearray(), bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(stdout, selectors.EVENT_READ, said)
        ready.register(stderr, selectors.EVENT_READ, complaint)
        while ready.get_map():
            for key, _ in ready.select():
                data = os.read(key.fd, 1 << 16)
                if not data:
                    ready.unregister(key.fileobj)
                key.data.extend(data)
                if len(complaint) > 2 * _KEPT_ERRORS:
                    del complaint[:-_KEPT_ERRORS]
                if len(said) > _MOST_SAID:
                    raise ContextError("git says more than a repository can have to say")
    return bytes(said), bytes(complaint)


def _plain(line: str) -> str:
    """A line of others without control characters, of a length that can be read."""
    line = "".join(c if c.isprintable() else " " for c in line).strip()
    return line if len(line) <= 400 else f"{line[:400]}…"
