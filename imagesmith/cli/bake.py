"""`imagesmith bake`: the targets of bake and compose files, as `docker buildx bake` has it.

Why what is printed and what is built are two selections: `--print` shows contexts of a definition from
elsewhere by its address, and a build is given where they were fetched to.
Spec: buildx's commands/bake.go.
Trust: definitions are others'. What they may do beyond the working folder is asked for (bake/allowing.py).
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from imagesmith.bake.allowing import Needs, needs_of, parse_allowed
from imagesmith.bake.definition import Definition, define
from imagesmith.bake.entries import attest_text
from imagesmith.bake.files import (
    allows_lookup,
    beside_its_file,
    is_relative_to_files,
    names_given,
    read_definition,
)
from imagesmith.bake.flags import call_of
from imagesmith.bake.listing import go_json, print_document, target_list, variable_list
from imagesmith.bake.overrides import Overrides, overrides_of
from imagesmith.bake.reading import MOST_BYTES, Folder
from imagesmith.bake.selection import Selection, linked_by, local_path, prepared, select
from imagesmith.bake.target import Setting, Target
from imagesmith.bake.variables import Given
from imagesmith.cli.bakeflags import add_bake_flags
from imagesmith.cli.flags import access_of, settings_of
from imagesmith.cli.lines import harmless_json, one_line
from imagesmith.errors import UsageError
from imagesmith.oci.names import host_platform
from imagesmith.options import boolean, fields
from imagesmith.values import frozen, replace

if TYPE_CHECKING:
    from imagesmith.bake.remote import Remote

__all__ = ["Chosen", "chosen_by", "configure", "granted", "run"]

_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


@frozen(kw_only=True)
class _Read:
    """A definition, the names of what is wanted of it, and where it came from."""

    definition: Definition
    names: tuple[str, ...]
    remote: Remote | None


@frozen(kw_only=True)
class Chosen:
    """The targets that are to be built, as they are shown, and what they want that is not allowed."""

    meant: Selection
    shown: Selection
    needs: Needs


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_bake_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    if args.print_rbac:
        from imagesmith.cli.elsewhere import print_rights

        return print_rights(args)
    if args.print and args.list:
        raise UsageError("--print and --list are mutually exclusive")
    parse_allowed(args.allow)
    _sets(args)
    with ExitStack() as stack:
        if args.list:
            listed = _listed(args.list)
            return _list(_read(args, stack).definition, *listed)
        chosen = chosen_by(args, stack)
        if args.print and not args.on:
            return _write(go_json(print_document(chosen.shown)))
        _ask(chosen.needs)
        if args.on:
            from imagesmith.cli.elsewhere import bake_elsewhere

            return bake_elsewhere(granted(chosen.meant, args.load), args)
        return _done(granted(chosen.meant, args.load), chosen.shown, args)


def chosen_by(args: argparse.Namespace, stack: ExitStack) -> Chosen:
    """The targets that the flags choose.

    Args:
        args: of the flags of add_bake_flags.
        stack: keeps a definition from elsewhere as long as it is of use.

    Raises:
        UsageError: a flag cannot be honoured.
        DefinitionError: the definition is wrong, or has no such target.
    """
    allowed, sets = parse_allowed(args.allow), _sets(args)
    read = _read(args, stack)
    overrides = overrides_of(sets, list(read.definition.targets), os.environ)
    chosen = select(read.definition, read.names, overrides)
    shown = prepared(_as_shown(chosen, read.remote, overrides), os.environ)
    if args.print and not args.on:
        return Chosen(meant=shown, shown=shown, needs=Needs())
    meant = prepared(_as_built(chosen, read.remote, overrides), os.environ)
    if read.remote is not None:
        ref = read.remote.ref
        meant = replace(meant, is_foreign=True, own_remote=ref.remote if ref else "")
        allowed = replace(allowed, reads=(*allowed.reads, read.remote.folder.path))
    needs = needs_of(meant, allowed, overrides, os.environ, remote=read.remote is not None)
    return Chosen(meant=meant, shown=shown, needs=needs)


# --- reading -----------------------------------------------------------------------------------


def _read(args: argparse.Namespace, stack: ExitStack) -> _Read:
    from imagesmith.bake.remote import Remote, split_arguments

    address, context, names = split_arguments(args.targets)
    files, given, remote = names_given(args.file, os.environ), _variables(args.var), None
    if address:
        from imagesmith.store.store import Store

        store = stack.enter_context(Store(settings_of(args.root).root))
        remote = stack.enter_context(Remote(address, store, os.environ, access_of(args)))
        files = files or remote.names
    bodies = read_definition(
        files, local=Folder("."), remote=remote.folder if remote else None, env=os.environ, given=given,
        stdin=lambda: sys.stdin.buffer.read(MOST_BYTES + 1),
    )  # fmt: skip
    env = os.environ if allows_lookup(os.environ) else {}
    platform = str(host_platform())
    definition = define(bodies, Given(vars=given, env=env, context=context, platform=platform))
    return _Read(definition=definition, names=tuple(names), remote=remote)


def _variables(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in filter(None, texts):
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f'invalid variable "{text}", expected key=value')
        if not name:
            raise UsageError(f'invalid variable "{text}", key is empty')
        found[name] = value
    return found


def _sets(args: argparse.Namespace) -> list[str]:
    """What the flags say over the targets, as values of --set."""
    sets = list(args.set)
    sets += ["*.push=true"] if args.push else []
    sets += ["*.load=true"] if args.load else []
    call = _call(args)
    name = call.partition(",")[0]
    sets += [f"*.call={'lint' if name == 'check' else name}"] if call else []
    for key, value in (("no-cache", args.no_cache), ("pull", args.pull)):
        if value is not None:
            sets.append(f"*.{key}={'true' if boolean(f'--{key}', value) else 'false'}")
    attests = (("sbom", args.sbom), ("provenance", args.provenance))
    return sets + [f"*.attest={attest_text(kind, text)}" for kind, text in attests if text]


def _call(args: argparse.Namespace) -> str:
    """What --call and --check ask for; empty for a build."""
    call = "check" if args.check else args.call
    return "" if call == "build" else str(call)


# --- what is shown ------------------------------------------------------------------------------


def _listed(text: str) -> tuple[str, bool]:
    """What --list names, and whether as JSON: `targets`, `targets,format=json`, `type=targets,…`."""
    kind, form = "", "table"
    for key, value in fields(text, "--list"):
        if value is None and not kind:
            kind = key
        elif key == "type" and value:
            kind = value
        elif key == "format" and value:
            form = value
        else:
            raise UsageError(f"--list {text}: unexpected key '{key}'")
    if kind not in ("targets", "variables"):
        raise UsageError(f'--list: invalid list type "{kind}"', hint="targets and variables are known")
    if form not in ("table", "json"):
        raise UsageError(f'--list: invalid list format "{form}"', hint="table and json are known")
    return kind, form == "json"


def _list(definition: Definition, kind: str, as_json: bool) -> int:
    if kind == "variables":
        return _write(variable_list(definition.variables, as_json=as_json, shown=_cell), as_json=as_json)
    described = {
        name: str(target.attributes.get("description", "")) for name, target in definition.targets.items()
    }
    return _write(target_list(described, definition.groups, as_json=as_json, shown=_cell), as_json=as_json)


def _cell(text: str) -> str:
    return one_line(text).replace("\t", " ")


def _write(text: str, *, as_json: bool = True) -> int:
    sys.stdout.write(harmless_json(text) if as_json else text)
    return 0


def _as_shown(selection: Selection, remote: Remote | None, overrides: Overrides) -> Selection:
    """The selection as --print shows it; contexts of a definition from elsewhere are its address."""
    if remote is None:
        return _as_built(selection, None, overrides)
    targets = {}
    for name, target in selection.targets.items():
        context = str(target.attributes["context"])
        is_theirs = local_path(context) is not None and not context.startswith("cwd://")
        attributes: dict[str, Setting] = dict(target.attributes)
        attributes["context"] = remote.address if is_theirs else context
        targets[name] = replace(target, attributes=attributes)
    return replace(selection, targets=targets)


def _as_built(selection: Selection, remote: Remote | None, overrides: Overrides) -> Selection:
    """The selection with contexts that can be found from the working folder."""
    is_relative, here = is_relative_to_files(os.environ), Folder(".")

    def placed(target: Target) -> Target:
        if remote is not None:
            return remote.resolved(target)
        own = any(override.name == "context" for override in overrides.get(target.name, ()))
        return beside_its_file(target, here) if is_relative and not own else target

    return replace(selection, targets={name: placed(target) for name, target in selection.targets.items()})


# --- what is done ------------------------------------------------------------------------------


def _ask(needs: Needs) -> None:
    """Go on only if nothing is needed, or the user says yes."""
    if not needs:
        return
    names = ", ".join(needs.values)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        hint = f"pass {needs.flags} to grant them"
        raise UsageError(f"additional privileges requested: {names}", hint=hint)
    lines = "".join(f" - {one_line(line)}\n" for line in needs.lines)
    sys.stderr.write(
        f"These targets ask for what is possibly insecure:\n\n{lines}\n"
        f"Pass {one_line(needs.flags)} to grant it without being asked.\nGrant it and go on? [y/N] "
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError(f"additional privileges requested: {names}")


def granted(selection: Selection, load: str) -> Selection:
    """The selection with what was granted as entitlements, and with the place that --load names."""
    where = load if load.lower() not in ("", *_TRUE, *_FALSE) else ""

    def granted(target: Target) -> Target:
        attributes: dict[str, Setting] = dict(target.attributes)
        outputs = attributes.get("output", ())
        assert isinstance(outputs, tuple)
        entries = [entry for entry in outputs if not isinstance(entry, str)]
        if any(entry.get("mode") == "delete" for entry in entries):
            have = attributes.get("entitlements", ())
            assert isinstance(have, tuple)
            attributes["entitlements"] = (*(w for w in have if isinstance(w, str)), "buildx.local.delete")
        if where:
            attributes["output"] = tuple(
                {**e, "load": where} if e["type"] == "docker" and not e.get("dest") else e for e in entries
            )
        return replace(target, attributes=attributes)

    return replace(selection, targets={name: granted(target) for name, target in selection.targets.items()})


def _done(selection: Selection, shown: Selection, args: argparse.Namespace) -> int:
    """Build the targets, and answer the calls of those that ask something else."""
    calling = [name for name, target in selection.targets.items() if call_of(target)]
    building: dict[str, Target] = {}
    left = [name for name in selection.targets if name not in calling]
    while left:
        name = left.pop(0)
        if name not in building:
            building[name] = selection.targets[name]
            left += linked_by(building[name])  # whatever else those are asked
    if args.metadata_file and not building:
        raise UsageError("--metadata-file: nothing is built", hint="leave it out, or --call")
    status = 0
    if building:
        from imagesmith.cli.baking import bake

        status = bake(replace(selection, targets=building), args)
    if calling:
        from imagesmith.cli.bakecalls import answer

        status = answer(selection, calling, shown, args, _call(args).partition(",")[2]) or status
    return status
