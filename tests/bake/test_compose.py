"""Compose files as targets: every key of `build`, merging, extends, include, x-bake; faults."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesmith.bake.compose import Composed, environment, read
from imagesmith.bake.places import Source
from imagesmith.bake.reading import Folder
from imagesmith.bake.target import printed
from imagesmith.errors import DefinitionError


def _read(*texts: str, env: dict[str, str] | None = None, folder: Path | None = None) -> Composed:
    sources = [Source(f"c{n}.yaml", text) for n, text in enumerate(texts)]
    return read(sources, env or {}, Folder(str(folder or "/nonexistent")))


def _build(build: str, *later: str, env: dict[str, str] | None = None, more: str = "") -> dict[str, object]:
    """What a service with this `build` (and its later ones) is printed as, its context left out."""
    texts = [f"services:\n  a:\n    build:\n{_indented(text)}" for text in (build, *later)]
    texts[0] += more
    found = printed(_read(*texts, env=env).targets["a"])
    assert found.pop("context") == "."
    return found


def _indented(text: str) -> str:
    return "".join(f"      {line}\n" for line in text.strip("\n").split("\n"))


def test_services_with_a_build_are_targets_in_order() -> None:
    found = _read(
        "services: {z: {build: .}, db: {image: postgres}, web.app: {build: {context: app}, image: r/w}, n: }"
    )
    assert list(found.targets) == ["z", "web_app"]
    assert (found.group.name, found.group.targets) == ("default", ("z", "web_app"))
    assert printed(found.targets["web_app"]) == {"context": "app", "tags": ["r/w"]}
    span = found.targets["web_app"].span
    assert span is not None
    assert span.text == "web.app"


SECRETS = "secrets: {f: {file: ./s}, e: {environment: TOKEN}, n: {}}\n"


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        ("dockerfile: D", {"dockerfile": "D"}),
        ("dockerfile_inline: |\n  FROM scratch\n", {"dockerfile-inline": "FROM scratch\n"}),
        (
            "args: {A: 1, B: 3.10, C: true, D: '', E: }",
            {"args": {"A": "1", "B": "3.1", "C": "true", "D": ""}},
        ),
        ("args: [A=1=2, B=, HERE, GONE]", {"args": {"A": "1=2", "B": "", "HERE": "env"}}),
        ("labels: {a.b: c}", {"labels": {"a.b": "c"}}),
        ("labels: [a.b=c, d]", {"labels": {"a.b": "c", "d": ""}}),
        ("tags: [x, y, x]", {"tags": ["x", "y"]}),
        ("platforms: [linux/amd64]", {"platforms": ["linux/amd64"]}),
        ("target: t\nnetwork: host", {"target": "t", "network": "host"}),
        ("no_cache: true\npull: 'yes'", {"no-cache": True, "pull": True}),
        ("no_cache: false\npull: off", {}),
        (
            "cache_from: [u/i, 'type=gha,scope=x']\ncache_to: ['type=inline']",
            {
                "cache-from": [{"type": "registry", "ref": "u/i"}, {"type": "gha", "scope": "x"}],
                "cache-to": [{"type": "inline"}],
            },
        ),
        (
            "additional_contexts: {a: service:w.x, b: docker-image://y, c: ../d}",
            {"contexts": {"a": "target:w_x", "b": "docker-image://y", "c": "../d"}},
        ),
        ("additional_contexts: ['a=target:w.x']", {"contexts": {"a": "target:w_x"}}),
        (
            "ssh: [default, k=/p]",
            {"ssh": [{"id": "default"}, {"id": "k", "paths": ["/p"]}]},
        ),
        ("ssh: default", {"ssh": [{"id": "default"}]}),
        ("ssh: {b: /p, a: }", {"ssh": [{"id": "a"}, {"id": "b", "paths": ["/p"]}]}),
        (
            "secrets: [f, {source: e, target: /x}, n]",
            {"secret": [{"id": "f", "src": "./s"}, {"id": "e", "env": "TOKEN"}, {"id": "n"}]},
        ),
        ("shm_size: 64m", {"shm-size": "64MiB"}),
        ("shm_size: 1.5gb", {"shm-size": "1.5GiB"}),
        ("shm_size: 1000", {"shm-size": "1000B"}),
        ("shm_size: 0", {}),
        (
            "ulimits: {nproc: 65535, nofile: {soft: 1, hard: 2}}",
            {"ulimits": ["nproc=65535:65535", "nofile=1:2"]},
        ),
        ("extra_hosts: ['h:1.2.3.4', 'h=::1']", {"extra-hosts": {"h": "1.2.3.4,::1"}}),
        ("extra_hosts: {h: 1.2.3.4, i: [a, b]}", {"extra-hosts": {"h": "1.2.3.4", "i": "a,b"}}),
        (
            "provenance: mode=max\nsbom: true",
            {"attest": [{"type": "sbom"}, {"type": "provenance", "mode": "max"}]},
        ),
        ("provenance: false", {"attest": [{"type": "provenance", "disabled": True}]}),
        (
            "entitlements: [network.host]\nprivileged: true",
            {"entitlements": ["network.host", "security.insecure"]},
        ),
        ("no_cache_filter: [a]\nisolation: default", {"no-cache-filter": ["a"]}),
    ],
)
def test_key_of_build(build: str, wanted: dict[str, object]) -> None:
    assert _build(build, env={"HERE": "env"}, more=SECRETS) == wanted


def test_x_bake_adds_to_what_build_says() -> None:
    build = """
