"""Reading the values of flags: `k=v` lists in CSV, secrets, sizes, hosts, as buildx spells them.

Trust: words of a command line; every mistake is a UsageError that quotes the word.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence

from imagesmith.dockerfile.values import parse_duration
from imagesmith.errors import DockerfileError, UsageError
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.request import BuildRequest, Emulator, OnFailure, SecretSource, ShellAt

__all__ = [
    "boolean",
    "fields",
    "is_indexed",
    "parse_age",
    "parse_build_args",
    "parse_emulator",
    "parse_hosts",
    "parse_labels",
    "parse_on_failure",
    "parse_platforms",
    "parse_secret",
    "parse_shell_at",
    "parse_size",
    "parse_ssh",
    "parse_timeout",
    "parse_ulimit",
    "parse_variables",
    "read_arg_file",
    "refuse_shells",
]

_TRUE, _FALSE = {"1", "t", "true"}, {"0", "f", "false"}


def boolean(name: str, value: str) -> bool:
    """True or false as Go's ParseBool reads it."""
    low = value.lower()
    if low in _TRUE or low in _FALSE:
        return low in _TRUE
    raise UsageError(f"non-bool value specified for {name}: {value}")


def fields(text: str, what: str) -> list[tuple[str, str | None]]:
    """The `key=value` fields of one CSV record, keys in lower case; None where there is no `=`."""
    import csv

    try:
        row = next(csv.reader(io.StringIO(text, newline=""), strict=True), [])
    except csv.Error as e:
        raise UsageError(f"invalid {what} {text!r}: {e}") from e
    out: list[tuple[str, str | None]] = []
    for field in row:
        key, equals, value = field.partition("=")
        out.append((key.strip().lower(), value if equals else None))
    return out


def parse_platforms(texts: Iterable[str]) -> tuple[Platform, ...]:
    """--platform: platforms with commas between them, in the order in which they are given."""
    names = [name.strip() for text in texts for name in text.split(",")]
    return tuple(Platform.parse(name) for name in names if name)


def is_indexed(platforms: Sequence[Platform], build_args: Mapping[str, str]) -> bool:
    """True if an index is to be made: of several platforms, or where BUILDKIT_MULTI_PLATFORM asks for it.

    Raises:
        UsageError: it says no, and there are several; or neither yes nor no.
    """
    said = build_args.get("BUILDKIT_MULTI_PLATFORM", "")
    wanted = boolean("BUILDKIT_MULTI_PLATFORM", said) if said else len(platforms) > 1
    if len(platforms) > 1 and not wanted:
        raise UsageError("conflicting config: returning multiple target platforms is not allowed")
    return wanted


def parse_build_args(words: Iterable[str], env: Mapping[str, str]) -> dict[str, str]:
    """--build-arg: see parse_variables; SOURCE_DATE_EPOCH is taken from the environment unasked."""
    return parse_variables(["SOURCE_DATE_EPOCH", *words], env)


def parse_variables(words: Iterable[str], env: Mapping[str, str]) -> dict[str, str]:
    """`k=v`, or `k` for the value of the environment (nothing where it is not set)."""
    out: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key:
            raise UsageError(f'invalid key-value pair "{word}": empty key')
        if equals:
            out[key] = value
        elif key in env:
            out[key] = env[key]
    return out


#: More bytes no file of build arguments has.
_MOST_BYTES = 1 << 20


def read_arg_file(path: str) -> list[str]:
    """--build-arg-file: a word a line, as --build-arg has it; blank lines and those after a `#` are none.

    Spec: podman-build(1). Nothing is unquoted: a value is all that stands behind the first `=`.

    Raises:
        UsageError: the file cannot be read, or a line is no such word; the line is told.
    """
    try:
        with open(path, "rb") as f:
            data = f.read(_MOST_BYTES + 1)
    except OSError as e:
        raise UsageError(f"--build-arg-file {path}: {(e.strerror or '').lower()}") from e
    if len(data) > _MOST_BYTES:
        raise UsageError(f"--build-arg-file {path}: more than {_MOST_BYTES >> 20} MiB")
    out = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        line = os.fsdecode(raw.strip())
        if not line or line.startswith("#"):
            continue
        name = line.partition("=")[0]
        if not name or "\0" in line or any(c.isspace() for c in name):
            said = name[:40] if name and name.isprintable() else "no name"
            raise UsageError(f"--build-arg-file {path}:{number}: expected NAME=VALUE, found {said!r}")
        out.append(line)
    return out


