"""Coverage-guided fuzzing of readers of others' bytes: `python -m tests.attack.fuzz TARGET SECONDS SEED`.

TARGET is a name of targets.py, or `all`. What is found is kept in fixtures/fuzz/TARGET/, and the tests run
it again from then on. With atheris installed it is libFuzzer that looks for inputs (`--engine own` for the
other); without, and in the tests, an engine of our own: it changes known inputs at random, and keeps those
that reach new lines.

Why an engine of our own: the run within the tests must be the same everywhere, also where atheris cannot be
installed. The same seed makes the same inputs.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "fuzz"
_PACKAGE = str(Path(__file__).resolve().parents[2] / "imagesmith")
_NUMBERS = (b"\0", b"\xff", b"\x7f", b"\x80", b"-1", b"0", b"1", b"4294967295", b"9223372036854775808", b"00")


@dataclass(frozen=True)
class Finding:
    """An input, what it did, and where."""

    data: bytes
    said: str
    where: str


def fixtures(name: str) -> list[Path]:
    """The inputs that went wrong once."""
    return sorted((FIXTURES / name).glob("*"))


def check(target: Any, data: bytes) -> Finding | None:
    """Run one input, and tell what went wrong: an error that is not promised, memory, time."""
    memory, begun = _memory_mib(), time.process_time()
    try:
        target.run(data)
    except Exception as e:
        frames = traceback.extract_tb(e.__traceback__)
        last = next((f for f in reversed(frames) if f.filename.startswith(_PACKAGE)), frames[-1])
        what = str(e) if isinstance(e, AssertionError) else ""
        where = f"{last.filename}:{last.lineno} {what[:12]}"
        return Finding(data, f"{type(e).__name__}: {e}"[:300], where)
    took, grew = time.process_time() - begun, _peak_mib() - memory
    if took > target.cpu_s * (10 if sys.gettrace() else 1):
        return Finding(data, f"took {took:.1f} s", "time")
    if grew > target.mib:
        return Finding(data, f"took {grew:.0f} MiB", "memory")
    return None


def _memory_mib() -> float:
    """What the process has now; the kernel forgets what it had at most."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_mib()


