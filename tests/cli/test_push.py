"""push: from the store to a registry; what is told of it, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagesmith.cli.main import main
from tests.cli.conftest import Run


def test_json_tells_the_result_and_each_blob(run: Run, host: str, image: str) -> None:
    assert json.loads(run("push", "--json", "app:1", f"{host}/t/app:1"))["digest"] == image


def test_what_is_left_out_is_said_in_one_line(
    run: Run, host: str, index: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("push", "multi:1", f"{host}/t/multi:1")
    run("pull", "--platform", "linux/arm64", "--root", "s2", f"{host}/t/multi:1")
    capfdbinary.readouterr()
    assert main(["push", "--root", "s2", f"{host}/t/multi:1", f"{host}/t/new:1"]) == 0
    said = [x for x in capfdbinary.readouterr().err.decode().splitlines() if "left out" in x]
    assert said == [f"WARN: {host}/t/new:1: left out linux/amd64: not there"]


@pytest.mark.parametrize("flag", ["--digest-file", "--digestfile"])
def test_digest_is_written_to_a_file(run: Run, host: str, image: str, tmp_path: Path, flag: str) -> None:
    run("push", "app:1", f"{host}/t/app:1", flag, "pushed")
    assert (tmp_path / "pushed").read_text() == image
    changed = run("mutate", f"{host}/t/app:1", "--user", "5", flag, "changed").strip()
    assert changed.endswith((tmp_path / "changed").read_text())
    assert "there is no folder" in run("push", "app:1", f"{host}/t/app:1", flag, "none/file", status=2)


def test_name_of_the_store_is_where_it_goes_unless_another_is_given(run: Run, host: str, image: str) -> None:
    run("tag", "app:1", f"{host}/t/app:1")
    assert run("push", f"store:{host}/t/app:1") == f"{image}\n"
    assert run("push", f"{host}/t/app:1", "oci:layout:1") == f"{image}\n"
    assert run("digest", f"{host}/t/app:1") == run("digest", "oci:layout:1") == f"{image}\n"


def test_one_platform_of_an_index_is_an_image_there(run: Run, host: str, index: str) -> None:
    alone = run("push", "--platform", "linux/arm64", "multi:1", f"{host}/t/multi:1")
    assert alone not in ("", f"{index}\n")
    assert (
        run("inspect", "-f", "{{.Architecture}}", "--platform", "linux/arm64", f"{host}/t/multi:1")
        == "arm64\n"
    )
