"""The build that is to make an image again: what its provenance tells, and what the user says.

Why the user goes first: a provenance knows what was given, not what may be given here. Secrets, agents,
the network of the host and entitlements come from the user's flags alone; what a build lacks is told before
anything is fetched, and what may make a difference as well.
Trust: the recipe is hostile, see attest/recipe.py. Its sources get nothing of what the user's own git has.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from imagesmith.attest.recipe import Needed, Recipe
from imagesmith.attest.redact import has_masks
from imagesmith.cacheoptions import parse_cache_to
from imagesmith.context.addresses import is_http_url
from imagesmith.context.git import context_ref
from imagesmith.context.logins import without_login
from imagesmith.context.named import GitContext, HttpContext
from imagesmith.image.reproduce import Original, epoch_of, is_rewritten
from imagesmith.oci.names import Platform, host_platform
from imagesmith.request import BuildRequest, Pins
from imagesmith.values import frozen, replace

__all__ = ["Rebuild", "rebuild_of", "told"]


@frozen(kw_only=True)
class Rebuild:
    """A build that is to make an image again.

    lacking  what it cannot be done without, each with the flag that gives it
    notes    what may make a difference
    """

    request: BuildRequest
    lacking: tuple[str, ...]
    notes: tuple[str, ...]


def rebuild_of(recipe: Recipe | None, given: BuildRequest, platform: Platform, original: Original) -> Rebuild:
    """The build of one image.

    Args:
        recipe: what its provenance tells, if it has any.
        given: what the user says; an empty `context` stands for the recipe's.
        platform: of the image.
        original: the image.
    """
    known = recipe or Recipe(builder="", version="")
    context = given.context or known.context
    named = {k: v for k, v in known.contexts.items() if k not in given.contexts}
    args = {**known.build_args, **given.build_args}
    request = replace(
        given,
        context=context,
        dockerfile=given.dockerfile or _dockerfile(known, given.context),
        target=given.target or known.target,
        build_args=args,
        labels={**known.labels, **given.labels},
        platforms=(platform,),
        indexed=False,
        contexts={**named, **given.contexts},
        network=known.network if given.network == "default" and known.network == "none" else given.network,
        extra_hosts=given.extra_hosts or known.extra_hosts,
        shm_size_bytes=given.shm_size_bytes or known.shm_size_bytes,
        ulimits=given.ulimits or known.ulimits,
        squash=given.squash or known.squash,
        cache_to=parse_cache_to([], args),
        pins=_pins(known.pins, given.context),
        pin=False if recipe is not None else given.pin,  # what it was then counts, and no lock of the source
        is_foreign=not given.context or any(isinstance(place, GitContext) for place in named.values()),
    )
    return Rebuild(
        request=request,
        lacking=tuple(_lacking(known, given, request)),
        notes=tuple(_notes(known, given, request, original)),
    )


def told(recipe: Recipe, request: BuildRequest) -> dict[str, Any]:
    """What a recipe gives to a build, as a document; see docs/reproduce.md.

    Nothing of it that the user has replaced, and no argument that the user gives: those may be secret.
    """
    ref = context_ref(request.context)
    commit = "" if ref is None else request.pins.repositories.get(ref.pin, "")
    found = {
        "builder": recipe.builder,
        "slsa": recipe.version,
        "context": without_login(request.context),
        "commit": commit,
        "dockerfile": request.dockerfile or "",
        "target": request.target,
        "buildArgs": {k: v for k, v in recipe.build_args.items() if request.build_args[k] == v},
        "labels": {k: v for k, v in recipe.labels.items() if request.labels[k] == v},
        "bases": {name: str(digest) for name, digest in request.pins.images.items()},
    }
    return {key: value for key, value in found.items() if value}


def _dockerfile(recipe: Recipe, folder: str) -> str | None:
    """The Dockerfile's address, or its path: in the source, or in the folder that stands for it."""
    path = recipe.dockerfile
    if not path:
        return None
    if is_http_url(path) or not folder or folder == "-" or _is_remote(folder):
        return path
    return os.path.join(folder, path)


def _is_remote(context: str) -> bool:
    return is_http_url(context) or context_ref(context) is not None


