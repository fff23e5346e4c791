"""What pages ask of the code: the reference, tables of other tools' flags, and the library's names.

Why: flags and names change; a page that repeats them by hand is wrong soon. `{migration} TOOL` in a page
becomes a table for each command of the tool, out of migrate/TOOL.txt, our parsers and cli/foreign.py, which
is what the command line itself answers whoever types such a flag. `{library}` becomes all public names.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

import imagesmith
from imagesmith.cli import foreign, reference
from imagesmith.plugins import COMMANDS

HERE = Path(__file__).resolve().parent
PASSED = "nothing: it is passed over"


class Row(NamedTuple):
    """Flags that are alike, and what is to be written in their place."""

    flags: tuple[str, ...]
    here: str


class Section(NamedTuple):
    """A command of another tool: ours, a word about it, and its flags."""

    theirs: str
    ours: str
    said: str
    rows: tuple[Row, ...]


@functools.cache
def _pages() -> dict[str, reference.CommandPage]:
    return {page.name: page for page in reference.commands()}


def verbs_of(command: str) -> tuple[str, ...]:
    """The verbs of a command of ours."""
    return _pages()[command].verbs


def flags_of(command: str) -> frozenset[str]:
    """All flags of a command of ours; of one with verbs, theirs too."""
    pages = (page for name, page in _pages().items() if f"{name} ".startswith(f"{command} "))
    return frozenset(name for page in pages for flag in page.flags for name in flag.names)


def sections_of(tool: str) -> Iterator[Section]:
    """What migrate/TOOL.txt says of a tool.

    A line `[their command] ours: a word` begins a command; `--flag -f` are flags whose meaning the parser or
    foreign.py knows, `--flag -f = words` others. `#` begins a remark.
    """
    text = (HERE / "migrate" / f"{tool}.txt").read_text(encoding="utf-8")
    for part in re.split(r"^(?=\[)", text, flags=re.MULTILINE)[1:]:
        head, *lines = [line.rstrip() for line in part.splitlines() if line.strip() and line[0] != "#"]
        found = re.fullmatch(r"\[(.+?)\] ?([a-z -]*)(?:: (.*))?", head)
        if found is None:
            raise ValueError(f"{tool}.txt: {head}")
        theirs, ours, said = found[1], found[2].strip(), found[3] or ""
        yield Section(theirs, ours, said, tuple(row for line in lines for row in _rows(ours, line)))


def _rows(ours: str, line: str) -> Iterator[Row]:
    flags, equals, here = line.partition(" = ")
    if equals:
        if strange := [flag for flag in flags.split() if flag[0] != "-"]:
            raise ValueError(f"{line}: {strange[0]} is no flag")
        yield Row(tuple(flags.split()), here)
        return
    if not ours:
        raise ValueError(f"{line}: of no command of ours")
    known = flags_of(ours)
    said = {}
    for words in foreign.lines_of(ours):
        names, _, instead = words.partition(" = ")
        taken, *others = names.split() or [""]
        for name in others:
            said[name] = PASSED if taken in ("switch", "value") else instead
            if taken in ("on", "off"):
                said[name] = f"{PASSED} where it is {taken}; else: {instead}"
    for group in flags.split(" | "):
        each = tuple(group.split())
        if ours_too := [flag for flag in each if flag in known]:
            missing = [flag for flag in each if flag not in known]
            yield Row(each, f"`{ours_too[0]}`" if missing else "the same")
        elif told := next((said[flag] for flag in each if flag in said), ""):
            yield Row(each, told)
        else:
            raise ValueError(f"{ours}: {' '.join(each)}: nobody says what it is here")


_FLAG = re.compile(r"(?<![\w=-])(--?[a-zA-Z][\w-]*(?:=[\w./:=,|]*\w)?|type=[\w=,|]+)")


def marked(text: str) -> str:
    """A text with its flags as code; what is code already stays."""
    parts = re.split(r"(`[^`]*`)", text)
    made = "".join(part if part[:1] == "`" else _FLAG.sub(r"`\1`", part) for part in parts)
    return made.replace("|", "\\|")


def table_of(section: Section) -> str:
    """A section in Markdown."""
    ours = f"`imagesmith {section.ours}`" if section.ours else "there is none"
    said = marked(section.said)
    words = f". {said[:1].upper()}{said[1:]}." if said else "."
    lines = [f"## {section.theirs}", "", f"Here: {ours}{words}", ""]
    if section.rows:
        lines += [f"| {section.theirs} | here |", "|---|---|"]
        lines += [
            f"| {', '.join(f'`{flag}`' for flag in row.flags)} | {marked(row.here)} |" for row in section.rows
        ]
    return "\n".join(lines) + "\n"


class _Generated(Directive):
    """Markdown that is made while the site is made."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes of that Markdown."""
        holder = nodes.Element()
        lines = StringList(self.text().splitlines(), self.state.document["source"])
        self.state.nested_parse(lines, self.content_offset, holder, True)
        return holder.children

    def text(self) -> str:
        """The Markdown."""
        raise NotImplementedError


class _Migration(_Generated):
    required_arguments = 1

    def text(self) -> str:
        """The tables of a tool."""
        return "\n".join(map(table_of, sections_of(self.arguments[0])))


