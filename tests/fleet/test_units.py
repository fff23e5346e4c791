"""Units: what is written is read again, equal ones are one, and what is none is refused with its place."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import InvalidDocument, LimitExceeded
from imagesmith.fleet.units import MOST_BYTES, Unit
from imagesmith.oci.codec import dumps
from tests.fleet.support import DIGEST, unit

REFS = st.from_regex(r"[a-z]{1,8}\.example/[a-z]{1,8}:[a-z0-9]{1,8}", fullmatch=True)


@st.composite
def units(draw: st.DrawFn) -> Unit:
    return unit(
        draw(st.text(min_size=1, max_size=8)),
        draw(st.sampled_from(["linux/amd64", "linux/arm64", "linux/arm/v7"])),
        *[unit(f"n{n}") for n in range(draw(st.integers(0, 3)))],
        stage=draw(st.text(max_size=5)),
        contexts=dict.fromkeys(draw(st.sets(st.text(max_size=4), max_size=3)), f"r.example/c@{DIGEST}"),
        cache_from=tuple(draw(st.lists(REFS, max_size=3))),
        cache_to=draw(st.one_of(st.just(""), REFS)),
        push=tuple(draw(st.lists(REFS, max_size=2))),
        epoch=draw(st.sampled_from(["", "0", "1700000000"])),
    )


@given(units())
def test_a_unit_is_read_as_it_was_written(made: Unit) -> None:
    read = Unit.parse(dumps(made.to_json()))
    assert read.to_json() == made.to_json()
    assert read.id == made.id


@given(units())
def test_the_id_depends_on_no_order_of_keys(made: Unit) -> None:
    document = made.to_json()
    turned = dict(reversed(list(document.items())))
    assert Unit.parse(json.dumps(turned).encode()).id == made.id


def test_the_id_counts_every_field() -> None:
    plain = unit()
    others: list[dict[str, Any]] = [
        {"stage": "base"}, {"contexts": {".": f"r.example/c@{DIGEST}"}}, {"cache_from": ("r.example/c:1",)},
        {"cache_to": "r.example/c:1"}, {"push": ("r.example/a",)}, {"verdicts": "r.example/c"},
        {"epoch": "1"},
    ]  # fmt: skip
    made = [plain, unit(platform="linux/arm64"), unit("app", "linux/amd64", plain)]
    made += [unit(**fields) for fields in others]
    assert len({m.id for m in made}) == len(made)


def changed(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda document: document | fields


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(version=2), "u: a unit of version 2 is not known"),
        (changed(more=1), "u: unknown key 'more'"),
        (changed(target=""), "u: target is missing"),
        (changed(target="other"), "u: its definition has no target 'other'"),
        (changed(platform="*"), "u: platform: "),
        (changed(definition=[]), "u: definition must be an object"),
        (changed(definition={"target": {"app": 1}}), "u: definition: target 'app' must be an object"),
        (changed(contexts={".": "r.example/c:1"}), "u: contexts: 'r.example/c:1' has no digest"),
        (changed(contexts={".": "A B"}), "u: contexts: 'A B': invalid reference format"),
        (changed(needs=["x"]), "u: needs: unsupported digest algorithm in 'x'"),
        (changed(needs=[DIGEST] * 1001), "u: needs: 1001 are too many"),
        (changed(push=[3]), "u: push[0] must be a string"),
        (changed(cache_to="//"), "u: cache_to: "),
        (changed(epoch="-1"), "u: epoch: '-1' is no number of seconds"),
        (lambda document: [document], "u: must be a JSON object"),
    ],
)
def test_what_is_no_unit_is_refused(change: Callable[[dict[str, Any]], Any], said: str) -> None:
    with pytest.raises(InvalidDocument) as e:
        Unit.parse(json.dumps(change(unit().to_json())).encode(), "u")
    assert e.value.message.startswith(said)
    assert "\n" not in e.value.message


def test_a_key_may_stand_once_only() -> None:
    raw = dumps(unit().to_json()).replace(b'"stage":', b'"target":"b","stage":')
    with pytest.raises(InvalidDocument, match="stands twice"):
        Unit.parse(raw)


def test_a_unit_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(LimitExceeded):
        Unit.parse(b" " * (MOST_BYTES + 1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(unit().to_json())), inner),
    max_leaves=12,
)


@given(JSON)
def test_any_other_json_is_a_unit_or_an_error_of_ours(value: Any) -> None:
    document = unit().to_json() | (value if isinstance(value, dict) else {"definition": value})
    with contextlib.suppress(InvalidDocument):
        assert Unit.parse(json.dumps(document).encode()).target == document["target"]
