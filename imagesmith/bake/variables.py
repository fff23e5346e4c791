"""Names of a definition: its variables, constants and functions, and what the user gives instead.

A variable's value is what `--var` gives, else the environment, else its default; each is worked out when it
is first asked for, so that defaults may use other variables, in whatever order they stand.
Spec: buildx's bake reference (variable, function) and hclparser: NAME_JSON for typed ones, CSV for lists.
Trust: definitions are others', values the user's. Names that need each other in a circle end in an error.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence

from imagesmith.bake.budget import Budget
from imagesmith.bake.evaluate import Scope, evaluate
from imagesmith.bake.functions.calling import CallError
from imagesmith.bake.functions.encodings import json_of
from imagesmith.bake.functions.table import FUNCTIONS
from imagesmith.bake.nodes import Attribute, Block, Body, Expr, Literal, TupleExpr, Variable
from imagesmith.bake.places import Span, fault
from imagesmith.bake.types import Type, convert, parse_type
from imagesmith.bake.values import Unsuitable, Value, flag_of, kind_of, number_of, text_of
from imagesmith.dockerfile.suggest import suggest
from imagesmith.values import field, frozen

__all__ = ["Given", "Names", "VariableDoc", "Within", "only"]

#: What a variable's block may say.
_VARIABLE = ("default", "type", "description")
_VALIDATION = ("condition", "error_message")
_FUNCTION = ("params", "variadic_params", "result")
#: What Go's strconv takes for a bool.
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


@frozen(kw_only=True)
class Given:
    """What the user says about variables.

    vars      values by --var
    env       the environment, empty where it does not count
    context   BAKE_CMD_CONTEXT, the folder of the command for a definition from elsewhere
    platform  BAKE_LOCAL_PLATFORM, this machine's
    """

    vars: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    context: str = "."
    platform: str = ""

    def text(self, name: str) -> str | None:
        """What is given for a name, if anything is."""
        return self.vars.get(name, self.env.get(name))


@frozen(kw_only=True)
class VariableDoc:
    """What `--list=variables` shows: type and value as text, None for a value that is null."""

    name: str
    type: str = ""
    value: str | None = None
    description: str = ""


def only(body: Body, attributes: Sequence[str], blocks: Sequence[str], what: str) -> None:
    """Refuse what a block cannot say.

    Raises:
        DefinitionError: it says it.
    """
    for attribute in body.attributes.values():
        if attribute.name not in attributes:
            hint = suggest(attribute.name, attributes)
            raise fault(attribute.span, f'unsupported argument: {what} has no "{attribute.name}"{hint}')
    for block in body.blocks:
        if block.type not in blocks:
            raise fault(
                block.span, f'unsupported block: {what} has no "{block.type}"{suggest(block.type, blocks)}'
            )


class Names(Scope):
    """The names of all files of a definition; Scope."""

    def __init__(self, given: Given, budget: Budget) -> None:
        self._given, self.budget = given, budget
        self._builtin = {"BAKE_CMD_CONTEXT": given.context, "BAKE_LOCAL_PLATFORM": given.platform}
        self._variables: dict[str, Block] = {}
        self._constants: dict[str, Attribute] = {}
        self._functions: dict[str, _Function] = {}
        self._values: dict[str, Value] = {}
        self._busy: list[str] = []
        #: Further names, each with what gives its value: `target` and `group`.
        self.more: dict[str, Value] = {}

    def add(self, body: Body) -> None:
        """Take the variables, constants and functions of a file; those of an earlier one are replaced."""
        for attribute in body.attributes.values():
            known = self._constants.get(attribute.name)
            if known is not None:
                place = f"{known.span.source.name}:{known.span.line}"
                raise fault(attribute.span, f"{attribute.name} is set already, at {place}")
            self._constants[attribute.name] = attribute
        for block in body.blocks:
            if block.type == "variable":
                only(block.body, _VARIABLE, ("validation",), "a variable")
                self._variables[_label(block)] = block
            elif block.type == "function":
                only(block.body, _FUNCTION, (), "a function")
                self._functions[_label(block)] = _Function(_label(block), block, self)

    # --- Scope ----------------------------------------------------------------------------------

    def value(self, name: str, span: Span) -> Value:
        """See Scope."""
        if name in self._builtin:
            return self._builtin[name]
        if name not in self._values:
            if name not in self._variables and name not in self._constants:
                return self._another(name, span)
            if name in self._busy:
                raise fault(span, f"variable cycle not allowed for {name}")
            self._busy.append(name)
            try:
                value = self._values[name] = self._worked_out(name)
                self._validate(name)
            finally:
                self._busy.pop()
            return value
        return self._values[name]

    def _another(self, name: str, span: Span) -> Value:
        if name in self.more:
            return self.more[name]
        known = [*self._variables, *self._constants, *self._builtin]
        raise fault(span, f'variable "{name}" does not exist{suggest(name, known)}')

    def function(self, name: str) -> Callable[[Sequence[Value]], Value] | None:
        """See Scope."""
        return self._functions.get(name) or FUNCTIONS.get(name)

    # --- values ---------------------------------------------------------------------------------

    def work_out_all(self) -> tuple[VariableDoc, ...]:
        """Work out everything that was declared, so that every mistake is told; the variables as shown.

        Raises:
            DefinitionError: a value that cannot be worked out, or that its variable does not allow.
        """
        for name, attribute in self._constants.items():
            self.value(name, attribute.span)
        for function in self._functions.values():
            function.check()
        return tuple(self._doc(name, block) for name, block in self._variables.items())

    def _doc(self, name: str, block: Block) -> VariableDoc:
        value = self.value(name, block.labels[0].span)
        said, of = block.body.attributes.get("description"), block.body.attributes.get("type")
        text = None if value is None else value if isinstance(value, str) else json_of(value)
        return VariableDoc(
            name=name,
            type="" if of is None else parse_type(of.expr).text,
            value=text,
            description="" if said is None else self.text(said),
        )

    def text(self, attribute: Attribute) -> str:
        """An attribute that is a text.

        Raises:
            DefinitionError: it is none.
        """
        try:
            return text_of(evaluate(attribute.expr, self, self.budget))
        except Unsuitable as e:
            raise fault(attribute.expr.span, f"{attribute.name}: {e}") from e

    def _worked_out(self, name: str) -> Value:
        block, constant = self._variables.get(name), self._constants.get(name)
        of = block.body.attributes.get("type") if block else None
        default = constant or (block.body.attributes.get("default") if block else None)
        wanted = parse_type(of.expr) if of else None
        if default is None:
            value: Value = None if wanted else ""
        else:
            value = evaluate(default.expr, self, self.budget)
            value = _typed(value, wanted, default.expr.span, name) if wanted else value
        if block is None:
            return value
        return self._given_instead(name, block, wanted, value)

    def _given_instead(self, name: str, block: Block, wanted: Type | None, value: Value) -> Value:
        """What the user gives for a variable, else its default."""
        span, text = block.labels[0].span, self._given.text(name)
        as_json = None if f"{name}_JSON" in self._variables else self._given.text(f"{name}_JSON")
        if wanted is None:
            if text is None and as_json is None:
                return value
            return _like(value, text if text is not None else str(as_json), name, span)
        if as_json is not None:
            try:
                found = FUNCTIONS["jsondecode"]((as_json,))
            except CallError as e:
                raise fault(span, f"{name}_JSON: {e}") from e
            return _typed(found, wanted, span, f"{name}_JSON")
        return value if text is None else _from_text(text, wanted, name, span)

    def _validate(self, name: str) -> None:
        block = self._variables.get(name)
        for rule in block.body.blocks if block else ():
            only(rule.body, _VALIDATION, (), "a validation")
            condition, message = (rule.body.attributes.get(key) for key in _VALIDATION)
            if condition is None:
                raise fault(rule.span, "a validation needs a condition")
            try:
                holds = flag_of(evaluate(condition.expr, self, self.budget))
            except Unsuitable as e:
                raise fault(condition.expr.span, f"condition: {e}") from e
            if not holds:
                said = self.text(message) if message else "its condition does not hold"
                raise fault(condition.expr.span, f"{name}: {said.strip().rstrip('.')}")


def _label(block: Block) -> str:
    if len(block.labels) != 1:
        span = block.labels[1].span if block.labels else block.span
        raise fault(span, f"a {block.type} has one name")
    return block.labels[0].text


def _typed(value: Value, wanted: Type, span: Span, name: str) -> Value:
    try:
        return convert(value, wanted)
    except Unsuitable as e:
        raise fault(span, f"{name}: invalid value for {wanted.text}: {e}") from e


def _like(default: Value, text: str, name: str, span: Span) -> Value:
    """A text as what an untyped variable's default is."""
    if default is None or isinstance(default, str):
        return text
    if isinstance(default, bool):
        if text not in _TRUE + _FALSE:
            raise fault(span, f"failed to parse {name} as bool: {text!r}")
        return text in _TRUE
    kind = kind_of(default)
    if kind == "number":
        try:
            return number_of(text)
        except Unsuitable:
            raise fault(span, f"failed to parse {name} as number: {text!r}") from None
    hint = f"give it a type, as list(string); then {name} takes CSV, and {name}_JSON anything"
    raise fault(span, f"unsupported type {kind} for variable {name} from outside", hint=hint)


