"""Users and groups by name, from the passwd and group files of an image.

Why two functions: COPY --chown and WORKDIR take an unknown name for 0 without a word, a process under
USER does not start with one. Both are BuildKit's behaviour.
Spec: BuildKit's executor/oci/user.go and solver/llbsolver/ops/user_linux.go over moby/sys/user: the first row
that fits counts, a row may be short, a number that is none is 0, and a comment is one in the group file only.
Trust: the files come from an image: they are read through the view, at most 10 MiB, and must be regular.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagesmith.errors import ContextError, DockerfileError, SandboxError
from imagesmith.fs.tree import Tree
from imagesmith.values import frozen

__all__ = ["ProcessUser", "copy_owner", "process_user"]

_LIMIT = 10 << 20
_MAX_ID = (1 << 31) - 1
#: What Go's bytes.TrimSpace takes off.
_BLANK = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
#: Lines of this many bytes end BuildKit's reading with an error.
_LONG_USER, _LONG_GROUP = 1 << 16, 1 << 20
_RANGE = f"uids and gids must be in range 0-{_MAX_ID}"


@frozen
class ProcessUser:
    """Who a process runs as, and its home folder."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def process_user(text: str, tree: Tree) -> ProcessUser:
    """The identity of RUN under USER `text`; empty for the image's root.

    Raises:
        SandboxError: in runc's words, a name that the image does not have, or an id out of range.
    """
    files = _Files(tree, lenient=True)
    if text:
        uid, gid, groups = _looked_up(text, files)
    else:
        try:
            uid, gid, groups = _looked_up("0", files)
        except SandboxError:  # a file that cannot be read matters only to who asks for a user
            uid, gid, groups = 0, 0, []
    if gid not in groups:
        groups.insert(0, gid)
    for number in (uid, gid, *groups):
        if not 0 <= number <= _MAX_ID:
            raise SandboxError(_RANGE)
    return ProcessUser(uid, gid, tuple(groups), files.home(uid))


def _looked_up(text: str, files: _Files) -> tuple[int, int, list[int]]:
    """User, group, and the groups that list the user."""
    user, colon, group = text.partition(":")
    both = [_plain(user), _plain(group)] if colon else []
    if both and None not in both:
        return both[0] or 0, both[1] or 0, []
    user_id, group_id = _id(user), _id(group)
    uid, gid, name = 0, 0, ""
    try:
        found = files.user(user if user and user_id is None else user_id or 0)
    except SandboxError as e:
        raise SandboxError(f"unable to find user {user or 0}: {e.message}") from e
    if found is not None:
        name, uid, gid, _ = found
    elif user_id is not None:
        uid = user_id
    elif user:
        raise SandboxError(f"unable to find user {user}: no matching entries in passwd file")
    try:
        if not group:
            return uid, gid, files.groups_of(name) if name else []
        named = files.group(group if group_id is None else group_id)
    except SandboxError as e:
        raise SandboxError(f"unable to find groups for spec {name}: {e.message}") from e
    if named is None and group_id is None:
        raise SandboxError(f"unable to find group {group}: no matching entries in group file")
    return uid, named if named is not None else group_id or 0, []


def copy_owner(text: str, tree: Tree | None) -> tuple[int, int] | None:
    """The owner that `--chown` (or USER, for WORKDIR) names; None if the text is empty.

    Args:
        text: as it was given, expanded.
        tree: the image that knows the names; None under --link, which looks into none.

    Raises:
        DockerfileError: a name, and there is nothing to look it up in.
        SandboxError: a name has to be looked up in something that is no regular file, or too large.
    """
    if not text:
        return None
    user, colon, group = text.partition(":")
    uid = gid = 0
    number = _owner(user) if user else 0  # BuildKit has the id 0 for an empty word, also behind the colon
    if number is not None:
        uid = gid = number
    elif (found := _files(tree, "user", user).user(user)) is not None:
        _, uid, gid, _ = found
    if colon:
        number = _owner(group) if group else 0
        if number is not None:
            gid = number
        elif (named := _files(tree, "group", group).group(group)) is not None:
            gid = named
    return _stored(uid), _stored(gid)


def _files(tree: Tree | None, kind: str, name: str) -> _Files:
    if tree is None:
        raise DockerfileError(
            f"invalid {kind} {name}: --link looks into no image, so it finds no names",
            hint=f"give the {kind}'s number, or leave --link out",
        )
    return _Files(tree)


