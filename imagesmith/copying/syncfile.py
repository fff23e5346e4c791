r"""`skopeo sync`'s lists in YAML: registries, what of each is wanted, and how it is reached.

    registry.example:
      images:
        team/app: ["1.0", "sha256:…"]
        team/tools: []
      images-by-tag-regex:
        team/base: ^3\.
      images-by-semver:
        team/db: ">= 15, < 18"
      credentials: {username: me, password: secret}
      tls-verify: false

Why: whoever mirrors with skopeo has one. An empty list is all tags, as there; a regular expression may stand
anywhere in a tag.
Spec: skopeo-sync(1), "YAML file content".
Trust: the file is the user's own; bake/yamltree.py bounds it. Its passwords stand in no message.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from imagesmith.bake.places import Source, Span, fault
from imagesmith.bake.yamltree import Map, Node, Scalar, Sequence, read_documents, text_of_scalar
from imagesmith.copying.lists import below
from imagesmith.copying.patterns import Tags
from imagesmith.copying.tagging import Wanted
from imagesmith.errors import DefinitionError, UsageError
from imagesmith.oci.names import ImageRef
from imagesmith.settings import Access, Login
from imagesmith.transports.names import PlaceName
from imagesmith.values import frozen, replace

__all__ = ["Reached", "SyncFile", "read_sync"]

_KEYS = ("images", "images-by-tag-regex", "images-by-semver", "credentials", "tls-verify", "cert-dir")


@frozen(kw_only=True)
class Reached:
    """How a registry is reached; what is None is as for all."""

    login: Login | None = None
    verify: bool | None = None
    cert_dir: str = ""

    def access(self, base: Access) -> Access:
        """The same with the rest of what counts for all."""
        return replace(
            base,
            login=base.login if self.login is None else self.login,
            insecure=base.insecure if self.verify is None else not self.verify,
            cert_dir=self.cert_dir or base.cert_dir,
        )


@frozen(kw_only=True)
class SyncFile:
    """A list: what is wanted, in its order, and how registries are reached."""

    wanted: tuple[Wanted, ...]
    reached: dict[str, Reached]


def read_sync(text: str, name: str, prefix: str, *, scoped: bool = False) -> SyncFile:
    """Read a list.

    Args:
        text: the YAML.
        name: what it is called in messages.
        prefix, scoped: where images go; see `below`.

    Raises:
        UsageError: it is none, with its line; or there is no prefix.
    """
    if not prefix:
        raise UsageError(f"{name}: nothing says where to", hint="--to PREFIX")
    try:
        return _read(Source(name, text), prefix, scoped)
    except DefinitionError as e:  # without the lines around it, where passwords may stand
        raise UsageError(f"{name}:{max(e.line, 1)}: {e.message}", hint=e.hint) from e


def _read(source: Source, prefix: str, scoped: bool) -> SyncFile:
    wanted: list[Wanted] = []
    reached: dict[str, Reached] = {}
    for document in read_documents(source):
        for registry, node in _map(document).items.items():
            fields = _map(node)
            for key, span in fields.keys.items():
                if key not in _KEYS:
                    raise fault(span, f"{key} is not known; a registry has {', '.join(_KEYS)}")
            reached[registry] = _reached(fields)
            wanted += _wanted(registry, fields, prefix, scoped)
    return SyncFile(wanted=tuple(wanted), reached={k: v for k, v in reached.items() if v != Reached()})


def _wanted(registry: str, fields: Map, prefix: str, scoped: bool) -> Iterator[Wanted]:
    for repository, node in _map(fields.items.get("images")).items.items():
        tags = [_text(item) for item in _items(node)]
        for tag in tags:
            mark = "@" if tag.startswith("sha256:") else ":"
            yield _line(f"{registry}/{repository}{mark}{tag}", node.span, prefix, scoped)
        if not tags:
            yield _line(f"{registry}/{repository}", node.span, prefix, scoped, Tags())
    for key, pattern in (("images-by-tag-regex", "regex:.*(?:{}).*"), ("images-by-semver", "semver:{}")):
        for repository, node in _map(fields.items.get(key)).items.items():
            try:
                tags_of = Tags((pattern.format(_text(node)),)).checked()
            except UsageError as e:
                raise fault(node.span, e.message) from e
            yield _line(f"{registry}/{repository}", node.span, prefix, scoped, tags_of)


def _line(text: str, span: Span, prefix: str, scoped: bool, tags: Tags | None = None) -> Wanted:
    try:
        image = ImageRef.parse(text)
        target = below(prefix, image, scoped=scoped)
    except UsageError as e:
        raise fault(span, e.message) from e
    return Wanted(source=PlaceName(kind="registry", image=image), target=target, tags=tags)


def _reached(fields: Map) -> Reached:
    login, verify = None, fields.items.get("tls-verify")
    if (node := fields.items.get("credentials")) is not None:
        given = _map(node).items
        user, password = (_text(given[k]) if k in given else "" for k in ("username", "password"))
        if not user:
            raise fault(node.span, "credentials need a username")
        login = Login("basic", user, password)
    if verify is not None and not (isinstance(verify, Scalar) and isinstance(verify.value, bool)):
        raise fault(verify.span, "tls-verify is true or false")
    folder = fields.items.get("cert-dir")
    path = "" if folder is None else _text(folder)
    if folder is not None and not os.path.isdir(path):
        raise fault(folder.span, f"cert-dir {path}: no such folder")
    return Reached(
        login=login,
        verify=None if verify is None else bool(verify.value),
        cert_dir=path,
    )


def _map(node: Node | None) -> Map:
    """A mapping; an empty one for nothing."""
    if isinstance(node, Map):
        return node
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return Map(span=node.span if node is not None else Span(Source("", ""), 0, 0), items={})
    raise fault(node.span, "a mapping is expected")


def _items(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Sequence):
        return node.items
    if isinstance(node, Scalar) and node.value is None:
        return ()
    raise fault(node.span, "a list of tags is expected")


def _text(node: Node) -> str:
    if not isinstance(node, Scalar):
        raise fault(node.span, "a text is expected")
    return text_of_scalar(node.value)
