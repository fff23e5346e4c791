"""What is advised is said in the words of where one is, and is never what is so already."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.worker.sandbox import hints

REFUSED = (("subid", "user namespaces are refused (unshare: operation not permitted)"),)
DENIED = (("subid", "user namespaces are refused (mount: permission denied)"),)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A container of Docker's, with its filter, as an ordinary user; tests change what they need."""
    monkeypatch.setattr(hints, "_setting", lambda: "")
    monkeypatch.setattr(hints, "container", lambda: "/.dockerenv is there")
    monkeypatch.setattr(hints, "_module", lambda: "")
    monkeypatch.setattr(hints, "_status", lambda name: {"Seccomp": "2"}[name])
    monkeypatch.setattr(hints, "permitted", lambda: 0)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return monkeypatch


def test_container_is_told_by_the_flags_of_its_program(place: pytest.MonkeyPatch) -> None:
    assert hints.for_run(REFUSED) == ("run the container as root, or with --security-opt seccomp=unconfined")
    place.setattr(hints, "_module", lambda: "apparmor")
    assert "apparmor=unconfined" in hints.for_run(DENIED)
    assert "seccomp=unconfined" in hints.for_run(REFUSED)


def test_filter_that_is_not_there_is_not_to_be_taken_away(place: pytest.MonkeyPatch) -> None:
    place.setattr(hints, "_status", lambda name: {"Seccomp": "0"}[name])
    assert "seccomp" not in hints.for_run(REFUSED)
    place.setattr(hints, "_module", lambda: "apparmor")
    assert "apparmor=unconfined" in hints.for_run(REFUSED)


def test_security_modules_are_told_apart(place: pytest.MonkeyPatch) -> None:
    place.setattr(hints, "_module", lambda: "selinux")
    assert hints.for_run(DENIED).endswith("with --security-opt label=disable")
    place.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert hints.for_run(DENIED).endswith("securityContext: seLinuxOptions: {type: spc_t}")


@pytest.mark.parametrize(
    ("label", "module"),
    [
        ("cri-containerd.apparmor.d (enforce)\n", "apparmor"),
        ("unconfined\n", ""),
        ("system_u:system_r:container_t:s0:c1,c2\0", "selinux"),
        ("system_u:system_r:spc_t:s0\0", ""),
        ("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023\0", ""),
    ],
)
def test_module_is_known_by_its_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, module: str
) -> None:
    (tmp_path / "current").write_text(label)
    monkeypatch.setattr(hints, "_LABELS", (str(tmp_path / "none"), str(tmp_path / "current")))
    assert hints._module() == module


def test_memory_is_asked_for_where_it_is_given(place: pytest.MonkeyPatch) -> None:
    def told() -> str:
        return hints.for_memory(f"killed: the limit of 64 MiB of {hints.whose_limit()} was reached")

    assert (hints.whose_limit(), told().split(",")[0]) == (
        "this container", "it needs a larger --memory of the container",
    )  # fmt: skip
    place.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert (hints.whose_limit(), "resources.limits.memory" in told()) == ("this pod", True)
    place.setattr(hints, "container", lambda: "")
    assert "of the job, service or cgroup" in told()
    assert "--cgroup-parent" in hints.for_memory("killed: the limit of 64 MiB of the step was reached")
    assert "a machine with more memory" in hints.for_memory("killed: the machine has no more")


def test_pod_is_told_by_its_fields(place: pytest.MonkeyPatch) -> None:
    place.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert hints.for_run(REFUSED) == "in the container's securityContext: seccompProfile: {type: Unconfined}"
    place.setattr("os.geteuid", lambda: 0)
    unmapped = (("subid", "user namespaces are refused (operation not permitted)"),)
    assert hints.for_run(unmapped) == "in the container's securityContext: runAsUser: 1000"
    assert hints.for_run(REFUSED).endswith(": runAsUser: 1000, seccompProfile: {type: Unconfined}")


def test_machine_is_told_by_its_settings(place: pytest.MonkeyPatch) -> None:
    place.setattr(hints, "container", lambda: "")
    assert hints.for_run(REFUSED) == "let users make user namespaces, or build as root"
    place.setattr("os.geteuid", lambda: 0)
    assert "--isolation chroot" in hints.for_run(REFUSED)
    place.setattr(hints, "_setting", lambda: "user.max_user_namespaces=15000")
    assert hints.for_run(REFUSED) == "as root of the machine: sysctl -w user.max_user_namespaces=15000"


def test_what_is_installed_or_lent_is_not_advised(place: pytest.MonkeyPatch) -> None:
    place.setattr(hints, "lent_range", lambda *_: (1, 1))
    place.setattr(hints, "find_program", lambda _: None)
    assert hints.for_ids(0) == "as root: install newuidmap (package uidmap or shadow-utils)"
    place.setattr(hints, "find_program", lambda name: f"/usr/bin/{name}")
    assert hints.for_ids(0) == ""
    place.setattr(hints, "lent_range", lambda *_: None)
    assert hints.for_ids(0) == "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 root"


def test_what_would_give_ids_is_a_command_where_a_program_installs(place: pytest.MonkeyPatch) -> None:
    place.setattr(hints, "lent_range", lambda *_: None)
    place.setattr(hints, "find_program", lambda name: "/usr/bin/apt" if name == "apt" else None)
    lend = "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 root"
    assert hints.for_ids(0) == f"as root: apt install uidmap && {lend}"
    place.setattr(hints, "find_program", lambda name: "/usr/bin/dnf" if name == "dnf" else None)
    assert hints.for_ids(0) == f"as root: dnf install shadow-utils && {lend}"
