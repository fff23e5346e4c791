"""One address under which a registry's API answers, and how to speak to it.

Why: a reference names a registry; where its content is fetched may be a mirror, a path below a proxy, or
another port. Everything that configuration can say about such a place is in this value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from imagesmith.values import field, field_names, frozen

__all__ = ["HUB_HOST", "Endpoint", "default_endpoint", "is_loopback"]

#: Docker Hub's API is not at the name that references give it.
HUB_HOST = "registry-1.docker.io"

_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?")


@frozen(kw_only=True)
class Endpoint:
    """An API root.

    host          host[:port], for messages and credentials
    schemes       tried in order until one answers: https, http
    prefix        the path before repositories, `/v2` as a rule
    registry      the registry whose images it serves, e.g. docker.io
    rewrite       (from, to): the beginning of `registry/repository` to replace, empty for none
    verify        the certificate is checked
    ca            files of certificates to trust beside the system's
    client_cert   (certificate, key) files to show
    headers       to send with each request
    mirror        another is asked where it fails, so it is waited for a moment only
    namespace     sent as `?ns=`, empty for none
    use           for which references a mirror is asked
    """

    host: str
    schemes: tuple[str, ...] = ("https",)
    prefix: str = "/v2"
    registry: str = ""
    rewrite: tuple[str, str] = ("", "")
    verify: bool = True
    ca: tuple[str, ...] = ()
    client_cert: tuple[str, str] = ("", "")
    headers: Mapping[str, str] = field(default_factory=dict)
    mirror: bool = False
    namespace: str = ""
    use: Literal["all", "digest-only", "tag-only"] = "all"
    timeout_s: float = 0.0
    proxy: str | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two endpoints share a connection: all of them, so that none is read as the other is."""
        values = ((name, getattr(self, name)) for name in field_names(self))
        return tuple(tuple(sorted(v.items())) if name == "headers" else v for name, v in values)

    def __hash__(self) -> int:
        return hash(self.key)


def is_loopback(host: str) -> bool:
    """True for localhost, 127.0.0.0/8 and [::1], with any port."""
    return _LOOPBACK.fullmatch(host.lower()) is not None


def default_endpoint(registry: str, *, insecure: bool = False) -> Endpoint:
    """The endpoint of a registry that no configuration speaks about.

    Plain HTTP is tried first on loopback, as containerd does, and last where the user said `--insecure`.
    """
    host = HUB_HOST if registry == "docker.io" else registry
    schemes: tuple[str, ...] = ("https",)
    if is_loopback(host):
        schemes = ("http", "https")
    elif insecure:
        schemes = ("https", "http")
    return Endpoint(host=host, registry=registry, schemes=schemes, verify=not insecure)
