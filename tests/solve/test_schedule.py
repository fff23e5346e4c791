"""Tasks that need one another: each once, at the same time where they can be, on few threads."""

from __future__ import annotations

import random
import threading
import time

import pytest

from imagesmith.concurrency import Cancel
from imagesmith.errors import Cancelled, StoreError
from imagesmith.solve import schedule as module
from imagesmith.solve.schedule import Schedule


class Work:
    """Tasks are numbers that need other numbers."""

    def __init__(self, needs: dict[int, list[int]]) -> None:
        self.needs, self.done = needs, dict[int, int]()
        self.cancel, self.lock = Cancel(), threading.Lock()
        self.most = self.now = 0

    def attempt(self, task: int) -> list[int]:
        missing = [n for n in self.needs.get(task, []) if n not in self.done]
        if not missing:
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            self.do(task)
            with self.lock:
                self.now -= 1
                self.done[task] = self.done.get(task, 0) + 1
        return missing

    def do(self, task: int) -> None:
        """What a test wants done."""

    def run(self, goal: int) -> None:
        before = threading.active_count()
        try:
            Schedule(self.attempt, self.cancel).run([goal])
        finally:
            assert threading.active_count() == before


def test_chain_of_ten_thousand_is_done_in_order_on_one_thread() -> None:
    work, seen = Work({n: [n - 1] for n in range(1, 10_000)}), set()
    work.do = lambda _task: seen.add(threading.get_ident())  # type: ignore[method-assign]
    work.run(9_999)
    assert list(work.done) == list(range(10_000))
    assert seen == {threading.get_ident()}


def test_random_graphs_are_done_each_task_once() -> None:
    dice = random.Random(5)
    for _ in range(30):
        needs = {n: dice.sample(range(n), min(n, dice.randrange(4))) for n in range(200)}
        work = Work(needs)
        work.do = lambda _task: time.sleep(0)  # type: ignore[method-assign]
        work.run(199)
        assert set(work.done.values()) == {1}
        order = list(work.done)
        assert all(order.index(n) < order.index(task) for task in order for n in needs[task])


def test_independent_tasks_are_done_at_the_same_time_on_so_many_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_THREADS", 8)
    work, gate = Work({0: list(range(1, 500))}), threading.Barrier(8, timeout=30)
    first = iter(range(8))

    def do(task: int) -> None:
        if task and next(first, None) is not None:
            gate.wait()

    work.do = do  # type: ignore[method-assign]
    work.run(0)
    assert len(work.done) == 500
    assert work.most == 8


def test_tasks_that_turn_out_to_need_more_are_tried_again() -> None:
    done: list[str] = []

    def attempt(task: str) -> list[str]:
        if task == "goal" and "late" not in done:
            return ["early"] if "early" not in done else ["late", "early"]
        done.append(task)
        return []

    Schedule(attempt, Cancel()).run(["goal"])
    assert done == ["early", "late", "goal"]


@pytest.mark.parametrize("error", [StoreError("first"), ValueError("first"), KeyboardInterrupt()], ids=repr)
def test_first_failure_ends_the_others_and_is_raised_whatever_it_is(error: BaseException) -> None:
    work, running = Work({0: [1, 2, 3]}), threading.Barrier(3, timeout=30)

    def do(task: int) -> None:
        running.wait()
        if task == 2:
            raise error
        while True:
            work.cancel.check()
            time.sleep(0.001)

    work.do = do  # type: ignore[method-assign]
    with pytest.raises(type(error)) as caught:
        work.run(0)
    assert caught.value is error
    assert not work.done


def test_stop_from_outside_is_told_as_one() -> None:
    work = Work({0: [1, 2]})
    work.do = lambda _task: (work.cancel.set(), work.cancel.check())  # type: ignore[assignment, method-assign]
    with pytest.raises(Cancelled):
        work.run(0)


def test_machine_without_more_threads_does_it_with_those_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    work = Work({0: [1, 2, 3]})
    monkeypatch.setattr(threading.Thread, "start", start)
    work.run(0)
    assert len(work.done) == 4
