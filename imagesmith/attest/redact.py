"""What of a build may be told to everybody: no login, no folder of the machine, and plans without either.

Why: a step's digest covers the folder of its context, so in an attestation steps are numbered instead, in the
order of the plan: who builds the same elsewhere tells the same. Proxies and cgroups are the machine's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from imagesmith.context.addresses import is_http_url
from imagesmith.context.git import is_git_url
from imagesmith.plan.plan import Plan

__all__ = ["plan_document", "step_names", "without_login"]

#: `user:password@` behind a scheme; a user alone is part of an address for ssh.
_LOGIN = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@\s\"'?#]*:[^/@\s\"'?#]*@")
_HTTP_USER = re.compile(r"(https?://)[^/@\s\"'?#]*@", re.IGNORECASE)
_SSH_USER = re.compile(r"(ssh://)(?!git@)[^/@\s\"'?#]*@", re.IGNORECASE)
#: Fields of a step that say something of the machine, and nothing of what is built.
_MACHINE = {"proxy_env": [], "cgroup_parent": "", "login": ""}


def without_login(text: str) -> str:
    """A text whose addresses have no user and no password; `git@` stays, which is the same for all."""
    if "@" not in text or "://" not in text:
        return text
    for pattern in (_LOGIN, _HTTP_USER, _SSH_USER):
        text = pattern.sub(r"\1", text)
    return text


def step_names(plan: Plan) -> dict[str, str]:
    """What the steps of a plan are called in attestations, by their digests: step0, step1, …"""
    return {str(row["digest"]): f"step{n}" for n, row in enumerate(plan.to_json()["steps"])}


def plan_document(plan: Plan) -> dict[str, Any]:
    """A plan's JSON that is the same wherever it is made; steps have an `id` in place of their digests."""
    document = plan.to_json()
    names = {row["digest"]: f"step{n}" for n, row in enumerate(document["steps"])}

    def told(value: Any) -> Any:  # noqa: ANN401 - JSON
        match value:
            case str():
                return without_login(value)
            case list():
                return [told(v) for v in value]
            case {"kind": "step", "digest": digest}:
                return {"kind": "step", "id": names[digest]}
            case Mapping():
                return {k: _MACHINE[k] if k in _MACHINE else told(_placed(k, v)) for k, v in value.items()}
        return value

    steps = []
    for row in document["steps"]:
        parent = row["parent"]
        steps.append(
            {
                "id": names[row["digest"]],
                **{k: told(v) for k, v in row.items() if k not in ("digest", "parent", "op")},
                "parent": parent and names[parent],
                "op": told(row["op"]),
            }
        )
    return {**document, "images": told(document["images"]), "steps": steps}


def _placed(key: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    """Where something is, if that is no folder of this machine."""
    if key != "place" or not isinstance(value, str):
        return value
    if value.startswith("oci:"):
        return "oci:"
    local = value.startswith("/") or value == "-"
    return "" if local and not (is_http_url(value) or is_git_url(value)) else value
