"""Mutual exclusion and readers-writer locks for what several threads of a caller may use at once.

A forked child has one thread: locks that others held at the fork are free there, or it would wait for ever.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from ..compiler.program import UserError


class Turn:
    """A mutex: one thread at a time, within `with turn:`."""

    def __init__(self) -> None:
        self.forked()
        _known.add(self)

    def forked(self) -> None:
        """Be free: whoever held it is not in this process."""
        self._lock = threading.Lock()
        self._holder = 0

    def __enter__(self) -> None:
        _refuse(self._holder)
        self._lock.acquire()
        self._holder = threading.get_ident()

    def __exit__(self, *error: object) -> None:
        self._holder = 0
        self._lock.release()


class ReadersWriter:
    """Any number of readers, or one writer; a writer that waits goes before readers that come after it."""

    def __init__(self) -> None:
        self.forked()
        _known.add(self)

    def forked(self) -> None:
        """Be free: whoever held it is not in this process."""
        self._changed = threading.Condition()
        self._readers = self._waiting = 0
        self._writing = False
        self._holder = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read beside other readers."""
        _refuse(self._holder)
        changed = self._changed
        with changed:
            changed.wait_for(lambda: not self._writing and not self._waiting)
            self._readers += 1
        try:
            yield
        finally:
            with changed:
                self._readers -= 1
                changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write while nobody else reads or writes."""
        _refuse(self._holder)
        changed = self._changed
        with changed:
            self._waiting += 1
            try:
                changed.wait_for(lambda: not self._writing and not self._readers)
                self._writing, self._holder = True, threading.get_ident()
            finally:
                self._waiting -= 1
                changed.notify_all()
        try:
            yield
        finally:
            with changed:
                self._writing, self._holder = False, 0
                changed.notify_all()


def _refuse(holder: int) -> None:
    """UserError for the thread that holds a lock already: it would wait for itself."""
    if holder == threading.get_ident():
        raise UserError("a program is run by a Python function that it calls itself, or on the state that it writes")


_known: weakref.WeakSet[Turn | ReadersWriter] = weakref.WeakSet()


def _in_child() -> None:
    for lock in _known:
        lock.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
