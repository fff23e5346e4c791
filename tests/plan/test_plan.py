"""A plan is plain data: it is written down and read back equal, and holds nothing of this process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from imagesmith.dockerfile.flags import COPY_FLAGS
from imagesmith.errors import InvalidDocument
from imagesmith.events import Planned, StepStarted
from imagesmith.ops.copy import CopyOp
from imagesmith.ops.image import ImageOp
from imagesmith.plan import filesystem
from imagesmith.plan.plan import Plan
from imagesmith.solve.graph import all_steps
from imagesmith.solve.key import op_part
from imagesmith.values import frozen
from tests.kitchen import Kitchen
from tests.plan.conftest import plan_of
from tests.support import IMAGESMITH

TEXT = """\
FROM scratch AS a
ARG v=1
ENV PATH=/bin e=é
COPY f d /in/
ADD --chmod=600 --exclude=x f /add
WORKDIR /w
RUN --mount=type=bind,source=d,target=/d --mount=type=cache,target=/c,sharing=locked --network=none make
FROM scratch
COPY --from=a --parents /in /out/
RUN --mount=from=a,target=/a --mount=type=secret,id=s,required=true <<E
one
two
E
COPY <<E /here
text $v
E
ADD https://example.org/x.tar https://example.org/r.git#main /u/
LABEL b=c
HEALTHCHECK --interval=5s CMD true
CMD ["x"]
"""


def call(kitchen: Kitchen, *words: str) -> str:
    """What the command prints."""
    root, context = str(kitchen.root), str(kitchen.context)
    done = subprocess.run(
        [*IMAGESMITH, "build", "--root", root, context, *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_plan_reads_back_equal(kitchen: Kitchen) -> None:
    kitchen.write({"f": "f", "d/x": "x"})
    kitchen.build("FROM scratch\nCOPY f /f\nENV A=1\n", tags=["base"])
    plan = plan_of(kitchen, TEXT.replace("FROM scratch\n", "FROM base\n"), labels={"k": "v"})
    again = Plan.parse(json.dumps(plan.to_json()).encode())
    assert again == plan
    assert again.to_json() == plan.to_json()
    steps, back = all_steps(plan.tips), all_steps(again.tips)
    assert [(s.op, s.name, s.stage) for s in back] == [(s.op, s.name, s.stage) for s in steps]
    assert {type(s.op).__name__ for s in steps} == {"AddOp", "CopyOp", "ImageOp", "MakeDirOp", "RunOp"}


def test_empty_image_has_a_plan(kitchen: Kitchen) -> None:
    plan = plan_of(kitchen, "FROM scratch\nLABEL a=b\n")
    assert Plan.parse(json.dumps(plan.to_json()).encode()) == plan
    assert plan.images[0].base is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d | {"version": 1}, "version"),
        (lambda d: d["steps"][0]["op"].update(dest="/other") or d, "another one"),
        (lambda d: d["steps"][0]["op"].update(kind="Path") or d, "unknown value"),
        (lambda d: {k: v for k, v in d.items() if k != "images"}, "lacks"),
        (lambda d: d["images"][0]["tip"].update(digest="sha256:0") or d, "unknown value"),
        (lambda d: d | {"images": [None]}, "no image"),
        (lambda d: d | {"images": []}, "no image"),
    ],
)
def test_plan_that_is_not_what_it_says_is_refused(
    kitchen: Kitchen, change: Callable[[dict[str, Any]], dict[str, Any]], told: str
) -> None:
    kitchen.write({"f": "f"})
    document = json.dumps(plan_of(kitchen, "FROM scratch\nCOPY f /f\nRUN x\n").to_json())
    with pytest.raises(InvalidDocument, match=told):
        Plan.parse(json.dumps(change(json.loads(document))).encode())


def test_call_graph_prints_the_plan(kitchen: Kitchen) -> None:
    kitchen.write({"f": "f", "d/x": "x"})
    plan = plan_of(kitchen, TEXT)
    assert Plan.parse(call(kitchen, "--call", "graph,format=json").encode()) == plan
    lines = call(kitchen, "--call", "graph").splitlines()
    assert lines[0].split() == ["STEP", "NEEDS"]
    assert len(lines) == 1 + len(all_steps(plan.tips))
    [tip] = plan.tips
    assert tip is not None
    assert tip.parent is not None
    ends = [tip.step_digest.hex[:12], tip.parent.step_digest.hex[:12]]
    assert lines[-1].split()[:2] == ends


def test_equal_steps_of_two_stages_are_one(kitchen: Kitchen) -> None:
    kitchen.write({"f": "f"})
    text = (
        "FROM scratch AS a\nCOPY f /f\nWORKDIR /w\nFROM scratch AS b\nCOPY f /f\nWORKDIR /w\nCOPY f g\n"
        "FROM scratch\nCOPY --from=a /w /a\nCOPY --from=b /w /b\n"
    )
    assert len(all_steps([plan_of(kitchen, text).images[0].tip])) == 5
    kitchen.build(text)
    assert len(kitchen.executed) == 5
    planned = next(e for e in kitchen.events if isinstance(e, Planned)).names
    told = {e.name for e in kitchen.events if isinstance(e, StepStarted)}
    assert set(planned) == {name for name in told if not name.startswith(("[internal]", "exporting"))}
    assert "[a 1/2] COPY f /f" in planned


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [(str, "--later-flag=$v", "1"), (bool, "--later-flag", True), (list, "--later-flag=$v", ("$v",))],
)
def test_flag_that_is_added_to_the_table_goes_to_the_op_s_field(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch, kind: type, word: str, value: object
) -> None:
    @frozen(kw_only=True)
    class Later(CopyOp):
        later_flag: object = None

        kind = "copy"

    monkeypatch.setitem(COPY_FLAGS, "later-flag", kind)
    monkeypatch.setattr(filesystem, "CopyOp", Later)
    kitchen.write({"f": "f"})
    with_it, without = (
        plan_of(kitchen, f"FROM scratch\nARG v=1\nCOPY {flag} f /f\n").images[0].tip for flag in (word, "")
    )
    assert with_it is not None
    assert without is not None
    assert getattr(with_it.op, "later_flag") == value  # noqa: B009 - a field that mypy does not know
    assert op_part(with_it.op) != op_part(without.op)


def test_two_names_of_one_image_stay_two(kitchen: Kitchen) -> None:
    kitchen.write({"f": "f"})
    kitchen.build("FROM scratch\nCOPY f /\n", tags=["one", "two"])
    tip = plan_of(kitchen, "FROM one AS a\nFROM two\nCOPY --from=a / /x\n").images[0].tip
    assert [s.op.name for s in all_steps([tip]) if isinstance(s.op, ImageOp)] == [
        "docker.io/library/two:latest",
        "docker.io/library/one:latest",
    ]
