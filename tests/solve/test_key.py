"""Keys: every field of an op counts, unless it says why not; and they are what earlier versions made."""

from __future__ import annotations

from typing import Any

import pytest

from imagesmith.context.origins import ContextFiles
from imagesmith.dockerfile.mounts import parse_mount
from imagesmith.oci.names import Platform
from imagesmith.ops.add import AddOp
from imagesmith.ops.copy import CopyOp, CopySource
from imagesmith.ops.mkdir import MakeDirOp
from imagesmith.ops.root import RootOp
from imagesmith.ops.run import RunOp
from imagesmith.ops.runmount import RunMount
from imagesmith.solve.key import counted_as, key_of, op_part, parts_of, uncounted
from imagesmith.solve.step import Op, Step
from imagesmith.values import field, field_names, frozen, note_of

HERE = ContextFiles("context", "/src")


@frozen(kw_only=True)
class MoreCopy(CopyOp):
    """COPY with a field more, as somebody may add one tomorrow."""

    checksum: str = ""
    shown: bool = field(default=False, note=uncounted("a test says so"))
    times: int = field(default=0, note=counted_as("n", lambda n: n % 2))

    kind = "copy"


def key(op: Op) -> str:
    """The key of an op on nothing."""
    return key_of(parts_of(op, None, ()))


def more(**words: Any) -> MoreCopy:
    """A copy with some fields."""
    return MoreCopy(sources=(CopySource(HERE, "f"),), dest="/f", **words)


def test_field_that_is_added_is_in_the_key_by_itself() -> None:
    assert key(more(checksum="a")) != key(more(checksum="b"))
    assert key(more(shown=True)) == key(more())
    assert key(more(times=1)) != key(more())
    assert key(more(times=2)) == key(more())


def test_field_that_is_added_is_in_the_digest_of_a_step_whatever_it_says() -> None:
    digests = {Step.of(more(**words), None, "").step_digest for words in ({}, {"shown": True}, {"times": 2})}
    assert len(digests) == 3


#: For each op: one of it, and another value for each of its fields.
OPS: list[tuple[Op, dict[str, Any]]] = [
    (
        AddOp(sources=(CopySource(HERE, "f"),), dest="/f"),
        {
            "sources": (CopySource(HERE, "g"),), "dest": "/g", "chown": "1", "chmod": "1", "link": True,
            "parents": True, "excludes": ("x",), "unpack": True,
        },
    ),
    (MakeDirOp(path="/w"), {"path": "/v", "user": "u", "time_ns": 5}),
    (RootOp(HERE), {"origin": ContextFiles("other", "/o")}),
    (
        RunOp(argv=("x",), env=(), cwd="/"),
        {
            "argv": ("y",), "env": (("a", "b"),), "cwd": "/w", "user": "u",
            "mounts": (RunMount(parse_mount("target=/m", str)),), "network": "none", "security": "insecure",
            "proxy_env": (("http_proxy", "p"),), "hostname": "h", "extra_hosts": (("h", "1.2.3.4"),),
            "shm_size_bytes": 5, "ulimits": (("nofile", 1, 2),), "cgroup_parent": "c",
            "platform": Platform.parse("linux/arm64"),
        },
    ),
]  # fmt: skip
LEFT_OUT = {"RootOp": {"origin"}, "RunOp": {"proxy_env", "shm_size_bytes", "cgroup_parent"}}


@pytest.mark.parametrize(("op", "others"), OPS, ids=[type(op).__name__ for op, _ in OPS])
def test_each_field_counts_but_for_those_that_say_why_not(op: Op, others: dict[str, Any]) -> None:
    assert set(others) == set(field_names(op))
    same = set()
    for name, value in others.items():
        changed = type(op)(**{n: getattr(op, n) for n in field_names(op)} | {name: value})
        if key(changed) == key(op):
            same.add(name)
            assert getattr(note_of(op, name), "why", "")
    assert same == LEFT_OUT.get(type(op).__name__, set())


def test_keys_are_those_of_earlier_versions() -> None:
    mounts = tuple(
        RunMount(parse_mount(text, str))
        for text in (
            "type=bind,source=s,target=/b", "type=cache,target=/c,id=i,sharing=locked",
            "type=tmpfs,target=/t,size=9", "type=secret,id=s,mode=0400,uid=1", "type=ssh,required=true",
        )
    )  # fmt: skip
    run = RunOp(
        argv=("/bin/sh", "-c", "make"), env=(("PATH", "/bin"), ("A", "é")), cwd="/w", user="u", mounts=mounts,
        network="none", hostname="h", extra_hosts=(("x", "1.2.3.4"),), ulimits=(("nofile", 1, 2),),
        platform=Platform.parse("linux/amd64"), shm_size_bytes=7,
    )  # fmt: skip
    copy = CopyOp(
        sources=(CopySource(HERE, "f"), CopySource(None, "/g")), dest="/d/", chown="1:2", chmod="u+x",
        link=True, parents=True, excludes=("a", "b"),
    )  # fmt: skip
    made = [op_part(op) for op in (run, copy, AddOp(sources=(), dest="/"), MakeDirOp(path="/w", time_ns=1))]
    assert made == [
        {
            "kind": "run", "argv": ["/bin/sh", "-c", "make"], "env": ["PATH=/bin", "A=é"],
            "cwd": "/w", "user": "u",
            "mounts": [
                {"type": "bind", "target": "/b", "source": "s", "readonly": True},
                {"type": "cache", "target": "/c", "source": "", "readonly": False},
                {"type": "tmpfs", "target": "/t", "size": 9},
                {"type": "secret", "target": "", "id": "s", "required": False, "env": None, "mode": 0o400,
                 "uid": 1, "gid": None},
                {"type": "ssh", "target": "", "id": "default", "required": True, "env": None, "mode": None,
                 "uid": None, "gid": None},
            ],
            "network": "none", "security": "sandbox", "hostname": "h", "hosts": ["x"],
            "ulimits": [["nofile", 1, 2]], "platform": "linux/amd64",
        },
        {
            "kind": "copy", "dest": "/d/", "paths": ["f", "/g"], "chown": "1:2", "chmod": "u+x", "link": True,
            "parents": True, "excludes": ["a", "b"], "unpack": False,
        },
        {
            "kind": "add", "dest": "/", "paths": [], "chown": "", "chmod": "", "link": False,
            "parents": False, "excludes": [], "unpack": None,
        },
        {"kind": "mkdir", "path": "/w", "user": "", "time": 1},
    ]  # fmt: skip
    assert op_part(RootOp(HERE)) == {"kind": "RootOp"}
