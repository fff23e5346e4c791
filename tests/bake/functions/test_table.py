"""The list of functions is complete, and none of them fails otherwise than by its own error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagesmith.bake.functions.calling import CallError
from imagesmith.bake.functions.table import FUNCTIONS
from imagesmith.bake.values import SetValue
from tests.bake.functions.calls import value_of

#: Those of buildx's bake/hclparser/stdlib.go, without try, can and convert, which the evaluator does.
NAMES = """
absolute add and base64decode base64encode basename bcrypt byteslen bytesslice ceil chomp chunklist cidrhost
cidrnetmask cidrsubnet cidrsubnets coalesce coalescelist compact concat contains csvdecode dirname distinct
divide element equal flatten floor format formatdate formatlist formattimestamp greaterthan
greaterthanorequalto hasindex homedir indent index indexof int join jsondecode jsonencode keys length
lessthan lessthanorequalto log lookup lower max md5 merge min modulo multiply negate not notequal or
parseint pow range regex regex_replace regexall replace reverse reverselist rsadecrypt sanitize semvercmp
sethaselement setintersection setproduct setsubtract setsymmetricdifference setunion sha1 sha256 sha512
signum slice sort split strlen substr subtract timeadd timestamp title trim trimprefix trimspace trimsuffix
unixtimestampparse upper urlencode uuidv4 uuidv5 values zipmap
"""

texts = st.text(max_size=12) | st.sampled_from(
    ["", "1", "-2.5", "true", "1e9999", "a,b\n1,2", "[1,{}]", "YWI=", "10.0.0.0/8", "%5.2f%v", "(a|b)*$",
     "YYYY-MM", "2006-01-02T15:04:05Z", "1h", ">=1.2", "1.2.3", "dns",
     "ascii é \U0001f468\u200d\U0001f469", "${1}$x"]
)  # fmt: skip
numbers = st.integers(-3, 70) | st.sampled_from([2**63, -(2**63) - 1, 10**30, 0.5, -0.25, 10**9])
plain = texts | numbers | st.booleans() | st.none()
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.frozensets(st.text(max_size=3) | st.integers(0, 3), max_size=3)
    ),
    max_leaves=6,
).map(value_of)


def test_list_is_complete() -> None:
    assert sorted(FUNCTIONS) == sorted(NAMES.split())
    assert all(name == function.name for name, function in FUNCTIONS.items())


@pytest.mark.parametrize("name", sorted(set(NAMES.split()) - {"bcrypt"}))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_call_gives_a_value_or_its_own_error(name: str, data: st.DataObject) -> None:
    function = FUNCTIONS[name]
    most = len(function.parameters) + (3 if function.rest else 0)
    args = data.draw(st.lists(values, min_size=len(function.parameters), max_size=most))
    try:
        found: Any = function(args)
    except CallError as e:
        found = e
    if isinstance(found, CallError):
        assert found.message.startswith(f"{name}: ")
        assert found.argument is None or 0 <= found.argument <= len(args)
    else:
        assert is_value(found), found


@pytest.mark.parametrize("name", NAMES.split())
def test_too_many_arguments_are_told(name: str) -> None:
    function = FUNCTIONS[name]
    if function.rest is None:
        count = len(function.parameters)
        with pytest.raises(CallError, match=rf"^{name}: takes {count} arguments?\b.*, not {count + 1}$") as e:
            function(("1",) * (count + 1))
        assert e.value.argument == count


@pytest.mark.parametrize("name", NAMES.split())
def test_too_few_arguments_are_told_with_the_names_of_all(name: str) -> None:
    function = FUNCTIONS[name]
    if function.parameters:
        with pytest.raises(CallError) as e:
            function(())
        assert e.value.argument is None
        assert all(parameter.name in e.value.message for parameter in function.parameters)


@pytest.mark.parametrize("name", NAMES.split())
def test_null_is_refused_by_the_name_of_the_parameter(name: str) -> None:
    function = FUNCTIONS[name]
    for n, parameter in enumerate(function.parameters):
        if not parameter.null and n == 0:
            with pytest.raises(CallError, match=rf"^{name}: {parameter.name} is null$") as e:
                function((None,) * len(function.parameters))
            assert e.value.argument == 0


def is_value(found: Any) -> bool:
    if isinstance(found, tuple | SetValue):
        return all(map(is_value, found))
    if isinstance(found, dict):
        return all(isinstance(name, str) and is_value(found[name]) for name in found) and list(
            found
        ) == sorted(found)
    return found is None or type(found).__name__ in ("str", "bool", "Decimal")
