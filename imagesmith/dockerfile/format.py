"""A parsed Dockerfile as text again: one instruction a line, a blank line before each stage.

Why: what tools print must mean what was read: parsing the result gives the same directives, instructions,
words and comments. Lines, and with them places, are new; continued lines are joined.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagesmith.dockerfile.grammar import BLANKS
from imagesmith.dockerfile.nodes import Add, Copy, Dockerfile, Instruction, Run

__all__ = ["format_dockerfile"]

#: Characters a line, so that even of four bytes each they stay below the parser's limit.
_WIDTH = 16000


def format_dockerfile(dockerfile: Dockerfile) -> bytes:
    """The text of a Dockerfile."""
    blocks = ["".join(f"# {d.name}={d.value}\n" for d in dockerfile.directives)]
    groups: list[tuple[Instruction, ...]] = [dockerfile.global_args]
    groups += [(stage.base, *stage.instructions) for stage in dockerfile.stages]
    blocks += ["".join(_lines(i, dockerfile.escape) for i in group) for group in groups]
    # Without directives the blank line that comes first keeps a comment from becoming one.
    text = "\n".join(b for n, b in enumerate(blocks) if b or n == 0)
    return text.encode("utf-8", "surrogateescape")


def _lines(i: Instruction, escape: str) -> str:
    """An instruction with its comments above and its here-documents below."""
    comments = "".join(f"# {c}\n" for c in i.comments)
    documents = i.heredocs if isinstance(i, Run | Copy | Add) else ()
    bodies = "".join(f"{d.text}{d.name}\n" for d in documents)
    line = f"{escape}\n".join(_pieces(i.text, escape))
    return f"{comments}{line}\n{bodies}"


def _pieces(text: str, escape: str) -> Iterator[str]:
    """A line cut where a continuation is safe: not behind an escape, nor before one, a blank or a `#`."""
    unsafe = frozenset(f"{BLANKS}#{escape}")
    start = 0
    while len(text) - start > _WIDTH:
        ends = range(start + _WIDTH, start, -1)
        end = next((n for n in ends if text[n] not in unsafe and text[n - 1] != escape), 0)
        if not end:
            break
        yield text[start:end]
        start = end
    yield text[start:]
