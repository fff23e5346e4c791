"""Policies as users have them: every way by which an image comes in is asked, with a real registry."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagesmith.image.edited import Edited
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import ImageRef
from imagesmith.settings import Access
from imagesmith.store.store import Store
from imagesmith.transports.cosigntags import companion_tag
from imagesmith.transports.transfer import Session
from imagesmith.trust.keys import PrivateKey, generate
from imagesmith.trust.simplesigning import Payload, SimpleSignature, with_signature
from tests.e2e.conftest import Smith
from tests.support import need_program

REJECT = [{"type": "reject"}]
ACCEPT = [{"type": "insecureAcceptAnything"}]


class World:
    """A registry with two images, `app` (signed by our key, of two platforms) and `bad` (by nobody)."""

    def __init__(self, smith: Smith, host: str) -> None:
        self.smith, self.host, self.folder = smith, host, smith.folder
        self.key = generate("ecdsa-p256")
        (self.folder / "key.pub").write_bytes(self.key.public.pem)
        context = self.folder / "files"
        context.mkdir()
        (context / "file").write_text("x")
        for name in ("app", "bad"):
            text = f"FROM base\nARG TARGETARCH\nLABEL of={name}-$TARGETARCH\nCOPY file /\n"
            (self.folder / f"{name}.Dockerfile").write_text(text)
            words = [
                "-f",
                f"{self.folder}/{name}.Dockerfile",
                "-t",
                f"{host}/{name}:1",
                "--push",
                str(context),
            ]
            platforms = "linux/amd64,linux/arm64" if name == "app" else "linux/amd64"
            smith.build("--platform", platforms, *words)
        for d in self.digests(f"{host}/app:1"):
            self.sign("app", d, self.key)
        smith.run("rmi", f"{host}/app:1")
        smith.run("rmi", f"{host}/bad:1")

    def digests(self, ref: str) -> list[str]:
        """The images of an index, without the index."""
        index = json.loads(self.smith.run("manifest", "get", ref).stdout)
        return [m["digest"] for m in index["manifests"]]

    def sign(self, name: str, digest: str, key: PrivateKey) -> None:
        """Put a signature beside an image, with the repository's name as cosign does."""
        ref = ImageRef.parse(f"{self.host}/{name}")
        found = Digest.parse(digest)
        with (
            Store(self.folder / "signing") as store,
            Session(store, access=Access(insecure=True)) as session,
        ):
            raw = Payload(ref.name, found).to_json()
            signed = SimpleSignature(raw, key.sign(raw, sha256=True))
            made: Edited = with_signature(session.repository(ref), found, signed, store.blobs)
            session.copy(made, session.repository(ref.with_tag(companion_tag(found, ".sig"))))

    def policy(self, name: str, **scopes: Any) -> str:
        """The file of a policy that rejects everything but these repositories."""
        docker = {f"{self.host}/{repo.replace('_', '/')}": rule for repo, rule in scopes.items()}
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"default": REJECT, "transports": {"docker": docker}}))
        return str(path)

    @property
    def signed(self) -> list[dict[str, Any]]:
        """Signed by our key, for any tag."""
        rule = {"type": "matchRepository"}
        key = f"{self.folder}/key.pub"
        return [{"type": "sigstoreSigned", "keyPath": key, "signedIdentity": rule}]

    def refused(self, *words: str, why: str, **env: str) -> None:
        """Run a command that a policy refuses, with one line that says why."""
        error = self.smith.run(*words, status=11, **env).stderr
        [line] = [line for line in error.splitlines() if line.startswith("error: ")]
        assert "refused by " in line
        assert why in line

    def dockerfile(self, text: str) -> str:
        (self.folder / "Dockerfile").write_text(text)
        return f"{self.folder}/Dockerfile"


@pytest.fixture(scope="module")
def world(smith: Smith, docker_registry: str) -> World:
    return World(smith, docker_registry)


@pytest.fixture(scope="module")
def only_signed(world: World) -> str:
    """The policy under which what our key signed is used, and nothing else."""
    return world.policy("only-signed", app=world.signed, bad=world.signed)


