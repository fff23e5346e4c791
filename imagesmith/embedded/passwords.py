"""htpasswd files: reading them and checking a password against an entry.

Why: `htpasswd -B` is what registries take, and bcrypt is in every Linux system's libcrypt (libxcrypt, musl),
so it is called there and no package is needed; Python's own `crypt` module is gone since 3.13. Apache's two
old forms, apr1 and {SHA}, are computed here. Entries of other forms, plain text too, are refused at the start
with their line. A checked pair is remembered by its HMAC, since bcrypt is slow on purpose.
Trust: passwords come from requests; the file is the operator's. It is read again when it changes.
Threads: all methods may be called from any.
"""

from __future__ import annotations

import base64
import ctypes
import functools
import hashlib
import hmac
import os
import re
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

from imagesmith.errors import UsageError, reason_of

__all__ = ["Passwords"]

_CRYPT = re.compile(r"\$(?:2[abxy]|5|6|y|gy|7)\$[!-~]+")
_APR1 = re.compile(r"\$apr1\$([^$]{0,8})\$[./0-9A-Za-z]{22}")
_SHA = re.compile(r"\{SHA\}[A-Za-z0-9+/]{27}=")
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_REMEMBERED = 1000
#: An entry that no password fits.
_NOBODY = "{SHA}" + "A" * 27 + "="
_PASSWORD_BYTES = 512


class Passwords:
    """The users of a htpasswd file.

    Raises:
        UsageError: the file cannot be read, or has an entry that cannot be checked.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._key = path, secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._known: set[bytes] = set()
        self._stamp = self._look()
        self._users = self._read()

    def check(self, user: str, password: str) -> bool:
        """Whether the password is this user's."""
        self._refresh()
        users, secret = self._users, password.encode()
        entry = users.get(user)
        if len(secret) > _PASSWORD_BYTES or b"\0" in secret:
            return False
        if entry is None:  # as slow as for one that there is: the time must not tell who is a user
            _matches(next(iter(users.values()), _NOBODY), secret)
            return False
        mark = hmac.digest(self._key, b"\0".join((user.encode(), entry.encode(), secret)), "sha256")
        if mark in self._known:
            return True
        if not _matches(entry, secret):
            return False
        with self._lock:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known.add(mark)
        return True

    def mark(self, user: str) -> str | None:
        """What stands for a user's present password and tells nothing of it; None for an unknown user."""
        self._refresh()
        entry = self._users.get(user)
        if entry is None:
            return None
        return hmac.digest(self._key, b"\0".join((user.encode(), entry.encode())), "sha256").hex()

    def _look(self) -> tuple[int, int, int]:
        try:
            state = os.stat(self._path)
        except OSError as e:
            raise UsageError(f"cannot read the password file {self._path}: {e.strerror}") from e
        return state.st_mtime_ns, state.st_size, state.st_ino

    def _refresh(self) -> None:
        """Read the file again where it has changed; one that is broken or gone leaves the last good one."""
        try:
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp, self._users = stamp, self._read()
        except UsageError:
            return

    def _read(self) -> dict[str, str]:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise UsageError(f"cannot read the password file {self._path}: {reason_of(e)}") from e
        users: dict[str, str] = {}
        forms: set[str] = set()  # those of libcrypt that were tried: bcrypt is slow
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            user, colon, entry = line.strip().partition(":")
            where = f"{self._path}:{number}"
            if not colon or not user:
                raise UsageError(f"{where}: not `user:hash`")
            if not any(form.fullmatch(entry) for form in (_CRYPT, _APR1, _SHA)):
                raise UsageError(
                    f"{where}: the password of {user} is in a form that is not supported",
                    hint="bcrypt, SHA-crypt, yescrypt, apr1 and {SHA} are; make one with `htpasswd -nB USER`",
                )
            fresh = _CRYPT.fullmatch(entry) and entry[:3] not in forms
            forms.add(entry[:3])
            if fresh and _crypt(b"", entry) is None:
                raise UsageError(
                    f"{where}: this system's libcrypt cannot check the password of {user}",
                    hint="install libcrypt, or make an apr1 entry with `htpasswd -nm USER`",
                )
            users[user] = entry
        return users


def _matches(entry: str, password: bytes) -> bool:
    made: str | None
    if match := _APR1.fullmatch(entry):
        made = _apr1(password, match[1].encode())
    elif _SHA.fullmatch(entry):
        made = "{SHA}" + base64.b64encode(hashlib.sha1(password).digest()).decode()
    else:
        made = _crypt(password, entry)
    return made is not None and hmac.compare_digest(made.encode(), entry.encode())


def _crypt(password: bytes, setting: str) -> str | None:
    """The system's crypt_r; None where there is none or it does not know the form."""
    function = _crypt_function()
    if function is None:
        return None
    room = ctypes.create_string_buffer(256 << 10)  # larger than every libc's struct crypt_data
    made = function(password, setting.encode(), room)
    return made.decode() if made and made.startswith(setting[:3].encode()) else None


@functools.cache
def _crypt_function() -> Callable[..., bytes | None] | None:
    for library in ("libcrypt.so.1", "libcrypt.so.2", None):
        try:
            function = ctypes.CDLL(library).crypt_r
        except (OSError, AttributeError):
            continue
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p)
        function.restype = ctypes.c_char_p
        return function
    return None


def _apr1(password: bytes, salt: bytes) -> str:
    """Apache's MD5 form: 1000 rounds, in a base64 of its own."""
    mixed = hashlib.md5(password + salt + password).digest()
    start = password + b"$apr1$" + salt
    start += bytes(mixed[i % 16] for i in range(len(password)))
    bits = len(password)
    while bits:
        start += b"\0" if bits & 1 else password[:1]
        bits >>= 1
    state = hashlib.md5(start).digest()
    for n in range(1000):
        odd = n & 1
        data = password if odd else state
        data += salt if n % 3 else b""
        data += password if n % 7 else b""
        state = hashlib.md5(data + (state if odd else password)).digest()
    out = ""
    for a, b, c in ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)):
        out += _base64(state[a] << 16 | state[b] << 8 | state[c], 4)
    return f"$apr1${salt.decode()}${out}{_base64(state[11], 2)}"


def _base64(value: int, digits: int) -> str:
    return "".join(_ALPHABET[value >> 6 * n & 63] for n in range(digits))
