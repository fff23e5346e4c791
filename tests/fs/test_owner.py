"""Names in passwd and group files mean what BuildKit and runc take them for, whatever the rows look like."""

from __future__ import annotations

import io
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import SandboxError
from imagesmith.fs.entry import Entry
from imagesmith.fs.owner import ProcessUser, copy_owner, process_user
from imagesmith.fs.view import LayerIndex, View


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


def image(passwd: bytes | None = None, group: bytes | None = None) -> View:
    """A view with these two files."""
    entries = [Entry("etc", "d", 0o755)]
    for name, data in (("passwd", passwd), ("group", group)):
        if data is not None:
            e = Entry(f"etc/{name}", "f", 0o644, size=len(data))
            e.content = _Bytes(data)
            entries.append(e)
    return View([LayerIndex(entries)])


def who(text: str, passwd: bytes | None = None, group: bytes | None = None) -> str:
    """`uid gid groups home`, or the error."""
    try:
        user = process_user(text, image(passwd, group))
    except SandboxError as e:
        return e.message
    return f"{user.uid} {user.gid} {','.join(map(str, user.groups))} {user.home}"


PASSWD = b"root:x:0:0:root:/root:/bin/sh\nu:x:7:8::/home/u:\n7:x:9:9::/nine:\nu:x:77:77::/other:\n"
GROUP = b"root:x:0:\nwheel:x:10:root,u\ng:x:11:7\n# c:x:12:u\nzwei:x:13:u,u\n12:x:99:\n"
NO_GROUP = "no matching entries in group file"
RANGE = "uids and gids must be in range 0-2147483647"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "0 0 0,10 /root"),
        ("root", "0 0 0,10 /root"),
        ("0", "0 0 0,10 /root"),
        ("+0", "0 0 0,10 /root"),
        ("0:", "0 0 0,10 /root"),
        ("0:0", "0 0 0 /root"),
        ("root:root", "0 0 0 /root"),
        ("0:10", "0 10 10 /root"),
        ("root:g", "0 11 11 /root"),
        (":g", "0 11 11 /root"),
        (":5", "0 5 5 /root"),
        ("u", "7 8 8,10,13 /home/u"),
        ("u:", "7 8 8,10,13 /home/u"),
        ("u:g", "7 11 11 /home/u"),
        ("u:root", "7 0 0 /home/u"),
        ("u:12", "7 12 12 /home/u"),
        ("7", "7 8 8,10,13 /home/u"),
        ("07", "7 8 8,10,13 /home/u"),
        ("9", "9 9 9,11 /nine"),
        ("4242", "4242 0 0 /"),
        ("4242:g", "4242 11 11 /"),
        ("u:nope", "unable to find group nope: no matching entries in group file"),
        ("nope", "unable to find user nope: no matching entries in passwd file"),
        ("U", "unable to find user U: no matching entries in passwd file"),
        ("-1", RANGE),
        ("2147483648", RANGE),
        ("5:2147483648", RANGE),
        ("9" * 5000, RANGE),
        ("٣", "unable to find user ٣: no matching entries in passwd file"),
    ],
)
def test_every_form_of_user(text: str, expected: str) -> None:
    assert who(text, PASSWD, GROUP) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "0 0 0 /"),
        ("0:0", "0 0 0 /"),
        ("5:6", "5 6 6 /"),
        ("5", "5 0 0 /"),
        ("5:g", "unable to find group g: no matching entries in group file"),
        ("root", "unable to find user root: no matching entries in passwd file"),
        ("root:g", "unable to find group g: no matching entries in group file"),
    ],
)
def test_image_without_the_files(text: str, expected: str) -> None:
    if text == "root:g":
        assert who(text, PASSWD) == expected
    else:
        assert who(text) == expected


