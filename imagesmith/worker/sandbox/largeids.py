"""Which steps meet ids above those that the system lends: they are served as if there was one id only.

Why: such ids are kept beside the files (worker/snapshot/ownership.py), and the supervisor (unotify.py) tells
steps of them. It costs a call for each file that is looked at, so it is done only where there is such an id:
in the root, as the step's own, or in its words. What only a file in the root names (a script, an archive) is
unknown before the step runs: owners still get into the layer, but that one step is shown `held` in their
place, and cannot become such a user.
Trust: the words are the Dockerfile's; they decide how its own step is served.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagesmith.interfaces import RunSpec

__all__ = ["needs_all"]

#: What gives ids to files, users and processes.
_GIVES = re.compile(
    r"\bch(own|grp)\b|\b(user|group)(add|mod)\b|\badd(user|group)\b|\bset\w*[ug]id\b|\binstall -"
    r"|\b(setpriv|chroot|gosu|su-exec)\b"
)
_NUMBER = re.compile(r"(?<![\w.+])(?:-[a-zA-Z])?([0-9]{1,10})(?![\w.+-])")
_VARIABLE = re.compile(r"\$\{?(\w+)")


def needs_all(spec: RunSpec, held: tuple[int, int]) -> bool:
    """True for a step that meets a user or group id from `held` on, as far as can be known before it runs."""
    if spec.uid >= held[0] or max(spec.gid, *spec.groups, 0) >= held[1]:
        return True
    least = min(held)
    return spec.largest_id >= least or any(number >= least for number in _said(spec))


def _said(spec: RunSpec) -> Iterator[int]:
    """The numbers in what is executed, if it gives ids at all, and in the variables that it names."""
    text = " ".join(spec.argv)
    if not _GIVES.search(text):
        return
    env = dict(spec.env)
    for words in (text, *(env.get(name, "") for name in _VARIABLE.findall(text))):
        yield from (number for found in _NUMBER.findall(words) if (number := int(found)) < 0xFFFFFFFF)
