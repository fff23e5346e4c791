"""The variables of a build: what is predefined, what ARG before FROM sets, what a stage sees.

Why: Docker has three scopes that are easily mixed up. The global one (platform arguments, then ARGs before
the first FROM) is all that FROM may use; a stage sees of it only what it declares again; proxy arguments
reach RUN alone and count neither in history nor in the cache key.
Spec: notes of BuildKit's dockerfile2llb (defaultArgs, buildMetaArgs, proxyEnvFromBuildArgs).
"""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.dockerfile.nodes import Dockerfile
from imagesmith.dockerfile.places import locate
from imagesmith.dockerfile.words import Lexer
from imagesmith.errors import DockerfileError
from imagesmith.oci.names import Platform, host_platform

__all__ = ["CONTEXT_SCAN", "NEVER_ENV", "STAGE_SCAN", "global_args", "platform_args", "proxy_env"]

#: ARGs that speak to the builder alone (plan/scans.py): no step and no expansion ever sees them.
CONTEXT_SCAN, STAGE_SCAN = "BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"
NEVER_ENV = frozenset((CONTEXT_SCAN, STAGE_SCAN))
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


def platform_args(target: Platform | None, stage: str, given: Mapping[str, str]) -> dict[str, str]:
    """BUILDPLATFORM, TARGETPLATFORM and their family, and TARGETSTAGE; build arguments override them."""
    build = host_platform()
    wanted = target or build
    values: dict[str, str] = {}
    for prefix, p in (("BUILD", build), ("TARGET", wanted)):
        values |= {
            f"{prefix}PLATFORM": str(p),
            f"{prefix}OS": p.os,
            f"{prefix}OSVERSION": p.os_version,
            f"{prefix}ARCH": p.architecture,
            f"{prefix}VARIANT": p.variant,
        }
    values["TARGETSTAGE"] = stage
    return {k: given.get(k, v) for k, v in values.items()}


def global_args(
    dockerfile: Dockerfile, predefined: Mapping[str, str], given: Mapping[str, str]
) -> dict[str, str]:
    """The global scope: `predefined`, then each ARG before the first FROM in order.

    Raises:
        DockerfileError: a default that cannot be expanded.
    """
    lexer = Lexer(dockerfile.escape)
    scope = dict(predefined)
    for arg in dockerfile.global_args:
        for pair in arg.pairs:
            if pair.key in given:
                scope[pair.key] = given[pair.key]  # the default is not even looked at: it might be an error
            elif pair.value is not None:
                try:
                    scope[pair.key] = lexer.expand(pair.value, scope.get).text
                except DockerfileError as e:
                    raise locate(e, dockerfile.file, arg.span, arg.text, dockerfile.source) from None
    return scope


def proxy_env(given: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The proxy variables that RUN sees, in both cases, for proxy build arguments in any case.

    Of two spellings of one name the later in the order of their bytes counts: `http_proxy`, where it is
    given. An empty one is as good as none.
    """
    found = {name.lower(): given[name] for name in sorted(given) if name.lower() in _PROXIES}
    return tuple((k, found[name]) for name in _PROXIES if found.get(name) for k in (name.upper(), name))
