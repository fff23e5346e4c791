"""What packages declare as their licences, as SPDX licence expressions.

Why: a document with one name that SPDX does not know is not valid, and distributions have names of their
own: `GPL-2+`, `GPLv2+`, `Expat`, `ASL 2.0`. What is known is translated; anything else becomes a LicenseRef
with the text as it was declared, so that nothing is lost and nothing invented.
Spec: SPDX 2.3 annex D (expressions), clause 10 (LicenseRef); Debian's copyright format 1.0 for its short
names; Fedora's short names before 2022.
Trust: declarations come from images: what is long, deep or unbalanced is one LicenseRef; the list beside this
module is the program's own.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["Licences", "known"]

#: Characters of a declaration that is read as an expression, words of a name in it, and depth of parentheses.
_LONGEST, _WORDS, _DEEPEST = 500, 6, 20

_ALIASES = {
    "apache 2": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache license 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0", "apache v2": "Apache-2.0",
    "apache license v2.0": "Apache-2.0", "apache software license 2.0": "Apache-2.0",
    "apachev2": "Apache-2.0", "apache software license version 2.0": "Apache-2.0",
    "the apache license version 2.0": "Apache-2.0", "the apache software license version 2.0": "Apache-2.0",
    "apache-2": "Apache-2.0", "asl 2.0": "Apache-2.0", "asl 1.1": "Apache-1.1", "al2": "Apache-2.0",
    "artistic": "Artistic-1.0-Perl", "artistic 2.0": "Artistic-2.0", "artistic-2": "Artistic-2.0",
    "boost": "BSL-1.0", "bsl-1": "BSL-1.0", "boost software license 1.0": "BSL-1.0",
    "2-clause bsd": "BSD-2-Clause",
    "bsd 2-clause": "BSD-2-Clause", "bsd-2": "BSD-2-Clause", "bsd 2-clause license": "BSD-2-Clause",
    "simplified bsd": "BSD-2-Clause", "bsd-2-clauses": "BSD-2-Clause", "3-clause bsd": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause", "bsd-3": "BSD-3-Clause", "bsd 3-clause license": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause", "new bsd license": "BSD-3-Clause", "3-clause bsd license": "BSD-3-Clause",
    "modified bsd": "BSD-3-Clause", "bsd-3-clauses": "BSD-3-Clause",
    "the bsd 3-clause license": "BSD-3-Clause", "bsd-4-clauses": "BSD-4-Clause", "bsd-4": "BSD-4-Clause",
    "bsd with advertising": "BSD-4-Clause", "bzip2": "bzip2-1.0.6", "cc0": "CC0-1.0",
    "cc-by-sa-3": "CC-BY-SA-3.0", "cc-by-sa-4": "CC-BY-SA-4.0", "cc-by-3": "CC-BY-3.0",
    "cddl 1.0": "CDDL-1.0", "eclipse public license 1.0": "EPL-1.0", "epl 1.0": "EPL-1.0",
    "eclipse public license 2.0": "EPL-2.0", "eclipse public license - v 2.0": "EPL-2.0",
    "epl 2.0": "EPL-2.0", "eclipse public license - v 1.0": "EPL-1.0",
    "eclipse distribution license - v 1.0": "BSD-3-Clause", "expat": "MIT", "mit license": "MIT",
    "mit/x11": "MIT", "the mit license": "MIT", "mit-license": "MIT", "the mit license (mit)": "MIT",
    "mit license (mit)": "MIT", "bouncy castle licence": "MIT", "isc license": "ISC",
    "isc license (iscl)": "ISC", "ftl": "FTL", "freetype": "FTL",
    "mozilla public license 1.1 (mpl 1.1)": "MPL-1.1", "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "mozilla public license version 2.0": "MPL-2.0", "mpl 2.0": "MPL-2.0", "mplv2.0": "MPL-2.0",
    "mplv1.1": "MPL-1.1", "mpl-1": "MPL-1.0", "mpl-2": "MPL-2.0", "mpl 1.1": "MPL-1.1", "ofl": "OFL-1.1",
    "openldap": "OLDAP-2.8", "openldap-2.8": "OLDAP-2.8", "openssl license": "OpenSSL",
    "perl": "Artistic-1.0-Perl OR GPL-1.0-or-later", "postgresql license": "PostgreSQL", "psf": "PSF-2.0",
    "psf license": "PSF-2.0", "psf-2": "PSF-2.0", "psfl": "PSF-2.0", "psfv2": "PSF-2.0",
    "python software foundation license": "PSF-2.0", "ruby license": "Ruby", "the unlicense": "Unlicense",
    "the unlicense (unlicense)": "Unlicense", "vim license": "Vim", "w3c license": "W3C",
    "zlib/libpng": "Zlib", "zlib license": "Zlib", "zpl 2.1": "ZPL-2.1",
}  # fmt: skip

_GNU = re.compile(
    r"(?:gnu )?(a|l|lesser |library |affero )?(?:gpl|general public license)"
    r"[- ,]*(?:version |v\.? ?)?(\d(?:\.\d)?)?(?:\.0)?"
    r"(\+| or later| or any later version|-or-later|-only| only)?"
    r"(?: \([a-z0-9+.]+\))?"
)
_GFDL = re.compile(r"(?:gnu )?(?:gfdl|fdl)(-niv)?[- ]?v?(1\.[123])(\+|-or-later|-only)?(-no-invariants)?")
_GNU_VERSIONS = {
    "GPL": ("1.0", "2.0", "3.0"), "LGPL": ("2.0", "2.1", "3.0"), "AGPL": ("1.0", "3.0"),
}  # fmt: skip
#: Exceptions as Debian names them.
_EXCEPTIONS = {
    "autoconf": "Autoconf-exception-generic", "autoconf2": "Autoconf-exception-2.0",
    "autoconf3": "Autoconf-exception-3.0", "bison": "Bison-exception-2.2",
    "classpath": "Classpath-exception-2.0", "font": "Font-exception-2.0", "gcc": "GCC-exception-3.1",
    "gcc-runtime-library": "GCC-exception-3.1", "libtool": "Libtool-exception",
}  # fmt: skip


@functools.cache
def _lists() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The identifiers of licences and of exceptions, by their lower case."""
    text = Path(__file__).with_name("licences.txt").read_text("ascii")
    first, _, second = text.partition("# exceptions\n")
    one, two = (
        {line.lower(): line for line in part.splitlines() if line and line[0] != "#"}
        for part in (first, second)
    )
    return one, two


