"""RUN: a process in a sandbox over a snapshot of the layers below."""

from __future__ import annotations

from imagesmith.errors import SandboxUnavailable

__all__ = ["Runner"]


class Runner:
    """Executes RUN."""

    def __init__(self, world: object, store: object, request: object, cancel: object) -> None:
        pass

    def run(self, *_: object) -> object:
        """Run one step."""
        raise SandboxUnavailable("no sandbox yet")

    def close(self) -> None:
        """End the helper."""
