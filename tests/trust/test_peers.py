"""What others say of our signatures: sigstore's verifier for JavaScript, and containers/image's rules."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from imagesmith.attest.statement import Claim
from imagesmith.trust.keys import KINDS, PrivateKey, generate
from imagesmith.trust.signing import attest
from tests.support import lacking, need_program
from tests.trust.conftest import Shop, flipped, statement
from tests.trust.test_keys import VECTORS

#: What it says of a bundle on standard input, for the public key in a file: nothing, or why not.
PROGRAM = """
const fs = require("fs");
const { Verifier, toSignedEntity } = require("@sigstore/verify");
const { bundleFromJSON } = require("@sigstore/bundle");
const key = require("crypto").createPublicKey(fs.readFileSync(process.argv[2]));
const spki = key.export({ format: "der", type: "spki" });
const hint = require("crypto").createHash("sha256").update(spki).digest("base64");
const material = {
  certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [],
  publicKey: (h) => {
    if (h !== hint) throw new Error("no such key");
    return { publicKey: key, validFor: () => true };
  },
};
const verifier = new Verifier(material, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
for (const line of fs.readFileSync(0, "utf8").trim().split("\\n")) {
  try { verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(line)))); console.log("good"); }
  catch (e) { console.log(e.code || e.message); }
}
"""


@pytest.fixture(scope="session")
def sigstore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which node finds sigstore's verifier."""
    folder = tmp_path_factory.mktemp("sigstore")
    need_program("node")
    words = [need_program("npm"), "install", "--no-audit", "--no-fund", "--prefix", str(folder)]
    words += ["@sigstore/verify@3", "@sigstore/bundle@4"]
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, env={**os.environ, "HOME": str(folder)}
    )
    if done.returncode:
        lacking(f"npm cannot install @sigstore/verify: {done.stderr.strip()[-200:]}")
    (folder / "verify.js").write_text(PROGRAM)
    return folder


def judged(sigstore: Path, key: PrivateKey | Path, *bundles: bytes) -> list[str]:
    """What sigstore's verifier says of bundles."""
    pub = key if isinstance(key, Path) else sigstore / "key.pub"
    if isinstance(key, PrivateKey):
        pub.write_bytes(key.public.pem)
    lines = b"\n".join(json.dumps(json.loads(b)).encode() for b in bundles)
    words = [need_program("node"), "verify.js", str(pub)]
    return (
        subprocess.run(words, cwd=sigstore, input=lines, capture_output=True, check=True)
        .stdout.decode()
        .split("\n")[:-1]
    )


@pytest.mark.slow
def test_sigstores_verifier_takes_our_bundles_and_none_with_a_byte_changed(
    shop: Shop, sigstore: Path
) -> None:
    shop.sign(shop.image, annotations={"team": "x"})
    claim = Claim("https://slsa.dev/provenance/v1", {"a": "é<>"})
    attest(shop.source, shop.image, shop.beside, shop.store.blobs, shop.signing(), claim)
    bundles = shop.bundles(shop.image)
    assert judged(sigstore, shop.key, *bundles) == ["good", "good"]
    wrong = []
    for raw in bundles:
        for way in ("payload", "sig"):
            document = json.loads(raw)
            envelope: Any = document["dsseEnvelope"]
            at = envelope if way == "payload" else envelope["signatures"][0]
            at[way] = flipped(at[way])
            wrong.append(json.dumps(document).encode())
    assert judged(sigstore, shop.key, *wrong) == ["SIGNATURE_ERROR"] * 4
    assert judged(sigstore, generate("ecdsa-p256"), bundles[0]) != ["good"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ed25519", "rsa-3072"])
def test_sigstores_verifier_takes_bundles_of_other_keys(shop: Shop, sigstore: Path, kind: str) -> None:
    """Larger curves it does not know: it hashes by SHA-256 always, cosign 3 and the specification do not."""
    key = generate(kind)
    good = shop.bundle(statement(shop.image), key=key)
    assert judged(sigstore, key, json.dumps(good).encode()) == ["good"]


@pytest.mark.slow
def test_sigstores_verifier_and_we_say_the_same_of_the_vector(sigstore: Path) -> None:
    vector = (VECTORS / "bundle.json").read_bytes()
    assert judged(sigstore, VECTORS / "cosign.pub", vector) == ["good"]


# --- containers/image's rules, from its documentation alone: what podman and skopeo take --------------------


def get(url: str, accept: str = "*/*") -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept})) as reply:
        return bytes(reply.read())


def taken(host: str, repository: str, digest: str, key: bytes, folder: Path) -> list[dict[str, Any]]:
    """The payloads that a policy `sigstoreSigned` with `matchRepository` takes for an image; by openssl."""
    accept = "application/vnd.oci.image.manifest.v1+json"
    tag = digest.replace(":", "-") + ".sig"
    manifest = json.loads(get(f"http://{host}/v2/{repository}/manifests/{tag}", accept))
    assert manifest["mediaType"] == accept
    (folder / "pub").write_bytes(key)
    out = []
    for layer in manifest["layers"]:
        if layer["mediaType"] != "application/vnd.dev.cosign.simplesigning.v1+json":
            continue
        payload = get(f"http://{host}/v2/{repository}/blobs/{layer['digest']}")
        assert f"sha256:{hashlib.sha256(payload).hexdigest()}" == layer["digest"]
        (folder / "payload").write_bytes(payload)
        signature = layer["annotations"]["dev.cosignproject.cosign/signature"]
        (folder / "sig").write_bytes(base64.b64decode(signature))
        words = ["openssl", "dgst", "-sha256", "-verify", "pub", "-signature", "sig", "payload"]
        if subprocess.run(words, cwd=folder, capture_output=True).returncode:
            continue
        document = json.loads(payload)
        assert set(document) == {"critical", "optional"}
        assert set(document["critical"]) == {"type", "image", "identity"}
        assert document["critical"]["type"] == "cosign container image signature"
        assert set(document["critical"]["image"]) == {"docker-manifest-digest"}
        assert set(document["critical"]["identity"]) == {"docker-reference"}
        optional = document["optional"] or {}
        assert isinstance(optional.get("creator", ""), str)
        assert isinstance(optional.get("timestamp", 0), int)
        if document["critical"]["image"]["docker-manifest-digest"] != digest:
            continue
        if (
            document["critical"]["identity"]["docker-reference"].partition(":1")[0]
            == f"{host}/{repository}".partition(":1")[0]
        ):
            out.append(document)
    return out


@pytest.fixture(params=[k for k in KINDS if k != "ed25519"])
def key(request: pytest.FixtureRequest) -> PrivateKey:
    return generate(request.param)


def test_the_rules_of_containers_take_what_the_tag_holds(shop: Shop, key: PrivateKey, tmp_path: Path) -> None:
    need_program("openssl")
    for d in (*shop.children, shop.index):
        shop.sign(d, key=key)
        (found,) = taken(shop.host, "team/app", str(d.digest), key.public.pem, tmp_path)
        assert found["critical"]["identity"]["docker-reference"] == f"{shop.host}/team/app"
    shop.sign(shop.index, key=generate("ecdsa-p256"), reference=f"{shop.host}/team/app:1")
    assert len(taken(shop.host, "team/app", str(shop.index.digest), key.public.pem, tmp_path)) == 1
    assert (
        taken(shop.host, "team/app", str(shop.index.digest), generate("ecdsa-p256").public.pem, tmp_path)
        == []
    )
