"""Second pass over a line: which instruction it is, which flags it takes, whether its arguments suffice.

Spec: BuildKit's instructions package (parse.go, bflag.go); the messages are its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from imagesmith.dockerfile import nodes as n
from imagesmith.dockerfile.flags import ADD_FLAGS, COPY_FLAGS, RUN_FLAGS, Flags, bad_value, read_flags
from imagesmith.dockerfile.heredocs import opening_of
from imagesmith.dockerfile.reader import Line
from imagesmith.dockerfile.shapes import Shape, shape_of, strip
from imagesmith.dockerfile.values import parse_duration
from imagesmith.errors import DockerfileError
from imagesmith.values import record

__all__ = ["KEYWORDS", "build"]

_STAGE_NAME = r"[a-z][a-z0-9\-_.]*"


@record
class _Parts:
    """What a builder gets: the line, its shape, and the fields that all instructions have."""

    line: Line
    shape: Shape
    escape: str
    common: dict[str, object]

    def flags(self, **known: type) -> Flags:
        """The line's flags; those of `known` are allowed, `_` standing for a dash."""
        return self.flags_of({k.replace("_", "-").strip("-"): v for k, v in known.items()})

    def flags_of(self, known: Mapping[str, type]) -> Flags:
        """The same, of a table."""
        return read_flags(self.shape.flags, known)

    def exactly_one(self) -> str:
        """The one argument."""
        if not self.shape.words:
            raise DockerfileError(f"{self.shape.name} requires exactly one argument")
        return self.shape.words[0]

    def at_least_one(self) -> None:
        """Refuse a line without arguments."""
        if not self.shape.words:
            raise DockerfileError(f"{self.shape.name} requires at least one argument")

    def pairs(self) -> tuple[n.KeyValue, ...]:
        """The pairs, with names."""
        if not self.shape.pairs:
            raise DockerfileError(f"{self.shape.name} requires at least one argument")
        for pair in self.shape.pairs:
            if not pair.key:
                told = DockerfileError(f"{self.shape.name} names can not be blank")
                raise told.about("" if pair.value is None else f"={pair.value}")
        return self.shape.pairs

    def command(self, *, empty_shell: bool = True) -> n.Command:
        """A JSON list, or one text."""
        if self.shape.json:
            return n.Command(self.shape.words, exec=True)
        if not self.shape.words and empty_shell:
            return n.Command(("",), exec=False)
        return n.Command(self.shape.words, exec=False)


def build(line: Line, shape: Shape, escape: str) -> n.Instruction:
    """Make the instruction of a line whose name is known.

    Raises:
        DockerfileError: without a place, which the caller knows.
    """
    common: dict[str, object] = {
        "span": line.span,
        "keyword": shape.keyword,
        "text": line.text,
        "comments": line.comments,
    }
    return KEYWORDS[shape.name](_Parts(line, shape, escape, common))


def _from(p: _Parts) -> n.Instruction:
    flags = p.flags(platform=str)
    words = p.shape.words
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].lower() != "as"):
        odd = words[1:2] if len(words) < 4 else words[3:4]
        raise DockerfileError("FROM requires either one or three arguments").about("".join(odd))
    name = words[2].lower() if len(words) == 3 else ""
    if name and not re.fullmatch(_STAGE_NAME, name):
        raise DockerfileError(
            f'invalid name for build stage: "{words[2]}", name can\'t start with a number or contain symbols'
        ).about(words[2], which=-1)
    return n.From(
        **p.common,  # type: ignore[arg-type]  # the four common fields
        image=words[0],
        platform=flags.text("platform"),
        name=name,
        written_name=words[2] if name else "",
        as_word=words[1] if name else "",
    )


