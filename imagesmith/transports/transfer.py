"""A session with registries: connections, credentials and what is known of blobs, shared by all transfers.

Why: a command or a build moves many images; connections, tokens and knowledge of which repository holds which
blob are worth keeping between them. What a session learns about blobs goes into the store's memory, so that
the next push mounts instead of sending.
Trust: what registries say is judged below (transport.py, download.py, repository.py); what is remembered of
blobs saves requests, and is never believed over a digest.
Threads: any.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Self

from imagesmith.concurrency import Cancel, Once
from imagesmith.credentials.dockerconfig import Credentials, credentials_by
from imagesmith.credentials.model import Credential
from imagesmith.errors import NotFound
from imagesmith.events import EventSink, Message, Progress, Vertex, Warned, nobody
from imagesmith.interfaces import Admission, ImageSource, ImageTarget
from imagesmith.oci.config import check_image
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Manifest, parse_document
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.registry.client import Client
from imagesmith.registry.endpoint import Endpoint, default_endpoint
from imagesmith.registry.hosts import Hosts, hosts_of
from imagesmith.registry.proxies import Proxies
from imagesmith.registry.repository import Repository
from imagesmith.registry.sending import Sending
from imagesmith.registry.transport import Transport
from imagesmith.settings import Access
from imagesmith.store.store import Store
from imagesmith.transports.copier import Choice, Plan, choose, plan_copy
from imagesmith.transports.lacking import left_behind
from imagesmith.transports.sender import copy_image
from imagesmith.transports.stored import StorePlace, write_pieces
from imagesmith.values import frozen

__all__ = ["Resolved", "Session"]


@frozen(kw_only=True)
class Resolved:
    """What a reference stands for: its descriptor, the platform's manifest, and the documents read for it.

    The documents are the index (if it is one), the manifest and the config, by digest.
    """

    descriptor: Descriptor
    manifest: Manifest
    documents: dict[Digest, bytes]


class Session:
    """Connections to registries; close it, or use it in a `with`."""

    def __init__(
        self,
        store: Store | None = None,
        *,
        events: EventSink = nobody,
        transfers: int = 4,
        access: Access | None = None,
        hosts: Hosts | None = None,
        credentials: Credentials | None = None,
        numbers: Iterator[int] | None = None,
        timeout_s: float = 60.0,
        admission: Admission | None = None,
    ) -> None:
        """Prepare, without a connection.

        Args:
            store: where pulls go, pushes come from, and knowledge about blobs is kept.
            events: is told what happens.
            transfers: blobs moved at the same time.
            access: how registries are reached.
            hosts: where registries are; by default as `access` and the machine's files say.
            credentials: by default those of the user, or of `access`.
            numbers: of the vertices on the screen; from 1 where nobody else takes any.
            timeout_s: how long (seconds) a registry may be silent.
            admission: is asked about each image that is copied; not about those that are pushed.
        """
        self._store, self._events, self._transfers = store, events, transfers
        access = access or Access()
        self._hosts = hosts or hosts_of(access)
        self._credentials = credentials or credentials_by(access)
        self._credentials.warn = lambda text: events(Warned(rule="", text=text))
        self._proxies = Proxies()
        self._slots = threading.BoundedSemaphore(max(1, transfers))
        self._steps = numbers or itertools.count(1)
        self._timeout_s = timeout_s
        self._retries, self._retry_delay_s = access.retries, access.retry_delay_s
        self._lock = threading.Lock()
        self._transports: dict[tuple[object, ...], Transport] = {}
        self._places: dict[str, Repository] = {}
        self._sending = Sending()
        self._roots: Once[str, Descriptor] = Once()
        self._hurry = threading.Event()
        #: Who is asked about images, if anybody.
        self.admission = admission

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for transport in self._transports.values():
                transport.close()
            self._transports.clear()
            self._places.clear()

    def vertex(self, name: str) -> Vertex:
        """A new vertex on the screen."""
        return Vertex(self._events, next(self._steps), name)

    @contextlib.contextmanager
    def hurried(self, *, ended: bool = False) -> Iterator[None]:
        """A `with` in which no request waits for another try: nobody wants answers, or they are `ended`."""
        self._hurry.set()
        try:
            if ended:
                self.close()
            yield
        finally:
            self._hurry.clear()

    # --- places --------------------------------------------------------------------------------

    def transport(self, registry: str) -> Transport:
        """The connection to a registry itself, for what belongs to no repository."""
        return self._transport(self._hosts.writer(registry, ""), registry, "")

    def repository(self, ref: ImageRef) -> Repository:
        """The place of a reference in its registry."""
        with self._lock:
            found = self._places.get(str(ref))
        if found is not None:
            return found
        readers = [self._client(e, ref) for e in self._hosts.readers(ref.registry, ref.repository)]
        writer = self._client(self._hosts.writer(ref.registry, ref.repository), ref)
        place = Repository(ref, readers, writer, self._holders(ref.registry), self._found, self._sending)
        with self._lock:
            return self._places.setdefault(str(ref), place)

    def _client(self, endpoint: Endpoint, ref: ImageRef) -> Client:
        name = ref.name
        old, new = endpoint.rewrite
        path = ref.repository
        if old and name.startswith(old):
            path = (new + name[len(old) :]).partition("/")[2]
        return Client(self._transport(endpoint, ref.registry, ref.repository), path, ref.name)

    def _transport(self, endpoint: Endpoint, registry: str, repository: str) -> Transport:
        # Credentials are for the host that is really spoken to. Podman's files may hold one for a single
        # repository: it gets a connection of its own.
        host = registry if endpoint.host == default_endpoint(registry).host else endpoint.host
        scope = self._credentials.scope(host, repository, mirror=endpoint.mirror)
        key = (*endpoint.key, scope)
        with self._lock:
            found = self._transports.get(key)
            if found is None:
                found = self._transports[key] = Transport(
                    endpoint,
                    lambda: self._find(host, repository, endpoint.mirror),
                    connections=4 * self._transfers + 4,
                    timeout_s=self._timeout_s,
                    proxy=self._proxies.proxy_for,
                    wait=self._hurry.wait,
                    retries=self._retries,
                    retry_delay_s=self._retry_delay_s,
                    warn=lambda text: self._events(Warned(rule="", text=text)),
                    tell=lambda text: self._events(Message(text=text)),
                )
            return found

    def _find(self, host: str, repository: str, mirror: bool) -> Credential | None:
        return self._credentials.find(host, repository, mirror=mirror)

    def _holders(self, registry: str) -> Callable[[Digest], list[str]]:
        """What the store remembers of who holds a blob in this registry."""

        def holders(digest: Digest) -> list[str]:
            if self._store is None:
                return []
            prefix = f"{registry}/"
            names = self._store.cache.blob_sources(str(digest))
            return [n.removeprefix(prefix) for n in names if n.startswith(prefix)]

        return holders

    def _found(self, digest: Digest, name: str) -> None:
        if self._store is not None:
            self._store.cache.put_blob_source(str(digest), name)

    # --- reading -------------------------------------------------------------------------------

    def resolve(self, ref: ImageRef, platform: Platform) -> Resolved:
        """What a reference stands for on a platform, with its config; no layer is read.

        A single manifest is taken whatever its platform is, as BuildKit does. A tag is asked for once: all
        platforms of a build are those of one index.

        Raises:
            NotFound: no such image, or none for the platform.
            NotAnImage: it is an artifact.
            RegistryError: the registry refused or failed.
        """
        place = self.repository(ref)
        try:
            root = self._roots.get(str(ref), place.root)
        except NotFound as e:
            raise NotFound(
                f"{ref}: not found", status=e.status, hint=e.hint or f"that is: {e.message}"
            ) from e
        found, documents = choose(place, root, platform)
        manifest = Manifest.parse(documents[found.digest])
        check_image(manifest)
        documents[manifest.config.digest] = place.document(manifest.config)
        return Resolved(descriptor=root, manifest=manifest, documents=documents)

    def fetch_blob(self, ref: ImageRef, d: Descriptor, step: int, cancel: Cancel) -> None:
        """Bring a blob of an image into the store.

        Raises:
            Cancelled: the token was set.
            NotFound: the registry has not got it.
            DigestMismatch: it is not what the descriptor says.
        """
        store = self._need_store()
        last = 0.0

        def tell(current: int) -> None:
            nonlocal last
            cancel.check()
            now = time.monotonic()
            if now - last >= 0.1:
                last = now
                self._events(Progress(step=step, id=str(d.digest), current=current, total=d.size))

        write_pieces(store.blobs, d, self.repository(ref).pieces(d, checked=False), tell)
        self._found(d.digest, ref.name)

    def pull(
        self,
        ref: ImageRef,
        platform: Platform | None = None,
        *,
        default: Platform | None = None,
        attestations: bool = True,
    ) -> Descriptor:
        """Bring an image into the store, without naming it there; returns what the reference stands for.

        Args:
            ref: the image.
            platform: of an index; None for all of it. The index itself is kept as it is.
            default: the same, but a single image is taken whatever its platform is.
            attestations: take along what the index says of its images; without it is another index, or none.

        Raises:
            NotFound: there is no such image, or none for the platform.
        """
        store = self._need_store()
        platforms = (platform,) if platform else ()
        choice = Choice(platforms=platforms, default=default, sparse=True, attestations=attestations)
        return self.copy(self.repository(ref), StorePlace(store), choice, verb="pull")

    # --- writing -------------------------------------------------------------------------------

    def push(
        self,
        ref: ImageRef,
        d: Descriptor,
        elsewhere: Mapping[Digest, ImageSource] | None = None,
        *,
        vertex: Vertex | None = None,
    ) -> Descriptor:
        """Send an image of the store to a registry, under the tag of `ref`.

        Args:
            ref: where to.
            d: the manifest or index.
            elsewhere: where blobs are that the store lacks.
            vertex: what the push is a part of; else it is a vertex of its own.

        Of an index what is there: a single platform as an image of its own.

        Raises:
            NotFound: content is missing in the store.
        """
        source = StorePlace(self._need_store(), ref, d, elsewhere)
        return self.copy(source, self.repository(ref), verb="push", vertex=vertex)

    def copy(
        self,
        source: ImageSource,
        target: ImageTarget,
        choice: Choice | None = None,
        *,
        root: Descriptor | None = None,
        verb: str = "copy",
        vertex: Vertex | None = None,
    ) -> Descriptor:
        """Copy an image from a place to a place and return the descriptor that it has there.

        What is there already costs two HEADs: no document is read, which registries count, and nothing is
        written, which they refuse where tags are immutable. Where a policy is asked, all are read.

        Raises:
            Untrusted: a policy refuses an image.
        """
        choice = choice or Choice()
        shown = {"push": f"push {target.name}", "pull": f"pull {source.name}"}
        name = shown.get(verb) or f"{verb} {source.name} to {target.name}"
        own = vertex is None
        vertex = vertex or self.vertex(name)
        with vertex if own else contextlib.nullcontext():
            there = target.standing() if isinstance(target, Repository) and verb != "push" else None
            if (
                there is not None
                and root is None
                and self.admission is None
                and choice.is_all
                and isinstance(source, Repository)
                and source.digest().digest == there.digest
            ):
                return there
            plan = self._plan(source, target, choice, root, verb)
            if there is not None and there.digest == plan.the_root().digest and not choice.referrers:
                return there
            for line in left_behind(
                source.name, absent=plan.absent, unsaid=plan.unsaid, outdated=plan.outdated
            ):
                self._events(Warned(rule="", text=line))
            held = source.ref.name if isinstance(source, Repository) else ""
            take = None
            if held and there is None and verb != "push" and isinstance(target, Repository):
                take = partial(target.put_blob, unseen=True)

            def finished(d: Descriptor, _how: str) -> None:
                if held:
                    self._found(d.digest, held)

            last = f"pushing manifest for {target.name.partition('@')[0]}@{plan.the_root().digest}"
            return copy_image(
                source,
                target,
                plan,
                step=vertex.number,
                events=self._events,
                transfers=self._transfers,
                slots=self._slots,
                finished=finished,
                standing=there,
                take=take,
                abandoned=partial(self.hurried, ended=True),
                parts=("pushing layers", last) if verb == "push" else ("", ""),
            )

    def _plan(
        self, source: ImageSource, target: ImageTarget, choice: Choice, root: Descriptor | None, verb: str
    ) -> Plan:
        """Read what is to be copied, from where it costs least."""
        if isinstance(target, Repository) and verb != "push":  # a push mends what a registry has lost
            return plan_copy(source, choice, root, known=target.has_manifest, admission=self.admission)
        admission = None if verb == "push" else self.admission
        if not isinstance(target, StorePlace) or not isinstance(source, Repository):
            return plan_copy(source, choice, root, keep_index=target.sparse, admission=admission)
        blobs = self._need_store().blobs

        def read(d: Descriptor) -> bytes:
            return blobs.read(d.digest) if blobs.size(d.digest) == d.size else source.document(d)

        if root is None and self._need_store().find(source.ref) is not None:
            told = source.digest()
            if blobs.has(told.digest):
                root = parse_document(blobs.read(told.digest), told.media_type).descriptor()
        return plan_copy(source, choice, root, read=read, admission=admission)

    def _need_store(self) -> Store:
        if self._store is None:
            raise ValueError("the session has no store")
        return self._store
