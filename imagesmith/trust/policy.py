"""`policy.json` of containers: which images may be used, by where they come from, and by who signed them.

Why its own words: the file is the one that podman, skopeo, buildah and CRI-O read on the same machine.
Spec: containers-policy.json(5); containers/image, signature/policy_config*.go, and each transport's scopes.
Trust: the file is the user's. It is read as strictly as there: a key that is not known, or stands twice,
refuses the whole file, so that a slip of the pen never trusts more than was meant.
Threads: any; a policy is a value.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path

from imagesmith.errors import InvalidDocument, UsageError, reason_of
from imagesmith.oci.codec import Object, parse_object
from imagesmith.oci.identity import Identity
from imagesmith.trust.identities import SignedIdentity
from imagesmith.values import frozen

__all__ = ["Certified", "Given", "Policy", "Requirement", "SigstoreSigned", "scopes_of"]

_MOST_BYTES = 4 << 20
#: Fields of which one must be there: where public keys, and where the log's keys are.
_KEYS = ("keyPath", "keyPaths", "keyData", "keyDatas")
_REKOR = ("rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas")
_GPG = ("keyPath", "keyPaths", "keyData")
_GPG_TYPES = ("GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs")
#: Transports whose scopes are folders or files, and those that have none.
_BY_PATH = frozenset(("dir", "oci", "oci-archive"))
_WITHOUT_SCOPES = frozenset(("docker-archive", "tarball"))


@frozen
class Given:
    """A file of the user's: where it is, or what is in it; `name` is what messages call it."""

    name: str
    path: str = ""
    data: bytes = b""

    def read(self) -> bytes:
        """What is in it.

        Raises:
            UsageError: it cannot be read, or is too large for what it should be.
        """
        if not self.path:
            return self.data
        try:
            with open(self.path, "rb") as f:
                found = f.read(_MOST_BYTES + 1)
        except OSError as e:
            raise UsageError(f"cannot read {self.path}, which the policy names: {reason_of(e)}") from e
        if len(found) > _MOST_BYTES:
            raise UsageError(f"{self.path}, which the policy names, has more than {_MOST_BYTES} bytes")
        return found


@frozen(kw_only=True)
class Certified:
    """Signers who are known by certificates: `fulcio` (issuer and email must fit) or `pki` (email or host).

    roots, between   who is trusted, and what may stand between
    issuer           who knows a signer of fulcio
    email, host      who signs; empty where that is left open
    """

    kind: str
    roots: Given
    between: Given | None = None
    issuer: str = ""
    email: str = ""
    host: str = ""


@frozen(kw_only=True)
class SigstoreSigned:
    """A requirement of a signature: one of the keys, or a certificate; a log's entry if `rekor` has keys."""

    keys: tuple[Given, ...] = ()
    certified: Certified | None = None
    rekor: tuple[Given, ...] = ()
    identity: SignedIdentity

    @property
    def by(self) -> str:
        """Whose signature that is, for messages."""
        if self.certified is not None:
            return f"{self.certified.kind} {self.certified.email or self.certified.host}"
        return " or ".join(k.name for k in self.keys)


@frozen
class Requirement:
    """What an image under a scope must fulfil: its type, and of `sigstoreSigned` all about it."""

    type: str
    signed: SigstoreSigned | None = None

    @classmethod
    def from_json(cls, o: Object) -> Requirement:
        """Read a requirement; those that cannot be fulfilled here are read, too.

        Raises:
            InvalidDocument: it is none.
        """
        kind = o.need_text("type")
        if kind in ("insecureAcceptAnything", "reject"):
            o.only("type")
        elif kind == "signedBy":
            o.only("type", "keyType", "signedIdentity", *_GPG)
            if o.need_text("keyType") not in _GPG_TYPES:
                raise InvalidDocument(f"{o.path}: unknown keyType {o.text('keyType')[:100]!r}")
            if not _given(o, _GPG):
                raise InvalidDocument(f"{o.path}: must have one of {', '.join(_GPG)}")
            _identity(o)
        elif kind == "signedBaseLayer":
            o.only("type", "baseLayerIdentity")
            SignedIdentity.from_json(o.need_obj("baseLayerIdentity"))
        elif kind == "sigstoreSigned":
            return cls(kind, _sigstore(o))
        else:
            raise InvalidDocument(f"{o.path}: unknown type {kind[:100]!r}")
        return cls(kind)


@frozen
class Policy:
    """A policy: what holds where no scope fits, and by transport what holds for scopes.

    `name` is what messages call it: its file.
    """

    name: str
    default: tuple[Requirement, ...]
    transports: Mapping[str, Mapping[str, tuple[Requirement, ...]]]

    @classmethod
    def parse(cls, raw: bytes, name: str) -> Policy:
        """Read a policy.

        Raises:
            InvalidDocument: it is none; see the module.
        """
        o = parse_object(raw, name, exact=True)
        o.only("default", "transports")
        transports: dict[str, dict[str, tuple[Requirement, ...]]] = {}
        found = o.obj("transports")
        for transport in found.data if found is not None else ():
            assert found is not None
            scopes = found.need_obj(transport)
            for scope in scopes.data:
                _check_scope(scopes.path, transport, scope)
            transports[transport] = {scope: _requirements(scopes, scope) for scope in scopes.data}
        return cls(name, _requirements(o, "default"), transports)

    @classmethod
    def load(cls, path: str) -> Policy:
        """Read a policy's file.

        Raises:
            UsageError: it cannot be read, or is no policy.
        """
        try:
            with Path(path).open("rb") as f:
                raw = f.read(_MOST_BYTES + 1)
        except OSError as e:
            raise UsageError(f"cannot read the policy {path}: {reason_of(e)}") from e
        except ValueError as e:
            raise UsageError(f"cannot read the policy {path!r}: {e}") from e
        if len(raw) > _MOST_BYTES:
            raise UsageError(f"the policy {path} has more than {_MOST_BYTES} bytes")
        try:
            return cls.parse(raw, path)
        except InvalidDocument as e:
            raise UsageError(e.message, hint=e.hint) from e

    def for_image(self, identity: Identity) -> tuple[str, tuple[Requirement, ...]]:
        """The scope that decides about an image, in words, and its requirements, all of which must hold."""
        scopes = self.transports.get(identity.transport, {})
        for scope in scopes_of(identity):
            if scope in scopes:
                shown = f"{identity.transport} {scope}" if scope else f"all of {identity.transport}"
                return shown, scopes[scope]
        return "default", self.default


