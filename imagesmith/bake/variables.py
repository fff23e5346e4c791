"""Names of a definition: its variables, constants and functions, and what the user gives instead.

A variable's value is what `--var` gives, else the environment, else its default; each is worked out when it
is first asked for, so that defaults may use other variables, in whatever order they stand.
Spec: buildx's bake reference (variable, function) and hclparser: NAME_JSON for typed ones, CSV for lists.
Trust: definitions are others', values the user's. Names that need each other in a circle end in an error.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence

from imagesmith.bake.budget import Budget
from imagesmith.bake.evaluate import Scope, evaluate
from imagesmith.bake.functions.calling import CallError
from imagesmith.bake.functions.encodings import json_of
from imagesmith.bake.functions.table import FUNCTIONS
from imagesmith.bake.nodes import Attribute, Block, Body
from imagesmith.bake.places import Span, fault
from imagesmith.bake.references import asked_by
from imagesmith.bake.types import Type, convert, parse_type
from imagesmith.bake.userfunctions import UserFunction
from imagesmith.bake.values import Unsuitable, Value, flag_of, kind_of, number_of, text_of
from imagesmith.dockerfile.suggest import suggest
from imagesmith.values import field, frozen

__all__ = ["Given", "Names", "VariableDoc", "only"]

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
        self._functions: dict[str, UserFunction] = {}
        self._values: dict[str, Value] = {}
        self._busy: set[str] = set()
        #: Further names, each with what gives its value: `target` and `group`.
        self.more: dict[str, Value] = {}

    def add(self, body: Body) -> None:
        """Take the variables, constants and functions of a file; those of an earlier one are replaced."""
        for attribute in body.attributes.values():
            self._constants[attribute.name] = attribute
        for block in body.blocks:
            if block.type == "variable":
                only(block.body, _VARIABLE, ("validation",), "a variable")
                self._variables[_label(block)] = block
            elif block.type == "function":
                only(block.body, _FUNCTION, (), "a function")
                self._functions[_label(block)] = UserFunction(_label(block), block, self, self.budget)

    # --- Scope ----------------------------------------------------------------------------------

    def value(self, name: str, span: Span) -> Value:
        """See Scope."""
        if name in self._builtin:
            return self._builtin[name]
        if name not in self._values:
            if not self._declares(name):
                return self._another(name, span)
            self._work_out_with_needs(name, span)
        return self._values[name]

    def _declares(self, name: str) -> bool:
        return name in self._variables or name in self._constants

    def _work_out_with_needs(self, name: str, span: Span) -> None:
        """Work out a value, after those that it asks for: a row of them may be long."""
        if name in self._busy:
            raise fault(span, f"variable cycle not allowed for {name}")
        todo = [name]
        try:
            while todo:
                at = todo[-1]
                missing = [n for n in self._needs(at) if n not in self._values]
                if at in self._values or (at in self._busy and not missing) or self._begins(at, missing):
                    if at not in self._values:
                        self._values[at] = self._worked_out(at)
                        self._validate(at)
                    self._busy.discard(at)
                    todo.pop()
                else:
                    todo += missing
        finally:
            self._busy.difference_update(todo)

    def _begins(self, name: str, missing: Sequence[str]) -> bool:
        """Begin to work out a name; True if it asks for nothing that is not there."""
        circle = next((n for n in (*missing, name) if n == name in missing or n in self._busy), None)
        if circle is not None:
            raise fault(self._place(circle), f"variable cycle not allowed for {circle}")
        self._busy.add(name)
        return not missing

    def _place(self, name: str) -> Span:
        """Where a name is declared."""
        found = self._constants.get(name)
        return found.span if found is not None else self._variables[name].labels[0].span

    def _needs(self, name: str) -> list[str]:
        """The variables and constants that a value asks for, those of functions that it calls among them."""
        expr = self._default_of(name)
        if expr is None:
            return []
        names: dict[str, None] = {}
        seen: set[str] = set()
        todo = [(expr.expr, frozenset[str]())]
        while todo:
            at, own = todo.pop()
            found, functions = asked_by(at)
            names |= dict.fromkeys(sorted(n for n in found - own if self._declares(n)))
            for called in functions - seen:
                seen.add(called)
                if (function := self._functions.get(called)) is not None:
                    params, rest, result = function.parts()
                    todo.append((result, frozenset((*params, rest))))
        return list(names)

    def _default_of(self, name: str) -> Attribute | None:
        block = self._variables.get(name)
        return self._constants.get(name) or (block.body.attributes.get("default") if block else None)

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
        block, default = self._variables.get(name), self._default_of(name)
        of = block.body.attributes.get("type") if block else None
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
    pairs = [re.split("[:=]", item, maxsplit=1) for item in items]  # buildx knows `:`
    wrong = next((item for item, pair in zip(items, pairs, strict=True) if len(pair) < 2), None)
    if wrong is not None:
        raise fault(span, f"{name}: {wrong!r} is neither KEY:VALUE nor KEY=VALUE")
    return _typed(dict(pairs), wanted, span, name)
