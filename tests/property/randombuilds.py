"""Random Dockerfiles of a few instructions over a few paths, contents, owners, modes and times.

Why so few: what is looked for shows where builds meet the same layers over other files. Much of what a step
does changes nothing, or puts back what it changed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["Maker", "Plan"]

_EPOCHS = ("", "", "1200000000", "1000000000", "1950000000")


@dataclass
class Plan:
    """One build: its Dockerfile, line by line, its context, and how it is built."""

    lines: list[str]
    files: dict[str, tuple[str, int, float]]
    epoch: str = ""
    no_cache: bool = False

    def shown(self) -> str:
        """The build as somebody may type it."""
        files = "".join(f"# {name}: {what!r}\n" for name, what in sorted(self.files.items()))
        return (
            f"# epoch {self.epoch or 'none'}{', no cache' * self.no_cache}\n{files}"
            + "\n".join(self.lines)
            + "\n"
        )


_PATHS = (
    "/w/f", "/w/g", "/w/d", "/w/d/x", "/w/d/y", "/w/d/l", "/w/e", "/w/e/z", "/opt", "/opt/g", "/opt/n/m",
)  # fmt: skip
_FOLDERS = ("/w", "/w/d", "/w/e", "/opt", "/opt/n", "/new/in")
_MODES = ("644", "644", "755", "755", "600", "700", "4755", "1777")
_OWNERS = ("0:0", "0:0", "1000:1001", "5:6")
_TIMES = ("1000000000", "1100000000", "1000000000.5", "1000000000.25", "2000000000", "2100000000")
_WORDS = ("one", "two", "six")
#: The files of a context and their times, which no build changes, for they are no part of a cache key.
_FILES = {"a": 1e9, "b": 1.1e9, "tree/x": 1e9 + 0.5, "tree/y": 1e9 + 0.25, "tree/sub/z": 1e9}


class Maker:
    """Makes the builds of a sequence; with stages all times are one, for a key of COPY --from has none."""

    def __init__(self, r: random.Random) -> None:
        self._r, self._stages = r, r.random() < 0.4
        self._times = _TIMES[:1] if self._stages else _TIMES
        self._before: list[Plan] = []

    def plans(self) -> list[Plan]:
        """Two to four builds."""
        for _ in range(self._r.randint(2, 4)):
            self._before.append(self._plan())
        return self._before

    def _plan(self) -> Plan:
        """A build: a new one, or one that differs a little from an earlier one."""
        r, before = self._r, self._before
        files = {
            name: (r.choice(_WORDS), r.choice((0o644, 0o644, 0o755)), 1e9 if self._stages else time_)
            for name, time_ in _FILES.items()
        }
        epoch = r.choice(_EPOCHS) if not before or r.random() < 0.3 else before[-1].epoch
        if before and r.random() < 0.6:
            lines = list(r.choice(before).lines)
            for _ in range(r.randint(0, 2)):
                at = r.choice([n for n, line in enumerate(lines) if line != "RUN still"]) + 1
                replaced = r.randint(0, 1) if lines[at : at + 1] not in (["RUN still"], ["FROM base"]) else 0
                new = self._instruction(at, stage="FROM base" in lines[1:at])
                lines[at : at + replaced] = [new] if r.random() < 0.7 else []
            if r.random() < 0.5:
                files = dict(before[-1].files)
            return Plan(lines, files, epoch, r.random() < 0.3)
        lines = []
        if self._stages:
            some = (self._instruction(n, stage=False) for n in range(r.randint(1, 4)))
            lines += ["FROM base AS s", *(line for line in some if not line.startswith("USER")), "RUN still"]
        lines += ["FROM base", *(self._instruction(n, stage=self._stages) for n in range(r.randint(3, 9)))]
        return Plan(lines, files, epoch, r.random() < 0.2)

    def _instruction(self, number: int, *, stage: bool) -> str:
        """Any instruction."""
        r, kind = self._r, self._r.random()
        if kind < 0.55:
            return self._run(number)
        dest = r.choice((*_PATHS, "/w/", "/w/d/", "/opt/"))
        mode, owner = f"--chmod={r.choice(_MODES)} ", f"--chown={r.choice(_OWNERS)} "
        flags = "".join(f for f, p in ((mode, 0.2), (owner, 0.3), ("--link ", 0.3)) if r.random() < p)
        if kind < 0.75:
            return f"COPY {flags}{r.choice(('a', 'b', 'tree'))} {dest}"
        if kind < 0.83:
            source = r.choice(("/w", "/w/d", "/w/f", "/opt"))
            return f"COPY {flags}--from={'s' if stage else 'base'} {source} {dest}"
        if kind < 0.93:
            return f"WORKDIR {r.choice(_FOLDERS)}"
        return f"USER {r.choice(('root', 'builder', 'root'))}" if stage == self._stages else "WORKDIR /w"

    def _run(self, number: int) -> str:
        r = self._r
        parts = ["see"] if r.random() < 0.6 else []
        parts += [self._command() for _ in range(r.randint(1, 3))]
        parts += ["still"] * (r.random() < 0.7) + [f"wrote {number}"] * (r.random() < 0.3)
        return f"RUN {'; '.join(parts)}; true"

    def _command(self) -> str:
        """Something that a step does."""
        r = self._r
        p, q, folder = r.choice(_PATHS), r.choice(_PATHS), r.choice(_FOLDERS)
        mode, owner, when, word = r.choice(_MODES), r.choice(_OWNERS), r.choice(self._times), r.choice(_WORDS)
        return r.choice((
            f"chmod {mode} {p}", f"chmod {mode} {folder}", f"chmod $(stat -c %a {p}) {p}",
            f"chmod -R u+rwX {folder}", f"chown {owner} {p}", f"chown -h {owner} {p}",
            f"chown $(stat -c %u:%g {p}) {p}", f"chown -R {owner} {folder}", f"touch -h -d @{when} {p}",
            f'touch -d "$(stat -c @%Y {p})" {p}', f"touch {p}", f"cp -p {p} /tmp/t && mv /tmp/t {p}",
            f"cp -p {p} {q}", f"cp -a {folder} /w/c", f"mv {p} {q}", f"mv {p} /tmp/m && mv /tmp/m {p}",
            f"rm -rf {p}", f"rm -rf {p}; mkdir {p}", f"rm {p}", f"mkdir -p {folder}", f"mkdir -m {mode} {p}",
            f"rm -rf {folder} && mkdir -p {folder} && echo {word} >{folder}/x", f"rm -rf {p}; cp -a {q} {p}",
            f"echo {word} >{p}", f"echo {word} >>{p}", f"echo {word} >{folder}/x", f"sed -i s/one/two/ {p}",
            f"ln {p} {q}", f"ln -f {p} {q}", f"ln -s {q} {p}", f"ln -sfn {q} {p}",
            f"mkfifo -m {mode} {folder}/p", f"rm {folder}/p", f"cat {p} >/dev/null", f"test -e {p}",
            f"echo {word} >{p}; touch -d @{when} {p}; chmod {mode} {p}", "echo 1 >/w/new && rm /w/new",
        ))  # fmt: skip
