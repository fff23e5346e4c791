"""Values that are made once, and work on other threads: whoever waits is told all."""

from __future__ import annotations

import threading

import pytest

from imagesmith.concurrency import Background, Once


def test_value_is_made_once_and_those_of_other_keys_do_not_wait() -> None:
    once: Once[int, int] = Once()
    made: list[int] = []
    gate = threading.Barrier(3, timeout=30)

    def make(key: int) -> int:
        made.append(key)
        gate.wait()  # passed only if all three keys are being made
        return -key

    found: list[int] = []
    threads = [
        threading.Thread(target=lambda k=k: found.append(once.get(k, lambda: make(k)))) for k in [1, 2, 3] * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [1, 2, 3]
    assert sorted(found) == [-3] * 4 + [-2] * 4 + [-1] * 4


def test_failure_is_told_to_all_who_wait_and_the_next_one_tries_again() -> None:
    once: Once[str, int] = Once()

    def fail() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        once.get("a", fail)
    assert once.get("a", lambda: 5) == 5
    assert once.get("a", fail) == 5


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3)], ids=repr)
def test_work_in_the_background_is_waited_for_and_raises_what_it_raised(error: BaseException) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        Background(work, "test").join()
    assert caught.value is error
    done: list[int] = []
    Background(lambda: done.append(1), "test").join()
    assert done == [1]
