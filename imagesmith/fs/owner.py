"""Users and groups by name, from the passwd and group files of an image.

Why two functions: COPY --chown and WORKDIR take an unknown name for 0 without a word, a process under
USER does not start with one. Both are BuildKit's behaviour.
Trust: the files come from an image: they are read through the view, at most 10 MiB, and must be regular.
"""

from __future__ import annotations

from imagesmith.errors import SandboxError
from imagesmith.fs.tree import Tree
from imagesmith.values import frozen

__all__ = ["ProcessUser", "copy_owner", "process_user"]

_LIMIT = 10 << 20
_MAX_ID = (1 << 31) - 1


@frozen
class ProcessUser:
    """Who a process runs as, and its home folder."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def _rows(tree: Tree, path: str, fields: int) -> list[list[str]]:
    """The rows of a file such as /etc/passwd; empty if it is not there."""
    entry = tree.get(tree.resolve(path))
    if entry is None:
        return []
    if entry.kind not in "fh":
        raise SandboxError(f"/{path} is not a regular file")
    if entry.size > _LIMIT:
        raise SandboxError(f'"/{path}" exceeds {_LIMIT} bytes')
    if entry.content is None:
        return []
    with entry.content.open() as f:
        text = f.read(entry.size).decode("utf-8", "surrogateescape")
    rows = [line.strip().split(":") for line in text.split("\n") if line.strip() and not line.startswith("#")]
    return [[*row, *[""] * (fields - len(row))] for row in rows]


def _number(text: str) -> int | None:
    digits = text[1:] if text[:1] in ("+", "-") else text
    return int(text) if text.isascii() and digits.isdigit() else None


def copy_owner(text: str, tree: Tree) -> tuple[int, int] | None:
    """The owner that `--chown` (or USER, for WORKDIR) names; None if the text is empty."""
    if not text:
        return None
    user, colon, group = text.partition(":")
    uid = gid = 0
    if user:
        number = _number(user)
        if number is not None and number <= _MAX_ID:
            uid = gid = number
        else:
            for row in _rows(tree, "etc/passwd", 7):
                if row[0] == user:
                    uid, gid = _number(row[2]) or 0, _number(row[3]) or 0
                    break
    if colon:
        number = _number(group or "0")
        if number is not None and number <= _MAX_ID:
            gid = number
        else:
            gid = next((_number(r[2]) or 0 for r in _rows(tree, "etc/group", 4) if r[0] == group), gid)
    return uid, gid


def process_user(text: str, tree: Tree) -> ProcessUser:
    """The identity of RUN under USER `text`.

    Raises:
        SandboxError: in runc's words, a name that the image does not have, or an id out of range.
    """
    user, colon, group = text.partition(":")
    user_id, group_id = _number(user), _number(group)
    if user == "root":
        user_id = 0
    if group == "root":
        group_id = 0
    for number in (user_id, group_id):
        if number is not None and not 0 <= number <= _MAX_ID:
            raise SandboxError(f"uids and gids must be in range 0-{_MAX_ID}")
    passwd = _rows(tree, "etc/passwd", 7)
    if colon and user_id is not None and group_id is not None and user and group:
        return ProcessUser(user_id, group_id, (), _home(passwd, user_id))
    uid, gid, name = 0, 0, ""
    if user or not colon:
        found = next(
            (r for r in passwd if (user and r[0] == user) or _number(r[2]) == (0 if not user else user_id)),
            None,
        )
        if found is not None:
            name, uid, gid = found[0], _number(found[2]) or 0, _number(found[3]) or 0
        elif user_id is not None:
            uid = user_id
        elif user:
            raise SandboxError(f"unable to find user {user}: no matching entries in passwd file")
    groups = _rows(tree, "etc/group", 4)
    if group:
        found = next(
            (r for r in groups if r[0] == group or (group_id is not None and _number(r[2]) == group_id)), None
        )
        if found is not None:
            gid = _number(found[2]) or 0
        elif group_id is not None:
            gid = group_id
        else:
            raise SandboxError(f"unable to find group {group}: no matching entries in group file")
        return ProcessUser(uid, gid, (), _home(passwd, uid))
    if not user:
        return ProcessUser(uid, gid, (), _home(passwd, uid))
    more = [_number(r[2]) or 0 for r in groups if name and name in r[3].split(",")]
    return ProcessUser(uid, gid, tuple(dict.fromkeys([*more, gid])), _home(passwd, uid))


def _home(passwd: list[list[str]], uid: int) -> str:
    return next((r[5] or "/" for r in passwd if _number(r[2]) == uid), "/")
