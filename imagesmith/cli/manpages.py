"""The man pages, and all that an installation puts below `share` beside the program: a text for each file.

Why made when the wheel is built (hatch_build.py): they are the reference (reference.py) in another dress, and
what is kept twice differs soon. No date is in them: a wheel has the same bytes whenever it is built.
Spec: man(7) as groff and mandoc read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from imagesmith import __version__
from imagesmith.cli.completion import SCRIPTS
from imagesmith.cli.reference import (
    CommandPage,
    Flag,
    commands,
    files,
    statuses,
    top_page,
    variables,
)

__all__ = ["man_page", "shared_files"]

_CODE = re.compile(r"`([^`]+)`")
#: Where each shell looks for completions, below `share`.
_COMPLETIONS = {
    "bash": "bash-completion/completions/imagesmith",
    "zsh": "zsh/site-functions/_imagesmith",
    "fish": "fish/vendor_completions.d/imagesmith.fish",
}


def shared_files() -> dict[str, str]:
    """Paths below `share`, and what is in each: the man pages, and what shells complete by."""
    pages = (top_page(), *commands())
    out = {f"man/man1/{_title(page.name)}.1": man_page(page, pages) for page in pages}
    return out | {_COMPLETIONS[shell]: script for shell, script in SCRIPTS.items()}


def man_page(page: CommandPage, pages: Sequence[CommandPage]) -> str:
    """The page of a command as roff.

    Args:
        page: the command's.
        pages: all of them, whose summaries and names are told.
    """
    title = _title(page.name)
    out = [
        f'.TH "{_roff(title.upper())}" 1 "" "imagesmith {_roff(__version__)}" "imagesmith"',
        ".nh\n.ad l",
        ".SH NAME",
        f"{_roff(title)} \\- {_text(page.summary)}",
        ".SH SYNOPSIS",
        _usage(page),
        ".SH DESCRIPTION",
        _line(page.description),
    ]
    words = [a for a in page.arguments if not page.verbs]
    if words:
        out.append(".SH ARGUMENTS")
        for argument in words:
            out += _item(f"\\fI{_roff(argument.name)}\\fR", argument.help)
    below = {p.name: p.summary for p in pages}
    if page.verbs:
        out.append(".SH VERBS" if page.name else ".SH COMMANDS")
        for verb in page.verbs:
            name = f"{page.name} {verb}".strip()
            out += _item(f"\\fB{_roff(verb)}\\fR", f"{below[name]}; see {_title(name)}(1)")
    out += _flags(page.flags)
    out += _examples(page.examples)
    out += _tables() if not page.name else []
    return "\n".join([*out, ".SH SEE ALSO", _related(page, pages)]) + "\n"


def _usage(page: CommandPage) -> str:
    """The words that are typed in bold, what stands for others in italics."""
    words = []
    for word in page.usage.split(" "):
        plain = word.strip("[].").lower() == word
        words.append(f"\\f{'B' if plain else 'I'}{_roff(word)}\\fR")
    return " ".join(words)


def _flags(flags: Iterable[Flag]) -> list[str]:
    out, group = [".SH FLAGS"], ""
    for flag in flags:
        if flag.group != group:
            group = flag.group
            out.append(f".SS {_text(group[:1].upper() + group[1:])}")
        equals, end = ("[=", "]") if flag.optional else (" ", "")
        value = f"{equals}\\fI{_roff(flag.metavar)}\\fR{end}" if flag.metavar else ""
        names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in flag.names)
        said = [flag.help]
        if flag.choices and flag.metavar != "|".join(flag.choices):
            said.append(f"one of {', '.join(flag.choices)}")
        if flag.default and "(default" not in flag.help:
            said.append(f"default {flag.default}")
        if flag.repeatable and "repeated" not in flag.help:
            said.append("may be repeated")
        if flag.required:
            said.append("must be given")
        out += _item(f"{names}{value}", "; ".join(said))
    return out


def _examples(lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return [".SH EXAMPLES", ".nf", *(_line(line, literal=True) for line in lines), ".fi"]


def _tables() -> list[str]:
    out = [".SH EXIT STATUS"]
    for status in statuses():
        out += _item(str(status.status), status.meaning)
    out.append(".SH ENVIRONMENT")
    for variable in variables():
        where = f" ({variable.where})" if variable.where else ""
        out += _item(f"\\fB{_roff(variable.name)}\\fR", f"{variable.what}{where}")
    out.append(".SH FILES")
    for file in files():
        out += _item(f"\\fI{_roff(file.path)}\\fR", f"{file.what} ({file.form})")
    return out


def _related(page: CommandPage, pages: Sequence[CommandPage]) -> str:
    """The page above, and those beside it."""
    if not page.name:
        names = [p.name for p in pages if p.name and " " not in p.name]
    else:
        above = page.name.rpartition(" ")[0]
        names = ["", *([above] if above else [])]
        names += [f"{above} {verb}" for p in pages if above and p.name == above for verb in p.verbs]
    return ",\n".join(f"\\fB{_roff(_title(name))}\\fR(1)" for name in names if name != page.name)


def _item(head: str, text: str) -> list[str]:
    return [".TP", head, _line(text)]


def _title(name: str) -> str:
    return "-".join(["imagesmith", *name.split()])


# --- roff ----------------------------------------------------------------------------------------


def _line(text: str, *, literal: bool = False) -> str:
    """A line of text, which is no request whatever it begins with."""
    found = _roff(text) if literal else _text(text)
    return f"\\&{found}" if found.startswith((".", "'")) else found


def _text(text: str) -> str:
    """Prose: what is between backticks is bold."""
    parts = _CODE.split(text)
    return "".join(f"\\fB{_roff(part)}\\fR" if n % 2 else _roff(part) for n, part in enumerate(parts))


def _roff(text: str) -> str:
    """Words as they are: no escape, no sign that is typeset as another."""
    named = {"\\": "\\e", "-": "\\-", "'": "\\(aq", '"': "\\(dq", "^": "\\(ha", "~": "\\(ti", "`": "\\(ga"}
    return "".join(named.get(c, c if c.isascii() else f"\\[u{ord(c):04X}]") for c in text)
