"""rmi: names are taken away; the image stays under its others."""

from __future__ import annotations

from tests.cli.conftest import Run


def test_name_goes_and_the_image_stays_under_another(run: Run, image: str) -> None:
    run("tag", "app:1", "other:2")
    assert run("rmi", "app:1") == "untagged: app:1\n"
    assert run("images", "-q") == f"{image}\n"
    assert run("validate", "other:2").startswith("valid: ")


def test_several_names_go_in_their_order(run: Run, image: str) -> None:
    run("tag", "app:1", "other:2")
    assert run("rmi", "other:2", "docker.io/library/app:1") == "untagged: other:2\nuntagged: app:1\n"
    assert run("images", "-q") == ""


def test_name_that_is_not_there_is_an_error(run: Run, image: str) -> None:
    assert "absent:1" in run("rmi", "absent:1", status=7)
    assert run("images", "-q") == f"{image}\n"
