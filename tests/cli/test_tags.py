"""tags: of a repository, or the names of a layout."""

from __future__ import annotations

import json

from tests.cli.conftest import Run


def test_tags_of_a_repository_and_of_a_layout(run: Run, host: str, image: str) -> None:
    for tag in ("1", "b", "a"):
        run("push", "app:1", f"{host}/t/app:{tag}")
        run("copy", "store:app:1", f"oci:layout:{tag}")
    assert run("tags", f"{host}/t/app") == run("tags", f"docker://{host}/t/app") == "1\na\nb\n"
    assert sorted(run("tags", "oci:layout").split()) == ["1", "a", "b"]


def test_json_names_the_repository(run: Run, host: str, image: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    assert json.loads(run("tags", "--json", f"{host}/t/app")) == {
        "Repository": f"{host}/t/app",
        "Tags": ["1"],
    }
    run("copy", "store:app:1", "oci:layout:x")
    assert json.loads(run("tags", "--json", "oci:layout")) == {"Repository": "oci:layout", "Tags": ["x"]}


def test_repository_that_is_not_there_is_an_error(run: Run, host: str) -> None:
    assert f"{host}/t/none" in run("tags", f"{host}/t/none", status=7)
