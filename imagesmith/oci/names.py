"""Image references and platforms: parse, normalise, format, match.

Why: the rules of Docker Hub (docker.io, library/, registry-1) live here and nowhere else.
Spec: distribution/reference's grammar; containerd/platforms for normalisation and order of choice.
Trust: both come from command lines, Dockerfiles and documents of registries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from imagesmith.errors import InvalidDocument, InvalidReference
from imagesmith.oci.digest import Digest
from imagesmith.values import frozen, replace

__all__ = ["ImageRef", "Platform", "choose_platform", "host_platform", "is_native", "is_tag"]

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST_RE = re.compile(_HOST)
_REST = re.compile(rf"(?P<path>[^:@]*)(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?")
_HEX64 = re.compile(r"[0-9a-f]{64}")

DOCKER_HUB = "docker.io"


def _is_host(first: str) -> bool:
    """True if what stands before the first slash of a reference names a registry."""
    return first == "localhost" or "." in first or ":" in first or first != first.lower()


def is_tag(text: str) -> bool:
    """True for what the specification lets a tag be; nothing else may become part of an address."""
    return re.fullmatch(_TAG, text) is not None


@frozen
class ImageRef:
    """A normalised image reference: `docker.io/library/alpine:3.20`.

    With tag and digest both, the digest is what is fetched.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, *, default_tag: bool = True) -> ImageRef:
        """Read a reference as Docker does.

        Args:
            text: what the user wrote, e.g. `alpine` or `host:5000/a/b@sha256:…`.
            default_tag: put `latest` where there is neither tag nor digest.

        Raises:
            InvalidReference: in distribution/reference's words.
        """
        try:
            return cls._parse(text, default_tag=default_tag)
        except InvalidReference as e:
            raise InvalidReference(f"{text!r}: {e.message}", hint=e.hint, reason=e.message) from e

    @classmethod
    def _parse(cls, text: str, *, default_tag: bool) -> ImageRef:
        if _HEX64.fullmatch(text):
            raise InvalidReference(
                f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )
        first, slash, rest = text.partition("/")
        if slash and _is_host(first):
            registry = DOCKER_HUB if first == "index.docker.io" else first
            if not _HOST_RE.fullmatch(first):
                raise InvalidReference("invalid reference format")
            port = re.search(r":0*([0-9]+)$", first)
            if port and (len(port[1]) > 5 or int(port[1]) > 65535):
                raise InvalidReference(f"invalid reference format: port {port[1][:20]} is above 65535")
        else:
            registry, rest = DOCKER_HUB, text
        match = _REST.fullmatch(rest)
        if not match:
            raise InvalidReference("invalid reference format")
        path = match["path"]
        if registry == DOCKER_HUB and "/" not in path:
            path = f"library/{path}"
        if not _PATH.fullmatch(path):
            if _PATH.fullmatch(path.lower()):
                raise InvalidReference(
                    f"invalid reference format: repository name ({path}) must be lowercase"
                )
            raise InvalidReference("invalid reference format")
        if len(path) > 255:
            raise InvalidReference("repository name must not be more than 255 characters")
        digest = None
        if match["digest"]:
            try:
                digest = Digest.parse(match["digest"])
            except InvalidDocument as e:
                raise InvalidReference(f"invalid reference format: {e}") from e
        tag = match["tag"]
        if default_tag and tag is None and digest is None:
            tag = "latest"
        return cls(registry, path, tag, digest)

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """The short form that Docker shows: no docker.io, no library/, as far as it means the same."""
        full = str(self)
        if self.registry != DOCKER_HUB:
            return full
        first, slash, rest = full.removeprefix("docker.io/").partition("/")
        if first == "library" and "/" not in rest:
            return rest
        return full if _is_host(first) else f"{first}{slash}{rest}"

    @property
    def reference(self) -> str:
        """What follows `/manifests/` in a request: the digest if there is one, else the tag."""
        return str(self.digest) if self.digest else self.tag or "latest"

    def with_tag(self, tag: str | None) -> ImageRef:
        """The same repository under another tag, without digest."""
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> ImageRef:
        """The same repository at a digest; a tag is kept for display."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


_ARCH_ALIASES = {
    "x86_64": "amd64", "x86-64": "amd64", "i386": "386", "aarch64": "arm64", "armhf": "arm", "armel": "arm",
}  # fmt: skip
_KNOWN_OS = frozenset(
    [
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "hurd",
        "illumos",
        "ios",
        "js",
        "linux",
        "nacl",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "wasip1",
        "windows",
        "zos",
    ]
)
_KNOWN_ARCH = frozenset(
    [
        "386",
        "amd64",
        "amd64p32",
        "arm",
        "armbe",
        "arm64",
        "arm64be",
        "loong64",
        "ppc64",
        "ppc64le",
        "mips",
        "mipsle",
        "mips64",
        "mips64le",
        "mips64p32",
        "mips64p32le",
        "ppc",
        "riscv",
        "riscv64",
        "s390",
        "s390x",
        "sparc",
        "sparc64",
        "wasm",
    ]
)
_PART = r"[A-Za-z0-9_.-]+"
_VERSION = r"v?([0-9])(?:\.([0-9]))?"
_OS_PART = r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)((?:\+[A-Za-z0-9_.-]+)*)\))?"


@frozen
class Platform:
    """An operating system and an architecture, normalised as containerd/platforms does."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `os/arch[/variant]`, or an os or arch alone.

        Raises:
            InvalidReference: in containerd's words.
        """
        parts = text.split("/")
        if "*" in text:
            raise InvalidReference(f'"{text}": wildcards not yet supported: invalid argument')
        match = re.fullmatch(_OS_PART, parts[0])
        for n, part in enumerate(parts):
            if not (match if n == 0 else re.fullmatch(_PART, part)):
                raise InvalidReference(
                    f'"{part}" is an invalid component of "{text}": platform specifier component must match '
                    '"^[A-Za-z0-9_.-]+$": invalid argument'
                )
        assert match
        os, version, features = match[1], match[2] or "", tuple((match[3] or "").split("+")[1:])
        if len(parts) == 1:
            low = _os_of(os.lower())
            if low in _KNOWN_OS:
                host = host_platform()
                return replace(
                    cls(low, host.architecture, host.variant), os_version=version, os_features=features
                )
            arch, variant = _normal_arch(os, "")
            if arch in _KNOWN_ARCH:
                return cls(host_platform().os, arch, variant)
            raise InvalidReference(f'"{text}": unknown operating system or architecture: invalid argument')
        if len(parts) > 3:
            raise InvalidReference(f'"{text}": cannot parse platform specifier: invalid argument')
        arch, variant = _normal_arch(parts[1], parts[2] if len(parts) == 3 else "")
        return cls(_os_of(os.lower()), arch, variant, version, features)

    @classmethod
    def of(
        cls,
        os: str,
        architecture: str,
        variant: str = "",
        os_version: str = "",
        os_features: Iterable[str] = (),
    ) -> Platform:
        """Normalise the fields of a document."""
        arch, variant = _normal_arch(architecture, variant)
        return cls(_os_of(os.lower()), arch, variant, os_version, tuple(os_features))

    def to_json(self) -> dict[str, Any]:
        """The object of a descriptor, fields in the specification's order."""
        out: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            out["os.version"] = self.os_version
        if self.os_features:
            out["os.features"] = list(self.os_features)
        if self.variant:
            out["variant"] = self.variant
        return out

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    @property
    def as_name(self) -> str:
        """The text as a part of a file's name: `linux_arm64`, as BuildKit's outputs have it."""
        return str(self).replace("/", "_")


