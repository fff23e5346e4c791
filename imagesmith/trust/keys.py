"""Keys that sign and keys that verify, in the files that cosign and openssl keep them in.

Why `cryptography`: the standard library has no signatures. It is imported here, in `certificates` and in
`credentials/sshkeys`, in functions: whoever signs nothing does not pay for it.
Spec: RFC 5480, 8017, 8410 (keys), 5208 and 5958 (PKCS#8), 7468 (PEM); sigstore's protobuf-specs, algorithm
registry: the hash that belongs to a key; cosign 2 and containers/image hash by SHA-256 for every one.
Trust: a public key is the user's own, a policy's or a certificate's; its file is bounded. A private key
leaves its object only as a file that the user asked for; a password is asked for when needed, and not kept.
Threads: any.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from imagesmith.errors import InvalidDocument, UsageError
from imagesmith.trust.keyfile import LABELS, unwrap, wrap
from imagesmith.values import frozen

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    _Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

__all__ = ["KINDS", "PrivateKey", "PublicKey", "decrypted", "generate", "is_private", "open_private"]

#: What can be made, by the words for people and flags.
KINDS = ("ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "rsa-3072", "rsa-4096")
_CURVES = {"secp256r1": "ecdsa-p256", "secp384r1": "ecdsa-p384", "secp521r1": "ecdsa-p521"}
_RSA_BITS = range(2048, 16385)
_MOST_BYTES = 64 << 10
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,60})-----\s")
_PLAIN = (b"PRIVATE KEY", b"EC PRIVATE KEY", b"RSA PRIVATE KEY")


@frozen
class PublicKey:
    """A key that verifies: PKIX in DER, its kind (one of KINDS, or another size of RSA), where it is from."""

    der: bytes
    kind: str
    name: str = ""

    @classmethod
    def parse(cls, data: bytes, name: str) -> PublicKey:
        """Read a public key: PEM (PKIX, or PKCS#1 of RSA) or DER (PKIX).

        Args:
            data: the file.
            name: what it is called in messages.

        Raises:
            InvalidDocument: it is none, or of a kind that nothing is signed with.
            UsageError: it is a private key, or a certificate.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

        label, block = _pem_of(data, name)
        if b"PRIVATE" in label:
            raise UsageError(
                f"{name}: a private key, where a public one is needed",
                hint="`imagesmith key show` prints the public key that belongs to it",
            )
        if label == b"CERTIFICATE":
            raise UsageError(f"{name}: a certificate, where a public key is needed")
        try:
            found = load_pem_public_key(block) if label else load_der_public_key(data)
        except (ValueError, TypeError, UnsupportedAlgorithm) as e:
            raise InvalidDocument(f"{name}: not a public key that can be read") from e
        return cls.of(found, name)

    @classmethod
    def of(cls, key: Any, name: str) -> PublicKey:  # noqa: ANN401 - of `cryptography`, of any kind
        """A key that `cryptography` has, e.g. that of a certificate.

        Raises:
            InvalidDocument: of a kind that nothing is signed with.
        """
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        kind = _kind(key, name)
        return cls(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), kind, name)

    @property
    def pem(self) -> bytes:
        """PKIX in PEM, as `cosign.pub`."""
        return _pem("PUBLIC KEY", self.der)

    @property
    def hint(self) -> str:
        """What a sigstore bundle calls the key: base64 of the SHA-256 of its DER."""
        return base64.b64encode(hashlib.sha256(self.der).digest()).decode()

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether the key's owner signed a message: with the kind's usual hash, or with SHA-256."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_der_public_key

        key: Any = load_der_public_key(self.der)
        for usual in (True, False):
            try:
                if isinstance(key, ed25519.Ed25519PublicKey):
                    key.verify(signature, message)
                elif isinstance(key, ec.EllipticCurvePublicKey):
                    key.verify(signature, message, ec.ECDSA(_hash(key) if usual else SHA256()))
                else:
                    key.verify(signature, message, padding.PKCS1v15(), SHA256())
            except InvalidSignature:
                continue
            return True
        return False


class PrivateKey:
    """A key that signs."""

    __slots__ = ("_key", "public")

    def __init__(self, key: _Private, name: str) -> None:
        """Take a key of `cryptography`; `name` is what it is called in messages.

        Raises:
            InvalidDocument: of a kind that nothing is signed with.
        """
        self._key: Any = key
        #: The key that verifies what this one signs.
        self.public = PublicKey.of(key.public_key(), name)

    def sign(self, message: bytes, *, sha256: bool = False) -> bytes:
        """Sign a message.

        Args:
            message: what is signed, not its hash.
            sha256: by SHA-256, whatever the curve: what verifiers of simple signing assume.

        Returns:
            of ECDSA the DER of both numbers, of RSA PKCS#1 v1.5.
        """
        from cryptography.hazmat.primitives.asymmetric import ec, padding
        from cryptography.hazmat.primitives.hashes import SHA256

        if self.public.kind == "ed25519":
            return bytes(self._key.sign(message))
        if self.public.kind.startswith("rsa"):
            return bytes(self._key.sign(message, padding.PKCS1v15(), SHA256()))
        return bytes(self._key.sign(message, ec.ECDSA(SHA256() if sha256 else _hash(self._key))))

    def decrypt(self, data: bytes) -> bytes | None:
        """What was encrypted for an RSA key, by PKCS#1 v1.5; None if it was not for this one."""
        from cryptography.hazmat.primitives.asymmetric import padding

        try:
            return bytes(self._key.decrypt(data, padding.PKCS1v15()))
        except ValueError:
            return None

    @property
    def pkcs8(self) -> bytes:
        """The key itself: PKCS#8 in DER, in the clear."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        return bytes(self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def pem(self) -> bytes:
        """The same in PEM."""
        return _pem("PRIVATE KEY", self.pkcs8)

    def encrypted(self, password: bytes) -> bytes:
        """The key file that cosign writes, in PEM."""
        return _pem(LABELS[0], wrap(self.pkcs8, password))


def generate(kind: str, name: str = "a new key") -> PrivateKey:
    """A new key.

    Raises:
        UsageError: `kind` is none of KINDS.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if kind == "ed25519":
        return PrivateKey(ed25519.Ed25519PrivateKey.generate(), name)
    if kind in ("rsa-3072", "rsa-4096"):
        return PrivateKey(rsa.generate_private_key(65537, int(kind[4:])), name)
    curves = {"ecdsa-p256": ec.SECP256R1(), "ecdsa-p384": ec.SECP384R1(), "ecdsa-p521": ec.SECP521R1()}
    if kind not in curves:
        raise UsageError(f"{kind!r} is no kind of key", hint=f"one of {', '.join(KINDS)}")
    return PrivateKey(ec.generate_private_key(curves[kind]), name)


