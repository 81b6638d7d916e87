"""A thread that fills buffers ahead of who uses them: bounded by the number of buffers, which go round.

An error in the thread is raised where the next buffer is taken. The thread never keeps the program alive and holds no
reference to who uses it, so that it also ends when that is forgotten; at the program's end it is waited for.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Slot = TypeVar("Slot")

CLOSE_SECONDS = 10.0  # how long closing waits for the buffer that is being filled


class _End(Exception):
    """There are no more jobs."""


class Prefetch(Generic[Job, Slot]):
    """Fills a slot for each job, in order, on a thread of its own that starts at once."""

    def __init__(self, jobs: Iterator[Job], fill: Callable[[Job, Slot], None], slots: Sequence[Slot]) -> None:
        self._free: SimpleQueue[Slot | None] = SimpleQueue()
        self._ready: SimpleQueue[tuple[Job, Slot] | BaseException] = SimpleQueue()
        self._stopped = threading.Event()
        self._held: Slot | None = None
        self._error: BaseException | None = None
        for slot in slots:
            self._free.put(slot)
        arguments = (jobs, fill, self._free, self._ready, self._stopped)
        self._thread = threading.Thread(target=_work, args=arguments, name="netc data", daemon=True)
        weakref.finalize(self, _stop, self._stopped, self._free).atexit = False
        _running.add(self)
        self._thread.start()

    def take(self) -> tuple[Job, Slot] | None:
        """The next job and its filled slot, which is the caller's until the next call; None after the last job."""
        if self._error is None:
            if self._held is not None:
                self._free.put(self._held)
                self._held = None
            item = self._ready.get()
            if not isinstance(item, BaseException):
                self._held = item[1]
                return item
            self._error = item
        if isinstance(self._error, _End):
            return None
        raise self._error

    def close(self) -> None:
        """End the thread; what it has filled is lost."""
        _stop(self._stopped, self._free)
        self._thread.join(CLOSE_SECONDS)
        _running.discard(self)


_running: weakref.WeakSet[Prefetch[Any, Any]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A thread that is still at work in numpy or Pillow while the interpreter is taken down may crash it."""
    for prefetch in list(_running):
        prefetch.close()


def _stop(stopped: threading.Event, free: SimpleQueue[Slot | None]) -> None:
    stopped.set()
    free.put(None)


def _work(
    jobs: Iterator[Job],
    fill: Callable[[Job, Slot], None],
    free: SimpleQueue[Slot | None],
    ready: SimpleQueue[tuple[Job, Slot] | BaseException],
    stopped: threading.Event,
) -> None:
    """What the thread does."""
    try:
        for job in jobs:
            slot = free.get()
            if slot is None or stopped.is_set():
                return
            fill(job, slot)
            ready.put((job, slot))
        ready.put(_End())
    except BaseException as error:
        ready.put(error)
