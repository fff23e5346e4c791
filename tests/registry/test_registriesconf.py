"""registries.conf: which file is read, which table counts, and what in it is a mistake."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import Denied, UsageError
from imagesmith.registry import registriesconf
from imagesmith.registry.registriesconf import Location, Registry, load, match
from tests.registry.conftest import hosts, places

CONF = """
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "mirror.example/hub"
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"
insecure = true

[[registry]]
prefix = "old.example/team"
location = "new.example/moved"

[[registry]]
prefix = "bad.example"
location = "bad.example"
blocked = true

[[registry]]
prefix = "bad.example/good"
location = "bad.example/good"

[[registry]]
prefix = "*.wild.example"
location = "wild.example/x"
"""


BARE = """# For more information, see containers-registries.conf(5)
unqualified-search-registries = ["docker.io", "quay.io"]
short-name-mode = "enforcing"

[aliases]
  # almalinux é
  "almalinux" = "docker.io/library/almalinux"
"""


def test_files_without_tables_are_read_without_the_parser(tmp_path: Path) -> None:
    for text in (BARE, "", "#", BARE[:-1]):
        (tmp_path / "c").write_text(text)
        code = "from imagesmith.registry.registriesconf import load; import sys; from pathlib import Path\n"
        code += "print(load({}, Path(), sys.argv[1]), 'tomllib' in sys.modules)"
        command = [sys.executable, "-c", code, str(tmp_path / "c")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[] False"


_MORE = (
    *(
        "[[registry]]",
        'location = "a.example"',
        '"registry" = "b"',
        'registry = "b"',
        "[registries]",
        "search = []",
    ),
    *('"a" = "b" "c"', "a = 1", "\x01", "[aliases] x", '"a\\\\"="b"', 'short-name-mode = """', '"""'),
)
_lines = st.sampled_from([*BARE.split("\n"), *_MORE])


@given(st.lists(_lines, max_size=8), st.sampled_from(["", "\n"]))
def test_what_is_taken_for_bare_holds_no_table(lines: list[str], end: str) -> None:
    text = "\n".join(lines) + end
    if registriesconf._is_bare(text):
        with contextlib.suppress(tomllib.TOMLDecodeError):  # an alias twice
            assert not {"registry", "registries"} & tomllib.loads(text).keys()


def test_mirrors_are_read_before_the_registry_and_not_written(tmp_path: Path) -> None:
    h = hosts(tmp_path, CONF)
    readers = list(h.readers("docker.io", "library/a"))
    assert places(readers) == ["mirror.example", "digests.example", "registry-1.docker.io"]
    assert [r.use for r in readers] == ["all", "digest-only", "all"]
    assert readers[0].rewrite == ("docker.io", "mirror.example/hub")
    assert readers[1].schemes == ("https", "http")
    assert h.writer("docker.io", "library/a").host == "registry-1.docker.io"


def test_location_replaces_the_prefix(tmp_path: Path) -> None:
    h = hosts(tmp_path, CONF)
    assert h.writer("old.example", "team/app").rewrite == ("old.example/team", "new.example/moved")
    assert h.writer("old.example", "teamwork/app").host == "old.example"
    assert h.writer("a.wild.example", "app").rewrite == ("a.wild.example", "wild.example/x")


def test_blocked_registry_is_refused_but_for_longer_prefixes(tmp_path: Path) -> None:
    h = hosts(tmp_path, CONF)
    with pytest.raises(Denied, match="blocked"):
        h.readers("bad.example", "app")
    assert places(list(h.readers("bad.example", "good/app"))) == ["bad.example"]


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ("[[registry]]\nprefix='a.example'", "location is unset"),
        ("[[registry]]\nlocation='https://a.example'", "URI schemes"),
        ("[registries.search]\nregistries=['a']\n[[registry]]\nlocation='a'", "mixing"),
        ("[[registry]]\nlocation='a'\nblocked='yes'", "blocked must be"),
        (
            "[[registry]]\nlocation='a'\n[[registry.mirror]]\nlocation='b'\npull-from-mirror='x'",
            "pull-from-mirror",
        ),
        ("[[registry", "registries.conf"),
    ],
)
def test_malformed_configuration_is_named(tmp_path: Path, conf: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        hosts(tmp_path, conf).readers("a", "b")


def test_later_files_of_the_folder_beside_win(tmp_path: Path) -> None:
    folder = tmp_path / "registries.conf.d"
    folder.mkdir()
    (folder / "1.conf").write_text("[[registry]]\nlocation='a.example'\nblocked=true")
    (folder / "2.conf").write_text("[[registry]]\nlocation='a.example'")
    assert places(list(hosts(tmp_path).readers("a.example", "x"))) == ["a.example"]


def loaded(tmp_path: Path, text: str) -> list[Registry]:
    """The tables of a file."""
    (tmp_path / "file.conf").write_text(text)
    return load({}, tmp_path, str(tmp_path / "file.conf"))


def test_file_that_is_named_counts_before_the_environment_s_and_the_home_s(tmp_path: Path) -> None:
    home = tmp_path / ".config/containers"
    home.mkdir(parents=True)
    for path, where in ((home / "registries.conf", "h"), (tmp_path / "env", "e"), (tmp_path / "flag", "f")):
        path.write_text(f"[[registry]]\nlocation='{where}.example'\n")
    environ = {"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "env")}
    found = [load({}, tmp_path), load(environ, tmp_path), load(environ, tmp_path, str(tmp_path / "flag"))]
    assert [[t.location for t in tables] for tables in found] == [["h.example"], ["e.example"], ["f.example"]]


def test_file_that_is_asked_for_and_missing_is_named(tmp_path: Path) -> None:
    for environ, file in (({}, str(tmp_path / "no")), ({"CONTAINERS_REGISTRIES_CONF": "/no/such"}, "")):
        with pytest.raises(UsageError, match="no such file"):
            load(environ, tmp_path, file)


def test_table_has_all_that_it_says(tmp_path: Path) -> None:
    [table] = loaded(
        tmp_path,
        "[[registry]]\nlocation='a.example/x/'\ninsecure=true\nblocked=true\n"
        "[[registry.mirror]]\nlocation='b.example/y/'\n"
        "[[registry.mirror]]\nlocation='c.example'\ninsecure=true\npull-from-mirror='tag-only'\n",
    )
    assert table == Registry(
        prefix="a.example/x",
        location="a.example/x",
        insecure=True,
        blocked=True,
        mirrors=(Location("b.example/y"), Location("c.example", True, "tag-only")),
        file=str(tmp_path / "file.conf"),
    )


def test_mirrors_by_digest_only_are_all_of_a_registry_s(tmp_path: Path) -> None:
    text = (
        "[[registry]]\nlocation='a.example'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='b'\n"
    )
    [table] = loaded(tmp_path, text)
    assert [m.use for m in table.mirrors] == ["digest-only"]
    with pytest.raises(UsageError, match="cannot both be set"):
        loaded(tmp_path, f"{text}pull-from-mirror='tag-only'\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("registry = 5", "must be a list of tables"),
        ("registry = ['a']", "must be a table"),
        ("[[registry]]\nlocation = 5", "location must be a string"),
        ("[[registry]]\nlocation = 'a'\nprefix = 5", "prefix must be a string"),
        ("[[registry]]\nlocation = 'a'\ninsecure = 1", "insecure must be true or false"),
        ("[[registry]]\nlocation = 'a'\nmirror = ['b']", "must be tables"),
        ("[[registry]]\nlocation = 'a'\nmirror = 5", "must be tables"),
        ("[[registry]]\nlocation = 'a'\n[[registry.mirror]]\ninsecure = true", "a mirror without location"),
        ("[[registry]]\nlocation = 'a'\n[[registry.mirror]]\nlocation = 'http://b'", "URI schemes"),
        ("[registries.block]\nregistries = ['a']", "version 1 of the format"),
    ],
)
def test_mistake_is_told_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        loaded(tmp_path, text)
    assert str(tmp_path / "file.conf") in caught.value.message


def test_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "file.conf").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"file\.conf"):
        load({}, tmp_path, str(tmp_path / "file.conf"))


def test_what_is_docker_s_here_is_not_read(tmp_path: Path) -> None:
    text = (
        "unqualified-search-registries = ['q.io']\nshort-name-mode = 'enforcing'\n[aliases]\na = 'b.io/a'\n"
    )
    assert loaded(tmp_path, text) == []


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("a.example", "a.example"),
        ("a.example/x", "a.example"),
        ("a.example/team", "a.example/team"),
        ("a.example/team/app", "a.example/team"),
        ("a.example/team:1", "a.example/team"),
        ("a.example/teams/app", "a.example"),
        ("a.example:5000/x", "a.example"),
        ("b.a.example/x", "*.a.example"),
        ("c.b.a.example/x", "*.a.example"),
        ("b.a.example:5000/x", None),
        ("b.p.example:5000/x", None),  # as containers has it
        ("xa.example/x", None),
        ("other/a.example/x", None),
    ],
)
def test_longest_prefix_at_the_end_of_a_name_counts(name: str, prefix: str | None) -> None:
    prefixes = ("a.example", "a.example/team", "*.a.example", "*.p.example:5000")
    found = match([Registry(prefix=p, location="") for p in prefixes], name)
    assert (None if found is None else found.prefix) == prefix
