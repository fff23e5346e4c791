"""What the page of --report shows, as values."""

from __future__ import annotations

from imagesmith.observe.steplogs import Written
from imagesmith.values import frozen

__all__ = ["Bar", "Failure", "Growth", "LayerLine", "Report"]


@frozen(kw_only=True)
class Bar:
    """A vertex on the timeline.

    began_s, ended_s   seconds since the build began
    state    ran, cached, failed or stopped
    needs    the numbers of the steps whose results it takes; empty where that is not known
    size     bytes of its layer, or that it moved
    """

    number: int
    name: str
    began_s: float
    ended_s: float
    state: str
    is_step: bool = False
    needs: tuple[int, ...] = ()
    size: int = 0
    critical: bool = False
    source: str = ""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended_s - self.began_s


@frozen(kw_only=True)
class LayerLine:
    """A layer of the image, or all of its base's together; `before` is its size in the last build."""

    name: str
    size: int
    before: int | None
    is_new: bool
    hit: str = ""


@frozen(kw_only=True)
class Growth:
    """A file that became larger since the last build, in the layer of a step."""

    path: str
    step: str
    before: int
    now: int


@frozen(kw_only=True)
class Failure:
    """Why a build, or one of several, failed.

    message, hint   of the error
    file            the Dockerfile's name, or empty where the error belongs to none
    lines           of it: number, text, and whether the error is about it
    log             what the step wrote; None where it is no step's
    """

    message: str
    hint: str = ""
    file: str = ""
    lines: tuple[tuple[int, str, bool], ...] = ()
    log: Written | None = None


@frozen(kw_only=True)
class Report:
    """All that the page shows."""

    title: str
    digests: tuple[str, ...]
    platform: str
    error: str
    at_s: float
    seconds: float
    bars: tuple[Bar, ...]
    path: tuple[Bar, ...]
    layers: tuple[LayerLine, ...]
    grown: tuple[Growth, ...]
    last_seconds: float | None
    last_size: int | None
    failures: tuple[Failure, ...] = ()
    logs: tuple[tuple[Bar, Written], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all layers as they are stored."""
        return sum(layer.size for layer in self.layers)
