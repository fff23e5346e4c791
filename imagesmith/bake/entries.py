"""Entries of attest, cache-from, cache-to, output, secret, ssh and policy: texts of flags, or objects.

Why texts become keys and values: two targets may spell the same entry in both ways, and doubles of it are
one; `--print` shows objects, and `imagesmith build` takes texts.
Spec: buildx's util/buildflags, whose words the errors have, and its rules for what is a double.
Trust: words of a bake file, of a compose file or of --set; whatever is wrong is Unsuitable, which says why.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

from imagesmith.bake.values import SetValue, Unsuitable, Value, kind_of, text_of
from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import UsageError
from imagesmith.options import boolean, fields

__all__ = [
    "ENTRIES",
    "Entry",
    "attest_text",
    "entries_of",
    "entry_of",
    "flag_text",
    "shown",
    "without_doubles",
]

#: Keys and values of one entry, `type` first where it has one; several `paths` of ssh have commas between.
Entry = Mapping[str, str]

#: The attributes whose lists hold entries.
ENTRIES = ("attest", "cache-from", "cache-to", "output", "secret", "ssh", "policy")

_CACHES = ("cache-from", "cache-to")
_SECRET = ("id", "src", "env", "type")
_POLICY = ("filename", "reset", "disabled", "strict", "log-level")
_LEVELS = ("panic", "fatal", "error", "warning", "warn", "info", "debug", "trace")


def entries_of(name: str, text: str) -> tuple[Entry, ...]:
    """The entries of one text, as a flag has it: none of an empty one, several of a list of references.

    Raises:
        Unsuitable: it is no such text.
    """
    if not text:
        return ()
    if name == "ssh":
        key, equals, paths = text.partition("=")
        return ({"id": key, "paths": paths} if equals and paths else {"id": key},)
    try:
        pairs = fields(text, name)
    except UsageError as e:
        raise Unsuitable(e.message) from e
    if name in _CACHES and "=" not in text:
        return tuple({"type": "registry", "ref": ref} for ref in next(csv.reader([text]), []))
    if name == "output" and len(pairs) == 1 and not text.startswith(("type=", '"')):
        return ({"type": "tar", "dest": "-"} if text == "-" else {"type": "local", "dest": text},)
    found: dict[str, str] = {}
    for key, value in pairs:
        if value is None:
            what = f"invalid field '{key}' must be a key=value pair" if name == "secret" else ""
            raise Unsuitable(what or f"invalid value {key}")
        found[{"source": "src"}.get(key, key) if name == "secret" else key] = value
    return (_checked(name, found, text),)


def entry_of(name: str, given: Mapping[str, Value]) -> Entry:
    """The entry of an object; keys that are null are left out.

    Raises:
        Unsuitable: a value that is no text, or a key that such an entry does not have.
    """
    found: dict[str, str] = {}
    for key, value in given.items():
        if value is None:
            continue
        try:
            if name == "ssh" and key == "paths":
                if not isinstance(value, tuple | SetValue):
                    raise Unsuitable(f"a list is needed, not a {kind_of(value)}")
                found[key] = ",".join(text_of(path) for path in value)
            else:
                found[key] = text_of(value)
        except Unsuitable as e:
            raise Unsuitable(f"{key}: {e}") from e
    if name == "ssh":
        _known("ssh", found, ("id", "paths"))
        return {key: text for key, text in found.items() if text or key == "id"}
    return _checked(name, found, "")


def _checked(name: str, found: dict[str, str], text: str) -> Entry:
    """The entry with its type first, if it is one that can be."""
    if name == "secret":
        return _secret(found)
    if name == "policy":
        return _policy(found)
    kind = found.pop("type", "")
    if not kind:
        if name == "attest":
            raise Unsuitable("attestation type not specified")
        raise Unsuitable(f'type required for "{text}"' if text and name in _CACHES else "type is required")
    if name == "attest" and "disabled" in found and _flag("disabled", found.pop("disabled")):
        found["disabled"] = "true"
    if name == "output" and not found.get("dest", "x"):
        del found["dest"]
    return {"type": kind, **found}


def _secret(found: dict[str, str]) -> Entry:
    _known("secret", found, _SECRET)
    found = {key: value for key, value in found.items() if value}
    kind = found.pop("type", "")
    if kind not in ("", "file", "env"):
        raise Unsuitable(f'unsupported secret type "{kind}"')
    if kind == "env" and "env" not in found and "src" in found:
        found["env"] = found.pop("src")
    entry = {key: found[key] for key in _SECRET if key in found}
    if kind and not ("src" in entry or "env" in entry):
        entry["type"] = kind  # it alone says where the secret is
    return entry


def _policy(found: dict[str, str]) -> Entry:
    _known("policy", found, _POLICY)
    for key in ("reset", "disabled", "strict"):
        if key in found:
            found[key] = "true" if _flag(key, found[key]) else "false"
    if found.get("log-level", "info").lower() not in _LEVELS:
        raise Unsuitable(f"log-level: {found['log-level']} is none of {', '.join(_LEVELS)}")
    return {key: found[key] for key in _POLICY if found.get(key)}


def _known(name: str, found: Mapping[str, str], known: Sequence[str]) -> None:
    for key in found:
        if key not in known:
            raise Unsuitable(f"unexpected key '{key}': {name} has {', '.join(known)}{suggest(key, known)}")


def _flag(key: str, text: str) -> bool:
    try:
        return boolean(key, text)
    except UsageError as e:
        raise Unsuitable(e.message) from e


def attest_text(kind: str, text: str) -> str:
    """What --provenance and --sbom say, a yes or no or options, as an entry of attest."""
    if text.lower() in ("1", "t", "true", "0", "f", "false"):
        text = f"disabled={'false' if text.lower() in ('1', 't', 'true') else 'true'}"
    return f"type={kind},{text}"


def flag_text(name: str, entry: Entry) -> str:
    """The entry as the value of the flag of `imagesmith build`."""
    if name == "ssh":
        return f"{entry['id']}={entry['paths']}" if "paths" in entry else entry.get("id", "")
    return ",".join(_quoted(f"{key}={value}") for key, value in entry.items())


def _quoted(text: str) -> str:
    """A field of CSV; Python's own writer leaves line ends bare."""
    doubled = text.replace('"', '""')
    return f'"{doubled}"' if any(c in text for c in ',"\r\n') else text


