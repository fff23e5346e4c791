"""What a definition may do to this machine: --allow, and what a selection needs beyond it.

Why: a bake file of somebody else's is text that reads files into images, writes folders, forwards an agent
and takes the host's network. Below the working folder it may read and write; for the rest the user is asked,
and what the user said by --set is said.
Spec: buildx's bake/entitlements.go. As there, nobody is asked for variables of the environment, be they
values of variables or secrets with `env`: BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP keeps the former only.
Trust: all paths are the definition's. They are compared as the machine resolves them, links included.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from imagesmith.bake.flags import dockerfile_of, inline_of
from imagesmith.bake.overrides import Override, Overrides
from imagesmith.bake.selection import Selection, local_path
from imagesmith.bake.target import Setting, Target
from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import UsageError
from imagesmith.options import boolean
from imagesmith.values import frozen

__all__ = ["Allowed", "Needs", "needs_of", "parse_allowed"]

#: What is allowed by a word alone.
_WORDS = ("network.host", "security.insecure", "ssh", "buildx.local.delete")
_PATHS = ("fs", "fs.read", "fs.write")
#: Those of the build itself, which no setting of the environment lifts.
_BUILDS = ("network.host", "security.insecure", "buildx.local.delete")
_SAID = {
    "network.host": "Running build containers that can access host network",
    "security.insecure": "Running privileged containers that can make system changes",
    "buildx.local.delete": "Deleting what is in the folder of an output and not in its result",
    "ssh": "Forwarding default SSH agent socket",
    "fs": "Read and write access to path",
    "fs.read": "Read access to path",
    "fs.write": "Write access to path",
}


@frozen(kw_only=True)
class Allowed:
    """What --allow says: words, and folders (`*` for all) that are read and written."""

    words: frozenset[str] = frozenset()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


@frozen(kw_only=True)
class Needs:
    """What a selection needs that is not allowed: values of --allow, and what each lets it do."""

    values: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """True if anything is needed."""
        return bool(self.values)

    @property
    def flags(self) -> str:
        """The words that allow it."""
        return " ".join(f"--allow={value}" for value in self.values)


def parse_allowed(texts: Iterable[str]) -> Allowed:
    """The values of --allow: a word, or fs, fs.read and fs.write with `=PATH`.

    Raises:
        UsageError: one that is not known, or that nothing here has.
    """
    words, reads, writes = set(), [], []
    for text in texts:
        key, _, path = text.partition("=")
        if text in _WORDS:
            words.add(text)
        elif key in _PATHS and path:
            reads += [path] if key != "fs.write" else []
            writes += [path] if key != "fs.read" else []
        elif key in _PATHS:
            raise UsageError(f"--allow {text}: {key}=PATH says what, and {key}=* all")
        elif key == "device":
            raise UsageError(f"--allow {text}: RUN has no devices of this machine here")
        else:
            known = [*_WORDS, *_PATHS]
            raise UsageError(f'--allow: unknown entitlement key "{key}"{suggest(key, known)}')
    return Allowed(words=frozenset(words), reads=tuple(reads), writes=tuple(writes))


def needs_of(
    selection: Selection,
    allowed: Allowed,
    overrides: Overrides,
    env: Mapping[str, str],
    *,
    remote: bool = False,
) -> Needs:
    """What is needed beyond what is allowed, below the working folder, or said by --set.

    Args:
        selection: after `prepared`.
        allowed: what --allow says.
        overrides: what --set says.
        env: BUILDX_BAKE_ENTITLEMENTS_FS=0 lifts what is asked of files and the agent; for a definition from
            elsewhere BAKE_ALLOW_REMOTE_FS_ACCESS=1 does so, too.
        remote: the definition is from elsewhere.

    Raises:
        UsageError: the environment says neither yes nor no.
    """
    said = [override for of_one in overrides.values() for override in of_one]
    words, reads, writes = _granted(said)
    needed: set[str] = set()
    read: set[str] = set()
    written: set[str] = set()
    for target in selection.targets.values():
        needed |= _words_of(target)
        read |= _read_by(target)
        written |= _written_by(target)
    missing = [word for word in _WORDS if word in needed - allowed.words - words]
    if _files_are_free(env, remote):
        missing = [word for word in missing if word in _BUILDS]
        read, written = set(), set()
    lines = [_SAID[word] for word in missing]
    reading = _outside(read, [*allowed.reads, *reads])
    writing = _outside(written, [*allowed.writes, *writes])
    for key, paths in (
        ("fs", reading & writing), ("fs.read", reading - writing), ("fs.write", writing - reading),
    ):  # fmt: skip
        missing += [f"{key}={path}" for path in sorted(paths)]
        lines += [f"{_SAID[key]} {path}" for path in sorted(paths)]
    return Needs(values=tuple(missing), lines=tuple(lines))


def _files_are_free(env: Mapping[str, str], remote: bool) -> bool:
    name, other = "BUILDX_BAKE_ENTITLEMENTS_FS", "BAKE_ALLOW_REMOTE_FS_ACCESS"
    if name in env:
        return not boolean(name, env[name])
    return remote and other in env and boolean(other, env[other])


def _granted(said: Sequence[Override]) -> tuple[set[str], set[str], set[str]]:
    """What the user names by --set: words, what is read, what is written."""
    words: set[str] = set()
    read: set[str] = set()
    written: set[str] = set()
    for override in said:
        one = Target(name="", attributes={override.name: override.value})
        if override.name in ("cache-from", "secret", "ssh"):
            read |= _read_by(one, contexts=False)
        elif override.name in ("cache-to", "output"):
            written |= _written_by(one)
        elif override.name in ("entitlements", "network"):
            words |= _words_of(one)
    return words, read, written


def _texts(value: Setting | None) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, tuple) else []


def _entries(target: Target, name: str) -> list[Mapping[str, str]]:
    value = target.attributes.get(name, ())
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, tuple) else []


def _words_of(target: Target) -> set[str]:
    found = {word for word in _texts(target.attributes.get("entitlements")) if word in _BUILDS}
    if target.attributes.get("network") == "host":
        found.add("network.host")
    if any("paths" not in entry for entry in _entries(target, "ssh")):
        found.add("ssh")
    if any(entry.get("mode") == "delete" for entry in _entries(target, "output")):
        found.add("buildx.local.delete")
    return found


def _read_by(target: Target, *, contexts: bool = True) -> set[str]:
    """Paths that are read: contexts, Dockerfiles, layouts, caches, secrets, keys."""
    places: list[str | None] = []
    if contexts:
        context = str(target.attributes.get("context", "."))
        places.append(local_path(context))
        dockerfile = dockerfile_of(target)
        is_here = dockerfile is not None and (local_path(context) is not None or os.path.isabs(dockerfile))
        if dockerfile is not None and is_here and inline_of(target) is None:
            places.append(local_path(dockerfile))
        named = target.attributes.get("contexts", {})
        assert isinstance(named, Mapping)
        places += [_layout(place) or local_path(place) for place in named.values()]
    places += [e.get("src") for e in _entries(target, "cache-from") if e.get("type") == "local"]
    places += [_secret_file(e) for e in _entries(target, "secret")]
    places += [path for e in _entries(target, "ssh") for path in e.get("paths", "").split(",")]
    return {place for place in places if place}


def _secret_file(entry: Mapping[str, str]) -> str | None:
    """The file of a secret; one that says neither file nor variable may be the file of its name."""
    if "src" in entry:
        return entry["src"]
    return None if "env" in entry or entry.get("type") == "env" else entry.get("id")


def _layout(place: str) -> str:
    if not place.startswith("oci-layout://"):
        return ""
    path = place.removeprefix("oci-layout://").partition("@")[0]
    folder, colon, tag = path.rpartition(":")
    return folder if colon and "/" not in tag else path


def _written_by(target: Target) -> set[str]:
    dests = [entry.get(key) for entry in _entries(target, "output") for key in ("dest", "output")]
    dests += [entry.get("dest") for entry in _entries(target, "cache-to") if entry.get("type") == "local"]
    return {dest for dest in dests if dest and dest != "-"}


def _outside(paths: Iterable[str], folders: Sequence[str]) -> set[str]:
    """The paths, as the machine resolves them, that are in none of the folders, nor in the working folder."""
    if "*" in folders:
        return set()
    roots = [os.path.realpath(folder) for folder in (".", *folders)]
    resolved = {os.path.realpath(path) for path in paths}
    out: set[str] = set()
    for path in sorted(resolved, key=len):
        if not any(_is_below(path, root) for root in (*roots, *out)):
            out.add(path)
    return out


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
