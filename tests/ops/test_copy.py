"""COPY and ADD: where things land, with which owner, mode and time. The conformance cases have the rest."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.errors import ContextError, DockerfileError
from tests.kitchen import OLD_S, Kitchen, tar_of
from tests.web import Web, web


@pytest.fixture
def site() -> Iterator[Web]:
    """A web server."""
    with web() as here:
        yield here


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("COPY f /x", ["x"]),
        ("COPY f /x/", ["x", "x/f"]),
        ("COPY f g /x/", ["x", "x/f", "x/g"]),
        ("COPY f /a/b/c", ["a", "a/b", "a/b/c"]),
        ("COPY d /x", ["x", "x/e", "x/e/h", "x/i"]),
        ("COPY d/* /x/", ["x", "x/h", "x/i"]),
        ("COPY no* /x/", []),
        ("COPY ../../f /x", ["x"]),
        ("COPY link /x", ["x"]),
        ("COPY --parents d/e/h /x/", ["x", "x/d", "x/d/e", "x/d/e/h"]),
        ("COPY --parents ./d/./e/h /x/", ["x", "x/e", "x/e/h"]),
        ("COPY --exclude=i d /x", ["x", "x/e", "x/e/h"]),
        ('COPY ["f", "/with space"]', ["with space"]),
    ],
)
def test_source_lands_where_docker_puts_it(kitchen: Kitchen, line: str, names: list[str]) -> None:
    kitchen.write({"f": "f", "g": "g", "d/e/h": "h", "d/i": "i", "link": "-> f"})
    assert kitchen.names(kitchen.build(f"FROM scratch\n{line}\n")) == names


def test_owner_is_root_and_mode_and_time_are_the_files(kitchen: Kitchen) -> None:
    kitchen.write({"f": "f"}, mode=0o6751)
    member = kitchen.layer(kitchen.build("FROM scratch\nCOPY f /f\n")).getmember("f")
    assert (member.uid, member.gid, member.mode, member.mtime) == (0, 0, 0o6751, OLD_S)


def test_names_of_owners_are_looked_up_in_the_image(kitchen: Kitchen) -> None:
    kitchen.write({"f": "f", "etc/passwd": "u:x:7:8::/:/sh\n", "etc/group": "g:x:9:\n"})
    owners = {"u": (7, 8), "u:g": (7, 9), ":g": (0, 9), "5": (5, 5), "5:g": (5, 9), "nobody": (0, 0)}
    lines = "".join(f"COPY --chown={who} f /f{n}\n" for n, who in enumerate(owners))
    built = kitchen.build(f"FROM scratch\nCOPY etc /etc\n{lines}")
    for n, owner in enumerate(owners.values()):
        member = kitchen.layer(built, n + 1).getmember(f"f{n}")
        assert (member.uid, member.gid) == owner


def test_linked_copy_follows_no_links_below(kitchen: Kitchen) -> None:
    kitchen.write({"f": "f", "to/": "", "l": "-> to"})
    built = kitchen.build("FROM scratch\nCOPY . /\nCOPY --link --chown=root:7 f /l/f\n")
    tar = kitchen.layer(built)
    assert (tar.getnames(), tar.getmember("l/f").uid, tar.getmember("l/f").gid) == (["l", "l/f"], 0, 7)


@pytest.mark.parametrize("who", ["u", "5:g", ":g"])
def test_linked_copy_finds_no_names(kitchen: Kitchen, who: str) -> None:
    kitchen.write({"f": "f", "etc/passwd": "u:x:7:8::/:/sh\n", "etc/group": "g:x:9:\n"})
    with pytest.raises(DockerfileError, match=r"invalid (user u|group g): --link looks into no image"):
        kitchen.build(f"FROM scratch\nCOPY etc /etc\nCOPY --link --chown={who} f /f\n")
    built = kitchen.build(f"FROM scratch\nCOPY etc /etc\nCOPY --link --chmod=600 --chown={who} f /f\n")
    assert kitchen.layer(built).getmember("f").gid in (8, 9)  # --chmod makes it an ordinary copy


def test_destinations_are_made_behind_dangling_links(kitchen: Kitchen) -> None:
    kitchen.write({"f": "f", "d/x": "x"})
    kitchen.write({"l/l1": "-> /a/b", "l/l2": "-> gone/deep", "l/l3": "-> l2/../other/n"})
    built = kitchen.build(
        "FROM scratch\nCOPY l /\nCOPY --chown=5:6 f /l1/x\nCOPY f /l2/\nCOPY d /l3\nWORKDIR /l3/w\n"
    )
    assert [kitchen.names(built, n) for n in range(1, 4)] == [
        ["a", "a/b", "a/b/x"],
        ["gone", "gone/deep", "gone/deep/f"],
        ["gone", "gone/other", "gone/other/n", "gone/other/n/x"],
    ]
    assert {m.uid for m in kitchen.layer(built, 1).getmembers()} == {5}
    assert kitchen.names(built) == ["gone", "gone/other", "gone/other/n", "gone/other/n/w"]


def test_folders_on_the_way_that_exist_take_the_mode_and_nothing_else(kitchen: Kitchen) -> None:
    kitchen.write({"x/y/f": "f", "old/x/y/": ""})
    os.chmod(kitchen.context / "x", 0o1711)
    os.chmod(kitchen.context / "old/x", 0o700)
    lines = "COPY --chown=3:4 old /p\nCOPY --parents --chown=7:8 --chmod=600 ../x/y/f /p\n"
    tar = kitchen.layer(kitchen.build(f"FROM scratch\n{lines}"))
    found = {m.name: (m.mode, m.uid) for m in tar.getmembers()}
    assert found == {"p": (0o755, 3), "p/x": (0o1711, 3), "p/x/y": (0o755, 3), "p/x/y/f": (0o600, 7)}


def test_links_of_the_image_are_followed_and_stay_inside(kitchen: Kitchen) -> None:
    kitchen.write({"f": "f", "real/": "", "l": "-> real", "up": "-> ../../../real"})
    built = kitchen.build("FROM scratch\nCOPY . /\nCOPY f /l/a\nCOPY f /up/b\n")
    assert "real/a" in kitchen.names(built, 1)
    assert "real/b" in kitchen.names(built, 2)


def test_hard_links_and_special_files_stay(kitchen: Kitchen) -> None:
    kitchen.write({"d/a": "a"})
    os.link(kitchen.context / "d/a", kitchen.context / "d/b")
    os.mkfifo(kitchen.context / "d/p")
    kitchen.age()
    tar = kitchen.layer(kitchen.build("FROM scratch\nCOPY d /d\n"))
    assert (tar.getmember("d/b").islnk(), tar.getmember("d/b").linkname) == (True, "d/a")
    assert tar.getmember("d/p").isfifo()


def test_a_copy_of_what_is_there_makes_an_empty_layer(kitchen: Kitchen) -> None:
    kitchen.write({"d/f": "f"})
    built = kitchen.build("FROM scratch\nCOPY d /d\nCOPY d /d\n")
    assert kitchen.names(built) == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("COPY f /x\nCOPY d /x\n", "cannot copy to non-directory: /x"),
        ("COPY d /x/f\nCOPY f /x/\n", "cannot replace to directory /x/f with file"),
        ("COPY f /x\nCOPY f /x/\n", "mkdir /x: not a directory"),
    ],
)
def test_files_and_folders_do_not_take_each_others_place(kitchen: Kitchen, lines: str, message: str) -> None:
    kitchen.write({"f": "f", "d/f": "f"})
    with pytest.raises(ContextError, match=message):
        kitchen.build(f"FROM scratch\n{lines}")


@pytest.mark.parametrize(("chmod", "mode"), [("600", 0o600), ("u+x,g=u", 0o774), ("a=rX", 0o444)])
def test_modes_are_octal_or_symbolic(kitchen: Kitchen, chmod: str, mode: int) -> None:
    kitchen.write({"f": "f"})
    built = kitchen.build(f"FROM scratch\nCOPY --chmod={chmod} f /f\n")
    assert kitchen.layer(built).getmember("f").mode == mode


@pytest.mark.parametrize("chmod", ["8", "77777", "u+q"])
def test_a_bad_mode_is_refused_at_its_line(kitchen: Kitchen, chmod: str) -> None:
    kitchen.write({"f": "f"})
    with pytest.raises(DockerfileError) as caught:
        kitchen.build(f"FROM scratch\nCOPY --chmod={chmod} f /f\n")
    assert caught.value.first == 2


# --- ADD ---------------------------------------------------------------------------------------


def test_an_archive_is_copied_as_it_is_when_that_is_asked_for(kitchen: Kitchen) -> None:
    kitchen.write({"t": tar_of({"a": b"x"}), "d/t": tar_of({"a": b"x"})})
    built = kitchen.build("FROM scratch\nADD --unpack=false t /x\nADD d /y\nCOPY t /z\n")
    assert [kitchen.names(built, n) for n in range(3)] == [["x"], ["y", "y/t"], ["z"]]


def test_a_download_has_the_servers_time_and_the_urls_name(kitchen: Kitchen, site: Web) -> None:
    site.files["some%20file"] = b"text"
    site.headers["some%20file"] = {"Last-Modified": "Thu, 01 Jan 1970 00:16:40 GMT"}
    tar = kitchen.layer(kitchen.build(f"FROM scratch\nADD {site.url('some%20file')}?x=1 /d/\n"))
    member = tar.getmember("d/some file")
    assert (member.mode, member.mtime) == (0o600, 1000)


def test_an_unchanged_download_is_not_sent_again(kitchen: Kitchen, site: Web) -> None:
    site.files["f"] = b"text"
    site.headers["f"] = {"ETag": '"1"'}
    for _ in range(2):
        kitchen.build(f"FROM scratch\nADD {site.url('f')} /f\n")
    assert (kitchen.executed, kitchen.cached[0][:4]) == ([], "ADD ")
    site.files["f"], site.headers["f"] = b"new", {"ETag": '"2"'}
    built = kitchen.build(f"FROM scratch\nADD {site.url('f')} /f\n")
    assert kitchen.layer(built).getmember("f").size == 3


def test_a_download_of_another_digest_is_refused(kitchen: Kitchen, site: Web) -> None:
    site.files["f"] = b"text"
    with pytest.raises(DockerfileError, match="digest mismatch sha256:982d9e3e"):
        kitchen.build(f"FROM scratch\nADD --checksum=sha256:{'0' * 64} {site.url('f')} /f\n")


def test_redirects_end(kitchen: Kitchen, site: Web) -> None:
    site.moved["f"] = "f"
    with pytest.raises(ContextError, match="more than 10 redirects"):
        kitchen.build(f"FROM scratch\nADD {site.url('f')} /f\n")


def test_working_directory_belongs_to_the_user(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"etc/passwd": "u:x:7:8::/:/sh\n"})
    built = kitchen.build("FROM scratch\nCOPY etc /etc\nUSER u\nWORKDIR /a/b\nWORKDIR c\n")
    tar = kitchen.layer(built, 1)
    assert [(m.name, m.uid, m.gid, stat.S_IMODE(m.mode)) for m in tar.getmembers()] == [
        ("a", 7, 8, 0o755), ("a/b", 7, 8, 0o755),
    ]  # fmt: skip
    assert built.image.config.runtime.working_dir == "/a/b/c"