def _os_of(os: str) -> str:
    return "darwin" if os == "macos" else os


def _normal_arch(arch: str, variant: str) -> tuple[str, str]:
    arch, variant = arch.lower(), variant.lower()
    if arch == "armhf":
        variant = "v7"
    elif arch == "armel":
        variant = "v6"
    arch = _ARCH_ALIASES.get(arch, arch)
    if (arch == "amd64" and variant == "v1") or (arch == "arm64" and variant in ("8", "v8", "v8.0")):
        variant = ""
    elif arch == "arm":
        variant = {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"}.get(variant, variant)
    return arch, variant


def host_platform() -> Platform:
    """The platform of the machine we run on."""
    import os

    machine = os.uname()
    arch, variant = _normal_arch(machine.machine, "")
    if machine.machine.startswith("armv"):
        arch, variant = "arm", machine.machine[3:5]
    return Platform(machine.sysname.lower(), arch, variant)


def is_native(platform: Platform | None) -> bool:
    """Whether a platform is of this machine's architecture, so that nobody has to be asked."""
    return platform is None or platform.architecture == host_platform().architecture


def _acceptable(wanted: Platform) -> list[tuple[str, str]]:
    """Architecture and variant pairs that serve `wanted`, best first (containerd's `platforms.Only`)."""
    arch = wanted.architecture
    version = re.fullmatch(_VERSION, wanted.variant)
    major, minor = (int(version[1]), int(version[2] or 0)) if version else (0, 0)
    if arch == "amd64":
        return [*(("amd64", f"v{n}") for n in range(major, 1, -1)), ("amd64", ""), ("386", "")]
    if arch == "arm" and version:
        return [("arm", f"v{n}") for n in range(major, 4, -1)]
    if arch == "arm64":
        out: list[tuple[str, str]] = []
        if major == 9:
            out += [("arm64", f"v9.{n}" if n else "v9") for n in range(minor, -1, -1)]
            major, minor = 8, min(minor + 5, 9)
        if major == 8:
            out += [("arm64", f"v8.{n}") for n in range(minor, 0, -1)]
        return [*out, ("arm64", ""), *(("arm", f"v{n}") for n in (8, 7, 6, 5))]
    return [(arch, wanted.variant)]


def choose_platform(wanted: Platform, offered: Sequence[Platform | None]) -> int | None:
    """The index of the offer that serves `wanted` best, or None; first among equals."""
    for arch, variant in _acceptable(wanted):
        for n, have in enumerate(offered):
            if have is None or (have.os, have.architecture, have.variant) != (wanted.os, arch, variant):
                continue
            if not set(have.os_features) <= set(wanted.os_features):
                continue
            if (
                wanted.os == "windows"
                and have.os_version
                and wanted.os_version
                and have.os_version != wanted.os_version
            ):
                continue
            return n
    return None
