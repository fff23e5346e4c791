"""What a build was asked for, as provenance tells it: names as BuildKit's frontend has them.

Why: in `min` nothing is told that may be secret: arguments and labels are left out, and so are the ids of
secrets and agents. Values of secrets are in neither. Folders of the machine are called by the names of their
contexts.
Spec: BuildKit's frontend/dockerui (attr.go) for the names of arguments, and provenance/types for the shape.
"""

from __future__ import annotations

import os
import posixpath
from typing import Any

from imagesmith.attest.asked import ASKING_ARGS
from imagesmith.attest.redact import without_secrets
from imagesmith.context.addresses import is_http_url
from imagesmith.context.git import context_ref
from imagesmith.context.named import DockerImage, GitContext, HttpContext, NamedContext, OciLayout
from imagesmith.ops.run import RunOp
from imagesmith.plan.plan import Plan
from imagesmith.request import BuildRequest
from imagesmith.solve.graph import all_steps

__all__ = ["dockerfile_path", "is_whole", "request_document"]


def request_document(request: BuildRequest, plan: Plan, *, full: bool) -> dict[str, Any]:
    """The request; `full` with arguments, labels, and ids of secrets and agents."""
    document: dict[str, Any] = {"frontend": "dockerfile.v0"}
    args = _args(request)
    if full:
        args |= {f"build-arg:{k}": without_secrets(v) for k, v in _build_args(request).items()}
        args |= {f"label:{k}": without_secrets(v) for k, v in request.labels.items()}
    if args:
        document["args"] = dict(sorted(args.items()))
    if full:
        secrets, agents = _ids(plan, "secret"), _ids(plan, "ssh")
        document |= {"secrets": secrets} if secrets else {}
        document |= {"ssh": agents} if agents else {}
    names = _local_names(request)
    if names:
        document["locals"] = [{"name": name} for name in names]
    document["platform"] = str(plan.images[0].platform)
    return document


def is_whole(request: BuildRequest, *, full: bool) -> bool:
    """True if nothing is left out that the image may depend on: arguments, labels, words of them."""
    values = [*_build_args(request).values(), *request.labels.values()]
    return all(full and without_secrets(v) == v for v in values)


def dockerfile_path(request: BuildRequest) -> str:
    """The path of the Dockerfile in its context, where one was named; of another folder's its name alone."""
    given = request.dockerfile or ""
    if not given or given == "-" or is_http_url(given):
        return ""
    if context_ref(request.context) is not None or is_http_url(request.context) or request.context == "-":
        return posixpath.normpath(given).lstrip("/")
    below = os.path.relpath(os.path.abspath(given), os.path.abspath(request.context))
    return posixpath.basename(given) if below.startswith("..") else below


def _build_args(request: BuildRequest) -> dict[str, str]:
    return {k: v for k, v in request.build_args.items() if k not in ASKING_ARGS.values()}


def _args(request: BuildRequest) -> dict[str, str]:
    """What is told in every mode."""
    out: dict[str, str] = {}
    if not _is_local(request) and (request.dockerfile == "-" or is_http_url(request.dockerfile or "")):
        out["context"] = without_secrets(request.context)  # the Dockerfile's source does not tell it
    if request.target:
        out["target"] = request.target
    if request.no_cache is not None:
        out["no-cache"] = ",".join(request.no_cache)
    if request.network != "default":
        out["force-network-mode"] = request.network
    if request.extra_hosts:
        out["add-hosts"] = ",".join(f"{host}={ip}" for host, ip in request.extra_hosts)
    if request.shm_size_bytes:
        out["shm-size"] = str(request.shm_size_bytes)
    if request.squash:
        out["squash"] = "true"
    if request.ulimits:
        out["ulimit"] = ",".join(f"{name}={soft}:{hard}" for name, soft, hard in request.ulimits)
    for name, place in request.contexts.items():
        out[f"context:{name}"] = _place(name, place)
    return out


def _place(name: str, place: NamedContext) -> str:
    match place:
        case DockerImage(ref=ref):
            return f"docker-image://{ref}"
        case OciLayout(tag=tag, digest=digest):
            return f"oci-layout://{name}{f':{tag}' if tag else ''}{f'@{digest}' if digest else ''}"
        case GitContext(ref=ref):
            return without_secrets(ref.address)
        case HttpContext(url=url):
            return without_secrets(url)
    return f"local:{name}"


def _local_names(request: BuildRequest) -> list[str]:
    """The folders and streams of this machine that the request names."""
    given = request.dockerfile or ""
    is_local = _is_local(request)
    names = ["context"] if is_local else []
    if given == "-" or (is_local and not is_http_url(given)):
        names.append("dockerfile")
    places = request.contexts.items()
    return names + [name for name, place in places if _place(name, place).startswith("local:")]


def _is_local(request: BuildRequest) -> bool:
    """True where the context is a folder or a stream of this machine."""
    return context_ref(request.context) is None and not is_http_url(request.context)


def _ids(plan: Plan, kind: str) -> list[dict[str, object]]:
    """The ids of secrets or agents that steps are given, each once."""
    found: dict[str, bool] = {}
    for step in all_steps(plan.tips):
        for m in step.op.mounts if isinstance(step.op, RunOp) else ():
            if m.mount.type == kind:
                default = "default" if kind == "ssh" else posixpath.basename(m.mount.target)
                name = m.mount.id or default
                found[name] = found.get(name, True) and not m.mount.required
    return [{"id": name, **({"optional": True} if found[name] else {})} for name in sorted(found)]
