"""Values that instructions hold: durations, signals, ports, modes, and Go's ways of printing them.

Why: BuildKit is written in Go, and its notation is part of the language: `1m30s`, `%q`, ParseBool. The
messages are Go's and Docker's, since users know them.
Trust: text of a Dockerfile or of its variables; mistakes are DockerfileErrors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from imagesmith.errors import DockerfileError
from imagesmith.values import frozen

__all__ = [
    "MAX_PORTS",
    "Chmod",
    "check_signal",
    "check_volumes",
    "go_duration",
    "go_quote",
    "go_quote_list",
    "json_list",
    "parse_bool",
    "parse_chmod",
    "parse_duration",
    "parse_ports",
    "to_bytes",
]

_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def to_bytes(text: str) -> bytes:
    """The bytes that a text of a Dockerfile had."""
    return text.encode("utf-8", "surrogateescape")


def go_quote(text: str) -> str:
    """A string as Go's %q prints it."""
    out = []
    for char in text:
        code = ord(char)
        if char in '"\\':
            out.append("\\" + char)
        elif char in _SHORT:
            out.append(_SHORT[char])
        elif 0xDC80 <= code <= 0xDCFF:
            out.append(f"\\x{code - 0xDC00:02x}")
        elif code < 0x20 or code == 0x7F:
            out.append(f"\\x{code:02x}")
        elif char == " " or char.isprintable():
            out.append(char)
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return f'"{"".join(out)}"'


def go_quote_list(words: Iterable[str]) -> str:
    """A list of strings as Go's %q prints it: `["a" "b"]`."""
    return f"[{' '.join(map(go_quote, words))}]"


def json_list(words: Sequence[str]) -> str:
    """A list as the exec form is written."""
    return json.dumps(list(words), ensure_ascii=False)


def parse_bool(text: str) -> bool:
    """Go's strconv.ParseBool.

    Raises:
        ValueError: neither true nor false.
    """
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


# --- durations ---------------------------------------------------------------------------------

_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
#: More than fit into 64 bits; with thousands of them Python would not even read the number.
_DIGITS = 20
_PART = r"(?a)(\d*)(?:\.(\d*))?([^\d.]*)"


def parse_duration(text: str) -> int:
    """A duration of Go (`1m30s`, `-5s`, `0`) in nanoseconds.

    Raises:
        DockerfileError: in Go's words.
    """
    shown = go_quote(text)
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest:
        raise DockerfileError(f"time: invalid duration {shown}")
    total = 0
    while rest:
        match = re.match(_PART, rest)
        if match is None or not (match[1] or match[2]):
            raise DockerfileError(f"time: invalid duration {shown}")
        whole, fraction, unit = match[1], match[2] or "", match[3]
        if not unit:
            raise DockerfileError(f"time: missing unit in duration {shown}")
        if unit not in _UNITS:
            raise DockerfileError(f"time: unknown unit {go_quote(unit)} in duration {shown}")
        scale = _UNITS[unit]
        if len(whole) > _DIGITS:
            raise DockerfileError(f"time: invalid duration {shown}")
        fraction = fraction[:_DIGITS]
        total += int(whole or 0) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)
        rest = rest[match.end() :]
    if total >= 1 << 63:
        raise DockerfileError(f"time: invalid duration {shown}")
    return -total if text[:1] == "-" else total


