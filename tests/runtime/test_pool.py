"""The pool: calls run side by side, failures come back, programs share it."""

from __future__ import annotations

import threading

import pytest

from netc.runtime.pool import Pool, pool_of


def test_calls_run_side_by_side() -> None:
    pool = Pool(3)
    meet = threading.Barrier(3, timeout=10)
    seen: set[int] = set()

    def call() -> None:
        meet.wait()
        seen.add(threading.get_ident())

    for _ in range(3):
        pool([call, call, call])
    pool.close()
    assert len(seen) == 3
    assert threading.get_ident() in seen


def test_fewer_calls_than_threads() -> None:
    pool = Pool(2)
    done: list[int] = []
    pool([lambda: done.append(1)])
    pool([lambda: done.append(2), lambda: done.append(3)])
    pool.close()
    assert sorted(done) == [1, 2, 3]


@pytest.mark.parametrize("which", [0, 1])
def test_a_failure_comes_back_after_all_have_ended(which: int) -> None:
    pool = Pool(2)
    done: list[int] = []

    def fail() -> None:
        raise KeyError("lost")

    calls = [lambda: done.append(1), fail] if which else [fail, lambda: done.append(1)]
    with pytest.raises(KeyError, match="lost"):
        pool(calls)
    assert done == [1]
    pool([lambda: done.append(2), lambda: done.append(3)])
    pool.close()
    assert len(done) == 3


def test_ctrl_c_waits_for_the_other_threads() -> None:
    pool = Pool(2)
    running, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def slow() -> None:
        running.set()
        go_on.wait(10)
        done.append(1)

    def interrupted() -> None:
        running.wait(10)
        threading.Timer(0.05, go_on.set).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool([interrupted, slow])
    assert done == [1]
    pool([lambda: done.append(2), lambda: done.append(3)])
    pool.close()
    assert len(done) == 3


def test_programs_share_a_pool() -> None:
    assert pool_of(2) is pool_of(2)
    with pytest.raises(ValueError, match="0 threads"):
        Pool(0)