@functools.lru_cache(4096)
def known(name: str) -> str:
    """The SPDX identifier, or expression, that a name stands for; empty if none is known."""
    low = " ".join(name.lower().replace(",", " ").split())
    ids = _lists()[0]
    found = _gnu(low) or _gfdl(low) or _ALIASES.get(low, "") or ids.get(low, "")
    if not found and low.endswith("+") and low[:-1] in ids:
        found = f"{ids[low[:-1]]}+"
    return found


def _gnu(low: str) -> str:
    found = _GNU.fullmatch(low)
    if found is None or (found[2] is None and found[3] != "+"):
        return ""
    kind = {"": "GPL", "af": "AGPL", "a": "AGPL"}.get((found[1] or "")[:2].strip(), "LGPL")
    number = found[2] or _GNU_VERSIONS[kind][0]
    number = number if "." in number else f"{number}.0"
    if number not in _GNU_VERSIONS[kind]:
        return ""
    later = found[3] is not None and "only" not in found[3]
    return f"{kind}-{number}-{'or-later' if later else 'only'}"


def _gfdl(low: str) -> str:
    found = _GFDL.fullmatch(low)
    if found is None:
        return ""
    plain = "-no-invariants" if found[1] or found[4] else ""
    return f"GFDL-{found[2]}{plain}-{'or-later' if found[3] in ('+', '-or-later') else 'only'}"


class _Unreadable(Exception):
    """A declaration that is no expression."""


#: An identifier, or a list of operands under AND or OR.
_Node = str | tuple[str, list["_Node"]]


