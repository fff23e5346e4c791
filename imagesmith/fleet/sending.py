"""Send what a bake takes of this machine: its local folders become artifacts, each once.

A Dockerfile outside of its context goes into the definition; layouts of images travel as folders, too.
Trust: the definition is the user's, and what it may read was granted before (bake/allowing.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.bake.selection import local_path
from imagesmith.context.ignore import read_small
from imagesmith.context.named import OciLayout
from imagesmith.errors import ContextError
from imagesmith.fleet.folders import send_folder
from imagesmith.fleet.planning import Cut
from imagesmith.request import BuildRequest

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["send"]


def send(
    document: Mapping[str, Any],
    requests: Sequence[BuildRequest],
    repository: str,
    session: Session,
    store: Store,
    epoch: str = "",
) -> tuple[dict[str, Any], Cut]:
    """Push the local folders of a bake.

    Args:
        document: the targets, as `bake --print` shows them.
        requests: their builds.
        repository: where folders go, and later caches and verdicts.
        session: connections to registries.
        store: where folders are packed.
        epoch: SOURCE_DATE_EPOCH of the client, or empty.

    Returns:
        The definition that units get, and how the bake is cut.

    Raises:
        ContextError: a folder cannot be read.
        RegistryError: the registry refused or failed.
    """
    targets = {name: dict(target) for name, target in document["target"].items()}
    uses: dict[str, set[str]] = {}
    paths: dict[str, Path] = {}
    of: dict[str, dict[str, None]] = {}
    for request in requests:
        target = targets[request.name]
        named = of.setdefault(request.name, {})
        context = str(target.get("context", "."))
        folder = local_path(context)
        if folder is not None:
            targets[request.name]["context"] = context
            uses.setdefault(context, set()).add(_dockerfile(target, request, Path(folder)))
            paths[context], named[context] = Path(folder), None
        for place in target.get("contexts", {}).values():
            if (found := _folder(str(place), request)) is not None:
                key, path = found
                uses.setdefault(key, set()).add("")
                paths[key], named[key] = path, None
    sent = {key: send_folder(paths[key], uses[key], repository, session, store) for key in sorted(uses)}
    cut = Cut(
        repository=repository, folders=sent, of={name: tuple(keys) for name, keys in of.items()}, epoch=epoch
    )
    return {"target": targets}, cut


def _folder(place: str, request: BuildRequest) -> tuple[str, Path] | None:
    """What of a named context is a folder: the text that stands for it in the definition, and its path."""
    layouts = [c.path for c in request.contexts.values() if isinstance(c, OciLayout)]
    if place.startswith("oci-layout://"):
        text = place.removeprefix("oci-layout://")
        path = max((str(p) for p in layouts if text.startswith(str(p))), key=len, default="")
        return (path, Path(path)) if path else None
    local = local_path(place)
    return None if local is None else (place, Path(local))


def _dockerfile(target: dict[str, Any], request: BuildRequest, folder: Path) -> str:
    """The Dockerfile's name in its context; one that lies elsewhere is put into the definition."""
    if request.inline is not None:
        return ""
    given = request.dockerfile
    if given is None:
        return "Dockerfile"
    if local_path(given) is None:
        return ""
    below = os.path.relpath(os.path.abspath(given), os.path.abspath(folder))
    if not below.startswith(".."):
        target["dockerfile"] = below
        return below
    path = Path(given)
    try:
        text = read_small(path.parent, path.name).decode()
    except (OSError, UnicodeDecodeError) as e:
        raise ContextError(f"target {request.name}: {given} cannot be read as a Dockerfile") from e
    target.pop("dockerfile", None)
    target["dockerfile-inline"] = text.replace("${", "$${").replace("%{", "%%{")
    return ""
