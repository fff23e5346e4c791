"""What users see of whole builds, on terminals of two sizes and in a log: nothing that is out of place."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.e2e.conftest import Smith
from tests.support import IMAGESMITH
from tests.windows import OURS, Terminal

pytestmark = pytest.mark.slow

SIZES = [(80, 24), (200, 50)]
STAGES = range(1, 9)

#: Prints tabs, wide characters, lines wider than any window, orders to a terminal, and a bar.
WORK = r"""
i=0
while [ $i -lt "$2" ]; do
  printf 'stage %s\tline %s\t漢字かな交じり文 👩‍👩‍👧 e\314\201 \033[2J\033[H%0300d\n' $1 $i 0
  printf '\rbar %s [####    ] %s%%' $1 $i
  sleep 0.02
  i=$((i + 1))
done
echo
"""

#: A row of a vertex, or of a part of one.
ROW = re.compile(
    r"^ => (\[(\w|-)+ \d/\d\] (RUN|COPY) |fetch base |exporting to |\[internal\] "
    r"|=> (transferring (dockerfile|context): |exporting \w+|naming to ))"
)


def context(folder: Path, lines: int, last: str = "") -> Path:
    """Eight stages that print at the same time, and one that takes of them all."""
    folder.mkdir()
    (folder / "work.sh").write_text(WORK)
    stages = "".join(
        f"FROM base AS s{n}\nCOPY work.sh /\nRUN sh /work.sh {n} {lines} && touch /done{n}\n" for n in STAGES
    )
    copies = "".join(f"COPY --from=s{n} /done{n} /\n" for n in STAGES)
    (folder / "Dockerfile").write_text(f"{stages}FROM base\n{copies}{last}")
    return folder


def on_terminal(smith: Smith, folder: Path, size: tuple[int, int], *words: str) -> Terminal:
    """A build on a terminal."""
    base = f"base=oci-layout://{smith.base}"
    command = [*IMAGESMITH, "build", "--build-context", base, *words, str(folder)]
    return Terminal(command, *size, {"IMAGESMITH_ROOT": str(smith.folder / "store")})


def strays(lines: list[str]) -> list[str]:
    """Lines that are none of a step that has ended, or was stopped."""
    return [line for line in lines if not ROW.match(line.replace("CANCELED ", "").replace("ERROR ", ""))]


def working(lines: list[str]) -> bool:
    """All eight are seen to run, and how far one of them is."""
    bars = [line for line in lines if re.match(r" => => bar \d \[####    \] \d+%", line)]
    return sum(" => [s" in line and "RUN sh /work.sh" in line for line in lines) == 8 and bool(bars)


@pytest.mark.parametrize("size", SIZES)
def test_eight_stages_leave_a_row_each_and_nothing_else(
    smith: Smith, tmp_path: Path, size: tuple[int, int]
) -> None:
    folder = context(tmp_path / "context", 100)
    counts = []
    with on_terminal(smith, folder, size, "--no-cache", "-t", "x") as terminal:
        terminal.until(working)
        assert strays(terminal.window.scrolled) == []
        assert terminal.wait() == 0
        for done, total in re.findall(r"\[\+\] Building \d+\.\ds \((\d+)/(\d+)\)", terminal.raw):
            counts.append((int(done), int(total)))
        *rows, head, named, digest = terminal.window.lines
        raw = terminal.raw
    assert strays(rows) == []
    done = [row for row in rows if " RUN " in row or " COPY " in row]
    assert len(done) == 17  # what all eight copy is one step, theirs and the last stage's are one each
    assert head.endswith("FINISHED")
    assert (named, digest[:7]) == ("named x:latest", "sha256:")
    assert counts == sorted(counts)
    assert all(len(row) < size[0] for row in rows)
    assert "\x1b[2J" not in raw
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", OURS.sub("", raw))


@pytest.mark.parametrize("size", SIZES)
def test_an_interrupt_ends_with_canceled_rows_and_a_whole_terminal(
    smith: Smith, tmp_path: Path, size: tuple[int, int]
) -> None:
    folder = context(tmp_path / "context", 2000)
    with on_terminal(smith, folder, size, "--no-cache") as terminal:
        terminal.until(working)
        terminal.press(b"\x03")
        assert terminal.wait(20) == 130
        lines, screen = terminal.window.lines, terminal.window.screen
    assert lines[-1] == "error: stopped"
    assert re.fullmatch(r"\[\+\] Building \d+\.\ds \(\d+/\d+\)", lines[-2])
    assert strays(lines[:-2]) == []
    assert sum(line.startswith(" => CANCELED [s") for line in lines) == 8
    assert not screen.cursor.hidden
    assert screen.cursor.x == 0


@pytest.mark.parametrize("size", SIZES)
def test_a_failure_is_told_once_below_what_was_done(
    smith: Smith, tmp_path: Path, size: tuple[int, int]
) -> None:
    folder = context(tmp_path / "context", 2000)
    text = (folder / "Dockerfile").read_text()
    words = "echo the reason; exit 3; " + "true && " * 40
    (folder / "Dockerfile").write_text(text.replace("sh /work.sh 4 2000 &&", f"sh /work.sh 4 20; {words}"))
    with on_terminal(smith, folder, size, "--no-cache") as terminal:
        status = terminal.wait()
        lines = terminal.window.lines
    assert status not in (0, 130)
    end = lines.index("------")
    assert strays(lines[: end - 1]) == []
    (error,) = [line for line in lines[:end] if line.startswith(" => ERROR ")]
    assert len(error) < size[0]
    assert sum(line.startswith(" => CANCELED [s") for line in lines) == 7
    assert sum(line.endswith(" the reason") for line in lines) == 1
    assert lines[-1].startswith("error: ") or any(line.startswith("error: ") for line in lines[-6:])


def test_a_window_that_changes_leaves_no_debris(smith: Smith, tmp_path: Path) -> None:
    folder = context(tmp_path / "context", 150)
    with on_terminal(smith, folder, (200, 50), "--no-cache") as terminal:
        terminal.until(working)
        for size in ((80, 24), (40, 12), (120, 40), (80, 24)):
            terminal.resize(*size)
            terminal.look(0.4)
            assert strays(terminal.window.scrolled) == []
            assert sum("[+] Building" in line for line in terminal.window.lines) == 1
        assert terminal.wait() == 0
        assert sum("[+] Building" in line for line in terminal.window.lines) == 1


def test_plain_lines_of_three_stages_are_about_as_many_as_buildkits(smith: Smith, tmp_path: Path) -> None:
    """191 lines come of BuildKit for this input."""
    loop = "i=0; while [ $i -lt 50 ]; do echo line $i; sleep 0.02; i=$((i+1)); done"
    stages = "".join(f"FROM base AS s{n}\nRUN {loop}; touch /done{n}\n" for n in range(3))
    (tmp_path / "Dockerfile").write_text(
        stages + "FROM base\n" + "".join(f"COPY --from=s{n} /done{n} /\n" for n in range(3))
    )
    done = smith.build(str(tmp_path), "--no-cache", "--progress", "plain")
    lines = done.stderr.splitlines()
    assert len([line for line in lines if re.search(r"\.\d{3} line \d+$", line)]) == 150
    assert 150 < len(lines) <= 1.3 * 191


def test_what_is_copied_is_seen_on_a_terminal_too(smith: Smith, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(30 << 20))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY big /\n")
    smith.build(str(tmp_path), "-t", "big:1")
    words = [*IMAGESMITH, "copy", "store:big:1", f"oci:{tmp_path}/out"]
    with Terminal(words, 100, 20, {"IMAGESMITH_ROOT": str(smith.folder / "store")}) as terminal:
        assert terminal.wait() == 0
        row, head, digest = terminal.window.lines
    assert row.startswith(" => copy ")
    assert re.fullmatch(r"\[\+\] Transferring \d+\.\ds \(1/1\) FINISHED", head)
    assert digest.startswith("sha256:")
