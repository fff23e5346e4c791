"""mirror: a list of images, several at the same time, each after what it needs."""

from __future__ import annotations

import threading
from pathlib import Path

from imagesmith.embedded.registry import Registry
from imagesmith.store.store import Store
from tests.cli.conftest import Run
from tests.registry.conftest import PASSWORD, USER, make_htpasswd
from tests.registry.faultproxy import Before, FaultProxy
from tests.registry.images import make_image


def test_mirror_goes_through_its_list_and_counts_what_failed(run: Run, host: str, image: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    lines = f"# a list\n{host}/t/app:1\n\n{host}/t/app:1 {host}/x/y:2  # with a target\n"
    assert run("mirror", "-", "--to", f"{host}/mirror", stdin=lines.encode()).split() == [
        image, f"{host}/mirror/t/app:1", image, f"{host}/x/y:2",
    ]  # fmt: skip
    said = run(
        "mirror", "-", "--to", f"{host}/m", stdin=f"{host}/t/no:1\n{host}/t/app:1\n".encode(), status=7
    )
    assert "1 of 2 images were not mirrored" in said
    assert run("tags", f"{host}/m/t/app") == "1\n"
    assert "-:1: " in run("mirror", "-", stdin=b"a b c\n", status=2)
    assert "cannot read /no/list: No such file" in run("mirror", "/no/list", status=2)


def test_mirror_copies_images_at_the_same_time_and_a_line_after_those_it_needs(
    run: Run, tmp_path: Path
) -> None:
    """Three slow copies of which none ends before all have begun; what one writes another reads."""
    together = threading.Barrier(3, timeout=20)
    with Registry(tmp_path / "registry") as registry, FaultProxy(registry.host) as proxy:
        names = []
        with Store(tmp_path / "store") as store:
            for n in range(3):
                make_image(store, f"app:{n}", layers=({f"{n}": b"x"},))
                names.append(f"{proxy.host}/t/app:{n}")
        for n, name in enumerate(names):
            run("push", f"app:{n}", name)
            proxy.on("GET", f"/t/app/manifests/{n}$", Before(together.wait))
        chain = [f"{name} {name.replace('/t/', '/x/')}" for name in names]
        chain += [f"{name.replace('/t/', '/x/')} oci:layout:{n}" for n, name in enumerate(names)]
        out = run("mirror", "-", stdin="\n".join(chain).encode()).split()
        assert out[1::2] == [line.split()[1] for line in chain]
        assert not proxy.unused
        assert run("tags", "oci:layout") == "0\n1\n2\n"
        assert "no number from 1 to 64" in run("mirror", "-j", "0", "-", status=2)


def test_a_pattern_stands_for_tags_of_a_line(run: Run, host: str, image: str) -> None:
    del image
    for tag in ("v1", "v2", "w1"):
        run("push", "-q", "app:1", f"{host}/t/app:{tag}")
    lines = (
        f"{host}/t/app:v*\n{host}/t/app:regex:[vw]1 {host}/x/some\n{host}/t/app:w1 {host}/x/one:1\n".encode()
    )
    said = run("mirror", "-", "--to", f"{host}/m", stdin=lines).split()[1::2]
    names = [f"m/t/app:v{n}" for n in (1, 2)] + ["x/some:v1", "x/some:w1", "x/one:1"]
    assert said == [f"{host}/{name}" for name in names]
    looked = run("mirror", "-", "--dry-run", "--to", f"{host}/m", stdin=lines + f"{host}/t/app:w1".encode())
    assert [line.partition(" (")[2] for line in looked.splitlines()] == ["is there)"] * 5 + [
        "0 of 3 blobs, 0 B)"
    ]
    said = run("mirror", "-", stdin=f"{host}/t/app:v* {host}/x/y:1".encode(), status=2)
    assert "-:1: " in said
    assert "leave it out" in said
    scoped = run("mirror", "-", "--scoped", "--to", f"{host}/s", stdin=f"{host}/t/app:v1".encode())
    assert scoped.split()[1] == f"{host}/s/{host.replace(':', '-')}/t/app:v1"


def test_a_list_of_skopeos_is_read(run: Run, image: str, tmp_path: Path) -> None:
    htpasswd = make_htpasswd(tmp_path / "htpasswd")
    with Registry(tmp_path / "a", htpasswd=htpasswd) as closed, Registry(tmp_path / "b") as other:
        login = ("--creds", f"{USER}:{PASSWORD}")
        for name in ("app:1.0", "app:1.1", "base:3.1", "base:2.3", "tools:x", "tools:y"):
            run("push", "-q", *login, "app:1", f"{closed.host}/t/{name}")
        text = f"""
{closed.host}:
  images:
    t/app: ["1.0", "{image}"]
    t/tools: []
  images-by-tag-regex:
    t/base: ^3\\.
  images-by-semver:
    t/app: ">= 1.1, < 2"
  credentials: {{username: {USER}, password: "{PASSWORD}"}}
{other.host}:
  tls-verify: false
  images:
    t/none:
"""
        (tmp_path / "sync.yaml").write_text(text)
        said = run("mirror", "sync.yaml", "--to", f"{other.host}/m", status=7)
        assert "1 of 7 images were not mirrored" in said
        assert run("tags", f"{other.host}/m/t/app").split() == ["1.0", "1.1", image[7:39]]
        assert run("tags", f"{other.host}/m/t/tools").split() == ["x", "y"]
        assert run("tags", f"{other.host}/m/t/base").split() == ["3.1"]
        assert "--to PREFIX" in run("mirror", "sync.yaml", status=2)
        for old, new, told in (
            ("images-by-tag-regex", "images-by-name", "sync.yaml:6: images-by-name is not known"),
            (">= 1.1", ">> 1.1", "sync.yaml:9: semver:>> 1.1, < 2: no range of versions"),
            ("  images-by-tag-regex", "  imags", "imags is not known"),
            ("^3", "(^3", "sync.yaml:7: regex:"),
            ("password:", "pass: x, password: [", "sync.yaml:"),
            ("tls-verify: false", "tls-verify: maybe", "sync.yaml:12: tls-verify is true or false"),
            ("t/none:", "T/none:", "sync.yaml:14: "),
            ("t/tools: []", "t/tools: x", "a list of tags is expected"),
        ):
            (tmp_path / "sync.yaml").write_text(text.replace(old, new))
            said = run("mirror", "sync.yaml", "--to", f"{other.host}/m", status=2)
            assert told in said
            assert PASSWORD not in said