tags: [a]
cache_from: [x]
ssh: [z]
additional_contexts: {c: own}
pull: true
x-bake:
  tags: a b  c
  cache-from: [x, y]
  cache-to: type=inline type=gha
  secret: [id=s, "id=t,src=/f"]
  ssh: k
  platforms: [linux/arm64]
  output: type=docker
  pull: false
  no-cache: true
  no-cache-filter: s1 s2
  contexts: {c: other, d: "service:e.f"}
"""
    assert _build(build) == {
        "tags": ["a", "b", "c"],
        "cache-from": [{"type": "registry", "ref": "x"}, {"type": "registry", "ref": "y"}],
        "cache-to": [{"type": "inline"}, {"type": "gha"}],
        "secret": [{"id": "s"}, {"id": "t", "src": "/f"}],
        "ssh": [{"id": "k"}, {"id": "z"}],
        "platforms": ["linux/arm64"],
        "output": [{"type": "docker"}],
        "pull": False,
        "no-cache": True,
        "no-cache-filter": ["s1", "s2"],
        "contexts": {"c": "own", "d": "target:e_f"},
    }


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("args: {A: 1, B: 2}", "args: [B=3, C=4]", {"args": {"A": "1", "B": "3", "C": "4"}}),
        ("labels: [a=1]", "labels: {a: 2}", {"labels": {"a": "2"}}),
        ("tags: [x, y]", "tags: [y, z]", {"tags": ["x", "y", "z"]}),
        ("target: t", "target:", {"target": "t"}),
        ("dockerfile: D", "dockerfile: E", {"dockerfile": "E"}),
        (
            "cache_from: [x]",
            "cache_from: [y]",
            {"cache-from": [{"type": "registry", "ref": r} for r in "xy"]},
        ),
        ("tags: [x]", "tags: !override [z]", {"tags": ["z"]}),
        ("tags: [x]\ntarget: t", "tags: !reset []\ntarget: !reset", {}),
        ("args: {A: 1, B: 2}", "args: {A: !reset 0}", {"args": {"B": "2"}}),
        ("extra_hosts: [h=1, h=2]", "extra_hosts: {h: [2, 3]}", {"extra-hosts": {"h": "1,2,3"}}),
        ("ulimits: {n: 1}", "ulimits: {n: {soft: 2, hard: 3}}", {"ulimits": ["n=2:3"]}),
        ("x-bake: {tags: a, pull: true}", "x-bake: {tags: b}", {"tags": ["b"]}),
        ("target: !reset t\ntags: !override [a]", "labels: {}", {"tags": ["a"]}),
    ],
)
def test_later_file_comes_over_an_earlier_one(first: str, second: str, wanted: dict[str, object]) -> None:
    assert _build(first, second) == wanted


def test_service_can_be_reset_and_documents_are_merged() -> None:
    found = _read(
        "services: {a: {build: x}, b: {build: .}}\n---\nservices: {b: {build: y}}", "services: {a: !reset }"
    )
    assert {name: t.attributes["context"] for name, t in found.targets.items()} == {"b": "y"}


def test_extends_and_include_see_their_paths_from_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "sub/deep").mkdir(parents=True)
    (tmp_path / "sub/.env").write_text("TAG=sub\nOUTER=not me\n")
    (tmp_path / "sub/e.env").write_text("FROM_FILE=${OUTER}!\n")
    (tmp_path / "sub/c.yaml").write_text(
        "include: [deep/d.yaml]\n"
        "services:\n"
        "  inc: {build: {dockerfile: D.$TAG, additional_contexts: [p=../p, q=docker-image://q]}}\n"
        "  base: {env_file: e.env, build: {context: ./b, args: {FROM_FILE: , X: '1'}, secrets: [s]}}\n"
        "secrets: {s: {file: s.txt}}\n"
    )
    (tmp_path / "sub/deep/d.yaml").write_text(
        "services: {deep: {build: https://h/r.git}, deeper: {build: ./x}}"
    )
    text = """
