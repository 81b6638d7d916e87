"""Ctrl-C, SIGTERM and SIGHUP during training: finish the step, save, say how to go on, instead of losing the run."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

SIGNALS = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interruption:
    """A context in which the first signal only sets `signal`; from then on signals act as they did before.

    So a second Ctrl-C stops at once. Ignored signals (nohup) stay so; outside the main thread nothing is caught.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = signal.Signals[name]
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, *error: object) -> None:
        self._release()

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self._release()
        self.signal = number
        if number == signal.SIGINT:
            with suppress(OSError):  # not print: this may have come in the middle of one
                os.write(2, b"\nfinishing the step; Ctrl-C again stops at once, without saving\n")

    def _release(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
