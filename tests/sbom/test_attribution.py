"""The layer, the step and the line that brought a package."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.oci.config import History, ImageConfig
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import Platform
from imagesmith.sbom.attribution import Line, origins
from imagesmith.sbom.reading import Files, packages_in
from tests.sbom import rpms
from tests.sbom.trees import RELEASE, Given, view

STATUS = "var/lib/dpkg/status"


def stanza(name: str, version: str) -> bytes:
    return b"Package: %s\nVersion: %s\nArchitecture: all\n\n" % (name.encode(), version.encode())


def status(**versions: str) -> bytes:
    return b"".join(stanza(name, version) for name, version in versions.items())


def config_of(count: int) -> ImageConfig:
    """An image of so many layers, each made by a step of its number, with other steps between."""
    history = [h for n in range(count) for h in (History(created_by=f"ENV {n}", empty_layer=True),
                                                 History(created_by=f"RUN {n}"))]  # fmt: skip
    return ImageConfig(
        platform=Platform("linux", "amd64"),
        diff_ids=tuple(Digest("sha256", f"{n:064x}") for n in range(count)),
        history=tuple(history),
    )


def brought(*layers: Given, folder: Path | None = None) -> dict[str, int]:
    """The layer of each package, by its name."""
    tree = view(*layers)
    packages = packages_in(Files(tree, folder))
    found = origins(tree, packages, config_of(len(layers)), {}, folder)
    return {p.name: found[p.purl, p.path].layer for p in packages}


def test_package_of_a_database_came_with_the_layer_that_first_had_its_version() -> None:
    assert brought(
        {STATUS: status(base="1", old="1")},
        {"other": b""},
        {STATUS: status(base="1", old="1", new="1")},
        {STATUS: status(base="1", old="2", new="1")},
        {STATUS: status(base="1", old="2", new="1")},
    ) == {"base": 0, "new": 2, "old": 3}


def test_package_that_came_again_came_with_the_later_layer() -> None:
    assert brought(
        {STATUS: status(a="1", b="1")},
        {STATUS: status(b="1")},
        {STATUS: status(a="1", b="1")},
    ) == {"a": 2, "b": 0}


def test_file_that_was_deleted_and_made_again() -> None:
    assert brought({STATUS: status(a="1")}, {STATUS: None}, {STATUS: status(a="1")}) == {"a": 2}


def test_file_of_its_own() -> None:
    folder = "var/lib/dpkg/status.d"
    assert brought(
        {f"{folder}/a": stanza("a", "1"), f"{folder}/c": stanza("c", "1")},
        {f"{folder}/b": stanza("b", "1"), f"{folder}/a": stanza("a", "1")},
        {f"{folder}/c": stanza("c", "2")},
    ) == {"a": 0, "b": 1, "c": 2}


def test_release_that_came_later_changes_no_origin() -> None:
    assert brought({STATUS: status(a="1")}, {STATUS: status(a="1"), "etc/os-release": RELEASE}) == {"a": 0}


@pytest.mark.parametrize("form", ["sqlite", "ndb", "bdb"])
def test_rpm(form: str, tmp_path: Path) -> None:
    def database(count: int) -> dict[str, bytes]:
        given = rpms.HEADERS[:count]
        if form == "sqlite":
            return {"var/lib/rpm/rpmdb.sqlite": rpms.sqlite(tmp_path / "db", given)["rpmdb.sqlite"]}
        if form == "ndb":
            return {"var/lib/rpm/Packages.db": rpms.ndb(given)}
        return {"var/lib/rpm/Packages": rpms.berkeley(given)}

    found = brought(database(1), database(2), database(4), folder=tmp_path)
    assert found == {"one": 0, "two": 1, "large": 2, "gpg-pubkey": 2}


def test_step_and_line_are_told_where_they_are_known() -> None:
    tree = view({STATUS: status(a="1")}, {STATUS: status(a="1", b="1")})
    packages = packages_in(Files(tree))
    config = config_of(2)
    lines: dict[Digest, Line] = {config.diff_ids[1]: ("Dockerfile", 7)}
    found = origins(tree, packages, config, lines)
    a, b = (found[p.purl, p.path] for p in packages)
    assert (a.layer, a.diff_id, a.created_by, a.file, a.line) == (0, config.diff_ids[0], "RUN 0", "", 0)
    assert (b.created_by, b.file, b.line) == ("RUN 1", "Dockerfile", 7)


def test_history_that_does_not_fit_is_not_told() -> None:
    tree = view({STATUS: status(a="1")}, {"other": b""})
    packages = packages_in(Files(tree))
    (origin,) = origins(tree, packages, config_of(3), {}).values()
    assert origin.created_by == ""
    (origin,) = origins(tree, packages, ImageConfig(platform=Platform("linux", "amd64")), {}).values()
    assert (origin.layer, origin.diff_id) == (0, None)


def test_damaged_database_below_is_one_without_packages() -> None:
    assert brought(
        {"var/lib/rpm/Packages.db": b"damaged"}, {"var/lib/rpm/Packages.db": rpms.ndb(rpms.HEADERS[:1])}
    ) == {"one": 1}
