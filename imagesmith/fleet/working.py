"""Do a unit: bring its folders, build its definition for one platform, and write a verdict.

Why the definition goes through the reader of bake files: a unit then means what the same file would mean,
and nothing of it is read twice in two ways.
Trust: a unit is another's: whoever starts a worker lets its client run programs there, as with any build.
Folders are those that came along, or it is refused; secrets are what this machine was given for it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.bake import hcljson
from imagesmith.bake.definition import define
from imagesmith.bake.places import Source
from imagesmith.bake.selection import Selection, local_path, prepared, select
from imagesmith.bake.variables import Given
from imagesmith.errors import Cancelled, ImagesmithError, InvalidDocument
from imagesmith.events import Event, EventSink, Planned, StepCached, StepDone, StepStarted, with_title
from imagesmith.fleet.endurance import ENDURED_S, endure
from imagesmith.fleet.folders import bring_folder
from imagesmith.fleet.units import FORM_OPTIONS, Unit
from imagesmith.fleet.verdicts import Verdict, read_verdict, write_verdict
from imagesmith.image.result import BuildResult
from imagesmith.store.disk import on_disk_fault
from imagesmith.store.work import WorkFolder
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["Tally", "selection_of", "work"]

_LAYOUT = "oci-layout://"
#: Annotations of what lists an image belong to the index, which the client writes.
_OF_INDEX = ("index", "manifest-descriptor")

Bake = Callable[[Selection], Mapping[str, BuildResult | ImagesmithError]]


class Tally:
    """Counts the steps that a build executes, and those that it finds; hands all events on."""

    def __init__(self, events: EventSink) -> None:
        self._events = events
        #: The target whose steps are called by it, where it is built alone.
        self.title = ""
        self._planned: set[str] = set()
        self._begun: dict[int, str] = {}
        self.executed: dict[str, None] = {}
        self.cached: dict[str, None] = {}

    def __call__(self, event: Event, /) -> None:
        """Take one event."""
        if isinstance(event, Planned):
            self._planned.update(event.names)
            self._planned.update(with_title(self.title, name) for name in event.names)
        elif isinstance(event, StepStarted):
            self._begun[event.step] = event.name
        elif isinstance(event, StepCached) and event.name in self._planned:
            self.cached[event.name] = None
        elif isinstance(event, StepDone) and (name := self._begun.get(event.step)) in self._planned:
            self.executed[str(name)] = None
        self._events(event)


def work(
    unit: Unit,
    bake: Bake,
    tally: Tally,
    session: Session,
    store: Store,
    *,
    again: bool = False,
    endured_s: float = ENDURED_S,
    tell: Callable[[str], object] = lambda _text: None,
) -> tuple[Verdict, ImagesmithError | None]:
    """Do a unit, unless it is done, and write its verdict to the registry.

    Args:
        unit: what is to be done.
        bake: builds a selection, with `tally` among those who are told.
        tally: counts the steps.
        session: connections to registries.
        store: where folders are kept.
        again: do it even if it is done.
        endured_s: how long a registry may be away.
        tell: is told what is waited for.

    Returns:
        The verdict, and the error of a unit that failed.

    Raises:
        ImagesmithError: the verdict can be neither read nor written.
    """
    found = None if again else endure(lambda: read_verdict(unit, session), for_s=endured_s, tell=tell)
    if found is not None and found.is_done:
        return found, None
    failed: ImagesmithError | None = None
    tally.title = unit.target
    try:
        built = endure(lambda: _built(unit, bake, session, store), for_s=endured_s, tell=tell)
        verdict = Verdict(
            unit=str(unit.id), name=unit.name,
            pushed=built.descriptor if unit.push and not unit.stage else None,
        )  # fmt: skip
    except Cancelled:
        raise  # a worker that is told to end says nothing of the unit
    except ImagesmithError as e:
        verdict, failed = Verdict.of(unit, e), e
    verdict = replace(
        verdict, executed=len(tally.executed), cached=len(set(tally.cached) - set(tally.executed)),
        steps=tuple(tally.executed),
    )  # fmt: skip
    endure(lambda: write_verdict(unit, verdict, session, store), for_s=endured_s, tell=tell)
    return verdict, failed


def _built(unit: Unit, bake: Bake, session: Session, store: Store) -> BuildResult:
    folders = {}
    with contextlib.ExitStack() as stack:
        for n, (folder, ref) in enumerate(unit.contexts.items()):
            if not n:
                with on_disk_fault("make a folder for a unit", store.work):
                    place = WorkFolder(store.work, "context-")
                stack.callback(place.close)
            folders[folder] = str(place.path / str(n))
            bring_folder(ref, Path(folders[folder]), session, store)
        found = bake(selection_of(unit, folders))[unit.target]
    if isinstance(found, ImagesmithError):
        raise found
    return found


def selection_of(unit: Unit, folders: Mapping[str, str]) -> Selection:
    """What a unit builds: its target, with those that this links to.

    Args:
        unit: the unit.
        folders: where the folders are that the definition names.

    Raises:
        InvalidDocument: a target of it is not as `bake --print` shows one.
        DefinitionError: the definition is wrong.
    """
    targets = {
        name: _own(unit, target) if name == unit.target else _linked(target)
        for name, target in unit.definition["target"].items()
    }
    placed = {name: _placed(target, folders) for name, target in targets.items()}
    text = json.dumps({"target": placed})
    definition = define([hcljson.parse(Source("unit.json", text))], Given(platform=unit.platform))
    selection = select(definition, [unit.target], {})
    return prepared(selection, {"SOURCE_DATE_EPOCH": unit.epoch} if unit.epoch else {})


def _own(unit: Unit, target: Mapping[str, Any]) -> dict[str, Any]:
    """The unit's target, for one platform, with what it pushes and the caches of the unit."""
    out = {k: v for k, v in target.items() if k not in ("tags", "cache-from", "cache-to", "output", "call")}
    out["platforms"] = [unit.platform]
    caches = [{"type": "registry", "ref": ref} for ref in unit.cache_from]
    out["cache-from"] = [*_list(target, "cache-from"), *caches]
    if unit.cache_to:
        out["cache-to"] = [{"type": "registry", "ref": unit.cache_to, "mode": "max", "ignore-error": "false"}]
    out["annotations"] = [a for a in _list(target, "annotations") if not _is_of_index(a)]
    if unit.stage:
        out["target"] = unit.stage
    options = next((o for o in _list(target, "output") if isinstance(o, dict)), {})
    if unit.stage or not unit.push:  # a cache is of layers of one form: that of the images it is for
        form = {k: v for k, v in options.items() if k in FORM_OPTIONS}
        out["output"] = [{**form, "type": "image", "push": "false", "store": "false"}]
        out.pop("attest", None)
        return out
    kept = {k: v for k, v in options.items() if not k.startswith(tuple(f"annotation-{w}" for w in _OF_INDEX))}
    out["output"] = [
        {**kept, "type": "image", "push": "true", "push-by-digest": "true", "name": ",".join(unit.push)}
    ]
    return out


