"""mutate: another config; where the result goes."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Run


def test_mutate_prints_where_the_result_is(run: Run, host: str, image: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    where = run("mutate", f"{host}/t/app:1", "--label", "a=b", "--cmd", "x 'y z'").strip()
    assert where.startswith(f"{host}/t/app@sha256:")
    assert run("inspect", "-f", "{{json .Config.Cmd}} {{.Labels.a}}", where) == '["x", "y z"] b\n'
    assert run("digest", f"{host}/t/app:1") == f"{image}\n"
    assert "needs a name" in run("mutate", "store:app:1", "--user", "5", status=2)


def test_mutate_of_the_store_s_image_pushes_only_when_told(run: Run, host: str, image: str) -> None:
    name = f"{host}/t/app:1"
    run("push", "app:1", name)
    run("tag", "app:1", name)  # now it is found in the store
    assert "needs a name" in run("mutate", name, "--user", "5", status=2)
    run("mutate", name, "--user", "5", "-t", f"{host}/t/app:2")
    assert run("inspect", "-f", "{{.Config.User}}", f"store:{host}/t/app:2") == "5\n"
    assert run("tags", f"{host}/t/app") == "1\n"
    where = run("mutate", name, "--user", "6", "--push").strip()
    assert run("inspect", "-f", "{{.Config.User}}", f"docker://{where}") == "6\n"
    run("mutate", name, "--user", "7", "--push", "-t", f"{host}/t/app:7")
    run("flatten", name, "-t", f"docker://{host}/t/app:8")
    assert run("tags", f"{host}/t/app") == "1\n7\n8\n"
    assert "in no registry" in run("flatten", name, "--push", "-t", "store:x", status=2)


def test_every_part_of_the_config_is_set_and_empty_words_remove(run: Run, image: str) -> None:
    run(
        "mutate", "app:1", "-t", "store:new:1", "--entrypoint", '["/e", "a b"]', "--cmd", "", "--env", "A=",
        "--env", "B=c", "--user", "5", "--workdir", "/w", "--stop-signal", "SIGINT", "--author", "me",
        "--exposed-ports", "80,53/udp", "--volumes", "/data", "--annotation", "k=v",
        "--set-platform", "linux/arm64",
    )  # fmt: skip
    report = json.loads(run("inspect", "--platform", "linux/arm64", "new:1"))
    config = report["Config"]
    assert (config["Entrypoint"], config.get("Cmd"), config["Env"]) == (["/e", "a b"], None, ["B=c"])
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("5", "/w", "SIGINT")
    assert (sorted(config["ExposedPorts"]), list(config["Volumes"])) == (["53/udp", "80/tcp"], ["/data"])
    assert (report["Author"], report["Annotations"]) == ("me", {"k": "v"})


@pytest.mark.parametrize("words", ["[1]", "[", "'open"])
def test_words_that_are_none_are_told(run: Run, image: str, words: str) -> None:
    assert "a JSON list such as" in run("mutate", "app:1", "-t", "store:x", "--cmd", words, status=2)