def _from_text(text: str, wanted: Type, name: str, span: Span) -> Value:
    """A text as a typed variable has it: lists and maps are CSV."""
    if wanted.kind == "object":
        raise fault(span, f"{name}: an object is given as JSON, by {name}_JSON")
    if wanted.kind not in ("list", "set", "tuple", "map"):
        return _typed(text, wanted, span, name)
    try:
        items = next(csv.reader([text], strict=True), [])
    except csv.Error as e:
        raise fault(span, f"{name}: {text!r} is no CSV: {e}") from e
    if wanted.kind != "map":
        return _typed(tuple(items), wanted, span, name)
    pairs = [item.partition("=") for item in items]
    wrong = next((item for item, (_, equals, _) in zip(items, pairs, strict=True) if not equals), None)
    if wrong is not None:
        raise fault(span, f"{name}: {wrong!r} is not KEY=VALUE")
    return _typed({key: value for key, _, value in pairs}, wanted, span, name)


# --- functions -------------------------------------------------------------------------------------


class _Function:
    """A function of the file: parameters, perhaps one for all that follow, and an expression."""

    def __init__(self, name: str, block: Block, names: Names) -> None:
        self._name, self._block, self._names = name, block, names
        self._busy = False

    def check(self) -> None:
        """Look whether it can be called.

        Raises:
            DefinitionError: it cannot.
        """
        self._parts()

    def _parts(self) -> tuple[list[str], str, Expr]:
        said = self._block.body.attributes
        if "params" not in said or "result" not in said:
            missing = "params" if "params" not in said else "result"
            raise fault(self._block.span, f"function {self._name} needs {missing}")
        params = said["params"].expr
        if not isinstance(params, TupleExpr):
            raise fault(params.span, "params is a list of names")
        rest = said.get("variadic_params")
        return [_name_of(p) for p in params.items], _name_of(rest.expr) if rest else "", said["result"].expr

    def __call__(self, args: Sequence[Value]) -> Value:
        """The value for some arguments.

        Raises:
            CallError: they are too few or too many, or it calls itself.
            DefinitionError: of its expression.
        """
        params, rest, result = self._parts()
        if len(args) < len(params):
            raise CallError(f"an argument is missing: {params[len(args)]}")
        if len(args) > len(params) and not rest:
            raise CallError(f"it takes {len(params)} arguments, not {len(args)}", len(params))
        if self._busy:
            raise CallError(f"function cycle not allowed for {self._name}")
        local: dict[str, Value] = dict(zip(params, args, strict=False))
        if rest:
            local[rest] = tuple(args[len(params) :])
        self._busy = True
        try:
            return evaluate(result, Within(self._names, local), self._names.budget)
        finally:
            self._busy = False


def _name_of(expr: Expr) -> str:
    if isinstance(expr, Variable):
        return expr.name
    if isinstance(expr, Literal) and isinstance(expr.value, str):  # JSON has them so
        return expr.value
    raise fault(expr.span, "a parameter is a name")


class Within(Scope):
    """Names of a function's arguments, or of a matrix, before those of the file; Scope."""

    def __init__(self, names: Scope, local: Mapping[str, Value]) -> None:
        self._names, self._local = names, local

    def value(self, name: str, span: Span) -> Value:
        """See Scope."""
        return self._local[name] if name in self._local else self._names.value(name, span)

    def function(self, name: str) -> Callable[[Sequence[Value]], Value] | None:
        """See Scope."""
        return self._names.function(name)