def _peak_mib() -> float:
    """What the process had at most since."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split(None, 1)[0]) / 1024


class Mutator:
    """Makes inputs of others: bits, numbers and words put in, pieces cut, doubled, moved, exchanged."""

    def __init__(self, words: tuple[bytes, ...], longest: int, seed: str) -> None:
        self._words, self._longest = (*words, *_NUMBERS), longest
        self._random = random.Random(seed)

    def make(self, corpus: list[bytes]) -> bytes:
        """One more input."""
        pick = self._random
        data = bytearray(pick.choice(corpus))
        for _ in range(pick.choice((1, 1, 2, 2, 3, 5, 9))):
            at = pick.randint(0, len(data))
            end = min(len(data), at + pick.choice((1, 2, 4, 8, 16, 64, 512)))
            match pick.randrange(9):
                case 0 if at < len(data):
                    data[at] ^= 1 << pick.randrange(8)
                case 1 if at < len(data):
                    data[at] = pick.randrange(256)
                case 2:
                    del data[at:end]
                case 3:
                    data[at:at] = pick.choice(self._words)
                case 4:
                    word = pick.choice(self._words)
                    data[at : at + len(word)] = word
                case 5:
                    data[at:at] = data[at:end] * pick.choice((1, 2, 3, 30))
                case 6:
                    other = pick.choice(corpus)
                    start = pick.randint(0, len(other))
                    data[at:end] = other[start : start + pick.choice((4, 16, 64, 512))]
                case 7:
                    place = pick.randint(0, len(data))
                    piece = data[at:end]
                    del data[at:end]
                    data[place:place] = piece
                case _:
                    del data[at if pick.random() < 0.3 else len(data) :]
        return bytes(data[: self._longest])


class Lines:
    """Notes which lines of the package are reached."""

    def __init__(self) -> None:
        self._seen: set[tuple[CodeType, int]] = set()
        self._ours: dict[CodeType, bool] = {}

    def more(self, target: Any, data: bytes) -> tuple[Finding | None, bool]:
        """Run an input; what went wrong, and whether a line was reached for the first time."""
        before, outer = len(self._seen), sys.gettrace()
        sys.settrace(self._call)
        try:
            found = check(target, data)
        finally:
            sys.settrace(outer)
        return found, len(self._seen) > before

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            ours = self._ours[code] = code.co_filename.startswith(_PACKAGE)
        return self._line if ours else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line":
            self._seen.add((frame.f_code, frame.f_lineno))
        return self._line


def fuzz(target: Any, seed: int, inputs: int, seconds: float | None = None) -> tuple[int, list[Finding]]:
    """Run a target with the engine of our own.

    Args:
        target: one of targets.TARGETS.
        seed: what the inputs are made from.
        inputs: how many at most.
        seconds: for how long at most.

    Returns:
        How many inputs were run, and one finding for each place.
    """
    mutator, lines = Mutator(target.words, target.longest, f"{target.name} {seed}"), Lines()
    found: dict[str, Finding] = {}
    corpus: list[bytes] = []
    until = time.monotonic() + seconds if seconds is not None else None
    begun = [*target.seeds, *(p.read_bytes() for p in fixtures(target.name))]
    for n in range(len(begun) + inputs):
        if until is not None and time.monotonic() > until:
            return n, list(found.values())
        data = begun[n] if n < len(begun) else mutator.make(corpus)
        finding, new = lines.more(target, data)
        if finding is not None:
            _tell(target, finding, found)
        elif new or n < len(begun):
            corpus.append(data)
    return len(begun) + inputs, list(found.values())


def _tell(target: Any, finding: Finding, found: dict[str, Finding]) -> None:
    """Note a finding, unless there was one of its place."""
    if finding.where not in found:
        found[finding.where] = finding
        print(f"{target.name}: {finding.said}\n  {finding.where}", file=sys.stderr, flush=True)


def keep(name: str, findings: Iterable[Finding]) -> None:
    """Write findings where the tests run them again."""
    for finding in findings:
        folder = FIXTURES / name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / hashlib.sha256(finding.data).hexdigest()[:12]
        path.write_bytes(finding.data)
        print(f"  kept: {path}", file=sys.stderr, flush=True)


def _guided(name: str, seconds: int, seed: int, folder: Path) -> None:
    """Run a target under atheris; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["imagesmith"]):
        from tests.attack.targets import TARGETS

    target = TARGETS[name]
    found: dict[str, Finding] = {}

    def one(data: bytes) -> None:
        finding = check(target, data)
        if finding is not None and finding.where not in found:
            _tell(target, finding, found)
            keep(name, [finding])

    folder.mkdir(parents=True, exist_ok=True)
    for n, data in enumerate((*target.seeds, *(p.read_bytes() for p in fixtures(name)))):
        (folder / f"seed{n}").write_bytes(data)
    words = folder.with_name(f"{name}.words")
    words.write_text(
        "".join(f'"{"".join(f"{chr(92)}x{b:02x}" for b in w)}"\n' for w in target.words if len(w) < 60)
    )
    limits = (f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={target.longest}", "-timeout=60")
    more = (f"-dict={words}", "-rss_limit_mb=1500", "-print_final_stats=1", "-verbosity=0", str(folder))
    atheris.Setup([sys.argv[0], *limits, *more], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz by hand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", help="a target's name, or all")
    parser.add_argument("seconds", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--engine", choices=("auto", "atheris", "own"), default="auto")
    parser.add_argument(
        "--corpus", type=Path, default=Path("/tmp/imagesmith-fuzz"), help="atheris keeps inputs there"
    )
    args = parser.parse_args()
    engine = args.engine
    if engine == "auto":
        have = subprocess.run([sys.executable, "-c", "import atheris"], capture_output=True, check=False)
        engine = "own" if have.returncode else "atheris"
    if engine == "atheris" and args.target != "all":
        _guided(args.target, args.seconds, args.seed, args.corpus / args.target)
    from tests.attack.targets import TARGETS

    if args.target == "all":
        for name in TARGETS:
            print(f"--- {name}", file=sys.stderr, flush=True)
            words = [
                "--engine",
                engine,
                "--corpus",
                str(args.corpus),
                name,
                str(args.seconds),
                str(args.seed),
            ]
            subprocess.run([sys.executable, "-m", "tests.attack.fuzz", *words], check=False)
        return 0
    count, findings = fuzz(TARGETS[args.target], args.seed, 1 << 60, args.seconds)
    keep(args.target, findings)
    print(f"{args.target}: {count} inputs, {len(findings)} findings")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