Ways = Callable[[World, str], list[str]]
#: Every way by which an image is taken from a registry, by a command's words for `app` or `bad`.
WAYS: dict[str, Ways] = {
    "pull": lambda w, ref: ["pull", ref],
    "pull --all": lambda w, ref: ["pull", "--all", ref],
    "copy": lambda w, ref: ["copy", ref, f"oci:{w.folder}/copied"],
    "copy to itself": lambda w, ref: ["copy", ref, f"{ref}-again"],
    "copy to where it is": lambda w, ref: ["copy", ref, ref],
    "mirror": lambda w, ref: ["mirror", _list(w, ref)],
    "run": lambda w, ref: ["run", ref, "/bin/sh", "-c", "exit 0"],
    "FROM": lambda w, ref: ["build", "-f", w.dockerfile(f"FROM {ref}\n"), str(w.folder / "files")],
    "COPY --from": lambda w, ref: [
        "build", "-f", w.dockerfile(f"FROM scratch\nCOPY --from={ref} /file /x\n"), str(w.folder / "files")],
    "RUN --mount": lambda w, ref: [
        "build", "-f", w.dockerfile(f"FROM base\nRUN --mount=from={ref},target=/mnt cat /mnt/file\n"),
        "--build-context", f"base=docker-image://{w.host}/app:1", str(w.folder / "files")],
    "a named context": lambda w, ref: ["build", "-f", w.dockerfile("FROM scratch\nCOPY --from=n /file /x\n"),
                                       "--build-context", f"n=docker-image://{ref}", str(w.folder / "files")],
    "a context for a base": lambda w, ref: ["build", "-f", w.dockerfile("FROM alpine\n"), "--build-context",
                                            f"alpine=docker-image://{ref}", str(w.folder / "files")],
}  # fmt: skip


def _list(world: World, ref: str) -> str:
    (world.folder / "list").write_text(f"{ref} {ref}-mirrored\n")
    return f"{world.folder}/list"


@pytest.mark.parametrize("way", WAYS)
def test_what_is_signed_comes_in_and_what_is_not_does_not(world: World, only_signed: str, way: str) -> None:
    verb, *words = WAYS[way](world, f"{world.host}/app:1")
    world.smith.run(verb, "--policy", only_signed, *words)
    verb, *words = WAYS[way](world, f"{world.host}/bad:1")
    why = f"docker {world.host}/bad: sigstoreSigned: no signature of sha256:"
    if verb == "mirror":
        done = world.smith.run(verb, "--policy", only_signed, *words, status=7)
        assert why in done.stderr
    else:
        world.refused(verb, "--policy", only_signed, *words, why=why)


def test_a_check_tells_of_it_at_its_place(world: World, only_signed: str) -> None:
    text = world.dockerfile(f"FROM {world.host}/bad:1\n")
    words = ["build", "--check", "--policy", only_signed, "-f", text, f"{world.folder}/files"]
    done = world.smith.run(*words, status=1)
    assert f"1 | >>> FROM {world.host}/bad:1" in done.stdout + done.stderr
    assert "sigstoreSigned: no signature of " in done.stdout + done.stderr


def test_an_image_that_is_in_the_store_already_is_no_way_around(world: World, only_signed: str) -> None:
    bad = f"{world.host}/bad:1"
    world.smith.run("pull", bad)
    world.smith.run("build", "-f", world.dockerfile(f"FROM {bad}\n"), str(world.folder / "files"))
    for words in (
        ["build", "--policy", only_signed, "-f", world.dockerfile(f"FROM {bad}\n"), f"{world.folder}/files"],
        ["run", "--policy", only_signed, bad, "/bin/sh", "-c", "exit 0"],
        ["pull", "--policy", only_signed, bad],
    ):
        world.refused(*words, why=": sigstoreSigned: no signature of ")
    world.smith.run("rmi", bad)


