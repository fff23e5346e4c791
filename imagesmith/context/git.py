"""Addresses of git repositories as BuildKit reads them: what is fetched, and how much of it.

Why apart from the fetching (context/gitfetch.py): the planner asks for every source of ADD whether it is one,
and what is wrong with it is told at its line, before anything is fetched.
Spec: BuildKit's frontend/dockerfile/dfgitutil (git_ref.go) and util/gitutil (git_url.go); `fetch-depth` and
`fetch-tags` as moby/buildkit#6589 proposes them.
Trust: an address may come from a Dockerfile. Control characters, and what programs would take for an option,
are refused here; a login in it is kept apart, so that no command line, message or `.git/config` shows it.
"""

from __future__ import annotations

import posixpath
import re
import urllib.parse
from collections.abc import Mapping

from imagesmith.errors import DockerfileError
from imagesmith.values import frozen, replace

__all__ = ["GitRef", "context_ref", "is_commit", "is_git_url", "parse_flag"]

_SCP = re.compile(r"[a-zA-Z0-9_.-]+@[a-zA-Z0-9_.-]+:(?!\d+/).+")
_SCHEME = re.compile(r"(https?|git|ssh)://", re.IGNORECASE)
_COMMIT = r"[0-9a-f]{40}|[0-9a-f]{64}"
_CONTROL = r"[\x00-\x1f\x7f]"
#: Words of a query: those that stand for themselves when they have no value, and those that need one.
_FLAGS = ("keep-git-dir", "submodules", "fetch-by-commit", "fetch-tags")
_KEYS = (*_FLAGS, "ref", "tag", "branch", "subdir", "checksum", "commit", "mtime", "fetch-depth")


