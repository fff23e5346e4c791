"""Instructions that change nothing but the image config: ENV, LABEL, ARG, CMD, USER and their like.

Each function takes the state and an instruction whose words are still unexpanded, an `expand` for words,
and leaves the history entry in BuildKit's words. Checks that BuildKit makes late (signals, ports) are made
here, so that they count only in stages that are built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from imagesmith.dockerfile import nodes as n
from imagesmith.dockerfile import values
from imagesmith.errors import blame
from imagesmith.oci.config import Healthcheck
from imagesmith.plan.scope import NEVER_ENV
from imagesmith.plan.state import StageState
from imagesmith.values import replace

__all__ = [
    "apply",
    "arg",
    "cmd",
    "entrypoint",
    "env",
    "expose",
    "healthcheck",
    "label",
    "maintainer",
    "onbuild",
    "shell",
    "shell_words",
    "stopsignal",
    "user",
    "volume",
]

Expand = Callable[[str], str]


def shell_words(state: StageState, command: n.Command) -> tuple[str, ...]:
    """The argument list of a command: shell form goes behind the image's shell."""
    if command.exec:
        return command.args
    shell = state.runtime.shell or (
        ("cmd", "/S", "/C") if state.platform.os == "windows" else ("/bin/sh", "-c")
    )
    return (*shell, *command.args)


def env(state: StageState, i: n.Env, expand: Expand) -> None:
    """ENV: all words are expanded before the first is set."""
    pairs = [(expand(p.key), expand(p.value or "")) for p in i.pairs]
    for key, value in pairs:
        state.set_env(key, value)
        state.set_image_env(key, value)
    state.record("ENV " + " ".join(f"{k}={v}" for k, v in pairs))


def label(state: StageState, i: n.Label, expand: Expand) -> None:
    """LABEL."""
    pairs = [(expand(p.key), expand(p.value or "")) for p in i.pairs]
    state.labels |= dict(pairs)
    state.record("LABEL " + " ".join(f"{k}={v}" for k, v in pairs))


def arg(
    state: StageState, i: n.Arg, expand: Expand, given: Mapping[str, str], outer: Mapping[str, str]
) -> None:
    """ARG: a value given for the build wins over the default, which wins over the global scope's."""
    said = []
    for pair in i.pairs:
        value = pair.value
        if pair.key in given:
            value = given[pair.key]
        elif value is not None:
            value = expand(value)
        else:
            value = outer.get(pair.key)
        if value is not None and pair.key not in NEVER_ENV:
            state.set_env(pair.key, value)
        state.args[pair.key] = value
        said.append(pair.key if value is None else f"{pair.key}={value}")
    state.record("ARG " + " ".join(said))


def cmd(state: StageState, i: n.Cmd) -> None:
    """CMD."""
    words = shell_words(state, i.command)
    state.runtime = replace(state.runtime, cmd=words, args_escaped=True)
    state.cmd_set = True
    state.record(f"CMD {values.go_quote_list(words)}")


def entrypoint(state: StageState, i: n.Entrypoint) -> None:
    """ENTRYPOINT: drops a CMD that the stage itself has not set."""
    words = shell_words(state, i.command)
    state.runtime = replace(state.runtime, entrypoint=words, cmd=state.runtime.cmd if state.cmd_set else ())
    state.record(f"ENTRYPOINT {values.go_quote_list(words)}")


def user(state: StageState, i: n.User, expand: Expand) -> None:
    """USER: stored as it is; looked up only when something runs."""
    name = expand(i.user)
    state.runtime = replace(state.runtime, user=name)
    state.record(f"USER {name}")


def volume(state: StageState, i: n.Volume, expand: Expand) -> None:
    """VOLUME."""
    paths = tuple(expand(p) for p in i.paths)
    for path, word in zip(paths, i.paths, strict=True):
        with blame(word):
            values.check_volumes([path])
    state.volumes |= dict.fromkeys(paths)
    state.record(f"VOLUME [{' '.join(paths)}]")


def expose(state: StageState, i: n.Expose, expand_words: Callable[[str], list[str]]) -> None:
    """EXPOSE: words sorted as written, expanded, split, ranges unrolled."""
    ports: list[str] = []
    for word in sorted(i.ports):
        with blame(word):
            ports += values.parse_ports(expand_words(word), values.MAX_PORTS - len(ports))
    state.ports |= dict.fromkeys(ports)
    state.record(f"EXPOSE [{' '.join(ports)}]")


def stopsignal(state: StageState, i: n.Stopsignal, expand: Expand) -> None:
    """STOPSIGNAL: checked, stored as written."""
    signal = expand(i.signal)
    with blame(i.signal):
        values.check_signal(signal)
    state.runtime = replace(state.runtime, stop_signal=signal)
    state.record(f"STOPSIGNAL {signal}")


def shell(state: StageState, i: n.Shell) -> None:
    """SHELL."""
    state.runtime = replace(state.runtime, shell=i.args)
    state.record(f"SHELL [{' '.join(i.args)}]")


def healthcheck(state: StageState, i: n.Healthcheck) -> None:
    """HEALTHCHECK; history has Go's print of the struct."""
    check = Healthcheck(
        test=i.test,
        interval_ns=i.interval_ns,
        timeout_ns=i.timeout_ns,
        start_period_ns=i.start_period_ns,
        start_interval_ns=i.start_interval_ns,
        retries=i.retries,
    )
    state.runtime = replace(state.runtime, healthcheck=check)
    shown = " ".join(
        f"{name}:{values.go_duration(ns)}"
        for name, ns in (
            ("Interval", i.interval_ns),
            ("Timeout", i.timeout_ns),
            ("StartPeriod", i.start_period_ns),
            ("StartInterval", i.start_interval_ns),
        )
    )
    state.record(f"HEALTHCHECK {{Test:[{' '.join(i.test)}] {shown} Retries:{i.retries}}}")


def onbuild(state: StageState, i: n.Onbuild) -> None:
    """ONBUILD: kept for the child, no history."""
    state.onbuild.append(i.trigger)


def maintainer(state: StageState, i: n.Maintainer) -> None:
    """MAINTAINER."""
    state.author = i.name
    state.record(f"MAINTAINER {i.name}")


def apply(
    state: StageState, i: n.Instruction, expand: Expand, expand_words: Callable[[str], list[str]]
) -> bool:
    """Apply one instruction of this module (ARG aside); False if it is another's."""
    match i:
        case n.Env():
            env(state, i, expand)
        case n.Label():
            label(state, i, expand)
        case n.User():
            user(state, i, expand)
        case n.Volume():
            volume(state, i, expand)
        case n.Stopsignal():
            stopsignal(state, i, expand)
        case n.Expose():
            expose(state, i, expand_words)
        case n.Cmd():
            cmd(state, i)
        case n.Entrypoint():
            entrypoint(state, i)
        case n.Shell():
            shell(state, i)
        case n.Healthcheck():
            healthcheck(state, i)
        case n.Onbuild():
            onbuild(state, i)
        case n.Maintainer():
            maintainer(state, i)
        case _:
            return False
    return True