def _stored(number: int) -> int:
    """An id as chown(2) takes it: 32 bits, and the largest is none."""
    return 0 if number & 0xFFFFFFFF == 0xFFFFFFFF else number & 0xFFFFFFFF


# --- numbers -----------------------------------------------------------------------------------


def _integer(text: str) -> int | None:
    """What Go's strconv.Atoi reads; a number of more than 64 bits is the largest or smallest of those."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    digits = digits.lstrip("0") or "0"
    number = int(digits) if len(digits) < 20 else 1 << 63
    return max(-number, -(1 << 63)) if text[0] == "-" else min(number, (1 << 63) - 1)


def _id(text: str) -> int | None:
    """A number given for USER; None if it is a name.

    Raises:
        SandboxError: out of range.
    """
    number = _integer(text)
    if number is not None and not 0 <= number <= _MAX_ID:
        raise SandboxError(_RANGE)
    return number


def _plain(text: str) -> int | None:
    """`root`, or a number without a sign: given for both user and group, no file is read."""
    return 0 if text == "root" else _id(text) if text[:1] not in ("+", "-") else None


def _owner(text: str) -> int | None:
    """A number of 32 bits, or `root`, given for --chown; None if it is a name."""
    number = 0 if text == "root" else _integer(text)
    return number if number is not None and -_MAX_ID - 1 <= number <= _MAX_ID else None


# --- files -------------------------------------------------------------------------------------


class _Files:
    """The two files of an image; with `lenient` one that cannot be opened counts as not there.

    Rows are looked for by a name or by a number; only lines that hold either as it stands are taken apart,
    for a file may have millions.
    """

    def __init__(self, tree: Tree, *, lenient: bool = False) -> None:
        self._tree, self._lenient = tree, lenient
        self._read: dict[str, list[str] | SandboxError] = {}

    def user(self, key: str | int) -> tuple[str, int, int, str] | None:
        """Name, user, group and home of the first row with that name or number."""
        for row in self._rows("etc/passwd", 7, _LONG_USER, key):
            if (row[0] if isinstance(key, str) else _integer(row[2]) or 0) == key:
                return row[0], _integer(row[2]) or 0, _integer(row[3]) or 0, row[5]
        return None

    def group(self, key: str | int) -> int | None:
        """The group of the first row with that name or number."""
        for row in self._rows("etc/group", 4, _LONG_GROUP, key):
            number = _integer(row[2]) or 0
            if (row[0] if isinstance(key, str) else number) == key and not row[0].startswith("#"):
                return number
        return None

    def groups_of(self, user: str) -> list[int]:
        """The groups whose rows list a user."""
        rows = self._rows("etc/group", 4, _LONG_GROUP, user)
        return [_integer(r[2]) or 0 for r in rows if user in r[3].split(",") and not r[0].startswith("#")]

    def home(self, uid: int) -> str:
        """The home folder of an id, `/` if there is no row with it."""
        try:
            found = self.user(uid)
        except SandboxError:
            return "/"
        return "/" if found is None else found[3]

    def _rows(self, path: str, fields: int, too_long: int, key: str | int) -> Iterator[list[str]]:
        """The rows that may be meant, cut or filled up to so many fields."""
        if path not in self._read:
            self._read[path] = self._lines(path, too_long)
        lines = self._read[path]
        if isinstance(lines, SandboxError):
            raise lines
        part = str(key or "")
        for line in lines:
            if part in line and (row := line.strip(_BLANK)):
                yield [*row.split(":", fields), *[""] * fields][:fields]

    def _lines(self, path: str, too_long: int) -> list[str] | SandboxError:
        """The lines of a file, none if it is not there, or why it cannot be read."""
        try:
            entry = self._tree.get(self._tree.resolve(path))
        except ContextError as e:
            return [] if self._lenient else SandboxError(e.message)
        if entry is None:
            return []
        if entry.kind not in "fh":
            return [] if self._lenient else SandboxError(f"/{path} is not a regular file")
        if entry.size > _LIMIT:
            return SandboxError(f'"/{path}" exceeds {_LIMIT} bytes')
        if entry.content is None:
            return []
        data: bytes | None = getattr(entry.content, "names", None)  # told of a layer that is elsewhere
        if data is None:
            with entry.content.open() as f:
                data = f.read(entry.size)
        lines = data.split(b"\n")
        if max(map(len, lines)) >= too_long:
            return SandboxError(f"a line of /{path} is longer than {too_long - 1} bytes")
        return [line.decode("utf-8", "surrogateescape") for line in lines]