def parse_labels(words: Iterable[str]) -> dict[str, str]:
    """--label: `k=v`, or `k` for an empty value."""
    out: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if not key:
            raise UsageError(f'invalid key-value pair "{word}": empty key')
        out[key] = value
    return out


def parse_emulator(text: str) -> Emulator:
    """--emulator: `PATH`, or `PLATFORM=PATH`.

    Raises:
        UsageError: there is no such program.
    """
    platform, equals, path = text.partition("=")
    if not equals or platform.startswith(("/", ".")):
        platform, path = "", text
    if not os.path.isfile(path) or not os.access(path, os.R_OK | os.X_OK):
        raise UsageError(f"--emulator {text}: there is no program at {path or 'an empty path'}")
    return Emulator(os.path.abspath(path), Platform.parse(platform) if platform else None)


def parse_secret(text: str) -> SecretSource:
    """--secret: `id=I[,src=FILE][,env=VAR][,type=file|env]`."""
    found: dict[str, str] = {}
    for key, value in fields(text, "secret"):
        if value is None:
            raise UsageError(f"invalid field '{key}' must be a key=value pair")
        name = {"source": "src"}.get(key, key)
        if name not in ("type", "id", "src", "env"):
            raise UsageError(f"unexpected key '{key}' in '{key}={value}'")
        found[name] = value
    kind = found.get("type", "")
    if kind not in ("", "file", "env"):
        raise UsageError(f'unsupported secret type "{kind}"')
    name = found.get("id", "") or found.get("env", "") or os.path.basename(found.get("src", ""))
    if not name:
        raise UsageError(f"--secret {text}: id is required")
    src, variable = found.get("src", ""), found.get("env", "")
    if kind == "env":
        src, variable = "", variable or src or name
    elif not src and not variable:
        if name in os.environ and kind != "file":
            variable = name
        else:
            src = name
    return SecretSource(name, src, "" if src else variable)


def parse_on_failure(text: str) -> OnFailure:
    """--on-failure: `shell`, `shell=PATH` or `keep=NAME`.

    Raises:
        UsageError: it is none of them, or NAME is no name that an image can be given.
    """
    what, equals, value = text.partition("=")
    if what not in ("shell", "keep") or (equals and not value) or (what == "keep" and not value):
        raise UsageError(f"--on-failure {text}: expected shell, shell=PATH or keep=NAME")
    if what == "shell":
        return OnFailure(shell=value)
    name = ImageRef.parse(value)
    if name.digest is not None:
        raise UsageError(f"--on-failure {text}: the digest of what is kept is not known before")
    return OnFailure(keep=name)


def parse_shell_at(text: str) -> ShellAt:
    """--shell-at: `STAGE` or `STAGE:LINE`, a stage by name or number, and a line of the Dockerfile.

    Raises:
        UsageError: it is neither.
    """
    stage, colon, line = text.partition(":")
    is_line = line.isascii() and line.isdecimal() and len(line) < 10 and int(line) > 0
    if not stage or (colon and not is_line):
        raise UsageError(f"--shell-at {text}: expected STAGE, or STAGE:LINE with a line of the Dockerfile")
    return ShellAt(stage, int(line) if colon else 0)


def refuse_shells(request: BuildRequest) -> None:
    """Raise where a build would open a shell, for there is no terminal.

    Raises:
        UsageError: what can be had without one is its hint.
    """
    opens = request.on_failure is not None and request.on_failure.keep is None
    if opens or request.shell_at is not None:
        raise UsageError(
            f"{'--on-failure shell' if opens else '--shell-at'} needs a terminal, and there is none",
            hint="--on-failure keep=NAME keeps what a failed step left as an image, to be entered later"
            if opens
            else "--target STAGE -t NAME makes an image of a stage, which `imagesmith run -it NAME` enters",
        )


