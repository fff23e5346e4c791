"""Manifests: valid by Kubernetes' own schemas, and as a wave and its pods must be."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest

from imagesmith.errors import UsageError
from imagesmith.fleet.manifests import LABEL, Pods, document_of, indexes_of, jobs_of, rights_of
from imagesmith.fleet.podtemplate import read_template
from tests.fleet.support import DIGEST, unit
from tests.support import lacking

PLACE = f"registry.example/cache@{DIGEST}"
UNITS = [unit("a"), unit("a", "linux/arm64"), unit("b"), unit("c", "linux/arm/v7")]
PODS = Pods(
    image="imagesmith:1",
    namespace="ci",
    parallelism=1,
    login="push",
    secrets={"npm": "npm-token", "pip": "p"},
)


def validate(manifest: dict[str, Any]) -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        lacking("kubernetes-validate is not installed")
    import kubernetes_validate

    for version in ("1.29", "1.37"):
        kubernetes_validate.validate(manifest, version, strict=True)


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


@pytest.mark.slow
@pytest.mark.parametrize("pods", [Pods(image="imagesmith:1"), PODS], ids=["plain", "all"])
def test_jobs_are_valid(pods: Pods) -> None:
    for job in jobs_of(UNITS, PLACE, pods):
        validate(job)


@pytest.mark.slow
def test_rights_are_valid_and_the_least() -> None:
    objects = rights_of("ci")
    for found in objects:
        validate(found)
    _, role, binding = objects
    rights = {f"{r} {v}" for rule in role["rules"] for r in rule["resources"] for v in rule["verbs"]}
    assert "jobs/status get" not in rights
    assert {r for r in rights if r.startswith("secrets") or "*" in r} == set()
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "imagesmith", "namespace": "ci"}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


def test_there_is_a_job_for_each_architecture() -> None:
    jobs = jobs_of(UNITS, PLACE, PODS)
    found = {
        job["spec"]["template"]["spec"]["nodeSelector"]["kubernetes.io/arch"]: (
            job["spec"]["completions"], [w for w in container_of(job)["args"] if w.startswith("--among=")],
        )
        for job in jobs
    }  # fmt: skip
    assert found == {"amd64": (2, ["--among=0,2"]), "arm64": (1, ["--among=1"]), "arm": (1, ["--among=3"])}
    assert len({job["metadata"]["name"] for job in jobs}) == 3
    assert sorted(n for own in indexes_of(UNITS).values() for n in own) == [0, 1, 2, 3]


def test_a_wave_has_its_name_each_time_and_another_one_another() -> None:
    def names(place: str) -> list[str]:
        return [job["metadata"]["name"] for job in jobs_of(UNITS, place, PODS)]

    assert names(PLACE) == names(PLACE)
    assert not set(names(PLACE)) & set(names(PLACE.replace("cache", "other")))


def test_pods_have_no_rights_and_lost_ones_begin_again() -> None:
    for job in jobs_of(UNITS, PLACE, PODS):
        spec, pod = job["spec"], job["spec"]["template"]["spec"]
        assert (spec["completionMode"], spec["backoffLimitPerIndex"]) == ("Indexed", 3)
        assert "podFailurePolicy" not in spec
        assert pod["restartPolicy"] == "Never"
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsUser"] == 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "Unconfined"}
        assert container_of(job)["securityContext"] == {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert {t["tolerationSeconds"] for t in pod["tolerations"]} == {5}
        assert "--always-zero" in container_of(job)["args"]


def test_what_is_mounted_is_what_is_read() -> None:
    job = jobs_of(UNITS, PLACE, PODS)[0]
    mounts = {m["name"]: m["mountPath"] for m in container_of(job)["volumeMounts"]}
    volumes = {v["name"]: v for v in job["spec"]["template"]["spec"]["volumes"]}
    assert set(mounts) == set(volumes)
    secrets = [w.removeprefix("--secret=") for w in container_of(job)["args"] if w.startswith("--secret=")]
    for n, (key, name) in enumerate(sorted(PODS.secrets.items())):
        assert volumes[f"secret-{n}"]["secret"]["secretName"] == name
        assert f"id={key},src={mounts[f'secret-{n}']}/{key}" in secrets
    env = {e["name"]: e["value"] for e in container_of(job)["env"]}
    assert env["DOCKER_CONFIG"] == mounts["login"]
    assert env["IMAGESMITH_ROOT"].startswith(f"{mounts['store']}/")


def test_parallelism_is_no_more_than_there_are_units() -> None:
    wide = jobs_of(UNITS, PLACE, Pods(image="i", parallelism=10))
    assert [job["spec"]["parallelism"] for job in wide] == [job["spec"]["completions"] for job in wide]
    assert {job["spec"]["parallelism"] for job in jobs_of(UNITS, PLACE, PODS)} == {1}


@pytest.mark.parametrize("platform", ["windows/amd64", "linux/a_b", "linux/a.b"])
def test_what_no_node_can_build_is_refused(platform: str) -> None:
    with pytest.raises(UsageError, match=r"unit a .*: no node can build for"):
        jobs_of([unit("a", platform)], PLACE, PODS)


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        (Pods(image=""), "no image is given"),
        (Pods(image="i", namespace="a.b"), "--namespace: 'a.b' has other letters"),
        (Pods(image="i", login="A"), "the Secret of the registry's login: 'A' has other letters"),
        (Pods(image="i", secrets={"npm": "-"}), "the Secret of secret npm: '-' has other letters"),
        (Pods(image="i", secrets={"a,b": "s"}), "secret 'a,b': no Secret has such a key"),
        (Pods(image="i", secrets={"..": "s"}), "secret '..': no Secret has such a key"),
        (Pods(image="i", template={"spec": {"restartPolicy": "Always"}}), "the pod template's restartPolicy"),
    ],
)
def test_pods_that_can_never_run_are_refused(pods: Pods, said: str) -> None:
    with pytest.raises(UsageError) as e:
        jobs_of(UNITS, PLACE, pods)
    assert e.value.message.startswith(said)


def test_labels_of_a_template_stay_beside_those_that_a_wave_is_found_by() -> None:
    template = {"metadata": {"labels": {LABEL: "mine", "team": "web"}}}
    (job, *_) = jobs_of(UNITS, PLACE, Pods(image="i", template=template))
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels == job["metadata"]["labels"] | {"team": "web"}


@pytest.mark.slow
def test_a_template_has_the_last_word() -> None:
    template = read_template("pod.yaml", TEMPLATE)
    (job, *_) = jobs_of(UNITS, PLACE, Pods(image="imagesmith:1", template=template))
    validate(job)
    pod = job["spec"]["template"]["spec"]
    assert pod["hostUsers"] is False
    assert pod["nodeSelector"]["kubernetes.io/arch"] == "amd64"
    assert pod["nodeSelector"]["pool"] == "builds"
    work, proxy = pod["containers"]
    assert work["resources"] == {"limits": {"cpu": "4", "memory": "8Gi"}}
    assert work["image"] == "imagesmith:1"
    assert work["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"add": ["SYS_ADMIN"]},
    }
    assert [e["name"] for e in work["env"]] == ["HOME", "IMAGESMITH_ROOT", "HTTPS_PROXY"]
    assert proxy["name"] == "proxy"
    assert job["spec"]["template"]["metadata"]["annotations"] == {"team": "web"}


TEMPLATE = """\
metadata:
  annotations: {team: web}
spec:
  hostUsers: false
  nodeSelector: {pool: builds}
  containers:
  - name: work
    resources: {limits: {cpu: "4", memory: 8Gi}}
    env: [{name: HTTPS_PROXY, value: "http://proxy:3128"}]
    securityContext:
      capabilities: {drop: null, add: [SYS_ADMIN]}
  - name: proxy
    image: proxy:1
"""


def test_the_printed_document_is_json_with_all_objects_in_one_namespace() -> None:
    document = json.loads(json.dumps(document_of([*rights_of("ci"), *jobs_of(UNITS, PLACE, PODS)])))
    assert (document["apiVersion"], document["kind"]) == ("v1", "List")
    kinds = [item["kind"] for item in document["items"]]
    assert kinds == ["ServiceAccount", "Role", "RoleBinding", "Job", "Job", "Job"]
    assert {item["metadata"]["namespace"] for item in document["items"]} == {"ci"}
