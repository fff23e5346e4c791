"""Cut a bake into units: one for each target and platform, and one for each stage that several of them share.

Why stages: a step that two units have would be executed by both. So a stage whose last step is in the plans
of two units, by its digest, is a unit of its own, whose cache they read. Steps of a target that others link
to are that target's unit's.
Why the plan is in a unit: what images and addresses stand for is settled by the client; where that has moved,
the unit is another, and no earlier verdict counts for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from imagesmith.context.named import TargetContext
from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.fleet.units import FORM_OPTIONS, Unit
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.names import ImageRef
from imagesmith.plan.plan import Plan, PlannedImage
from imagesmith.request import BuildRequest
from imagesmith.solve.graph import all_steps
from imagesmith.solve.step import Step
from imagesmith.values import frozen, replace

__all__ = ["Cut", "PlanOf", "check", "units_of"]

PlanOf = Callable[[BuildRequest, Mapping[str, Plan]], Plan]


@frozen(kw_only=True)
class Cut:
    """How a bake is cut.

    repository  takes caches and verdicts
    folders     the references of local folders that were sent, by the folders as the definition names them
    of          which of these a target names
    epoch       SOURCE_DATE_EPOCH, or empty
    """

    repository: str
    folders: Mapping[str, str]
    of: Mapping[str, Sequence[str]]
    epoch: str = ""


@frozen(eq=False)
class _Part:
    """A target on a platform: its request for that alone, and what it is planned to be."""

    request: BuildRequest
    platform: str
    image: PlannedImage
    links: tuple[str, ...]
    steps: frozenset[Step]


def units_of(
    document: Mapping[str, Any], requests: Sequence[BuildRequest], plan_of: PlanOf, cut: Cut
) -> list[Unit]:
    """The units of a bake, each after those that it needs.

    Args:
        document: the targets, as `bake --print` shows them.
        requests: their builds, each after those that its contexts name.
        plan_of: plans a request, by the plans of those that it links to.
        cut: how it is cut.

    Raises:
        UsageError: a target asks for what machines far away cannot do.
        ImagesmithError: a target cannot be planned.
    """
    parts: list[_Part] = []
    plans: dict[str, Plan] = {}
    for request in requests:
        check(request)
        plan = plans[request.name] = plan_of(request, plans)
        links = tuple(c.name for c in request.contexts.values() if isinstance(c, TargetContext))
        for image in plan.images:
            own = replace(request, platforms=(image.platform,))
            parts.append(_Part(own, str(image.platform), image, links, frozenset(all_steps([image.tip]))))
    return _Cutter(document, parts, plans, plan_of, cut).units()


def check(request: BuildRequest) -> None:
    """Look whether machines far away can do it.

    Raises:
        UsageError: they cannot.
    """
    for output in request.outputs:
        if output.type not in ("image", "registry", "cacheonly"):
            raise UsageError(
                f"target {request.name}: output type={output.type} stays on the machine that builds",
                hint="--push, or --set '*.output=type=image,push=true'",
            )
    for flag, places in (("cache-from", request.cache_from), ("cache-to", request.cache_to)):
        if any(place.type == "local" for place in places):
            raise UsageError(
                f"target {request.name}: {flag} type=local is no cache of other machines",
                hint="name one of type=registry, or none: units have caches of their own",
            )


class _Cutter:
    def __init__(
        self,
        document: Mapping[str, Any],
        parts: Sequence[_Part],
        plans: Mapping[str, Plan],
        plan_of: PlanOf,
        cut: Cut,
    ) -> None:
        self._targets: Mapping[str, Any] = document["target"]
        self._parts, self._plans, self._plan_of, self._cut = parts, plans, plan_of, cut
        #: Units of stages by their last steps, in the order in which they were met, and all steps below.
        self._stages: dict[Step, Unit] = {}
        self._below: dict[Step, frozenset[Step]] = {}
        self._forms = self._formed()
        self._done: dict[tuple[str, str], Unit] = {}
        #: Units of targets by their last steps: an image may be a part of another, or the same.
        self._last: dict[Step, Unit] = {}

    def units(self) -> list[Unit]:
        """See units_of."""
        shared = self._shared()
        out: list[Unit] = []
        for part in self._parts:
            for tip in self._tips(part):
                if tip in shared and tip not in self._stages and self._is_alone(part, tip):
                    self._below[tip] = frozenset(all_steps([tip]))
                    unit = self._unit(part, tip.stage, self._needs(part, self._below[tip] - {tip}), tip)
                    self._stages[tip] = unit
                    out.append(unit)
            unit = self._unit(part, "", self._needs(part, part.steps), part.image.tip)
            self._done[part.request.name, part.platform] = unit
            if part.image.tip is not None:
                self._last.setdefault(part.image.tip, unit)
            out.append(unit)
        return out

    def _own(self, part: _Part) -> frozenset[Step]:
        """The steps of a part that are no linked target's."""
        theirs = {step for link in part.links for step in all_steps(self._plans[link].tips)}
        return part.steps - theirs

    def _tips(self, part: _Part) -> list[Step]:
        """The last steps of a part's stages but its own last one, each after those it stands on."""
        own = self._own(part)
        below = {step.parent for step in own if step.parent is not None and step.parent.stage == step.stage}
        ordered = [step for step in all_steps([part.image.tip]) if step in own and step.op.makes_layer]
        return [step for step in ordered if step not in below and step != part.image.tip]

    def _shared(self) -> set[Step]:
        """Last steps of stages that several parts have."""
        counts: dict[Step, int] = {}
        for part in self._parts:
            for tip in self._tips(part):
                counts[tip] = counts.get(tip, 0) + 1
        return {tip for tip, count in counts.items() if count > 1}

    def _is_alone(self, part: _Part, tip: Step) -> bool:
        """True if that stage, built by itself, is the very same."""
        try:
            alone = self._plan_of(replace(part.request, target=tip.stage), self._plans)
        except ImagesmithError:
            return False
        return any(image.tip == tip for image in alone.images)

    def _needs(self, part: _Part, steps: Iterable[Step]) -> list[Unit]:
        wanted = set(steps)
        found = [unit for tip, unit in (*self._stages.items(), *self._last.items()) if tip in wanted]
        for link in self._links(part, wanted):
            found += [self._done[link, platform] for platform in self._platforms(link, part, wanted)]
        return list({str(unit.id): unit for unit in found}.values())

    def _links(self, part: _Part, wanted: set[Step]) -> list[str]:
        """The links that a part, or a stage of it, takes anything of; one without steps may be one."""
        tips = {link: self._plans[link].tips for link in part.links}
        return [link for link, of in tips.items() if any(tip is None or tip in wanted for tip in of)]

    def _platforms(self, link: str, part: _Part, wanted: set[Step]) -> list[str]:
        """The platforms for which a linked target is needed: the part's own, and what it takes of others."""
        images = self._plans[link].images
        return [
            str(image.platform)
            for image in images
            if len(images) == 1 or str(image.platform) == part.platform or image.tip in wanted
        ]

    def _unit(self, part: _Part, stage: str, needs: Sequence[Unit], tip: Step | None) -> Unit:
        name, cut = part.request.name, self._cut
        wanted = set(all_steps([tip]))
        links = self._links(part, wanted)
        names = sorted({name, *(n for link in links for n in self._closure(link))})
        linked = {
            n: {**self._targets[n], "platforms": self._platforms(n, part, wanted)} for n in names if n != name
        }
        cache = self._cache(name, part.platform, stage)
        pushes = not stage and any(o.type != "cacheonly" for o in part.request.outputs)
        repositories = {str(_bare(ref)): None for ref in part.request.tags} if pushes else {}
        return Unit(
            target=name,
            platform=part.platform,
            stage=stage,
            definition={"target": {name: _linking(self._target(name), names), **linked}},
            contexts={folder: cut.folders[folder] for n in names for folder in cut.of.get(n, ())},
            needs=tuple(str(unit.id) for unit in needs),
            cache_from=tuple(dict.fromkeys([*(unit.cache_to for unit in needs), cache])),
            cache_to=cache,
            push=tuple(repositories),
            verdicts=cut.repository,
            epoch=cut.epoch,
            plan=str(tip.step_digest) if tip is not None else "",
        )

    def _target(self, name: str) -> Mapping[str, Any]:
        """A unit's own target; one from which nothing comes but steps says what their layers are like."""
        target: Mapping[str, Any] = self._targets[name]
        form = self._forms.get(name)
        if form is None:
            return target
        return {**target, "output": [{**form, "type": "image", "push": "false", "store": "false"}]}

    def _formed(self) -> dict[str, dict[str, str]]:
        """For targets without an image: the form of the first that needs them, and has one."""
        forms: dict[str, dict[str, str]] = {}
        requests = {part.request.name: part.request for part in self._parts}
        plain = {name for name, r in requests.items() if all(o.type == "cacheonly" for o in r.outputs)}
        for name in (n for n in requests if n not in plain):
            options = next(o.options for o in requests[name].outputs if o.type != "cacheonly")
            for other in plain & set(self._closure(name)):
                forms.setdefault(other, {k: v for k, v in options.items() if k in FORM_OPTIONS})
        return forms

    def _closure(self, name: str) -> list[str]:
        """A target, and all that it links to."""
        out, pending = dict[str, None](), [name]
        while pending:
            found = pending.pop()
            if found not in out:
                out[found] = None
                places = self._targets[found].get("contexts", {}).values()
                pending += [p.removeprefix("target:") for p in places if p.startswith("target:")]
        return sorted(out)

    def _cache(self, name: str, platform: str, stage: str) -> str:
        digest = digest_bytes("\n".join((name, platform, stage)).encode())
        return f"{self._cut.repository}:cache-{digest.hex[:24]}"


def _bare(ref: ImageRef) -> ImageRef:
    return replace(ref, tag=None, digest=None)


def _linking(target: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A target without its links to others than these: the unit takes nothing of those."""
    places = target.get("contexts", {})
    kept = {
        k: p for k, p in places.items() if not p.startswith("target:") or p.removeprefix("target:") in names
    }
    return {**target, "contexts": kept} if kept != places else dict(target)