def shown(name: str, entry: Entry) -> dict[str, object]:
    """The entry as `--print` shows it: its keys sorted, except those of secret and ssh."""
    if name == "secret":
        return {key: value for key, value in entry.items() if key != "type"}
    if name == "ssh":
        out: dict[str, object] = {"id": entry["id"]} if entry.get("id") else {}
        return out | ({"paths": entry["paths"].split(",")} if "paths" in entry else {})
    if name == "attest":
        return {key: True if key == "disabled" else entry[key] for key in sorted(entry)}
    return {key: entry[key] for key in sorted(entry)}


def without_doubles(name: str, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries without doubles, in buildx's order.

    One attest of a type and one ssh of an id counts, the last, where the first stood. Of others equal ones
    are one: the later one goes, and the last takes its place.
    """
    if name in ("attest", "ssh"):
        key = "type" if name == "attest" else "id"
        return tuple({entry.get(key, ""): entry for entry in entries}.values())
    return _each_once([(tuple(sorted(_counted(name, entry))), entry) for entry in entries])


def _counted(name: str, entry: Entry) -> list[tuple[str, str]]:
    """What tells an entry from others."""
    return [(key, value) for key, value in entry.items() if name != "secret" or key != "type"]


def _each_once(items: list[tuple[object, Entry]]) -> tuple[Entry, ...]:
    place: dict[object, int] = {}
    for i in range(len(items) - 1, -1, -1):
        key = items[i][0]
        if key in place:
            last = items.pop()
            if place[key] < len(items):
                items[place[key]] = last
                place[last[0]] = place[key]
        place[key] = i
    return tuple(entry for _, entry in items)
