"""What every call opens: a session with registries and the store, in a `with`.

Threads: each call has its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.events import EventSink, Warned
from imagesmith.library.credentials import Insecure, Logins, access_by, registries_of
from imagesmith.oci.names import Platform, host_platform
from imagesmith.settings import Access, Settings
from imagesmith.store.opening import open_store
from imagesmith.transports.transfer import Session

if TYPE_CHECKING:
    from imagesmith.interfaces import Admission
    from imagesmith.store.store import Store

__all__ = ["admission_by", "opened", "opened_by", "platform_or_host", "platform_or_none"]


def admission_by(policy: str | Path, settings: Settings) -> Admission | None:
    """Who is asked about images, by an argument or by the settings; None where there is no policy.

    Raises:
        UsageError: the policy cannot be read, or is none.
    """
    chosen = settings.policy_for(str(policy))
    if not chosen:
        return None
    from imagesmith.trust import admission

    return admission.admission_by(chosen)


@contextlib.contextmanager
def opened(
    *names: str,
    insecure: Insecure,
    credentials: Logins | None,
    root: str | Path,
    events: EventSink,
    policy: str | Path = "none",
    spare: bool = False,
) -> Iterator[tuple[Session, Store]]:
    """A session and the store.

    Args:
        names: the places that the call names: a single login is for their registries.
        insecure, credentials, root, events, policy: what the call was given.
        spare: it only looks, and goes on where the store cannot be used.
    """
    access = access_by(insecure, credentials, registries_of(names))
    with opened_by(access, root=root, events=events, policy=policy, spare=spare) as found:
        yield found


@contextlib.contextmanager
def opened_by(
    access: Access, *, root: str | Path, events: EventSink, policy: str | Path = "none", spare: bool = False
) -> Iterator[tuple[Session, Store]]:
    """The same, where it is known how registries are reached."""
    settings = Settings.load(str(root))
    with (
        open_store(settings.root, spare=_warner(events) if spare else None) as store,
        Session(
            store, access=access, events=events, transfers=settings.transfers,
            admission=admission_by(policy, settings),
        ) as session,
    ):  # fmt: skip
        yield session, store


def _warner(events: EventSink) -> Callable[[str], None]:
    return lambda text: events(Warned(rule="", text=text))


def platform_or_none(text: str) -> Platform | None:
    """The platform that is named, if one is."""
    return Platform.parse(text) if text else None


def platform_or_host(text: str) -> Platform:
    """The platform that is named, or this machine's."""
    return Platform.parse(text) if text else host_platform()
