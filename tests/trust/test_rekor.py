"""Entries of the transparency log: those of this signature hold, and each that is not is told."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import ImagesmithError, InvalidDocument, Untrusted
from imagesmith.oci.codec import Object
from imagesmith.trust.keys import PublicKey
from imagesmith.trust.rekor import Entry, Signed, check_entry
from imagesmith.trust.trustedroot import Log, Period, TrustedRoot
from tests.trust.issuers import NOW_S, YEAR, World, b64, key_of, spki, world

FIRST = ("hashedrekord 0.0.1", "dsse 0.0.1", "intoto 0.0.2")
SECOND = ("hashedrekord 0.0.2", "dsse 0.0.2")
NS = 1_000_000_000


def of(kind: str) -> World:
    return world(second=kind in SECOND)


def signed_of(w: World, **changes: Any) -> Signed:
    signature = w.signer.key.sign(w.message, ec.ECDSA(hashes.SHA256()))
    given_to = {"signature": signature, "message": w.message, "payload": w.payload, "verifier": w.signer.der}
    return Signed(**{**given_to, **changes})


def logs_of(w: World) -> tuple[Log, ...]:
    return TrustedRoot.parse(json.dumps(w.trusted_root()).encode(), "root").tlogs


def entered(w: World, kind: str, signed: Signed, **how: Any) -> dict[str, Any]:
    return w.rekor.entry(w.body(kind, signed.signature), **how)


def check(w: World, entry: dict[str, Any], signed: Signed, times: tuple[int, ...] = ()) -> int | None:
    return check_entry(Entry.from_json(Object(entry, "entry")), signed, logs_of(w), times)


def edited(entry: dict[str, Any], edit: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """An entry with its body changed, as a thief would: nothing that was signed over it is made anew."""
    body = json.loads(base64.b64decode(entry["canonicalizedBody"]))
    edit(body)
    return {
        **entry,
        "canonicalizedBody": b64(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()),
    }


@pytest.mark.parametrize("kind", FIRST + SECOND)
def test_entries_of_every_kind_hold(kind: str) -> None:
    w = of(kind)
    signed = signed_of(w)
    assert check(w, entered(w, kind, signed), signed, (NOW_S,)) == (None if kind in SECOND else NOW_S)


def test_an_entry_holds_by_its_promise_or_by_its_proof() -> None:
    w = of("dsse 0.0.1")
    signed = signed_of(w)
    entry = entered(w, "dsse 0.0.1", signed)
    assert check(w, {k: v for k, v in entry.items() if k != "inclusionProof"}, signed) == NOW_S
    assert check(w, {k: v for k, v in entry.items() if k != "inclusionPromise"}, signed) is None
    neither = {k: v for k, v in entry.items() if k not in ("inclusionPromise", "inclusionProof")}
    with pytest.raises(Untrusted, match=r"^entry: has neither a promise of the log nor a proof"):
        check(w, neither, signed)


def test_a_time_that_is_not_promised_is_none() -> None:
    w = of("dsse 0.0.2")
    signed = signed_of(w)
    entry = {**entered(w, "dsse 0.0.2", signed), "integratedTime": str(NOW_S)}
    assert check(w, entry, signed) is None


def test_cosigns_annotation_is_read() -> None:
    w = of("hashedrekord 0.0.1")
    signed = signed_of(w, payload=None)
    raw = base64.b64decode(entered(w, "hashedrekord 0.0.1", signed)["canonicalizedBody"])
    payload = {"body": b64(raw), "integratedTime": NOW_S, "logIndex": 1005, "logID": w.rekor.id.hex()}
    promise = b64(w.rekor.sign(w.rekor.promised(raw, NOW_S, 1005)))
    annotation = {"SignedEntryTimestamp": promise, "Payload": payload}
    entry = Entry.from_annotation(json.dumps(annotation), "annotation")
    assert check_entry(entry, signed, logs_of(w)) == NOW_S
    key = PublicKey.parse(spki(w.rekor.key), "rekor.pub")
    assert check_entry(entry, signed, [Log.of_key(key)]) == NOW_S
    payload["logIndex"] = 1006
    entry = Entry.from_annotation(json.dumps(annotation), "annotation")
    with pytest.raises(Untrusted, match=r"annotation: the promise is not the log's, or of another entry"):
        check_entry(entry, signed, logs_of(w))
    payload["logID"] = "zz"
    with pytest.raises(InvalidDocument, match=r"logID is not hexadecimal"):
        Entry.from_annotation(json.dumps(annotation), "annotation")


def test_an_older_entry_is_of_the_envelope_as_it_is_stored() -> None:
    w = of("dsse 0.0.1")
    stored = b'{"payload":""}'
    digest = {"algorithm": "sha256", "value": hashlib.sha256(stored).hexdigest()}
    spec = {"content": {"hash": digest}, "publicKey": b64(w.signer.pem)}
    entry = w.rekor.entry({"apiVersion": "0.0.1", "kind": "intoto", "spec": spec})
    assert check(w, entry, signed_of(w, stored=stored)) == NOW_S
    with pytest.raises(Untrusted, match=r"entry: the entry is of something else that was signed"):
        check(w, entry, signed_of(w, stored=stored + b" "))
    with pytest.raises(
        Untrusted, match=r"entry: an entry of the kind 'intoto 0.0.1' is of an envelope that stands"
    ):
        check(w, entry, signed_of(w))


@pytest.mark.parametrize("kind", FIRST + SECOND)
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"signature": b"another"}, "the entry is of another signature"),
        ({"message": b"another", "payload": b"another"}, "the entry is of something else that was signed"),
        ({"verifier": b"another"}, "the entry is of another signer"),
    ],
)
def test_a_true_entry_of_something_else_is_told(kind: str, changes: dict[str, Any], says: str) -> None:
    w = of(kind)
    signed = signed_of(w)
    with pytest.raises(Untrusted, match=f"^entry: {says}$"):
        check(w, entered(w, kind, signed), signed_of(w, **{"signature": signed.signature, **changes}))


@pytest.mark.parametrize("kind", ["dsse 0.0.1", "intoto 0.0.2", "dsse 0.0.2"])
def test_an_entry_of_an_envelope_is_not_of_a_message(kind: str) -> None:
    w = of(kind)
    signed = signed_of(w, payload=None)
    with pytest.raises(
        Untrusted, match=r"^entry: the entry is of an envelope, and the signature is over none"
    ):
        check(w, entered(w, kind, signed), signed)


def test_entries_of_other_kinds_are_refused_by_name() -> None:
    w = of("dsse 0.0.1")
    entry = w.rekor.entry({"apiVersion": "0.0.1", "kind": "rpm", "spec": {}})
    with pytest.raises(
        Untrusted, match=r"^entry: entries of the kind 'rpm 0.0.1' are not read; known: hashedrekord"
    ):
        check(w, entry, signed_of(w))
    entry["kindVersion"] = {"kind": "dsse", "version": "0.0.1"}
    with pytest.raises(Untrusted, match=r"^entry: is called 'dsse 0.0.1' and is something else"):
        check(w, entry, signed_of(w))


def test_an_entry_of_two_signatures_is_told() -> None:
    w = of("dsse 0.0.1")
    signed = signed_of(w)
    body = w.body("dsse 0.0.1", signed.signature)
    body["spec"]["signatures"] *= 2
    with pytest.raises(Untrusted, match=r"^entry: the entry is of 2 signatures, not of one"):
        check(w, w.rekor.entry(body), signed)


def test_an_entry_by_an_unknown_hash_is_told() -> None:
    w = of("dsse 0.0.1")
    signed = signed_of(w)
    body = w.body("dsse 0.0.1", signed.signature)
    body["spec"]["payloadHash"]["algorithm"] = "md5"
    with pytest.raises(Untrusted, match=r"^entry: the entry is by the hash 'md5', which is not known"):
        check(w, w.rekor.entry(body), signed)


def flipped(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[len(raw) // 2] ^= 1
    return b64(bytes(raw))


def test_a_body_that_was_changed_is_told_by_promise_and_by_proof() -> None:
    w = of("dsse 0.0.1")
    signed = signed_of(w)
    entry = edited(entered(w, "dsse 0.0.1", signed), lambda body: body["spec"]["envelopeHash"].clear())
    with pytest.raises(Untrusted, match=r"^entry: the promise is not the log's, or of another entry"):
        check(w, entry, signed)
    del entry["inclusionPromise"]
    with pytest.raises(Untrusted, match=r"^entry: the proof does not lead to the root of the log"):
        check(w, entry, signed)


CHECKPOINT = "inclusionProof/checkpoint/envelope"


@pytest.mark.parametrize(
    ("path", "change", "says"),
    [
        ("integratedTime", lambda _: str(NOW_S + 1), "the promise is not the log's, or of another entry"),
        ("logIndex", lambda _: "1006", "the promise is not the log's, or of another entry"),
        ("inclusionPromise/signedEntryTimestamp", flipped, "the promise is not the log's"),
        ("integratedTime", lambda _: str(NOW_S - 2 * YEAR), "the log was not in use when the entry was made"),
        ("logId/keyId", flipped, "is of a log that is not trusted: [0-9a-f]{64}"),
        ("inclusionProof/logIndex", lambda _: "6", "the proof does not lead to the root of the log"),
        ("inclusionProof/logIndex", lambda _: "11", "entry 11 is not in a log of 11"),
        ("inclusionProof/rootHash", flipped, "the proof is of another tree than its checkpoint"),
        ("inclusionProof/treeSize", lambda _: "12", "the proof is of another tree than its checkpoint"),
        ("inclusionProof/hashes/0", flipped, "the proof does not lead to the root of the log"),
        ("inclusionProof/hashes", lambda h: h[:-1], "the proof does not lead to the root of the log"),
        ("inclusionProof/hashes", lambda h: [*h, h[0]], "the proof does not lead to the root of the log"),
        ("inclusionProof/checkpoint", lambda _: None, "the proof has no checkpoint that can be read"),
        (CHECKPOINT, lambda t: t.replace("\n\n", "\n"), "the proof has no checkpoint that can be read"),
        (CHECKPOINT, lambda t: t.replace("\n11\n", "\nab\n"), "the proof has no checkpoint that can be read"),
        (CHECKPOINT, lambda t: t.replace("\n11\n", "\n12\n"), "the checkpoint is not signed by the log"),
        (CHECKPOINT, lambda t: t.partition("\n\n")[0] + "\n\n", "the checkpoint is not signed by the log"),
        (CHECKPOINT, lambda t: t + "more", "the signatures of the checkpoint cannot be read"),
        (CHECKPOINT, lambda t: t.replace("\u2014", "-"), "the signatures of the checkpoint cannot be read"),
    ],
)  # fmt: skip
def test_what_is_changed_in_an_entry_is_told(path: str, change: Callable[[Any], Any], says: str) -> None:
    w = of("dsse 0.0.1")
    signed = signed_of(w)
    entry = json.loads(json.dumps(entered(w, "dsse 0.0.1", signed)))
    *way, last = path.split("/")
    at: Any = entry
    for key in way:
        at = at[key]
    where: Any = int(last) if last.isdigit() else last
    at[where] = change(at[where])
    with pytest.raises(Untrusted, match=f"^entry: {says}"):
        check(w, entry, signed)


def test_a_checkpoint_may_have_signatures_of_others_too() -> None:
    w = of("dsse 0.0.2")
    signed = signed_of(w)
    entry = entered(w, "dsse 0.0.2", signed)
    note = entry["inclusionProof"]["checkpoint"]["envelope"]
    text, _, own = note.partition("\n\n")
    entry["inclusionProof"]["checkpoint"]["envelope"] = (
        f"{text}\n\n\u2014 witness.example {b64(b'other')}\n{own}"
    )
    assert check(w, entry, signed) is None
    entry["inclusionProof"]["checkpoint"]["envelope"] = f"{text}\n\n\u2014 witness.example {b64(b'other')}\n"
    with pytest.raises(Untrusted, match=r"the checkpoint is not signed by the log"):
        check(w, entry, signed)


def test_a_log_must_have_been_in_use() -> None:
    w = of("dsse 0.0.2")
    signed = signed_of(w)
    entry = Entry.from_json(Object(entered(w, "dsse 0.0.2", signed), "entry"))
    (log,) = logs_of(w)
    ended = Log(log.name, log.ids, log.key, Period(log.period.start_ns, NOW_S * NS))
    assert check_entry(entry, signed, [ended], (NOW_S,)) is None
    with pytest.raises(Untrusted, match=r"^entry: the log was not in use when the entry was made"):
        check_entry(entry, signed, [ended], (NOW_S, NOW_S + 1))


def test_a_log_of_another_key_is_told() -> None:
    w = of("dsse 0.0.1")
    signed = signed_of(w)
    entry = Entry.from_json(Object(entered(w, "dsse 0.0.1", signed), "entry"))
    (log,) = logs_of(w)
    other = Log(log.name, log.ids, PublicKey.parse(spki(key_of("somebody")), "other"), log.period)
    with pytest.raises(Untrusted, match=r"^entry: the promise is not the log's"):
        check_entry(entry, signed, [other])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kindVersion": None}, "entry: kindVersion is missing"),
        ({"logId": None}, "entry: logId is missing"),
        ({"logIndex": "-1"}, "entry: logIndex is '-1', not a number"),
        ({"integratedTime": "1e9"}, "entry: integratedTime is '1e9', not a number"),
        ({"canonicalizedBody": "%"}, "entry: canonicalizedBody is no base64"),
        (
            {"inclusionProof": {"hashes": ["AA=="] * 65}},
            "inclusionProof: 65 hashes are more than any tree is high",
        ),
        ({"inclusionProof": {"hashes": ["%"]}}, r"inclusionProof: hashes\[0\]: hash is no base64"),
    ],
)
def test_what_is_no_entry_is_told(changes: dict[str, Any], says: str) -> None:
    w = of("dsse 0.0.1")
    entry = {**entered(w, "dsse 0.0.1", signed_of(w)), **changes}
    with pytest.raises(InvalidDocument, match=says):
        Entry.from_json(Object(entry, "entry"))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 31, 33])
def test_proofs_of_every_place_hold_and_of_no_other(size: int) -> None:
    w = of("dsse 0.0.2")
    signed = signed_of(w)
    for index in range(size):
        entry = entered(w, "dsse 0.0.2", signed, index=index, size=size)
        assert check(w, entry, signed) is None
        for other in {0, index - 1, index + 1, size - 1} - {index}:
            if 0 <= other < size:
                entry["inclusionProof"]["logIndex"] = str(other)
                with pytest.raises(Untrusted, match=r"does not lead to the root"):
                    check(w, entry, signed)


@given(st.data())
def test_no_bit_of_an_entry_can_be_changed(data: st.DataObject) -> None:
    """Every bit of what an entry is known by counts."""
    kind = data.draw(st.sampled_from(FIRST + SECOND))
    w = of(kind)
    signed = signed_of(w)
    entry = Entry.from_json(Object(entered(w, kind, signed), "entry"))
    name = data.draw(st.sampled_from(["log", "body", "promise"] if kind in FIRST else ["log", "body"]))
    raw = bytearray(getattr(entry, name))
    at = data.draw(st.integers(0, 1 << 16)) % (8 * len(raw))
    raw[at // 8] ^= 1 << at % 8
    known = {
        n: getattr(entry, n) for n in ("what", "index", "kind", "time_s", "proof", "log", "body", "promise")
    }
    with pytest.raises(ImagesmithError, match=r"^entry: "):
        check_entry(Entry(**{**known, name: bytes(raw)}), signed, logs_of(w), (NOW_S,))