def test_another_image_under_a_name_in_the_store_is_that_names(world: World, only_signed: str) -> None:
    world.smith.run("pull", f"{world.host}/bad:1")
    world.smith.run("tag", f"{world.host}/bad:1", f"{world.host}/app:2")
    text = world.dockerfile(f"FROM {world.host}/app:2\n")
    world.refused(
        "build", "--policy", only_signed, "-f", text, f"{world.folder}/files", why="no signature of"
    )
    world.smith.run("rmi", f"{world.host}/bad:1")
    world.smith.run("rmi", f"{world.host}/app:2")


def test_a_refusal_says_which_image_of_the_store_it_is_about(world: World, only_signed: str) -> None:
    world.smith.run("pull", f"{world.host}/bad:1")
    words = ["copy", "--policy", only_signed, f"store:{world.host}/bad:1", f"oci:{world.folder}/stored"]
    done = world.smith.run(*words, status=11)
    assert f"error: containers-storage:{world.host}/bad:1: refused by " in done.stderr
    world.smith.run("rmi", f"{world.host}/bad:1")


def test_a_digest_is_judged_as_the_repositorys(world: World, only_signed: str) -> None:
    digest = world.digests(f"{world.host}/app:1")[0]
    world.smith.run("copy", "--policy", only_signed, f"{world.host}/app@{digest}", f"oci:{world.folder}/d")
    moved = f"{world.host}/bad@{digest}"
    world.smith.run("copy", f"{world.host}/app@{digest}", f"{world.host}/bad:moved")
    world.refused("copy", "--policy", only_signed, moved, f"oci:{world.folder}/d", why="no signature of")


def test_a_digest_in_the_store_is_of_a_repository_that_has_it(world: World) -> None:
    policy = world.policy("trusted", app=ACCEPT)
    app, bad = f"{world.host}/app", f"{world.host}/bad"
    world.smith.run("pull", f"{bad}:1")
    digest = world.smith.run("digest", f"{bad}:1").stdout.strip()
    words = ["build", "--policy", policy, "-f", world.dockerfile(f"FROM {app}@{digest}\n")]
    for asking in (words, [*words, "--pull"]):
        error = world.smith.run(*asking, f"{world.folder}/files", status=7).stderr
        assert f"{app}@{digest}: not found" in error
    ways = ["run", "--policy", policy, f"{app}@{digest}", "/bin/sh", "-c", "exit 0"]
    assert f"{app}@{digest}: not found" in world.smith.run(*ways, status=7).stderr
    world.smith.run("rmi", f"{bad}:1")
    [*_, own] = world.digests(f"{app}:1")
    words = ["build", "--policy", policy, "-f", world.dockerfile(f"FROM {app}@{own}\n")]
    for _ in range(2):  # the registry is asked once
        done = world.smith.run(*words, f"{world.folder}/files")
    assert "load metadata" not in done.stderr


def test_every_platform_that_is_copied_needs_its_signature(world: World) -> None:
    host = world.host
    world.smith.run("copy", f"{host}/app:1", f"{host}/half:1")
    policy = world.policy("half", half=world.signed)
    signed, unsigned = world.digests(f"{host}/half:1")
    world.sign("half", signed, world.key)
    for flags in ([], ["--all"], ["--platform", "linux/arm64"]):
        words = ["copy", "--policy", policy, *flags, f"{host}/half:1", f"oci:{world.folder}/half"]
        world.refused(*words, why=f"no signature of {unsigned} is there")
    one = ["--platform", "linux/amd64", f"{host}/half:1"]
    world.smith.run("copy", "--policy", policy, *one, f"oci:{world.folder}/half")
    world.smith.run("pull", "--policy", policy, *one)


def test_a_signature_of_the_index_alone_lets_nothing_pass(world: World) -> None:
    host = world.host
    world.smith.run("copy", f"{host}/app:1", f"{host}/index:1")
    index = world.smith.run("digest", f"{host}/index:1").stdout.strip()
    world.sign("index", index, world.key)
    policy = world.policy("index", index=world.signed)
    words = ["pull", "--policy", policy, f"{host}/index:1"]
    world.refused(*words, why="sigstoreSigned: no signature of ")


