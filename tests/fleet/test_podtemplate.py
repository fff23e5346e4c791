"""Pod templates: what is laid over what, and what is refused, with its line."""

from __future__ import annotations

import pytest

from imagesmith.errors import DefinitionError
from imagesmith.fleet.podtemplate import laid_over, read_template


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("spec:\n  restartPolicy: OnFailure\n", 2, "restartPolicy must be Never"),
        ("spec:\n  hostUsers: false\n  hostNetwork: true\n", 3, "hostNetwork cannot be had with hostUsers"),
        ("spec:\n  hostPID: true\n  hostUsers: false\n", 2, "hostPID cannot be had with hostUsers"),
        ("spec: []\n", 1, "a pod template is an object with spec"),
        ("metadata: {}\n", 1, "a pod template is an object with spec"),
        ("spec: {}\nspecs: {}\n", 2, "a pod template has no specs"),
        ("metadata: 1\nspec: {}\n", 1, "metadata is an object"),
        ("spec:\n  containers: null\n", 2, "containers is a list"),
        ("spec:\n  containers:\n  - 3\n", 3, "each of containers is an object with a name"),
        ("spec:\n  volumes:\n  - {name: [a]}\n", 3, "each of volumes is an object with a name"),
        ("- a\n", 1, "a pod template is one object"),
        ("spec: {}\n---\nspec: {}\n", 1, "a pod template is one object"),
    ],
)
def test_what_no_pod_of_ours_can_be_is_refused(text: str, line: int, said: str) -> None:
    with pytest.raises(DefinitionError) as e:
        read_template("pod.yaml", text)
    assert e.value.message.startswith(said)
    assert (e.value.file, e.value.line) == ("pod.yaml", line)


def test_a_pod_and_a_pod_template_and_json_are_read_alike() -> None:
    plain = read_template("p", '{"spec": {"hostUsers": true}}')
    assert plain == {"spec": {"hostUsers": True}}
    assert read_template("p", "apiVersion: v1\nkind: Pod\nspec: {hostUsers: true}\n") == plain
    assert read_template("p", "kind: PodTemplate\ntemplate: {spec: {hostUsers: true}}\n") == plain


def test_lists_of_what_has_a_name_are_joined_by_it() -> None:
    base = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}], "args": ["a"]}
    over = {"env": [{"name": "B", "value": "2"}, {"name": "C", "value": "2"}], "args": ["b"]}
    assert laid_over(base, over) == {
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "2"}],
        "args": ["b"],
    }


def test_an_item_without_a_name_is_added() -> None:
    base = {"env": [{"name": "A", "value": "1"}]}
    for item in (3, {"name": ["A"]}, {"value": "1"}):
        assert laid_over(base, {"env": [item]}) == {"env": [*base["env"], item]}


def test_null_takes_away_and_what_is_below_stays_as_it_was() -> None:
    base = {"a": {"b": 1, "c": 2}, "d": [1]}
    assert laid_over(base, {"a": {"b": None}, "d": None}) == {"a": {"c": 2}}
    assert base == {"a": {"b": 1, "c": 2}, "d": [1]}