def open_private(data: bytes, name: str, password: Callable[[], bytes]) -> PrivateKey:
    """Read a private key: plain PEM (PKCS#8, SEC 1, PKCS#1), PKCS#8 under a password, or cosign's file.

    Args:
        data: the file.
        name: what it is called in messages.
        password: asked once, if the key is under one.

    Raises:
        InvalidDocument: it is none.
        UsageError: it is a public key, or the password is another.
    """
    label, block = _pem_of(data, name)
    if label.decode() in LABELS:
        document = _body(block, name)
        return _loaded(unwrap(document, password(), name), None, name)
    if label in (*_PLAIN, b"ENCRYPTED PRIVATE KEY"):
        locked = label == b"ENCRYPTED PRIVATE KEY" or b"\nProc-Type: 4,ENCRYPTED" in block
        return _loaded(block, password() if locked else None, name)
    if b"PUBLIC" in label:
        raise UsageError(f"{name}: a public key, where a private one is needed")
    said = f"a PEM file of {label.decode()}" if label else "no PEM file"
    raise InvalidDocument(f"{name}: {said}, not of a private key that can be read")


def is_private(data: bytes, name: str) -> bool:
    """Whether a file holds a private key, by its PEM label; see `open_private`."""
    return b"PRIVATE" in _pem_of(data, name)[0]


def decrypted(data: bytes, key: bytes, name: str) -> bytes | None:
    """What was encrypted for an RSA key, by PKCS#1 v1.5; None if this key does not decrypt it.

    Args:
        data: what was encrypted.
        key: the private key's file, under no password.
        name: what the key is called in messages.

    Raises:
        InvalidDocument: the key cannot be read, or is not of RSA.
        UsageError: it is a public key, or under a password.
    """
    private = open_private(key, name, lambda: _no_password(name))
    if not private.public.kind.startswith("rsa"):
        raise InvalidDocument(f"{name}: a key of {private.public.kind}, where one of RSA is needed")
    return private.decrypt(data)


def _no_password(name: str) -> bytes:
    raise UsageError(f"{name}: the key is under a password; remove that before")


def _loaded(found: bytes, password: bytes | None, name: str) -> PrivateKey:
    """A private key in PEM, or in DER where it has no label."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    load = load_pem_private_key if found.startswith(b"-----") else load_der_private_key
    try:
        return PrivateKey(load(found, password or None), name)  # type: ignore[arg-type]  # its kind is looked at
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        if password is not None:
            raise UsageError(f"{name}: the password does not open this key") from e
        raise InvalidDocument(f"{name}: not a private key that can be read") from e


def _kind(key: Any, name: str) -> str:  # noqa: ANN401 - of `cryptography`, of any kind
    """What a public key is called.

    Raises:
        InvalidDocument: nothing is signed with such.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in _RSA_BITS:
            raise InvalidDocument(
                f"{name}: an RSA key of {key.key_size} bits, not {_RSA_BITS[0]} to {_RSA_BITS[-1]}"
            )
        return f"rsa-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    raise InvalidDocument(f"{name}: a kind of key that is not signed with", hint=f"known: {', '.join(KINDS)}")


def _hash(key: Any) -> Any:  # noqa: ANN401 - of `cryptography`
    """The hash that belongs to a curve."""
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

    return {"secp384r1": SHA384, "secp521r1": SHA512}.get(key.curve.name, SHA256)()


def _pem(label: str, data: bytes) -> bytes:
    text = base64.b64encode(data).decode()
    lines = [text[n : n + 64] for n in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def _pem_of(data: bytes, name: str) -> tuple[bytes, bytes]:
    """The label of the first PEM block in a file, and the block; both empty where there is none.

    Raises:
        InvalidDocument: the file is too large for a key, or the block has no end.
    """
    if len(data) > _MOST_BYTES:
        raise InvalidDocument(f"{name}: {len(data)} bytes are too many for a key")
    found = _BEGIN.search(data)
    if found is None:
        return b"", b""
    end = b"-----END " + found[1] + b"-----"
    at = data.find(end, found.end())
    if at < 0:
        raise InvalidDocument(f"{name}: a PEM block without its end")
    return found[1], data[found.start() : at] + end + b"\n"


def _body(block: bytes, name: str) -> bytes:
    """The bytes in a PEM block."""
    lines = block.split(b"\n", 1)[1].rpartition(b"-----END ")[0]
    try:
        return base64.b64decode(b"".join(lines.split()), validate=True)
    except ValueError as e:
        raise InvalidDocument(f"{name}: no base64 in its PEM block") from e
