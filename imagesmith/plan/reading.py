"""The Dockerfile of a build, read and parsed, and the linter that it asks for."""

from __future__ import annotations

from collections.abc import Callable

from imagesmith.context.contexts import Contexts
from imagesmith.dockerfile.lint import Finding, LintConfig, Linter
from imagesmith.dockerfile.nodes import Dockerfile, Span
from imagesmith.dockerfile.parse import parse
from imagesmith.dockerfile.places import locate
from imagesmith.errors import DockerfileError
from imagesmith.request import BuildRequest
from imagesmith.store.store import Store

__all__ = ["linter_of", "read_dockerfile"]


def read_dockerfile(contexts: Contexts, store: Store) -> Dockerfile:
    """The parsed Dockerfile of the build; the grammar is needed only for one that was not seen before."""
    name, data = contexts.dockerfile()
    return parse(data, name, store.cache)


def linter_of(dockerfile: Dockerfile, request: BuildRequest, warn: Callable[[Finding], None]) -> Linter:
    """The linter of a Dockerfile, whose findings go to `warn` as they come.

    Raises:
        DockerfileError: a check directive, or the build argument in its place, that cannot be read.
    """
    given = request.build_args.get("BUILDKIT_DOCKERFILE_CHECK")
    if given is not None:
        return Linter(LintConfig.parse(given), dockerfile, warn)
    written = dockerfile.directive("check")
    try:
        config = LintConfig.parse(written.value)
    except DockerfileError as e:
        text, line = dockerfile.source.split("\n")[written.line - 1], written.line
        raise locate(
            e.about(written.value), dockerfile.file, Span(line, line), text, dockerfile.source
        ) from None
    return Linter(config, dockerfile, warn)