def parse_ssh(text: str) -> tuple[str, str]:
    """--ssh: `default`, `id=SOCKET` or `id=KEY,KEY…`; without a path the agent of SSH_AUTH_SOCK.

    Returns the id, and the paths with commas between them.
    """
    name, _, rest = text.partition("=")
    paths = [path for path in rest.split(",") if path] or [os.environ.get("SSH_AUTH_SOCK", "")]
    if options := [path for path in paths if path.startswith("raw=")]:
        raise UsageError(
            f"--ssh {name}: {options[0]} is not supported: steps may list keys and sign, no more"
        )
    if not paths[0]:
        raise UsageError(
            f"--ssh {name}: invalid empty ssh agent socket, make sure SSH_AUTH_SOCK is set",
            hint=f"or give a key: --ssh {name or 'default'}=FILE",
        )
    return name or "default", ",".join(paths)


_SIZE = r"(?ia)(\d{1,18}(?:\.\d{1,9})?)([bkmgt]?)(?:i?b)?"


def parse_size(text: str, flag: str) -> int:
    """A size in bytes with b, k, m, g or t (1024)."""
    match = re.fullmatch(_SIZE, text)
    if match is None:
        raise UsageError(f"{flag}: invalid size: '{text}'")
    whole, _, rest = match[1].partition(".")
    unit = 1 << {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40}[match[2].lower()]
    return int(whole) * unit + int(rest or 0) * unit // int(10 ** len(rest))


_AGE = r"(\d+)(s|m|h|d|w)?"
_AGE_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_age(text: str, flag: str) -> int:
    """A time in seconds: a number with s, m, h, d or w; hours without."""
    match = re.fullmatch(_AGE, text)
    if match is None:
        raise UsageError(f"{flag}: invalid age {text!r}", hint="30m, 12h, 7d and 2w are ages")
    return int(match[1]) * _AGE_UNITS[match[2] or "h"]


def parse_timeout(text: str, flag: str) -> float:
    """A time limit in seconds, written as Go writes durations: `90s`, `1h30m`; 0 is none."""
    try:
        ns = parse_duration(text)
    except DockerfileError as e:
        raise UsageError(f"{flag}: {e.message}", hint="write it as 90s, 10m or 1h30m") from e
    if ns < 0:
        raise UsageError(f"{flag}: {text} is negative")
    return ns / 10**9


_LIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip


def parse_ulimit(text: str) -> tuple[str, int, int]:
    """--ulimit: `type=soft[:hard]`."""
    name, equals, values = text.partition("=")
    soft, colon, hard = values.partition(":")
    try:
        pair = int(soft), int(hard) if colon else int(soft)
    except ValueError:
        equals = ""
        pair = 0, 0
    if not name or not equals:
        raise UsageError(f"invalid ulimit argument: {text}")
    if name not in _LIMITS:
        raise UsageError(f"invalid ulimit type: {name}", hint=f"{', '.join(_LIMITS)} are known")
    if pair[1] != -1 and (pair[0] > pair[1] or pair[0] == -1):
        raise UsageError(f"ulimit soft limit must be less than or equal to hard limit: {pair[0]} > {pair[1]}")
    return name, *pair


def parse_hosts(words: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """--add-host: `host:ip` or `host=ip`, IPv6 perhaps in brackets."""
    import ipaddress

    out = []
    for word in words:
        host, separator, ip = word.partition("=" if "=" in word else ":")
        ip = ip.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(ip)
        except ValueError:
            if ip == "host-gateway":
                raise UsageError(
                    f"--add-host {word}: there is no gateway here, RUN has the host's network"
                ) from None
            raise UsageError(f"invalid host {word}: expected host:ip") from None
        if not separator or not host:
            raise UsageError(f"invalid host {word}: expected host:ip")
        out.append((host, ip))
    return tuple(out)
