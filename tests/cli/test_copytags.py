"""copy of tags that patterns choose, and looks at what a copy would do."""

from __future__ import annotations

import json
from pathlib import Path

from imagesmith.embedded.registry import Registry
from imagesmith.store.store import Store
from tests.cli.conftest import Run
from tests.registry.faultproxy import Answer, FaultProxy
from tests.registry.images import make_image

TAGS = ("latest", "v1.0", "v1.1", "v1.1-rc1", "v2.0")


def _fill(run: Run, host: str, tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        for n, tag in enumerate(TAGS):
            make_image(store, f"app:{tag}", layers=({"base": b"b" * 500}, {f"{n}": b"x"}))
    for tag in TAGS:
        run("push", "-q", f"app:{tag}", f"{host}/t/app:{tag}")


def test_tags_are_chosen_by_patterns_and_go_in_order(run: Run, host: str, tmp_path: Path) -> None:
    _fill(run, host, tmp_path)
    said = run("copy", "--tags", "v1.*", "--exclude", "*-rc*", f"{host}/t/app", f"{host}/t/some")
    assert said.split()[1::2] == [f"{host}/t/some:v1.0", f"{host}/t/some:v1.1"]
    assert run("tags", f"{host}/t/some").split() == ["v1.0", "v1.1"]
    assert said.split()[0] == run("digest", f"{host}/t/app:v1.0").strip()
    run("copy", "--tags", r"regex:v\d\.0", "--tags", "latest", f"{host}/t/app", "oci:layout")
    assert run("tags", "oci:layout").split() == ["latest", "v1.0", "v2.0"]
    run("copy", "--all-tags", "oci:layout", "store:brought")
    run("copy", "--all-tags", "--exclude", "latest", "store:brought", f"{host}/t/back")
    assert run("tags", f"{host}/t/back").split() == ["v1.0", "v2.0"]


def test_tags_that_are_there_are_left_alone(run: Run, host: str, tmp_path: Path) -> None:
    _fill(run, host, tmp_path)
    run("push", "-q", "app:v2.0", f"{host}/t/some:v1.0")
    said = run("copy", "--all-tags", "--no-clobber", f"{host}/t/app", f"{host}/t/some").split()[1::2]
    assert said == [f"{host}/t/some:{tag}" for tag in ("latest", "v1.1", "v1.1-rc1", "v2.0")]
    assert run("digest", f"{host}/t/some:v1.0") == run("digest", f"{host}/t/app:v2.0")
    assert run("copy", "--all-tags", "-n", f"{host}/t/app", f"{host}/t/some") == ""
    assert "for several tags" in run("copy", "-n", f"{host}/t/app:v1.0", "oci:x", status=2)


def test_a_dry_run_tells_what_is_there_and_writes_nothing(run: Run, host: str, tmp_path: Path) -> None:
    _fill(run, host, tmp_path)
    run("copy", f"{host}/t/app:v1.0", f"{host}/t/some:v1.0")
    lines = run("copy", "--dry-run", "--tags", "v1.?", f"{host}/t/app", f"{host}/t/some").splitlines()
    assert lines[0].endswith(f" {host}/t/some:v1.0 (is there)")
    assert f" {host}/t/some:v1.1 (2 of 3 blobs, " in lines[1]
    assert run("tags", f"{host}/t/some").split() == ["v1.0"]
    told = json.loads(run("copy", "--dry-run", "--json", f"{host}/t/app:v2.0", "oci:nowhere:x"))
    assert (told["there"], told["blobs"], told["missing"]) == (False, 3, 3)
    assert told["digest"] == run("digest", f"{host}/t/app:v2.0").strip()
    assert not (tmp_path / "nowhere").exists()
    run("copy", f"{host}/t/app:v2.0", "oci:layout:x")
    assert "(is there)" in run("copy", "--dry-run", f"{host}/t/app:v2.0", "oci:layout:x")
    assert "(is there)" in run("copy", "--dry-run", f"{host}/t/app:v2.0", "store:app:v2.0")
    assert "(0 of 3 blobs" in run("copy", "--dry-run", f"{host}/t/app:v2.0", "store:app:other")
    assert "absent" in run("copy", "--dry-run", f"{host}/t/app:absent", "oci:layout:x", status=7)


def test_one_that_fails_stops_no_other(run: Run, host: str, tmp_path: Path) -> None:
    _fill(run, host, tmp_path)
    run("index", "create", f"{host}/t/app:v1.9", f"{host}/t/app:v1.0")
    said = run("copy", "--platform", "linux/s390x", "--all-tags", f"{host}/t/app", "oci:layout", status=7)
    assert "6 of 6 images were not copied" in said
    lines = f"{host}/t/none:v*\n{host}/t/app:v1.[01] oci:layout\n{host}/t/app:nope\n".encode()
    said = run("mirror", "-", "--to", f"{host}/m", stdin=lines, status=7)
    assert "2 of 4 images were not mirrored" in said
    assert run("tags", "oci:layout").split() == ["v1.0", "v1.1"]


def test_a_second_run_goes_on_where_the_first_was_stopped(run: Run, tmp_path: Path) -> None:
    with Registry(tmp_path / "a") as a, Registry(tmp_path / "b") as b, FaultProxy(b.host) as proxy:
        _fill(run, a.host, tmp_path)
        proxy.on("PUT", "/manifests/v1.1$", Answer(400))
        words = ("copy", "--all-tags", f"{a.host}/t/app", f"{proxy.host}/t/app")
        assert "1 of 5 images were not copied" in run(*words, status=7)
        sent = len(proxy.seen("PUT", "/blobs/"))
        assert run("tags", f"{b.host}/t/app").split() == [t for t in TAGS if t != "v1.1"]
        assert len(run(*words).splitlines()) == 5
        assert len(proxy.seen("PUT", "/blobs/")) == sent
        assert run("tags", f"{b.host}/t/app").split() == list(TAGS)


def test_layers_in_common_are_sent_once(run: Run, tmp_path: Path) -> None:
    with Registry(tmp_path / "a") as a, Registry(tmp_path / "b") as b, FaultProxy(b.host) as proxy:
        _fill(run, a.host, tmp_path)
        run("copy", "--all-tags", f"{a.host}/t/app", f"{proxy.host}/t/app")
        assert len(proxy.seen("PUT|POST", "/blobs/uploads/")) == len(proxy.seen("PUT", "/blobs/uploads/")) * 2
        assert len(proxy.seen("PUT", "/blobs/uploads/")) == 1 + 2 * len(TAGS)
        before = len(proxy.seen("PUT"))
        run("copy", "--all-tags", f"{a.host}/t/app", f"{proxy.host}/t/app")
        assert len(proxy.seen("PUT")) == before


def test_a_name_that_is_no_tag_leads_nowhere(run: Run, host: str, tmp_path: Path) -> None:
    _fill(run, host, tmp_path)
    run("copy", f"{host}/t/app:v1.0", "oci:layout:good")
    run("copy", f"{host}/t/app:v1.1", "oci:layout:v3")
    index = tmp_path / "layout" / "index.json"
    index.write_text(index.read_text().replace('"v3"', '"../../other/manifests/v3"'))
    run("copy", "--all-tags", "oci:layout", f"{host}/t/some", status=7)
    assert run("tags", f"{host}/t/some").split() == ["good"]
    run("tags", f"{host}/t/other", status=7)
