"""doctor: what this machine offers, what will be used of it, why not the better, and how to improve it.

Why: "RUN does not work in CI" is answered best by the machine itself. All that is said here was tried, by the
same probes that a build uses; and then one tiny step is built, as any other (trial.py).
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagesmith.settings import Settings
    from imagesmith.worker.sandbox.world import World

__all__ = ["configure", "run"]

_RUN = {
    ("native", "root"): "namespaces, as root",
    ("native", "subid"): "namespaces, with the ids that the system lends",
    ("native", "single"): "namespaces with one id; what the kernel refuses there is answered for it",
    ("chroot", "root"): "a chroot",
}
_BY = {
    "kernel": "registered on this machine", "namespace": "registered for the build alone",
    "calls": "started by the sandbox", "image": "registered without flag F: only for images that have it",
}  # fmt: skip
_WAYS = {
    "root": "namespaces, as root", "subid": "namespaces with lent ids", "chroot": "a chroot",
    "overlay": "overlayfs", "files": "layers mounted from files", "native": "namespaces",
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of doctor."""
    parser.add_argument(
        "--isolation", choices=("auto", "native", "chroot", "oci"), default="auto", help="as for build"
    )
    parser.add_argument(
        "--emulator", action="append", default=[], metavar="[PLATFORM=]PATH", help="as for build"
    )
    parser.add_argument("--root", default="", metavar="DIR", help="the store")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    found = _examine(args.root, args.isolation, args.emulator)
    if args.json:
        from imagesmith.cli.common import print_json

        print_json(found)
    else:
        _print(found)
    return 0 if found["run"]["works"] else 1


# --- what is found -----------------------------------------------------------------------------


def _examine(root: str, isolation: str, emulators: list[str]) -> dict[str, Any]:
    """Everything that is told, as JSON's values."""
    from imagesmith.oci.names import host_platform
    from imagesmith.settings import Settings
    from imagesmith.worker.sandbox.container import container
    from imagesmith.worker.sandbox.world import enter

    settings, uid = Settings.load(root), os.geteuid()
    system = os.uname()
    machine = {"system": f"{system.sysname} {system.release}", "platform": str(host_platform()),
               "processors": len(os.sched_getaffinity(0)), "uid": uid, **_limits(),
               "container": container()}  # fmt: skip
    world = enter(isolation)
    run: dict[str, Any] = {
        "works": world.isolation != "none", "isolation": world.isolation, "ids": world.place.ids,
        "refused": _refused(world.refused), "weaker": list(world.weaker), "hint": world.hint, "trial": "",
        "limits": {},
    }  # fmt: skip
    if world.isolation == "native" and world.place.ids == "root":
        from imagesmith.worker.sandbox.initdevices import why_no_devices

        if lacking := why_no_devices():
            run["weaker"].append(f"device nodes that a step makes cannot be opened ({lacking})")
    runtime, problem = _runtime(world.place.ids) if world.place.mounts else ("", "it needs namespaces too")
    if world.isolation == "oci":
        run["works"] = bool(runtime)
    run["runtime"] = {"path": runtime, "refused": problem}
    snapshots = _snapshots(settings, world.place)
    if run["works"]:
        from imagesmith.worker.sandbox.cgroups import why_no_groups

        run["limits"] = {"no_cgroups": why_no_groups()}
        _try(run, settings, world, usable=not snapshots["problem"])
    return {
        "machine": machine,
        "run": run,
        "snapshots": snapshots,
        "platforms": {"native": str(host_platform()), "run": _platforms(emulators, world, settings)},
        "compression": {
            "gzip": {"by": "libdeflate", "level": 1, "default": True},
            "zstd": {"by": "libzstd", "level": 3, "default": False, "enable": "-o type=…,compression=zstd"},
            "threads": settings.workers,
        },
    }


def _limits() -> dict[str, float | None]:
    """What cgroups leave of the machine; None for no limit."""
    from imagesmith.quotas import memory_limit, processors

    quota, memory = processors(), memory_limit()
    return {
        "processor_quota": None if quota == math.inf else round(quota, 3),
        "memory_limit_bytes": None if memory == math.inf else int(memory),
    }


def _refused(pairs: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"way": way, "reason": reason} for way, reason in pairs]


def _runtime(ids: Any) -> tuple[str, str]:  # noqa: ANN401 - interfaces.Ids
    """An OCI runtime that works, or why there is none."""
    from imagesmith.errors import SandboxUnavailable
    from imagesmith.worker.sandbox.ociruntime import find_runtime

    try:
        return find_runtime(ids), ""
    except SandboxUnavailable as e:
        return "", e.message.partition("here: ")[2] or e.message


def _try(run: dict[str, Any], settings: Settings, world: World, *, usable: bool) -> None:
    """Build one tiny step, in the store, or where that is not usable in a folder of its own."""
    from imagesmith.trial import trial
    from imagesmith.values import replace

    try:
        with contextlib.ExitStack() as stack:
            if not usable:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="imagesmith-doctor-"))
                settings = replace(settings, root=Path(folder))
            failed = trial(settings, world)
    except OSError as e:
        run["trial"] = f"not tried: {e.filename}: {(e.strerror or '').lower()}"
        return
    run["trial"] = failed.message if failed else "done"
    if failed:
        run.update(works=False, hint=failed.hint or run["hint"])


