"""The image config document: what a container of the image runs, its history, its layers' diff_ids.

Why: under SOURCE_DATE_EPOCH the document must be BuildKit's to the byte, so `to_bytes` writes its field
order: top-level keys sorted, the fields of `config` in Docker's struct order, empty ones left out.
Spec: OCI image-spec 1.1, config.md; Docker's Healthcheck, OnBuild and Shell beside it.
Trust: read from registries; every field is typed on the way in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imagesmith.errors import InvalidDocument, NotAnImage
from imagesmith.oci.codec import Object, dumps, parse_object
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.mediatype import is_image_config, is_layer
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import Platform
from imagesmith.values import field, frozen

__all__ = [
    "DEFAULT_PATH",
    "Healthcheck",
    "History",
    "ImageConfig",
    "Runtime",
    "chain_id",
    "check_image",
    "config_object",
]

#: What a container has as PATH where its image sets none.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: What Docker 1.10 pushed configs and layers as, where a registry did not know their types.
_OLD_CONFIG = "application/octet-stream"
_OLD_LAYER = "application/vnd.docker.container.image.rootfs.diff+x-gtar"


@frozen(kw_only=True)
class Healthcheck:
    """How to test that a container is well; durations in nanoseconds, 0 = not set."""

    test: tuple[str, ...] = ()
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0

    def to_json(self) -> dict[str, Any]:
        """The object, zeros left out."""
        fields = {
            "Test": list(self.test),
            "Interval": self.interval_ns,
            "Timeout": self.timeout_ns,
            "StartPeriod": self.start_period_ns,
            "StartInterval": self.start_interval_ns,
            "Retries": self.retries,
        }
        return {k: v for k, v in fields.items() if v}

    @classmethod
    def from_json(cls, o: Object) -> Healthcheck:
        """Read the object."""
        return cls(
            test=o.texts("Test") or (),
            interval_ns=o.integer("Interval"),
            timeout_ns=o.integer("Timeout"),
            start_period_ns=o.integer("StartPeriod"),
            start_interval_ns=o.integer("StartInterval"),
            retries=o.integer("Retries"),
        )


@frozen(kw_only=True)
class Runtime:
    """The `config` object: how a container is started. None and empty are the same when written."""

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    onbuild: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object in Docker's field order, maps sorted by key."""
        fields: dict[str, Any] = {
            "User": self.user,
            "ExposedPorts": {p: {} for p in sorted(self.exposed_ports)},
            "Env": list(self.env),
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.cmd),
            "Volumes": {v: {} for v in sorted(self.volumes)},
            "WorkingDir": self.working_dir,
            "Labels": dict(sorted(self.labels.items())),
            "StopSignal": self.stop_signal,
            "ArgsEscaped": self.args_escaped,
            "Healthcheck": self.healthcheck.to_json() if self.healthcheck else None,
            "OnBuild": list(self.onbuild),
            "Shell": list(self.shell),
        }
        return {k: v for k, v in fields.items() if v or (k == "Healthcheck" and v is not None)}

    @classmethod
    def from_json(cls, o: Object) -> Runtime:
        """Read the object."""
        health = o.obj("Healthcheck")
        return cls(
            user=o.text("User"),
            exposed_ports=o.key_set("ExposedPorts"),
            env=o.texts("Env") or (),
            entrypoint=o.texts("Entrypoint") or (),
            cmd=o.texts("Cmd") or (),
            volumes=o.key_set("Volumes"),
            working_dir=o.text("WorkingDir"),
            labels=o.text_map("Labels"),
            stop_signal=o.text("StopSignal"),
            args_escaped=o.boolean("ArgsEscaped"),
            healthcheck=None if health is None else Healthcheck.from_json(health),
            onbuild=o.texts("OnBuild") or (),
            shell=o.texts("Shell") or (),
        )


