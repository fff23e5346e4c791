"""Private keys of ssh in files, for an agent of our own (sshagent.py): what they sign, and how it is written.

Why here and not in `trust`: those keys vouch for images; these open servers, and contexts need them.
Spec: RFC 4251 5 (strings, mpint), 4253 6.6 (RSA), 5656 3.1 (ECDSA), 8332 (RSA with SHA-2), 8709 (Ed25519);
draft-ietf-sshm-ssh-agent: flags of a request to sign. RSA with SHA-1 is not signed: servers refuse it.
Trust: a file is the user's own; how it is opened is bounded. What is signed is a step's to choose, as with
any agent.
Threads: any.
"""

from __future__ import annotations

import base64
import os
import stat
import struct
from typing import TYPE_CHECKING

from imagesmith.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    _Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

__all__ = ["SshKey", "packed", "read_key"]

#: As BuildKit takes, in bytes.
_MOST_BYTES = 100 << 10
_SHA2 = {2: "rsa-sha2-256", 4: "rsa-sha2-512"}
_KINDS = ("ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")


class SshKey:
    """A private key: `public` in ssh's form, `kind` as it begins, `name` what an agent's list says of it."""

    def __init__(self, private: _Private, public: bytes, kind: str, name: str) -> None:
        self._private = private
        self.public, self.kind, self.name = public, kind, name

    def __repr__(self) -> str:
        """Nothing of the key."""
        return f"SshKey({self.kind}, {self.name})"

    def sign(self, data: bytes, flags: int) -> bytes:
        """A signature in ssh's form; empty where the flags ask for one that is not made.

        Args:
            data: what is signed.
            flags: of the agent's protocol: 2 and 4 ask RSA for SHA-256 and SHA-512.
        """
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        key = self._private
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return packed(self.kind.encode()) + packed(key.sign(data))
        if isinstance(key, rsa.RSAPrivateKey):
            name = _SHA2.get(flags & 4 or flags & 2)
            if name is None:
                return b""
            found = key.sign(data, padding.PKCS1v15(), hashes.SHA512() if flags & 4 else hashes.SHA256())
            return packed(name.encode()) + packed(found)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        sizes: dict[str, hashes.HashAlgorithm] = {"384": hashes.SHA384(), "521": hashes.SHA512()}
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(sizes.get(self.kind[-3:], hashes.SHA256()))))
        return packed(self.kind.encode()) + packed(_mpint(r) + _mpint(s))


def packed(data: bytes) -> bytes:
    """A string in ssh's form: its length, and itself."""
    return struct.pack(">I", len(data)) + data


def _mpint(number: int) -> bytes:
    return packed(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")


def read_key(path: str) -> SshKey:
    """Read a private key: OpenSSH's file, or PEM (PKCS#1, SEC 1, PKCS#8).

    Raises:
        UsageError: it is none, is under a password, or others than its owner can read it.
    """
    data, mode = _data(path)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
        load_ssh_private_key,
    )

    is_private = b"-----BEGIN " in data and b"PRIVATE KEY-----" in data
    public = data.startswith((b"ssh-", b"ecdsa-", b"sk-")) or b"PUBLIC KEY" in data
    if mode & 0o077 and (is_private or not public):  # others may read a public one: its mode is no mistake
        raise UsageError(
            f"{path}: others can read this key, its mode is {mode:04o}", hint=f"chmod 600 {path}"
        )
    if not is_private:
        what = "it is a public key, where a private one is needed" if public else "it is no private key"
        raise UsageError(f"{path}: {what}")
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in data else load_pem_private_key
    try:
        private = load(data, None)
    except TypeError as e:  # no password is given
        raise UsageError(
            f"{path}: the key is under a password, which is not asked for here",
            hint="add it to an agent: ssh-add, and --ssh default",
        ) from e
    except (ValueError, UnsupportedAlgorithm) as e:
        raise UsageError(f"{path}: not a private key that can be read") from e
    try:
        text = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    except (ValueError, UnsupportedAlgorithm):
        text = b""
    kind, _, body = text.partition(b" ")
    if kind.decode() not in _KINDS:
        raise UsageError(f"{path}: a kind of key that is not signed with", hint=f"known: {', '.join(_KINDS)}")
    name = "".join(c for c in os.path.basename(path) if c.isprintable())
    return SshKey(private, base64.b64decode(body), kind.decode(), name)  # type: ignore[arg-type]  # by its kind


def _data(path: str) -> tuple[bytes, int]:
    """What a file holds, and its mode where it is this user's; else 0."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as f:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode):
                raise UsageError(f"{path}: neither the socket of an agent nor a private key")
            data = f.read(_MOST_BYTES + 1)
    except OSError as e:
        raise UsageError(f"cannot read {path}: {(e.strerror or '').lower()}") from e
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{path}: more than {_MOST_BYTES >> 10} KiB are too many for a key")
    return data, stat.S_IMODE(about.st_mode) if about.st_uid == os.getuid() else 0