@pytest.mark.parametrize(
    ("text", "passwd", "group", "expected"),
    [
        ("u", b"\n# no user\nshort:x\nbad:x:a:def::/:\nu:x:6:7::/l\n", b"a:x:3:u\n\nbroken\n", "6 7 7,3 /l"),
        ("short", b"u:x:1:1::/u:\nshort\n", b"a:x:5:short\n", "0 0 0,5 "),
        ("bad", b"bad:x:abc:def::/b:\n", None, "0 0 0 /b"),
        ("u", b"u:x:5:6::/u:\r\n", b"g:x:9:u\r\n", "5 6 6,9 /u"),
        ("u", b"  u:x:5:6::/u:  \n", b"\tg:x:9:u\n", "5 6 6,9 /u"),
        ("u", b"u:x:5:6::/u:", b"g:x:9:u", "5 6 6,9 /u"),
        ("u", b"u:x: 5:6::/u:", None, "0 6 6 /u"),
        ("u", b"u:x:5:6:::", None, "5 6 6 "),
        ("#u", b"#u:x:5:6::/u:\n", b"#g:x:9:#u\n", "5 6 6 /u"),
        ("u:#g", b"u:x:5:6::/u:\n", b"#g:x:9:\n", f"unable to find group #g: {NO_GROUP}"),
        ("0", b"# first\nroot:x:0:0::/root:\n", b"w:x:3:root,# first\n", "0 0 0,3 "),
        ("u", b"u:x:5:6::/u:\n", b"g:x:9:u:u2\nh:x:8: u\ni:x:x:u\nj:x:9:u\n", "5 6 6,9,0,9 /u"),
        ("u", b"u:x:-1:0::/:\n", None, RANGE),
        ("u", b"u:x:4294967295:0::/:\n", None, RANGE),
        ("u", b"u:x:0:0::/:\n", b"g:x:-1:u\n", RANGE),
        ("u", b"u:x:" + b"9" * 5000 + b":0::/:\n", None, RANGE),
        ("\udcff", b"\xff:x:5:6::/u:\n", None, "5 6 6 /u"),
    ],
)  # fmt: skip
def test_odd_rows(text: str, passwd: bytes, group: bytes | None, expected: str) -> None:
    assert who(text, passwd, group) == expected


def test_what_cannot_be_read_matters_to_who_asks_for_a_name() -> None:
    long = b"u:x:5:6::/u:\n" + b"x" * (1 << 16)
    assert who("u", long[:-1]) == "5 6 6 /u"
    assert who("u", long) == "unable to find user u: a line of /etc/passwd is longer than 65535 bytes"
    assert (who("", long), who("5:6", long)) == ("0 0 0 /", "5 6 6 /")
    members = b"g:x:9:" + b"v," * (1 << 18) + b"u"
    assert who("u", b"u:x:5:6::/u:\n", members) == "5 6 6,9 /u"
    huge = image(b"u:x:5:6::/u:\n" * 1_000_000)
    with pytest.raises(SandboxError, match='"/etc/passwd" exceeds 10485760 bytes'):
        process_user("u", huge)
    assert process_user("", huge) == ProcessUser(0, 0, (0,), "/")
    odd = View([LayerIndex([Entry("etc", "d", 0o755), Entry("etc/passwd", "d", 0o755)])])
    assert process_user("5", odd).uid == 5
    with pytest.raises(SandboxError, match="unable to find user u: no matching entries in passwd file"):
        process_user("u", odd)
    with pytest.raises(SandboxError, match="/etc/passwd is not a regular file"):
        copy_owner("u", odd)
    loop = View([LayerIndex([Entry("etc", "l", 0o777, link="etc")])])
    assert process_user("5", loop).uid == 5