def scopes_of(identity: Identity) -> Iterator[str]:
    """The scopes of its transport that an image is in, the narrowest first; the last is the empty one."""
    ref = identity.ref
    if ref is not None:
        yield f"{ref.name}@{ref.digest}" if ref.digest else f"{ref.name}:{ref.tag or 'latest'}"
        name, slash = ref.name, "/"
        while slash:
            yield name
            name, slash, _ = name.rpartition("/")
        host, dot = ref.registry.partition(":")[0], "."
        while dot:
            _, dot, host = host.partition(".")
            if dot:
                yield f"*.{host}"
    elif identity.transport in _BY_PATH:
        path = identity.path
        while path not in ("", "/"):
            yield path
            path = path.rpartition("/")[0]
    yield ""


def _requirements(o: Object, key: str) -> tuple[Requirement, ...]:
    found = o.objects(key)
    if not found:
        raise InvalidDocument(f"{o.path}: {key[:200] or 'the empty scope'}: must be a list of requirements")
    return tuple(map(Requirement.from_json, found))


def _check_scope(what: str, transport: str, scope: str) -> None:
    """Refuse a scope that no image of its transport can be in."""
    if not scope:
        return
    if transport in _WITHOUT_SCOPES:
        raise InvalidDocument(f"{what}: {scope[:200]!r}: this transport has no scope but the empty one")
    plain = (
        posixpath.isabs(scope) and scope != "/" and "//" not in scope and posixpath.normpath(scope) == scope
    )
    if transport in _BY_PATH and not plain:
        raise InvalidDocument(
            f"{what}: {scope[:200]!r} is no absolute path below /, or not in its shortest form"
        )


def _sigstore(o: Object) -> SigstoreSigned:
    o.only("type", "fulcio", "pki", "signedIdentity", *_KEYS, *_REKOR)
    keys, rekor = _given(o, _KEYS), _given(o, _REKOR)
    fulcio, pki = o.obj("fulcio"), o.obj("pki")
    if sum((bool(keys), fulcio is not None, pki is not None)) != 1:
        raise InvalidDocument(f"{o.path}: must have one of {', '.join(_KEYS)}, fulcio, pki")
    if fulcio is not None and not rekor:
        raise InvalidDocument(f"{o.path}: fulcio needs one of {', '.join(_REKOR)}")
    certified = _fulcio(fulcio) if fulcio is not None else _pki(pki) if pki is not None else None
    return SigstoreSigned(keys=keys, certified=certified, rekor=rekor, identity=_identity(o))


def _fulcio(o: Object) -> Certified:
    o.only("caPath", "caData", "oidcIssuer", "subjectEmail")
    roots = _given(o, ("caPath", "caData"))
    if not roots:
        raise InvalidDocument(f"{o.path}: must have one of caPath, caData")
    return Certified(
        kind="fulcio", roots=roots[0], issuer=o.need_text("oidcIssuer"), email=o.need_text("subjectEmail")
    )


def _pki(o: Object) -> Certified:
    between = ("caIntermediatesPath", "caIntermediatesData")
    o.only("caRootsPath", "caRootsData", *between, "subjectEmail", "subjectHostname")
    roots, others = _given(o, ("caRootsPath", "caRootsData")), _given(o, between)
    if not roots:
        raise InvalidDocument(f"{o.path}: must have one of caRootsPath, caRootsData")
    email, host = o.text("subjectEmail"), o.text("subjectHostname")
    if not email and not host:
        raise InvalidDocument(f"{o.path}: must have subjectEmail or subjectHostname")
    return Certified(
        kind="pki", roots=roots[0], between=others[0] if others else None, email=email, host=host
    )


def _identity(o: Object) -> SignedIdentity:
    """The rule for names; where it is left out the strictest that fits tags and digests."""
    found = o.obj("signedIdentity")
    if found is None and "signedIdentity" in o.data:
        raise InvalidDocument(f"{o.path}: signedIdentity must be an object")
    return SignedIdentity() if found is None else SignedIdentity.from_json(found)


def _given(o: Object, keys: tuple[str, ...]) -> tuple[Given, ...]:
    """The files of one of several fields; none where none of them is there.

    Raises:
        InvalidDocument: there is more than one, or it is empty.
    """
    there = [key for key in keys if key in o.data]
    if len(there) > 1:
        raise InvalidDocument(f"{o.path}: {there[0]} and {there[1]} exclude each other")
    if not there:
        return ()
    (key,) = there
    texts = (o.texts(key) or ()) if key.endswith("s") else (o.text(key),)
    if not texts or not all(texts):
        raise InvalidDocument(f"{o.path}: {key} is empty")
    if "Path" in key:
        return tuple(Given(text, path=text) for text in texts)
    datas = (Object({key: text}, o.path).data_of(key) for text in texts)
    several = len(texts) > 1
    return tuple(Given(f"{key}[{n}]" if several else key, data=data) for n, data in enumerate(datas))
