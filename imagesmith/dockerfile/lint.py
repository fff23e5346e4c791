"""Build checks: BuildKit's rules by their names, and which of them a Dockerfile wants.

Spec: BuildKit's frontend/dockerfile/linter (ruleset.go, linter.go).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imagesmith.dockerfile.nodes import Dockerfile, Span

__all__ = ["LintConfig", "Linter"]


@dataclass(frozen=True, slots=True)
class LintConfig:
    @classmethod
    def parse(cls, text: str) -> LintConfig:
        return cls()


class Linter:
    def __init__(self, config: LintConfig, dockerfile: Dockerfile, warn: Callable[[object], None]) -> None:
        pass

    def lint_file(self) -> None:
        pass

    def finish(self) -> None:
        pass
