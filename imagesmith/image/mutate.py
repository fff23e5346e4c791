"""New values in configs, labels and annotations; layers stay as they are.

Why: the config is changed as the JSON that it is, so that fields we do not know, and their order, stay.
Spec: OCI image-spec 1.1, config.md; Docker's fields beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from imagesmith.errors import InvalidDocument, UsageError
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import dumps
from imagesmith.oci.config import config_object
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import Platform
from imagesmith.values import field, frozen, replace

__all__ = ["Changes", "rebuilt"]

_PORT = re.compile(r"\d{1,5}(?:/(?:tcp|udp|sctp))?")


@frozen(kw_only=True)
class Changes:
    """What `mutate` is asked to change; None leaves a field alone, an empty value removes it.

    Maps set a key to a value, or remove it where the value is empty.
    """

    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    user: str | None = None
    workdir: str | None = None
    stop_signal: str | None = None
    created: str | None = None
    author: str | None = None
    platform: Platform | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[str, ...] | None = None
    volumes: tuple[str, ...] | None = None

    def apply(self, manifest: Manifest, config: bytes) -> tuple[Manifest, bytes]:
        """The manifest and config with the changes in."""
        document = config_object(config).data
        self._top(document)
        runtime = document.get("config")
        document["config"] = self._runtime(dict(runtime) if isinstance(runtime, dict) else {})
        raw = dumps(document)
        annotations = _merged(manifest.annotations, self.annotations)
        return rebuilt(manifest, raw, annotations=annotations), raw

    def _top(self, document: dict[str, Any]) -> None:
        for key, value in (("created", self.created), ("author", self.author)):
            if value is not None:
                _set(document, key, value)
        if self.platform is not None:
            document["os"], document["architecture"] = self.platform.os, self.platform.architecture
            _set(document, "variant", self.platform.variant)

    def _runtime(self, runtime: dict[str, Any]) -> dict[str, Any]:
        if self.entrypoint is not None:
            _set(runtime, "Entrypoint", list(self.entrypoint))
        if self.cmd is not None:
            _set(runtime, "Cmd", list(self.cmd))
        for key, value in (
            ("User", self.user), ("WorkingDir", self.workdir), ("StopSignal", self.stop_signal),
        ):  # fmt: skip
            if value is not None:
                _set(runtime, key, value)
        if self.env:
            _set(runtime, "Env", _environment(runtime.get("Env"), self.env))
        if self.labels:
            labels = runtime.get("Labels")
            _set(runtime, "Labels", _merged(labels if isinstance(labels, dict) else {}, self.labels))
        if self.ports is not None:
            _set(runtime, "ExposedPorts", {_port(p): {} for p in sorted(self.ports)})
        if self.volumes is not None:
            _set(runtime, "Volumes", {v: {} for v in sorted(self.volumes)})
        return runtime


def _set(document: dict[str, Any], key: str, value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    if value:
        document[key] = value
    else:
        document.pop(key, None)


def _merged(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted((k, v) for k, v in {**old, **new}.items() if v or k not in new))


def _environment(old: object, new: Mapping[str, str]) -> list[str]:
    """Variables changed in their place, new ones at the end, empty ones gone."""
    left = dict(new)
    out = []
    for entry in old if isinstance(old, list) else []:
        name = str(entry).partition("=")[0]
        if name not in new:
            out.append(str(entry))
        elif left.pop(name, ""):
            out.append(f"{name}={new[name]}")
    return out + [f"{name}={value}" for name, value in left.items() if value]


def _port(text: str) -> str:
    if not _PORT.fullmatch(text):
        raise UsageError(f"{text!r} is no port: give NUMBER[/tcp|udp|sctp]")
    return text if "/" in text else f"{text}/tcp"


def rebuilt(
    manifest: Manifest,
    config: bytes,
    *,
    layers: Sequence[Descriptor] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """A manifest with another config, and perhaps other layers and annotations.

    Raises:
        InvalidDocument: Docker's manifests have no annotations.
    """
    notes = manifest.annotations if annotations is None else annotations
    if notes and manifest.media_type == mt.DOCKER_MANIFEST:
        raise InvalidDocument(
            "manifests of Docker's type have no annotations", hint="copy it with --format oci first"
        )
    return Manifest.build(
        replace(manifest.config, digest=digest_bytes(config), size=len(config), data=""),
        manifest.layers if layers is None else layers,
        media_type=manifest.media_type,
        subject=manifest.subject,
        artifact_type=manifest.artifact_type,
        annotations=notes,
    )