class Licences:
    """Makes expressions of declarations, and remembers the LicenseRefs that they need.

    `texts` has what each LicenseRef stands for.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._made: dict[tuple[str, ...], str] = {}

    def expression(self, declared: Iterable[str]) -> str:
        """One expression for declarations that all apply; empty if there are none."""
        key = tuple(declared)
        found = self._made.get(key)
        if found is None:
            nodes = [self._node(text) for text in dict.fromkeys(key) if text.strip()]
            found = self._made[key] = _written(_joined("AND", nodes), top=True) if nodes else ""
        return found

    def _node(self, text: str) -> _Node:
        found = known(text)
        if found:
            return _Parser(found, self).parse() if " " in found else found
        if len(text) <= _LONGEST and "\n" not in text:
            try:
                _Parser(text, Licences()).parse()
            except _Unreadable:
                return self.reference(text)
            return _Parser(text, self).parse()
        return self.reference(text)

    def reference(self, text: str) -> str:
        """The LicenseRef for a text that SPDX has no name for."""
        text = text.strip()
        own = re.fullmatch(r"LicenseRef-([A-Za-z0-9.-]+)", text)
        short = own[1] if own else re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")
        if not short or len(short) > 64:
            short = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
        name = f"LicenseRef-{short}"
        if self.texts.setdefault(name, text) != text:
            name += f"-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"
            self.texts.setdefault(name, text)
        return name


class _Parser:
    """Reads `A and (B or C with D)` in either case, where names may be words with blanks between."""

    def __init__(self, text: str, licences: Licences) -> None:
        text = re.sub(r"(\S),\s+(and|or)\b", r"\1 \2", text)
        self._words = re.findall(r"[()]|[^\s()]+", text)
        self._at, self._licences = 0, licences

    def parse(self) -> _Node:
        """The whole of it."""
        node = self._either(0)
        if self._at < len(self._words):
            raise _Unreadable
        return node

    def _next(self) -> str:
        return self._words[self._at].upper() if self._at < len(self._words) else ""

    def _either(self, depth: int) -> _Node:
        nodes = [self._both(depth)]
        while self._next() in ("OR", "|", "||"):
            self._at += 1
            nodes.append(self._both(depth))
        return _joined("OR", nodes)

    def _both(self, depth: int) -> _Node:
        nodes = [self._one(depth)]
        while self._next() in ("AND", "&", "&&"):
            self._at += 1
            nodes.append(self._one(depth))
        return _joined("AND", nodes)

    def _one(self, depth: int) -> _Node:
        if self._next() == "(":
            if depth >= _DEEPEST:
                raise _Unreadable
            self._at += 1
            node = self._either(depth + 1)
            if self._next() != ")":
                raise _Unreadable
            self._at += 1
            return node
        words = []
        while self._next() not in ("", "(", ")", "AND", "OR", "|", "||", "&", "&&"):
            words.append(self._words[self._at])
            self._at += 1
        if not words or len(words) > _WORDS:
            raise _Unreadable
        return self._name(words)

    def _name(self, words: list[str]) -> _Node:
        text = " ".join(words)
        found = known(text)
        if found:
            return _Parser(found, self._licences).parse() if " OR " in found else found
        low = [word.lower() for word in words]
        if "with" in low[1:-1]:
            at = low.index("with", 1)
            base, said = known(" ".join(words[:at])), "-".join(low[at + 1 :])
            short = said.removesuffix("-exception")
            exceptions = _lists()[1]
            exception = exceptions.get(said) or exceptions.get(short) or _EXCEPTIONS.get(short, "")
            if base and exception and " " not in base:
                return f"{base} WITH {exception}"
        return self._licences.reference(text)


def _joined(word: str, nodes: list[_Node]) -> _Node:
    """Operands under one word, those under the same word among them, each once."""
    flat: list[_Node] = []
    for node in nodes:
        for one in node[1] if isinstance(node, tuple) and node[0] == word else [node]:
            if one not in flat:
                flat.append(one)
    return flat[0] if len(flat) == 1 else (word, flat)


def _written(node: _Node, *, top: bool = False) -> str:
    if isinstance(node, str):
        return node
    text = f" {node[0]} ".join(_written(one) for one in node[1])
    return text if top else f"({text})"
