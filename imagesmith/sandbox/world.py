"""The process's own place: which ids and mounts it may make, and so which sandbox RUN gets."""

from __future__ import annotations

__all__ = ["World", "enter"]


class World:
    """What this process may do."""


def enter(isolation: str) -> World:
    """Enter the namespaces that the wanted isolation needs."""
    del isolation
    return World()
