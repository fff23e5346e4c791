"""Where things are and how large they may be: one frozen value, made once from the environment.

Why: no module below reads the environment for itself, so that a build depends only on what it was given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from imagesmith.quotas import threads
from imagesmith.values import field, frozen

__all__ = ["MACHINE", "NO_POLICY", "USER", "Access", "Login", "Settings", "home_folder"]

#: The id of who started this process: in a namespace that it enters later (worker/sandbox/world.py), it has
#: another.
USER = os.geteuid()
#: The word for no policy, where a file of one could stand.
NO_POLICY = "none"
#: The word for the policy that containers' tools have on this machine, where a file of one could stand.
MACHINE = "machine"


@frozen
class Login:
    """Who a command says it is, to every registry that it speaks to for itself; mirrors are not told.

    `nobody` shows no credential, `basic` a name and a password, `bearer` the secret as a token.
    """

    kind: Literal["nobody", "basic", "bearer"] = "nobody"
    username: str = ""
    secret: str = field(default="", shown=False)


@frozen(kw_only=True)
class Access:
    """How registries are reached, and by whose word they are trusted; what is empty the machine's files say.

    insecure         plain HTTP, or any certificate: for every registry, or for those that are named
    authfile         a file of credentials, instead of the usual ones
    cert_dir         a folder of certificates for every registry, beside those of the machine
    registries_conf  mirrors and trust, instead of the machine's
    hosts_dir        a folder like /etc/containerd/certs.d, looked into before the machine's
    login            who this is, whatever the files say; None for what they say
    retries          how often a request that failed is tried again; -1 for as often as is worth it
    retry_delay_s    the pause (seconds) before each; 0 for one that grows
    logins           the same for each registry: files say nothing then, and others are shown nothing
    """

    insecure: bool | frozenset[str] = False
    authfile: str = ""
    cert_dir: str = ""
    registries_conf: str = ""
    hosts_dir: str = ""
    login: Login | None = None
    retries: int = -1
    retry_delay_s: float = 0.0
    logins: tuple[tuple[str, Login], ...] | None = None


@frozen(kw_only=True)
class Settings:
    """Paths, sizes of pools, and the switches that the environment gives.

    root       the store's folder
    instead    why that is not where a store usually is, in words; empty if it is, or was chosen
    workers    threads that compress and hash
    transfers  blobs moved at the same time
    ci         True where `CI` is set: tags of base images are resolved anew on every build
    policy     the file of the policy that images are under where a command names none, by IMAGESMITH_POLICY;
               MACHINE for the machine's, empty or NO_POLICY for none
    """

    root: Path
    instead: str = ""
    workers: int = 2
    transfers: int = 4
    ci: bool = False
    policy: str = ""

    @classmethod
    def load(cls, root: str = "") -> Settings:
        """The settings of this process: `root` wins over IMAGESMITH_ROOT over the XDG data folder.

        Where that cannot be made (a read-only root, a user without a home, as pods have them), the store is
        the user's own folder among the temporary ones.
        """
        env = os.environ
        chosen, instead = root or env.get("IMAGESMITH_ROOT", ""), ""
        if not chosen:
            chosen, instead = _usual(env)
        return cls(
            root=Path(chosen).absolute(),
            instead=instead,
            workers=threads(),
            ci=bool(env.get("CI")),
            policy=env.get("IMAGESMITH_POLICY", ""),
        )

    def policy_for(self, given: str) -> str:
        """The policy of a command: what it names, or else the setting; empty for none."""
        chosen = given or self.policy
        return "" if chosen == NO_POLICY else chosen


def home_folder() -> Path | None:
    """The user's home, by HOME or by name; None for one who has neither, as pods may run anybody."""
    import pwd

    home = os.environ.get("HOME", "")
    try:
        return Path(home or pwd.getpwuid(USER).pw_dir)
    except KeyError:
        return None


def _usual(env: Mapping[str, str]) -> tuple[str, str]:
    """Where the store is if nobody said so, and why it is not in the data folder."""
    import tempfile

    given, home, why = env.get("XDG_DATA_HOME"), home_folder(), "this user has no home"
    if given or home is not None:
        usual = Path(given or f"{home}/.local/share") / "imagesmith"
        there = next(p for p in (usual, *usual.absolute().parents) if os.path.exists(p))
        if os.access(there, os.W_OK | os.X_OK):
            return str(usual), ""
        why = f"{usual} cannot be {'written' if there == usual else 'made'}"
    return os.path.join(tempfile.gettempdir(), f"imagesmith-{USER}"), why
