"""What Kubernetes is asked: the Jobs of a wave, and the rights that whoever asks must have.

    a wave      an Indexed Job for each architecture of its units, since pods of a Job are all alike
    a pod       `imagesmith work PLACE --among N,…`, as uid 1000 without any capability, with an empty store:
                the pod's own number chooses one of those indexes, which are the ones of its architecture
    a lost pod  its index begins again, three times at most. A unit that failed is no lost pod: it ends with 0
                and has written its verdict, so that it is not built three times to fail alike

Why no podFailurePolicy: with one, the Job of a lost node hangs. Why seccomp Unconfined: RuntimeDefault keeps
from users the namespaces that RUN needs.
Why the name is made of the wave: a client that was killed and runs again finds the Job that still runs.
Spec: Kubernetes' batch/v1 from 1.29 on, where backoffLimitPerIndex is there without being asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagesmith.errors import UsageError
from imagesmith.fleet.podchecks import check_label, check_name, check_pod, check_secret_key
from imagesmith.fleet.podtemplate import CONTAINER, laid_over
from imagesmith.fleet.units import Unit
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.names import Platform
from imagesmith.values import field, frozen

__all__ = ["LABEL", "Pods", "document_of", "indexes_of", "jobs_of", "rights_of"]

#: The label of all Jobs and pods of a wave.
LABEL = "imagesmith.dev/wave"
_HOME = "/var/lib/imagesmith"
_LOGIN = "/var/run/imagesmith/login"
_SECRETS = "/var/run/imagesmith/secrets"
_VERDICT = "/dev/termination-log"
_LOST = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")


@frozen(kw_only=True)
class Pods:
    """How pods are made.

    image        the image that imagesmith is in
    namespace    of the Jobs; empty for that of whoever asks
    parallelism  pods of a wave at a time, for each architecture; 0 for all
    login        the Secret of type kubernetes.io/dockerconfigjson that units log in with; may be empty
    secrets      Secrets by the ids of the build's secrets: each has its value under the id as key
    template     is laid over the pods; see podtemplate.read_template
    kept_s       Jobs that have ended vanish after so long (seconds)
    """

    image: str
    namespace: str = ""
    parallelism: int = 0
    login: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict)
    template: Mapping[str, Any] = field(default_factory=dict)
    kept_s: int = 3600


def indexes_of(units: Sequence[Unit]) -> dict[str, list[int]]:
    """The indexes of a wave's units by architecture, as Kubernetes names it.

    Raises:
        UsageError: a unit is for another system than Linux, or an architecture that no node can have.
    """
    out: dict[str, list[int]] = {}
    for n, unit in enumerate(units):
        platform = Platform.parse(unit.platform)
        if platform.os != "linux" or not (
            platform.architecture.isascii() and platform.architecture.isalnum()
        ):
            raise UsageError(f"unit {unit.name[:200]}: no node can build for {unit.platform[:80]}")
        out.setdefault(platform.architecture.lower(), []).append(n)
    return out


def jobs_of(units: Sequence[Unit], place: str, pods: Pods) -> list[dict[str, Any]]:
    """The Jobs of a wave.

    Args:
        units: of the wave, in the order of their indexes.
        place: a reference with a digest to the artifact that holds them.
        pods: how pods are made.

    Raises:
        UsageError: the pods could never run; see podchecks.check_pod.
    """
    _check(pods)
    wave = digest_bytes(place.encode()).hex[:12]
    return [_job(wave, arch, own, place, pods) for arch, own in indexes_of(units).items()]


def _check(pods: Pods) -> None:
    """Refuse names that no object has."""
    if not pods.image or pods.image != pods.image.strip():
        raise UsageError(
            "no image is given that pods could run", hint="--image names one that has imagesmith"
        )
    if pods.namespace:
        check_label(pods.namespace, "--namespace")
    if pods.login:
        check_name(pods.login, "the Secret of the registry's login")
    for key, secret in pods.secrets.items():
        check_secret_key(key)
        check_name(secret, f"the Secret of secret {key}")


def _job(wave: str, arch: str, indexes: Sequence[int], place: str, pods: Pods) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "imagesmith", LABEL: wave}
    pod = laid_over({"metadata": {"labels": labels}, "spec": _pod(arch, indexes, place, pods)}, pods.template)
    pod["metadata"] = laid_over(pod["metadata"], {"labels": labels})  # by these they are found
    check_pod(pod["spec"])
    spec = {
        "completionMode": "Indexed",
        "completions": len(indexes),
        "parallelism": min(len(indexes), pods.parallelism or len(indexes)),
        "backoffLimitPerIndex": 3,
        "ttlSecondsAfterFinished": pods.kept_s,
        "template": pod,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _named(f"imagesmith-{wave}-{arch}", pods.namespace) | {"labels": labels},
        "spec": spec,
    }


def _named(name: str, namespace: str) -> dict[str, Any]:
    return {"name": name} | ({"namespace": namespace} if namespace else {})


def _pod(arch: str, indexes: Sequence[int], place: str, pods: Pods) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [{"name": "store", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "store", "mountPath": _HOME}]
    env = [{"name": "HOME", "value": _HOME}, {"name": "IMAGESMITH_ROOT", "value": f"{_HOME}/store"}]
    words = [
        "work",
        place,
        f"--among={','.join(map(str, indexes))}",
        "--always-zero",
        f"--verdict={_VERDICT}",
    ]
    if pods.login:
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        volumes.append({"name": "login", "secret": {"secretName": pods.login, "items": items}})
        mounts.append({"name": "login", "mountPath": _LOGIN, "readOnly": True})
        env.append({"name": "DOCKER_CONFIG", "value": _LOGIN})
    for n, (key, secret) in enumerate(sorted(pods.secrets.items())):
        items = [{"key": key, "path": key}]
        volumes.append({"name": f"secret-{n}", "secret": {"secretName": secret, "items": items}})
        mounts.append({"name": f"secret-{n}", "mountPath": f"{_SECRETS}/{n}", "readOnly": True})
        words.append(f"--secret=id={key},src={_SECRETS}/{n}/{key}")
    container = {
        "name": CONTAINER,
        "image": pods.image,
        "command": ["imagesmith"],
        "args": words,
        "env": env,
        "volumeMounts": mounts,
        "terminationMessagePath": _VERDICT,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": {"kubernetes.io/os": "linux", "kubernetes.io/arch": arch},
        "tolerations": [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5} for key in _LOST
        ],
        "securityContext": {
            "runAsUser": 1000, "runAsGroup": 1000,
            "seccompProfile": {"type": "Unconfined"},
        },
        "containers": [container],
        "volumes": volumes,
    }  # fmt: skip


def rights_of(namespace: str = "", account: str = "imagesmith") -> list[dict[str, Any]]:
    """A ServiceAccount that may do what a bake needs, and no more: its Role, and what ties them together.

    Raises:
        UsageError: no object can have such a name.
    """
    if namespace:
        check_label(namespace, "--namespace")
    check_name(account, "the ServiceAccount")
    group = "rbac.authorization.k8s.io"
    named = _named(account, namespace)
    rules = [
        {
            "apiGroups": ["batch"],
            "resources": ["jobs"],
            "verbs": ["create", "get", "list", "watch", "delete"],
        },
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace or "default"}
    role = {"apiGroup": group, "kind": "Role", "name": account}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": named, "rules": rules},
        {
            "apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": named,
            "roleRef": role, "subjects": [subject],
        },
    ]  # fmt: skip


def document_of(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Objects as one document that `kubectl apply -f -` takes."""
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}
