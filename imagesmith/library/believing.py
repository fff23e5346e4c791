"""Keys and certificates as arguments: whose signatures count, and who signs.

Trust: keys, certificates and passwords are the caller's word; they are shown in no message.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.errors import UsageError
from imagesmith.library.opening import platform_or_none
from imagesmith.library.several import several
from imagesmith.transports.names import PlaceName

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session
    from imagesmith.trust.certificates import Certificate
    from imagesmith.trust.keys import PrivateKey
    from imagesmith.trust.verifying import Findings, Keyless

__all__ = ["Believed", "Key", "content_of", "opened_key"]

#: The largest file of keys or certificates that is read (bytes).
_MOST_BYTES = 8 << 20
#: A key or certificate: the path of its file, or its content.
Key = str | Path | bytes


class Believed:
    """Whose signatures count, by the arguments of a call."""

    def __init__(
        self,
        keys: Key | Iterable[Key],
        annotations: Mapping[str, str] | None,
        trusted_root: Key = "",
        identity: str = "",
        identity_regexp: str = "",
        issuer: str = "",
        issuer_regexp: str = "",
        notation_roots: Iterable[Key] = (),
        notation_identities: Iterable[str] = (),
        notation_tsa_roots: Iterable[Key] = (),
    ) -> None:
        """Read keys and certificates.

        Raises:
            UsageError: nobody is named, or a file cannot be read.
            InvalidDocument: a file holds something else.
        """
        from imagesmith.trust.keys import PublicKey
        from imagesmith.trust.notation import Trust

        named: Iterable[Key] = [keys] if isinstance(keys, str | Path | bytes) else keys
        expected = {
            "identity": identity, "identity_regexp": identity_regexp,
            "issuer": issuer, "issuer_regexp": issuer_regexp,
        }  # fmt: skip
        self._annotations = dict(annotations or {})
        self._keys = [PublicKey.parse(content_of(key), _name(key)) for key in named]
        self._keyless, self._trust = _keyless(trusted_root, expected), None
        if roots := _certificates(notation_roots):
            identities = tuple(Trust.parse_identity(text) for text in several(notation_identities))
            clocks = _certificates(notation_tsa_roots)
            self._trust = Trust(roots=roots, clocks=clocks, identities=identities)
        if not (self._keys or self._keyless or self._trust):
            raise UsageError("whose signature counts must be said: keys, trusted_root or notation_roots")

    def findings(
        self, ref: str, platform: str, session: Session, store: Store, *, predicate_type: str | None = None
    ) -> Findings:
        """What is found for an image: signatures, or attestations of a type (empty: of any)."""
        from imagesmith.trust.desk import findings_at
        from imagesmith.trust.verifying import Asked

        asked = Asked(
            keys=self._keys, keyless=self._keyless, annotations=self._annotations,
            attestations=predicate_type is not None, predicate_type=predicate_type or "",
        )  # fmt: skip
        return findings_at(
            PlaceName.parse(ref), session, store, asked,
            platform=platform_or_none(platform), trust=self._trust, now_s=int(time.time()),
        )  # fmt: skip


def opened_key(key: Key, password: str | bytes) -> PrivateKey:
    """A private key.

    Raises:
        UsageError: it cannot be read, or its password is another.
        InvalidDocument: it is none.
    """
    from imagesmith.trust.keys import open_private

    secret = password.encode() if isinstance(password, str) else password
    return open_private(content_of(key), _name(key), lambda: secret)


def _certificates(files: Iterable[Key]) -> tuple[Certificate, ...]:
    from imagesmith.trust.certificates import Certificate

    return tuple(one for file in files for one in Certificate.parse_all(content_of(file), _name(file)))


def _keyless(trusted_root: Key, expected: dict[str, str]) -> Keyless | None:
    """The judge of signatures without a key; None where no root is named."""
    if not trusted_root:
        if any(expected.values()):
            raise UsageError("trusted_root is missing: who issues certificates to signers must be said")
        return None
    from imagesmith.trust.judges import keyless
    from imagesmith.trust.sigstore import Expected
    from imagesmith.trust.trustedroot import TrustedRoot

    root = TrustedRoot.parse(content_of(trusted_root), _name(trusted_root))
    return keyless(root, Expected.parse(**expected))


def content_of(key: Key) -> bytes:
    """The content of a key's file, or what was given."""
    if isinstance(key, bytes):
        return key
    try:
        with open(key, "rb") as f:
            return f.read(_MOST_BYTES)
    except OSError as e:
        raise UsageError(f"cannot read {key}: {e.strerror}") from e


def _name(key: Key) -> str:
    return "the key" if isinstance(key, bytes) else str(key)