def _snapshots(settings: Settings, place: Any) -> dict[str, Any]:  # noqa: ANN401 - interfaces.Place
    """How the layers below a step become its root."""
    from imagesmith.errors import ImagesmithError
    from imagesmith.store.store import Store
    from imagesmith.worker.snapshot.choose import ELSEWHERE, why_not_files, why_not_overlay

    found = {
        "store": str(settings.root),
        "problem": "",
        "kind": "",
        "files": False,
        "refused": [],
        "hint": "",
    }
    try:
        with Store(settings.root) as store:
            overlay = why_not_overlay(place, store)
            files = "" if overlay else why_not_files(place, store)
    except ImagesmithError as e:
        return found | {"problem": e.message, "hint": e.hint or f"use another store: {ELSEWHERE}"}
    except OSError as e:
        return found | {"problem": f"{e.filename}: {(e.strerror or '').lower()}",
                        "hint": f"use another store: {ELSEWHERE}"}  # fmt: skip
    refused = [("overlay", overlay)] if overlay else [("files", files)] if files else []
    advice = f"put the store on ext4, xfs, btrfs or a volume: {ELSEWHERE}"
    return found | {
        "kind": "copying" if overlay else "overlay", "files": not overlay and not files,
        "refused": _refused(tuple(refused)), "hint": advice if overlay and place.mounts else "",
    }  # fmt: skip


def _platforms(given: list[str], world: World, settings: Settings) -> list[dict[str, str]]:
    """The platforms that RUN works for, or why not where somebody asked for one."""
    from imagesmith.oci.names import Platform
    from imagesmith.options import parse_emulator
    from imagesmith.worker.emulator import PLATFORMS, Emulators

    if world.isolation == "none":
        return []
    with tempfile.TemporaryDirectory(prefix="imagesmith-doctor-") as spare:
        folder = settings.root if os.access(settings.root, os.W_OK) else Path(spare)
        emulators = Emulators([parse_emulator(text) for text in given], world, folder)
        found = [(name, emulators.tell(Platform.parse(name))) for name in PLATFORMS]
    return [
        {"platform": name, "by": way.by, "path": way.path, "reason": way.reason}
        for name, way in found
        if way.by or "would run it" in way.reason
    ]


# --- how it is told ----------------------------------------------------------------------------


def _print(found: dict[str, Any]) -> None:
    """The same for people: a heading at the left, what belongs to it beside and below."""
    for head, lines in _sections(found):
        for line in lines:
            sys.stdout.write(f"{head:<13} {line}\n")
            head = ""


def _sections(found: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    m = found["machine"]
    limits = [f"{m['processor_quota']:g} processors"] if m["processor_quota"] else []
    if m["memory_limit_bytes"] is not None:
        limits.append(f"{m['memory_limit_bytes'] / (1 << 20):.0f} MiB of memory")
    yield (
        "machine",
        [
            f"{m['system']}, {m['platform']}, {m['processors']} processors, uid {m['uid']}",
            f"in a container: {m['container']}" if m["container"] else "in no container that is recognised",
            *([f"limited to {' and '.join(limits)}"] if limits else []),
        ],
    )
    yield "RUN", list(_run_lines(found["run"]))
    yield "snapshots", list(_snapshot_lines(found["snapshots"]))
    yield "platforms", list(_platform_lines(found["platforms"]["run"]))
    threads = found["compression"]["threads"]
    yield (
        "compression",
        [f"gzip 1 by libdeflate, {threads} threads", "zstd on demand: -o type=…,compression=zstd"],
    )


def _run_lines(run: dict[str, Any]) -> Iterator[str]:
    runtime = run["runtime"]
    if run["isolation"] == "none":
        yield "refused; COPY, ADD and all else work"
    elif run["isolation"] == "oci":
        yield runtime["path"] or f"refused: {runtime['refused']}"
    else:
        yield f"{run['isolation']}: {_RUN[run['isolation'], run['ids']]}"
    if run["trial"]:
        yield f"a step was tried: {run['trial']}"
    if run.get("limits"):
        without = run["limits"]["no_cgroups"]
        by = f"a watch of /proc and affinity, no cgroup can be made ({without})" if without else "cgroups"
        yield f"--memory and --cpus are held by {by}"
    for row in run["refused"]:
        yield f"not {_WAYS.get(row['way'], row['way'])}: {row['reason']}"
    for text in run["weaker"]:
        yield f"weaker than root's: {text}"
    if run["hint"]:
        yield f"to improve: {run['hint']}"
    if run["isolation"] != "oci" and runtime["path"]:
        yield f"also there: --isolation oci, by {runtime['path']}"


def _platform_lines(rows: list[dict[str, str]]) -> Iterator[str]:
    """RUN's platforms: those of the processor in one line, then each emulator's."""
    plain = [row["platform"] for row in rows if row["by"] == "kernel" and not row["path"]]
    if plain:
        yield f"RUN works for {', '.join(plain)}"
    for row in rows:
        if not row["by"]:
            yield f"not {row['platform']}: {row['reason']}"
        elif row["path"]:
            yield f"{row['platform']} by {row['path']}, {_BY[row['by']]}"
    if not any(row["path"] and row["by"] for row in rows):
        yield "no others; to have them, install qemu-user-static, or give static qemus by --emulator PATH"


def _snapshot_lines(snapshots: dict[str, Any]) -> Iterator[str]:
    if snapshots["problem"]:
        yield snapshots["problem"]
    elif snapshots["kind"] == "copying":
        yield "copied, file by file"
    else:
        how = "mounted from files" if snapshots["files"] else "unpacked once"
        yield f"overlayfs; layers are {how}"
    for row in snapshots["refused"]:
        yield f"not {_WAYS[row['way']]}: {row['reason']}"
    if snapshots["hint"]:
        yield f"to improve: {snapshots['hint']}"
    yield f"in {snapshots['store']}"