@frozen(kw_only=True)
class History:
    """One step of the image's making; `created` is RFC 3339 text, empty where not known."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    def to_json(self) -> dict[str, Any]:
        """The object, empty fields left out."""
        fields = {
            "created": self.created,
            "created_by": self.created_by,
            "author": self.author,
            "comment": self.comment,
            "empty_layer": self.empty_layer,
        }
        return {k: v for k, v in fields.items() if v}

    @classmethod
    def from_json(cls, o: Object) -> History:
        """Read the object."""
        return cls(
            created=o.text("created"),
            created_by=o.text("created_by"),
            author=o.text("author"),
            comment=o.text("comment"),
            empty_layer=o.boolean("empty_layer"),
        )


_KNOWN = frozenset(
    (
        "architecture",
        "author",
        "config",
        "created",
        "history",
        "os",
        "os.features",
        "os.version",
        "rootfs",
        "variant",
    )
)


@frozen(kw_only=True)
class ImageConfig:
    """An image config. `extra` holds the top-level fields that the specification does not know."""

    platform: Platform
    created: str = ""
    author: str = ""
    runtime: Runtime = field(default_factory=Runtime)
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[History, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: bytes) -> ImageConfig:
        """Read an image config.

        Raises:
            InvalidDocument: a field of the wrong type, or a malformed diff_id.
        """
        o = config_object(raw)
        rootfs, runtime = o.obj("rootfs"), o.obj("config")
        if rootfs is not None and rootfs.text("type", "layers") != "layers":
            raise InvalidDocument(f"{o.path}: rootfs type {rootfs.text('type')[:50]!r} is not layers")
        return cls(
            platform=Platform.of(
                o.text("os"),
                o.text("architecture"),
                o.text("variant"),
                o.text("os.version"),
                o.texts("os.features") or (),
            ),
            created=o.text("created"),
            author=o.text("author"),
            runtime=Runtime() if runtime is None else Runtime.from_json(runtime),
            diff_ids=() if rootfs is None else _diff_ids(rootfs),
            history=tuple(History.from_json(h) for h in o.objects("history")),
            extra={k: v for k, v in o.data.items() if k not in _KNOWN},
        )

    @classmethod
    def of(cls, manifest: Manifest, document: Callable[[Descriptor], bytes]) -> ImageConfig:
        """The config of what a manifest stands for, which must be an image; `document` reads it.

        Raises:
            NotAnImage: see `check_image`.
            InvalidDocument: see `parse`.
        """
        check_image(manifest)
        return cls.parse(document(manifest.config))

    def to_bytes(self) -> bytes:
        """The document as BuildKit writes it: compact, top-level keys sorted."""
        p = self.platform
        fields: dict[str, Any] = {
            "architecture": p.architecture,
            "author": self.author,
            "os": p.os,
            "os.version": p.os_version,
            "os.features": list(p.os_features),
            "variant": p.variant,
            "history": [h.to_json() for h in self.history],
        }
        out = {k: v for k, v in fields.items() if v}
        out["config"] = self.runtime.to_json()
        out["created"] = self.created or None
        out["rootfs"] = {"type": "layers", "diff_ids": [str(d) for d in self.diff_ids] or None}
        out |= self.extra
        return dumps(dict(sorted(out.items())))


def config_object(raw: bytes) -> Object:
    """The object that an image config is, fields that nobody knows included; errors tell its digest.

    Raises:
        InvalidDocument: it is none.
    """
    return parse_object(raw, f"image config {digest_bytes(raw)}")


def _diff_ids(rootfs: Object) -> tuple[Digest, ...]:
    try:
        return tuple(Digest.parse(d) for d in rootfs.texts("diff_ids") or ())
    except InvalidDocument as e:
        raise InvalidDocument(f"{rootfs.path}: {e}") from e


def check_image(manifest: Manifest) -> None:
    """Refuse a manifest that no image can be made of: Helm charts, signatures, SBOMs, files of ORAS.

    Every place where a manifest becomes an image comes through here.

    Raises:
        NotAnImage: its config, or one of its layers, is something else.
    """
    config = manifest.config.media_type
    if not is_image_config(config) and config != _OLD_CONFIG:
        kind = manifest.artifact_type or config
        raise NotAnImage(f"an artifact of type {kind[:200]}, not an image")
    for layer in manifest.layers:
        kind = layer.media_type
        if not is_layer(kind) and kind != _OLD_LAYER:
            raise NotAnImage(f"an artifact with layers of type {kind[:200]}, not an image")


def chain_id(diff_ids: Sequence[Digest], below: Digest | None = None) -> Digest | None:
    """The digest of a stack of layers, bottom first; None for an empty stack.

    `below` is that of the layers that they lie on.

    Spec: OCI image-spec 1.1, config.md, "Layer ChainID".
    """
    chain = below
    for diff_id in diff_ids:
        if chain is None:
            chain = diff_id
        else:
            chain = Digest("sha256", hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest())
    return chain
