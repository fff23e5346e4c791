"""`--ssh ID=KEYFILE,…`: the keys get an agent of ours, for as long as a build lasts.

Why an agent: steps and git then take keys as they take the agent of the user, and the file itself goes
nowhere.
Trust: the socket lies in a folder that only this user may enter.
Threads: the agent has its own; none is begun where no key is given.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from imagesmith.errors import UsageError
from imagesmith.request import BuildRequest
from imagesmith.values import replace

__all__ = ["check_agents", "is_socket", "with_agents"]


def is_socket(path: str) -> bool:
    """True if the socket of an agent is at a path."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def check_agents(name: str, places: str) -> None:
    """Raise unless a --ssh is the socket of an agent, or files of keys that can be signed with.

    Args:
        name: its id.
        places: paths with commas between them.

    Raises:
        UsageError: see above.
    """
    paths = places.split(",")
    for path in paths:
        if not os.path.exists(path):
            raise UsageError(f"--ssh {name}: failed to stat {path}: no such socket or key")
    if any(map(is_socket, paths)):
        if len(paths) > 1:
            raise UsageError(f"--ssh {name}: either the socket of one agent, or files of keys")
        return
    from imagesmith.credentials.sshkeys import read_key

    for path in paths:
        try:
            read_key(path)
        except UsageError as e:
            raise UsageError(f"--ssh {name}: {e.message}", hint=e.hint) from e


@contextlib.contextmanager
def with_agents(request: BuildRequest) -> Iterator[BuildRequest]:
    """The request with the socket of an agent in place of each list of keys; the agents end with the `with`.

    Raises:
        UsageError: a key cannot be read.
    """
    given = {name: places for name, places in request.ssh.items() if places and not is_socket(places)}
    if not given:
        yield request
        return
    import tempfile

    from imagesmith.credentials.sshagent import KeyAgent
    from imagesmith.credentials.sshkeys import read_key

    with contextlib.ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="imagesmith-ssh-")))
        sockets = dict(request.ssh)
        for number, (name, places) in enumerate(given.items()):
            keys = [read_key(path) for path in places.split(",")]
            agent = KeyAgent(folder / str(number), keys)
            open_.callback(agent.close)
            sockets[name] = str(folder / str(number))
        yield replace(request, ssh=sockets)
