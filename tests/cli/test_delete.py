"""delete: a tag, or an image with all its tags, from a registry, a layout or the store."""

from __future__ import annotations

from tests.cli.conftest import Run


def test_tag_goes_alone_and_an_image_with_all_of_them(run: Run, host: str, image: str) -> None:
    for tag in ("1", "2", "3"):
        run("push", "app:1", f"{host}/t/app:{tag}")
    run("delete", f"{host}/t/app:2")
    assert run("tags", f"{host}/t/app") == "1\n3\n"
    run("delete", f"{host}/t/app@{image}")
    assert "not found" in run("inspect", f"{host}/t/app:1", status=7)


def test_names_of_a_layout_and_of_the_store_go(run: Run, image: str) -> None:
    run("copy", "store:app:1", "oci:layout:a")
    run("copy", "store:app:1", "oci:layout:b")
    assert run("delete", "oci:layout:a", "store:app:1").count("deleted ") == 2
    assert run("tags", "oci:layout") == "b\n"
    assert run("images", "-q") == ""


def test_archive_cannot_be_changed(run: Run, image: str) -> None:
    run("copy", "store:app:1", "oci-archive:o.tar:1")
    assert "an archive cannot be changed" in run("delete", "oci-archive:o.tar:1", status=2)
