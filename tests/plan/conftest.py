"""The kitchen is at hand in these tests, and plans without a build."""

from __future__ import annotations

from typing import Any

from imagesmith.context.contexts import Contexts
from imagesmith.events import nobody
from imagesmith.plan.halting import Halts
from imagesmith.plan.plan import Plan
from imagesmith.plan.platforms import plan_build
from imagesmith.plan.reading import linter_of, read_dockerfile
from imagesmith.request import BuildRequest
from imagesmith.settings import Settings
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases
from tests.kitchen import Kitchen, kitchen

__all__ = ["kitchen", "plan_of"]


def plan_of(kitchen: Kitchen, text: str, halts: Halts | None = None, **words: Any) -> Plan:
    """The plan of a Dockerfile; `halts` takes where the build may be looked into."""
    (kitchen.context / "Dockerfile").write_text(text)
    request = BuildRequest(context=str(kitchen.context), **words)
    with Store(kitchen.root) as store, Contexts(request, store) as contexts:
        bases = contexts.images = Bases(store, Settings(root=kitchen.root), request, nobody)
        dockerfile = read_dockerfile(contexts, store)
        linter = linter_of(dockerfile, request, lambda _: None)
        return plan_build(dockerfile, request, bases, contexts, linter, halts=halts)