def is_git_url(text: str) -> bool:
    """True for `git://`, `ssh://`, `user@host:path`, and http(s) addresses whose path ends in `.git`."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _SCP.fullmatch(text) is not None
    if scheme[1].lower() in ("git", "ssh"):
        return True
    try:
        return urllib.parse.urlsplit(text).path.endswith(".git")
    except ValueError:  # no address at all; whoever fetches it says so
        return False


def is_commit(text: str) -> bool:
    """True for the whole name of a commit; the first characters of one are no name."""
    return re.fullmatch(_COMMIT, text) is not None


@frozen(kw_only=True)
class GitRef:
    """An address taken apart.

    remote           where git goes, without a password
    login            `user:password` that stood in an http(s) address
    ref              a branch, tag or commit, empty for the default branch
    checksum         how the commit (or the annotated tag) must begin
    keep_git_dir     None where the address does not say
    commit_times     files get the commit's time
    fetch_by_commit  the commit that `checksum` names is fetched, wherever `ref` points by now
    depth            commits of history, 0 for all of it; `tags`: with all tags
    """

    remote: str
    login: str = ""
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool = True
    commit_times: bool = False
    fetch_by_commit: bool = False
    depth: int = 1
    tags: bool = False

    @property
    def host(self) -> str:
        """`host` or `host:port` of an address with a scheme, else empty."""
        if not _SCHEME.match(self.remote):
            return ""
        return urllib.parse.urlsplit(self.remote).netloc.rpartition("@")[2]

    @property
    def address(self) -> str:
        """The address in full, with all that decides which files there are: its query and its fragment.

        Without a login, and without what only the fetching is about.
        """
        history = {"fetch-depth": str(self.depth), "fetch-tags": str(self.tags).lower()}
        query = {
            **({"mtime": "commit"} if self.commit_times else {}),
            **({} if self.submodules else {"submodules": "false"}),
            **({"keep-git-dir": "true"} if self.keep_git_dir else {}),
            **(history if self.keep_git_dir and (self.depth, self.tags) != (1, False) else {}),
        }
        fragment = f"{self.ref}:{self.subdir}" if self.subdir else self.ref
        if _SCHEME.match(self.remote):  # else it has no query, and nothing in it is escaped
            fragment = fragment.replace("%", "%25")
        asked = f"?{urllib.parse.urlencode(query)}" if query else ""
        return f"{self.remote}{asked}{'#' if fragment else ''}{fragment}"

    @property
    def pin(self) -> str:
        """What a commit is kept under: the repository and the ref, whichever folder of it is taken."""
        return f"{self.remote}#{self.ref}"

    def pinned(self, commits: Mapping[str, str]) -> GitRef:
        """The repository at the commit that it is pinned to, wherever its ref points by now.

        What the address itself says of the commit goes before.
        """
        commit = "" if self.checksum else commits.get(self.pin, "")
        return replace(self, checksum=commit, fetch_by_commit=True) if commit else self

    @classmethod
    def parse(cls, text: str) -> GitRef:
        """Read an address with its fragment `#ref:subdir` or its query.

        Raises:
            DockerfileError: in BuildKit's words.
        """
        if re.search(_CONTROL, text):
            raise DockerfileError("a repository's address has no control characters")
        address, _, fragment = text.partition("#")
        has_scheme = _SCHEME.match(text) is not None
        if has_scheme:
            fragment = urllib.parse.unquote(fragment)
        ref, _, subdir = fragment.partition(":")
        base, question, query = address.partition("?")
        found: dict[str, str] = {}
        if question and has_scheme:
            for key, values in urllib.parse.parse_qs(query, keep_blank_values=True).items():
                if key not in _KEYS:
                    raise DockerfileError(f'unexpected query "{key}"')
                if len(values) > 1:
                    raise DockerfileError(f'query "{key}" has multiple values')
                if not values[0] and key not in _FLAGS:
                    raise DockerfileError(f'query "{key}" has no value')
                found[key] = values[0]
            address = base
        if re.search(_CONTROL, f"{ref}{subdir}{''.join(found.values())}"):
            raise DockerfileError("a repository's address has no control characters")
        return cls._of(*_without_login(address), ref, subdir, found)

    @classmethod
    def _of(cls, remote: str, login: str, ref: str, subdir: str, query: dict[str, str]) -> GitRef:
        if "branch" in query and "tag" in query:
            raise DockerfileError("branch conflicts with tag")
        wanted = {"tag": "refs/tags/", "branch": "refs/heads/"}
        for key in ("ref", "tag", "branch"):
            if key in query:
                prefix = wanted.get(key, "")
                value = prefix + query[key].removeprefix(prefix)
                if ref and ref != value:
                    raise DockerfileError(f'ref conflicts: "{ref}" vs "{value}"')
                ref = value
        if "subdir" in query:
            if subdir and subdir != query["subdir"]:
                raise DockerfileError(f'subdir conflicts: "{subdir}" vs "{query["subdir"]}"')
            subdir = query["subdir"]
        checksum = query.get("checksum", query.get("commit", ""))
        if query.get("commit", checksum) != checksum:
            raise DockerfileError(f'checksum conflicts: "{checksum}" vs "{query["commit"]}"')
        if query.get("mtime", "checkout") not in ("checkout", "commit"):
            raise DockerfileError(f'invalid mtime value: "{query["mtime"]}"')
        depth = _number("fetch-depth", query.get("fetch-depth", "1"))
        by_commit = _flag(query, "fetch-by-commit", False)
        if by_commit and not is_commit(checksum):
            raise DockerfileError("fetch-by-commit requires checksum to be a whole commit hash")
        return cls(
            remote=remote,
            login=login,
            ref=ref or checksum,
            subdir=posixpath.normpath(f"/{subdir}").lstrip("/"),
            checksum=checksum,
            keep_git_dir=_flag(query, "keep-git-dir", False) if "keep-git-dir" in query else None,
            submodules=_flag(query, "submodules", True),
            commit_times=query.get("mtime") == "commit",
            fetch_by_commit=by_commit,
            depth=depth,
            tags=_flag(query, "fetch-tags", depth == 0),
        )


def context_ref(text: str) -> GitRef | None:
    """The repository that a build context's address names, one of GitHub's without a scheme among them."""
    if text.startswith("github.com/"):
        return GitRef.parse(f"https://{text}")
    return GitRef.parse(text) if is_git_url(text) else None


def _flag(query: dict[str, str], name: str, default: bool) -> bool:
    """A flag of a query: by its presence, or by its value."""
    return parse_flag(name, query[name] or "1") if name in query else default


def parse_flag(name: str, value: str) -> bool:
    """A flag by the words that Go's ParseBool takes.

    Raises:
        DockerfileError: another word.
    """
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise DockerfileError(f'invalid {name} value: "{value}"')


def _number(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise DockerfileError(f'invalid {name} value: "{value}"')
    return int(value)


def _without_login(address: str) -> tuple[str, str]:
    """An address as git is given it, and `user:password` where it is one for HTTP that names a user.

    The user of an address for ssh is no secret and stays; a password there is nothing that ssh would take.
    """
    scheme = _SCHEME.match(address)
    if scheme is None:
        if any(part.startswith("-") for part in address.partition(":")[0].split("@")):
            raise DockerfileError(f"{address}: not a repository address")
        return address, ""
    rest = address[scheme.end() :]
    authority, slash, path = rest.partition("/")
    login, at, host = authority.rpartition("@")
    user, colon, password = login.partition(":")
    if not host or host.startswith(("-", ":")) or user.startswith("-"):
        raise DockerfileError(f"{scheme[0].lower()}{host}{slash}{path}: not a repository address")
    if scheme[1].lower() not in ("http", "https"):
        return f"{scheme[0].lower()}{f'{user}@' if at else ''}{host}{slash}{path}", ""
    secret = f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password)}" if user or colon else ""
    return f"{scheme[0].lower()}{host}{slash}{path}", secret
