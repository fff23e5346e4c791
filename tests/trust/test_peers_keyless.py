"""What sigstore's verifier for JavaScript says of signatures without a key, and we say the same."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import pytest

from imagesmith.errors import InvalidDocument, Untrusted
from tests.support import need_program
from tests.trust.issuers import NOW_S, YEAR, key_of, text_of, world
from tests.trust.test_peers import sigstore
from tests.trust.test_sigstore import (
    ANYBODY,
    KEYLESS,
    Document,
    late,
    of_another,
    payload,
    payload_type,
    twice,
    verify,
)

__all__ = ["sigstore"]

#: Reads a root and a bundle a line; says of each who signed it, or in a text why it does not count.
PROGRAM = """
const { bundleFromJSON } = require("@sigstore/bundle");
const { Verifier, toSignedEntity, toTrustMaterial } = require("@sigstore/verify");
const { TrustedRoot } = require("@sigstore/protobuf-specs");
for (const line of require("fs").readFileSync(0, "utf8").trim().split("\\n")) {
  const [root, bundle] = JSON.parse(line);
  try {
    const verifier = new Verifier(toTrustMaterial(TrustedRoot.fromJSON(root)));
    const { identity } = verifier.verify(toSignedEntity(bundleFromJSON(bundle)));
    console.log(JSON.stringify([identity.subjectAlternativeName, identity.extensions.issuer]));
  } catch (error) {
    console.log(JSON.stringify(`${error.name}: ${error.message}`));
  }
}
"""


def cases() -> list[tuple[str, Document, Document]]:
    """Roots and bundles, good ones and others, of which npm's verifier should think the same."""
    w, second = world(), world(second=True)
    first = [(kind, stamped) for kind in ("dsse 0.0.1", "intoto 0.0.2") for stamped in (False, True)]
    out = [(kind, w.trusted_root(), w.bundle(kind, stamped=stamped)) for kind, stamped in first]
    out.append(("dsse 0.0.2", second.trusted_root(), second.bundle("dsse 0.0.2", stamped=True)))
    for root, bundle in (("production", "production"), ("staging", "staging"), ("staging", "production")):
        files = (KEYLESS / f"{root}.root.json", KEYLESS / f"{bundle}.bundle.json")
        out.append((f"{bundle} under {root}", *(json.loads(file.read_bytes()) for file in files)))
    out.append(("no time", second.trusted_root(), second.bundle("dsse 0.0.2")))
    for change in (
        payload,
        payload_type,
        of_another("tlogEntries"),
        of_another("timestampVerificationData"),
        twice,
        late,
    ):
        document = json.loads(json.dumps(w.bundle(stamped=True)))
        change(document)
        out.append((f"changed: {change.__qualname__}", w.trusted_root(), document))
    for changes in ({"end_s": NOW_S - 1}, {"start_s": NOW_S + 1}, {"log": None}, {"log": key_of("somebody")}):
        signed = w.signed_by(**changes)
        out.append((f"certificate: {changes}", signed.trusted_root(), signed.bundle()))
    other = {**w.trusted_root(), "tlogs": second.trusted_root()["tlogs"]}
    out.append(("another log", other, w.bundle()))
    old = w.trusted_root()
    old["certificateAuthorities"][0]["validFor"]["end"] = text_of(NOW_S - YEAR // 2)
    out.append(("an authority of another time", old, w.bundle()))
    return out


@pytest.mark.slow
def test_sigstores_verifier_and_we_say_the_same(sigstore: Path) -> None:
    all_of_them = cases()
    lines = "\n".join(json.dumps([root, bundle]) for _, root, bundle in all_of_them)
    words = [need_program("node"), "-e", PROGRAM]
    done = subprocess.run(words, cwd=sigstore, input=lines, capture_output=True, text=True, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    for (name, root, bundle), said in zip(all_of_them, told, strict=True):
        found = None
        with contextlib.suppress(Untrusted, InvalidDocument):
            found = verify(root, bundle, ANYBODY)
        if found is None:
            assert isinstance(said, str), f"{name}: it is taken"
        else:
            assert said == [found.names[0], found.issuer], name
    assert (len(told), sum(isinstance(said, list) for said in told)) == (21, 7)
