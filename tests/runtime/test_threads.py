"""Threads and forks of the caller: programs that several use at once compute what they compute alone; none hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

import netc
from netc.report.profiling import made_up_feeds
from netc.runtime.pool import pool_of
from netc.runtime.sharing import ReadersWriter

Array = npt.NDArray[Any]
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ROUNDS = 40


def images(seed: int, shape: tuple[int, ...] = (8, 1, 28, 28)) -> Array:
    return np.random.default_rng(seed).random(shape, np.float32)


def side_by_side(*calls: Callable[[], None]) -> None:
    """Run calls on threads of their own; what goes wrong in one is raised, and so is a call that never ends."""
    with ThreadPoolExecutor(len(calls)) as threads:
        for one in [threads.submit(call) for call in calls]:
            one.result(timeout=120)


@pytest.fixture
def lenet() -> Any:
    return netc.compile(EXAMPLES / "lenet.net", dims={"N": 8}, outputs=["prob"], threads=2, seed=1)


def check(exe: Any, seed: int, expected: Array) -> None:
    for _ in range(ROUNDS):
        np.testing.assert_array_equal(exe(image=images(seed))["prob"], expected)


def test_threads_share_an_executable(lenet: Any) -> None:
    expected = [lenet(image=images(seed))["prob"] for seed in range(4)]
    side_by_side(*(lambda seed=seed: check(lenet, seed, expected[seed]) for seed in range(4)))


def test_clones_run_beside_each_other(lenet: Any) -> None:
    expected = [lenet(image=images(seed))["prob"] for seed in range(3)]
    clones = [lenet, lenet.clone(), lenet.clone()]
    assert all(clone.state is lenet.state for clone in clones)
    side_by_side(*(lambda i=i: check(clones[i], i, expected[i]) for i in range(3)))


def test_programs_of_different_pools_leave_blas_as_it_was(lenet: Any) -> None:
    from threadpoolctl import threadpool_info

    def blas() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = blas()
    single = netc.compile(EXAMPLES / "lenet.net", dims={"N": 8}, outputs=["prob"], threads=1, seed=1)
    expected = [exe(image=images(5))["prob"] for exe in (lenet, single)]
    side_by_side(lambda: check(lenet, 5, expected[0]), lambda: check(single, 5, expected[1]))
    assert blas() == before


def test_a_step_learns_the_same_while_others_read_its_state() -> None:
    """Nobody reads parameters of which a part is updated: each result is that of the state after some step."""
    feeds = {"image": images(1), "label": np.arange(8, dtype=np.int32)}

    def make() -> Any:
        return netc.compile(EXAMPLES / "lenet.net", mode="train", dims={"N": 8}, threads=2, seed=1)

    alone, shared = make(), make()
    losses = [alone(**feeds)["nll"] for _ in range(10)]
    found: list[Array] = []

    def learn() -> None:
        for _ in range(5):
            found.append(shared(**feeds)["nll"])

    side_by_side(learn, learn)
    np.testing.assert_array_equal(np.sort(np.array(found))[::-1], np.sort(np.array(losses))[::-1])


def test_a_writer_is_not_kept_waiting_by_readers_that_come_later() -> None:
    lock = ReadersWriter()
    order: list[str] = []

    def write() -> None:
        with lock.writing():
            order.append("write")

    def read() -> None:
        with lock.reading():
            order.append("read")

    with lock.reading():
        writer = threading.Thread(target=write)
        writer.start()
        while not lock._waiting:
            time.sleep(0.001)
        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.01)
        assert order == []
    writer.join()
    reader.join()
    assert order == ["write", "read"]


@pytest.mark.parametrize("mode", ["train", "test"])
def test_a_function_of_a_program_that_runs_it_again_does_not_wait_for_itself(mode: Literal["train", "test"]) -> None:
    """As a layer in Python may: an error, and afterwards the program runs as before."""
    exe = netc.compile(EXAMPLES / "logreg.net", mode=mode, dims={"N": 4}, threads=1, seed=1)
    feeds = made_up_feeds(exe.program.inputs)
    with exe._using(), pytest.raises(netc.UserError, match="a Python function that it calls itself"):
        exe.run(feeds)
    assert exe.run(feeds)


def test_pools_end_with_the_last_program() -> None:
    def started() -> int:
        return sum(thread.name.startswith("netc-") for thread in threading.enumerate())

    before = started()
    pool = pool_of(7)
    assert pool_of(7) is pool
    assert started() == before + 6
    del pool
    assert started() == before


FORKS = """
import multiprocessing, sys, threading
import numpy as np
import netc

exe = netc.compile(sys.argv[1], dims={"N": 8}, outputs=["prob"], threads=2, seed=1)
image = np.random.default_rng(3).random((8, 1, 28, 28), np.float32)
expected = exe(image=image)["prob"]
context = multiprocessing.get_context("fork")
ended = threading.Event()

def keep_running():
    while not ended.is_set():
        exe(image=image)

def answer(queue):
    queue.put(exe(image=image)["prob"])

other = threading.Thread(target=keep_running, daemon=True)
other.start()
for _ in range(8):
    queue = context.Queue()
    child = context.Process(target=answer, args=(queue,))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), expected)
    child.join(timeout=60)
    assert child.exitcode == 0
ended.set()
other.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes() -> None:
    """Its parent's threads are not there, and locks that one of them held are free.

    In an interpreter of its own: other tests leave threads of libraries behind, whose locks are none of netc's.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FORKS, str(EXAMPLES / "lenet.net")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_exit_does_not_wait_for_pools() -> None:
    code = "from netc.runtime.pool import pool_of; pool = pool_of(3)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60, env=environment)
    assert done.returncode == 0
