"""A few threads that run calls side by side; the caller's own thread takes the first.

numpy frees the interpreter while it computes, so the calls of a kernel's ranges run on several cores. BLAS must use one
thread meanwhile: two pools on the same cores slow each other down several times. Threads of the caller may run programs
at the same time: a pool serves one program after the other.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from ..compiler.program import UserError
from .sharing import Turn

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
        if self._thread is not threading.current_thread():  # a pool may be forgotten on any thread
            self._thread.join()


def _stop(workers: list[_Worker]) -> None:
    while workers:
        workers.pop().stop()


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


class _OneThread:
    """BLAS on one thread as long as any program runs: the number is the process's, so the last one out puts it back.

    threadpoolctl finds the libraries. From version 3.8 on its own contexts only act in one thread of the caller at a
    time, and programs of the others would run on all cores each; so the numbers are set here.
    """

    def __init__(self) -> None:
        self._lock = Turn()
        self._inside = 0
        self._libraries: list[Any] | None = None
        self._before: list[int] = []

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                if self._libraries is None:
                    from threadpoolctl import ThreadpoolController

                    self._libraries = ThreadpoolController().select(user_api="blas").lib_controllers
                self._before = [library.num_threads for library in self._libraries]
                for library in self._libraries:
                    _set_threads(library, 1)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for library, number in zip(self._libraries or (), self._before, strict=True):
                    _set_threads(library, number)


def _set_threads(library: Any, number: int) -> None:
    getattr(library, "_real_set_num_threads", library.set_num_threads)(number)


class Pool:
    """`pool(calls)` runs calls on the threads of the pool, one each, and returns when all are done.

    As many calls as threads at most. An exception of a call is raised after all have ended. Lists of calls run within
    `running`, which one thread of the caller enters at a time. In a child process the threads are started anew.
    """

    def __init__(self, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"a pool of {threads} threads")
        self.threads = threads
        # numpy takes buffers of so many elements for each strided call: all threads together no more than two would.
        self._buffer = max(1024, 16384 // max(2, threads) // 16 * 16)
        self._workers: list[_Worker] = []
        self._turn = Turn()
        self._start()
        weakref.finalize(self, _stop, self._workers).atexit = False  # at the exit they end with the process
        _alive.add(self)

    def _start(self) -> None:
        """Start the threads that are not there."""
        try:
            for number in range(len(self._workers) + 1, self.threads):
                self._workers.append(_Worker(number, self._buffer))
        except (RuntimeError, MemoryError):
            started = len(self._workers) + 1
            self.close()
            raise UserError(f"this machine lets netc start {started} threads, not {self.threads}; use fewer") from None

    def forked(self) -> None:
        """In a child process, which has only the thread that forked: forget the others."""
        self._workers.clear()

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
        # Programs of one thread have nothing to share.
        with self._turn if self.threads > 1 else nullcontext(), _one_thread, np.errstate(all="ignore"):
            self._start()
            before = np.setbufsize(self._buffer)
            try:
                yield
            finally:
                np.setbufsize(before)

    def close(self) -> None:
        """End the threads; they are started anew when a program runs."""
        _stop(self._workers)


_one_thread = _OneThread()
_alive: weakref.WeakSet[Pool] = weakref.WeakSet()
_pools: weakref.WeakValueDictionary[int, Pool] = weakref.WeakValueDictionary()
_made = Turn()


def pool_of(threads: int) -> Pool:
    """The process's pool of so many threads, which programs share; it ends with the last of them."""
    with _made:
        pool = _pools.get(threads)
        if pool is None:
            pool = _pools[threads] = Pool(threads)
        return pool


def _in_child() -> None:
    for pool in _alive:
        pool.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
