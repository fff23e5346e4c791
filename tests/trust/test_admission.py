"""A policy is asked: which signatures let an image pass, and what is said of those that do not."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from imagesmith.errors import NotFound, RegistryError, Untrusted, UsageError
from imagesmith.image.edited import Edited
from imagesmith.interfaces import ImageSource
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.identity import Identity
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.settings import MACHINE
from imagesmith.store.store import Store
from imagesmith.transports.cosigntags import companion_tag
from imagesmith.trust.admission import PolicyAdmission, admission_by
from imagesmith.trust.keys import PrivateKey, generate
from imagesmith.trust.policy import Policy
from imagesmith.trust.simplesigning import Payload, SimpleSignature, with_signature
from imagesmith.values import replace

IMAGE = Descriptor(
    media_type="application/vnd.oci.image.manifest.v1+json", digest=digest_bytes(b"an image"), size=8
)
NAME = "example.com/team/app"
REKOR = base64.b64encode(generate("ecdsa-p256").public.pem).decode()
KEYS = {name: generate("ecdsa-p256") for name in ("ours", "theirs")}


class Place:
    """A repository of one image, with what was signed of it; ImageSource."""

    def __init__(self, store: Store, name: str = f"{NAME}:1") -> None:
        self.identity = Identity(transport="docker", ref=ImageRef.parse(name))
        self.name, self._blobs = name, store.blobs
        self._made: Edited | None = None
        self.times_asked, self.down = 0, False

    def sign(self, key: PrivateKey, name: str = NAME, image: Digest = IMAGE.digest, **more: Any) -> None:
        """Put a signature under the tag, behind those that are there."""
        raw = more.get("raw") or Payload(name, image).to_json()
        signed = SimpleSignature(raw, more.get("signature") or key.sign(raw, sha256=True))
        self._made = with_signature(copy.copy(self), IMAGE.digest, signed, self._blobs)

    def tagged(self, tag: str) -> Descriptor | None:
        self.times_asked += 1
        if self.down:
            raise RegistryError("down")
        wanted = companion_tag(IMAGE.digest, ".sig")
        return self._made.root() if self._made is not None and tag == wanted else None

    def document(self, d: Descriptor) -> bytes:
        assert self._made is not None
        return self._made.document(d)

    def pieces(self, d: Descriptor, offset: int = 0) -> Iterator[bytes]:
        assert self._made is not None
        return self._made.pieces(d, offset)

    def root(self) -> Descriptor:
        raise NotFound("nothing but signatures is here")

    def lacks(self, d: Descriptor) -> bool:
        del d
        return False

    def origin(self, digest: Digest) -> ImageSource:
        del digest
        return self

    def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        del digest
        return ()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Store(tmp_path / "store") as store:
        yield Place(store)


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """The files of the public keys."""
    for name, key in KEYS.items():
        (tmp_path / f"{name}.pub").write_bytes(key.public.pem)
    return {name: str(tmp_path / f"{name}.pub") for name in KEYS}


def asked(*requirements: dict[str, Any]) -> PolicyAdmission:
    """A policy of these requirements, for everything."""
    return PolicyAdmission(Policy.parse(json.dumps({"default": requirements}).encode(), "p.json"))


def signed(keys: dict[str, str], rule: str = "matchRepository", by: str = "ours") -> dict[str, Any]:
    return {"type": "sigstoreSigned", "keyPath": keys[by], "signedIdentity": {"type": rule}}


def refused(admission: PolicyAdmission, place: Place) -> Untrusted:
    with pytest.raises(Untrusted) as caught:
        admission.admit(place, IMAGE)
    assert caught.value.exit_code == 11
    assert caught.value.message.startswith(f"{place.name}: refused by p.json: default: ")
    return caught.value


def test_who_accepts_anything_asks_nobody(place: Place) -> None:
    asked({"type": "insecureAcceptAnything"}).admit(place, IMAGE)
    assert place.times_asked == 0


@pytest.mark.parametrize(
    ("requirement", "why"),
    [
        ({"type": "reject"}, "reject: everything is rejected"),
        ({"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}, "signedBy: GPG signatures are not ver"),
        ({"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}, "base layers are not ver"),
    ],
)
def test_what_cannot_be_fulfilled_is_refused_by_name(
    place: Place, requirement: dict[str, Any], why: str
) -> None:
    place.sign(KEYS["ours"])
    assert why in refused(asked({"type": "insecureAcceptAnything"}, requirement), place).message


def test_a_signature_by_the_key_of_this_image_lets_it_pass(place: Place, keys: dict[str, str]) -> None:
    place.sign(KEYS["ours"])
    asked(signed(keys)).admit(place, IMAGE)


def test_one_good_signature_among_bad_ones_is_enough(place: Place, keys: dict[str, str]) -> None:
    place.sign(KEYS["theirs"])
    place.sign(KEYS["ours"], image=digest_bytes(b"another"))
    place.sign(KEYS["ours"], name="example.com/team/other")
    assert (
        refused(asked(signed(keys)), place).message.rpartition("sigstoreSigned: ")[2]
        == f"signature 1 is not by {keys['ours']}; signature 2 is of another image,"
        f" {digest_bytes(b'another')}; signature 3 is of 'example.com/team/other', which matchRepository"
        " does not accept"
    )
    place.sign(KEYS["ours"])
    asked(signed(keys)).admit(place, IMAGE)


def test_a_signature_that_cannot_be_read_does_not_hide_a_good_one(place: Place, keys: dict[str, str]) -> None:
    place.sign(KEYS["ours"], raw=b" " * (1 << 20))
    assert "signature sha256:" in refused(asked(signed(keys)), place).message
    place.sign(KEYS["ours"])
    asked(signed(keys)).admit(place, IMAGE)


def test_all_requirements_must_hold(place: Place, keys: dict[str, str]) -> None:
    both = asked(signed(keys), signed(keys, by="theirs"))
    place.sign(KEYS["ours"])
    assert "is not by " + keys["theirs"] in refused(both, place).message
    place.sign(KEYS["theirs"])
    both.admit(place, IMAGE)


def test_one_of_several_keys_is_enough(place: Place, keys: dict[str, str]) -> None:
    some = {"type": "sigstoreSigned", "keyPaths": [keys["theirs"], keys["ours"]]}
    place.sign(KEYS["ours"], name=place.name)
    asked(some).admit(place, IMAGE)


def test_a_log_that_is_demanded_is_not_passed_over(place: Place, keys: dict[str, str]) -> None:
    place.sign(KEYS["ours"])
    found = refused(asked({**signed(keys), "rekorPublicKeyData": REKOR}), place)
    assert "signature 1 comes without an entry of Rekor" in found.message


def test_nothing_signed_is_told_with_where_to_sign(place: Place, keys: dict[str, str]) -> None:
    found = refused(asked(signed(keys)), place)
    assert f"no signature of {IMAGE.digest} is there" in found.message
    assert "sha256-….sig" in found.hint


def test_a_name_without_tag_is_told_with_the_rule_that_takes_it(place: Place, keys: dict[str, str]) -> None:
    place.sign(KEYS["ours"])
    found = refused(asked(signed(keys, "matchRepoDigestOrExact")), place)
    assert f"of {NAME!r}, which matchRepoDigestOrExact does not accept" in found.message
    assert "matchRepository" in found.hint


def test_a_payload_that_says_more_is_none(place: Place, keys: dict[str, str]) -> None:
    raw = Payload(NAME, IMAGE.digest).to_json().replace(b'"optional"', b'"more":1,"optional"')
    place.sign(KEYS["ours"], raw=raw)
    assert "signature 1: unknown key 'more'" in refused(asked(signed(keys)), place).message


def test_what_is_in_an_unsigned_payload_is_not_told(place: Place, keys: dict[str, str]) -> None:
    place.sign(KEYS["ours"], raw=b"\x1b[31m no JSON", signature=b"nonsense")
    assert refused(asked(signed(keys)), place).message.endswith(f"signature 1 is not by {keys['ours']}")


def test_a_registry_that_fails_lets_nothing_pass(place: Place, keys: dict[str, str]) -> None:
    place.sign(KEYS["ours"])
    place.down = True
    admission = asked(signed(keys))
    with pytest.raises(RegistryError, match="down"):
        admission.admit(place, IMAGE)
    place.down = False
    admission.admit(place, IMAGE)


def test_an_image_is_judged_once(place: Place, keys: dict[str, str]) -> None:
    place.sign(KEYS["ours"])
    place.times_asked = 0
    admission = asked(signed(keys), signed(keys))
    for _ in range(3):
        admission.admit(place, IMAGE)
    assert place.times_asked == 2
    other = replace(IMAGE, digest=digest_bytes(b"another"))
    with pytest.raises(Untrusted, match="no signature of"):
        admission.admit(place, other)


def test_a_key_that_cannot_be_read_is_the_users_mistake(place: Place, tmp_path: Path) -> None:
    place.sign(KEYS["ours"])
    with pytest.raises(UsageError, match=r"cannot read .*none.pub, which the policy names: no such file"):
        asked(signed({"ours": str(tmp_path / "none.pub")})).admit(place, IMAGE)


def test_a_key_file_without_a_key_is_the_users_mistake(place: Place, tmp_path: Path) -> None:
    (tmp_path / "no.pub").write_text("no key")
    with pytest.raises(UsageError, match=r"no.pub: not a public key"):
        asked(signed({"ours": str(tmp_path / "no.pub")})).admit(place, IMAGE)


def test_the_machines_policy_is_its_users_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Place
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    own = tmp_path / ".config" / "containers" / "policy.json"
    own.parent.mkdir(parents=True)
    own.write_text('{"default": [{"type": "reject"}]}')
    with pytest.raises(Untrusted, match=rf"refused by {own}: default: reject"):
        admission_by(MACHINE).admit(place, IMAGE)
