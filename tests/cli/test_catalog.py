"""catalog: the repositories of a registry."""

from __future__ import annotations

import json

from tests.cli.conftest import Run


def test_repositories_are_listed_and_an_empty_registry_has_none(run: Run, host: str, image: str) -> None:
    assert run("catalog", host) == ""
    for name in ("b/two", "a"):
        run("push", "app:1", f"{host}/{name}:1")
    assert run("catalog", host) == run("catalog", f"http://{host}/") == "a\nb/two\n"
    assert json.loads(run("catalog", "--json", host)) == {"Registry": host, "Repositories": ["a", "b/two"]}


def test_name_that_is_no_host_is_refused(run: Run) -> None:
    assert run("catalog", "not a host", status=2).startswith("error: ")
