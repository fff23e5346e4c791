"""The picture of transfers on a terminal of any width."""

from __future__ import annotations

import io

import pytest

from imagesmith.cli.progress import make_front
from imagesmith.events import Progress, StepDone, StepStarted


@pytest.mark.parametrize("width", [1, 20, 79, 200])
def test_bar_of_each_blob_is_drawn_and_taken_away(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    front = make_front("tty", out)
    front.title = "Transferring"
    monkeypatch.setattr(front, "_width", lambda: width)
    front(StepStarted(step=1, name="pull a"))
    front(Progress(step=1, id="sha256:abc", current=50, total=100))
    front(Progress(step=1, id="more", current=5))
    with front.lock:
        front._draw()  # type: ignore[attr-defined]  # what its clock does
    front(Progress(step=1, id="sha256:abc", current=100, total=100, done=True))
    front(StepDone(step=1, seconds=0.5))
    front.close()
    shown = out.getvalue()
    assert "[+] Transferring" in shown
    assert width < 79 or "sha256:abc" in shown.partition("[==========          ] 50B / 100B")[0]
    assert shown.rpartition("\x1b[J")[2].strip() == ""
