"""Lists of what is to be mirrored: lines of SOURCE and TARGET, in which a pattern may stand for tags.

    registry.example/app:1.0                              with a prefix: the same path below it
    registry.example/app:1.0 backup.example/app:stable
    registry.example/app:v1.*                             every tag that the pattern takes
    registry.example/app:regex:v[0-9]+ backup.example/app

Why: all lines are read before anything is copied, so that a mistake in the last one costs nothing.
Trust: the list is the user's own; its length is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagesmith.copying.patterns import Tags, is_pattern
from imagesmith.copying.tagging import Wanted, repository_of
from imagesmith.errors import UsageError
from imagesmith.oci.names import ImageRef
from imagesmith.transports.names import PlaceName

__all__ = ["below", "read_list", "split_pattern"]

_MOST_LINES = 100_000


def read_list(text: str, name: str, prefix: str = "", *, scoped: bool = False) -> Iterator[Wanted]:
    """The lines of a list; `#` begins a comment.

    Args:
        text: the list.
        name: what it is called in messages.
        prefix: host[:port][/path] for lines without a target; paths are kept below it.
        scoped: the source's host is kept, too; its port behind a dash.

    Raises:
        UsageError: a line that is none, with its number.
    """
    lines = text.splitlines()
    if len(lines) > _MOST_LINES:
        raise UsageError(f"{name}: more than {_MOST_LINES} lines")
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            yield _wanted(words, prefix, scoped)
        except UsageError as e:
            raise UsageError(f"{name}:{number}: {e.message}", hint=e.hint) from e


def _wanted(words: list[str], prefix: str, scoped: bool) -> Wanted:
    word, tags = split_pattern(words[0])
    source = PlaceName.parse(word)
    if len(words) == 1 and prefix and source.image is not None:
        return Wanted(source=source, target=below(prefix, source.image, scoped=scoped), tags=tags)
    if len(words) != 2:
        raise UsageError("expected SOURCE TARGET, or SOURCE alone with --to")
    target = repository_of(words[1]) if tags is not None else PlaceName.parse(words[1])
    return Wanted(source=source, target=target, tags=tags)


def split_pattern(text: str) -> tuple[str, Tags | None]:
    """A word without the pattern in the place of its tag, and what that chooses.

    Raises:
        UsageError: it is no pattern.
    """
    kind = text.partition(":")[0]
    head = f"{kind}:" if kind in ("store", "oci") else ""
    folder, slash, last = text.removeprefix(head).rpartition("/")
    name, colon, tag = last.partition(":")
    if not colon or not is_pattern(tag):
        return text, None
    return f"{head}{folder}{slash}{name}", Tags((tag,)).checked()


def below(prefix: str, image: ImageRef, *, scoped: bool = False) -> PlaceName:
    """The place of an image below a prefix; one of a digest gets a tag of its first digits.

    Raises:
        UsageError: the prefix is no beginning of a name.
    """
    host = f"{image.registry.replace(':', '-')}/" if scoped else ""
    tag = f":{image.tag}" if image.tag else f":{image.digest.hex[:32]}" if image.digest else ""
    return PlaceName.parse(f"{prefix.rstrip('/')}/{host}{image.repository}{tag}")
