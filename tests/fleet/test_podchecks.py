"""Pods that the schema allows and that would never run: each is refused, and its mended twin is not."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from imagesmith.errors import UsageError
from imagesmith.fleet.podchecks import check_pod
from imagesmith.fleet.podtemplate import laid_over

POD: dict[str, Any] = {
    "restartPolicy": "Never",
    "securityContext": {"runAsUser": 1000},
    "volumes": [{"name": "store", "emptyDir": {}}],
    "containers": [
        {
            "name": "work",
            "securityContext": {"allowPrivilegeEscalation": False},
            "volumeMounts": [{"name": "store", "mountPath": "/s"}],
        }
    ],
}


def work(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "work", **fields}]}


def rights(**fields: Any) -> dict[str, Any]:
    return work(securityContext=fields)


CLAIM = {"persistentVolumeClaim": {"claimName": "c"}}


@pytest.mark.parametrize(
    ("bad", "good", "said"),
    [
        ({"restartPolicy": "OnFailure"}, {}, "the pod template's restartPolicy must be Never"),
        (
            {"hostUsers": False, "hostNetwork": True},
            {"hostUsers": True, "hostNetwork": True},
            "the pod template has hostNetwork with hostUsers: false",
        ),
        ({"hostUsers": False, "hostIPC": True}, {"hostUsers": False}, "the pod template has hostIPC"),
        (
            {"volumes": [{"name": "store", **CLAIM}]},
            {"volumes": [{"name": "store", "emptyDir": None, **CLAIM}]},
            "volume store of the pod template is emptyDir and persistentVolumeClaim",
        ),
        (
            work(volumeMounts=[{"name": "more", "mountPath": "/m"}]),
            work(volumeMounts=[{"name": "more", "mountPath": "/m"}])
            | {"volumes": [{"name": "more", "emptyDir": {}}]},
            "container work of the pod template mounts a volume that is not there",
        ),
        (
            rights(runAsNonRoot=True, runAsUser=0),
            rights(runAsNonRoot=False, runAsUser=0),
            "container work of the pod template has runAsUser 0 with runAsNonRoot",
        ),
        (
            {"securityContext": {"runAsNonRoot": True, "runAsUser": 0}},
            {"securityContext": {"runAsNonRoot": True}},
            "container work of the pod template has runAsUser 0 with runAsNonRoot",
        ),
        (
            rights(privileged=True),
            rights(privileged=True, allowPrivilegeEscalation=True),
            "container work of the pod template has privileged",
        ),
        (
            rights(capabilities={"add": ["CAP_SYS_ADMIN"]}),
            rights(capabilities={"add": ["CAP_SYS_ADMIN"]}, allowPrivilegeEscalation=None),
            "container work of the pod template has CAP_SYS_ADMIN",
        ),
    ],
)
def test_what_can_never_run_is_refused(bad: dict[str, Any], good: dict[str, Any], said: str) -> None:
    check_pod(POD)
    check_pod(laid_over(POD, good))
    with pytest.raises(UsageError) as e:
        check_pod(laid_over(POD, bad))
    assert e.value.message.startswith(said)


@pytest.mark.parametrize("value", [None, 3, "x", [3], {"a": 1}, [{"name": [1]}]])
@pytest.mark.parametrize("key", ["volumes", "containers", "initContainers", "securityContext", "hostUsers"])
def test_fields_of_a_wrong_kind_are_left_to_the_schema(key: str, value: object) -> None:
    base = {"restartPolicy": "Never"}
    check_pod(base | {key: value})
    with contextlib.suppress(UsageError):
        check_pod(base | {"containers": [{"name": "work", key: value, "volumeMounts": value}]})
