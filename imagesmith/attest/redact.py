"""What of a build may be told to everybody: no login, no word of a query, no folder of the machine.

Why: an address that is signed, or has a token in its query, is a secret for as long as it holds, and no name
tells which word is one. So all of them are masked, in every text that has an address; scheme, host and path
stay, and a source has its digest besides. What a repository's query and fragment say of the commit that is
meant stays. A step's digest covers the folder of its context, so in an attestation steps are numbered, in the
order of the plan: who builds the same elsewhere tells the same. Proxies and cgroups are the machine's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from imagesmith.context.addresses import is_http_url
from imagesmith.context.git import GitRef, is_git_url
from imagesmith.context.logins import without_login
from imagesmith.errors import DockerfileError
from imagesmith.plan.plan import Plan

__all__ = ["has_masks", "plan_document", "step_names", "without_secrets"]

#: An address in a text, as far as it goes; and what of one is behind its path.
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s\"'<>`]+")
_BEHIND = re.compile(r"([?#&;])([^?#&;=]*)(?:=([^?#&;]*))?")
#: What stands in the place of a word, as in BuildKit's messages.
_MASK = "xxxxx"
_MASKED = re.compile(rf"://[^\s\"'<>`]*[?#&;](?:[^?#&;=\s]*=)?{_MASK}(?![^?#&;\s\"'<>`])")
#: Fields of a step that say something of the machine, and nothing of what is built.
_MACHINE = {"proxy_env": [], "cgroup_parent": "", "login": ""}


def without_secrets(text: str) -> str:
    """A text whose addresses have no user, no password, and masks for the words of queries and fragments.

    `git@` stays, which is the same for all. A text that begins as an address is one to its end.
    """
    text = without_login(text)
    if "://" not in text or ("?" not in text and "#" not in text):
        return text
    return _masked(text) if _ADDRESS.match(text) else _ADDRESS.sub(lambda m: _masked(m[0]), text)


def has_masks(text: str) -> bool:
    """True if a word of an address in a text was masked, by us or by BuildKit: it cannot be fetched so."""
    return _MASKED.search(text) is not None


def _masked(address: str) -> str:
    """An address without the words of its query and fragment; names before a `=` stay."""
    if is_git_url(address):
        try:
            GitRef.parse(address)
        except DockerfileError:
            pass  # not as git contexts are written
        else:
            return address
    path, mark, behind = re.match(r"([^?#]*)([?#]?)(.*)", address, re.DOTALL).groups()  # type: ignore[union-attr]
    return path + _BEHIND.sub(_word, mark + behind)


def _word(match: re.Match[str]) -> str:
    sign, name, value = match.groups()
    if value and value.strip("="):
        return f"{sign}{name}={_MASK}"
    return f"{sign}{_MASK}" if name or value else sign  # a word alone, be it base64 with its padding


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
                return without_secrets(value)
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
