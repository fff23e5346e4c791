"""The state that instructions change, one after another: config, environment, arguments, history, tip step.

Why: what a stage's RUN sees (`env`) and what its image will hold (`image_env`) are two things in Docker:
an ARG changes the first alone. A stage built on another starts from a copy of all of it. What thousands of
lines may add to is kept in lists and dictionaries that grow, not in values that are made anew each time.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.errors import DockerfileError
from imagesmith.oci.config import DEFAULT_PATH, History, Runtime
from imagesmith.oci.names import Platform
from imagesmith.plan.plan import PlannedHistory, PlannedImage
from imagesmith.solve.step import Step
from imagesmith.transports.bases import ResolvedImage
from imagesmith.values import field, record, replace

__all__ = ["StageState"]

#: Of all entries of a history; a RUN repeats the values of all ARGs in its own.
_MOST_HISTORY = 64 << 20


@record
class StageState:
    """Where a stage stands. `runtime` is the config's object but for what the fields after it gather.

    platform    of what the steps execute; image_platform is what the image says that it is for
    image_env   `key=value` texts in the config's order; of one name the first counts
    env         what expansion and RUN see, in the order in which it was last set
    args        ARGs declared so far, in order of first declaration; None without a value
    base        the base image's history and layers come before everything of ours
    """

    platform: Platform
    image_platform: Platform
    runtime: Runtime = field(default_factory=Runtime)
    image_env: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    ports: dict[str, None] = field(default_factory=dict)
    volumes: dict[str, None] = field(default_factory=dict)
    onbuild: list[str] = field(default_factory=list)
    author: str = ""
    env: dict[str, str] = field(default_factory=dict)
    args: dict[str, str | None] = field(default_factory=dict)
    base: ResolvedImage | None = None
    base_history: tuple[History, ...] = ()
    history: list[PlannedHistory] = field(default_factory=list)
    tip: Step | None = None
    cmd_set: bool = False
    workdir_set: bool = False
    stage: str = ""
    done: int = 0
    total: int = 0
    _env_at: dict[str, int] = field(default_factory=dict)
    _told: int = 0

    def child(self) -> StageState:
        """The state in which a stage built on this one starts."""
        return replace(
            self,
            image_env=[*self.image_env], labels=dict(self.labels), ports=dict(self.ports),
            volumes=dict(self.volumes), onbuild=[*self.onbuild], history=[*self.history],
            env=dict(self.env), args=dict(self.args), cmd_set=False, _env_at=dict(self._env_at),
        )  # fmt: skip

    def set_env(self, key: str, value: str) -> None:
        """Set a variable of expansion and RUN; it moves to the end."""
        self.env.pop(key, None)
        self.env[key] = value

    def set_image_env(self, key: str, value: str) -> None:
        """Set a variable of the image: in its place, or at the end."""
        at = self._env_at.setdefault(key, len(self.image_env))
        self.image_env[at : at + 1] = [f"{key}={value}"]

    def record(self, created_by: str, step: Step | None = None) -> None:
        """Append a history entry.

        Raises:
            DockerfileError: the history becomes larger than any registry takes it.
        """
        self._told += len(created_by)
        if self._told > _MOST_HISTORY:
            raise DockerfileError(f"the image's history has more than {_MOST_HISTORY} characters")
        self.history.append(PlannedHistory(created_by, layer=step is not None))

    def adopt(self, runtime: Runtime) -> None:
        """Take over a config's object, with a PATH if it has none."""
        if not any(e.startswith("PATH=") for e in runtime.env):
            runtime = replace(runtime, env=(*runtime.env, f"PATH={DEFAULT_PATH}"))
        self.image_env, self.labels = [*runtime.env], dict(runtime.labels)
        self.ports, self.volumes = dict.fromkeys(runtime.exposed_ports), dict.fromkeys(runtime.volumes)
        self.onbuild = [*runtime.onbuild]
        self.runtime = replace(runtime, env=(), labels={}, exposed_ports=(), volumes=(), onbuild=())
        for at, pair in enumerate(runtime.env):
            key, _, value = pair.partition("=")
            self._env_at.setdefault(key, at)
            self.set_env(key, value)

    def image(self, labels: Mapping[str, str], epoch: int | None) -> PlannedImage:
        """The stage's image, with labels of the command line over those of the file."""
        runtime = replace(
            self.runtime,
            env=tuple(self.image_env),
            labels={**self.labels, **labels},
            exposed_ports=tuple(self.ports),
            volumes=tuple(self.volumes),
            onbuild=tuple(self.onbuild),
        )
        return PlannedImage(
            platform=self.image_platform,
            tip=self.tip,
            epoch=epoch,
            runtime=runtime,
            author=self.author,
            base_history=self.base_history,
            history=tuple(self.history),
        )