class _Library(_Generated):
    def text(self) -> str:
        """Every public name of the package: functions, values, and the classes of its public modules."""
        names = [name for name in dir(imagesmith) if name[0] != "_"]
        held = {name: getattr(imagesmith, name) for name in names}
        modules = [name for name, value in held.items() if isinstance(value, ModuleType)]
        classes = [name for name, value in held.items() if isinstance(value, type)]
        functions = [name for name in names if name not in (*modules, *classes)]
        parts = [("Functions", functions, "autofunction"), ("Values", classes, "autoclass")]
        for name in modules:
            public = [each for each in held[name].__all__ if isinstance(getattr(held[name], each), type)]
            parts.append((f"imagesmith.{name}", [f"{name}.{each}" for each in public], "autoclass"))
        return "\n".join(_documented(*part) for part in parts)


def _documented(title: str, names: list[str], directive: str) -> str:
    members = "   :members:\n" if directive == "autoclass" else ""
    made = "\n".join(f".. {directive}:: imagesmith.{name}\n{members}" for name in names)
    return f"## {title}\n\n```{{eval-rst}}\n{made}```\n"


def escaped(text: str) -> str:
    """A sentence of the code in Markdown: what stands in backquotes is code, all else is text."""
    parts = re.split(r"(`[^`]+`)", text)
    plain = (part if part[:1] == "`" else re.sub(r"([\\*_<>\[\]#`])", r"\\\1", part) for part in parts)
    return "".join(plain).replace("|", "\\|")


def _flag(flag: reference.Flag) -> str:
    value = flag.metavar and (f"[={flag.metavar}]" if flag.optional else f" {flag.metavar}")
    names = ", ".join(f"`{name}{value if name == flag.name else ''}`" for name in flag.names)
    more = []
    if flag.choices:
        more.append(", ".join(f"`{choice}`" for choice in flag.choices))
    if flag.default:
        more.append(f"default `{flag.default}`")
    if flag.repeatable and "may be repeated" not in flag.help:
        more.append("may be repeated")
    if flag.required:
        more.append("must be given")
    said = "; ".join([escaped(flag.help), *more] if flag.help else more)
    return f"| {names.replace('|', chr(92) + '|')} | {said} |"


def _command(page: reference.CommandPage, level: str) -> list[str]:
    lines = [f"{level} imagesmith {page.name}", "", escaped(page.description), "", f"    {page.usage}", ""]
    if words := [argument for argument in page.arguments if not page.verbs]:
        lines += ["| word | |", "|---|---|"]
        lines += [f"| `{word.name}` | {escaped(word.help)} |" for word in words] + [""]
    for group in dict.fromkeys(flag.group for flag in page.flags):
        heading = escaped(group) if group else "flags"
        lines += [f"| {heading} | |", "|---|---|"]
        lines += [_flag(flag) for flag in page.flags if flag.group == group] + [""]
    if page.examples and not page.verbs:
        lines += ["Examples:", "", *(f"    {example}" for example in page.examples), ""]
    return lines


def _table(title: str, said: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"# {title}", "", said, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def reference_pages() -> Iterator[tuple[str, str]]:
    """The pages of the reference: name and Markdown."""
    pages: dict[str, list[str]] = {}
    for page in reference.commands():
        name = page.name.partition(" ")[0]
        pages.setdefault(name, []).extend(_command(page, "##" if " " in page.name else "#"))
    rows = [(f"[{name}](commands/{name}.md)", escaped(COMMANDS[name][1])) for name in pages]
    index = _table("Commands", "`imagesmith COMMAND`; each has `--help`.", ("command", ""), rows)
    tree = "\n".join(f"commands/{name}" for name in pages)
    yield "commands", f"{index}\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n"
    for name, lines in pages.items():
        yield f"commands/{name}", "\n".join(lines)
    yield "statuses", _table(
        "Exit statuses", "What a command ends with.", ("status", "meaning"),
        ((str(row.status), escaped(row.meaning)) for row in reference.statuses()),
    )  # fmt: skip
    yield "environment", _table(
        "Environment variables", "All that are read.", ("variable", "what it does", "for"),
        ((f"`{row.name}`", escaped(row.what), escaped(row.where)) for row in reference.variables()),
    )  # fmt: skip
    yield "files", _table(
        "Files of settings", "All that are read; `~` is the user's home.", ("file", "what is in it", "form"),
        ((f"`{row.path}`", escaped(row.what), escaped(row.form)) for row in reference.files()),
    )  # fmt: skip


def write_reference(folder: Path) -> None:
    """Write the pages of the reference below a folder; they are kept nowhere else."""
    for name, text in reference_pages():
        path = folder / "reference" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


_FIELD = re.compile(r"( *)(\w[\w, ]*?) {2,}(\S.*)")


def tell_fields(_app: Sphinx, _what: str, _name: str, _of: object, _as: object, lines: list[str]) -> None:
    """Make a docstring of the house one of Sphinx.

    What stands in backquotes is code; fields, `name  what it is` with deeper lines below, become a list.
    """
    made: list[str] = []
    inside = False
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found and (inside or not made or not made[-1].strip()):
            line, inside = f"{found[1]}:{found[2]}: {found[3]}", True
        elif inside:
            inside = line[:1] == " "
        made.append(re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line))
    lines[:] = made


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of the directives."""
    app.add_directive("migration", _Migration)
    app.add_directive("library", _Library)
    app.connect("autodoc-process-docstring", tell_fields, priority=400)  # before napoleon
    return {"parallel_read_safe": True}
