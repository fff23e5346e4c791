"""The registry verbs as they are typed, against the embedded registry and docker-registry."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagesmith.cli.main import main
from imagesmith.embedded.registry import Registry
from imagesmith.oci.digest import Digest
from imagesmith.oci.mediatype import OCI_CONFIG
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import ImageRef
from imagesmith.plugins import COMMANDS
from imagesmith.registry import transport
from imagesmith.store.store import Store
from tests.registry.conftest import PASSWORD, USER, make_htpasswd, serve_docker, serve_embedded
from tests.registry.faultproxy import Before, FaultProxy
from tests.registry.images import layer_tar, make_image, make_index

Run = Callable[..., str]

VERBS = [
    "push",
    "pull",
    "copy",
    "save",
    "load",
    "mirror",
    "images",
    "tag",
    "rmi",
    "prune",
    "inspect",
    "digest",
    "tags",
    "catalog",
    "manifest",
    "blob",
    "delete",
    "validate",
    "index",
    "append",
    "mutate",
    "flatten",
    "rebase",
    "export",
    "diff",
    "attach",
    "referrers",
    "login",
    "logout",
]


@pytest.fixture(params=["embedded", pytest.param("docker", marks=pytest.mark.slow)])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A registry that nobody else uses: ours, or Debian's docker-registry."""
    if request.param == "docker":
        with serve_docker(tmp_path / "docker") as served:
            yield served.host
    else:
        with Registry(tmp_path / "registry") as registry:
            yield registry.host


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run a command line in this process; returns what it printed, and fails on another exit status."""
    monkeypatch.setenv("IMAGESMITH_ROOT", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str, status: int = 0, stdin: bytes = b"") -> str:
        capfdbinary.readouterr()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            found = main(words)
        except SystemExit as e:
            found = int(e.code or 0)
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        assert found == status, err.decode()
        return (out if status == 0 else err).decode()

    return run


@pytest.fixture
def image(tmp_path: Path) -> str:
    with Store(tmp_path / "store") as store:
        return str(make_image(store, "app:1").digest)


@pytest.fixture
def index(tmp_path: Path) -> str:
    with Store(tmp_path / "store") as store:
        return str(make_index(store, "multi:1").digest)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_tells_what_it_takes(verb: str, run: Run) -> None:
    assert verb in COMMANDS
    assert run(verb, "--help").startswith(f"usage: imagesmith {verb}")


def test_push_pull_and_look(run: Run, host: str, image: str, tmp_path: Path) -> None:
    name = f"{host}/t/app:1"
    assert run("push", "app:1", name) == f"{image}\n"
    assert run("digest", name) == f"{image}\n"
    assert run("tags", f"{host}/t/app") == "1\n"
    assert run("catalog", host) == "t/app\n"
    assert json.loads(run("tags", "--json", f"{host}/t/app"))["Tags"] == ["1"]
    assert run("pull", "-q", "--root", str(tmp_path / "s2"), name) == f"{image}\n"
    assert name in run("images", "--root", str(tmp_path / "s2"))
    assert run("inspect", "-f", "{{.Digest}} {{index .Env 0}}", name) == f"{image} A=b\n"
    assert run("validate", name).startswith("valid: 1 manifests, 2 blobs")
    assert Manifest.parse(run("manifest", "get", name).encode()).layers


def test_json_tells_the_result_and_each_blob(run: Run, host: str, image: str) -> None:
    assert json.loads(run("push", "--json", "app:1", f"{host}/t/app:1"))["digest"] == image


@pytest.mark.parametrize("kind", ["oci:{}/l:x", "oci-archive:{}/o.tar:x", "docker-archive:{}/d.tar:x:1"])
def test_copy_takes_every_place_at_both_ends(
    run: Run, host: str, image: str, tmp_path: Path, kind: str
) -> None:
    place = kind.format(tmp_path)
    run("push", "app:1", f"{host}/t/app:1")
    assert run("copy", f"{host}/t/app:1", place) == f"{image}\n"
    assert run("copy", place, f"{host}/t/back:1") == f"{image}\n"
    assert run("copy", place, "store:back:1") == f"{image}\n"


def test_copy_of_an_index_all_of_it_or_parts(run: Run, host: str, index: str) -> None:
    run("push", "multi:1", f"{host}/t/multi:1")
    assert run("copy", f"{host}/t/multi:1", f"{host}/t/all:1") == f"{index}\n"
    one = run("copy", "--platform", "linux/arm64", f"{host}/t/multi:1", f"{host}/t/one:1")
    assert one == run("digest", "--platform", "linux/arm64", f"{host}/t/multi:1")
    run("copy", "--platform", "linux/arm64,linux/amd64", f"{host}/t/multi:1", f"{host}/t/two:1")
    assert len(Index.parse(run("inspect", "--raw", f"{host}/t/two:1").encode()).manifests) == 2
    assert "no match for platform" in run(
        "copy", "--platform", "linux/s390x", f"{host}/t/multi:1", f"{host}/t/x:1", status=7
    )


def test_what_is_here_of_an_index_goes_on_by_every_verb(run: Run, host: str, index: str) -> None:
    """As docker does: the one platform that was pulled is an image of its own elsewhere."""
    name = f"{host}/t/multi:1"
    run("push", "multi:1", name)
    run("pull", "--platform", "linux/arm64", "--root", "s2", name)
    alone = run("digest", "--platform", "linux/arm64", name)
    here = ("--root", "s2")
    assert run("push", *here, name, f"{host}/t/new:1") == alone
    assert run("copy", *here, f"store:{name}", f"{host}/t/new:2") == alone
    assert run("copy", *here, f"store:{name}", "oci:layout:1") == alone
    run("save", *here, name, "-o", "docker.tar")
    run("save", *here, "--format", "oci", name, "-o", "oci.tar")
    for file in ("docker.tar", "oci.tar"):
        assert run("load", "-q", "-i", file, "--root", "s3") == alone
    assert run("copy", *here, f"store:{name}", "store:kept:1") == f"{index}\n"
    said = run("copy", *here, "--all", f"store:{name}", f"{host}/t/new:9", status=7)
    assert "linux/amd64: not there" in said
    run("mutate", *here, name, "--label", "k=v", "-t", "store:mutated:1")
    assert run("inspect", *here, "--platform", "linux/arm64", "-f", "{{.Labels.k}}", "mutated:1") == "v\n"
    run("index", "create", *here, f"{host}/t/index:1", name)
    assert run("digest", f"{host}/t/index:1") == alone
    assert run("validate", *here, name) == "valid: 1 manifests, 1 blobs, 92 bytes; 1 not there\n"
    assert "for platform" in run("save", *here, "--platform", "linux/amd64", name, "-o", "no", status=7)
    run("pull", "--all", *here, name)
    assert run("push", *here, name, f"{host}/t/new:3") == f"{index}\n"


def test_layer_that_the_store_has_lost_is_not_one_that_nobody_pulled(run: Run, index: str) -> None:
    with Store(Path("store")) as store:
        arm = Index.parse(store.blobs.read(Digest.parse(index))).manifests[1]
        store.blobs.remove(Manifest.parse(store.blobs.read(arm.digest)).layers[0].digest)
    assert "error: " in run("validate", "multi:1", status=7)


def test_what_is_left_out_is_said_in_one_line(
    run: Run, host: str, index: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("push", "multi:1", f"{host}/t/multi:1")
    run("pull", "--platform", "linux/arm64", "--root", "s2", f"{host}/t/multi:1")
    capfdbinary.readouterr()
    assert main(["push", "--root", "s2", f"{host}/t/multi:1", f"{host}/t/new:1"]) == 0
    said = [x for x in capfdbinary.readouterr().err.decode().splitlines() if "left out" in x]
    assert said == [f"WARN: {host}/t/new:1: left out linux/amd64: not there"]


def test_platform_that_an_image_has_not_is_refused(run: Run, host: str, image: str, index: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    run("push", "multi:1", f"{host}/t/multi:1")
    for name in ("app", "multi"):
        for words in (
            ["pull", f"{host}/t/{name}:1", "--root", "s2"],
            ["copy", f"{host}/t/{name}:1", f"{host}/t/x:1"],
            ["push", f"{name}:1", f"{host}/t/x:1"],
            ["save", f"{name}:1", "-o", "x.tar"],
        ):
            said = run(*words, "--platform", "linux/s390x", status=7)
            assert "linux/s390x" in said or "no match for platform" in said
    run("save", "app:1", "-o", "app.tar")
    assert "not for linux/s390x" in run("load", "-i", "app.tar", "--platform", "linux/s390x", status=7)
    assert run("images", "--root", "s2") == "NAME   DIGEST   PLATFORM   SIZE\n"
    run("pull", f"{host}/t/app:1", "--platform", "linux/amd64", "--root", "s2")


def test_size_of_an_index_is_that_of_its_images(run: Run, host: str, index: str) -> None:
    with Store(Path("store")) as store:
        size, sizes = 0, []
        for m in Index.parse(store.blobs.read(Digest.parse(index))).manifests:
            manifest = Manifest.parse(store.blobs.read(m.digest))
            sizes.append(manifest.config.size + sum(d.size for d in manifest.layers))
            size += sizes[-1]
    (row,) = json.loads(run("images", "--json"))
    assert (row["size"], row["platform"]) == (size, "linux/amd64,linux/arm64")
    run("push", "multi:1", f"{host}/t/multi:1")
    run("pull", "--platform", "linux/arm64", "--root", "s2", f"{host}/t/multi:1")
    (row,) = json.loads(run("images", "--json", "--root", "s2"))
    assert (row["size"], row["platform"]) == (sizes[1], "linux/arm64")


def test_save_and_load(run: Run, image: str, tmp_path: Path) -> None:
    run("tag", "app:1", "other:2")
    run("save", "app:1", "other:2", "-o", "both.tar")
    assert run("load", "-i", "both.tar", "--root", "s2") == "loaded app:1\nloaded other:2\n"
    assert image[:19] in run("images", "--root", "s2")
    assert run("load", "-q", "-i", "both.tar", "--root", "s3") == f"{image}\n{image}\n"


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


def test_tag_and_delete_in_a_registry(run: Run, host: str, image: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    run("tag", f"docker://{host}/t/app:1", "2", f"{host}/t/app:3")
    assert run("tags", f"{host}/t/app") == "1\n2\n3\n"
    run("delete", f"{host}/t/app:2")
    assert run("tags", f"{host}/t/app") == "1\n3\n"
    run("delete", f"{host}/t/app@{image}")
    assert "not found" in run("inspect", f"{host}/t/app:1", status=7)


def test_blobs_and_manifests_one_by_one(run: Run, host: str, image: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("hello")
    digest = run("blob", "put", f"{host}/t/b", "f").strip()
    assert run("blob", "put", f"{host}/t/b", stdin=b"hello").strip() == digest
    assert run("blob", "get", f"{host}/t/b", digest) == "hello"
    assert run("blob", "head", f"{host}/t/b@{digest}") == "5\n"
    run("blob", "delete", f"{host}/t/b", digest)
    run("push", "app:1", f"{host}/t/app:1")
    raw = run("manifest", "get", f"{host}/t/app:1").encode()
    assert run("manifest", "put", f"{host}/t/app:again", stdin=raw) == f"{image}\n"
    assert "not valid JSON" in run("manifest", "put", f"{host}/t/app:x", stdin=b"{", status=6)


def test_mutate_prints_where_the_result_is(run: Run, host: str, image: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    where = run("mutate", f"{host}/t/app:1", "--label", "a=b", "--cmd", "x 'y z'").strip()
    assert where.startswith(f"{host}/t/app@sha256:")
    assert run("inspect", "-f", "{{json .Config.Cmd}} {{.Labels.a}}", where) == '["x", "y z"] b\n'
    assert run("digest", f"{host}/t/app:1") == f"{image}\n"
    assert "needs a name" in run("mutate", "store:app:1", "--user", "5", status=2)


def test_mutate_of_the_store_s_image_pushes_only_when_told(run: Run, host: str, image: str) -> None:
    name = f"{host}/t/app:1"
    run("push", "app:1", name)
    run("tag", "app:1", name)  # now it is found in the store
    assert "needs a name" in run("mutate", name, "--user", "5", status=2)
    run("mutate", name, "--user", "5", "-t", f"{host}/t/app:2")
    assert run("inspect", "-f", "{{.Config.User}}", f"store:{host}/t/app:2") == "5\n"
    assert run("tags", f"{host}/t/app") == "1\n"
    where = run("mutate", name, "--user", "6", "--push").strip()
    assert run("inspect", "-f", "{{.Config.User}}", f"docker://{where}") == "6\n"
    run("mutate", name, "--user", "7", "--push", "-t", f"{host}/t/app:7")
    run("flatten", name, "-t", f"docker://{host}/t/app:8")
    assert run("tags", f"{host}/t/app") == "1\n7\n8\n"
    assert "in no registry" in run("flatten", name, "--push", "-t", "store:x", status=2)


@pytest.mark.parametrize("flag", ["--digest-file", "--digestfile"])
def test_digest_is_written_to_a_file(run: Run, host: str, image: str, tmp_path: Path, flag: str) -> None:
    run("push", "app:1", f"{host}/t/app:1", flag, "pushed")
    assert (tmp_path / "pushed").read_text() == image
    changed = run("mutate", f"{host}/t/app:1", "--user", "5", flag, "changed").strip()
    assert changed.endswith((tmp_path / "changed").read_text())
    assert "there is no folder" in run("push", "app:1", f"{host}/t/app:1", flag, "none/file", status=2)


def test_layers_are_appended_flattened_exported_and_compared(
    run: Run, host: str, image: str, tmp_path: Path
) -> None:
    (tmp_path / "l.tar").write_bytes(layer_tar({"new": b"n"}))
    run("append", "l.tar", "-b", "app:1", "-t", "store:more:1")
    run("flatten", "more:1", "-t", "store:flat:1")
    assert run("inspect", "-f", "{{len .Layers}}", "flat:1") == "1\n"
    run("export", "flat:1", "root.tar")
    with tarfile.open(tmp_path / "root.tar") as tar:
        assert tar.getnames() == ["a", "b", "new"]
    assert run("diff", "--only", "files", "more:1", "flat:1") == ""
    said = run("diff", "app:1", "more:1", "--json", status=10)
    assert "differ" in said
    assert run("append", "l.tar", "-t", f"{host}/t/only:1").startswith("sha256:")


def test_index_is_made_and_changed(run: Run, host: str, image: str, index: str) -> None:
    run("index", "create", f"{host}/t/i:1", "app:1", "-a", "k=v")
    run("index", "add", f"{host}/t/i:1", "multi:1")
    found = Index.parse(run("inspect", "--raw", f"{host}/t/i:1").encode())
    assert sorted(str(m.platform) for m in found.manifests) == ["linux/amd64", "linux/arm64"]
    assert found.annotations == {"k": "v"}
    run("index", "remove", f"{host}/t/i:1", "--platform", "linux/arm64")
    assert len(Index.parse(run("inspect", "--raw", f"{host}/t/i:1").encode()).manifests) == 1


@pytest.mark.parametrize("place", ["{}/t/app:1", "oci:layout:1"])
def test_files_are_attached_and_found(run: Run, host: str, image: str, tmp_path: Path, place: str) -> None:
    name = place.format(host)
    run("copy", "store:app:1", name)
    (tmp_path / "sbom").write_text("{}")
    made = run(
        "attach", name, "sbom:application/spdx+json", "--artifact-type", "application/spdx+json"
    ).strip()
    assert run("referrers", name) == f"{made} application/spdx+json\n"
    assert run("referrers", name, "--artifact-type", "a/b") == ""
    run("copy", "--referrers", name, f"{host}/copy/app:1")
    assert json.loads(run("referrers", "--json", f"{host}/copy/app:1"))["manifests"][0]["digest"] == made
    run("copy", "--referrers", name, "store:here:1")
    assert made in run("referrers", "here:1")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["copy", "UPPER", "b"], 2),
        (["copy", "dir:x", "b"], 2),
        (["push", "nope:1"], 7),
        (["pull", "127.0.0.1:1/a"], 7),
        (["inspect", "oci:missing"], 7),
        (["load", "-i", "missing"], 2),
        (["copy", "oci-archive:missing", "oci:x"], 2),
        (["catalog", "not a host"], 2),
        (["blob", "get", "127.0.0.1:1/a", "sha256:x"], 2),
        (["mutate", "app:1", "--env", "novalue"], 2),
        (["attach", "127.0.0.1:1/a", "--artifact-type", "word"], 2),
        (["index", "remove", "oci:missing"], 7),
        (["rebase", "app:1"], 7),
        (["login", "-u", "a", "--password-stdin", "127.0.0.1:1"], 2),
    ],
)
def test_mistake_is_one_line_and_a_status(
    run: Run, image: str, monkeypatch: pytest.MonkeyPatch, words: list[str], status: int
) -> None:
    monkeypatch.setattr(transport, "_MOST_WAIT_S", 0.1)
    lines = [
        line
        for line in run(*words, status=status).splitlines()
        if not line.startswith(("#", "hint:", "127.0.0.1:1: waiting")) and line
    ]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")


def test_login_is_checked_kept_and_forgotten(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    file = make_htpasswd(tmp_path / "htpasswd")
    with serve_embedded(tmp_path / "closed", "--htpasswd", str(file)) as served:
        wrong = run("login", "-u", USER, "--password-stdin", served.host, stdin=b"wrong\n", status=7)
        assert "incorrect user name or password" in wrong
        assert not (tmp_path / "auth.json").exists()
        run("login", "-u", USER, "--password-stdin", served.host, stdin=PASSWORD.encode() + b"\n")
        assert run("catalog", served.host) == ""
        assert run("logout", served.host).startswith("removed")
        assert run("logout", served.host).startswith("not logged in")
        assert "unauthorized" in run("catalog", served.host, status=7)


@pytest.mark.parametrize("config", [b"[]", b"nope", b'{"rootfs":[1]}', b'{"history":[1]}'])
def test_an_image_with_a_bad_config_is_told_and_hides_no_other(
    run: Run, image: str, tmp_path: Path, config: bytes
) -> None:
    with Store(tmp_path / "store") as store:
        d = Descriptor(media_type=OCI_CONFIG, digest=store.blobs.put(config), size=len(config))
        bad = Manifest.build(d, [])
        store.blobs.put(bad.raw)
        store.name(ImageRef.parse("bad:1"), bad.descriptor())
    assert "image config" in run("inspect", "bad:1", status=6)
    assert [line.split()[0] for line in run("images").splitlines()] == ["NAME", "app:1", "bad:1"]
