"""The state that instructions change, one after another: config, environment, arguments, history, tip step.

Why: what a stage's RUN sees (`env`) and what its image will hold (`runtime.env`) are two things in Docker:
an ARG changes the first alone. A stage built on another starts from a copy of all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from imagesmith.build.plan import ResolvedImage, Step
from imagesmith.oci.config import History, Runtime
from imagesmith.oci.names import Platform
from imagesmith.values import frozen, replace

__all__ = ["COMMENT", "DEFAULT_PATH", "PlannedHistory", "StageState", "set_pair"]

COMMENT = "buildkit.dockerfile.v0"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@frozen
class PlannedHistory:
    """A history entry whose time is known only when its layer is; `step` is None for an empty layer."""

    created_by: str
    step: Step | None = None


def set_pair(env: tuple[str, ...], key: str, value: str) -> tuple[str, ...]:
    """The list of `key=value` texts with one set: in its place, or at the end."""
    prefix = f"{key}="
    if f"\0{key}" in "\0".join(("", *env)):  # one search in all, for a stage may set thousands
        if not any(e.startswith(prefix) or e == key for e in env):
            return (*env, f"{key}={value}")
        return tuple(f"{key}={value}" if e.startswith(prefix) or e == key else e for e in env)
    return (*env, f"{key}={value}")


@dataclass(slots=True)
class StageState:
    """Where a stage stands. `runtime` and the lists are values; changes replace them.

    env         what expansion and RUN see, in the order in which it was last set
    args        ARGs declared so far, in order of first declaration; None without a value
    base        the base image's history and layers come before everything of ours
    """

    platform: Platform
    runtime: Runtime = field(default_factory=Runtime)
    author: str = ""
    env: dict[str, str] = field(default_factory=dict)
    args: dict[str, str | None] = field(default_factory=dict)
    base: ResolvedImage | None = None
    base_history: tuple[History, ...] = ()
    history: tuple[PlannedHistory, ...] = ()
    tip: Step | None = None
    cmd_set: bool = False
    workdir_set: bool = False
    stage: str = ""
    done: int = 0
    total: int = 0

    def child(self) -> StageState:
        """The state in which a stage built on this one starts."""
        return replace(self, env=dict(self.env), args=dict(self.args), cmd_set=False)

    def set_env(self, key: str, value: str) -> None:
        """Set a variable of expansion and RUN; it moves to the end."""
        self.env.pop(key, None)
        self.env[key] = value

    def record(self, created_by: str, step: Step | None = None) -> None:
        """Append a history entry."""
        self.history = (*self.history, PlannedHistory(created_by, step))

    def adopt(self, runtime: Runtime) -> None:
        """Take over a config's environment, with a PATH if it has none."""
        if not any(e.startswith("PATH=") for e in runtime.env):
            runtime = replace(runtime, env=(*runtime.env, f"PATH={DEFAULT_PATH}"))
        self.runtime = runtime
        for pair in runtime.env:
            key, _, value = pair.partition("=")
            self.set_env(key, value)

    def labelled(self, labels: Mapping[str, str]) -> Runtime:
        """The config with labels of the command line over those of the file."""
        return replace(self.runtime, labels={**self.runtime.labels, **labels})