def test_a_signature_by_another_key_lets_nothing_pass(world: World) -> None:
    host = world.host
    world.smith.run("copy", f"{host}/bad:1", f"{host}/other:1")
    digest = world.smith.run("digest", f"{host}/other:1").stdout.strip()
    world.sign("other", digest, generate("ecdsa-p256"))
    policy = world.policy("other", other=world.signed)
    world.refused("pull", "--policy", policy, f"{host}/other:1", why="signature 1 is not by ")
    world.sign("other", digest, world.key)
    world.smith.run("pull", "--policy", policy, f"{host}/other:1")


def test_archives_and_layouts_have_scopes_of_their_own(world: World, tmp_path: Path) -> None:
    ref, policy = f"{world.host}/app:1", tmp_path / "p.json"
    world.smith.run("copy", "--platform", "linux/amd64", ref, f"oci:{tmp_path}/layout:1")
    world.smith.run("copy", f"oci:{tmp_path}/layout:1", f"oci-archive:{tmp_path}/oci.tar:1")
    words = ["copy", f"oci:{tmp_path}/layout:1", f"docker-archive:{tmp_path}/docker.tar:{ref}"]
    subprocess.run([need_program("skopeo"), *words], check=True, capture_output=True)
    scopes = {"oci": {f"{tmp_path}/layout": ACCEPT}, "oci-archive": {str(tmp_path): ACCEPT}}
    named = world.dockerfile("FROM scratch\nCOPY --from=n /file /x\n")
    ways = (
        ["copy", f"oci:{tmp_path}/layout:1", f"oci:{tmp_path}/to"],
        [
            "build",
            "-f",
            named,
            "--build-context",
            f"n=oci-layout://{tmp_path}/layout:1",
            f"{world.folder}/files",
        ],
        ["load", "-i", f"{tmp_path}/oci.tar"],
        ["copy", f"oci-archive:{tmp_path}/oci.tar:1", f"oci:{tmp_path}/to"],
        ["load", "-i", f"{tmp_path}/docker.tar"],
        ["copy", f"docker-archive:{tmp_path}/docker.tar", f"oci:{tmp_path}/to"],
    )
    for n, (verb, *words) in enumerate(ways):
        policy.write_text(json.dumps({"default": REJECT}))
        world.refused(verb, "--policy", str(policy), *words, why="default: reject: everything is rejected")
        policy.write_text(json.dumps({"default": REJECT, "transports": scopes}))
        if n < 4:
            world.smith.run(verb, "--policy", str(policy), *words)
        else:
            world.refused(verb, "--policy", str(policy), *words, why="default: reject")
            policy.write_text(json.dumps({"default": REJECT, "transports": {"docker-archive": {"": ACCEPT}}}))
            world.smith.run(verb, "--policy", str(policy), *words)


def test_a_refused_archive_leaves_no_name_in_the_store(world: World, tmp_path: Path) -> None:
    ref = f"{world.host}/app:1"
    world.smith.run("copy", "--platform", "linux/amd64", ref, f"docker-archive:{tmp_path}/d.tar:never:1")
    (tmp_path / "p.json").write_text(json.dumps({"default": REJECT}))
    world.refused("load", "--policy", f"{tmp_path}/p.json", "-i", f"{tmp_path}/d.tar", why="reject")
    assert "never" not in world.smith.run("images").stdout


def test_the_setting_stands_for_the_flag(world: World, only_signed: str, tmp_path: Path) -> None:
    app, bad = f"{world.host}/app:1", f"{world.host}/bad:1"
    world.smith.run("pull", app, IMAGESMITH_POLICY=only_signed)
    world.refused("pull", bad, why="no signature of", IMAGESMITH_POLICY=only_signed)
    text = world.dockerfile(f"FROM {bad}\n")
    world.refused("build", "-f", text, f"{world.folder}/files", why="no sig", IMAGESMITH_POLICY=only_signed)
    own = tmp_path / ".config" / "containers"
    own.mkdir(parents=True)
    (own / "policy.json").write_text(json.dumps({"default": REJECT}))
    home = {"HOME": str(tmp_path), "IMAGESMITH_POLICY": "machine"}
    world.refused("pull", app, why=f"refused by {own}/policy.json: default: reject", **home)
    world.smith.run("pull", "--policy", only_signed, app, **home)  # the flag wins