def go_duration(ns: int) -> str:
    """A duration as Go prints it: `1m30s`, `1.5s`, `0s`."""
    if ns == 0:
        return "0s"
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    if ns < 10**9:
        for unit, scale in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
            if ns >= scale:
                return f"{sign}{_decimal(ns, scale)}{unit}"
    minutes, rest = divmod(ns, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{head}{_decimal(rest, 10**9)}s"


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    if not rest:
        return str(whole)
    return f"{whole}.{rest:0{len(str(scale)) - 1}d}".rstrip("0")


# --- signals, volumes, ports -------------------------------------------------------------------

_NAMES = """
    ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT RTMAX RTMIN SEGV STKFLT
    STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ
"""
_SIGNALS = frozenset(
    [
        *_NAMES.split(),
        *(f"RTMIN+{n}" for n in range(1, 16)),
        *(f"RTMAX-{n}" for n in range(1, 15)),
    ]
)
_INTEGER = rf"(?a)[+-]?\d{{1,{_DIGITS}}}"


def check_signal(text: str) -> None:
    """Refuse what STOPSIGNAL does not take: any number but 0, or a name with or without SIG."""
    if re.fullmatch(_INTEGER, text):
        if int(text) != 0:
            return
    elif text.upper().removeprefix("SIG") in _SIGNALS:
        return
    raise DockerfileError(f"invalid signal: {text}")


def check_volumes(paths: Iterable[str]) -> None:
    """Refuse blank paths of VOLUME."""
    if any(not p.strip() for p in paths):
        raise DockerfileError("VOLUME specified can not be an empty string")


#: Every port of every protocol; one EXPOSE that opens more is an attack on memory, not a Dockerfile.
MAX_PORTS = 3 << 16


def _port(text: str) -> int | None:
    """A port's number as Go's ParseInt reads it: with a sign and leading zeros; None where it is none."""
    number = int(text) if re.fullmatch(_INTEGER, text) else -1
    return number if 0 <= number <= 65535 else None


def _range(text: str) -> tuple[int, int] | None:
    first, dash, last = text.partition("-")
    low = _port(first)
    high = _port(last) if dash else low
    return None if low is None or high is None or high < low else (low, high)


def parse_ports(words: Iterable[str], most: int = MAX_PORTS) -> list[str]:
    """The `port/protocol` texts of EXPOSE's words, ranges unrolled, address and host parts dropped.

    Args:
        words: what is left of them after expansion.
        most: so many ports may come of them.

    Raises:
        DockerfileError: in Docker's words.
    """
    ports: list[str] = []
    for word in words:
        (first, last), protocol = _ports_of(word)
        if len(ports) + last - first >= most:
            raise DockerfileError(f"EXPOSE opens more than {MAX_PORTS} ports")
        ports += (f"{n}/{protocol}" for n in range(first, last + 1))
    return ports


def _ports_of(word: str) -> tuple[tuple[int, int], str]:
    """First and last port of `[ip:][host:]port[-port][/protocol]`, and the protocol."""
    before, _, port = word.rpartition(":")
    ip, _, host = before.rpartition(":")
    port, _, protocol = port.partition("/")
    protocol = protocol.lower() or "tcp"
    if not port:
        raise DockerfileError(f'invalid port: "{word}": no port specified')
    if protocol not in ("tcp", "udp", "sctp"):
        raise DockerfileError(f'invalid port: "{word}": invalid proto: {protocol}')
    if ip and not _is_address(ip):
        raise DockerfileError(f"invalid IP address: {ip}")
    inside = _range(port)
    if inside is None:
        raise DockerfileError(f"invalid containerPort: {port}")
    if host:
        outside = _range(host)
        if outside is None:
            raise DockerfileError(f"invalid hostPort: {host}")
        if inside[0] != inside[1] and inside[1] - inside[0] != outside[1] - outside[0]:
            raise DockerfileError(f"invalid ranges specified for container and host Ports: {port} and {host}")
    return inside, protocol


def _is_address(text: str) -> bool:
    """An address as Go's ParseIP takes it, in brackets or not: without a zone."""
    import ipaddress

    if text.startswith("["):
        if not text.endswith("]"):
            return False
        text = text[1:-1]
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


# --- modes -------------------------------------------------------------------------------------

_CLAUSE = r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)"
_ACTION = r"([-+=])([ugo](?![rwxXst])|[rwxXst]*)"
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": 0o7777}
_OCTAL = r"(?a)[0-7]+"


@frozen
class Chmod:
    """A --chmod: an octal mode, or symbolic clauses to be applied to each entry's own."""

    octal: int | None
    clauses: tuple[tuple[str, str], ...] = ()

    def apply(self, mode: int, is_dir: bool) -> int:
        """The mode of an entry that had `mode`."""
        if self.octal is not None:
            return self.octal
        for who, actions in self.clauses:
            for operator, what in re.findall(_ACTION, actions):
                mode = _act(mode, who or "a", operator, what, is_dir)
        return mode


def _act(mode: int, who: str, operator: str, what: str, is_dir: bool) -> int:
    mask = 0
    for w in who:
        mask |= _WHO[w]
    bits = 0
    if what in ("u", "g", "o") and what:
        three = mode >> {"u": 6, "g": 3, "o": 0}[what] & 7
        bits = three * 0o111
    else:
        for letter in what:
            if letter == "X":
                bits |= 0o111 if is_dir or mode & 0o111 else 0
            elif letter == "s":
                bits |= 0o6000
            elif letter == "t":
                bits |= 0o1000
            else:
                bits |= _BITS[letter]
    if "t" in what and "a" not in who and what not in ("u", "g", "o"):
        mask |= 0o1000
    bits &= mask
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    return (mode & ~(mask & (0o7777 if not is_dir else 0o777 | (bits & 0o7000)))) | bits


def parse_chmod(text: str) -> Chmod:
    """Read a --chmod, octal or symbolic.

    Raises:
        DockerfileError: in BuildKit's words.
    """
    if text[:1].isdigit() or (text[:1] in "+-" and text[1:2].isdigit()):
        if re.fullmatch(_OCTAL, text) and int(text, 8) <= 0o7777:
            return Chmod(int(text, 8))
        raise DockerfileError(
            f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        )
    clauses = []
    for clause in text.split(","):
        match = re.fullmatch(_CLAUSE, clause)
        if match is None:
            raise DockerfileError(f"invalid chmod parameter: '{text}'. invalid syntax")
        clauses.append((match[1], match[2]))
    return Chmod(None, tuple(clauses))
