"""--build-context NAME=PLACE: what a place can be, and under which name it is found.

Spec: buildx's build contexts and BuildKit's frontend/dockerui/namedcontext.go.
"""

from __future__ import annotations

from pathlib import Path

from imagesmith.context.addresses import is_http_url
from imagesmith.context.git import GitRef, is_git_url
from imagesmith.errors import InvalidReference, UsageError
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import ImageRef
from imagesmith.values import frozen

__all__ = [
    "DockerImage",
    "GitContext",
    "GitRef",
    "HttpContext",
    "LocalContext",
    "NamedContext",
    "OciLayout",
    "TargetContext",
    "normalise_name",
    "parse_named",
]


_TARGET = "target:"


@frozen
class LocalContext:
    """A folder."""

    path: Path


@frozen
class DockerImage:
    """An image of a registry or of the store; `scratch` is the empty one."""

    ref: str


@frozen
class OciLayout:
    """An image of a layout folder."""

    path: Path
    tag: str = ""
    digest: Digest | None = None


@frozen
class GitContext:
    """A repository."""

    ref: GitRef


@frozen
class HttpContext:
    """A tar, or one file, behind a URL."""

    url: str


@frozen
class TargetContext:
    """What another target of the same bake makes: its image of the platform that is asked for."""

    name: str


NamedContext = LocalContext | DockerImage | OciLayout | GitContext | HttpContext | TargetContext


def normalise_name(name: str) -> str:
    """The name under which a context is kept: an image name in full, without `:latest`.

    What is no image name stays as it is: no context has such a name.
    """
    try:
        ref = ImageRef.parse(name)
    except InvalidReference:
        return name
    return ref.familiar.removesuffix(":latest")


def parse_named(text: str, *, linked: bool = False) -> tuple[str, NamedContext]:
    """Read `NAME=PLACE`; with `linked` a place may be another target of the same bake.

    Raises:
        UsageError: no name, or a place that cannot be.
    """
    name, equals, place = text.partition("=")
    if not equals or not name or not place:
        raise UsageError(f"invalid context value: {text}, expected key=value")
    try:
        ImageRef.parse(name)
    except InvalidReference as e:
        raise UsageError(f"invalid context name {name}: {e}") from e
    if linked and place.startswith(_TARGET):
        return normalise_name(name), TargetContext(place.removeprefix(_TARGET))
    return normalise_name(name), _place(name, place)


def _place(name: str, place: str) -> NamedContext:
    if place.startswith("docker-image://"):
        return DockerImage(place.removeprefix("docker-image://"))
    if place.startswith("oci-layout://"):
        return _layout(place.removeprefix("oci-layout://"))
    if place.startswith(_TARGET):
        raise UsageError(
            f"--build-context {name}: target: is for bake files; name the stage in the Dockerfile"
        )
    if is_git_url(place):
        return GitContext(GitRef.parse(place))
    if is_http_url(place):
        return HttpContext(place)
    path = Path(place)
    if not path.is_dir():
        raise UsageError(f"failed to get build context path {{{place}}}: stat {place}: no such directory")
    return LocalContext(path)


def _layout(place: str) -> OciLayout:
    path, _, digest = place.partition("@")
    folder, colon, tag = path.rpartition(":")
    if not colon or "/" in tag:
        folder, tag = path, ""
    return OciLayout(Path(folder), tag, Digest.parse(digest) if digest else None)
