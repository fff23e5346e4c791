"""DER: the values of a structure, taken one after the other by whoever knows what they are.

Why our own: `cryptography` reads certificates, and no timestamps; these need five types.
Spec: X.690, the distinguished encoding: lengths are definite and as short as they can be. Tags of one byte.
Trust: the bytes are a stranger's. Nothing is read beyond the end of a value, and nothing calls itself: depth
is that of the caller.
Threads: any.
"""

from __future__ import annotations

import datetime
import re

from imagesmith.errors import InvalidDocument
from imagesmith.values import frozen

__all__ = [
    "INTEGER",
    "OBJECT",
    "OCTETS",
    "SEQUENCE",
    "SET",
    "TIME",
    "UTF8",
    "Fields",
    "Value",
    "parse",
    "within",
]

#: The tags that are used: universal ones, and `within(n)` for those that a structure numbers itself.
INTEGER, OCTETS, OBJECT, UTF8, TIME, SEQUENCE, SET = 0x02, 0x04, 0x06, 0x0C, 0x18, 0x30, 0x31
_TIME = re.compile(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.\d{0,8}[1-9])?Z")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def within(number: int) -> int:
    """The tag of a constructed value that a structure numbers: `[0]`, `[1]`."""
    return 0xA0 | number


@frozen
class Value:
    """A value: its tag, its content, and both as they are encoded; `what` is what holds it, for messages."""

    tag: int
    content: bytes
    encoded: bytes
    what: str

    @property
    def fields(self) -> Fields:
        """The values in it, of one that is constructed."""
        return Fields(self.content, self.what)

    @property
    def integer(self) -> int:
        """The number that it is."""
        return int.from_bytes(self.content, signed=True)

    @property
    def dotted(self) -> str:
        """The object identifier that it is, as `1.2.840`.

        Raises:
            InvalidDocument: it is none.
        """
        numbers, last = [], 0
        for n, byte in enumerate(self.content):
            if (byte == 0x80 and not last) or n == _MOST_OBJECT:
                break
            last = last << 7 | byte & 0x7F
            if byte < 0x80:
                numbers.append(last)
                last = 0
        else:
            if self.content and self.content[-1] < 0x80:
                first = min(numbers[0] // 40, 2)
                return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
        raise InvalidDocument(f"{self.what}: no object identifier")

    @property
    def seconds(self) -> int:
        """The time that it is, in whole seconds since 1970.

        Raises:
            InvalidDocument: it is none.
        """
        match = _TIME.fullmatch(self.content)
        try:
            if match is not None:
                year, month, day, hour, minute, second = map(int, match.groups())
                moment = datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.UTC)
                return (moment - _EPOCH) // datetime.timedelta(seconds=1)
        except ValueError as e:
            raise InvalidDocument(f"{self.what}: not a time: {e}") from e
        raise InvalidDocument(f"{self.what}: not a time in UTC")


#: Bytes of an object identifier that is believed.
_MOST_OBJECT = 64


class Fields:
    """Values one after the other; each is taken once."""

    __slots__ = ("_at", "_raw", "_what")

    def __init__(self, raw: bytes, what: str) -> None:
        self._raw, self._what, self._at = raw, what, 0

    @property
    def left(self) -> bool:
        """Whether there is another one."""
        return self._at < len(self._raw)

    def take(self, *tags: int) -> Value:
        """The next one, which has one of some tags.

        Raises:
            InvalidDocument: it has another, there is none, or it is no DER.
        """
        found = self.maybe(*tags)
        if found is None:
            seen = f"{self._raw[self._at]:#04x}" if self.left else "its end"
            raise InvalidDocument(f"{self._what}: {seen} where {tags[0]:#04x} should be")
        return found

    def maybe(self, *tags: int) -> Value | None:
        """The next one if it has one of some tags; None, and nothing is taken, if it has not."""
        if not self.left or self._raw[self._at] not in tags:
            return None
        start, at = self._at, self._at + 1
        length = self._byte(at)
        at += 1
        if length >= 0x80:
            size = length & 0x7F
            length = int.from_bytes(self._raw[at : at + size])
            if not 1 <= size <= 4 or length < 0x80 or length >> 8 * (size - 1) == 0:
                raise InvalidDocument(f"{self._what}: a length that DER does not have")
            at += size
        end = at + length
        if end > len(self._raw):
            raise InvalidDocument(f"{self._what}: ends in the middle of a value")
        self._at = end
        return Value(self._raw[start], self._raw[at:end], self._raw[start:end], self._what)

    def end(self) -> None:
        """Refuse what is left."""
        if self.left:
            raise InvalidDocument(f"{self._what}: {len(self._raw) - self._at} bytes too many")

    def _byte(self, at: int) -> int:
        if at >= len(self._raw):
            raise InvalidDocument(f"{self._what}: ends in the middle of a value")
        return self._raw[at]


def parse(raw: bytes, what: str) -> Fields:
    """The values of the one sequence that some bytes are.

    Args:
        raw: the bytes, of bounded size.
        what: what they are, for messages.

    Raises:
        InvalidDocument: they are something else.
    """
    whole = Fields(raw, what)
    found = whole.take(SEQUENCE)
    whole.end()
    return found.fields
