"""Where --shell-at halts, and what a stage is at its RUNs; without a build."""

from __future__ import annotations

from typing import Any

import pytest

from imagesmith.context.named import parse_named
from imagesmith.errors import DockerfileError
from imagesmith.ops.run import RunOp
from imagesmith.options import parse_shell_at
from imagesmith.plan.halting import Halts
from imagesmith.request import OnFailure
from imagesmith.solve.graph import all_steps
from tests.kitchen import Kitchen
from tests.plan.conftest import plan_of

TEXT = """# a comment
FROM scratch AS one
ENV A=1
RUN --mount=type=tmpfs,target=/t \\
    echo \\
    one

USER 5
COPY f /
# the end of one
FROM one
ARG B=2
RUN <<E
two
E
FROM one AS unused
FROM scratch
COPY --from=1 / /
"""


def halted(kitchen: Kitchen, at: str, text: str = TEXT, **words: Any) -> Halts:
    """Where a build halts; what is there is a part of the plan only where a RUN stands."""
    kitchen.write({"f": "x"})
    halts = Halts()
    plan = plan_of(kitchen, text, halts, shell_at=parse_shell_at(at), **words)
    assert halts.step is not None
    assert halts.is_there is (halts.step in all_steps(plan.tips))
    return halts


@pytest.mark.parametrize(
    ("at", "where", "user", "has_parent"),
    [
        ("one:2", "before one:2", "", False),
        ("ONE:3", "before one:3", "", False),
        ("0:7", "before one:8", "", True),
        ("one:8", "before one:8", "", True),
        ("one:9", "before one:9", "5", True),
        ("one:10", "at the end of one", "5", True),
        ("one", "at the end of one", "5", True),
        ("1:12", "before stage-1:12", "5", True),
        ("3", "at the end of stage-3", "", True),
    ],
)
def test_place_without_a_run_has_the_state_there(
    kitchen: Kitchen, at: str, where: str, user: str, has_parent: bool
) -> None:
    halts = halted(kitchen, at)
    step = halts.step
    assert step is not None
    assert isinstance(step.op, RunOp)
    assert (halts.where, halts.is_there, step.op.user) == (where, False, user)
    assert (step.parent is not None) is has_parent
    assert halts.moments[step].runtime.user == user


@pytest.mark.parametrize("at", ["one:4", "one:5", "one:6"])
def test_run_is_found_by_each_of_its_lines(kitchen: Kitchen, at: str) -> None:
    halts = halted(kitchen, at)
    assert halts.is_there
    assert halts.where == "before one:4"
    assert halts.step is not None
    assert halts.step.name.startswith("[one 1/2] RUN")


def test_run_of_a_heredoc(kitchen: Kitchen) -> None:
    halts = halted(kitchen, "1:14")
    assert halts.is_there
    assert halts.where == "before stage-1:13"
    assert halts.step is not None
    assert isinstance(halts.step.op, RunOp)
    assert ("B", "2") in halts.step.op.env


@pytest.mark.parametrize(
    ("at", "message", "line"),
    [
        ("two", "there is no stage two", 0),
        ("on", r"there is no stage on \(did you mean one\?\)", 0),
        ("9", "there is no stage 9$", 0),
        ("one:1", "stage one has the lines 2 to 10", 2),
        ("one:11", "stage one has the lines 2 to 10", 2),
        ("3:99", "stage stage-3 has the lines 17 to 18", 17),
        ("unused", "stage unused is not needed for stage-3", 16),
    ],
)
def test_place_that_is_none_is_said_where_it_would_be(
    kitchen: Kitchen, at: str, message: str, line: int
) -> None:
    with pytest.raises(DockerfileError, match=message) as e:
        halted(kitchen, at)
    assert e.value.first == line
    if not line:
        assert e.value.hint == "the stages are one, 1, unused, 3"


def test_stage_that_is_replaced_or_not_the_targets_is_said(kitchen: Kitchen) -> None:
    with pytest.raises(DockerfileError, match="stage two is not needed for one") as e:
        halted(kitchen, "two", "FROM scratch AS one\nFROM scratch AS two\n", target="one")
    assert e.value.hint == "--target two builds it"
    contexts = dict([parse_named(f"one={kitchen.context}")])
    with pytest.raises(DockerfileError, match="stage one is replaced by the build context one"):
        halted(kitchen, "one", "FROM scratch AS one\nFROM one\n", contexts=contexts)


def test_each_run_has_its_moment_where_that_is_asked_for(kitchen: Kitchen) -> None:
    halts = Halts()
    kitchen.write({"f": "x"})
    plan_of(kitchen, TEXT, halts, on_failure=OnFailure())
    assert halts.step is None
    first, second = halts.moments.values()
    assert [h.created_by.split()[0] for h in first.history] == ["ENV", "RUN"]
    assert (first.runtime.user, second.runtime.user) == ("", "5")
