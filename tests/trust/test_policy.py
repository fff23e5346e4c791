"""policy.json: read as strictly as containers' tools read it, and the scope that decides about an image."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from imagesmith.errors import InvalidDocument, UsageError
from imagesmith.oci.identity import Identity
from imagesmith.oci.names import ImageRef
from imagesmith.trust.identities import SignedIdentity
from imagesmith.trust.policy import Policy, scopes_of

ACCEPT, REJECT = [{"type": "insecureAcceptAnything"}], [{"type": "reject"}]
DIGEST = "sha256:" + "a" * 64
KEY = {"type": "sigstoreSigned", "keyPath": "/k.pub"}
PEM = base64.b64encode(b"a key").decode()


def parsed(document: object) -> Policy:
    raw = document if isinstance(document, str) else json.dumps(document)
    return Policy.parse(raw.encode(), "p.json")


def with_one(requirement: object) -> dict[str, Any]:
    return {"default": [requirement]}


def docker(text: str) -> Identity:
    return Identity(transport="docker", ref=ImageRef.parse(text))


# --- scopes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "scopes"),
    [
        (docker("busybox"), ["docker.io/library/busybox:latest", "docker.io/library/busybox",
                             "docker.io/library", "docker.io", "*.io", ""]),
        (docker("a.b.example.com:5000/t/app:1"), [
            "a.b.example.com:5000/t/app:1", "a.b.example.com:5000/t/app", "a.b.example.com:5000/t",
            "a.b.example.com:5000", "*.b.example.com", "*.example.com", "*.com", ""]),
        (docker(f"localhost:5000/app:1@{DIGEST}"), [
            f"localhost:5000/app@{DIGEST}", "localhost:5000/app", "localhost:5000", ""]),
        (Identity(transport="oci", path="/a/b"), ["/a/b", "/a", ""]),
        (Identity(transport="oci-archive", path="/a/b.tar"), ["/a/b.tar", "/a", ""]),
        (Identity(transport="oci", path="/"), [""]),
        (Identity(transport="oci-archive"), [""]),
        (Identity(transport="docker-archive", path="/a/b.tar"), [""]),
        (Identity(transport="containers-storage"), [""]),
    ],
)  # fmt: skip
def test_scopes_go_from_the_image_to_all_of_its_transport(identity: Identity, scopes: list[str]) -> None:
    assert list(scopes_of(identity)) == scopes


def test_the_narrowest_scope_decides_alone() -> None:
    policy = parsed(
        {
            "default": REJECT,
            "transports": {
                "docker": {
                    "": ACCEPT,
                    "docker.io/library": REJECT,
                    "docker.io/library/busybox": [*ACCEPT, KEY],
                    "docker.io/library/busybox:bad": REJECT,
                },
                "oci": {"/srv": ACCEPT},
            },
        }
    )
    for identity, scope, kinds in (
        (docker("busybox:1"), "docker docker.io/library/busybox", "insecureAcceptAnything sigstoreSigned"),
        (docker("busybox:bad"), "docker docker.io/library/busybox:bad", "reject"),
        (docker("alpine"), "docker docker.io/library", "reject"),
        (docker("example.com/a"), "all of docker", "insecureAcceptAnything"),
        (Identity(transport="oci", path="/srv/x"), "oci /srv", "insecureAcceptAnything"),
        (Identity(transport="oci", path="/srvx"), "default", "reject"),
        (Identity(transport="containers-storage"), "default", "reject"),
    ):
        found = policy.for_image(identity)
        assert (found[0], " ".join(r.type for r in found[1])) == (scope, kinds)


# --- what is read, and what refuses the file ---------------------------------------------------


@pytest.mark.parametrize(
    "requirement",
    [
        *ACCEPT,
        *REJECT,
        KEY,
        {"type": "sigstoreSigned", "keyData": PEM, "rekorPublicKeyData": PEM},
        {"type": "sigstoreSigned", "keyPaths": ["/a", "/b"], "rekorPublicKeyPaths": ["/c"]},
        {"type": "sigstoreSigned", "keyDatas": [PEM], "rekorPublicKeyDatas": [PEM]},
        {"type": "sigstoreSigned", "rekorPublicKeyPath": "/r",
         "fulcio": {"caData": PEM, "oidcIssuer": "https://i", "subjectEmail": "a@b"}},
        {"type": "sigstoreSigned", "pki": {"caRootsPath": "/r", "subjectHostname": "h"}},
        {"type": "sigstoreSigned",
         "pki": {"caRootsData": PEM, "caIntermediatesData": PEM, "subjectEmail": "a@b"}},
        {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"},
        {"type": "signedBy", "keyType": "GPGKeys", "keyPaths": ["/k"],
         "signedIdentity": {"type": "matchExact"}},
        {"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchRepository"}},
        *({**KEY, "signedIdentity": i} for i in (
            {"type": "matchExact"}, {"type": "matchRepoDigestOrExact"}, {"type": "matchRepository"},
            {"type": "exactReference", "dockerReference": "example.com/a:1"},
            {"type": "exactRepository", "dockerRepository": "example.com/a"},
            {"type": "remapIdentity", "prefix": "mirror:5000/x", "signedPrefix": "example.com"},
        )),
    ],
)  # fmt: skip
def test_every_requirement_of_the_format_is_read(requirement: dict[str, Any]) -> None:
    assert parsed(with_one(requirement)).default[0].type == requirement["type"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("[]", "must be a JSON object"),
        ("{}", "default: must be a list"),
        ({"default": []}, "default: must be a list of requirements"),
        ({"default": None}, "default: must be a list"),
        ({"default": ACCEPT, "more": 1}, "unknown key 'more'"),
        ('{"default": [{"type": "reject"}], "default": [{"type": "reject"}]}', "'default' stands twice"),
        ('{"default": [{"type": "reject", "type": "insecureAcceptAnything"}]}', "'type' stands twice"),
        ({"default": ACCEPT, "transports": {"docker": None}}, "docker is missing"),
        ({"default": ACCEPT, "transports": {"docker": {"a": []}}}, "a: must be a list of requirements"),
        ({"default": ACCEPT, "transports": {"oci": {"srv": ACCEPT}}}, "no absolute path"),
        ({"default": ACCEPT, "transports": {"oci": {"/": ACCEPT}}}, "no absolute path"),
        ({"default": ACCEPT, "transports": {"dir": {"/a/../b": ACCEPT}}}, "no absolute path"),
        ({"default": ACCEPT, "transports": {"dir": {"//a": ACCEPT}}}, "no absolute path"),
        ({"default": ACCEPT, "transports": {"docker-archive": {"/a": ACCEPT}}}, "no scope but the empty"),
        (with_one({}), "type is missing"),
        (with_one({"type": "accept"}), "unknown type 'accept'"),
        (with_one({"type": "reject", "why": ""}), "unknown key 'why'"),
        (with_one({"type": "sigstoreSigned"}), "must have one of keyPath"),
        (with_one({**KEY, "keyData": PEM}), "keyPath and keyData exclude each other"),
        (with_one({**KEY, "KeyPath": "/b"}), "unknown key 'KeyPath'"),
        (with_one({"type": "sigstoreSigned", "keyPaths": []}), "keyPaths is empty"),
        (with_one({"type": "sigstoreSigned", "keyPath": ""}), "keyPath is empty"),
        (with_one({"type": "sigstoreSigned", "keyData": "%"}), "no base64"),
        (with_one({**KEY, "fulcio": {}}), "must have one of keyPath"),
        (with_one({"type": "sigstoreSigned", "fulcio": {
            "caPath": "/c", "oidcIssuer": "i", "subjectEmail": "e"}}), "fulcio needs one of rekor"),
        (with_one({"type": "sigstoreSigned", "rekorPublicKeyPath": "/r", "fulcio": {
            "caPath": "/c", "subjectEmail": "e"}}), "oidcIssuer is missing"),
        (with_one({"type": "sigstoreSigned", "pki": {"caRootsPath": "/c"}}), "subjectEmail or subjectHost"),
        (with_one({"type": "signedBy", "keyType": "PGP", "keyPath": "/k"}), "unknown keyType 'PGP'"),
        (with_one({"type": "signedBy", "keyType": "GPGKeys"}), "must have one of keyPath"),
        (with_one({**KEY, "signedIdentity": None}), "signedIdentity must be an object"),
        (with_one({**KEY, "signedIdentity": {"type": "any"}}), "unknown type 'any'"),
        (with_one({**KEY, "signedIdentity": {"type": "matchExact", "prefix": "a"}}), "unknown key 'prefix'"),
        (with_one({**KEY, "signedIdentity": {
            "type": "exactReference", "dockerReference": "example.com/a"}}), "neither tag nor digest"),
        (with_one({**KEY, "signedIdentity": {
            "type": "exactRepository", "dockerRepository": "A b"}}), "is no reference"),
        (with_one({**KEY, "signedIdentity": {
            "type": "remapIdentity", "prefix": "a:1/b:tag", "signedPrefix": "b"}}), "no host and no"),
    ],
)  # fmt: skip
def test_a_mistake_refuses_the_whole_file(document: object, words: str) -> None:
    with pytest.raises(InvalidDocument, match=r"^p\.json") as caught:
        parsed(document)
    assert words in caught.value.message


def test_a_file_that_is_no_policy_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the policy .*none: no such file"):
        Policy.load(str(tmp_path / "none"))
    (tmp_path / "p").write_text('{"default": 1}')
    with pytest.raises(UsageError, match="p: default must be a list"):
        Policy.load(str(tmp_path / "p"))


# --- for which names a signature counts --------------------------------------------------------

REPO, HERE = "example.com/team/app", "mirror:5000/x/app"


@pytest.mark.parametrize(
    ("rule", "image", "signed", "fits"),
    [
        (("matchExact",), f"{REPO}:1", f"{REPO}:1", True),
        (("matchExact",), f"{REPO}:1", f"{REPO}:2", False),
        (("matchExact",), f"{REPO}@{DIGEST}", f"{REPO}:1", False),
        (("matchExact",), f"{REPO}:1", REPO, False),
        (("matchRepoDigestOrExact",), f"{REPO}:1", f"{REPO}:1", True),
        (("matchRepoDigestOrExact",), f"{REPO}:1", f"{REPO}:2", False),
        (("matchRepoDigestOrExact",), f"{REPO}:1", REPO, False),
        (("matchRepoDigestOrExact",), f"{REPO}@{DIGEST}", f"{REPO}:1", True),
        (("matchRepoDigestOrExact",), f"{REPO}@{DIGEST}", REPO, False),
        (("matchRepoDigestOrExact",), f"{REPO}@{DIGEST}", "example.com/team/other:1", False),
        (("matchRepository",), f"{REPO}:1", REPO, True),
        (("matchRepository",), f"{REPO}:1", f"{REPO}:2", True),
        (("matchRepository",), f"{REPO}:1", f"{REPO}er", False),
        (("matchRepository",), "busybox", "docker.io/library/busybox", True),
        (("matchRepository",), f"{REPO}:1", "No Reference", False),
        (("exactReference", f"{REPO}:1"), f"{HERE}:9", f"{REPO}:1", True),
        (("exactReference", f"{REPO}:1"), f"{HERE}:9", f"{REPO}:9", False),
        (("exactReference", f"{REPO}:1"), None, f"{REPO}:1", True),
        (("exactRepository", REPO), None, f"{REPO}:9", True),
        (("exactRepository", REPO), f"{HERE}:1", HERE, False),
        (("matchRepository",), None, REPO, False),
        (("remapIdentity", "mirror:5000/x", "example.com/team"), f"{HERE}:1", f"{REPO}:1", True),
        (("remapIdentity", "mirror:5000/x", "example.com/team"), f"{HERE}:1", f"{HERE}:1", False),
        (("remapIdentity", "mirror:5000/x", "example.com/team"), f"{HERE}@{DIGEST}", f"{REPO}:7", True),
        (("remapIdentity", "mirror:5000", "example.com"), "mirror:5000/team/app:1", f"{REPO}:1", True),
        (("remapIdentity", "mirror:5000/x/ap", "example.com/team/ap"), f"{HERE}:1", f"{REPO}:1", False),
        (("remapIdentity", "mirror:5000/x/ap", "example.com/team/ap"), f"{HERE}:1", f"{HERE}:1", True),
        (("remapIdentity", HERE, REPO), f"{HERE}:1", f"{REPO}:1", True),
    ],
)  # fmt: skip
def test_names_fit_as_in_containers(
    rule: tuple[str, ...], image: str | None, signed: str, fits: bool
) -> None:
    assert SignedIdentity(*rule).fits(ImageRef.parse(image) if image else None, signed) == fits