def _run(p: _Parts) -> n.Instruction:
    flags = p.flags_of(RUN_FLAGS)
    network, security = flags.text("network"), flags.text("security")
    if network not in ("", "default", "none", "host"):
        raise bad_value(f'invalid network mode "{network}"', "network", network)
    if security not in ("", "sandbox", "insecure"):
        raise bad_value(f'security "{security}" is not valid', "security", security)
    mounts = tuple(flags.lists.get("mount", ()))
    for mount in mounts:
        from imagesmith.dockerfile.mounts import mount_from

        mount_from(mount)
    return n.Run(
        **p.common,  # type: ignore[arg-type]
        command=p.command(),
        heredocs=p.line.heredocs,
        mounts=mounts,
        network=network,
        security=security,
        devices=tuple(flags.lists.get("device", ())),
        others=flags.others(RUN_FLAGS),
    )


def _sources(p: _Parts) -> tuple[tuple[str, ...], str, tuple[n.Heredoc, ...]]:
    """Sources, destination and here-documents of COPY and ADD."""
    words, name = p.shape.words, p.shape.name
    if len(words) < 2:
        raise DockerfileError(
            f"{name} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        ).about("".join(words))
    *sources, dest = words
    if p.shape.json:
        return tuple(sources), dest, ()
    docs = {d.name: d for d in p.line.heredocs}
    if (o := opening_of(dest)) is not None and o.name in docs:
        raise DockerfileError(f"{name} cannot accept a heredoc as a destination").about(dest, which=-1)
    found = [docs[o.name] for s in sources if (o := opening_of(s)) is not None and o.name in docs]
    plain = [s for s in sources if (o := opening_of(s)) is None or o.name not in docs]
    return tuple(plain), dest, tuple(found)


def _copy(p: _Parts) -> n.Instruction:
    flags = p.flags_of(COPY_FLAGS)
    sources, dest, heredocs = _sources(p)
    return n.Copy(
        **p.common,  # type: ignore[arg-type]
        sources=sources,
        dest=dest,
        heredocs=heredocs,
        from_=flags.text("from"),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=bool(flags.boolean("link")),
        parents=bool(flags.boolean("parents")),
        excludes=tuple(flags.lists.get("exclude", ())),
        others=flags.others(COPY_FLAGS),
    )


def _add(p: _Parts) -> n.Instruction:
    flags = p.flags_of(ADD_FLAGS)
    sources, dest, heredocs = _sources(p)
    return n.Add(
        **p.common,  # type: ignore[arg-type]
        sources=sources,
        dest=dest,
        heredocs=heredocs,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=bool(flags.boolean("link")),
        excludes=tuple(flags.lists.get("exclude", ())),
        checksum=flags.text("checksum"),
        keep_git_dir=flags.boolean("keep-git-dir"),
        unpack=flags.boolean("unpack"),
        others=flags.others(ADD_FLAGS),
    )


def _env(p: _Parts) -> n.Instruction:
    p.flags()
    return n.Env(**p.common, pairs=p.pairs(), legacy=p.shape.legacy)  # type: ignore[arg-type]


def _label(p: _Parts) -> n.Instruction:
    p.flags()
    return n.Label(**p.common, pairs=p.pairs(), legacy=p.shape.legacy)  # type: ignore[arg-type]


def _arg(p: _Parts) -> n.Instruction:
    return n.Arg(**p.common, pairs=p.pairs())  # type: ignore[arg-type]


def _workdir(p: _Parts) -> n.Instruction:
    p.flags()
    return n.Workdir(**p.common, path=p.exactly_one())  # type: ignore[arg-type]


def _user(p: _Parts) -> n.Instruction:
    p.flags()
    return n.User(**p.common, user=p.exactly_one())  # type: ignore[arg-type]


def _stopsignal(p: _Parts) -> n.Instruction:
    return n.Stopsignal(**p.common, signal=p.exactly_one())  # type: ignore[arg-type]


def _maintainer(p: _Parts) -> n.Instruction:
    p.flags()
    return n.Maintainer(**p.common, name=p.exactly_one())  # type: ignore[arg-type]


def _expose(p: _Parts) -> n.Instruction:
    p.flags()
    p.at_least_one()
    return n.Expose(**p.common, ports=tuple(sorted(p.shape.words)))  # type: ignore[arg-type]


def _volume(p: _Parts) -> n.Instruction:
    p.flags()
    p.at_least_one()
    if any(not strip(w) for w in p.shape.words):
        raise DockerfileError("VOLUME specified can not be an empty string")
    return n.Volume(**p.common, paths=tuple(strip(w) for w in p.shape.words))  # type: ignore[arg-type]


def _cmd(p: _Parts) -> n.Instruction:
    p.flags()
    return n.Cmd(**p.common, command=p.command())  # type: ignore[arg-type]


def _entrypoint(p: _Parts) -> n.Instruction:
    p.flags()
    return n.Entrypoint(**p.common, command=p.command())  # type: ignore[arg-type]


def _shell(p: _Parts) -> n.Instruction:
    p.flags()
    p.at_least_one()
    if not p.shape.json:
        raise DockerfileError("SHELL requires the arguments to be in JSON form")
    return n.Shell(**p.common, args=p.shape.words)  # type: ignore[arg-type]


def _healthcheck(p: _Parts) -> n.Instruction:
    kind = p.shape.kind.upper()
    if not kind:
        raise DockerfileError("HEALTHCHECK requires at least one argument")
    if kind == "NONE":
        if p.shape.words:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments").about(p.shape.words[0])
        return n.Healthcheck(**p.common, test=("NONE",))  # type: ignore[arg-type]
    flags = p.flags(interval=str, timeout=str, start_period=str, start_interval=str, retries=str)
    if kind != "CMD":
        raise DockerfileError(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)').about(p.shape.kind)
    if not p.shape.words:
        raise DockerfileError("Missing command after HEALTHCHECK CMD").about(p.shape.kind, which=-1)
    test = ("CMD", *p.shape.words) if p.shape.json else ("CMD-SHELL", *p.shape.words)
    return n.Healthcheck(
        **p.common,  # type: ignore[arg-type]
        test=test,
        interval_ns=_duration(flags, "interval"),
        timeout_ns=_duration(flags, "timeout"),
        start_period_ns=_duration(flags, "start-period"),
        start_interval_ns=_duration(flags, "start-interval"),
        retries=_retries(flags),
    )


def _duration(flags: Flags, name: str) -> int:
    text = flags.text(name)
    if not text:
        return 0
    try:
        value = parse_duration(text)
    except DockerfileError as e:
        raise bad_value(e.message, name, text) from None
    if value == 0:
        return 0
    if value < 1_000_000:
        raise bad_value(f'Interval "{name}" cannot be less than 1ms', name, text)
    return value


def _retries(flags: Flags) -> int:
    text = flags.text("retries")
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or abs(int(text)) >= 1 << 31:
        what = "value out of range" if re.fullmatch(r"[+-]?[0-9]+", text) else "invalid syntax"
        raise bad_value(f'strconv.ParseInt: parsing "{text}": {what}', "retries", text)
    if int(text) < 0:
        raise bad_value(f"--retries cannot be negative ({int(text)})", "retries", text)
    return int(text)


def _onbuild(p: _Parts) -> n.Instruction:
    p.flags()
    if not p.shape.words:
        raise DockerfileError("ONBUILD requires at least one argument")
    text = p.shape.text
    inner = Line(text, p.line.span)
    shape = shape_of(inner, p.escape)
    name = shape.name
    if name == "ONBUILD":
        told = DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
        raise told.about(text, 0, len(shape.keyword))
    if name in ("FROM", "MAINTAINER"):
        raise DockerfileError(f"{name} isn't allowed as an ONBUILD trigger").about(
            text, 0, len(shape.keyword)
        )
    trigger = text + "".join(f"\n{d.text}{d.name}" for d in p.line.heredocs)
    return n.Onbuild(**p.common, trigger=trigger)  # type: ignore[arg-type]


#: Every instruction, by its name in upper case.
KEYWORDS: dict[str, Callable[[_Parts], n.Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
