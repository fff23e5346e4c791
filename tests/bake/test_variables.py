"""Variables: the order in which they are declared means nothing."""

from __future__ import annotations

from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from imagesmith.bake import hcl
from imagesmith.bake.definition import define
from imagesmith.bake.places import Source
from imagesmith.bake.variables import Given

COUNT = 6


@st.composite
def declared(draw: st.DrawFn) -> tuple[list[str], list[str], dict[str, str]]:
    """Blocks in one order and in another, and what the environment gives; each uses earlier ones only."""
    blocks = []
    for n in range(COUNT):
        used = draw(st.lists(st.integers(0, n - 1), max_size=3)) if n else []
        text = "".join(f"${{V{i}}}" for i in used) + draw(st.sampled_from(["", "x", "y"]))
        blocks.append(draw(st.sampled_from([
            f'variable "V{n}" {{\n  default = "{text}"\n}}\n',
            f'variable "V{n}" {{\n  type = string\n  default = upper("{text}")\n}}\n',
            f'V{n} = "{text}"\n',
        ])))  # fmt: skip
    args = ", ".join(f"V{n} = V{n}" for n in range(COUNT))
    blocks.append(f'target "last" {{\n  inherits = ["first"]\n  args = {{ {args} }}\n}}\n')
    blocks.append('target "first" {\n  tags = ["r/x:${V5}"]\n}\n')
    blocks.append(
        'target "m" {\n  name = "m-${v}"\n  matrix = { v = ["1", "2"] }\n  inherits = ["last"]\n'
        '  target = "${v}${target.last.args.V0}"\n}\n'
    )
    env = draw(
        st.dictionaries(st.sampled_from([f"V{n}" for n in range(COUNT)]), st.just("given"), max_size=2)
    )
    return blocks, draw(st.permutations(blocks)), env


@settings(max_examples=60, deadline=None)
@examples(case=declared())
def test_order_of_blocks_means_nothing(case: tuple[list[str], list[str], dict[str, str]]) -> None:
    first, other, env = case
    a, b = (define([hcl.parse(Source("f", "".join(blocks)))], Given(env=env)) for blocks in (first, other))
    assert set(a.targets) == set(b.targets) == {"last", "first", "m-1", "m-2"}
    for name in a.targets:
        assert a.resolve(name, {}).attributes == b.resolve(name, {}).attributes
    assert {v.name: v for v in a.variables} == {v.name: v for v in b.variables}
