"""What is said of images, signed: making it and believing it; and keys to sign with.

Trust: what is attested is the signer's word, and counts only where that is whom one believes.
Threads: any, several at a time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from imagesmith.events import EventSink, nobody
from imagesmith.library.believing import Believed, Key, opened_key
from imagesmith.library.credentials import Insecure, Logins
from imagesmith.library.documented import documented
from imagesmith.library.opening import opened, platform_or_none
from imagesmith.transports.names import PlaceName

if TYPE_CHECKING:
    from imagesmith.trust.signing import Made
    from imagesmith.trust.verifying import Verified

__all__ = ["attest", "generate_key", "verify_attestation"]


@documented
def attest(
    ref: str,
    key: Key,
    predicate: Mapping[str, Any],
    kind: str,
    *,
    password: str | bytes = b"",
    form: Literal["both", "bundle", "tag"] = "both",
    moving_tag: bool = False,
    identity: str = "",
    time_s: int | None = None,
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> list[Made]:
    """Sign what is said of an image, as cosign does with a key.

    Args:
        ref: the image by its digest, in a registry, a layout or the store.
        key: the private key: its file, or its content as bytes.
        predicate: what is said, JSON values.
        kind: its type: a URI, or a word of cosign's as `spdxjson`, `slsaprovenance1` or `vuln`.
        password: of the key.
        form: `bundle` for a referrer, `tag` for cosign's older tags, or both.
        moving_tag: say it of what a tag stands for now.
        identity: the name in the statement; by default the repository's.
        time_s: when, in seconds since 1970; by default now.
        platform: say it of this platform's image; by default of the index.

    Returns:
        What was made: with `subject`, `form`, and `new` if it was not there.

    Raises:
        UsageError: it is a tag, which others may move; or the key cannot be opened.
        RegistryError: it cannot be written.

    Example:
        >>> said = {"scanner": {"result": []}}
        >>> made = imagesmith.attest("registry.example/team/app:1", "team.key", said, "vuln", moving_tag=True)
        >>> imagesmith.verify_attestation("registry.example/team/app:1", "team.pub")[0].statement["predicate"]
        {'scanner': {'result': []}}
    """
    from imagesmith.attest.predicates import claim_of
    from imagesmith.transports.listing import descriptor_of
    from imagesmith.trust import signing as signatures
    from imagesmith.trust.desk import reference_of, signing_at

    place, when = PlaceName.parse(ref), int(time.time()) if time_s is None else time_s
    claim = claim_of(kind, json.dumps(predicate).encode(), "the predicate", when)
    signing = signatures.Signing(
        key=opened_key(key, password),
        reference=reference_of(place, identity=identity, tag=moving_tag),
        forms=signatures.FORMS if form == "both" else (form,),
        time_s=when,
    )
    with (
        opened(ref, insecure=insecure, credentials=credentials, root=root, events=events) as (session, store),
        signing_at(place, session, store, tag=moving_tag) as desk,
    ):
        d = descriptor_of(desk.source, platform_or_none(platform)) if platform else desk.root
        return signatures.attest(desk.signatures, d, desk.beside, desk.store.blobs, signing, claim)


@documented
def verify_attestation(
    ref: str,
    keys: Key | Iterable[Key] = (),
    *,
    kind: str = "",
    trusted_root: Key = "",
    certificate_identity: str = "",
    certificate_identity_regexp: str = "",
    certificate_oidc_issuer: str = "",
    certificate_oidc_issuer_regexp: str = "",
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> tuple[Verified, ...]:
    """What is said of an image by whom it should be; at least one thing is.

    Args:
        ref: the image: in a registry, a layout, an archive or the store.
        keys: public keys, files or contents as bytes: any one is enough.
        kind: of what is said, as `attest` takes it; by default any.
        trusted_root: sigstore's trusted_root.json: then signatures without a key count, verified offline.
        certificate_identity, certificate_oidc_issuer: who must have signed so, and who knows them.
        certificate_identity_regexp, certificate_oidc_issuer_regexp: the same as regular expressions.
        platform: said of this platform's image; by default of the index.

    Returns:
        Attestations with `statement` (a dict), `predicate_type`, `signer`, `digest`, `time`.

    Raises:
        Untrusted: nothing counts; the message has the reason.
        UsageError: nobody is named whose word counts.

    Example:
        >>> imagesmith.verify_attestation("registry.example/team/app:1", "team.pub")
        Traceback (most recent call last):
        imagesmith.errors.Untrusted: registry.example/team/app:1: sha256:... has no attestation
    """
    from imagesmith.attest.predicates import type_of

    believed = Believed(
        keys, {}, trusted_root, certificate_identity, certificate_identity_regexp,
        certificate_oidc_issuer, certificate_oidc_issuer_regexp,
    )  # fmt: skip
    with opened(
        ref, insecure=insecure, credentials=credentials, root=root, events=events, spare=True
    ) as (session, store):  # fmt: skip
        found = believed.findings(
            ref, platform, session, store, predicate_type=type_of(kind) if kind else ""
        )  # fmt: skip
        return found.need("attestation")


@documented
def generate_key(kind: str = "ecdsa-p256", *, password: str | bytes = b"") -> tuple[bytes, bytes]:
    """Make a key for signatures; nothing is written.

    Args:
        kind: ecdsa-p256, ecdsa-p384, ecdsa-p521, ed25519, rsa-3072 or rsa-4096.
        password: of the private key, which is in cosign's form then; by default plain PEM.

    Returns:
        The private and the public key, as files have them.

    Raises:
        UsageError: there is no such kind.

    Example:
        >>> private, public = imagesmith.generate_key("ed25519", password="secret")
        >>> made = imagesmith.sign("registry.example/team/app:1", private, password="secret", moving_tag=True)
        >>> len(imagesmith.verify("registry.example/team/app:1", public)) >= 1
        True
    """
    from imagesmith.trust.keys import generate

    key, secret = generate(kind), password.encode() if isinstance(password, str) else password
    return key.encrypted(secret) if secret else key.pem, key.public.pem