def _linked(target: Mapping[str, Any]) -> dict[str, Any]:
    """A target that the unit's own links to: nothing comes of it but steps."""
    out = {k: v for k, v in target.items() if k not in ("tags", "cache-to", "output", "attest", "call")}
    return {**out, "output": [{"type": "cacheonly"}]}


def _list(target: Mapping[str, Any], name: str) -> list[Any]:
    found = target.get(name, [])
    if not isinstance(found, list):
        raise InvalidDocument(f"unit: definition: {name} must be a list")
    return found


def _is_of_index(annotation: object) -> bool:
    return str(annotation).partition("=")[0].startswith(_OF_INDEX) and ":" in str(annotation)


def _placed(target: Mapping[str, Any], folders: Mapping[str, str]) -> dict[str, Any]:
    """A target whose folders are where they were unpacked; it names nothing else of this machine."""
    out = dict(target)
    out["context"] = _place(str(target.get("context", ".")), folders)
    dockerfile = str(target.get("dockerfile", ""))
    if local_path(dockerfile) is not None and not target.get("dockerfile-inline"):
        clean = os.path.normpath(dockerfile) if dockerfile else ""
        if clean.startswith(("/", "..")) or "://" in dockerfile:
            raise InvalidDocument(f"unit: definition: dockerfile {dockerfile[:200]!r} is not in its context")
    contexts = target.get("contexts", {})
    if not isinstance(contexts, dict):
        raise InvalidDocument("unit: definition: contexts must be an object")
    if contexts:
        out["contexts"] = {name: _place(str(place), folders) for name, place in contexts.items()}
    return out


def _place(place: str, folders: Mapping[str, str]) -> str:
    if place in folders:
        return folders[place]
    if place.startswith(_LAYOUT):
        path = place.removeprefix(_LAYOUT)
        for folder, where in folders.items():
            rest = path.removeprefix(folder)
            if path.startswith(folder) and (not rest or rest[0] in ":@"):
                return f"{_LAYOUT}{where}{rest}"
    if place.startswith(_LAYOUT) or local_path(place) is not None:
        raise InvalidDocument(f"unit: definition: the folder {place[:200]!r} did not come along")
    return place
