"""--allow: what a definition may do, and what it is told that it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.bake.allowing import Allowed, Needs, needs_of, parse_allowed
from imagesmith.bake.overrides import overrides_of
from imagesmith.bake.selection import Selection
from imagesmith.bake.target import Attributes, Setting, Target
from imagesmith.errors import UsageError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here" / "dir").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def needs(
    *allow: str, sets: tuple[str, ...] = (), env: dict[str, str] | None = None, remote: bool = False,
    said: Attributes | None = None, **attributes: Setting,
) -> Needs:  # fmt: skip
    app = Target(name="app", attributes=said or attributes)
    one = Selection(targets={"app": app}, groups={})
    overrides = overrides_of(sets, ["app"], {})
    return needs_of(one, parse_allowed(allow), overrides, env or {}, remote=remote)


_OUTSIDE: Attributes = {
    "context": "/srv/c", "dockerfile": "../D", "contexts": {"a": "/opt/a", "l": "oci-layout:///opt/l:1"},
    "cache-from": ({"type": "local", "src": "/srv/from"},),
    "cache-to": ({"type": "local", "dest": "/srv/to"},),
    "secret": ({"id": "s", "src": "/etc/secret"},), "ssh": ({"id": "k", "paths": "/etc/k1,/etc/k2"},),
    "output": ({"type": "local", "dest": "/srv/out"}, {"type": "tar", "dest": "-"}),
}  # fmt: skip


def test_what_is_outside_is_asked_for(here: Path) -> None:
    found = needs(said=_OUTSIDE)
    assert found.values == (
        "fs.read=/etc/k1", "fs.read=/etc/k2", "fs.read=/etc/secret", "fs.read=/opt/a", "fs.read=/opt/l",
        "fs.read=/srv/D", "fs.read=/srv/c", "fs.read=/srv/from", "fs.write=/srv/out", "fs.write=/srv/to",
    )  # fmt: skip
    assert found.lines[0] == "Read access to path /etc/k1"
    assert found.flags.startswith("--allow=fs.read=/etc/k1 --allow=")
    assert needs(*found.values, said=_OUTSIDE) == Needs()
    assert needs("fs=*", said=_OUTSIDE) == needs("fs=/", said=_OUTSIDE) == Needs()
    assert [v for v in needs("fs.read=*", said=_OUTSIDE).values if "read" in v] == []
    assert needs(env={"BUILDX_BAKE_ENTITLEMENTS_FS": "0"}, said=_OUTSIDE) == Needs()


def test_what_is_below_the_working_folder_is_allowed(here: Path) -> None:
    inside: Attributes = {
        "context": "dir", "dockerfile": "../D", "secret": ({"id": "s", "src": "./dir/../s"}, {"id": "t"}),
        "output": ({"type": "local", "dest": "out"},), "contexts": {"t": "target:x", "u": "docker-image://u"},
        "cache-from": ({"type": "registry", "ref": "r"},),
    }  # fmt: skip
    assert not needs(said=inside)
    assert not needs(context="https://x.example/r.git", dockerfile="../../D")


def test_links_count_as_where_they_lead(here: Path) -> None:
    (here / "link").symlink_to("/etc")
    assert needs(context="link").values == ("fs.read=/etc",)
    assert needs(output=({"type": "local", "dest": "link/new"},)).values == ("fs.write=/etc/new",)
    (here.parent / "in").symlink_to(here)
    assert not needs(context="../in/dir")
    assert not needs("fs.read=link", context="/etc")


def test_names_that_begin_alike_are_others(here: Path) -> None:
    assert needs(context="../here2").values == (f"fs.read={here}2",)


def test_what_is_read_and_written_is_one() -> None:
    found = needs(context="/srv/a", output=({"type": "local", "dest": "/srv/a"},))
    assert found.values == ("fs=/srv/a",)
    assert found.lines == ("Read and write access to path /srv/a",)


def test_a_folder_stands_for_what_is_below_it() -> None:
    assert needs(contexts={"a": "/srv/a/b", "b": "/srv/a", "c": "/srv/ab"}).values == (
        "fs.read=/srv/a", "fs.read=/srv/ab",
    )  # fmt: skip


def test_other_ways_to_name_a_file() -> None:
    assert needs(output=({"type": "local", "output": "/srv/o"},)).values == ("fs.write=/srv/o",)
    assert needs(secret=({"id": "/etc/shadow"},)).values == ("fs.read=/etc/shadow",)
    assert not needs(secret=({"id": "/etc/shadow", "type": "env"},))


def test_words() -> None:
    asks: Attributes = {
        "entitlements": ("network.host", "security.insecure", "other"), "ssh": ({"id": "default"},),
        "output": ({"type": "local", "dest": "out", "mode": "delete"},),
    }  # fmt: skip
    found = needs(said=asks)
    assert found.values == ("network.host", "security.insecure", "ssh", "buildx.local.delete")
    assert needs(*found.values, said=asks) == Needs()
    free = {"BUILDX_BAKE_ENTITLEMENTS_FS": "false"}
    assert needs(env=free, said=asks).values == ("network.host", "security.insecure", "buildx.local.delete")
    assert needs(env={"BUILDX_BAKE_ENTITLEMENTS_FS": "1"}, said=asks) == found
    elsewhere = {"BAKE_ALLOW_REMOTE_FS_ACCESS": "1"}
    assert needs(env=elsewhere, said=asks) == found
    assert len(needs(env=elsewhere, remote=True, said=asks).values) == 3
    with pytest.raises(UsageError, match="BUILDX_BAKE_ENTITLEMENTS_FS"):
        needs(env={"BUILDX_BAKE_ENTITLEMENTS_FS": "perhaps"}, said=asks)


def test_what_the_user_sets_is_said() -> None:
    sets = (
        "app.output=type=local,dest=/srv/out", "app.cache-to=type=local,dest=/srv/to",
        "app.ssh=k=/etc/k1,/etc/k2",
        "app.cache-from=type=local,src=/srv/from", "app.secrets=id=s,src=/etc/secret",
    )  # fmt: skip
    left = needs(sets=sets, said=_OUTSIDE).values
    assert left == ("fs.read=/opt/a", "fs.read=/opt/l", "fs.read=/srv/D", "fs.read=/srv/c")
    assert not needs(sets=("app.entitlements=network.host",), entitlements=("network.host",))
    assert not needs(sets=("app.network=host",), entitlements=("network.host",))
    assert not needs(sets=("app.network=host",), network="host")
    assert needs(sets=("app.network=none",), network="host").values == ("network.host",)
    assert needs(sets=("app.context=/srv/c",), context="/srv/c")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fs", "fs=PATH says what"), ("fs.read=", "fs.read=PATH"), ("device=gpu", "no devices"),
        ("network.hots", "did you mean network.host?"),
        ("image.push=x", 'unknown entitlement key "image.push"'),
    ],
)  # fmt: skip
def test_what_cannot_be_allowed(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_allowed([text])
    assert said in caught.value.message


def test_what_is_allowed() -> None:
    assert parse_allowed(["ssh", "fs=a", "fs.read=b", "fs.write=c=d"]) == Allowed(
        words=frozenset({"ssh"}), reads=("a", "b"), writes=("a", "c=d")
    )


def test_network_of_the_machine_is_asked_for_whatever_is_said_to_be_needed(here: Path) -> None:
    assert needs(network="host").values == ("network.host",)
    assert not needs("network.host", network="host")
    assert not needs(network="none")
