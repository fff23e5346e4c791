"""`rsadecrypt`, `bcrypt` and `homedir`: functions that work with what only this user has.

Spec: go-cty-funcs: crypto; buildx's homedir. bcrypt is of an optional package, `imagesmith[bcrypt]`.
Trust: the cost of a hash is bounded. A key that is wrong is not shown.
"""

from __future__ import annotations

import base64
import importlib
import os
from collections.abc import Sequence
from decimal import Decimal

from imagesmith.bake.functions.calling import CallError, Function, Parameter, costing, integer, string
from imagesmith.bake.values import Value
from imagesmith.errors import ImagesmithError
from imagesmith.extras import how_to_get
from imagesmith.trust import keys

__all__ = ["FUNCTIONS"]

_COSTS = range(4, 16)
_MOST_PASSWORD_BYTES = 72


def _bcrypt(text: str, *more: Decimal) -> Value:
    if len(more) > 1:
        raise CallError("takes 1 or 2 arguments (str, cost)", 2)
    cost = int(more[0]) if more else 10
    if cost not in _COSTS:
        raise CallError(f"cost: {cost} is not from {_COSTS[0]} to {_COSTS[-1]}", 1)
    data = text.encode(errors="replace")
    if len(data) > _MOST_PASSWORD_BYTES:
        raise CallError(f"str: it has {len(data)} bytes, and bcrypt takes {_MOST_PASSWORD_BYTES}", 0)
    try:
        library = importlib.import_module("bcrypt")
    except ImportError as e:
        raise CallError(f"the package bcrypt is missing; {how_to_get('bcrypt')}") from e
    hashed: bytes = library.hashpw(data, library.gensalt(cost, prefix=b"2a"))
    return hashed.decode("ascii")


def _hashing(args: Sequence[Value]) -> int:
    """What a hash takes doubles with each unit of its cost."""
    said = args[1] if len(args) > 1 and isinstance(args[1], Decimal) else Decimal(10)
    cost = int(said) if said in _COSTS else _COSTS[-1] if len(args) > 1 and said > 0 else 10
    return 60 << cost


def _rsadecrypt(ciphertext: str, privatekey: str) -> Value:
    try:
        data = base64.b64decode(ciphertext, validate=True)
    except ValueError as e:
        raise CallError("ciphertext: no base64", 0) from e
    try:
        clear = keys.decrypted(data, privatekey.encode(errors="replace"), "privatekey")
    except ImagesmithError as e:
        raise CallError(e.message, 1) from e
    if clear is None:
        raise CallError("ciphertext: the key does not decrypt it", 0)
    try:
        return clear.decode()
    except UnicodeDecodeError as e:
        raise CallError("ciphertext: what is encrypted is no text in UTF-8", 0) from e


def _homedir() -> Value:
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        raise CallError("the home folder is not known; set HOME")
    return home


FUNCTIONS = (
    Function("bcrypt", _bcrypt, (Parameter("str", string),), Parameter("cost", integer), cost=_hashing),
    Function(
        "rsadecrypt",
        _rsadecrypt,
        (Parameter("ciphertext", string), Parameter("privatekey", string)),
        cost=costing(10_000),
    ),
    Function("homedir", _homedir),
)
