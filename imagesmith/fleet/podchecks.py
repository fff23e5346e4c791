"""What an API server or a kubelet refuses of a pod though its schema allows it: told before it is sent.

Why: a pod that a kubelet will not start waits for ever, and its Job with it; and what the API server says
names fields that the user has not written, since ours are below the template.
Spec: Kubernetes' pkg/apis/core/validation; of the kubelet, that runAsNonRoot refuses uid 0.
Trust: the template is the user's, and may hold anything in any field: its kind is the schema's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from imagesmith.errors import UsageError

__all__ = ["check_label", "check_name", "check_pod", "check_secret_key"]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_SHARED = ("hostNetwork", "hostPID", "hostIPC")
_HINT = "see docs/kubernetes.md, or change the pod template"


def check_label(text: str, what: str) -> None:
    """Refuse what is no namespace.

    Raises:
        UsageError: it is none.
    """
    if not _LABEL.fullmatch(text):
        raise UsageError(f"{what}: {text[:80]!r} has other letters than a-z, 0-9 and -, or more than 63")


def check_name(text: str, what: str) -> None:
    """Refuse what can be no name of an object.

    Raises:
        UsageError: it can be none.
    """
    if len(text) > 253 or not _NAME.fullmatch(text):
        raise UsageError(f"{what}: {text[:80]!r} has other letters than a-z, 0-9, - and ., or more than 253")


def check_secret_key(text: str) -> None:
    """Refuse the id of a build's secret that can be no key of a Secret.

    Raises:
        UsageError: it can be none.
    """
    if len(text) > 253 or text in (".", "..") or text.startswith("..") or not _KEY.fullmatch(text):
        raise UsageError(
            f"secret {text[:80]!r}: no Secret has such a key",
            hint="letters, digits, -, _ and . are possible in the id of a secret",
        )


def check_pod(spec: Mapping[str, Any]) -> None:
    """Refuse the spec of a pod that can never run.

    Raises:
        UsageError: it cannot.
    """
    if spec.get("restartPolicy") != "Never":
        raise UsageError("the pod template's restartPolicy must be Never", hint=_HINT)
    if spec.get("hostUsers") is False:
        for key in _SHARED:
            if spec.get(key) is True:
                raise UsageError(f"the pod template has {key} with hostUsers: false", hint=_HINT)
    volumes = {v["name"] for v in _objects(spec, "volumes") if isinstance(v.get("name"), str)}
    for volume in _objects(spec, "volumes"):
        kinds = [key for key in volume if key != "name"]
        if len(kinds) > 1:
            raise UsageError(
                f"volume {_shown(volume)} of the pod template is {' and '.join(kinds)}",
                hint=f"`{kinds[0]}: null` in the template takes away what it was",
            )
    for container in (*_objects(spec, "initContainers"), *_objects(spec, "containers")):
        name = _shown(container)
        for mount in _objects(container, "volumeMounts"):
            if not isinstance(mount.get("name"), str) or mount["name"] not in volumes:
                raise UsageError(f"container {name} of the pod template mounts a volume that is not there")
        _check_rights(name, _inside(container), _inside(spec))


def _check_rights(name: str, own: Mapping[str, Any], pods: Mapping[str, Any]) -> None:
    """Refuse the security context of a container that contradicts itself, or that of its pod."""
    user = own.get("runAsUser", pods.get("runAsUser"))
    if own.get("runAsNonRoot", pods.get("runAsNonRoot")) is True and user == 0:
        raise UsageError(
            f"container {name} of the pod template has runAsUser 0 with runAsNonRoot", hint=_HINT
        )
    if own.get("allowPrivilegeEscalation") is not False:
        return
    capabilities = own.get("capabilities")
    added = capabilities.get("add") if isinstance(capabilities, Mapping) else None
    more = "privileged" if own.get("privileged") is True else ""
    if isinstance(added, list) and "CAP_SYS_ADMIN" in added:
        more = "CAP_SYS_ADMIN"
    if more:
        raise UsageError(
            f"container {name} of the pod template has {more}, and no right to gain any",
            hint="set allowPrivilegeEscalation: true beside it",
        )


def _shown(item: Mapping[str, Any]) -> str:
    return " ".join(str(item.get("name"))[:80].split())


def _objects(of: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = of.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _inside(of: Mapping[str, Any]) -> Mapping[str, Any]:
    value = of.get("securityContext")
    return value if isinstance(value, Mapping) else {}
