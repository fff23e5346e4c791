"""What is attested of an image, wherever it is: our statements, BuildKit's of any version, and signed ones.

Why by annotations: the index says which manifest is about which image; its form (an artifact, or an image
whose layers are statements) has changed and may again. A single manifest has no index; what a registry lists
as its referrer is read instead.
Spec: buildx's util/imagetools/loader.go for what counts and for the shapes; in-toto Statement v0.1 and v1;
DSSE.
Trust: all of it may come from a registry: sizes, counts and depth are bounded, blobs are held against their
digests, and a statement about another image is refused. Signatures are not looked at here.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from imagesmith.attest.manifest import ARTIFACT
from imagesmith.attest.statement import CYCLONEDX, IN_TOTO, PREDICATE_TYPE, SLSA, SPDX, STATEMENTS
from imagesmith.errors import InvalidDocument, LimitExceeded, NotFound
from imagesmith.interfaces import ImageSource
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import Object, parse_object
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index
from imagesmith.oci.names import Platform, choose_platform
from imagesmith.transports.documents import config_of, document_of
from imagesmith.transports.files import whole_blob
from imagesmith.values import frozen

__all__ = [
    "MAX_STATEMENT_BYTES",
    "Attached",
    "attached_to",
    "predicates_of",
    "shown_provenance",
    "shown_sbom",
]

#: A statement above this is refused.
MAX_STATEMENT_BYTES = 40 << 20
_DSSE = re.compile(r"application/vnd\.in-toto\..*\+dsse")
_DEPTH, _MOST_MANIFESTS, _MOST_STATEMENTS = 4, 1_000, 100


@frozen
class Attached:
    """An image and the manifests of statements about it; its platform as text, empty where nobody says it."""

    image: Descriptor
    platform: str
    manifests: tuple[Descriptor, ...]


def attached_to(source: ImageSource, platform: Platform | None = None) -> list[Attached]:
    """The images of a name, each with what is attached to it, in the index's order.

    Args:
        source: where the name is looked up.
        platform: only the image that serves this one.

    Raises:
        InvalidDocument: an index that nests too deeply, or lists too much.
    """
    root = source.root()
    images: dict[Digest, Descriptor] = {}
    about: dict[str, dict[Digest, Descriptor]] = {}
    is_index = False
    for d in _entries(source, root, 0):
        is_index = is_index or d.digest != root.digest
        if d.about:
            about.setdefault(d.about, {})[d.digest] = d
        elif not d.is_attestation:
            images[d.digest] = d
        if len(images) + sum(map(len, about.values())) > _MOST_MANIFESTS:
            raise InvalidDocument(f"{source.name}: more than {_MOST_MANIFESTS} manifests in its index")
    if not is_index:
        listed = [d for d in source.referrers(root.digest) if d.artifact_type == ARTIFACT]
        about[str(root.digest)] = {d.digest: d for d in listed[:_MOST_MANIFESTS]}
    found = [
        Attached(d, _platform(source, d), tuple(about.get(str(d.digest), {}).values()))
        for d in images.values()
    ]
    if platform is None or not is_index:
        return found
    n = choose_platform(platform, [Platform.parse(a.platform) if a.platform else None for a in found])
    return [] if n is None else [found[n]]


def _entries(source: ImageSource, d: Descriptor, depth: int) -> Iterator[Descriptor]:
    """The images below a descriptor whose manifests are there, and all that is attested of any."""
    if d.media_type not in mt.INDEX_TYPES:
        yield d
        return
    if depth > _DEPTH:
        raise InvalidDocument(f"{source.name}: indexes nested too deeply")
    index = document_of(source, d)
    for child in index.manifests if isinstance(index, Index) else ():
        if child.about or _is_there(source, child):
            yield from _entries(source, child, depth + 1)


def _is_there(source: ImageSource, d: Descriptor) -> bool:
    """True if a place has a manifest, be it without its layers."""
    if not source.lacks(d):
        return True
    try:
        source.document(d)
    except NotFound:
        return False
    return True


def _platform(source: ImageSource, d: Descriptor) -> str:
    if d.platform is not None:
        return str(d.platform)
    document = document_of(source, d)
    if isinstance(document, Index) or not mt.is_image_config(document.config.media_type):
        return ""
    return str(config_of(source, document).platform)


def predicates_of(source: ImageSource, attached: Attached, kinds: Sequence[str]) -> list[tuple[str, Any]]:
    """The predicates about an image whose types begin with one of some words, with their types, in order.

    Raises:
        NotFound: a manifest of statements, or one of the statements, is not where the image is.
        LimitExceeded: a statement is too large, or there are too many.
        InvalidDocument: it is no statement, or one about another image.
    """
    out = []
    for d in attached.manifests:
        with _told(source, attached, f"attestation manifest {d.digest}"):
            manifest = document_of(source, d)
        if isinstance(manifest, Index):
            continue
        for layer in manifest.layers:
            kind = layer.annotations.get(PREDICATE_TYPE, "")
            signed = _DSSE.fullmatch(layer.media_type) is not None
            if (layer.media_type == IN_TOTO or signed) and kind.startswith(tuple(kinds)):
                what = f"{source.name}: statement {layer.digest}"
                with _told(source, attached, f"statement {layer.digest}"):
                    raw = whole_blob(source, layer, MAX_STATEMENT_BYTES, what)
                payload = _payload(raw, what) if signed else raw
                out.append((kind, _predicate(payload, what, attached.image)))
                if len(out) > _MOST_STATEMENTS:
                    raise LimitExceeded(f"{source.name}: more than {_MOST_STATEMENTS} statements")
    return out


@contextlib.contextmanager
def _told(source: ImageSource, attached: Attached, what: str) -> Iterator[None]:
    """Say of what is missing that it was attested: an image about which nothing is said is another matter."""
    try:
        yield
    except NotFound as e:
        about = attached.platform or str(attached.image.digest)
        raise NotFound(
            f"{source.name}: {what} about {about} is listed, but not there",
            hint="copy or pull the image again from where it is whole",
        ) from e


def _payload(raw: bytes, what: str) -> bytes:
    """The statement in a signed envelope."""
    envelope = parse_object(raw, what)
    envelope.need_text("payload")
    return envelope.data_of("payload")


def _predicate(raw: bytes, what: str, image: Descriptor) -> Any:  # noqa: ANN401 - whatever JSON can hold
    document = parse_object(raw, what)
    if document.text("_type") not in STATEMENTS:
        raise InvalidDocument(f"{what}: not an in-toto statement of a known version")
    subjects = document.objects("subject")
    if subjects and not any(_names(subject, image.digest) for subject in subjects):
        raise InvalidDocument(f"{what}: is about another image than {image.digest}")
    return document.need_obj("predicate").data


def _names(subject: Object, digest: Digest) -> bool:
    digests = subject.obj("digest")
    return digests is not None and digests.text(digest.algorithm) == digest.hex


_Look = Callable[[ImageSource, Attached], dict[str, Any]]


def shown_provenance(source: ImageSource, platform: Platform | None = None) -> dict[str, Any]:
    """Provenance as imagetools shows it: `{"SLSA": …}`; of several platforms a map of that."""
    return _shown(source, platform, _provenance)


def shown_sbom(source: ImageSource, platform: Platform | None = None) -> dict[str, Any]:
    """SBOMs as imagetools shows them: `{"SPDX": …, "AdditionalSPDXs": […]}`; of several platforms a map.

    One that is CycloneDX stands beside them, as `CycloneDX`.
    """
    return _shown(source, platform, _sbom)


def _shown(source: ImageSource, platform: Platform | None, look: _Look) -> dict[str, Any]:
    attached = attached_to(source, platform)
    if len(attached) == 1:
        return look(source, attached[0])
    shown = {one.platform or str(one.image.digest): look(source, one) for one in attached}
    return {platform: found for platform, found in shown.items() if found}


def _provenance(source: ImageSource, one: Attached) -> dict[str, Any]:
    found = predicates_of(source, one, (SLSA,))
    return {"SLSA": found[0][1]} if found else {}


def _sbom(source: ImageSource, one: Attached) -> dict[str, Any]:
    found = predicates_of(source, one, (SPDX, CYCLONEDX))
    spdx = [predicate for kind, predicate in found if kind.startswith(SPDX)]
    others = [predicate for kind, predicate in found if kind.startswith(CYCLONEDX)]
    out: dict[str, Any] = {"SPDX": spdx[0]} if spdx else {}
    if spdx[1:]:
        out["AdditionalSPDXs"] = spdx[1:]
    if others:
        out["CycloneDX"] = others[0]
    return out
