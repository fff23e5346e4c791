"""The seams: what a snapshotter, a sandbox and a workspace promise, and the values that pass through them.

Why: the build knows these shapes only. A machine that can mount stacks layers with overlayfs, one that cannot
copies them; a step runs in namespaces, behind a chroot or in runc. Whatever is chosen, a layer's bytes are
the same.
Trust: a mount's source and its descriptor, see Mount: what a step may change is handed over as a descriptor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from imagesmith.fs.entry import Entry
from imagesmith.fs.tree import Tree
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.quotas import Limits
from imagesmith.values import field, frozen

if TYPE_CHECKING:
    from imagesmith.oci.identity import Identity

__all__ = [
    "Admission",
    "Ids",
    "ImageSource",
    "ImageTarget",
    "LayerTree",
    "Mount",
    "Output",
    "Place",
    "RunSpec",
    "Sandbox",
    "Snapshotter",
    "Workspace",
]

#: Which owners the process can give to files on disk. `root`: all, it is the machine's root. `subid`: those
#: of a range that the system lent to the user, in a user namespace. `single`: one only, in a user namespace
#: of one id; others are kept beside the file (worker/snapshot/ownership.py). `own`: one only, without any.
Ids = Literal["root", "subid", "single", "own"]

#: Takes a piece of a step's output: stream (1 or 2) and bytes.
Output = Callable[[int, bytes], None]


@frozen(kw_only=True)
class Place:
    """What this process may do after it entered its namespaces.

    ids         which owners it can give to files
    mounts      it has a mount namespace of its own, in which it may mount
    """

    ids: Ids
    mounts: bool


@frozen(kw_only=True)
class Mount:
    """Something to be laid over a path of the step's root.

    kind        bind (a file or folder of the machine), tmpfs, or file (a file of `data`, in memory where
                anything can be mounted)
    source      the path on the machine, for bind
    fd          a descriptor (O_PATH) of what is at the source, where a step can change what a path leads to:
                what it stands for is mounted. Its maker closes it when the step has ended
    ours        the source is the builder's own: who cannot mount may move it to the target meanwhile
    target      absolute path in the root; links in it are followed inside the root
    size_bytes  of a tmpfs; 0 for the kernel's default
    mode        of a tmpfs's root or of a file
    uid, gid    of a file
    secret      of a file: who cannot keep it in memory keeps it on a disk no longer than it is open
    owners      the table of owners beside the source (worker/snapshot/ownership.py), and the folder in it
                that the source is; empty where there is none
    """

    kind: Literal["bind", "tmpfs", "file"]
    target: str
    source: str = ""
    fd: int = -1
    ours: bool = False
    readonly: bool = False
    nosuid: bool = False
    nodev: bool = False
    noexec: bool = False
    size_bytes: int = 0
    mode: int = 0o1777
    uid: int = 0
    gid: int = 0
    secret: bool = False
    data: bytes = field(default=b"", shown=False)
    owners: tuple[str, str] = ("", "")


@frozen(kw_only=True)
class RunSpec:
    """A process to run in a root file system: the whole contract with a sandbox.

    argv        the program, looked up in PATH of `env`, and its arguments
    env         in order
    cwd         absolute path in the root; made with its parents if it is missing, and then stays
    uid, gid, groups   who it runs as, as numbers of the image
    mounts      sorted by target
    network     default (the machine's), host or none
    insecure    all capabilities, no filter, no masks
    hosts       (name, address) pairs for /etc/hosts
    ulimits     (name, soft, hard), -1 for unlimited
    limits      of memory and processors, for all its processes together
    timeout_s   0 for no limit
    tty, interactive   for `imagesmith run`: the caller's terminal and standard input are the process's
    forwards    for `imagesmith run`: signals that this process gets are the other's
    largest_id  the largest user or group id of the root's files; needed where ids are lent
    emulators   for programs that the kernel cannot start: what they are for (foreign.Kind), and the
                descriptor of the emulator that runs them: (class, order, machine, descriptor)
    """

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: Literal["default", "host", "none"] = "default"
    insecure: bool = False
    hostname: str = "buildkitsandbox"
    hosts: tuple[tuple[str, str], ...] = ()
    shm_size_bytes: int = 64 << 20
    ulimits: tuple[tuple[str, int, int], ...] = ()
    cgroup_parent: str = ""
    limits: Limits = field(default_factory=Limits)
    timeout_s: float = 0.0
    tty: bool = False
    interactive: bool = False
    forwards: bool = False
    largest_id: int = 0
    emulators: tuple[tuple[int, int, int, int], ...] = ()


class LayerTree(Protocol):
    """A stored layer as a snapshotter needs it (store/layers.py)."""

    diff_id: Digest

    @property
    def tree(self) -> Path:
        """Where its extracted tree is, or is to be put by rename when it is complete."""

    def placed(self) -> Iterable[Entry]:
        """What an extraction of it makes: deletions first, each path once, files before further names."""


class Workspace(Protocol):
    """A snapshot that a step changes. Used once: `changes`, then `commit` or `discard`."""

    root: Path

    def changes(self) -> tuple[Iterable[Entry], set[str]]:
        """What an overlay's upper directory would hold, and which of its directories are opaque.

        Kinds and owners are the image's; contents are opened when they are read, and stay readable until
        `commit` or `discard`. See layer/diff.py, which makes a layer of it.
        """

    def commit(self, diff_id: Digest) -> None:
        """Keep what was made for the steps that build on that layer, which see the layer and no more."""

    def discard(self) -> None:
        """Throw it away; harmless after `commit`."""


class Snapshotter(Protocol):
    """Makes workspaces of layers."""

    def form(self) -> Literal["tar", "erofs"]:
        """The form in which it wants the bytes of layers that it has no tree of (store/layers.py)."""

    def prepare(self, layers: Sequence[LayerTree], view: Tree) -> Workspace:
        """A root directory with the layers, bottom first; `view` is what they show together."""

    def close(self) -> None:
        """Take away all that is mounted or kept for later steps."""


class Sandbox(Protocol):
    """Runs processes in a root directory."""

    def run(self, spec: RunSpec, root: Path, output: Output, cancelled: Callable[[], bool]) -> int:
        """Run to the end and return the exit status (128 + signal where one ended it).

        When it returns nothing that the process started is alive, and what the sandbox itself put below
        `root` (mount points, stubs of /etc/hosts) is gone.

        Raises:
            SandboxError: it could not be set up or started; the message is what the user reads.
            Cancelled: `cancelled` became true.
        """

    def close(self) -> None:
        """End helpers."""


class ImageSource(Protocol):
    """Where an image is read: the store, a repository, a layout, an archive. Threads: any."""

    @property
    def name(self) -> str:
        """What the user called it."""

    @property
    def identity(self) -> Identity:
        """What a policy knows it by."""

    def root(self) -> Descriptor:
        """The manifest or index that the name stands for.

        Raises:
            NotFound: it stands for nothing.
        """

    def document(self, d: Descriptor) -> bytes:
        """A manifest, an index or another small blob, verified.

        Raises:
            NotFound: it is not there.
            DigestMismatch: it is damaged.
        """

    def pieces(self, d: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a blob from an offset on; verified at the end where the offset is 0."""

    def lacks(self, d: Descriptor) -> bool:
        """True if a manifest, or part of it, is not there; asks nobody: a registry is believed to have it."""

    def origin(self, digest: Digest) -> ImageSource:
        """The place that holds a blob: itself, or one behind it."""

    def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """The manifests there that name this one as their subject."""

    def tagged(self, tag: str) -> Descriptor | None:
        """What another tag beside this image stands for; None for nothing."""


class ImageTarget(Protocol):
    """Where an image is written, blobs first, its name last. Threads: any, but one for `finish`."""

    @property
    def name(self) -> str:
        """What the user called it."""

    @property
    def in_order(self) -> bool:
        """True if it takes everything one after the other, manifests too, sorted by digest."""

    @property
    def sparse(self) -> bool:
        """True if an index may stand there without all that it names."""

    def has(self, d: Descriptor) -> bool:
        """True if the blob is there, so that it need not be sent."""

    def put_blob(self, d: Descriptor, source: ImageSource, progress: Callable[[int], None]) -> str:
        """Take a blob; `progress` is told how many bytes arrived. Returns how: `sent`, or `mounted`."""

    def put_document(self, d: Descriptor, raw: bytes) -> None:
        """Take a manifest or index whose parts are there."""

    def put_tagged(self, tag: str, d: Descriptor, raw: bytes) -> None:
        """Take a manifest or index, and let another tag beside this image stand for it."""

    def finish(self, d: Descriptor, raw: bytes) -> None:
        """Take the last manifest or index, and let the name stand for it."""


class Admission(Protocol):
    """Who says which images may be used: a policy (trust/admission.py). Threads: any."""

    def admit(self, source: ImageSource, d: Descriptor) -> None:
        """Let an image pass, or not.

        Args:
            source: where it comes from, and where signatures of it are looked for.
            d: its manifest; never an index.

        Raises:
            Untrusted: it may not be used.
            RegistryError: what decides that could not be read.
        """
