"""Interruption of a run: by Ctrl-C, SIGTERM or SIGHUP, which finish the step and save, or by a loss that is NaN."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from ..compiler.program import UserError
from .history import History

SIGNALS = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(Exception):
    """A signal ended a run after a whole step. `snapshot` is where it can go on, None if the run keeps no files."""

    def __init__(self, number: int, step: int, snapshot: Path | None, history: History) -> None:
        saved = f"saved in {snapshot}; go on with --resume" if snapshot else "nothing was saved"
        super().__init__(f"stopped after step {step:,}; {saved}")
        self.exit_code = 128 + number
        self.step = step
        self.snapshot = snapshot
        self.history = history


class Diverged(UserError):
    """The loss or a parameter is no finite number any more. The state is that before the step, histories apart."""


class RankLost(UserError):
    """Another process of the run is gone, or does not answer. What was asked of all did not happen."""


class Interruption:
    """A context in which the first signal only sets `signal`; from then on signals act as they did before.

    So a second Ctrl-C stops at once. Ignored signals (nohup) stay so; outside the main thread nothing is caught.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def came(self) -> bool:
        """Whether there was a signal."""
        return self.signal is not None

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
