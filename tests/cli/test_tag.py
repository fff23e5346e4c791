"""tag: further names, in the store or in a registry."""

from __future__ import annotations

from tests.cli.conftest import Run


def test_image_of_the_store_has_further_names(run: Run, image: str) -> None:
    assert run("tag", "app:1", "two:2", "registry.example/three") == ""
    assert run("digest", "store:two:2") == run("digest", "store:registry.example/three") == f"{image}\n"


def test_image_that_is_not_there_is_told_with_where_to_look(run: Run, image: str) -> None:
    said = run("tag", "absent:1", "b", status=7)
    assert "no image named absent:1 in the store" in said
    assert "docker://REF" in said


def test_manifest_of_a_registry_is_there_under_further_tags(run: Run, host: str, image: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    said = run("tag", f"docker://{host}/t/app:1", "2", f"{host}/t/app:3")
    assert said == f"{host}/t/app:2\n{host}/t/app:3\n"
    assert run("tags", f"{host}/t/app") == "1\n2\n3\n"
    assert run("digest", f"{host}/t/app:3") == f"{image}\n"


def test_image_of_a_registry_is_copied_to_another_repository(run: Run, host: str, image: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    run("tag", f"docker://{host}/t/app:1", f"docker://{host}/other/app:1")
    assert run("validate", f"{host}/other/app:1").startswith("valid: 1 manifests, 2 blobs")