def _pins(pins: Pins, context: str) -> Pins:
    """Without that of a source which the user names: it is what the user says."""
    ref = context_ref(context)
    if ref is None:
        return replace(pins, files={k: v for k, v in pins.files.items() if k != context})
    return replace(pins, repositories={k: v for k, v in pins.repositories.items() if k != ref.pin})


def _lacking(recipe: Recipe, given: BuildRequest, request: BuildRequest) -> Iterator[str]:
    if not request.context:
        yield "the build context, a folder of the machine that built it (CONTEXT)"
    elif recipe.lacks_dockerfile and not given.dockerfile and not _has_dockerfile(request):
        yield "the Dockerfile, a file of the machine that built it (-f FILE)"
    yield from _masked(recipe, given, request)
    for name in recipe.local_contexts:
        if name not in given.contexts:
            yield f"the context {name} (--build-context {name}=PLACE)"
    for name in _missing(recipe.secrets, [secret.id for secret in given.secrets]):
        yield f"the secret {name} (--secret id={name},src=FILE)"
    for name in _missing(recipe.agents, given.ssh):
        yield f"the agent {name} (--ssh {name})"
    ref = context_ref(request.context)
    if request.is_foreign and ref is not None and not given.ssh and not _is_open(ref.remote):
        yield f"an agent for {ref.remote} (--ssh default)"
    if recipe.network == "host" and given.network != "host":
        yield "the network of the host (--network host)"


def _masked(recipe: Recipe, given: BuildRequest, request: BuildRequest) -> Iterator[str]:
    """What the user must say in full, for the provenance has masks in the place of words of a query."""
    if has_masks(request.context):
        yield f"the words of {request.context} that its provenance leaves out (CONTEXT)"
    if has_masks(request.dockerfile or ""):
        yield f"the words of {request.dockerfile} that its provenance leaves out (-f URL)"
    for name, value in recipe.build_args.items():
        if has_masks(value) and name not in given.build_args:
            yield f"the argument {name}, a part of which is left out (--build-arg {name}=VALUE)"
    for name, place in recipe.contexts.items():
        if isinstance(place, HttpContext) and has_masks(place.url) and name not in given.contexts:
            yield f"the context {name}, a part of whose address is left out (--build-context {name}=PLACE)"


def _has_dockerfile(request: BuildRequest) -> bool:
    """True if the Dockerfile may be in the context."""
    given = request.dockerfile
    is_here = given is None or request.context == "-" or os.path.lexists(given)
    return is_here and not _is_remote(request.context)


def _missing(needed: Iterable[Needed], given: Iterable[str]) -> list[str]:
    """The ids of what steps cannot do without."""
    have = set(given)
    return [one.id for one in needed if not one.optional and one.id not in have]


def _is_open(remote: str) -> bool:
    """True for a repository that needs no key of ssh."""
    return remote.startswith(("http://", "https://", "git://"))


def _notes(recipe: Recipe, given: BuildRequest, request: BuildRequest, original: Original) -> Iterator[str]:
    ref = context_ref(request.context)
    pinned = request.pins.files if ref is None else request.pins.repositories
    if not given.context and request.context and (ref.pin if ref else request.context) not in pinned:
        yield "its source is taken as it is now: no commit and no digest of it is told"
    others = [uri for uri in recipe.masked if uri != recipe.context]
    if others:
        yield f"files are taken as they are now, for a part of their addresses is left out: {others[0]}"
    if recipe.is_partial and not given.build_args and not given.labels:
        yield "arguments or labels are left out (mode=min): --build-arg and --label give them"
    if recipe.unknown:
        yield f"arguments that are not known here: {', '.join(recipe.unknown)}"
    if recipe.builder_platform not in (None, host_platform()):
        yield f"it was built on {recipe.builder_platform}: stages for BUILDPLATFORM are this machine's here"
    if "SOURCE_DATE_EPOCH" not in request.build_args and epoch_of(original) is None:
        yield "it was built without SOURCE_DATE_EPOCH: times in it are those of that build"
    elif original.manifest.layers and not is_rewritten(original):
        yield "its layers were not rewritten to SOURCE_DATE_EPOCH: times in them may be those of that build"
