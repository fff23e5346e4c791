"""A command in an image, from Python: its status and what it wrote.

Why in a child: the sandbox needs a process that may change its namespaces (child.py).
Trust: the image is a stranger's, and its process is kept apart as a step of a build is; what it writes is its
own, and is kept up to a limit.
Threads: any, several at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imagesmith.errors import LimitExceeded
from imagesmith.events import EventSink, Log, nobody
from imagesmith.library.credentials import Insecure, Logins, access_by, registries_of
from imagesmith.library.documented import documented
from imagesmith.library.opening import admission_by, platform_or_none
from imagesmith.library.several import several, words_of
from imagesmith.library.values import Completed
from imagesmith.options import parse_emulator, parse_hosts, parse_size, parse_ulimit
from imagesmith.running import SHM_BYTES, RunRequest, parse_volume, run_image
from imagesmith.settings import Settings
from imagesmith.values import frozen

if TYPE_CHECKING:
    from imagesmith.worker.sandbox.world import World

__all__ = ["run"]


@documented
def run(
    image: str,
    command: Iterable[str] = (),
    *,
    entrypoint: str | None = None,
    env: Mapping[str, str] | None = None,
    workdir: str = "",
    user: str = "",
    hostname: str = "",
    volumes: Iterable[str] = (),
    tmpfs: Iterable[str] = (),
    network: Literal["default", "host", "none"] = "default",
    hosts: Iterable[str] = (),
    memory: str = "",
    cpus: float = 0.0,
    shm_size: str = "",
    ulimits: Iterable[str] = (),
    pull: bool = False,
    platform: str = "",
    emulators: Iterable[str] = (),
    isolation: str = "auto",
    most_bytes: int = 64 << 20,
    credentials: Logins | None = None,
    insecure: Insecure = False,
    policy: str | Path = "",
    root: str | Path = "",
    events: EventSink = nobody,
) -> Completed:
    r"""Run a command in an image, in a child, to its end; what it changes in the image is dropped.

    It has no standard input. Whoever stops waiting (by an exception from `events`, or Ctrl-C) ends it.

    Args:
        image: a name in the store, or in a registry.
        command: words, instead of the image's CMD.
        entrypoint: instead of the image's; an empty one for none.
        env: variables, over those of the image.
        workdir, user, hostname: instead of the image's.
        volumes: `PATH:DIR[:ro]`: a file or folder of this machine, the only place where changes stay.
        tmpfs: folders in memory.
        network: the machine's (default, host), or none.
        hosts: lines of /etc/hosts, as `HOST:IP`.
        memory, shm_size: limits, as `512m`.
        cpus: how many processors it may take.
        ulimits: as `nofile=1024:2048`.
        pull: ask the registry even if the store has the name.
        emulators: what runs programs of other architectures, as for `build`.
        isolation: auto, native, chroot or oci.
        most_bytes: more output than this ends it with an error.
        events: is called with Log for what it writes, as it comes, besides what is fetched.

    Returns:
        `status`, `stdout` and `stderr` as bytes, and `text`, standard output as text.

    Raises:
        NotFound: there is no such image.
        SandboxError: the command cannot be started, or nothing here can run it.
        LimitExceeded: it wrote more than `most_bytes`.

    Example:
        >>> done = imagesmith.run("registry.example/team/base:1", ["echo", "hello"])
        >>> done, done.text
        (Completed(0, 6 bytes out, 0 err), 'hello\n')
    """
    from imagesmith.child import in_child
    from imagesmith.limitoptions import parse_limits

    limits = [*([f"memory={memory}"] if memory else []), *([f"cpus={cpus}"] if cpus else [])]
    request = RunRequest(
        image=image,
        command=words_of("command", command),
        entrypoint=entrypoint,
        env=dict(env or {}),
        workdir=workdir,
        user=user,
        hostname=hostname,
        volumes=tuple(map(parse_volume, several(volumes))),
        tmpfs=several(tmpfs),
        network=network,
        hosts=parse_hosts(list(several(hosts))),
        limits=parse_limits(limits),
        shm_size_bytes=parse_size(shm_size, "shm_size") if shm_size else SHM_BYTES,
        ulimits=tuple(map(parse_ulimit, several(ulimits))),
        pull=pull,
        platform=platform_or_none(platform),
        emulators=tuple(map(parse_emulator, several(emulators))),
        access=access_by(insecure, credentials, registries_of([image])),
    )
    return in_child(_RunJob(request, str(policy), most_bytes), str(root), isolation, events)


@frozen
class _RunJob:
    """Run a command; see child.Job."""

    request: RunRequest
    policy: str
    most_bytes: int

    def prepare(self) -> None:
        """See Job."""

    def perform(self, settings: Settings, here: World, events: EventSink) -> Completed:
        """See Job."""
        written = {1: bytearray(), 2: bytearray()}

        def output(stream: int, data: bytes) -> None:
            if sum(map(len, written.values())) + len(data) > self.most_bytes:
                said = f"{self.request.image}: the command wrote more than {self.most_bytes} bytes"
                raise LimitExceeded(said)
            written[stream] += data
            events(Log(step=0, stream=stream, data=data))

        status = run_image(
            self.request, settings, here,
            events=events, admission=admission_by(self.policy, settings), output=output,
        )  # fmt: skip
        return Completed(status=status, stdout=bytes(written[1]), stderr=bytes(written[2]))
