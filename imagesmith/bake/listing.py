"""What `--print` and `--list` write: JSON as Go writes it, and tables with tabs.

Why: scripts and the docker actions read them, so they are buildx's to the byte.
Spec: encoding/json's MarshalIndent, text/tabwriter with tabs of 8, buildx's commands/bake.go.
Trust: names and descriptions of a bake file; control characters are for whoever prints to take out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from imagesmith.bake.selection import Selection
from imagesmith.bake.target import Group, printed

__all__ = ["VariableShown", "go_json", "group_shown", "print_document", "target_list", "variable_list"]


class VariableShown(Protocol):
    """A variable: its type and value as text, None for a value that is null."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def type(self) -> str:
        """Its type in words, empty where it has none."""

    @property
    def value(self) -> str | None:
        """Its value, of a list or map as JSON."""

    @property
    def description(self) -> str:
        """What it is for."""


def go_json(document: object) -> str:
    """JSON with two blanks of indent, in which nothing is a tag or an entity of HTML."""
    text = json.dumps(document, ensure_ascii=False, indent=2)
    for c in "<>&\u2028\u2029":
        text = text.replace(c, f"\\u{ord(c):04x}")
    return f"{text}\n"


def group_shown(group: Group) -> dict[str, object]:
    """A group as `--print` has it."""
    said = {"description": group.description} if group.description else {}
    return {**said, "targets": list(group.targets)}


def print_document(selection: Selection) -> dict[str, object]:
    """The document of `--print`."""
    return {
        "group": {name: group_shown(selection.groups[name]) for name in sorted(selection.groups)},
        "target": {name: printed(selection.targets[name]) for name in sorted(selection.targets)},
    }


def target_list(
    targets: Mapping[str, str],
    groups: Mapping[str, Group],
    *,
    as_json: bool,
    shown: Callable[[str], str] = str,
) -> str:
    """`--list=targets`: all but those whose name begins with `_`.

    Args:
        targets: descriptions by name.
        groups: their members are sorted.
        as_json: the document instead of the table.
        shown: makes a cell of the table of a text.
    """
    rows: list[tuple[str, str, bool]] = [(name, text, False) for name, text in targets.items()]
    for name, group in groups.items():
        members = ", ".join(sorted(group.targets))
        text = f"{group.description} ({members})" if group.description and members else ""
        rows.append((name, text or group.description or members, True))
    rows = sorted((row for row in rows if not row[0].startswith("_")), key=lambda row: row[0])
    if not as_json:
        return _table([("TARGET", "DESCRIPTION"), *((shown(name), shown(text)) for name, text, _ in rows)])
    documents: list[dict[str, object]] = []
    for name, _, is_group in rows:
        text = groups[name].description if is_group else targets[name]
        documents.append(
            {"name": name, **({"description": text} if text else {}), **({"group": True} if is_group else {})}
        )
    return go_json(documents or None)


def variable_list(
    variables: Iterable[VariableShown], *, as_json: bool, shown: Callable[[str], str] = str
) -> str:
    """`--list=variables`; see target_list."""
    found = sorted(variables, key=lambda variable: variable.name)
    if as_json:
        return go_json([_variable(variable) for variable in found] or None)
    rows = [("VARIABLE", "TYPE", "VALUE", "DESCRIPTION")]
    for v in found:
        value = "<null>" if v.value is None else v.value
        rows.append((shown(v.name), shown(v.type), shown(value), shown(v.description)))
    return _table(rows)


def _variable(variable: VariableShown) -> dict[str, object]:
    out: dict[str, object] = {"name": variable.name}
    if variable.description:
        out["description"] = variable.description
    if variable.type:
        out["type"] = variable.type
    if variable.value is not None:
        out["value"] = variable.value
    return out


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns with tabs between them; each but the last is as wide as its widest cell and one more."""
    widths = [-(-(max(map(len, column)) + 1) // 8) * 8 for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell + "\t" * -(-(width - len(cell)) // 8) for cell, width in zip(row[:-1], widths, strict=False)
        ]
        lines.append("".join([*cells, row[-1], "\n"]))
    return "".join(lines)
