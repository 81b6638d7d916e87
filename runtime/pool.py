"""A few threads that run calls side by side; the caller's own thread takes the first.

numpy frees the interpreter while it computes, so the calls of a kernel's ranges run on several cores. BLAS must use one
thread meanwhile: two pools on the same cores slow each other down several times.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..compiler.program import UserError

Call = Callable[[], Any]


class _Worker:
    """A thread that waits for a call, runs it and says so. Locks are the cheapest signal that Python has."""

    def __init__(self, number: int, buffer: int) -> None:
        self.buffer = buffer
        self.call: Call | None = None
        self.failure: BaseException | None = None
        self._go = threading.Lock()
        self._done = threading.Lock()
        self._go.acquire()
        self._done.acquire()
        self._thread = threading.Thread(target=self._serve, name=f"netc-{number}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with np.errstate(all="ignore"):
            np.setbufsize(self.buffer)
            while True:
                self._go.acquire()
                if self.call is None:
                    return
                try:
                    self.call()
                except BaseException as error:  # handed to the caller
                    self.failure = error
                self._done.release()

    def start(self, call: Call) -> None:
        self.call = call
        self._go.release()

    def wait(self) -> None:
        self._done.acquire()
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def stop(self) -> None:
        self.call = None
        self._go.release()
        self._thread.join()


def _ended(worker: _Worker) -> BaseException | None:
    """Wait for a worker's call to end, whatever the user types meanwhile; what went wrong."""
    interrupted: BaseException | None = None
    while True:
        try:
            worker.wait()
            return interrupted
        except KeyboardInterrupt as error:
            interrupted = error
        except BaseException as error:
            return error


class Pool:
    """`pool(calls)` runs calls on the threads of the pool, one each, and returns when all are done.

    As many calls as threads at most. An exception of a call is raised after all have ended. One pool runs one list of
    calls at a time, within `running`.
    """

    def __init__(self, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"a pool of {threads} threads")
        self.threads = threads
        # numpy takes buffers of so many elements for each strided call: all threads together no more than two would.
        self._buffer = max(1024, 16384 // max(2, threads) // 16 * 16)
        self._workers: list[_Worker] = []
        try:
            for number in range(1, threads):
                self._workers.append(_Worker(number, self._buffer))
        except (RuntimeError, MemoryError):
            started = len(self._workers) + 1
            self.close()
            raise UserError(f"this machine lets netc start {started} threads, not {threads}; use fewer") from None
        self._blas: Any = None

    def __call__(self, calls: Sequence[Call]) -> None:
        busy = self._workers[: len(calls) - 1]
        for worker, call in zip(busy, calls[1:], strict=True):
            worker.start(call)
        try:
            calls[0]()
        finally:
            failures = [failure for worker in busy if (failure := _ended(worker)) is not None]
        if failures:
            raise failures[0]

    @contextmanager
    def running(self) -> Iterator[None]:
        """The context in which a program runs: BLAS on one thread, no warnings of infinities, small buffers."""
        if self._blas is None:
            from threadpoolctl import ThreadpoolController

            self._blas = ThreadpoolController()
        with self._blas.limit(limits=1, user_api="blas"), np.errstate(all="ignore"):
            before = np.setbufsize(self._buffer)
            try:
                yield
            finally:
                np.setbufsize(before)

    def close(self) -> None:
        """End the threads; the pool cannot be used afterwards."""
        for worker in self._workers:
            worker.stop()
        self._workers = []


_pools: dict[int, Pool] = {}


def pool_of(threads: int) -> Pool:
    """The process's pool of so many threads; programs share it."""
    if threads not in _pools:
        _pools[threads] = Pool(threads)
    return _pools[threads]
