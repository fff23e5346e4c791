"""What an image's os-release says, as purls have it: the namespace and the qualifier `distro`.

Spec: os-release(5); purl types deb, apk and rpm, with the words that scanners of vulnerabilities look up.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["distro_of", "namespace_of"]

#: Where the namespace of a purl is not the ID of os-release.
_NAMESPACES = {"rhel": "redhat", "opensuse-leap": "opensuse", "opensuse-tumbleweed": "opensuse"}


def namespace_of(release: Mapping[str, str]) -> str:
    """The namespace of the distribution's packages; empty without one."""
    name = release.get("ID", "").lower()
    return _NAMESPACES.get(name, name)


def distro_of(release: Mapping[str, str]) -> str:
    """The qualifier `distro`: ID and version; empty without an ID."""
    name = release.get("ID", "").lower()
    version = release.get("VERSION_ID", "") or release.get("BUILD_ID", "")
    return f"{name}-{version}" if name and version else name
