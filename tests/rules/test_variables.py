"""Every variable of the environment that code reads is in the table that the documentation is made of.

Found by syntax: `.get("NAME")`, `["NAME"]`, `.pop("NAME")` and `"NAME" in` of what is called `environ`, `env`
or `_env`, where the name is a literal, a constant, or each of a tuple of them that a loop goes through.
A read whose name is not known so stands in INDIRECT, with what it reads.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from imagesmith.cli.reference import variables
from tests.rules.sources import Module, modules

#: Modules in which `env` is the environment of a step, of an image or of a definition, not the process's.
_OTHERS = (
    "imagesmith.bake.compose", "imagesmith.bake.dotenv", "imagesmith.bake.interpolation",
    "imagesmith.bake.variables", "imagesmith.ops", "imagesmith.plan", "imagesmith.worker.sandbox.initprocess",
    "imagesmith.worker.sandbox.largeids", "imagesmith.image.mutate",
)  # fmt: skip
#: (module, the name's expression) -> the variables; an empty tuple where the user chooses any.
INDIRECT: dict[tuple[str, str], tuple[str, ...]] = {
    ("imagesmith.worker.loglimit", "name"): ("BUILDKIT_STEP_LOG_MAX_SIZE", "BUILDKIT_STEP_LOG_MAX_SPEED"),
    ("imagesmith.registry.proxies", "name.lower()"): ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    ("imagesmith.registry.proxies", "name.upper()"): (),
    ("imagesmith.cli.defaults", "name"): (),  # those of _VARIABLES, which others read
    ("imagesmith.cli.reference", "name"): (),  # put away for the while
    ("imagesmith.cli.kaniko", "text"): (),  # --build-arg NAME
    ("imagesmith.cli.keyflags", "rest"): (),  # --key env://NAME
    ("imagesmith.context.secrets", "secret.env"): (),  # --secret env=NAME
    ("imagesmith.options", "name"): (),  # --secret id=NAME
    ("imagesmith.options", "key"): (),  # --build-arg NAME
    ("imagesmith.bake.overrides", "word.sub"): (),  # --set TARGET.args.NAME
}
#: Read by the standard library and by OpenSSL for us, or by one of our functions under another name.
_UNSEEN = {"TMPDIR"}


def test_every_variable_that_is_read_is_in_the_table() -> None:
    read = {name for module in modules().values() for name in _read_by(module)}
    assert read | _UNSEEN == {page.name for page in variables()}


def test_table_has_each_once() -> None:
    names = [page.name for page in variables()]
    assert len(names) == len(set(names))


def test_list_of_indirect_reads_has_nothing_that_is_gone() -> None:
    found = {(m.name, word) for m in modules().values() for word, names in _reads(m) if names is None}
    assert found == set(INDIRECT)


def test_rule_finds_reads_in_each_form() -> None:
    text = (
        "_A = 'A'\n_LIST = ('B', 'C')\ndef f(env):\n    os.environ.get(_A)\n    for n in _LIST:\n"
        "        env[n]\n    'D' in self._env\n    os.environ.pop('E')\n    env.get(given)\n    other['F']\n"
        "    any(os.environ.get(x) for x in ('G', *_LIST))\n"
    )
    module = Module("imagesmith.x", modules()["imagesmith"].path, text, ast.parse(text), ())
    assert {name for _, names in _reads(module) for name in names or ("?",)} == set("ABCDEG?")


# --- reads -------------------------------------------------------------------------------------


def _read_by(module: Module) -> Iterator[str]:
    for word, names in _reads(module):
        yield from INDIRECT[module.name, word] if names is None else names


def _reads(module: Module) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """The expressions that name what is read, with the names; None where they are not known by syntax."""
    if "env" not in module.text or module.name.startswith(_OTHERS):
        return
    constants = _CONSTANTS | _constants(module)
    loops: dict[str, tuple[str, ...]] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name):
            strings = _strings(node.iter, constants)
            if strings:
                loops[node.target.id] = strings
    for node in ast.walk(module.tree):
        key = _key_of(node)
        if key is None:
            continue
        names = _strings(key, constants | loops)
        yield ast.unparse(key), names or None


def _key_of(node: ast.AST) -> ast.expr | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        if node.func.attr in ("get", "pop") and _is_environment(node.func.value):
            return node.args[0]
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and _is_environment(node.value):
        return node.slice
    elif (
        isinstance(node, ast.Compare)
        and isinstance(node.ops[0], ast.In | ast.NotIn)
        and _is_environment(node.comparators[0])
    ):
        return node.left
    return None


def _is_environment(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in ("environ", "env", "_env")


def _strings(node: ast.expr, known: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return (node.value,)
    if isinstance(node, ast.Name):
        return known.get(node.id, ())
    if isinstance(node, ast.Starred):
        return _strings(node.value, known)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(name for item in node.elts for name in _strings(item, known))
    return ()


def _constants(module: Module) -> dict[str, tuple[str, ...]]:
    """Names of a module, and within its functions, that stand for strings."""
    found: dict[str, tuple[str, ...]] = {}
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        target, value = node.targets[0], node.value
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=False))
        for name, given in pairs:
            if isinstance(name, ast.Name) and (strings := _strings(given, found)):
                found[name.id] = strings
    return found


_CONSTANTS = {
    name: strings
    for module in modules().values()
    for name, strings in _constants(module).items()
    if name.isupper() and not name.startswith("_")
}
