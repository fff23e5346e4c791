"""Rekor: that an entry is in a transparency log that is trusted, and that it is of this signature.

An entry holds in one or both of two ways: the log's promise to put it in, signed when it was made (which also
tells the time), and a proof that it is in a tree whose root the log signed.
Spec: sigstore/rekor, types hashedrekord 0.0.1, dsse 0.0.1, intoto 0.0.1 and 0.0.2; rekor-tiles (version 2 of
the log), hashedrekord and dsse 0.0.2; RFC 9162 section 2.1.3.2 for proofs; C2SP's signed-note and
tlog-checkpoint; cosign's bundle annotation.
Trust: an entry is a stranger's, who may take one that is really in the log, of another signature: what it
says of signature, digest and signer is compared with those at hand. Proofs are bounded by a tree's height.
Threads: any.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence

from imagesmith.errors import InvalidDocument, Untrusted
from imagesmith.oci.codec import Object, dumps, parse_object
from imagesmith.trust.trustedroot import Log
from imagesmith.values import frozen

__all__ = ["Entry", "Proof", "Signed", "check_entry"]

_PEM = re.compile(rb"-----BEGIN (?:CERTIFICATE|PUBLIC KEY)-----([A-Za-z0-9+/=\s]+)-----END [A-Z ]+-----\s*")
_NOTE_SIGNATURE = re.compile("\u2014 ([^\\s+]+) ([A-Za-z0-9+/=]+)\n")
_NUMBER = re.compile("[0-9]{1,19}", re.ASCII)
_HASHES = {"sha256": "sha256", "SHA2_256": "sha256", "sha384": "sha384", "SHA2_384": "sha384",
           "sha512": "sha512", "SHA2_512": "sha512"}  # fmt: skip
_MOST_HEIGHT, _MOST_NOTE, _MOST_NOTE_SIGNATURES = 64, 16 << 10, 32


@frozen(kw_only=True)
class Signed:
    """A signature and what it is over, as far as entries of the log and timestamps speak of it.

    signature   the signature
    message     the bytes that were signed: a payload, or what of an envelope is signed (dsse.py)
    payload     the payload of an envelope; None where the message was no envelope
    stored      the envelope as it is stored, where it stands by itself; empty otherwise
    verifier    the signer's certificate, or public key, in DER
    """

    signature: bytes
    message: bytes
    payload: bytes | None = None
    stored: bytes = b""
    verifier: bytes


@frozen
class Proof:
    """That an entry is in a tree: its place, the hashes beside its way up, the tree, the note that has it."""

    index: int
    hashes: tuple[bytes, ...]
    size: int
    root: bytes
    checkpoint: str


@frozen(kw_only=True)
class Entry:
    """An entry of a transparency log, and how it is known to be there.

    what        what it is called in messages
    log         the log's id
    index       its number in the log
    kind        e.g. `hashedrekord 0.0.1`
    body        what was entered: canonical JSON
    time_s      when, by the log's promise, in seconds since 1970; of no meaning without one
    promise     the log's signature over body, number and time; empty where there is none
    proof       None where there is none
    """

    what: str
    log: bytes
    index: int
    kind: str
    body: bytes
    time_s: int = 0
    promise: bytes = b""
    proof: Proof | None = None

    @classmethod
    def from_json(cls, o: Object) -> Entry:
        """Read an entry of a sigstore bundle: TransparencyLogEntry of protobuf-specs.

        Raises:
            InvalidDocument: it is none.
        """
        kind, promise, proof = o.need_obj("kindVersion"), o.obj("inclusionPromise"), o.obj("inclusionProof")
        return cls(
            what=o.path,
            log=o.need_obj("logId").data_of("keyId"),
            index=_number(o, "logIndex"),
            kind=f"{kind.need_text('kind')} {kind.need_text('version')}",
            body=o.data_of("canonicalizedBody"),
            time_s=_number(o, "integratedTime"),
            promise=promise.data_of("signedEntryTimestamp") if promise is not None else b"",
            proof=_proof(proof) if proof is not None else None,
        )

    @classmethod
    def from_annotation(cls, text: str, what: str) -> Entry:
        """Read the annotation that cosign puts beside a signature: an entry and the log's promise.

        Raises:
            InvalidDocument: it is none.
        """
        o = parse_object(text.encode(), what, exact=True)
        payload = o.need_obj("Payload")
        body = payload.data_of("body")
        entered = parse_object(body, f"{what}: body", exact=True)
        try:
            log = bytes.fromhex(payload.need_text("logID"))
        except ValueError as e:
            raise InvalidDocument(f"{payload.path}: logID is not hexadecimal") from e
        return cls(
            what=what,
            log=log,
            index=payload.integer("logIndex"),
            kind=f"{entered.need_text('kind')} {entered.need_text('apiVersion')}",
            body=body,
            time_s=payload.integer("integratedTime"),
            promise=o.data_of("SignedEntryTimestamp"),
        )


def _proof(o: Object) -> Proof:
    hashes = o.texts("hashes") or ()
    if len(hashes) > _MOST_HEIGHT:
        raise InvalidDocument(f"{o.path}: {len(hashes)} hashes are more than any tree is high")
    raw = tuple(Object({"hash": h}, f"{o.path}: hashes[{n}]").data_of("hash") for n, h in enumerate(hashes))
    checkpoint = o.obj("checkpoint")
    envelope = checkpoint.text("envelope") if checkpoint is not None else ""
    return Proof(_number(o, "logIndex"), raw, _number(o, "treeSize"), o.data_of("rootHash"), envelope)


def _number(o: Object, key: str) -> int:
    """A number as protocol buffers write it: text; 0 where it is absent."""
    text = o.text(key, "0") if isinstance(o.data.get(key), str) else str(o.integer(key))
    if not _NUMBER.fullmatch(text):
        raise InvalidDocument(f"{o.path}: {key} is {text[:40]!r}, not a number")
    return int(text)


def check_entry(entry: Entry, signed: Signed, logs: Sequence[Log], times_s: Sequence[int] = ()) -> int | None:
    """Whether an entry is in a trusted log, and is of this signature.

    Args:
        entry: the entry.
        signed: the signature that it came with.
        logs: those that are trusted.
        times_s: when it was made, by others: the log must have been in use then, unless its own promise
            tells a time.

    Returns:
        the time that the log promised; None where it promised none.

    Raises:
        Untrusted: it is not; the message tells why.
        InvalidDocument: its parts cannot be read.
    """
    promised = entry.time_s if entry.promise else None
    known = [log for log in logs if entry.log in log.ids]
    if not known:
        raise Untrusted(f"{entry.what}: is of a log that is not trusted: {entry.log.hex()[:80]}")
    whens = times_s if promised is None else (promised,)
    known = [log for log in known if all(log.period.holds(when) for when in whens)]
    if not known:
        raise Untrusted(f"{entry.what}: the log was not in use when the entry was made")
    if not entry.promise and entry.proof is None:
        raise Untrusted(f"{entry.what}: has neither a promise of the log nor a proof")
    if entry.promise and not any(log.key.verify(entry.promise, _promised(entry)) for log in known):
        raise Untrusted(f"{entry.what}: the promise is not the log's, or of another entry")
    if entry.proof is not None:
        _check_proof(entry, entry.proof, known)
    _check_body(entry, signed)
    return promised


def _promised(entry: Entry) -> bytes:
    """What the log signs as its promise: canonical JSON."""
    return dumps(
        {
            "body": base64.b64encode(entry.body).decode(),
            "integratedTime": entry.time_s,
            "logID": entry.log.hex(),
            "logIndex": entry.index,
        }
    )


def _check_proof(entry: Entry, proof: Proof, logs: Sequence[Log]) -> None:
    """Whether the entry is in the tree whose root the log signed: RFC 9162 section 2.1.3.2."""
    size, root = _check_checkpoint(entry, proof.checkpoint, logs)
    if (proof.size, proof.root) != (size, root):
        raise Untrusted(f"{entry.what}: the proof is of another tree than its checkpoint")
    if not 0 <= proof.index < size:
        raise Untrusted(f"{entry.what}: entry {proof.index} is not in a log of {size}")
    node = hashlib.sha256(b"\0" + entry.body).digest()
    at, last = proof.index, size - 1
    for other in proof.hashes:
        if not last:
            break
        if at & 1 or at == last:
            node = hashlib.sha256(b"\1" + other + node).digest()
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + other).digest()
        at, last = at >> 1, last >> 1
    else:
        if not last and node == root:
            return
    raise Untrusted(f"{entry.what}: the proof does not lead to the root of the log")


def _check_checkpoint(entry: Entry, note: str, logs: Sequence[Log]) -> tuple[int, bytes]:
    """The size and the root of the tree in a note that the log signed.

    Raises:
        Untrusted: no log that is trusted signed it.
    """
    text, blank, signatures = note.partition("\n\n")
    lines = text.split("\n")
    if not blank or len(note) > _MOST_NOTE or len(lines) < 3 or not _NUMBER.fullmatch(lines[1]):
        raise Untrusted(f"{entry.what}: the proof has no checkpoint that can be read")
    if _NOTE_SIGNATURE.sub("", signatures):
        raise Untrusted(f"{entry.what}: the signatures of the checkpoint cannot be read")
    message = f"{text}\n".encode()
    for _, encoded in _NOTE_SIGNATURE.findall(signatures)[:_MOST_NOTE_SIGNATURES]:
        raw = _base64(encoded)
        for log in logs:
            if any(raw[:4] == one[:4] for one in log.ids) and log.key.verify(raw[4:], message):
                return int(lines[1]), _base64(lines[2])
    raise Untrusted(f"{entry.what}: the checkpoint is not signed by the log")


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _check_body(entry: Entry, signed: Signed) -> None:
    """Whether the entry is of this signature: what it says is compared with what is at hand."""
    o = parse_object(entry.body, f"{entry.what}: body", exact=True)
    if f"{o.text('kind')} {o.text('apiVersion')}" != entry.kind:
        raise Untrusted(f"{entry.what}: is called {entry.kind[:60]!r} and is something else")
    compare = _KINDS.get(entry.kind)
    if compare is None:
        known = ", ".join(_KINDS)
        raise Untrusted(f"{entry.what}: entries of the kind {entry.kind[:60]!r} are not read; known: {known}")
    try:
        compare(o.need_obj("spec"), signed)
    except Untrusted as e:
        raise e.of(entry.what) from None


def _hashedrekord(spec: Object, signed: Signed) -> None:
    signature = spec.need_obj("signature")
    _same_hash(spec.need_obj("data").need_obj("hash"), signed.message)
    _same_signature(signature.data_of("content"), signed)
    _same_verifier(signature.need_obj("publicKey").data_of("content"), signed)


def _dsse(spec: Object, signed: Signed) -> None:
    one = _only_one(spec)
    _same_hash(spec.need_obj("payloadHash"), _payload(signed))
    _same_signature(one.data_of("signature"), signed)
    _same_verifier(one.data_of("verifier"), signed)


def _intoto_1(spec: Object, signed: Signed) -> None:
    if not signed.stored:
        raise Untrusted("an entry of the kind 'intoto 0.0.1' is of an envelope that stands by itself")
    _same_hash(spec.need_obj("content").need_obj("hash"), signed.stored)
    _same_verifier(spec.data_of("publicKey"), signed)


def _intoto_2(spec: Object, signed: Signed) -> None:
    content = spec.need_obj("content")
    one = _only_one(content.need_obj("envelope"))
    _same_hash(content.need_obj("payloadHash"), _payload(signed))
    _same_signature(_base64(one.data_of("sig").decode("ascii", "replace")), signed)
    _same_verifier(one.data_of("publicKey"), signed)


def _hashedrekord_2(spec: Object, signed: Signed) -> None:
    held = spec.need_obj("hashedRekordV002")
    _same_digest(held.need_obj("data"), signed.message)
    _same_signed(held.need_obj("signature"), signed)


def _dsse_2(spec: Object, signed: Signed) -> None:
    held = spec.need_obj("dsseV002")
    _same_digest(held.need_obj("payloadHash"), _payload(signed))
    _same_signed(_only_one(held), signed)


_KINDS: dict[str, Callable[[Object, Signed], None]] = {
    "hashedrekord 0.0.1": _hashedrekord,
    "dsse 0.0.1": _dsse,
    "intoto 0.0.1": _intoto_1,
    "intoto 0.0.2": _intoto_2,
    "hashedrekord 0.0.2": _hashedrekord_2,
    "dsse 0.0.2": _dsse_2,
}


def _payload(signed: Signed) -> bytes:
    if signed.payload is None:
        raise Untrusted("the entry is of an envelope, and the signature is over none")
    return signed.payload


def _only_one(o: Object) -> Object:
    """The one signature that an entry tells of."""
    found = o.objects("signatures")
    if len(found) != 1:
        raise Untrusted(f"the entry is of {len(found)} signatures, not of one")
    return found[0]


def _same_signed(signature: Object, signed: Signed) -> None:
    verifier = signature.need_obj("verifier")
    held = verifier.obj("x509Certificate") or verifier.need_obj("publicKey")
    _same_signature(signature.data_of("content"), signed)
    if held.data_of("rawBytes") != signed.verifier:
        raise Untrusted("the entry is of another signer")


def _same_signature(found: bytes, signed: Signed) -> None:
    if found != signed.signature:
        raise Untrusted("the entry is of another signature")


def _same_hash(o: Object, message: bytes) -> None:
    _same(o.text("algorithm"), o.text("value"), message)


def _same_digest(o: Object, message: bytes) -> None:
    _same(o.text("algorithm"), o.data_of("digest").hex(), message)


def _same(algorithm: str, digest: str, message: bytes) -> None:
    name = _HASHES.get(algorithm)
    if name is None:
        raise Untrusted(f"the entry is by the hash {algorithm[:40]!r}, which is not known")
    if hashlib.new(name, message).hexdigest() != digest:
        raise Untrusted("the entry is of something else that was signed")


def _same_verifier(pem: bytes, signed: Signed) -> None:
    match = _PEM.fullmatch(pem)
    if match is None or _base64(b"".join(match[1].split()).decode()) != signed.verifier:
        raise Untrusted("the entry is of another signer")
