"""`build --sign`: what a build pushed is signed, as `imagesmith sign` does it."""

from __future__ import annotations

import argparse

from imagesmith.cli.keyflags import open_key
from imagesmith.cli.signflags import time_now
from imagesmith.errors import UsageError
from imagesmith.export.writing import access_of
from imagesmith.image.result import BuildResult
from imagesmith.request import BuildRequest
from imagesmith.settings import Settings
from imagesmith.store.store import Store
from imagesmith.transports.names import PlaceName
from imagesmith.transports.transfer import Session
from imagesmith.trust.desk import sign_at, signing_at
from imagesmith.trust.signing import Signing

__all__ = ["Signer"]


class Signer:
    """A key that is open before anything is built."""

    def __init__(self, args: argparse.Namespace, request: BuildRequest) -> None:
        """Open the key.

        Raises:
            UsageError: it cannot be opened, or nothing is pushed.
        """
        if not any(output.pushes for output in request.outputs):
            raise UsageError("--sign signs what is pushed, and nothing is", hint="--push pushes each --tag")
        self._key = open_key(args.sign, args.sign_password_file, "--sign")
        self._access = access_of(request)

    def sign(self, built: BuildResult, settings: Settings) -> None:
        """Sign what was pushed, by its digest, in both forms: each image, and the index of several.

        Raises:
            RegistryError: the signatures cannot be written; the image is there by then.
        """
        with (
            Store(settings.root) as store,
            Session(store, access=self._access, transfers=settings.transfers) as session,
        ):
            for ref in built.pushed:
                place = PlaceName(kind="registry", image=ref)
                signing = Signing(key=self._key, reference=ref.name, time_s=time_now())
                with signing_at(place, session, store, tag=True) as desk:
                    sign_at(desk, signing)
