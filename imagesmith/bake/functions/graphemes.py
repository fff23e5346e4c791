"""What people take for one character: grapheme clusters, of which a string's length is counted.

Spec: Unicode's UAX #29, extended grapheme clusters, rules GB3 to GB13. Python's tables have no property for
them, so they are told by general category, and by ranges for Hangul and pictures.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right

__all__ = ["clusters"]

_CR, _LF, _CONTROL, _EXTEND, _ZWJ, _MARK, _PREPEND, _FLAG, _L, _V, _T, _LV, _LVT, _PICTURE, _OTHER = range(15)

_RANGES = (
    (0xA9, 0xA9, _PICTURE), (0xAE, 0xAE, _PICTURE), (0x600, 0x605, _PREPEND), (0x6DD, 0x6DD, _PREPEND),
    (0x70F, 0x70F, _PREPEND), (0xE33, 0xE33, _MARK), (0xEB3, 0xEB3, _MARK), (0x1100, 0x115F, _L),
    (0x1160, 0x11A7, _V), (0x11A8, 0x11FF, _T), (0x200C, 0x200C, _EXTEND), (0x200D, 0x200D, _ZWJ),
    (0x203C, 0x203C, _PICTURE), (0x2049, 0x2049, _PICTURE), (0x2122, 0x2122, _PICTURE),
    (0x2139, 0x2139, _PICTURE), (0x2194, 0x2199, _PICTURE), (0x21A9, 0x21AA, _PICTURE),
    (0x231A, 0x231B, _PICTURE), (0x2328, 0x2328, _PICTURE), (0x23CF, 0x23CF, _PICTURE),
    (0x23E9, 0x23F3, _PICTURE), (0x23F8, 0x23FA, _PICTURE), (0x24C2, 0x24C2, _PICTURE),
    (0x25AA, 0x25AB, _PICTURE), (0x25B6, 0x25B6, _PICTURE), (0x25C0, 0x25C0, _PICTURE),
    (0x25FB, 0x25FE, _PICTURE), (0x2600, 0x2605, _PICTURE), (0x2607, 0x2612, _PICTURE),
    (0x2614, 0x2685, _PICTURE), (0x2690, 0x2705, _PICTURE), (0x2708, 0x2712, _PICTURE),
    (0x2714, 0x2714, _PICTURE), (0x2716, 0x2716, _PICTURE), (0x271D, 0x271D, _PICTURE),
    (0x2721, 0x2721, _PICTURE), (0x2728, 0x2728, _PICTURE), (0x2733, 0x2734, _PICTURE),
    (0x2744, 0x2744, _PICTURE), (0x2747, 0x2747, _PICTURE), (0x274C, 0x274C, _PICTURE),
    (0x274E, 0x274E, _PICTURE), (0x2753, 0x2755, _PICTURE), (0x2757, 0x2757, _PICTURE),
    (0x2763, 0x2767, _PICTURE), (0x2795, 0x2797, _PICTURE), (0x27A1, 0x27A1, _PICTURE),
    (0x27B0, 0x27B0, _PICTURE), (0x27BF, 0x27BF, _PICTURE), (0x2934, 0x2935, _PICTURE),
    (0x2B05, 0x2B07, _PICTURE), (0x2B1B, 0x2B1C, _PICTURE), (0x2B50, 0x2B50, _PICTURE),
    (0x2B55, 0x2B55, _PICTURE), (0x3030, 0x3030, _PICTURE), (0x303D, 0x303D, _PICTURE),
    (0x3297, 0x3297, _PICTURE), (0x3299, 0x3299, _PICTURE), (0xA960, 0xA97C, _L), (0xD7B0, 0xD7C6, _V),
    (0xD7CB, 0xD7FB, _T), (0xFF9E, 0xFF9F, _EXTEND), (0x110BD, 0x110BD, _PREPEND),
    (0x110CD, 0x110CD, _PREPEND), (0x1F000, 0x1F0FF, _PICTURE), (0x1F10D, 0x1F10F, _PICTURE),
    (0x1F12F, 0x1F12F, _PICTURE), (0x1F16C, 0x1F171, _PICTURE), (0x1F17E, 0x1F17F, _PICTURE),
    (0x1F18E, 0x1F18E, _PICTURE), (0x1F191, 0x1F19A, _PICTURE), (0x1F1AD, 0x1F1E5, _PICTURE),
    (0x1F1E6, 0x1F1FF, _FLAG), (0x1F201, 0x1F20F, _PICTURE), (0x1F21A, 0x1F21A, _PICTURE),
    (0x1F22F, 0x1F22F, _PICTURE), (0x1F232, 0x1F23A, _PICTURE), (0x1F23C, 0x1F23F, _PICTURE),
    (0x1F249, 0x1F3FA, _PICTURE), (0x1F3FB, 0x1F3FF, _EXTEND), (0x1F400, 0x1F53D, _PICTURE),
    (0x1F546, 0x1F64F, _PICTURE), (0x1F680, 0x1F6FF, _PICTURE), (0x1F774, 0x1F77F, _PICTURE),
    (0x1F7D5, 0x1F7FF, _PICTURE), (0x1F80C, 0x1F80F, _PICTURE), (0x1F848, 0x1F84F, _PICTURE),
    (0x1F85A, 0x1F85F, _PICTURE), (0x1F888, 0x1F88F, _PICTURE), (0x1F8AE, 0x1F8FF, _PICTURE),
    (0x1F90C, 0x1F93A, _PICTURE), (0x1F93C, 0x1F945, _PICTURE), (0x1F947, 0x1FAFF, _PICTURE),
    (0x1FC00, 0x1FFFD, _PICTURE), (0xE0020, 0xE007F, _EXTEND),
)  # fmt: skip
_STARTS = [first for first, _, _ in _RANGES]
#: Spacing marks by category that extend all the same (Other_Grapheme_Extend).
_EXTENDING = frozenset(
    "\u09be\u09d7\u0b3e\u0b57\u0bbe\u0bd7\u0cc2\u0cd5\u0cd6\u0d3e\u0d57\u0dcf\u0ddf\u1b35\u302e\u302f"
    "\U0001133e\U00011357\U000114b0\U000114bd\U000115af\U00011930"
    "\U0001d165\U0001d16e\U0001d16f\U0001d170\U0001d171\U0001d172"
)
#: Spacing marks by category that begin a cluster of their own.
_APART = frozenset("\u102b\u102c\u1038\u1062\u1063\u1064\u1067\u1068\u1069\u106a\u106b\u106c\u106d\u1083")
_HANGUL = range(0xAC00, 0xD7A4)
_BY_CATEGORY = {"Mn": _EXTEND, "Me": _EXTEND, "Mc": _MARK, "Cc": _CONTROL, "Cf": _CONTROL, "Zl": _CONTROL,
                "Zp": _CONTROL, "Cs": _CONTROL}  # fmt: skip


def clusters(text: str) -> list[str]:
    """The grapheme clusters of a text, in order; joined they are the text."""
    if text.isascii() and "\r\n" not in text:
        return list(text)
    out: list[str] = []
    start, flags, pictured = 0, 0, False
    before = -1
    for n, char in enumerate(text):
        kind = _kind(char)
        joined = n and _joins(before, kind, flags, pictured)
        if n and not joined:
            out.append(text[start:n])
            start = n
        flags = flags + 1 if kind == _FLAG and joined else int(kind == _FLAG)
        # a picture, and what extends it, so that a joiner may bind the next one
        pictured = kind == _PICTURE or (pictured and bool(joined) and kind in (_EXTEND, _ZWJ))
        before = kind
    out.append(text[start:])
    return out


def _joins(before: int, kind: int, flags: int, pictured: bool) -> bool:
    """Whether there is no boundary between two characters."""
    if before == _CR or before in (_LF, _CONTROL) or kind in (_CR, _LF, _CONTROL):
        return before == _CR and kind == _LF
    if kind in (_EXTEND, _ZWJ, _MARK) or before == _PREPEND:
        return True
    if before == _L:
        return kind in (_L, _V, _LV, _LVT)
    if before in (_LV, _V):
        return kind in (_V, _T)
    if before in (_LVT, _T):
        return kind == _T
    if before == _ZWJ and kind == _PICTURE:
        return pictured
    return before == _FLAG and kind == _FLAG and flags % 2 == 1


def _kind(char: str) -> int:
    code = ord(char)
    if code < 0x80:
        return {13: _CR, 10: _LF}.get(code, _CONTROL if code < 32 or code == 127 else _OTHER)
    at = bisect_right(_STARTS, code) - 1
    if at >= 0 and code <= _RANGES[at][1]:
        return _RANGES[at][2]
    if code in _HANGUL:
        return _LV if (code - 0xAC00) % 28 == 0 else _LVT
    if char in _EXTENDING:
        return _EXTEND
    return _OTHER if char in _APART else _BY_CATEGORY.get(unicodedata.category(char), _OTHER)