include: [{path: sub/c.yaml}]
services:
  own: {extends: {file: sub/c.yaml, service: base}, build: {args: [X=2], secrets: !reset []}}
  again: {extends: own, build: {target: t}}
"""
    found = _read(text, env={"OUTER": "env"}, folder=tmp_path)
    assert {name: printed(t) for name, t in found.targets.items()} == {
        "deep": {"context": "https://h/r.git"},
        "deeper": {"context": "sub/deep/x"},
        "inc": {
            "context": "sub", "dockerfile": "D.sub", "contexts": {"p": "p", "q": "docker-image://q"},
        },
        "base": {
            "context": "sub/b", "args": {"FROM_FILE": "env!", "X": "1"},
            "secret": [{"id": "s", "src": "sub/s.txt"}],
        },
        "own": {"context": "sub/b", "args": {"FROM_FILE": "env!", "X": "2"}},
        "again": {"context": "sub/b", "args": {"FROM_FILE": "env!", "X": "2"}, "target": "t"},
    }  # fmt: skip


def test_extends_in_another_folder_goes_on_there(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    (tmp_path / "x/c.yaml").write_text(
        "services: {a: {extends: {file: ../y/c.yaml, service: a}, build: {target: t}}}"
    )
    (tmp_path / "y/c.yaml").write_text("services: {a: {build: ./here}}")
    found = _read("services: {a: {extends: {file: x/c.yaml, service: a}}}", folder=tmp_path)
    assert printed(found.targets["a"]) == {"context": "y/here", "target": "t"}


def test_args_without_value_are_the_services_variables_first() -> None:
    text = "services: {a: {environment: {A: own, B: }, build: {args: [A, B, C, D]}}}"
    found = _read(text, env={"A": "env", "B": "b", "C": "c"})
    assert found.targets["a"].attributes["args"] == {"A": "own", "B": "b", "C": "c"}


def test_environment_is_that_of_dot_env_then_the_process_then_var(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB=file\nC=file\n")
    found = environment({"B": "env", "C": "env"}, Folder(str(tmp_path)), {"C": "var"})
    assert found == {"A": "file", "B": "env", "C": "var"}
    assert environment({"B": "env"}, Folder("/nonexistent")) == {"B": "env"}


@pytest.mark.parametrize(
    ("text", "said", "place"),
    [
        ("a: 1", "empty compose file", (1, 0)),
        ("[]", "a compose file is a mapping", (1, 0)),
        ("services: [a]", "services must be a mapping", (1, 10)),
        ("services:\n  a: b", "services.a must be a mapping", (2, 5)),
        (
            "services:\n  a:\n    build:\n      tag: [x]",
            "services.a.build has no key 'tag' (did you mean tags?)", (4, 6),
        ),
        ("services: {a: {build: {tags: x}}}", "tags must be a list", (1, 29)),
        ("services: {a: {build: {args: 1}}}", "args must be a mapping", (1, 29)),
        ("services: {a: {build: {args: {x: [1]}}}}", "args.x must be a string", (1, 33)),
        ("services: {a: {build: {pull: maybe}}}", "pull must be true or false, not 'maybe'", (1, 29)),
        ("services: {a: {build: {shm_size: big}}}", "shm_size: 'big' is no size", (1, 33)),
        ("services: {a: {build: {ulimits: {n: x}}}}", "ulimits.n needs a whole number", (1, 36)),
        ("services: {a: {build: {ulimits: {n: {soft: 2, hard: 1}}}}}", "soft 2 is more than hard 1", (1, 36)),
        ("services: {a: {build: {secrets: [s]}}}", "service a refers to undefined build secret s", (1, 33)),
        (
            "secrets: {s: {external: true}}\nservices: {a: {build: {secrets: [s]}}}",
            "unsupported external secret s", (1, 13),
        ),
        ("services: {a: {build: {cache_to: ['foo=1']}}}", "cache-to: type required", (1, 33)),
        ("services: {a: {build: {x-bake: {tag: x}}}}", "x-bake has no key 'tag'", (1, 32)),
        ("services: {a: {build: {isolation: hyperv}}}", "isolation is of Windows", (1, 34)),
        ("services: {a/b: {build: .}}", "invalid service name 'a/b'", (1, 11)),
        ("services: {a.b: {build: .}, a_b: {build: .}}", "another service is target a_b", (1, 28)),
        ("services: {a: {build: 'x${'}}", "invalid template: '${'", (1, 24)),
        (
            "services: {a: {image: '${TAG:?set it}'}}",
            "required variable TAG is missing a value: set it", (1, 23),
        ),
        ("services: {a: {extends: b}}", "cannot extend service a: there is no service b", (1, 24)),
        ("services: {a: {extends: a}}", "service a extends itself", (1, 24)),
        ("services: {a: {extends: b}, b: {extends: c}, c: {extends: b}}", "extends itself", (1, 58)),
        ("include: x.yaml", "include must be a list", (1, 9)),
        ("include: [x.yaml]", "x.yaml: no such file", (1, 10)),
        ("include: [{paths: x}]", "include has no key 'paths'", (1, 10)),
    ],
)  # fmt: skip
def test_fault_points_to_its_place(text: str, said: str, place: tuple[int, int]) -> None:
    with pytest.raises(DefinitionError) as e:
        _read(text)
    assert said in e.value.message
    assert (e.value.file, e.value.line, e.value.column) == ("c0.yaml", *place)


def test_files_of_different_kinds_are_refused_where_the_second_is() -> None:
    with pytest.raises(DefinitionError, match=r"^cannot override services\.a\.build\.tags") as e:
        _read("services: {a: {build: {tags: [x]}}}", "services: {a: {build: {tags: {y: 1}}}}")
    assert (e.value.file, e.value.column) == ("c1.yaml", 29)


def test_includes_that_conflict_or_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("services: {a: {build: x}}")
    (tmp_path / "loop.yaml").write_text("include: [loop.yaml]\nservices: {b: {build: x}}")
    with pytest.raises(DefinitionError, match=r"^services\.a conflicts with the one of one\.yaml"):
        _read("include: [one.yaml]\nservices: {a: {build: y}}", folder=tmp_path)
    assert list(
        _read("include: [one.yaml]\nservices: {a: {build: ./x}}".replace("./", ""), folder=tmp_path).targets
    )
    with pytest.raises(DefinitionError, match=r"include cycle detected: loop\.yaml includes loop\.yaml"):
        _read("include: [loop.yaml]", folder=tmp_path)


def test_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("services: {a: {build: x}}")
    rows = "".join(f"  s{n}: {{extends: {{file: b.yaml, service: a}}}}\n" for n in range(120))
    with pytest.raises(DefinitionError, match="more than 100 files"):
        _read(f"services:\n{rows}", folder=tmp_path)


def test_what_variables_make_is_bounded() -> None:
    rows = "".join(f"  a{n}: {{image: $LONG}}\n" for n in range(400))
    with pytest.raises(DefinitionError, match="variables make more than 32 MiB"):
        _read(f"services:\n{rows}", env={"LONG": "x" * 100_000})


def test_what_extends_makes_is_bounded() -> None:
    chain = "".join(f"  s{n}: {{extends: s{n + 1}}}\n" for n in range(60))
    with pytest.raises(DefinitionError, match="more than 50 deep"):
        _read(f"services:\n{chain}  s60: {{build: .}}\n")
    labels = ", ".join(f"l{n}: x" for n in range(9000))
    many = "".join(f"  s{n}: {{extends: s, build: {{labels: {{l: y}}}}}}\n" for n in range(200))
    with pytest.raises(DefinitionError, match="more than 1,000,000 values"):
        _read(f"services:\n  s: {{build: {{labels: {{{labels}}}}}}}\n{many}")


def test_stranger_reads_nothing_outside_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "out.yaml").write_text("services: {a: {build: x}}")
    os.symlink("../out.yaml", inside / "link.yaml")
    os.mkfifo(inside / "pipe.yaml")
    for path in ("../out.yaml", str(tmp_path / "out.yaml"), "link.yaml"):
        with pytest.raises(DefinitionError, match="outside of what the definition came with"):
            read([Source("c", f"include: ['{path}']")], {}, Folder(str(inside), closed=True))
    with pytest.raises(DefinitionError, match="not a file"):
        read([Source("c", "include: [pipe.yaml]")], {}, Folder(str(inside), closed=True))
    assert list(_read("include: [../out.yaml]", folder=inside).targets) == ["a"]


#: Words of compose files, so that what is made of them by chance gets far.
_WORDS = (
    "services", "secrets", "include", "x-bake", "a", "b", "build", "context", "args", "labels",
    "tags", "platforms", "ssh", "ulimits", "soft", "hard", "extra_hosts", "env_file", "path",
    "required", "environment", "additional_contexts", "cache_from", "shm_size", "provenance",
    "privileged", "extends", "service", "file", "external", "source", "secret", "output",
    "contexts", "pull", "dockerfile_inline",
)  # fmt: skip
_TEXTS = st.sampled_from(
    (*_WORDS, "", "a=b", "$A", "${A:-b}", "type=x", "1m", "../x", "service:a", "/", "\0", "é")
)
_KEYS = st.sampled_from(_WORDS)
_SCALARS = st.none() | st.booleans() | st.integers(-2, 99) | st.floats() | _TEXTS
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_BUILDS = st.fixed_dictionaries({}, optional={"build": st.dictionaries(_KEYS, _VALUES, max_size=3)})
_SERVICES = st.dictionaries(
    st.sampled_from(("a", "b")), _BUILDS | st.dictionaries(_KEYS, _VALUES, max_size=3)
)
_FILES = (
    st.fixed_dictionaries({"services": _SERVICES}, optional={"secrets": _VALUES, "include": _VALUES})
    | _VALUES
)


@given(st.lists(_FILES, min_size=1, max_size=2))
@settings(deadline=None)
def test_any_files_are_read_or_refused(files: list[object]) -> None:
    said = ""
    try:
        found = _read(*(json.dumps(file, ensure_ascii=False) for file in files), env={"A": "x"})
        for target in found.targets.values():
            printed(target)
    except DefinitionError as e:
        said = e.message
    assert "\n" not in said
