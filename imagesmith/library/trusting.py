"""Who vouches for images: signing, verifying, building again what a provenance tells; and logging in.

Trust: keys, passwords and whom to believe are the caller's word; signatures and provenance are strangers'.
Threads: any, several at a time.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imagesmith.events import EventSink, nobody
from imagesmith.library.believing import Believed, Key, opened_key
from imagesmith.library.credentials import Credentials, Insecure, Logins, access_by, registries_of
from imagesmith.library.documented import documented
from imagesmith.library.opening import opened, opened_by
from imagesmith.library.several import several
from imagesmith.options import is_indexed, parse_platforms, parse_secret
from imagesmith.settings import Access, Settings
from imagesmith.transports.names import PlaceName, image_at
from imagesmith.values import frozen

if TYPE_CHECKING:
    from imagesmith.rebuilding import Rebuilt
    from imagesmith.request import BuildRequest
    from imagesmith.trust.signing import Made
    from imagesmith.trust.verifying import Verified
    from imagesmith.worker.sandbox.world import World

__all__ = ["login", "logout", "reproduce", "sign", "verify"]


@documented
def sign(
    ref: str,
    key: Key,
    *,
    password: str | bytes = b"",
    annotations: Mapping[str, str] | None = None,
    form: Literal["both", "bundle", "tag"] = "both",
    recursive: bool = True,
    moving_tag: bool = False,
    identity: str = "",
    time_s: int | None = None,
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> list[Made]:
    """Sign an image with a key, as cosign does; what is signed alike already stays as it is.

    Args:
        ref: the image by its digest, in a registry, a layout or the store.
        key: the private key: its file, or its content as bytes.
        password: of the key.
        annotations: said in the signature.
        form: `bundle` for a referrer, `tag` for cosign's older tags, or both.
        recursive: of an index, sign each image, too.
        moving_tag: sign what a tag stands for now, and say the tag.
        identity: the name in the signature; by default the repository's.
        time_s: when, in seconds since 1970; by default now.

    Returns:
        What was made: with `subject`, `form`, and `new` if it was not there.

    Raises:
        UsageError: it is a tag, which others may move; or the key cannot be opened.
        RegistryError: the signatures cannot be written.

    Example:
        >>> made = imagesmith.sign("registry.example/team/app:1.1", "team.key", moving_tag=True)
        >>> [(one.form, one.new) for one in made]
        [('bundle', True), ('tag', True)]
    """
    from imagesmith.trust.desk import reference_of, sign_at, signing_at
    from imagesmith.trust.signing import FORMS, Signing

    place = PlaceName.parse(ref)
    signing = Signing(
        key=opened_key(key, password),
        reference=reference_of(place, identity=identity, tag=moving_tag),
        forms=FORMS if form == "both" else (form,),
        annotations=dict(annotations or {}),
        time_s=int(time.time()) if time_s is None else time_s,
    )
    with (
        opened(ref, insecure=insecure, credentials=credentials, root=root, events=events) as (session, store),
        signing_at(place, session, store, tag=moving_tag) as desk,
    ):
        return sign_at(desk, signing, recursive=recursive)


@documented
def verify(
    ref: str,
    keys: Key | Iterable[Key] = (),
    *,
    annotations: Mapping[str, str] | None = None,
    trusted_root: Key = "",
    certificate_identity: str = "",
    certificate_identity_regexp: str = "",
    certificate_oidc_issuer: str = "",
    certificate_oidc_issuer_regexp: str = "",
    notation_roots: Iterable[Key] = (),
    notation_identities: Iterable[str] = (),
    notation_tsa_roots: Iterable[Key] = (),
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> tuple[Verified, ...]:
    """The good signatures of an image, of which there is one at least.

    What is verified is a digest: take the image by the one that is returned.

    Args:
        ref: the image: in a registry, a layout, an archive or the store.
        keys: public keys, files or contents as bytes: any one is enough.
        annotations: must be said in it.
        trusted_root: sigstore's trusted_root.json: then signatures without a key count, verified offline.
        certificate_identity, certificate_oidc_issuer: who must have signed so, and who knows them.
        certificate_identity_regexp, certificate_oidc_issuer_regexp: the same as regular expressions.
        notation_roots: certificates: Notation's signatures count that lead to one.
        notation_identities: attributes of the signer's subject, `C=US, ST=WA, O=example`: any one.
        notation_tsa_roots: certificates for the timestamps of those.
        platform: this platform's image by its own signature; by default the index.

    Returns:
        Signatures with `digest`, `signer`, `form`, `time`, `annotations`.

    Raises:
        Untrusted: no signature counts; the message has the reason.
        UsageError: nobody is named whose signature counts.

    Example:
        >>> made = imagesmith.sign("registry.example/team/app:1", "team.key", moving_tag=True)
        >>> imagesmith.verify("registry.example/team/app:1", "team.pub")[0].signer.kind
        'ecdsa-p256'
        >>> imagesmith.verify("registry.example/team/app:1", "other.pub")
        Traceback (most recent call last):
        imagesmith.errors.Untrusted: registry.example/team/app:1: no signature of sha256:... counts: ...
    """
    believed = Believed(
        keys, annotations,
        trusted_root, certificate_identity, certificate_identity_regexp,
        certificate_oidc_issuer, certificate_oidc_issuer_regexp,
        notation_roots, notation_identities, notation_tsa_roots,
    )  # fmt: skip
    with opened(
        ref, insecure=insecure, credentials=credentials, root=root, events=events, spare=True
    ) as (session, store):  # fmt: skip
        return believed.findings(ref, platform, session, store).need()


@documented
def login(
    registry: str,
    credentials: Credentials,
    *,
    authfile: str | Path = "",
    insecure: Insecure = False,
) -> str:
    """Check credentials at a registry, and keep them where docker keeps them, as the command does.

    Calls that are given `credentials` need no login.

    Args:
        registry: host[:port][/path]; `docker.io` for Docker Hub.
        credentials: a user name and a password.
        authfile: where to keep them, instead of the usual file.
        insecure: let the registry speak plain HTTP or show any certificate.

    Returns:
        Where they are kept: a file, or a helper's name.

    Raises:
        Unauthorized: the registry does not accept them.
        RegistryError: it is no registry, or it failed.

    Example:
        >>> ada = imagesmith.Credentials("ada", "secret")
        >>> imagesmith.login("registry.example", ada, authfile="auth.json")
        'auth.json'
    """
    from imagesmith.credentials.dockerconfig import Credentials as Files
    from imagesmith.credentials.login import account_of, keep
    from imagesmith.credentials.model import Credential
    from imagesmith.registry.hosts import hosts_of
    from imagesmith.registry.ping import check

    host, path = account_of(registry)
    trusted = insecure if isinstance(insecure, bool) else frozenset(insecure)
    given = credentials.login
    credential = Credential(given.username, given.secret)
    check(host, credential, hosts_of(Access(insecure=trusted)))
    return keep(host, credential, Files(authfile=str(authfile)), path)


@documented
def logout(registry: str, *, authfile: str | Path = "") -> bool:
    """Forget the credentials for a registry.

    Args:
        registry: host[:port][/path]; `docker.io` for Docker Hub.
        authfile: where they are kept, instead of the usual files.

    Returns:
        True if there were any.

    Example:
        >>> imagesmith.login("registry.example", imagesmith.Credentials("ada", "x"), authfile="auth.json")
        'auth.json'
        >>> imagesmith.logout("registry.example", authfile="auth.json")
        True
    """
    from imagesmith.credentials.dockerconfig import Credentials as Files
    from imagesmith.credentials.login import account_of, forget

    host, path = account_of(registry)
    return forget(host, Files(authfile=str(authfile)), path)


@documented
def reproduce(
    ref: str,
    context: str | Path = "",
    *,
    dockerfile: str | Path | None = None,
    target: str = "",
    build_args: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    contexts: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
    platform: str = "",
    isolation: str = "auto",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> list[Rebuilt]:
    """Build an image again, in a child, and tell whether it is what its sources make.

    Args:
        ref: the image, in any place that `inspect` takes.
        context: what `build` takes; by default what the image's provenance tells.
        dockerfile, target, build_args, labels, contexts, secrets, isolation: as for `build`, over what
            the provenance tells.
        platform: of an index, this platform's image alone; by default all.

    Returns:
        For each image: `platform`, `equal`, and `report` with what differs; or `failure`, why RUN of its
        platform cannot be executed here.

    Raises:
        UsageError: there is no provenance and no context, or something that a build needs is not given.
        ImagesmithError: a build failed, or the image cannot be read.

    Example:
        >>> imagesmith.reproduce("registry.example/team/app:1", "app")[0].equal
        True
    """
    from imagesmith.child import in_child
    from imagesmith.context.named import parse_named
    from imagesmith.request import BuildRequest

    platforms, args = parse_platforms([platform] if platform else []), dict(build_args or {})
    request = BuildRequest(
        context=str(context), dockerfile=str(dockerfile) if dockerfile else None, target=target,
        build_args=args, labels=dict(labels or {}), platforms=platforms,
        indexed=is_indexed(platforms, args), no_cache=(),
        contexts=dict(parse_named(f"{name}={place}") for name, place in (contexts or {}).items()),
        secrets=tuple(map(parse_secret, several(secrets))),
        access=access_by(insecure, credentials, registries_of([ref])),
    )  # fmt: skip
    return in_child(_ReproduceJob(ref, request, str(root)), str(root), isolation, events)


@frozen
class _ReproduceJob:
    """Build an image again; see child.Job."""

    ref: str
    request: BuildRequest
    root: str

    def prepare(self) -> None:
        """See Job."""
        if "SOURCE_DATE_EPOCH" not in self.request.build_args:
            os.environ.pop("SOURCE_DATE_EPOCH", None)  # the image's own epoch counts

    def perform(self, settings: Settings, here: World, events: EventSink) -> list[Rebuilt]:
        """See Job."""
        from imagesmith.rebuilding import rebuild_image

        @contextlib.contextmanager
        def told() -> Iterator[EventSink]:
            yield events

        with (
            opened_by(self.request.access, root=self.root, events=events) as (session, store),
            image_at(self.ref, session, store) as source,
        ):
            return rebuild_image(
                self.ref, source, self.request, store=store, settings=settings, here=here, events=told
            )