def test_a_command_may_do_without_the_policy_of_the_setting(world: World, only_signed: str) -> None:
    ref = f"{world.host}/bad:1"
    for way in ("pull", "copy", "mirror", "run", "FROM"):
        verb, *words = WAYS[way](world, ref)
        world.smith.run(verb, "--insecure-policy", *words, IMAGESMITH_POLICY=only_signed)
    world.smith.run("pull", "--policy", "none", ref, IMAGESMITH_POLICY=only_signed)
    world.smith.run("pull", ref, IMAGESMITH_POLICY="none")
    world.smith.run("rmi", ref)


def test_a_policy_and_none_are_not_both_asked_for(world: World, only_signed: str) -> None:
    words = ["pull", "--policy", only_signed, "--insecure-policy", f"{world.host}/bad:1"]
    assert "--insecure-policy: not allowed with" in world.smith.run(*words, status=2).stderr


def test_what_is_made_here_is_pushed_unasked(world: World) -> None:
    policy = world.policy("push", app=world.signed)
    text = world.dockerfile(f"FROM {world.host}/app:1\nLABEL new=1\n")
    words = ["--policy", policy, "-t", f"{world.host}/pushed:1", "--push", "-f", text]
    world.smith.run("build", *words, f"{world.folder}/files")
    world.smith.run("push", f"{world.host}/pushed:1", IMAGESMITH_POLICY=policy)


def test_signatures_and_attestations_are_copied_with_what_they_belong_to(
    world: World, tmp_path: Path
) -> None:
    ref = f"{world.host}/attested:1"
    text = world.dockerfile(f"FROM {world.host}/app:1\n")
    world.smith.run("build", "--provenance", "true", "-t", ref, "--push", "-f", text, f"{world.folder}/files")
    image, attestation = world.digests(ref)
    policy = world.policy("attested", attested=world.signed)
    words = ["copy", "--policy", policy, "--referrers", ref, f"oci:{tmp_path}/layout:1"]
    world.refused(*words, why=f"no signature of {image}")
    world.sign("attested", image, world.key)
    world.smith.run(*words)
    there = {p.name for p in (tmp_path / "layout" / "blobs" / "sha256").iterdir()}
    assert {d.removeprefix("sha256:") for d in (image, attestation)} <= there


def test_what_holds_no_image_is_judged_as_a_whole(world: World, tmp_path: Path) -> None:
    chart = tmp_path / "chart.json"
    chart.write_text("{}")
    ref = f"{world.host}/app:1"
    digest = world.smith.run(
        "attach", "--artifact-type", "application/vnd.test", ref, str(chart)
    ).stdout.split()[0]
    artifact = f"{world.host}/app@{digest.rpartition('@')[2]}"
    policy = world.policy("artifact", other=ACCEPT)
    world.refused("copy", "--policy", policy, artifact, f"oci:{tmp_path}/to", why="default: reject")


def test_a_policy_that_is_none_is_told_before_anything_is_done(world: World, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"default": [{"type": "accept"}]}')
    for words in (["pull", f"{world.host}/app:1"], ["build", f"{world.folder}/files"]):
        done = world.smith.run(words[0], "--policy", f"{tmp_path}/p.json", *words[1:], status=2)
        assert f"{tmp_path}/p.json: default[0]: unknown type 'accept'" in done.stderr


def test_a_build_without_a_policy_imports_nothing_of_it(world: World) -> None:
    text = world.dockerfile("FROM scratch\nCOPY file /\n")
    done = world.smith.run("build", "-f", text, f"{world.folder}/files", PYTHONPROFILEIMPORTTIME="1")
    assert "imagesmith.session" in done.stderr
    assert "imagesmith.trust" not in done.stderr
    assert "cryptography" not in done.stderr