def test_last_of_a_million_rows_is_found() -> None:
    rows = b"aa:x:5\n" * 1_400_000
    assert who("zz", rows + b"zz:x:6:6::/z:\n", b"b:x:3:v\n" * 1_200_000) == "6 6 6 /z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("u", (7, 8)), ("7", (7, 7)), ("root", (0, 0)), ("12", (12, 12)), ("nope", (0, 0)), ("u:", (7, 0)),
        ("5:", (5, 0)), (":", (0, 0)), (":g", (0, 11)), ("u:nope", (7, 8)), ("5:nope", (5, 5)),
        ("u:root", (7, 0)),
        ("+5", (5, 5)), ("-5", (4294967291, 4294967291)), ("-1", (0, 0)), ("2147483648", (0, 0)),
        ("9" * 5000, (0, 0)), ("u:12", (7, 12)), ("bad", (0, 0)), ("minus", (4294967294, 0)),
    ],
)  # fmt: skip
def test_owners_of_copies(text: str, expected: tuple[int, int] | None) -> None:
    passwd = PASSWD.replace(b"root:x:0:0", b"root:x:3:3") + b"bad:x:y\nminus:x:-2:-1\n"
    assert copy_owner(text, image(passwd, GROUP)) == expected


# --- any files ---------------------------------------------------------------------------------

_FIELD = st.sampled_from(
    ["", "a", "b", "0", "1", "5", "x", " ", "-3", "+5", "a,b", "b,,a", "#a", "05", "\r", "٣"]
)
_ROW = st.lists(_FIELD, max_size=8).map(":".join)
_FILE = st.one_of(st.none(), st.lists(_ROW, max_size=6).map(lambda rows: "\n".join(rows).encode()))
_NAME = st.sampled_from(["", "a", "b", "0", "1", "5", "05", "+5", "x", "#a", "root", "٣"])


def _atoi(text: str) -> int:
    try:
        return int(text) if text.isascii() and "_" not in text and text == text.strip() else 0
    except ValueError:
        return 0


def _table(data: bytes | None, *, comments: bool) -> list[list[str]]:
    rows = [line.strip() for line in (data or b"").decode().split("\n")]
    return [[*r.split(":"), *[""] * 7] for r in rows if r and not (comments and r[0] == "#")]


def _by_the_book(text: str, passwd: bytes | None, group: bytes | None) -> tuple[int, int, list[int]] | None:
    """The lookup as moby/sys/user documents it, without a thought for speed; None for an error."""
    usr, colon, grp = (text or "0").partition(":")
    if colon and all(p == "root" or (p.isascii() and p.isdigit()) for p in (usr, grp)):
        return _atoi(usr), _atoi(grp), [_atoi(grp)]
    numeric = {p: p.isascii() and p.lstrip("+").isdigit() for p in (usr, grp)}
    users = _table(passwd, comments=False)
    if not usr or numeric[usr]:
        users = [r for r in users if _atoi(r[2]) == _atoi(usr)]
    else:
        users = [r for r in users if r[0] == usr]
    if not users and usr and not numeric[usr]:
        return None
    uid, gid, name = (_atoi(users[0][2]), _atoi(users[0][3]), users[0][0]) if users else (_atoi(usr), 0, "")
    groups = _table(group, comments=True)
    if not grp:
        found = [_atoi(r[2]) for r in groups if name and name in r[3].split(",")]
        return uid, gid, found if gid in found else [gid, *found]
    named = [r for r in groups if (_atoi(r[2]) == _atoi(grp) if numeric[grp] else r[0] == grp)]
    if not named and not numeric[grp]:
        return None
    gid = _atoi(named[0][2]) if named else _atoi(grp)
    return uid, gid, [gid]


@given(_NAME, st.one_of(st.none(), _NAME), _FILE, _FILE)
def test_any_files_are_read_by_the_book(
    user: str, group_name: str | None, passwd: bytes | None, group: bytes | None
) -> None:
    text = user if group_name is None else f"{user}:{group_name}"
    expected = _by_the_book(text, passwd, group)
    if expected is not None and min(expected[0], expected[1], *expected[2]) < 0:
        expected = None  # out of range
    try:
        found = process_user(text, image(passwd, group))
    except SandboxError:
        assert expected is None or text == ""
        return
    if text == "" and expected is None:
        expected = 0, 0, [0]
    assert (found.uid, found.gid, list(found.groups)) == expected
